"""Clipping and areas of polygons, compared with formulas and with counting."""

import numpy as np
import pytest

from deepsphere.sampling import Fibonacci
from deepsphere.sampling.clipping import (
    Polygons,
    areas,
    cut,
    cut_at_parallel,
    following,
    polygons,
    split_at_extremes,
)

OCTANT = np.eye(3)
COUNTED = Fibonacci(200_000).points


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def random_triangles(n, seed=0):
    corners = unit(np.random.default_rng(seed).standard_normal((n, 3, 3)))
    turned = np.linalg.det(corners) < 0
    corners[turned] = corners[turned][:, ::-1]
    return corners


def inside(corners, points):
    """Whether points lie in a convex counterclockwise polygon."""
    normals = np.cross(corners, np.roll(corners, -1, axis=0))
    return (points @ normals.T >= 0).all(axis=1)


def test_vertices_follow_each_other_in_each_polygon():
    np.testing.assert_array_equal(following(np.array([0, 0, 0, 2, 2])), [1, 2, 0, 4, 3])
    assert len(following(np.array([], np.int64))) == 0


def test_areas_of_triangles_are_their_angular_excess():
    corners = random_triangles(50)
    a, b, c = np.moveaxis(corners, 1, 0)

    def angle(at, one, other):
        u, v = np.cross(at, one), np.cross(at, other)
        return np.arccos((unit(u) * unit(v)).sum(axis=1))

    excess = angle(a, b, c) + angle(b, c, a) + angle(c, a, b) - np.pi
    shapes = polygons(corners.reshape(-1, 3), np.full(50, 3))
    # The arc cosine of the truth loses half of the digits where an angle is close to 180 degrees.
    np.testing.assert_allclose(areas(shapes, 50), excess, atol=1e-7)
    backward = polygons(corners[:, ::-1].reshape(-1, 3), np.full(50, 3))
    np.testing.assert_allclose(areas(backward, 50), -areas(shapes, 50), atol=1e-13)


def test_polygons_without_vertices_have_no_area():
    shapes = Polygons(OCTANT, np.array([1, 1, 1]), np.zeros(3, bool))
    np.testing.assert_allclose(areas(shapes, 3), [0, np.pi / 2, 0])
    np.testing.assert_array_equal(areas(shapes.taken(slice(0, 0)), 2), [0, 0])


def test_a_box_is_bounded_by_parallels():
    """Between latitudes 20 and 50 and longitudes 10 and 70 degrees."""
    latitudes, longitudes = np.radians([20, 20, 50, 50]), np.radians([10, 70, 70, 10])
    corners = np.stack(
        [
            np.cos(latitudes) * np.cos(longitudes),
            np.cos(latitudes) * np.sin(longitudes),
            np.sin(latitudes),
        ],
        axis=1,
    )
    box = Polygons(corners, np.zeros(4, int), np.array([True, False, True, False]))
    expected = np.radians(60) * (np.sin(np.radians(50)) - np.sin(np.radians(20)))
    assert areas(box, 1)[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("seed", range(5))
def test_both_sides_of_a_plane_fill_the_polygon(seed):
    corners = random_triangles(20, seed)
    shapes = polygons(corners.reshape(-1, 3), np.full(20, 3))
    normals = np.repeat(unit(np.random.default_rng(seed).standard_normal((20, 3))), 3, axis=0)
    kept, left = areas(cut(shapes, normals), 20), areas(cut(shapes, -normals), 20)
    np.testing.assert_allclose(kept + left, areas(shapes, 20), atol=1e-13)
    for i in range(20):
        both = inside(corners[i], COUNTED) & (COUNTED @ normals[3 * i] >= 0)
        # Points along the boundary, of some thousand, are counted on the wrong side.
        assert kept[i] == pytest.approx(both.mean() * 4 * np.pi, abs=2e-3)


@pytest.mark.parametrize("height", [-0.6, 0.0, 0.3])
def test_both_sides_of_a_parallel_fill_the_polygon(height):
    corners = random_triangles(20, 7)
    shapes = split_at_extremes(polygons(corners.reshape(-1, 3), np.full(20, 3)))
    heights = np.full(len(shapes.vertices), height)
    north, south = (areas(cut_at_parallel(shapes, heights, side), 20) for side in (True, False))
    np.testing.assert_allclose(north + south, areas(shapes, 20), atol=1e-12)
    for i in range(20):
        both = inside(corners[i], COUNTED) & (COUNTED[:, 2] >= height)
        assert north[i] == pytest.approx(both.mean() * 4 * np.pi, abs=2e-3)


def test_edges_are_split_where_they_are_northernmost():
    corners = unit(np.array([[1.0, -1.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]]))
    shapes = split_at_extremes(polygons(corners, np.array([3])))
    np.testing.assert_allclose(shapes.vertices[1], unit(np.array([1.0, 0.0, 1.0])), atol=1e-15)
    assert len(shapes.vertices) == 4
    assert split_at_extremes(polygons(OCTANT, np.array([3]))).vertices is OCTANT
