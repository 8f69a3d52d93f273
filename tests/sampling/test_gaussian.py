"""Gaussian grids: exact quadrature and ECMWF's published numbers."""

import numpy as np
import pytest

from deepsphere.sampling import GaussLegendre, ReducedGaussian


@pytest.mark.parametrize("grid", [GaussLegendre(6), GaussLegendre(6, 5), ReducedGaussian(3)])
def test_quadrature_is_exact(grid):
    z = grid.points[:, 2]
    for degree in range(12):
        expected = 4 * np.pi / (degree + 1) if degree % 2 == 0 else 0
        # Sums of at most a few hundred numbers, each rounded.
        assert grid.areas @ z**degree == pytest.approx(expected, rel=1e-13, abs=1e-13)
    assert abs(grid.areas @ z**12 - 4 * np.pi / 13) > 1e-5  # no longer exact


def test_full_grid_integrates_orders_below_nlon():
    grid = GaussLegendre(6, 8)
    x, y, z = grid.points.T
    for order in range(1, 8):
        harmonic = (x + 1j * y) ** order * (1 + z)
        assert abs(grid.areas @ harmonic) < 1e-14
    assert abs(grid.areas @ (x + 1j * y) ** 8) > 0.1


def test_default_is_as_far_apart_in_longitude_as_in_latitude():
    assert GaussLegendre(32) == GaussLegendre(32, 64)
    assert GaussLegendre(32).coarsen(2) == GaussLegendre(8, 16)
    assert GaussLegendre(8, 12).refine() == GaussLegendre(16, 24)


@pytest.mark.parametrize(
    ("number", "first"),
    # latitudeOfFirstGridPointInDegrees in GRIB files of these grids, to 6 digits
    [(32, 87.863799), (80, 89.141519), (320, 89.784877), (640, 89.892396)],
)
def test_latitudes_are_those_of_ecmwf(number, first):
    grid = ReducedGaussian(number, "classical")
    assert grid.latitudes[0] == pytest.approx(first, abs=1e-6)
    np.testing.assert_allclose(grid.latitudes, -grid.latitudes[::-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("number", "size"),
    [
        (32, 6114),
        (48, 13280),
        (64, 24572),
        (80, 35718),
        (96, 50662),
        (128, 88838),
        (160, 138346),
        (200, 213988),
        (256, 348528),
        (320, 542080),
        (400, 843490),
        (512, 1373624),
        (640, 2140702),
    ],
)
def test_classical_sizes_are_those_of_ecmwf(number, size):
    grid = ReducedGaussian(number, "classical")
    assert len(grid) == size
    assert len(grid.ring_sizes) == 2 * number == grid.nlat
    assert grid.ring_sizes.max() == grid.ring_sizes[number] == 4 * number
    assert np.all(np.diff(grid.ring_sizes[:number]) >= 0)


@pytest.mark.parametrize(
    ("number", "size"), [(96, 40320), (320, 421120), (640, 1661440), (1280, 6599680)]
)
def test_octahedral_sizes_are_those_of_ecmwf(number, size):
    assert len(ReducedGaussian(number)) == size


def test_octahedral_rings():
    np.testing.assert_array_equal(ReducedGaussian(3).ring_sizes, [20, 24, 28, 28, 24, 20])


def test_coarsen():
    assert ReducedGaussian(320, "classical").coarsen(2) == ReducedGaussian(80, "classical")
    assert ReducedGaussian(12).coarsen(2) == ReducedGaussian(3)
    with pytest.raises(ValueError, match=r"number 12 cannot be divided by 2\*\*3"):
        ReducedGaussian(12).coarsen(3)
    with pytest.raises(ValueError, match=r"no classical grid N16: .*one of 32, 48.*octahedral"):
        ReducedGaussian(32, "classical").coarsen()
    with pytest.raises(ValueError, match=r"nlat 6 cannot be divided by 2\*\*2"):
        GaussLegendre(6).coarsen(2)


@pytest.mark.parametrize(
    ("cls", "arguments", "error", "match"),
    [
        (GaussLegendre, (0,), ValueError, "nlat must be at least 1, got 0"),
        (GaussLegendre, (4, 0), ValueError, "nlon must be at least 1, got 0"),
        (GaussLegendre, (4.5,), TypeError, "nlat must be an integer, got 4.5"),
        (ReducedGaussian, (0,), ValueError, "number must be at least 1, got 0"),
        (ReducedGaussian, ("O96",), TypeError, "number must be an integer, got 'O96'"),
        (ReducedGaussian, (96, "full"), ValueError, "octahedral or classical; got 'full'"),
        (ReducedGaussian, (100, "classical"), ValueError, "no classical grid N100"),
    ],
)
def test_errors(cls, arguments, error, match):
    with pytest.raises(error, match=match):
        cls(*arguments)
