"""Bilinear interpolation against healpy and SciPy, and its order on smooth fields."""

import healpy
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from deepsphere.sampling import (
    CubedSphere,
    Equiangular,
    Fibonacci,
    GaussLegendre,
    Healpix,
    Icosahedral,
    IcosahedralFaces,
    RandomUniform,
    ReducedGaussian,
    Scattered,
    regions,
)
from deepsphere.sampling.bilinear import bilinear_matrix
from deepsphere.sampling.resampling import interpolation_matrix

RNG = np.random.default_rng(0)
CAP = RNG.normal((3, 0, 1), 0.3, (60, 3))

SAMPLINGS = [
    Healpix(1),
    Healpix(4),
    Equiangular(6, 10),
    Equiangular(7, 12, "clenshaw-curtis"),
    Equiangular(6, 6, "driscoll-healy"),
    Equiangular(1, 1),
    GaussLegendre(8),
    ReducedGaussian(6),
    Icosahedral(2),
    IcosahedralFaces(1),
    CubedSphere(4),
    Fibonacci(1),
    Fibonacci(70),
    RandomUniform(70, 0),
    Scattered(CAP),
    Scattered([[0, 30], [100, 30], [220, 30]]),
    Scattered([[0, 30], [100, 30]]),
    Scattered(np.concatenate((np.eye(3), -np.eye(3)))),
]


def smooth(points):
    x, y, z = points.T
    return np.sin(2 * x) * np.cos(y + 0.3) + np.exp(z) * x + x * y * z


@pytest.mark.parametrize("source", SAMPLINGS, ids=str)
def test_weights(source):
    targets = np.concatenate((Fibonacci(300).points, [[0, 0, 1], [0, 0, -1], [-1, 0, 0]]))
    matrix = bilinear_matrix(source, targets)
    assert matrix.data.min() > 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-14)
    at_home = bilinear_matrix(source, source.points)
    field = source.points @ [1.0, 2.0, 3.0]  # alike where points coincide, at poles
    np.testing.assert_allclose(at_home @ field, field, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("coarse", "fine"),
    [
        (Healpix(16), Healpix(32)),
        (Equiangular(36, 72), Equiangular(72, 144)),
        (Equiangular(37, 72, "clenshaw-curtis"), Equiangular(73, 144, "clenshaw-curtis")),
        (GaussLegendre(36), GaussLegendre(72)),
        (ReducedGaussian(16), ReducedGaussian(32)),
        (Icosahedral(3), Icosahedral(4)),
        (IcosahedralFaces(3), IcosahedralFaces(4)),
        (CubedSphere(20), CubedSphere(40)),
        (Fibonacci(2000), Fibonacci(8000)),
    ],
    ids=str,
)
def test_second_order(coarse, fine):
    targets = RandomUniform(4000, 1).points
    if isinstance(coarse, Healpix):  # rings of 4, 8, 12 pixels at the poles are too coarse
        targets = targets[np.abs(targets[:, 2]) < 0.9]
    errors = [
        np.abs(bilinear_matrix(s, targets) @ smooth(s.points) - smooth(targets)).max()
        for s in (coarse, fine)
    ]
    # Second derivatives are up to about 7, and an eighth of them times the square of the interval
    # is left, in each of two directions; intervals are up to twice the square root of an area.
    assert errors[0] < 4 * coarse.areas.max()
    assert errors[1] < errors[0] / 2.5  # four times less, but for the distances of worst places


def test_healpix_is_that_of_healpy():
    x = np.random.default_rng(0).standard_normal(12 * 8**2)
    targets = Fibonacci(1000).points
    expected = healpy.get_interp_val(x, *healpy.vec2ang(targets), nest=True)
    np.testing.assert_allclose(bilinear_matrix(Healpix(8), targets) @ x, expected, atol=1e-12)


@pytest.mark.parametrize("grid", [Equiangular(9, 16, "clenshaw-curtis"), GaussLegendre(9, 16)])
def test_grids_are_those_of_scipy(grid):
    x = np.random.default_rng(0).standard_normal((9, 16))
    if grid.colatitudes[0] == 0:
        x[[0, -1]] = x[[0, -1], :1]  # a pole has one value
        rows, values = grid.colatitudes, x
    else:
        means = np.broadcast_to(x[[0, -1]].mean(axis=1)[:, None], (2, 16))
        rows = np.concatenate(([0], grid.colatitudes, [np.pi]))
        values = np.concatenate((means[:1], x, means[1:]))
    around = np.concatenate((values, values[:, :1]), axis=1)
    turn = np.linspace(0, 2 * np.pi, 17)
    targets = Fibonacci(500).points
    colatitudes = np.arccos(targets[:, 2])
    longitudes = np.arctan2(targets[:, 1], targets[:, 0]) % (2 * np.pi)
    expected = RegularGridInterpolator((rows, turn), around)(
        np.column_stack((colatitudes, longitudes))
    )
    np.testing.assert_allclose(bilinear_matrix(grid, targets) @ x.ravel(), expected, atol=1e-12)


@pytest.mark.parametrize("whole", [Healpix(8), GaussLegendre(16), Icosahedral(3)], ids=str)
def test_parts(whole):
    region = regions.disc(whole, lon=30, lat=50, radius=40)
    part = whole.subset(region)
    targets = RandomUniform(500, 2).points
    matrix, full = bilinear_matrix(part, targets), bilinear_matrix(whole, targets)
    assert matrix.data.min() > 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-14)
    within = np.asarray(full[:, region].sum(axis=1)).ravel() > 1 - 1e-12
    assert within.sum() > 20
    difference = (matrix - full[:, region])[within]
    assert difference.nnz == 0 or np.abs(difference.data).max() < 1e-12
    outside = np.asarray(full[:, region].sum(axis=1)).ravel() == 0
    nearest = (targets[outside] @ part.points.T).argmax(axis=1)
    np.testing.assert_array_equal(matrix[outside].indices, nearest)


def test_as_a_method():
    source, target = Equiangular(8, 16), Healpix(4)
    matrix = interpolation_matrix(source, target, "bilinear")
    np.testing.assert_array_equal(
        matrix.toarray(), bilinear_matrix(source, target.points).toarray()
    )
