"""Graphs on samplings in which several pixels coincide, as in a row at a pole.

All pixels of a row at a pole are one point of the sphere. The graph is built on the distinct
points, and its matrix is then expanded to the pixels:

- All pixels at a place have the matrix row of its vertex, so they see the same neighborhood. Each
  keeps the diagonal entry for itself.
- A neighbor of the vertex reads the mean of its pixels, weighted by area. If there are more than
  `READ`, it reads `READ` of them, equally spaced.

On maps with one value at each place, every polynomial of the expanded matrix gives the result of
the same polynomial of the smaller matrix, again with one value at each place. The eigenvalues are
those of the smaller matrix, and its diagonal entry at the place: a difference between pixels at one
place counts as fine structure, which smoothing removes.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.sampling import Sampling

READ = 8
"""Largest number of pixels at one place whose mean a neighbor reads. Reading all of them would give
rows as many entries as there are longitudes, where others have about 25. The mean of 8 pixels,
equally spaced along a row at a pole, is exact for anything that varies up to 7 times around it.
Scalars do not vary, and components of vectors, such as winds, vary once."""


class DistinctPoints(Sampling, listed=False):
    """The distinct points of a sampling in which some points coincide.

    The area of a distinct point is the sum over the points that coincide there.

    Parameters
    ----------
    sampling : Sampling
        A sampling whose `places` are not None.

    Raises
    ------
    ValueError
        If no two points coincide.
    """

    kind = "distinct-points"

    def __init__(self, sampling: Sampling) -> None:
        numbers = sampling.places
        if numbers is None:
            raise ValueError(f"no two points of {sampling!r} coincide")
        self.original, self.numbers = sampling, numbers
        self.crowded = sampling.crowded
        self.firsts = np.unique(numbers, return_index=True)[1]

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors of the places, shape ``(len(self), 3)``."""
        return self.original.points[self.firsts]

    @cached_property
    def areas(self) -> NDArray[np.float64]:
        """Total solid angle of the pixels at each place in steradian, shape ``(len(self),)``."""
        return np.bincount(self.numbers, self.original.areas).astype(np.float64)

    def __len__(self) -> int:
        return len(self.firsts)

    def coarsen(self, levels: int = 1) -> NoReturn:
        """Raise NotImplementedError, because distinct points have no other levels."""
        raise NotImplementedError(
            "distinct points have no other levels: use those of the original sampling"
        )

    refine = coarsen

    def get_config(self) -> dict[str, Any]:
        """Raise NotImplementedError, because the original sampling is saved instead."""
        raise NotImplementedError("distinct points cannot be saved: save the original sampling")

    def _identity(self) -> tuple[Any, ...]:
        return (self.original,)

    def __repr__(self) -> str:
        return repr(self.original)


def distinct(sampling: Sampling) -> Sampling:
    """Return the `DistinctPoints` of a sampling, or the sampling itself if no points coincide."""
    return sampling if sampling.places is None else DistinctPoints(sampling)


def whole_and_rows(sampling: Sampling) -> tuple[Sampling, NDArray[np.int64]]:
    """Return the whole of a sampling, with distinct points, and the indices of the points in it.

    Parameters
    ----------
    sampling : Sampling
        Distinct points, of the whole sphere or a part of it.

    Returns
    -------
    whole : Sampling
        Distinct points of the whole sphere; `sampling` itself if it is not a part.
    rows : ndarray of int64, shape (len(sampling),)
        Indices of the points of `sampling` in `whole`, increasing.
    """
    if isinstance(sampling, DistinctPoints):
        whole, indices = sampling.original.whole, sampling.original.indices
        places = whole.places
        if places is not None:
            return distinct(whole), places[indices[sampling.firsts]]
    whole, indices = sampling.whole, sampling.indices
    if whole.places is None:
        return whole, indices
    places = whole.places[indices]  # a part with a single pixel at each pole
    return distinct(whole), places


def spread_back(matrix: csr_array, sampling: Sampling, read: int = READ) -> csr_array:
    """Expand a matrix on the distinct points of a sampling to its pixels.

    Parameters
    ----------
    matrix : csr_array, shape (m, m)
        A matrix on ``distinct(sampling)``.
    sampling : Sampling
        A sampling of n pixels.
    read : int, default `READ`
        Largest number of pixels at one place whose mean is read.

    Returns
    -------
    csr_array, shape (n, n)
        The expanded matrix, with sorted rows; `matrix` itself if no pixels coincide.
    """
    numbers = sampling.places
    if numbers is None:
        return matrix
    n = len(sampling)
    order = np.argsort(numbers, kind="stable")  # pixels place by place
    counts = np.bincount(numbers)
    starts = np.cumsum(counts) - counts
    entries = csr_array(matrix[numbers]).tocoo()
    rows, columns, values = entries.row, entries.col, entries.data
    own = columns == numbers[rows]
    many = ~own & (counts[columns] > 1)
    single = np.where(own, rows, order[starts[columns]])[~many]
    rows_of, places, shared = rows[many], columns[many], values[many]
    taken = np.minimum(counts[places], read)
    again = np.repeat(np.arange(len(places)), taken)
    slots = np.arange(len(again)) - np.repeat(np.cumsum(taken) - taken, taken)
    # Each neighbor starts at the pixel of its own longitude, so all pixels of a row are read.
    steps = slots * counts[places[again]] // taken[again] + rows_of[again]
    read_from = order[starts[places[again]] + steps % counts[places[again]]]
    shares = sampling.areas[read_from]
    shares = shares / np.bincount(again, shares)[again]
    index = np.int32 if max(n, len(values)) < 2**31 else np.int64
    result = csr_array(
        (
            np.concatenate((values[~many], shared[again] * shares)),
            (
                np.concatenate((rows[~many], rows_of[again])).astype(index),
                np.concatenate((single, read_from)).astype(index),
            ),
        ),
        shape=(n, n),
    )
    result.sort_indices()
    return result
