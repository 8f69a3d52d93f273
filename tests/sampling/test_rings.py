"""Overlaps of the cells of two grids, compared with intervals."""

from itertools import pairwise

import numpy as np
import pytest

from deepsphere.sampling import Equiangular, GaussLegendre, ReducedGaussian
from deepsphere.sampling.rings import band_overlaps, longitude_overlaps


def overlap(a, b):
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0]))


def longitude_cell(i, n):
    return ((i - 0.5) / n, (i + 0.5) / n)


def brute_longitudes(fine, coarse):
    """Return the overlaps of all pairs of cells, also one turn to either side."""
    shares = np.zeros((coarse, fine))
    for i in range(fine):
        for j in range(coarse):
            for turn in (-1, 0, 1):
                cell = np.add(longitude_cell(j, coarse), turn)
                shares[j, i] += fine * overlap(longitude_cell(i, fine), cell)
    return shares


@pytest.mark.parametrize(
    ("fine", "coarse"), [(8, 4), (8, 8), (5, 3), (36, 20), (1, 1), (2, 1), (3, 7)]
)
def test_longitude_overlaps(fine, coarse):
    cells, coarse_cells, widths = longitude_overlaps(fine, coarse)
    shares = np.zeros((coarse, fine))
    np.add.at(shares, (coarse_cells, cells), widths)
    # The brute force subtracts numbers near 1 and multiplies by up to 36.
    np.testing.assert_allclose(shares, brute_longitudes(fine, coarse), rtol=0, atol=1e-14)


def brute_bands(fine, coarse):
    return np.array(
        [
            [overlap((f[1], f[0]), (c[1], c[0])) / (f[0] - f[1]) for f in pairwise(fine)]
            for c in pairwise(coarse)
        ]
    )


@pytest.mark.parametrize(
    "grid",
    [
        Equiangular(8, 4),
        Equiangular(8, 4, "driscoll-healy"),
        Equiangular(9, 4, "clenshaw-curtis"),
        GaussLegendre(10),
        ReducedGaussian(12),
    ],
    ids=repr,
)
def test_band_overlaps(grid):
    fine, coarse = grid.band_edges, grid.coarsen().band_edges
    bands, coarse_bands, heights = band_overlaps(fine, coarse)
    shares = np.zeros((len(coarse) - 1, len(fine) - 1))
    shares[coarse_bands, bands] = heights
    # Edges right to some 1e-16, divided by the height of a band, at least 0.01.
    np.testing.assert_allclose(shares, brute_bands(fine, coarse), rtol=0, atol=1e-13)
    assert heights.min() > 1e-10  # edges that differ by rounding make no slivers


@pytest.mark.parametrize("grid", [Equiangular(8, 12), ReducedGaussian(4)], ids=repr)
def test_membership_is_the_overlap_of_cells(grid):
    coarse = grid.coarsen()
    bands = brute_bands(grid.band_edges, coarse.band_edges)
    expected = np.block(
        [
            [bands[j, i] * brute_longitudes(n, m) for i, n in enumerate(grid.ring_sizes)]
            for j, m in enumerate(coarse.ring_sizes)
        ]
    )
    np.testing.assert_allclose(grid.membership().toarray(), expected, rtol=0, atol=1e-13)


def test_points_go_south_and_east():
    points = ReducedGaussian(2).points
    assert np.all(np.diff(points[:, 2]) <= 0)
    longitudes = np.arctan2(points[:20, 1], points[:20, 0]) % (2 * np.pi)
    np.testing.assert_allclose(longitudes, 2 * np.pi * np.arange(20) / 20, rtol=0, atol=1e-14)
    assert points[20, 1] == 0  # the next ring starts at longitude 0 again
    assert points[20, 0] > 0
