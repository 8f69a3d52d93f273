"""Grids with equally spaced latitudes and longitudes."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from deepsphere._checks import check_count
from deepsphere.sampling.base import check_levels, check_size, halve
from deepsphere.sampling.rings import RingSampling

GRIDS = ("soft", "driscoll-healy", "clenshaw-curtis")


class Equiangular(RingSampling):
    """A grid with any numbers of equally spaced latitudes and longitudes.

    Points are ordered row by row from north to south, and eastward from longitude 0 in each row, so
    a map is ``data.reshape(nlat * nlon)`` of an array of shape ``(nlat, nlon)``. Longitudes are
    ``360 * i / nlon`` degrees.

    Parameters
    ----------
    nlat : int
        Number of latitudes.
    nlon : int, optional
        Number of longitudes. Default: ``2 * nlat``, as many per degree as latitudes.
    grid : {"soft", "driscoll-healy", "clenshaw-curtis"}, default "soft"
        Angles of the rows ``j = 0, 1, ...`` from the north pole:

        - ``"soft"``: ``pi * (2 * j + 1) / (2 * nlat)``, the centers of equal bands. It is the
          default because most weather and climate data without rows at the poles use it.
        - ``"driscoll-healy"``: ``pi * j / nlat``, with a row at the north pole.
        - ``"clenshaw-curtis"``: ``pi * j / (nlat - 1)``, with a row at each pole.

    Raises
    ------
    TypeError
        If `nlat` or `nlon` is not an integer.
    ValueError
        If `nlat` or `nlon` is less than 1, `nlat` is less than 2 for ``"clenshaw-curtis"``, `grid`
        is unknown, or there are more than 2**28 points.

    Notes
    -----
    A row at a pole repeats the same point `nlon` times, so arrays keep their shape. These points
    share the area of the polar cap equally. `north_pole` and `south_pole` tell whether a grid has
    such rows.

    Near the poles points are much closer within a row than rows are to each other, so the nearest
    neighbors of a point all lie on its own row. Graphs therefore spread neighbors by default (see
    `deepsphere.graph.Graph`), and treat a row at a pole as one vertex (see
    `deepsphere.graph.coincident`).

    Cells extend halfway to the next row and column; those of the last row of ``"driscoll-healy"``
    extend to the south pole.

    A coarser grid has every second longitude, and every second latitude (``"soft"``: the latitudes
    midway between pairs). A coarse cell contains, in longitude, the cell at its center and half of
    both neighbors.

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

    def __init__(self, nlat: int, nlon: int | None = None, grid: str = "soft") -> None:
        if grid not in GRIDS:
            raise ValueError(f"grid must be one of {', '.join(GRIDS)}; got {grid!r}")
        self._nlat = check_count(nlat, "nlat", 2 if grid == "clenshaw-curtis" else 1)
        self._nlon = 2 * self._nlat if nlon is None else check_count(nlon, "nlon")
        check_size(self._nlat * self._nlon, f"Equiangular({nlat}, {nlon})")
        self._grid = grid

    @classmethod
    def from_bandwidth(cls, bandwidth: int, grid: str = "soft") -> Self:
        """Return the grid that samples functions of a bandwidth.

        Parameters
        ----------
        bandwidth : int
            Number of spherical-harmonic degrees, which run from 0 to ``bandwidth - 1``.
        grid : str, default "soft"
            See the class.

        Returns
        -------
        Equiangular
            A grid with ``2 * bandwidth`` latitudes and longitudes. ``"clenshaw-curtis"`` has one
            more latitude, so that the spaces between its rows can be halved.

        Raises
        ------
        TypeError
            If `bandwidth` is not an integer.
        ValueError
            If `bandwidth` is less than 1, or `grid` is unknown.

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
        """Name of the latitudes: ``"soft"``, ``"driscoll-healy"`` or ``"clenshaw-curtis"``."""
        return self._grid

    @property
    def north_pole(self) -> bool:
        """Whether the first row lies at the north pole."""
        return self._grid != "soft"

    @property
    def south_pole(self) -> bool:
        """Whether the last row lies at the south pole."""
        return self._grid == "clenshaw-curtis"

    @property
    def colatitudes(self) -> NDArray[np.float64]:
        """Angle of each row from the north pole in radians, shape ``(nlat,)``."""
        rows = np.arange(self._nlat)
        if self._grid == "soft":
            return np.pi * (2 * rows + 1) / (2 * self._nlat)
        return np.pi * rows / (self._nlat - self.south_pole)

    @property
    def band_edges(self) -> NDArray[np.float64]:
        """Sines of the latitudes between bands, from 1 to -1, shape ``(nlat + 1,)``."""
        colatitudes = self.colatitudes
        between = np.cos((colatitudes[:-1] + colatitudes[1:]) / 2)
        return np.concatenate(([1.0], between, [-1.0]))

    @property
    def ring_sizes(self) -> NDArray[np.int64]:
        """Number of points in each row, `nlon`, shape ``(nlat,)``."""
        return np.full(self._nlat, self._nlon)

    def coarsen(self, levels: int = 1) -> Self:
        """Return the grid with half the rows and columns, `levels` times.

        Parameters
        ----------
        levels : int, default 1
            Number of levels.

        Returns
        -------
        Equiangular
            The coarser grid, with the same `grid`. ``"clenshaw-curtis"`` halves the number of
            spaces between its rows, so one level turns `nlat` into ``(nlat + 1) / 2``.

        Raises
        ------
        TypeError
            If `levels` is not an integer.
        ValueError
            If `levels` is negative, or these numbers are not divisible by ``2**levels``.
        """
        levels = check_levels(levels)
        nlon = halve(self._nlon, levels, "nlon")
        if self.south_pole:
            return type(self)(halve(self._nlat - 1, levels, "nlat - 1 =") + 1, nlon, self._grid)
        return type(self)(halve(self._nlat, levels, "nlat"), nlon, self._grid)

    def refine(self, levels: int = 1) -> Self:
        """Return the grid with twice the rows and columns, `levels` times; inverts `coarsen`."""
        levels = check_levels(levels)
        poles = int(self.south_pole)
        return type(self)(
            ((self._nlat - poles) << levels) + poles, self._nlon << levels, self._grid
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"nlat": self._nlat, "nlon": self._nlon, "grid": self._grid}

    def _identity(self) -> tuple[Any, ...]:
        return (self._nlat, self._nlon, self._grid)

    def __repr__(self) -> str:
        return f"Equiangular(nlat={self._nlat}, nlon={self._nlon}, grid={self._grid!r})"
