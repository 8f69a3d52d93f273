"""Grids on Gaussian latitudes: full grids, and reduced ones with fewer points near the poles."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import roots_legendre

from deepsphere._cache import cached
from deepsphere._checks import check_count
from deepsphere.sampling.base import check_levels, check_size, halve, read_only
from deepsphere.sampling.classical_rings import NUMBERS, classical_rings
from deepsphere.sampling.rings import RingSampling


@cached(maxsize=16)
def gaussian_latitudes(nlat: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sines of the Gaussian latitudes from north to south, and their weights.

    The quadrature integrates polynomials in sin(latitude) exactly up to degree ``2 * nlat - 1``.

    Parameters
    ----------
    nlat : int
        Number of latitudes.

    Returns
    -------
    sines, weights : ndarray of float64, shape (nlat,)
        Roots of the Legendre polynomial, and quadrature weights that sum to 2; read-only.
    """
    sines, weights = roots_legendre(nlat)
    return read_only(sines[::-1].copy()), read_only(weights[::-1].copy())


class GaussianRings(RingSampling):
    """Rings on Gaussian latitudes; the height of a ring's band is its quadrature weight."""

    @property
    @abstractmethod
    def nlat(self) -> int:
        """Number of latitudes."""

    @property
    def colatitudes(self) -> NDArray[np.float64]:
        """Angle of each ring from the north pole in radians, shape ``(nlat,)``."""
        return np.arccos(gaussian_latitudes(self.nlat)[0])

    @property
    def band_edges(self) -> NDArray[np.float64]:
        """Sines of the latitudes between bands, from 1 to -1, shape ``(nlat + 1,)``."""
        _, weights = gaussian_latitudes(self.nlat)
        return np.concatenate(([1.0], 1 - np.cumsum(weights)[:-1], [-1.0]))


class GaussLegendre(GaussianRings):
    """The full Gaussian grid: latitudes at the roots of a Legendre polynomial.

    Points are ordered row by row from north to south, and eastward from longitude 0 in each row, so
    a map is ``data.reshape(nlat * nlon)`` of an array of shape ``(nlat, nlon)``.

    Parameters
    ----------
    nlat : int
        Number of latitudes.
    nlon : int, optional
        Number of longitudes. Defaults to ``2 * nlat``, which are as far apart as the latitudes.

    Raises
    ------
    TypeError
        If `nlat` or `nlon` is not an integer.
    ValueError
        If `nlat` or `nlon` is less than 1, or there are more than 2**28 points.

    Notes
    -----
    Areas are the weights of Gauss-Legendre quadrature, so area-weighted sums over maps of spherical
    harmonics of degree below ``2 * nlat`` and order below `nlon` are exact integrals. A. H. Stroud
    and D. Secrest, "Gaussian Quadrature Formulas" (1966). SciPy computes the roots.

    Near the poles points are much closer within a row than rows are to each other, so the nearest
    neighbors of a point all lie on its own row. Graphs therefore spread neighbors by default, see
    `deepsphere.graph.Graph`.

    The latitudes of a coarser grid differ. A cell that overlaps two coarser ones belongs to each in
    proportion to the overlap.

    Examples
    --------
    >>> from deepsphere.sampling import GaussLegendre
    >>> grid = GaussLegendre(64)
    >>> grid, len(grid), grid.coarsen()
    (GaussLegendre(nlat=64, nlon=128), 8192, GaussLegendre(nlat=32, nlon=64))
    """

    kind: ClassVar[str] = "gauss-legendre"
    crowded = True

    def __init__(self, nlat: int, nlon: int | None = None) -> None:
        self._nlat = check_count(nlat, "nlat")
        self._nlon = 2 * self._nlat if nlon is None else check_count(nlon, "nlon")
        check_size(self._nlat * self._nlon, f"GaussLegendre({self._nlat}, {self._nlon})")

    @property
    def nlat(self) -> int:
        """Number of latitudes."""
        return self._nlat

    @property
    def nlon(self) -> int:
        """Number of longitudes."""
        return self._nlon

    @property
    def ring_sizes(self) -> NDArray[np.int64]:
        """Number of points in each row, `nlon`, shape ``(nlat,)``."""
        return np.full(self._nlat, self._nlon)

    def coarsen(self, levels: int = 1) -> Self:
        """Return the grid with half the latitudes and longitudes, `levels` times.

        Parameters
        ----------
        levels : int, default 1
            Number of levels.

        Returns
        -------
        GaussLegendre
            The coarser grid.

        Raises
        ------
        TypeError
            If `levels` is not an integer.
        ValueError
            If `levels` is negative, or `nlat` or `nlon` is not divisible by ``2**levels``.
        """
        levels = check_levels(levels)
        return type(self)(halve(self._nlat, levels, "nlat"), halve(self._nlon, levels, "nlon"))

    def refine(self, levels: int = 1) -> Self:
        """Return the grid with twice the latitudes and longitudes, `levels` times."""
        levels = check_levels(levels)
        return type(self)(self._nlat << levels, self._nlon << levels)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"nlat": self._nlat, "nlon": self._nlon}

    def _identity(self) -> tuple[Any, ...]:
        return (self._nlat, self._nlon)

    def __repr__(self) -> str:
        return f"GaussLegendre(nlat={self._nlat}, nlon={self._nlon})"


class ReducedGaussian(GaussianRings):
    """A reduced Gaussian grid of weather models, with fewer longitudes near the poles.

    Points are ordered ring by ring from north to south, and eastward from longitude 0 in each ring,
    as in GRIB files.

    Parameters
    ----------
    number : int
        Number of latitudes between pole and equator: 320 for N320, 1280 for O1280.
    grid : {"octahedral", "classical"}, default "octahedral"
        Numbers of points on the rings:

        - ``"octahedral"``: ``20 + 4 * i`` on ring ``i = 0, 1, ...`` from either pole, for any
          `number`. It is the default because ECMWF's model has used it since 2016.
        - ``"classical"``: from tables, for `number` 32, 48, 64, 80, 96, 128, 160, 200, 256, 320
          (ERA5), 400, 512 and 640.

    Raises
    ------
    TypeError
        If `number` is not an integer.
    ValueError
        If `number` is less than 1, `grid` is unknown, there is no classical grid of this number, or
        there are more than 2**28 points.

    Notes
    -----
    M. Hortal and A. J. Simmons, "Use of reduced Gaussian grids in spectral models", Mon. Wea.
    Rev. 119 (1991). S. Malardel et al., "A new grid for the IFS", ECMWF Newsletter 146 (2016).

    The rings of a coarser grid have other latitudes and numbers of points. A cell that overlaps
    several coarser ones belongs to each in proportion to the overlap.

    Examples
    --------
    >>> from deepsphere.sampling import ReducedGaussian
    >>> len(ReducedGaussian(96)), len(ReducedGaussian(320, "classical"))
    (40320, 542080)
    >>> ReducedGaussian(96).coarsen(2)
    ReducedGaussian(number=24, grid='octahedral')
    """

    kind: ClassVar[str] = "reduced-gaussian"
    crowded = True

    def __init__(self, number: int, grid: str = "octahedral") -> None:
        number = check_count(number, "number")
        check_size(4 * number * (number + 9), f"ReducedGaussian({number})")
        if grid not in ("octahedral", "classical"):
            raise ValueError(f"grid must be octahedral or classical; got {grid!r}")
        if grid == "classical" and number not in NUMBERS:
            raise ValueError(
                f"there is no classical grid N{number}: number must be one of "
                f"{', '.join(map(str, NUMBERS))}; octahedral grids support any number"
            )
        self._number = number
        self._grid = grid

    @property
    def number(self) -> int:
        """Number of latitudes between pole and equator."""
        return self._number

    @property
    def grid(self) -> str:
        """Name of the rule for the numbers of points: ``"octahedral"`` or ``"classical"``."""
        return self._grid

    @property
    def nlat(self) -> int:
        """Number of latitudes, twice `number`."""
        return 2 * self._number

    @property
    def ring_sizes(self) -> NDArray[np.int64]:
        """Number of points on each ring from north to south, shape ``(nlat,)``."""
        if self._grid == "classical":
            half = classical_rings(self._number)
        else:
            half = 20 + 4 * np.arange(self._number)
        return np.concatenate((half, half[::-1]))

    def coarsen(self, levels: int = 1) -> Self:
        """Return the grid with half as many latitudes, `levels` times.

        Parameters
        ----------
        levels : int, default 1
            Number of levels.

        Returns
        -------
        ReducedGaussian
            The coarser grid, with the same `grid`.

        Raises
        ------
        TypeError
            If `levels` is not an integer.
        ValueError
            If `levels` is negative, `number` is not divisible by ``2**levels``, or there is no
            classical grid of the new number.
        """
        return type(self)(halve(self._number, check_levels(levels), "number"), self._grid)

    def refine(self, levels: int = 1) -> Self:
        """Return the grid with twice as many latitudes, `levels` times.

        Parameters
        ----------
        levels : int, default 1
            Number of levels.

        Returns
        -------
        ReducedGaussian
            The finer grid, with the same `grid`.

        Raises
        ------
        TypeError
            If `levels` is not an integer.
        ValueError
            If `levels` is negative, or there is no classical grid of the new number.
        """
        return type(self)(self._number << check_levels(levels), self._grid)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"number": self._number, "grid": self._grid}

    def _identity(self) -> tuple[Any, ...]:
        return (self._number, self._grid)

    def __repr__(self) -> str:
        return f"ReducedGaussian(number={self._number}, grid={self._grid!r})"
