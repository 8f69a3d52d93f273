"""Equiangular grids, compared with their formulas."""

import numpy as np
import pytest

from deepsphere.graph.neighbors import nearest_neighbors
from deepsphere.sampling import Equiangular

GRIDS = ("soft", "driscoll-healy", "clenshaw-curtis")


def formula(bandwidth, grid):
    """Return colatitudes as the code for these transforms and the old code write them."""
    j = np.arange(2 * bandwidth)
    return {
        "soft": np.pi * (2 * j + 1) / (4 * bandwidth),
        "driscoll-healy": np.pi * j / (2 * bandwidth),
        "clenshaw-curtis": np.linspace(0, np.pi, 2 * bandwidth + 1),
    }[grid]


@pytest.mark.parametrize("grid", GRIDS)
def test_points(grid):
    sampling = Equiangular.from_bandwidth(4, grid)
    theta, phi = np.meshgrid(formula(4, grid), np.arange(8) * np.pi / 4, indexing="ij")
    expected = [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
    assert (sampling.nlat, sampling.nlon) == theta.shape
    # A few roundings of numbers up to pi.
    np.testing.assert_allclose(
        sampling.points, np.stack(expected, -1).reshape(-1, 3), rtol=0, atol=1e-15
    )
    np.testing.assert_allclose(
        sampling.latitudes, 90 - np.degrees(formula(4, grid)), rtol=0, atol=1e-13
    )


def test_cells_of_soft_are_exact():
    edges = np.cos(np.pi * np.arange(7) / 6)
    expected = np.repeat((edges[:-1] - edges[1:]) * 2 * np.pi / 10, 10)
    np.testing.assert_allclose(Equiangular(6, 10).areas, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("grid", "north", "south"),
    [("soft", False, False), ("driscoll-healy", True, False), ("clenshaw-curtis", True, True)],
)
def test_poles(grid, north, south):
    sampling = Equiangular(9, 6, grid)
    assert (sampling.north_pole, sampling.south_pole) == (north, south)
    points, areas = sampling.points.reshape(9, 6, 3), sampling.areas.reshape(9, 6)
    assert (points[0] == [0, 0, 1]).all() == north
    assert (points[-1] == [0, 0, -1]).all() == south
    if north:
        # The cap around the pole, up to halfway to the next row.
        spacing = np.pi / (9 - south)
        cap = 2 * np.pi * (1 - np.cos(spacing / 2))
        np.testing.assert_allclose(areas[0], cap / 6, rtol=1e-13)


def test_points_at_a_pole_are_neighbors():
    sampling = Equiangular(9, 6, "clenshaw-curtis")
    rows, columns, distances = nearest_neighbors(sampling.points, 5)
    of_pole = rows == 2
    np.testing.assert_array_equal(np.sort(columns[of_pole]), [0, 1, 3, 4, 5])
    assert np.all(distances[of_pole] == 0)


@pytest.mark.parametrize(
    ("fine", "coarse"),
    [
        (Equiangular(32, 24), Equiangular(16, 12)),
        (Equiangular(32, 24, "driscoll-healy"), Equiangular(16, 12, "driscoll-healy")),
        (Equiangular(33, 24, "clenshaw-curtis"), Equiangular(17, 12, "clenshaw-curtis")),
        (Equiangular(721, 1440, "clenshaw-curtis"), Equiangular(361, 720, "clenshaw-curtis")),
    ],
)
def test_coarsen(fine, coarse):
    assert fine.coarsen() == coarse
    assert fine == coarse.refine()


@pytest.mark.parametrize("grid", ["driscoll-healy", "clenshaw-curtis"])
def test_coarse_points_are_every_second(grid):
    fine = Equiangular(8 + (grid == "clenshaw-curtis"), 12, grid)
    every_second = fine.points.reshape(fine.nlat, 12, 3)[::2, ::2].reshape(-1, 3)
    np.testing.assert_allclose(fine.coarsen().points, every_second, rtol=0, atol=1e-15)


def test_a_coarse_cell_holds_its_center_and_half_of_its_neighbors():
    shares = Equiangular(4, 8).membership().toarray().reshape(2, 4, 4, 8)
    np.testing.assert_allclose(shares[0, 1, 0], [0, 0.5, 1, 0.5, 0, 0, 0, 0])
    np.testing.assert_allclose(shares[0, 0, 1], [1, 0.5, 0, 0, 0, 0, 0, 0.5])
    assert not shares[0, :, 2:].any()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((0, 4), ValueError, "nlat must be at least 1, got 0"),
        ((4, -1), ValueError, "nlon must be at least 1, got -1"),
        ((1, 4, "clenshaw-curtis"), ValueError, "nlat must be at least 2, got 1"),
        ((4.0, 4), TypeError, "nlat must be an integer, got 4.0"),
        ((4, True), TypeError, "nlon must be an integer, got True"),
        ((4, 4, "gauss"), ValueError, "grid must be one of soft, .*; got 'gauss'"),
    ],
)
def test_errors(arguments, error, match):
    with pytest.raises(error, match=match):
        Equiangular(*arguments)


@pytest.mark.parametrize(
    ("sampling", "match"),
    [
        (Equiangular(12, 16), r"nlat 12 cannot be divided by 2\*\*3"),
        (Equiangular(16, 12), r"nlon 12 cannot be divided by 2\*\*3"),
        (Equiangular(13, 16, "clenshaw-curtis"), r"nlat - 1 = 12 cannot be divided by 2\*\*3"),
    ],
)
def test_cannot_be_coarsened(sampling, match):
    with pytest.raises(ValueError, match=match):
        sampling.coarsen(3)


def test_twice_as_many_longitudes_by_default():
    assert Equiangular(8) == Equiangular(8, 16)
    assert Equiangular(9, grid="clenshaw-curtis").nlon == 18
