"""Points that coincide: one vertex while a graph is built, then again as many pixels.

All pixels of a row at a pole are one point of the sphere. The graph is built on distinct points,
and its matrix is then spread back over the pixels:

- the pixels of a place all have the row of its vertex, so that they see the same neighborhood,
  while each keeps the diagonal entry for itself;
- whoever has the vertex as a neighbor reads the mean of its pixels, weighted by area. Of more than
  `READ` pixels, it reads that many, equally spaced.

Maps with one value at each place stay so under every polynomial of the matrix, which does to them
exactly what the polynomial of the smaller matrix does. The eigenvalues are those of the smaller
matrix, and its diagonal entry at the place: a difference between pixels at one place counts as a
fine structure, which smoothing removes.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.sampling import Sampling
from deepsphere.sampling.subset import whole_of

READ = 8
"""Of how many pixels at one place a neighbor reads the mean. Reading all of them would make rows of
as many entries as there are longitudes, where others have some 25. Equally spaced along a row at a
pole, 8 have the mean of the row for anything that varies up to 7 times around it: scalars do not
vary, and the components of vectors, such as winds, do so once."""


class DistinctPoints(Sampling):
    """The distinct points of a sampling in which some coincide; each has the area of them all.

    Parameters
    ----------
    sampling : Sampling
        With `places` that are not None.
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
        """Solid angle of all pixels at each place, shape ``(len(self),)``."""
        return np.bincount(self.numbers, self.original.areas).astype(np.float64)

    def __len__(self) -> int:
        return len(self.firsts)

    def coarsen(self, p: int = 1) -> NoReturn:
        """Raise, as a graph has one level."""
        raise NotImplementedError("distinct points have no other levels")

    refine = coarsen

    def get_config(self) -> dict[str, Any]:
        """Raise, as these points are written as the sampling that they are of."""
        raise NotImplementedError("write the sampling itself")

    def _identity(self) -> tuple[Any, ...]:
        return (self.original,)

    def __repr__(self) -> str:
        return repr(self.original)


def distinct(sampling: Sampling) -> Sampling:
    """Return the sampling itself, or its `DistinctPoints` if some of its points coincide."""
    return sampling if sampling.places is None else DistinctPoints(sampling)


def whole_and_rows(sampling: Sampling) -> tuple[Sampling, NDArray[np.int64]]:
    """Return the whole of a sampling, with distinct points if it has such, and which it has.

    Parameters
    ----------
    sampling : Sampling
        Distinct points, of the whole sphere or a part of it.

    Returns
    -------
    whole : Sampling
        The sampling itself if it is no part.
    rows : ndarray of int64, shape (len(sampling),)
        Increasing.
    """
    if isinstance(sampling, DistinctPoints):
        whole, indices = whole_of(sampling.original)
        places = whole.places
        if places is not None:
            return distinct(whole), places[indices[sampling.firsts]]
    whole, indices = whole_of(sampling)
    if whole.places is None:
        return whole, indices
    places = whole.places[indices]  # a part with a single pixel at each pole
    return distinct(whole), places


def spread_back(matrix: csr_array, sampling: Sampling, read: int = READ) -> csr_array:
    """Return the matrix on the pixels of a sampling, given that on its distinct points.

    Parameters
    ----------
    matrix : csr_array, shape (m, m)
        On ``distinct(sampling)``.
    sampling : Sampling
        Of n pixels.
    read : int, default `READ`
        Of how many pixels at one place the mean is taken.

    Returns
    -------
    csr_array, shape (n, n)
        The matrix itself if no pixels coincide. Rows are sorted.
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
    # Each starts from the pixel of its own longitude, so that all pixels of a row are read.
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
