"""The base class of samplings on rings of latitude, and the overlaps of their cells."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.sampling.base import Sampling, read_only

SLIVER = 1e-14
"""Overlap of two bands, in sin(latitude), that is ignored as a rounding error.

Edges are sums and cosines of numbers up to 1, with errors of a few 1e-16. The smallest height of a
band in a grid of 10 000 rings is 5e-8.
"""


class RingSampling(Sampling):
    """A sampling on rings of latitude, each with equally spaced longitudes from 0.

    Points are ordered ring by ring from north to south, and eastward in each ring. The cell of a
    point extends halfway to its neighbors in longitude, and over the band of its ring in latitude.
    """

    @property
    @abstractmethod
    def colatitudes(self) -> NDArray[np.float64]:
        """Angle of each ring from the north pole in radians, increasing, shape ``(rings,)``."""

    @property
    @abstractmethod
    def band_edges(self) -> NDArray[np.float64]:
        """Sines of the latitudes between bands, from 1 to -1, shape ``(rings + 1,)``."""

    @property
    @abstractmethod
    def ring_sizes(self) -> NDArray[np.int64]:
        """Number of points on each ring, shape ``(rings,)``."""

    @abstractmethod
    def coarsen(self, levels: int = 1) -> RingSampling:
        """Return the grid that is coarser by `levels`."""

    @property
    def latitudes(self) -> NDArray[np.float64]:
        """Latitude of each ring in degrees, from north to south, shape ``(rings,)``."""
        return 90 - np.degrees(self.colatitudes)

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors, ring by ring from north to south, shape ``(len(self), 3)``; read-only."""
        sizes = self.ring_sizes
        colatitudes = self.colatitudes
        # The sine of pi is not exactly 0, but all points at a pole must be equal.
        radii = np.repeat(np.sin(np.minimum(colatitudes, np.pi - colatitudes)), sizes)
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        longitudes = 2 * np.pi * within / np.repeat(sizes, sizes)
        heights = np.repeat(np.cos(colatitudes), sizes)
        return read_only(
            np.column_stack((radii * np.cos(longitudes), radii * np.sin(longitudes), heights))
        )

    @property
    def areas(self) -> NDArray[np.float64]:
        """Solid angle of each cell in steradian, shape ``(len(self),)``."""
        sizes = self.ring_sizes
        return np.repeat(-2 * np.pi * np.diff(self.band_edges) / sizes, sizes)

    @property
    def places(self) -> NDArray[np.int64] | None:
        """Index of the place of each point, shape ``(len(self),)``; None without rows at a pole."""
        sizes = self.ring_sizes
        colatitudes = self.colatitudes
        single = (np.sin(np.minimum(colatitudes, np.pi - colatitudes)) == 0) & (sizes > 1)
        if not single.any():
            return None
        begins = np.repeat(~single, sizes)
        begins[(np.cumsum(sizes) - sizes)[single]] = True
        return np.cumsum(begins) - 1

    def __len__(self) -> int:
        return int(self.ring_sizes.sum())

    def _shares(self) -> csr_array:
        coarse = self.coarsen()
        sizes, coarse_sizes = self.ring_sizes, coarse.ring_sizes
        starts, coarse_starts = np.cumsum(sizes) - sizes, np.cumsum(coarse_sizes) - coarse_sizes
        around = cache(longitude_overlaps)  # most pairs of rings have the same sizes
        rows, columns, shares = [], [], []
        for ring, coarse_ring, height in zip(
            *band_overlaps(self.band_edges, coarse.band_edges), strict=True
        ):
            cells, coarse_cells, widths = around(int(sizes[ring]), int(coarse_sizes[coarse_ring]))
            rows.append(coarse_starts[coarse_ring] + coarse_cells)
            columns.append(starts[ring] + cells)
            shares.append(height * widths)
        return csr_array(
            (np.concatenate(shares), (np.concatenate(rows), np.concatenate(columns))),
            shape=(len(coarse), len(self)),
        )


def band_overlaps(
    fine: NDArray[np.float64], coarse: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of bands that overlap, and the overlap as a fraction of the fine band.

    Parameters
    ----------
    fine, coarse : ndarray of float64, shapes (m + 1,) and (n + 1,)
        Edges of the bands in sin(latitude), from 1 to -1.

    Returns
    -------
    fine_bands, coarse_bands : ndarray of int64, shape (k,)
        Indices of the bands that overlap, from north to south.
    shares : ndarray of float64, shape (k,)
        Overlaps divided by the height of the fine band. They sum to 1 over each fine band.
    """
    edges = np.unique(np.concatenate((fine, coarse)))[::-1]
    heights = -np.diff(edges)
    middles = (edges[:-1] + edges[1:])[heights > SLIVER] / 2
    heights = heights[heights > SLIVER]
    fine_bands = np.searchsorted(-fine, -middles) - 1
    coarse_bands = np.searchsorted(-coarse, -middles) - 1
    return fine_bands, coarse_bands, heights / np.bincount(fine_bands, heights)[fine_bands]


def longitude_overlaps(
    fine: int, coarse: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of cells that overlap, and the overlap as a fraction of the fine cell.

    Parameters
    ----------
    fine, coarse : int
        Numbers of points on the two rings. Cells are centered on their points, the first of which
        lies at longitude 0.

    Returns
    -------
    fine_cells, coarse_cells : ndarray of int64, shape (k,)
        Indices of the cells that overlap. A pair occurs twice if its cells meet at both ends.
    shares : ndarray of float64, shape (k,)
        Overlaps divided by the width of the fine cell. They sum to 1 over each fine cell.
    """
    # In units of 1 / (2 * fine * coarse) of the circle, all edges are integers.
    starts = np.union1d(
        (2 * np.arange(fine) + 1) * coarse,
        (2 * np.arange(coarse) + 1) * fine,
    )
    widths = np.diff(starts, append=starts[0] + 2 * fine * coarse)
    fine_cells = (starts + coarse) // (2 * coarse) % fine
    coarse_cells = (starts + fine) // (2 * fine) % coarse
    return fine_cells, coarse_cells, widths / (2 * coarse)
