"""Overlaps of cells."""

import healpy
import numpy as np
import pytest
from scipy.spatial import cKDTree

from deepsphere.sampling import (
    Equiangular,
    Fibonacci,
    GaussLegendre,
    Healpix,
    Icosahedral,
    RandomUniform,
    ReducedGaussian,
    Scattered,
)
from deepsphere.sampling.resampling import (
    interpolation_matrix,
)
from deepsphere.sampling.rings import RingSampling

CAP = np.random.default_rng(0).normal((3, 0, 1), 0.2, (40, 3))


def test_nested_pixels_are_those_of_healpy():
    x = np.random.default_rng(0).standard_normal(12 * 8**2)
    for nside in (2, 4, 16, 32):
        expected = healpy.ud_grade(x, nside, order_in="NEST")
        y = interpolation_matrix(Healpix(8), Healpix(nside)) @ x
        np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-15)


def test_grids_by_the_formula_of_boxes():
    source, target = Equiangular(9, 14), GaussLegendre(6, 10)

    def boxes(grid):
        west = (np.arange(grid.nlon) - 0.5) * 360 / grid.nlon
        edges = grid.band_edges
        return west, west + 360 / grid.nlon, edges[1:], edges[:-1]

    def common(low, high, other_low, other_high):
        ends = np.minimum(high[:, None], other_high) - np.maximum(low[:, None], other_low)
        return np.maximum(ends, 0)

    west, east, south, north = boxes(target)
    other_west, other_east, *other_heights = boxes(source)
    widths = sum(common(west, east, other_west + t, other_east + t) for t in (-360, 0, 360))
    heights = common(south, north, *other_heights)
    overlaps = np.kron(heights, widths)
    expected = overlaps / overlaps.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        interpolation_matrix(source, target).toarray(), expected, rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (Healpix(2), Equiangular(6, 9)),
        (Fibonacci(60), Healpix(4)),
        (ReducedGaussian(2), Icosahedral(1)),
        (Scattered(CAP[:9]), GaussLegendre(5)),
        (Scattered([[0, 30], [100, 30], [220, 30]]), RandomUniform(20, 1)),
    ],
    ids=str,
)
def test_overlaps_by_counting(source, target):
    """Compared with two million points, assigned to cells by each sampling."""
    fine = Healpix(512)
    points = fine.points

    def cell(sampling):
        if isinstance(sampling, Healpix):
            return fine.pixels // (512 // sampling.nside) ** 2
        if not isinstance(sampling, RingSampling):
            return cKDTree(sampling.points).query(points)[1]
        ring = np.searchsorted(-sampling.band_edges, -points[:, 2]) - 1
        size = sampling.ring_sizes
        turn = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi)
        column = np.round(turn * size[ring]).astype(int) % size[ring]
        return (np.cumsum(size) - size)[ring] + column

    pairs = cell(target) * len(source) + cell(source)
    counts = np.bincount(pairs, minlength=len(source) * len(target))
    expected = counts.reshape(len(target), len(source)) * 4 * np.pi / len(fine)
    found = target.areas[:, None] * interpolation_matrix(source, target).toarray()
    # Points stand for pixels 0.002 wide: a border of the length of a cell's crosses this area.
    rim = 0.002 * 2 * np.sqrt(np.pi * np.minimum(target.areas[:, None], source.areas))
    assert (np.abs(found - expected) < rim).all()
