"""Nearest neighbors, compared with all distances, including ties."""

import numpy as np
import pytest

from deepsphere.graph import nearest_neighbors
from deepsphere.sampling import Healpix


def all_distances(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def brute_force(points: np.ndarray, k: int) -> np.ndarray:
    """Return the dense neighbor matrix, by sorting all distances."""
    distances = all_distances(points)
    np.fill_diagonal(distances, np.inf)
    n = len(points)
    if k >= n - 1:
        return np.isfinite(distances)
    limit = np.sort(distances, axis=1)[:, k - 1]
    # On the grids of these tests, distances differ by rounding (1e-15) or by more than 1e-6.
    return distances <= limit[:, None] * (1 + 1e-8)


def dense(points: np.ndarray, k: int) -> np.ndarray:
    rows, columns, distances = nearest_neighbors(points, k)
    n = len(points)
    found = np.zeros((n, n), dtype=bool)
    found[rows, columns] = True
    assert found.sum() == len(rows), "an edge appears twice"
    assert np.all(np.diff(rows) >= 0), "edges are not sorted by point"
    np.testing.assert_allclose(distances, all_distances(points)[rows, columns], rtol=1e-14)
    return found


def random_points(n: int, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).standard_normal((n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("nside", [1, 2])
def test_every_number_on_healpix(nside):
    points = Healpix(nside).points
    for k in range(1, len(points) + 3):
        np.testing.assert_array_equal(dense(points, k), brute_force(points, k), err_msg=f"k={k}")


@pytest.mark.parametrize("k", [1, 4, 8, 20, 21, 40, 60])
@pytest.mark.parametrize("part", [False, True])
def test_healpix(k, part):
    pixels = np.flatnonzero(np.random.default_rng(k).random(768) < 0.4) if part else None
    points = Healpix(8, pixels).points
    np.testing.assert_array_equal(dense(points, k), brute_force(points, k))


@pytest.mark.parametrize("k", [1, 2, 7, 30, 99, 100, 10_000])
def test_random_points(k):
    points = random_points(100)
    found = dense(points, k)
    np.testing.assert_array_equal(found, brute_force(points, k))
    np.testing.assert_array_equal(found.sum(axis=1), min(k, 99))  # no ties: exactly as many


@pytest.mark.parametrize("k", [8, 20])
def test_ties_are_there_and_kept(k):
    """At nside 8 some pixels have neighbors at equal distance; dropping one is detected."""
    counts = np.bincount(nearest_neighbors(Healpix(8).points, k).rows)
    assert counts.min() == k
    assert np.count_nonzero(counts > k) == 40  # counted from sorted distances, see the next line
    distances = np.sort(all_distances(Healpix(8).points), axis=1)
    assert np.count_nonzero(distances[:, k + 1] < distances[:, k] * (1 + 1e-8)) == 40


def test_more_ties_than_the_first_query_returns():
    angles = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    ring = np.column_stack((0.6 * np.cos(angles), 0.6 * np.sin(angles), np.full(30, 0.8)))
    points = np.vstack((ring, [[0, 0, 1.0]]))
    for k in (1, 2, 3, 25):
        found = dense(points, k)
        np.testing.assert_array_equal(found, brute_force(points, k))
        assert found[30].sum() == 30  # all of the ring is equally far from its pole


@pytest.mark.parametrize("k", [1, 4, 5, 9])
def test_octahedron(k):
    points = np.vstack((np.eye(3), -np.eye(3)))
    assert np.all(dense(points, k).sum(axis=1) == (4 if k <= 4 else 5))


@pytest.mark.parametrize("k", [3, 8, 20, 33])
@pytest.mark.parametrize("nside", [4, 16])
def test_symmetry_of_the_grid(nside, k):
    """A rotation by 90 degrees about z maps HEALPix, and thus its graph, onto itself."""
    points = Healpix(nside).points
    turned = points @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])
    lattice = np.round(points, 6) + 0.0  # + 0.0 turns -0.0 into 0.0
    key = {tuple(point): i for i, point in enumerate(lattice)}
    image = np.array([key[tuple(point)] for point in np.round(turned, 6) + 0.0])
    assert len(set(image)) == len(points)
    rows, columns, _ = nearest_neighbors(points, k)
    edges = set(zip(rows.tolist(), columns.tolist(), strict=True))
    turned_edges = set(zip(image[rows].tolist(), image[columns].tolist(), strict=True))
    assert edges == turned_edges


@pytest.mark.parametrize("k", [1, 20])
def test_one_point(k):
    rows, columns, distances = nearest_neighbors(np.array([[0, 0, 1.0]]), k)
    assert len(rows) == len(columns) == len(distances) == 0
    assert np.issubdtype(rows.dtype, np.integer)


def test_two_points():
    rows, columns, distances = nearest_neighbors(np.array([[0, 0, 1.0], [0, 0, -1.0]]), 5)
    np.testing.assert_array_equal(rows, [0, 1])
    np.testing.assert_array_equal(columns, [1, 0])
    np.testing.assert_allclose(distances, 2)


@pytest.mark.parametrize("k", [0, -3])
def test_too_few(k):
    with pytest.raises(ValueError, match=f"at least 1, got {k}"):
        nearest_neighbors(random_points(5), k)


@pytest.mark.parametrize("k", [True, 2.0, "8", None])
@pytest.mark.parametrize("n", [1, 5])
def test_no_number(k, n):
    with pytest.raises(TypeError, match="must be an integer, got"):
        nearest_neighbors(random_points(n), k)


def test_numpy_integer():
    assert len(nearest_neighbors(random_points(5), np.int16(2)).rows) == 10
