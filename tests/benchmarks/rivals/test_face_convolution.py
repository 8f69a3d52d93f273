"""The rival on HEALPix faces is padded with the right pixels."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

healpy = pytest.importorskip("healpy")
NSIDE = 4


def test_order_of_faces():
    from rivals.face_convolution import nest_of_faces

    face, y, x = np.mgrid[:12, :NSIDE, :NSIDE]
    expected = healpy.xyf2pix(NSIDE, x.ravel(), y.ravel(), face.ravel(), nest=True)
    np.testing.assert_array_equal(nest_of_faces(NSIDE).ravel(), expected)


def test_every_pixel_is_surrounded_by_its_neighbors():
    from rivals.face_convolution import nest_of_faces, padded_faces

    nest = nest_of_faces(NSIDE)
    padded = nest.ravel()[padded_faces(NSIDE)]
    for face, y, x in np.ndindex(12, NSIDE, NSIDE):
        pixel = nest[face, y, x]
        assert padded[face, y + 1, x + 1] == pixel
        around = set(padded[face, y : y + 3, x : x + 3].ravel()) - {pixel}
        assert around == set(healpy.get_all_neighbours(NSIDE, pixel, nest=True)) - {-1}


def test_values_and_gradient():
    """Against a sum over the padded faces, written out."""
    torch = pytest.importorskip("torch")
    from rivals.face_convolution import FaceConv, padded_faces

    layer = FaceConv(NSIDE, 3, 2)
    x = torch.randn(2, 192, 3, requires_grad=True)
    faces = x[:, torch.from_numpy(padded_faces(NSIDE))]
    weight = layer.conv.weight
    expected = sum(
        faces[:, :, i : i + NSIDE, j : j + NSIDE] @ weight[:, :, i, j].T
        for i in range(3)
        for j in range(3)
    ).reshape(2, 192, 2)
    y = layer(x)
    torch.testing.assert_close(y, expected)
    g = torch.randn_like(y)
    inputs = [x, weight]
    found, right = (torch.autograd.grad(each, inputs, g) for each in (y, expected))
    torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)  # sums of 400 numbers
