"""Interpolation between samplings: integrals kept, constants kept, nearest points found."""

import numpy as np
import pytest

from deepsphere.sampling import (
    CubedSphere,
    Equiangular,
    Fibonacci,
    GaussLegendre,
    Healpix,
    Icosahedral,
    ReducedGaussian,
)
from deepsphere.sampling.resampling import (
    interpolation_matrix,
    padded,
    pooling_matrix,
    unpooling_matrix,
)

PAIRS = [
    (Healpix(8), Equiangular(16, 32)),
    (Equiangular(16, 32), Healpix(8)),
    (Equiangular(17, 32, "clenshaw-curtis"), Healpix(4)),
    (Healpix(4), Equiangular(16, 32, "driscoll-healy")),
    (GaussLegendre(12), ReducedGaussian(8)),
    (Icosahedral(3), Fibonacci(200)),
    (CubedSphere(4), Icosahedral(2)),
]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=str)
def test_conservative_interpolation_keeps_integrals(source, target):
    matrix = interpolation_matrix(source, target)
    x = np.random.default_rng(0).standard_normal((len(source), 5))
    lost = target.areas @ (matrix @ x) - source.areas @ x
    assert np.abs(lost).max() < 1e-12 * (source.areas @ np.abs(x)).max()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-12)
    # Smooth fields come out to about a cell of the coarser one; they change by 1 in a radian.
    cell = np.sqrt(max(source.areas.max(), target.areas.max()))
    assert np.abs(matrix @ source.points - target.points).max() < cell


@pytest.mark.parametrize(("source", "target"), PAIRS[:3], ids=str)
def test_nearest(source, target):
    matrix = interpolation_matrix(source, target, "nearest")
    distances = np.linalg.norm(source.points[:, None] - target.points[None], axis=2)
    columns = matrix.indices
    np.testing.assert_allclose(
        distances[columns, np.arange(len(target))], distances.min(axis=0), atol=1e-12
    )
    assert (matrix.data == 1).all()


def test_inverse_distance():
    source, target = Healpix(4), Fibonacci(50)
    matrix = interpolation_matrix(source, target, "inverse_distance", 3).toarray()
    for i, point in enumerate(target.points):
        distances = np.linalg.norm(source.points - point, axis=1)
        near = np.argsort(distances)[:3]
        expected = np.zeros(len(source))
        expected[near] = 1 / distances[near] / (1 / distances[near]).sum()
        np.testing.assert_allclose(matrix[i], expected, rtol=1e-9)
    same = interpolation_matrix(source, source, "inverse_distance").toarray()
    np.testing.assert_array_equal(same, np.eye(len(source)))


def test_hierarchy():
    sphere = Icosahedral(2)
    shares = sphere.membership().toarray()
    np.testing.assert_allclose(
        pooling_matrix(sphere).toarray(), shares / shares.sum(axis=1, keepdims=True), rtol=1e-12
    )
    weighted = shares * sphere.areas
    np.testing.assert_allclose(
        pooling_matrix(sphere, weighted=True).toarray(),
        weighted / weighted.sum(axis=1, keepdims=True),
        rtol=1e-12,
    )
    np.testing.assert_allclose(unpooling_matrix(sphere).toarray(), shares.T, rtol=1e-12)


def test_padding():
    matrix = pooling_matrix(Icosahedral(1))
    indices, weights = padded(matrix)
    dense = np.zeros(matrix.shape)
    for column, weight in zip(indices, weights, strict=True):
        np.add.at(dense, (np.arange(matrix.shape[0]), column), weight)
    np.testing.assert_allclose(dense, matrix.toarray())
    present = matrix.toarray() > 0
    assert present[np.arange(matrix.shape[0]), indices].all()


def test_errors():
    with pytest.raises(ValueError, match=r"method must be one of .*; got 'linear'"):
        interpolation_matrix(Healpix(1), Healpix(2), "linear")
    part = Healpix(4, range(16))
    with pytest.raises(ValueError, match=r"same part of the sphere; .* covers 1.04.* and .* 12.5"):
        interpolation_matrix(part, Healpix(2))
