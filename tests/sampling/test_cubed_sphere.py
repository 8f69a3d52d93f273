"""The cubed sphere: positions and areas of its cells."""

import numpy as np
import pytest

from deepsphere.sampling import CubedSphere


def test_faces():
    np.testing.assert_allclose(
        CubedSphere(1).points,
        [[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]],
        rtol=0,
        atol=1e-15,
    )
    np.testing.assert_allclose(CubedSphere(1).areas, 2 * np.pi / 3, rtol=1e-14)


def test_cells_are_at_equal_angles():
    points = CubedSphere(6).points.reshape(6, 6, 6, 3)
    angles = -37.5 + 15 * np.arange(6)
    for face in range(4):
        longitudes = np.degrees(np.arctan2(points[face, ..., 1], points[face, ..., 0]))
        expected = np.tile(90 * face + angles, (6, 1))
        np.testing.assert_allclose((longitudes - expected + 180) % 360, 180, rtol=0, atol=1e-12)
    first = points[0]
    slopes = np.degrees(np.arctan2(first[..., 2], first[..., 0]))
    np.testing.assert_allclose(slopes, np.tile(-angles[:, None], (1, 6)), rtol=0, atol=1e-12)


def test_faces_of_the_poles_go_on_from_the_first():
    points = CubedSphere(16).points.reshape(6, 16, 16, 3)
    step = np.pi / 2 / 16
    for above, below in ((points[4, -1], points[0, 0]), (points[0, -1], points[5, 0])):
        distances = np.linalg.norm(above - below, axis=1)
        assert np.all(distances < step)
        assert np.all(above[:, 2] > below[:, 2])


def test_areas_are_those_of_spherical_quadrangles():
    n = 5
    areas = CubedSphere(n).areas.reshape(6, n, n)
    edges = np.tan(np.linspace(-np.pi / 4, np.pi / 4, n + 1))
    # Girard: the sum of the angles between the planes of the edges, less 2 pi.
    for i, j in ((0, 0), (2, 2), (1, 3)):
        x0, x1, y0, y1 = edges[j], edges[j + 1], edges[i], edges[i + 1]
        corners = np.array([[1, x0, y0], [1, x1, y0], [1, x1, y1], [1, x0, y1]])
        normals = np.cross(corners, np.roll(corners, -1, axis=0))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        turns = np.arccos(np.sum(normals * np.roll(normals, 1, axis=0), axis=1))
        # Sum of four angles near pi / 2 less 2 pi: roundings of 1e-15 in 0.06.
        np.testing.assert_allclose(areas[:, i, j], 2 * np.pi - turns.sum(), rtol=1e-12)


def test_coarse_cells_are_two_by_two():
    values = np.random.default_rng(0).standard_normal((6, 8, 8))
    sums = CubedSphere(8).membership() @ values.ravel()
    expected = values.reshape(6, 4, 2, 4, 2).sum(axis=(2, 4))
    np.testing.assert_allclose(sums.reshape(6, 4, 4), expected, rtol=0, atol=1e-14)
    assert CubedSphere(8).coarsen() == CubedSphere(4)


def test_errors():
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        CubedSphere(0)
    with pytest.raises(TypeError, match=r"n must be an integer, got 2\.5"):
        CubedSphere(2.5)
    with pytest.raises(ValueError, match=r"n 12 cannot be divided by 2\*\*3"):
        CubedSphere(12).coarsen(3)
