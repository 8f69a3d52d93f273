"""Interpolation between samplings keeps integrals and constants and finds nearest points."""

import numpy as np
import pytest

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
from deepsphere.sampling.overlaps import cell_overlaps
from deepsphere.sampling.resampling import (
    METHODS,
    interpolation_matrix,
    padded,
    pooling_matrix,
    unpooling_matrix,
)

CAP = np.random.default_rng(0).normal((3, 0, 1), 0.2, (40, 3))

SAMPLINGS = [
    Healpix(1),
    Healpix(2),
    Healpix(4),
    Equiangular(8, 16),
    Equiangular(16, 32),
    Equiangular(9, 16, "clenshaw-curtis"),
    Equiangular(8, 8, "driscoll-healy"),
    Equiangular(3, 1),
    GaussLegendre(8),
    GaussLegendre(16),
    ReducedGaussian(4),
    Icosahedral(0),
    Icosahedral(2),
    IcosahedralFaces(1),
    IcosahedralFaces(2),
    CubedSphere(2),
    CubedSphere(4),
    Fibonacci(1),
    Fibonacci(100),
    RandomUniform(80, 0),
    Scattered(CAP),  # most of the sphere is far from all of them
    Scattered([[0, 30], [100, 30], [220, 30]]),  # on a circle
    Scattered([[10, 20], [90, -60]]),
    Scattered(Equiangular(8, 16).points),  # their cells are nearly those of the grid
    Scattered(Healpix(2).points),
]

PAIRS = [
    (Healpix(8), Equiangular(16, 32)),
    (Equiangular(16, 32), Healpix(8)),
    (Equiangular(17, 32, "clenshaw-curtis"), Healpix(4)),
]


@pytest.mark.parametrize("source", SAMPLINGS, ids=str)
def test_conservative_interpolation_between_all_samplings(source):
    x = np.random.default_rng(0).standard_normal((len(source), 5))
    for target in SAMPLINGS:
        matrix = interpolation_matrix(source, target)
        assert matrix.data.min() > 0
        np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-13, err_msg=str(target))
        np.testing.assert_allclose(
            matrix.T @ target.areas, source.areas, rtol=1e-12, err_msg=str(target)
        )
        lost = target.areas @ (matrix @ x) - source.areas @ x
        assert np.abs(lost).max() < 1e-12 * (source.areas @ np.abs(x)).max()


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=str)
def test_smooth_fields_come_out_to_a_cell(source, target):
    matrix = interpolation_matrix(source, target)
    # Coordinates change by 1 in a radian.
    cell = np.sqrt(max(source.areas.max(), target.areas.max()))
    assert np.abs(matrix @ source.points - target.points).max() < cell


@pytest.mark.parametrize("target", [SAMPLINGS[i] for i in (2, 4, 10, 12, 16, 18)], ids=str)
@pytest.mark.parametrize("source", [SAMPLINGS[i] for i in (2, 4, 5, 12, 14, 19)], ids=str)
def test_parts_of_the_sphere(source, target):
    part = source.subset(regions.disc(source, lon=30, lat=50, radius=60))
    with pytest.raises(ValueError, match=r"points of .* has no cells: use the part"):
        interpolation_matrix(part, target)
    matrix = interpolation_matrix(part, target, allow_uncovered=True)
    overlaps = cell_overlaps(part, target)
    covered = np.diff(matrix.indptr) > 0
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    np.testing.assert_allclose(sums[covered], 1, rtol=0, atol=1e-13)
    assert matrix.data.min() > 0
    # What is covered of the targets is known up to the chains of arcs of HEALPix pixels. Cells of
    # the part lie within the target, which is all of the sphere: their integrals are kept.
    common = np.asarray(overlaps.sum(axis=1)).ravel()
    x = np.random.default_rng(0).random(len(part))
    np.testing.assert_allclose(common @ (matrix @ x), part.areas @ x, rtol=1e-3)
    # From all of the sphere to a part, all targets are covered, and nothing is lost of the cells
    # that lie within.
    matrix = interpolation_matrix(target, part)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-13)
    assert matrix.data.min() > 0
    taken = matrix.T @ part.areas / target.areas
    assert taken.max() < 1 + 1e-12
    whole = interpolation_matrix(target, source).T @ source.areas / target.areas
    np.testing.assert_allclose(whole, 1, rtol=1e-12)
    assert part.areas.sum() == pytest.approx(taken @ target.areas, rel=1e-12)


def test_parts_that_are_the_same():
    region = np.arange(12 * 4**2) < 3 * 4**2
    fine = Healpix(8, np.arange(3 * 8**2))
    matrix = interpolation_matrix(fine, Healpix(4).subset(region))
    np.testing.assert_allclose(matrix.toarray(), pooling_matrix(fine).toarray(), rtol=1e-14)
    np.testing.assert_allclose(matrix.T @ np.full(48, np.pi / 48), fine.areas, rtol=1e-13)


def test_to_itself_nothing_changes():
    points = Fibonacci(50).points
    close = Scattered(np.concatenate((points, points[:9] + np.array([1e-8, 2e-8, 3e-8]))))
    for sampling in (Healpix(2), Equiangular(4, 6), close):
        matrix = interpolation_matrix(sampling, sampling).toarray()
        np.testing.assert_allclose(matrix, np.eye(len(sampling)), rtol=0, atol=1e-15)
    # Copies of a pole share one value.
    grid = Equiangular(3, 4, "clenshaw-curtis")
    matrix = interpolation_matrix(grid, grid).toarray()
    expected = np.kron(np.diag([1, 0, 1]), np.full((4, 4), 1 / 4))
    expected[4:8, 4:8] = np.eye(4)
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-15)


def test_stations_close_together():
    points = np.concatenate((Fibonacci(200).points, np.random.default_rng(0).normal(size=(40, 3))))
    beside = points[:40] + 1e-7 * np.cross(points[:40], [0.3, 0.5, 0.7])
    stations = Scattered(np.concatenate((points, beside)))
    for source, target in ((stations, Healpix(4)), (GaussLegendre(8), stations)):
        matrix = interpolation_matrix(source, target)
        assert matrix.data.min() > 0
        np.testing.assert_allclose(matrix.T @ target.areas, source.areas, rtol=1e-12)


def test_areas_that_are_not_those_of_the_cells():
    class Wrong(Scattered):
        @property
        def areas(self):
            return np.where(np.arange(len(self)) < 2, 1.6, 0.4) * super().areas

    octahedron = np.concatenate((np.eye(3), -np.eye(3)))
    with pytest.raises(ValueError, match="declared areas differ"):
        interpolation_matrix(Wrong(octahedron), Scattered(octahedron))


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
    with pytest.raises(ValueError, match=r"44 of the 48 points of Healpix\(nside=2\) lie where"):
        interpolation_matrix(part, Healpix(2))


@pytest.mark.parametrize("other", [Equiangular(3, 5), Icosahedral(1), Healpix(2, [5])], ids=str)
def test_a_single_pixel(other):
    pixel = Healpix(2, [5])
    for method in METHODS:
        matrix = interpolation_matrix(other, pixel, method)
        assert matrix.sum() == pytest.approx(1, rel=1e-12)
        back = interpolation_matrix(pixel, other, method, allow_uncovered=True)
        sums = np.asarray(back.sum(axis=1)).ravel()
        np.testing.assert_allclose(sums[np.diff(back.indptr) > 0], 1, rtol=1e-12)


def test_parts_without_anything_in_common():
    points = Fibonacci(40)
    north, south = points.subset([np.argmax(points.points[:, 2])]), Icosahedral(1)
    south = south.subset(np.sort(np.argsort(south.points[:, 2])[:2]))
    matrix = interpolation_matrix(north, south, allow_uncovered=True)
    assert matrix.shape == (2, 1)
    assert matrix.nnz == 0
    with pytest.raises(ValueError, match="2 of the 2 points"):
        interpolation_matrix(north, south)
