"""The cubed sphere."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere._checks import check_count
from deepsphere.sampling.base import Sampling, check_levels, check_size, halve, read_only

# Center of each face, and the directions of columns and rows. Four faces around the equator, from
# longitude 0 eastward, have columns to the east and rows to the south. The faces of the north and
# the south pole follow, as if hinged on the first.
_FACES = np.array(
    [
        [(1, 0, 0), (0, 1, 0), (0, 0, -1)],
        [(0, 1, 0), (-1, 0, 0), (0, 0, -1)],
        [(-1, 0, 0), (0, -1, 0), (0, 0, -1)],
        [(0, -1, 0), (1, 0, 0), (0, 0, -1)],
        [(0, 0, 1), (0, 1, 0), (1, 0, 0)],
        [(0, 0, -1), (0, 1, 0), (-1, 0, 0)],
    ]
)


class CubedSphere(Sampling):
    """The equiangular cubed sphere: six faces of `n` rows and columns of cells.

    Points are ordered face by face and row by row, so a map is ``data.reshape(6 * n * n)`` of an
    array of shape ``(6, n, n)``. The first four faces lie around the equator: the center of the
    first is at longitude 0, the others follow to the east. Their rows run from north to south, and
    their columns from west to east. The last two are the faces of the north and the south pole,
    each as if hinged on the first, whose columns they continue.

    Parameters
    ----------
    n : int
        Number of cells along the edge of a face. There are ``6 * n**2`` cells.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is less than 1, or there are more than 2**28 cells.

    Notes
    -----
    C. Ronchi, R. Iacono and P. S. Paolucci, "The 'Cubed Sphere': A New Method for the Solution of
    Partial Differential Equations in Spherical Geometry", J. Comput. Phys. 124 (1996). Rows and
    columns span equal angles seen from the center of the sphere, and points lie in the middle of
    these angles. Areas are exact; the largest is about 1.4 times the smallest.

    Two by two cells make up a coarser one exactly.

    Examples
    --------
    >>> from deepsphere.sampling import CubedSphere
    >>> len(CubedSphere(48)), CubedSphere(48).coarsen(3)
    (13824, CubedSphere(n=6))
    """

    kind: ClassVar[str] = "cubed-sphere"

    def __init__(self, n: int) -> None:
        self._n = check_count(n, "n")
        check_size(6 * self._n**2, f"CubedSphere({n})")

    @property
    def n(self) -> int:
        """Number of cells along the edge of a face."""
        return self._n

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors of the cells' centers, shape ``(6 * n**2, 3)``; read-only."""
        n = self._n
        offsets = np.tan(np.pi / 4 * ((2 * np.arange(n) + 1) / n - 1))
        center, columns, rows = _FACES[:, :, None, None].swapaxes(0, 1)
        vectors = center + columns * offsets[:, None] + rows * offsets[:, None, None]
        return read_only((vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).reshape(-1, 3))

    @property
    def corners(self) -> NDArray[np.float64]:
        """Unit vectors of each cell's corners, in order around it, shape ``(6 * n**2, 4, 3)``."""
        edges = np.tan(np.pi / 4 * (2 * np.arange(self._n + 1) / self._n - 1))
        center, columns, rows = _FACES[:, :, None, None].swapaxes(0, 1)
        vectors = center + columns * edges[:, None] + rows * edges[:, None, None]
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        turn = (vectors[:, :-1, :-1], vectors[:, :-1, 1:], vectors[:, 1:, 1:], vectors[:, 1:, :-1])
        return np.stack(turn, axis=3).reshape(-1, 4, 3)

    @property
    def areas(self) -> NDArray[np.float64]:
        """Solid angle of each cell in steradian, shape ``(6 * n**2,)``."""
        edges = np.tan(np.pi / 4 * (2 * np.arange(self._n + 1) / self._n - 1))
        x, y = np.meshgrid(edges, edges)
        # Signed areas of the rectangles between the center of a face and (x, y).
        corners = np.arctan2(x * y, np.sqrt(1 + x**2 + y**2))
        return np.tile(np.diff(np.diff(corners, axis=0), axis=1).ravel(), 6)

    def __len__(self) -> int:
        return 6 * self._n**2

    def coarsen(self, levels: int = 1) -> Self:
        """Return the sampling with half as many cells along an edge, `levels` times.

        Parameters
        ----------
        levels : int, default 1
            Number of levels.

        Returns
        -------
        CubedSphere
            The coarser sampling.

        Raises
        ------
        TypeError
            If `levels` is not an integer.
        ValueError
            If `levels` is negative, or `n` is not divisible by ``2**levels``.
        """
        return type(self)(halve(self._n, check_levels(levels), "n"))

    def refine(self, levels: int = 1) -> Self:
        """Return the sampling with twice as many cells along an edge, `levels` times."""
        return type(self)(self._n << check_levels(levels))

    def _shares(self) -> csr_array:
        coarse = self.coarsen()
        face, row, column = np.unravel_index(np.arange(len(self)), (6, self._n, self._n))
        parents = (face * coarse.n + row // 2) * coarse.n + column // 2
        ones = np.ones(len(self))
        return csr_array((ones, (parents, np.arange(len(self)))), shape=(len(coarse), len(self)))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"n": self._n}

    def _identity(self) -> tuple[Any, ...]:
        return (self._n,)

    def __repr__(self) -> str:
        return f"CubedSphere(n={self._n})"
