"""Edges other than nearest neighbors, compared with geometry and other libraries."""

import healpy
import numpy as np
import pytest
from scipy.spatial import SphericalVoronoi

from deepsphere.graph import Graph, edge_weights, gaussian_weights, laplacian, nearest_neighbors
from deepsphere.sampling import Equiangular, GaussLegendre, Healpix, ReducedGaussian

SPHERE = Healpix(8)
PART = Healpix(8, np.arange(100, 260))


def test_mesh_joins_voronoi_cells_that_touch():
    weights = edge_weights(SPHERE, "mesh")
    cells = SphericalVoronoi(SPHERE.points).regions
    corners = [set(cell) for cell in cells]
    rows, columns = weights.nonzero()
    assert all(len(corners[i] & corners[j]) == 2 for i, j in zip(rows, columns, strict=True))
    # Four pixels around a point, as in HEALPix, are joined by one diagonal or the other, whose
    # weight is 0 where they lie on a circle: so at least four edges, and about six.
    assert np.diff(weights.indptr).min() >= 4
    assert weights.nnz <= 6 * len(SPHERE) - 12  # Euler
    assert abs(weights - weights.T).max() < 1e-12


def test_mesh_is_the_stiffness_matrix():
    """On flat triangles, the energy of a linear function is exactly that of its gradient."""
    from scipy.spatial import ConvexHull

    weights = edge_weights(SPHERE, "mesh")
    hull = ConvexHull(SPHERE.points)
    for f, gradient in zip(SPHERE.points.T, np.eye(3), strict=True):
        energy = 0.5 * weights.multiply((f[:, None] - f[None]) ** 2).sum()
        flat = gradient - hull.equations[:, :3] * (hull.equations[:, :3] @ gradient)[:, None]
        corners = SPHERE.points[hull.simplices]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        areas = np.linalg.norm(normal, axis=1) / 2
        assert energy == pytest.approx((flat**2).sum(axis=1) @ areas, rel=1e-10)


def test_mesh_of_a_part_does_not_span_the_rest():
    weights = edge_weights(PART, "mesh")
    rows, columns = weights.nonzero()
    distances = np.linalg.norm(PART.points[rows] - PART.points[columns], axis=1)
    assert distances.max() < 4 * np.sqrt(PART.areas[0])  # it is 1.7 long, from end to end


@pytest.mark.parametrize("sampling", [Healpix(1), Healpix(2), SPHERE, PART], ids=str)
def test_adjacent(sampling):
    weights = edge_weights(sampling, "adjacent").toarray()
    expected = np.zeros_like(weights, dtype=bool)
    for i, pixel in enumerate(sampling.pixels):
        around = healpy.get_all_neighbours(sampling.nside, int(pixel), nest=True)
        expected[i] = np.isin(sampling.pixels, around[around >= 0])
    np.testing.assert_array_equal(weights != 0, expected)
    squares = ((sampling.points[:, None] - sampling.points[None]) ** 2).sum(axis=2)
    formula = np.exp(-squares / (2 * squares[expected].mean())) * expected
    np.testing.assert_allclose(weights, formula, rtol=1e-12)


@pytest.mark.parametrize("sampling", [Equiangular(4, 6), GaussLegendre(3, 8)], ids=str)
def test_grid(sampling):
    """West, east, north, south; beyond a pole, the same row on the opposite side."""
    nlat, nlon, points = sampling.nlat, sampling.nlon, sampling.points
    expected = np.zeros((len(sampling), len(sampling)))
    for i in range(nlat):
        for j in range(nlon):
            around = [(i, (j - 1) % nlon), (i, (j + 1) % nlon)]
            for row in (i - 1, i + 1):
                inside = 0 <= row < nlat
                around.append((row, j) if inside else (i, (j + nlon // 2) % nlon))
            for row, column in around:
                a, b = i * nlon + j, row * nlon + column
                expected[a, b] = 1 / np.linalg.norm(points[a] - points[b])
    found = edge_weights(sampling, "grid").toarray()
    assert (np.count_nonzero(found, axis=1) == 4).all()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(found, found.T, rtol=1e-12)


@pytest.mark.parametrize(
    ("sampling", "edges", "error", "match"),
    [
        (Equiangular(4, 7), "grid", ValueError, "even number of longitudes, .* got nlon=7"),
        (
            Equiangular(5, 8, "clenshaw-curtis"),
            "grid",
            ValueError,
            "several points of .* lie at a pole",
        ),
        (ReducedGaussian(4), "grid", TypeError, "Equiangular or GaussLegendre grid, got Reduced"),
        (
            Equiangular(5, 8, "clenshaw-curtis"),
            "mesh",
            ValueError,
            "several points of .* lie at a pole",
        ),
        (Healpix(1, [0, 1, 2]), "mesh", ValueError, "a mesh needs at least four points, got 3"),
        (Equiangular(4, 8), "adjacent", TypeError, "requires a Healpix sampling, got Equiangular"),
    ],
)
def test_errors(sampling, edges, error, match):
    with pytest.raises(error, match=match):
        edge_weights(sampling, edges)


@pytest.mark.parametrize("options", [{"edges": "mesh"}, {"width": 0.1}, {"spread": True}], ids=str)
def test_old_ties_are_those_of_the_nearest_neighbors(options):
    with pytest.raises(ValueError, match="requires nearest neighbors and the tuned width"):
        laplacian(SPHERE, Graph(**options, laplacian="normalized_tf2"))


def test_average_width():
    distances = nearest_neighbors(SPHERE.points, 8).distances
    by_name = edge_weights(SPHERE, Graph(8, width="average"))
    by_number = gaussian_weights(SPHERE, 8, float(distances.mean()))
    np.testing.assert_array_equal(by_name.toarray(), by_number.toarray())
    # At the mean distance the weight is 1/2.
    halves = by_name.data[np.abs(by_name.data - 0.5) < 0.05]
    assert len(halves) > 0


@pytest.mark.parametrize("edges", ["grid", "adjacent"])
def test_refuses_other_samplings(edges):
    class Other:
        places = None

        def __repr__(self):
            return "Other()"

        def __len__(self):
            return 5

    with pytest.raises(TypeError, match=r"got Other\(\)"):
        edge_weights(Other(), edges)
