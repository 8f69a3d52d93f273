"""A 3 × 3 convolution on the twelve faces of HEALPix, padded with pixels of the adjacent faces.

Weather models on HEALPix work this way. Features lie face by face and row by row, channels last, as
a network of such layers would keep them.
"""

from __future__ import annotations

import numpy as np
import torch
from astropy_healpix import HEALPix
from numpy.typing import NDArray
from torch import nn

DIRECTIONS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""Steps (x, y) on a face to the neighbors that astropy-healpix lists, from south-west clockwise."""


def nest_of_faces(nside: int) -> NDArray[np.int64]:
    """Return the NEST indices of all pixels, shape (12, nside, nside): face, y, x."""
    y, x = np.mgrid[:nside, :nside]
    within = np.zeros((nside, nside), np.int64)
    for bit in range(nside.bit_length()):
        within |= (x >> bit & 1) << 2 * bit | (y >> bit & 1) << 2 * bit + 1
    return np.arange(12)[:, None, None] * nside**2 + within


def padded_faces(nside: int) -> NDArray[np.int64]:
    """Return what lies where on padded faces: places in (12, nside, nside), flattened.

    The shape is (12, nside + 2, nside + 2). At the eight corners where only three faces meet, a
    pixel of the face itself is repeated.
    """
    nest = nest_of_faces(nside)
    place = np.empty(12 * nside**2, np.int64)
    place[nest.ravel()] = np.arange(len(place))
    y, x = np.mgrid[-1 : nside + 1, -1 : nside + 1]
    inside_y, inside_x = y.clip(0, nside - 1), x.clip(0, nside - 1)
    nearest = nest[:, inside_y, inside_x]
    with np.errstate(invalid="ignore"):  # astropy-healpix warns where there is none
        neighbors = HEALPix(nside, order="nested").neighbours(nearest.ravel())
    found = nearest.copy()
    for which, (step_x, step_y) in enumerate(DIRECTIONS):
        here = (x - inside_x == step_x) & (y - inside_y == step_y)
        there = neighbors[which].reshape(nearest.shape)
        found[:, here] = np.where(there < 0, nearest, there)[:, here]
    return place[found]


class FaceConv(nn.Module):
    """Convolve (batch, 12 nside², channels), padded on every side.

    Parameters
    ----------
    nside : int
        Resolution.
    channels, filters : int
        Numbers of input and output channels.
    """

    def __init__(self, nside: int, channels: int, filters: int) -> None:
        super().__init__()
        self.nside = nside
        self.conv = nn.Conv2d(channels, filters, 3, bias=False).to(
            memory_format=torch.channels_last
        )
        padded = torch.from_numpy(padded_faces(nside))
        for name, part in (
            ("bottom", padded[:, :1]),
            ("top", padded[:, -1:]),
            ("left", padded[:, 1:-1, :1]),
            ("right", padded[:, 1:-1, -1:]),
        ):
            self.register_buffer(name, part, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pad and convolve; only the pixels around the faces are gathered."""
        batch, n, channels = x.shape

        def around(places: torch.Tensor) -> torch.Tensor:
            return x[:, places.flatten()].view(batch, *places.shape, channels)

        rows = x.view(batch, 12, self.nside, self.nside, channels)
        rows = torch.cat([around(self.left), rows, around(self.right)], dim=3)
        rows = torch.cat([around(self.bottom), rows, around(self.top)], dim=2)
        images = rows.flatten(0, 1).permute(0, 3, 1, 2)  # channels last in memory
        return self.conv(images).permute(0, 2, 3, 1).reshape(batch, n, -1)
