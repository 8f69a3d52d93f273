"""Voronoi cells, compared with symmetry, counts and spherical wedges."""

import numpy as np
import pytest

from deepsphere.sampling import Fibonacci
from deepsphere.sampling.voronoi import farthest_places, nearest_shares, voronoi_areas


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_points(n, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((n, 3)))


def on_a_circle(degrees, height=0.3):
    angles = np.radians(degrees)
    radius = np.sqrt(1 - height**2)
    flat = [radius * np.cos(angles), radius * np.sin(angles), np.full(len(angles), height)]
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))
    return np.column_stack(flat) @ turn


def test_equal_cells():
    cube = unit(np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1.0])).reshape(3, 8).T)
    np.testing.assert_allclose(voronoi_areas(cube), np.pi / 2, rtol=1e-14)
    octahedron = np.concatenate((np.eye(3), -np.eye(3)))
    np.testing.assert_allclose(voronoi_areas(octahedron), 2 * np.pi / 3, rtol=1e-14)


def test_areas_are_those_of_the_nearest_points():
    points = random_points(20)
    samples = random_points(200_000, seed=1)
    counts = nearest_shares(samples, points).sum(axis=1)
    expected = voronoi_areas(points) / (4 * np.pi)
    # A count of a binomial distribution: five standard deviations.
    assert np.all(np.abs(counts / 2e5 - expected) < 5 * np.sqrt(expected / 2e5))


@pytest.mark.parametrize("n", [5, 1000, 50_000])
def test_areas_fill_the_sphere(n):
    areas = voronoi_areas(random_points(n))
    assert areas.min() > 0
    assert areas.sum() == pytest.approx(4 * np.pi, rel=1e-12)


def test_a_small_region_and_the_rest_of_the_sphere():
    points = unit(np.array([1, 0, 0]) + 0.01 * random_points(300))
    areas = voronoi_areas(points)
    assert areas.sum() == pytest.approx(4 * np.pi, rel=1e-12)
    assert areas.max() > 0.1  # those at the edge share all that is beyond
    assert np.median(areas) < 1e-5


@pytest.mark.parametrize("distance", [1e-4, 1e-6, 1e-8])
def test_close_pairs(distance):
    points = Fibonacci(500).points
    beside = unit(points[:50] + distance * np.cross(points[:50], random_points(50, seed=2)))
    pairs = voronoi_areas(np.concatenate((points, beside)))
    single = voronoi_areas(points)
    # Both points of a pair fill about the cell of the one, which is 0.15 wide: edges move by the
    # distance. Next to 1e-8, the coordinates of points have lost half of their digits.
    together = pairs[:50] + pairs[500:]
    np.testing.assert_allclose(together, single[:50], rtol=20 * distance + 1e-6)


def test_coincident_points():
    points = random_points(10)
    with pytest.raises(ValueError, match="Duplicate"):
        voronoi_areas(np.concatenate((points, points[:1])))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (np.array([[0, 0, 1.0]]), [4]),
        (random_points(2), [2, 2]),
        (np.array([[0, 0, 1.0], [0, 0, -1.0]]), [2, 2]),
        # A wedge as wide as w degrees is w / 360 of 4 pi; it ends halfway to the next points.
        (on_a_circle([0, 90, 180]), [4 * 135 / 360, 1, 4 * 135 / 360]),
        (on_a_circle([200, 10, 30, 100]), [1.5, 4 * 95 / 360, 0.5, 4 * 85 / 360]),
        (on_a_circle([0, 120, 240], height=0), [4 / 3] * 3),
    ],
)
def test_points_on_a_circle(points, expected):
    np.testing.assert_allclose(voronoi_areas(points) / np.pi, expected, rtol=1e-12)


def test_points_in_a_heap():
    points = unit(np.array([1, 0, 0]) + 1e-6 * random_points(30))
    with pytest.raises(ValueError, match="30 points are so close together"):
        voronoi_areas(points)


def test_nearest_shares():
    shares = nearest_shares(np.eye(3), -np.eye(3)[:2] + [[0, 0, 0.1], [0, 0, 0]])
    # z is nearer to the first, as it is lifted; x is nearer to -y than to -x.
    np.testing.assert_array_equal(shares.toarray(), [[0, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    "points",
    [
        random_points(1),
        random_points(2),
        random_points(3),
        np.array([[0, 0, 1.0], [0, 0, -1.0]]),
        on_a_circle([0, 40, 90, 200]),
        on_a_circle([0, 20, 50, 100]),
        on_a_circle([0, 120, 240], height=0),
        on_a_circle([0, 60, 120, 180], height=0),
        unit([1, 0, 0] + 0.3 * random_points(8)),
        unit([1, 0, 0] + 0.3 * random_points(8, seed=1)),
        np.concatenate((np.eye(3)[:2], unit(np.array([[1, 1, 0.1], [1, 1, -0.1]])))),
        random_points(50),
    ],
)
def test_farthest_places(points):
    """No random position is farther from the points than the farthest one found."""

    def closest(places):
        return (places @ points.T).max(axis=1)  # cosines of the distances

    found = farthest_places(points)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-12)
    samples = random_points(200_000, seed=1)
    cosine = closest(found).min()
    assert cosine <= closest(samples).min() + 1e-12
    # And not for lack of samples: there is one within 0.02 of any place.
    assert np.arccos(cosine) - np.arccos(closest(samples).min()) < 0.02


def test_opposite_to_the_middle_of_two_points():
    """With only two points, the farthest position is not a corner of a cell."""
    points = on_a_circle([0, 50, 100], height=0)
    points = np.concatenate((points, unit(points[1:2] + 0.1 * random_points(5))))
    middle = unit(points[0:1] + points[2:3])
    found = farthest_places(points)
    best = found[(found @ points.T).max(axis=1).argmin()]
    np.testing.assert_allclose(best, -middle[0], atol=1e-12)
