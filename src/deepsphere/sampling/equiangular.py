"""Grids of equally spaced latitudes and longitudes."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from deepsphere.sampling.base import check_count, check_levels, check_size, halve
from deepsphere.sampling.rings import RingSampling

GRIDS = ("soft", "driscoll-healy", "clenshaw-curtis")


class Equiangular(RingSampling):
    """A grid of equally spaced latitudes and longitudes, any number of either.

    Points go row by row from north to south, and eastwards from longitude 0 in each: a map is
    ``data.reshape(nlat * nlon)`` of an array ``(nlat, nlon)``. Longitudes are
    ``360 * i / nlon`` degrees.

    Parameters
    ----------
    nlat, nlon : int
        Number of latitudes and longitudes.
    grid : str, default "soft"
        Where the latitudes lie, given here as angles from the north pole for ``j`` from 0:

        - ``"soft"``: ``pi * (2 * j + 1) / (2 * nlat)``, the centers of equal bands. The
          default, as most weather and climate data without rows at the poles come on it.
        - ``"driscoll-healy"``: ``pi * j / nlat``, with a row at the north pole.
        - ``"clenshaw-curtis"``: ``pi * j / (nlat - 1)``, with a row at either pole.

    Raises
    ------
    TypeError, ValueError
        If a number is not an integer of at least 1 (2 latitudes for ``"clenshaw-curtis"``), or
        the grid is unknown.

    Notes
    -----
    A row at a pole is `nlon` times the same point, kept so that arrays keep their shape:
    `north_pole` and `south_pole` tell. These points share the area of the polar cap equally.

    Where a row is much shorter than rows are apart, the nearest neighbors of a point all lie on its
    own row. Graphs therefore take spread neighbors by default, see `deepsphere.graph.Graph`, and
    a row at a pole is one vertex of the graph (`deepsphere.graph.places`).

    Cells reach halfway to the next row and column, those of the last row of
    ``"driscoll-healy"`` down to the south pole.

    A coarser grid has every second longitude, and every second latitude, or for ``"soft"`` one
    between each two. Cells in longitude lie astride: a coarse cell holds the cell at its center
    and half of both neighbors.

    J. R. Driscoll and D. M. Healy, "Computing Fourier transforms and convolutions on the
    2-sphere", Adv. Appl. Math. 15 (1994). P. J. Kostelec and D. N. Rockmore, "FFTs on the
    rotation group", J. Fourier Anal. Appl. 14 (2008), for SOFT.

    Examples
    --------
    >>> from deepsphere.sampling import Equiangular
    >>> grid = Equiangular(32, 64)
    >>> len(grid), grid.coarsen()
    (2048, Equiangular(nlat=16, nlon=32, grid='soft'))
    >>> era5 = Equiangular(721, 1440, "clenshaw-curtis")  # ERA5 at a quarter of a degree
    >>> era5.north_pole, era5.latitudes[:3].tolist()
    (True, [90.0, 89.75, 89.5])
    """

    kind: ClassVar[str] = "equiangular"
    crowded = True

    def __init__(self, nlat: int, nlon: int, grid: str = "soft") -> None:
        if grid not in GRIDS:
            raise ValueError(f"grid must be one of {', '.join(GRIDS)}; got {grid!r}")
        self._nlat = check_count(nlat, "nlat", 2 if grid == "clenshaw-curtis" else 1)
        self._nlon = check_count(nlon, "nlon")
        check_size(self._nlat * self._nlon, f"Equiangular({nlat}, {nlon})")
        self._grid = grid

    @classmethod
    def from_bandwidth(cls, bandwidth: int, grid: str = "soft") -> Self:
        """Make the grid on which functions of a bandwidth are sampled.

        Parameters
        ----------
        bandwidth : int
            Number of degrees of spherical harmonics, from 0 to ``bandwidth - 1``.
        grid : str, default "soft"
            As for the class.

        Returns
        -------
        Equiangular
            With ``2 * bandwidth`` latitudes and longitudes; one more latitude for
            ``"clenshaw-curtis"``, whose number between the poles can then be halved.

        Examples
        --------
        >>> Equiangular.from_bandwidth(16)
        Equiangular(nlat=32, nlon=32, grid='soft')
        """
        size = 2 * check_count(bandwidth, "bandwidth")
        return cls(size + (grid == "clenshaw-curtis"), size, grid)

    @property
    def nlat(self) -> int:
        """Number of latitudes."""
        return self._nlat

    @property
    def nlon(self) -> int:
        """Number of longitudes."""
        return self._nlon

    @property
    def grid(self) -> str:
        """Where the latitudes lie."""
        return self._grid

    @property
    def north_pole(self) -> bool:
        """Whether the first row is `nlon` times the north pole."""
        return self._grid != "soft"

    @property
    def south_pole(self) -> bool:
        """Whether the last row is `nlon` times the south pole."""
        return self._grid == "clenshaw-curtis"

    @property
    def colatitudes(self) -> NDArray[np.float64]:
        """Angle of each row from the north pole in radian, shape ``(nlat,)``."""
        rows = np.arange(self._nlat)
        if self._grid == "soft":
            return np.pi * (2 * rows + 1) / (2 * self._nlat)
        return np.pi * rows / (self._nlat - self.south_pole)

    @property
    def band_edges(self) -> NDArray[np.float64]:
        """Sine of the latitudes midway between rows, and 1 and -1, shape ``(nlat + 1,)``."""
        colatitudes = self.colatitudes
        between = np.cos((colatitudes[:-1] + colatitudes[1:]) / 2)
        return np.concatenate(([1.0], between, [-1.0]))

    @property
    def ring_sizes(self) -> NDArray[np.int64]:
        """Number of points in each row, `nlon`, shape ``(nlat,)``."""
        return np.full(self._nlat, self._nlon)

    def coarsen(self, p: int = 1) -> Self:
        """Return the grid with half the rows and columns, `p` times.

        Parameters
        ----------
        p : int, default 1
            Number of levels.

        Returns
        -------
        Equiangular
            Of the same kind; ``"clenshaw-curtis"`` halves the spaces between its rows, so that
            `nlat` becomes ``(nlat + 1) / 2``.

        Raises
        ------
        ValueError
            If these numbers cannot be halved `p` times.
        """
        p = check_levels(p)
        nlon = halve(self._nlon, p, "nlon")
        if self.south_pole:
            return type(self)(halve(self._nlat - 1, p, "nlat - 1 =") + 1, nlon, self._grid)
        return type(self)(halve(self._nlat, p, "nlat"), nlon, self._grid)

    def refine(self, p: int = 1) -> Self:
        """Return the grid with twice the rows and columns, `p` times: ``coarsen``'s inverse."""
        p = check_levels(p)
        poles = int(self.south_pole)
        return type(self)(((self._nlat - poles) << p) + poles, self._nlon << p, self._grid)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"nlat": self._nlat, "nlon": self._nlon, "grid": self._grid}

    def _identity(self) -> tuple[Any, ...]:
        return (self._nlat, self._nlon, self._grid)

    def __repr__(self) -> str:
        return f"Equiangular(nlat={self._nlat}, nlon={self._nlon}, grid={self._grid!r})"
