"""The Fibonacci lattice."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere._checks import check_count
from deepsphere.sampling.base import Sampling, check_levels, check_size, read_only
from deepsphere.sampling.voronoi import nearest_shares, voronoi_areas

GOLDEN = (1 + np.sqrt(5)) / 2


class Fibonacci(Sampling):
    """The Fibonacci lattice: any number of points, spread evenly along a spiral.

    Points are ordered from north to south. For point ``i``, sin(latitude) is
    ``1 - (2 * i + 1) / n``, the middle of one of `n` equal steps, and the longitude is
    ``360 * i / golden ratio`` degrees.

    Parameters
    ----------
    n : int
        Number of points.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is less than 1 or greater than 2**28.

    Notes
    -----
    R. Swinbank and R. J. Purser, "Fibonacci grids: A novel approach to global modeling", Q. J. R.
    Meteorol. Soc. 132 (2006), with the same offset of half a step from the poles. Areas are those
    of Voronoi cells, and differ by a few percent.

    A coarser lattice has a quarter as many points, at other places. Each point belongs to the
    nearest coarser one.

    Examples
    --------
    >>> from deepsphere.sampling import Fibonacci
    >>> len(Fibonacci(1000)), Fibonacci(1000).coarsen(2)
    (1000, Fibonacci(n=62))
    """

    kind: ClassVar[str] = "fibonacci"

    def __init__(self, n: int) -> None:
        self._n = check_count(n, "n")
        check_size(self._n, f"Fibonacci({n})")

    @property
    def n(self) -> int:
        """Number of points."""
        return self._n

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors, shape ``(n, 3)``; read-only."""
        i = np.arange(self._n)
        heights = 1 - (2 * i + 1) / self._n
        longitudes = 2 * np.pi * (i / GOLDEN % 1)
        radii = np.sqrt((1 - heights) * (1 + heights))
        return read_only(
            np.column_stack((radii * np.cos(longitudes), radii * np.sin(longitudes), heights))
        )

    @cached_property
    def areas(self) -> NDArray[np.float64]:
        """Solid angle of each point's Voronoi cell in steradian, shape ``(n,)``, read-only."""
        return read_only(voronoi_areas(self.points))

    def __len__(self) -> int:
        return self._n

    def coarsen(self, levels: int = 1) -> Self:
        """Return the lattice of a quarter of the points, rounded down, `levels` times.

        Parameters
        ----------
        levels : int, default 1
            Number of levels.

        Returns
        -------
        Fibonacci
            The lattice of ``n // 4**levels`` points.

        Raises
        ------
        TypeError
            If `levels` is not an integer.
        ValueError
            If `levels` is negative, or `n` is less than ``4**levels``.
        """
        levels = check_levels(levels)
        if self._n < 4**levels:
            raise ValueError(
                f"{self._n} points cannot be divided by 4 {levels} times; use fewer levels"
            )
        return type(self)(self._n // 4**levels)

    def refine(self, levels: int = 1) -> Self:
        """Return the lattice of four times as many points, `levels` times."""
        return type(self)(self._n * 4 ** check_levels(levels))

    def _shares(self) -> csr_array:
        return nearest_shares(self.points, self.coarsen().points)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"n": self._n}

    def _identity(self) -> tuple[Any, ...]:
        return (self._n,)

    def __repr__(self) -> str:
        return f"Fibonacci(n={self._n})"
