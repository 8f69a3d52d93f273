"""Graphs of longitude-latitude grids: built along one meridian, then turned round the axis.

A turn by one step in longitude maps such a grid onto itself. What is chosen and solved for the
first point of each row holds for all others: a thousand times less work on large grids, and a graph
that commutes with these turns exactly.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.graph.places import DistinctPoints
from deepsphere.sampling import Sampling
from deepsphere.sampling.rings import RingSampling

Indices = NDArray[np.int64]


class Meridian:
    """The first points of the rows of a grid, which stand for their rows.

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
        """Return which vertices are alone in their row."""
        return self.sizes[self.row_of[vertices]] == 1

    def reversed(self, starts: Indices, ends: Indices) -> tuple[Indices, Indices]:
        """Return edges the other way, turned so that they start at a first point.

        Parameters
        ----------
        starts, ends : ndarray of int64, shape (edges,)
            From first points to any vertices, none of either at a pole.

        Returns
        -------
        starts, ends : ndarray of int64, shape (edges,)
            From first points.
        """
        first = self.firsts[self.row_of[ends]]
        return first, starts + (first - ends) % self.sizes[self.row_of[starts]]

    def turned(self, rows: csr_array) -> csr_array:
        """Return the whole matrix, given the rows of the first points.

        Parameters
        ----------
        rows : csr_array, shape (len(firsts), n)
            One for each row of the grid.

        Returns
        -------
        csr_array, shape (n, n)
            Sorted.
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
    """Return the first points of the rows of a grid, or None for anything else.

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
