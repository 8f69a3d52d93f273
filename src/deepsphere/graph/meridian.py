"""Graphs of longitude-latitude grids, built along one meridian and rotated around the axis.

A rotation by one step in longitude maps such a grid onto itself, so edges and weights of the first
point of each row hold for the whole row. This saves a factor of a thousand on large grids, and the
graph commutes with these rotations exactly.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.graph.coincident import DistinctPoints
from deepsphere.sampling import Sampling
from deepsphere.sampling.rings import RingSampling

Indices = NDArray[np.int64]


class Meridian:
    """The first points of the rows of a grid, which represent their rows.

    Parameters
    ----------
    sizes : ndarray of int64, shape (rows,)
        Number of vertices in each row: the same number in all of them, or 1 at a pole.
    """

    def __init__(self, sizes: Indices) -> None:
        self.sizes = sizes
        self.firsts = np.cumsum(sizes) - sizes
        self.n = int(sizes.sum())

    @cached_property
    def row_of(self) -> Indices:
        """The row of each vertex, shape (n,)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def at_pole(self, vertices: Indices) -> NDArray[np.bool_]:
        """Return a mask of the vertices that are alone in their row."""
        return self.sizes[self.row_of[vertices]] == 1

    def reversed(self, starts: Indices, ends: Indices) -> tuple[Indices, Indices]:
        """Reverse edges, and rotate them so that they start at first points.

        Parameters
        ----------
        starts, ends : ndarray of int64, shape (edges,)
            Edges from first points to any vertices, with neither end at a pole.

        Returns
        -------
        starts, ends : ndarray of int64, shape (edges,)
            The reversed edges, which start at first points.
        """
        first = self.firsts[self.row_of[ends]]
        return first, starts + (first - ends) % self.sizes[self.row_of[starts]]

    def turned(self, rows: csr_array) -> csr_array:
        """Rotate the matrix rows of the first points to all points.

        Parameters
        ----------
        rows : csr_array, shape (len(firsts), n)
            The matrix rows of the first points.

        Returns
        -------
        csr_array of float64, shape (n, n)
            The whole matrix, with sorted rows.
        """
        lengths = np.diff(rows.indptr).astype(np.int64)
        indptr = np.concatenate(([0], np.cumsum(np.repeat(lengths, self.sizes))))
        index = np.int32 if indptr[-1] < 2**31 else np.int64
        indices = np.empty(indptr[-1], index)
        values = np.empty(indptr[-1])
        for row, (first, size) in enumerate(zip(self.firsts, self.sizes, strict=True)):
            here = slice(rows.indptr[row], rows.indptr[row + 1])
            ends = rows.indices[here].astype(np.int64)
            begin, around = self.firsts[self.row_of[ends]], self.sizes[self.row_of[ends]]
            turns = np.arange(size)[:, None]
            block = begin + (ends - begin + turns) % around
            whole = slice(indptr[first], indptr[first + size])
            indices[whole] = block.ravel()
            values[whole] = np.tile(rows.data[here], size)
        result = csr_array((values, indices, indptr.astype(index)), shape=(self.n, self.n))
        result.sort_indices()
        return result


def meridian_of(sampling: Sampling) -> Meridian | None:
    """Return the `Meridian` of a longitude-latitude grid, or None for any other sampling.

    Parameters
    ----------
    sampling : Sampling
        Distinct points of the whole sphere.
    """
    grid = sampling.original if isinstance(sampling, DistinctPoints) else sampling
    if not isinstance(grid, RingSampling) or np.ptp(grid.ring_sizes):
        return None
    sizes = np.array(grid.ring_sizes, dtype=np.int64)
    if isinstance(sampling, DistinctPoints):
        starts = np.cumsum(sizes) - sizes
        sizes = np.diff(np.append(sampling.numbers[starts], len(sampling)))
    return Meridian(sizes)
