"""The icosahedron and its subdivisions, compared with known figures."""

import numpy as np
import pytest

from deepsphere.graph.neighbors import nearest_neighbors
from deepsphere.sampling import Icosahedral, IcosahedralFaces


def test_icosahedron():
    points = Icosahedral(0).points
    cosines = points @ points.T
    # Every vertex has its opposite and five neighbors, at the angle whose tangent is 2.
    np.testing.assert_allclose(
        np.sort(cosines, axis=1),
        np.tile([-1] + [-1 / np.sqrt(5)] * 5 + [1 / np.sqrt(5)] * 5 + [1], (12, 1)),
        rtol=0,
        atol=1e-15,
    )
    np.testing.assert_array_equal(points[[0, 11]], [[0, 0, 1], [0, 0, -1]])
    assert points[1, 1] == 0
    np.testing.assert_allclose(Icosahedral(0).areas, np.pi / 3, rtol=1e-14)
    np.testing.assert_allclose(IcosahedralFaces(0).areas, np.pi / 5, rtol=1e-14)


@pytest.mark.parametrize("level", range(5))
def test_numbers(level):
    vertices, faces = Icosahedral(level), IcosahedralFaces(level)
    assert len(vertices) == len(vertices.points) == 10 * 4**level + 2
    assert len(faces) == len(faces.points) == 20 * 4**level
    assert vertices.faces.shape == (20 * 4**level, 3)
    # Euler: as many edges as vertices and faces, less two. Each is a side of two triangles.
    sides = np.sort(vertices.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, counts = np.unique(sides, axis=0, return_counts=True)
    assert len(edges) == len(vertices) + len(faces) - 2
    assert np.all(counts == 2)


def test_faces_turn_one_way():
    vertices = Icosahedral(3)
    a, b, c = np.moveaxis(vertices.points[vertices.faces], 1, 0)
    assert np.all(np.sum(a * np.cross(b, c), axis=1) > 0)


def test_vertices_of_a_level_are_the_first_of_the_next():
    np.testing.assert_array_equal(Icosahedral(3).points[:162], Icosahedral(2).points)


def test_new_vertices_lie_halfway_between_their_parents():
    fine, coarse = Icosahedral(3), Icosahedral(2)
    middles = fine.membership().T @ coarse.points
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    np.testing.assert_allclose(middles, fine.points, rtol=0, atol=1e-15)
    assert len(np.unique(fine.points.round(12), axis=0)) == len(fine)


def test_a_coarse_vertex_gathers_itself_and_half_of_its_neighbors():
    shares = Icosahedral(3).membership()
    np.testing.assert_array_equal(shares.sum(axis=1), [3.5] * 12 + [4] * 150)
    np.testing.assert_array_equal(shares[:, :162].toarray(), np.eye(162))
    rows, columns, _ = nearest_neighbors(Icosahedral(3).points, 6)
    around = np.sort(columns[rows == 100])
    np.testing.assert_array_equal(shares[[100]].nonzero()[1], [100, *around])


def test_neighbors_are_those_of_the_triangles():
    """Six nearest points, but five at the twelve corners of the icosahedron."""
    vertices = Icosahedral(3)
    sides = vertices.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    rows, columns, _ = nearest_neighbors(vertices.points, 5)
    of_corners = rows < 12
    nearest = set(zip(rows[of_corners], columns[of_corners], strict=True))
    assert nearest == {(a, b) for a, b in sides if a < 12}


@pytest.mark.parametrize("p", [1, 2])
def test_children_fill_their_face(p):
    fine, coarse = IcosahedralFaces(3), IcosahedralFaces(3 - p)
    np.testing.assert_allclose(
        fine.areas.reshape(-1, 4**p).sum(axis=1), coarse.areas, rtol=1e-13, atol=0
    )
    corners = coarse._mesh.vertices[coarse.faces]
    children = fine.points.reshape(-1, 4**p, 3)
    for k in range(3):  # inside all three edges of the parent
        edge = np.cross(corners[:, k], corners[:, (k + 1) % 3])
        assert np.all(np.einsum("fi,fci->fc", edge, children) > 0)


def test_areas_of_vertices_are_thirds_of_faces_about_them():
    vertices, faces = Icosahedral(4), IcosahedralFaces(4)
    thirds = np.bincount(vertices.faces.ravel(), np.repeat(faces.areas / 3, 3))
    # At the twelve corners meet five isosceles triangles, whose tips of 72 degrees get more.
    tip = 3 * np.sin(np.radians(108)) / (np.sin(np.radians(144)) + 2 * np.sin(np.radians(108)))
    thirds[:12] *= tip
    # Others are not quite equilateral, and none is quite flat.
    np.testing.assert_allclose(vertices.areas, thirds, rtol=0.03)


@pytest.mark.parametrize("cls", [Icosahedral, IcosahedralFaces])
def test_errors(cls):
    with pytest.raises(ValueError, match=r"level must be a nonnegative number.*-1"):
        cls(-1)
    with pytest.raises(ValueError, match="level must be at most 14, got 15"):
        cls(15)
    with pytest.raises(TypeError, match=r"level must be an integer.*2\.0"):
        cls(2.0)
    with pytest.raises(ValueError, match="level 2 has 2 coarser levels, got levels=3"):
        cls(2).coarsen(3)


def test_arrays_are_read_only():
    vertices = Icosahedral(1)
    for array in (vertices.points, vertices.areas, vertices.faces):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
