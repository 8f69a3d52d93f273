"""Samplings as coordinates of xarray data sets, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepsphere.extras import require
from deepsphere.sampling.base import Sampling
from deepsphere.sampling.classical_rings import NUMBERS
from deepsphere.sampling.cubed_sphere import CubedSphere
from deepsphere.sampling.equiangular import GRIDS, Equiangular
from deepsphere.sampling.fibonacci import Fibonacci
from deepsphere.sampling.gaussian import GaussLegendre, ReducedGaussian
from deepsphere.sampling.healpix import Healpix
from deepsphere.sampling.icosahedral import Icosahedral, IcosahedralFaces
from deepsphere.sampling.lonlat import to_lonlat, to_vectors
from deepsphere.sampling.scattered import Scattered

if TYPE_CHECKING:
    import xarray

CELLS = "cells"
"""Name of the dimension along which points go that form no grid, as in xdggs."""

SAME = 1e-3
"""Distance, as a part of that between points, up to which coordinates are those of a sampling.

Files hold degrees in single precision, right to 3e-5, or rounded to 3 or 4 decimals.
"""

LATITUDE = {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"}
LONGITUDE = {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"}


def to_coordinates(sampling: Sampling) -> xarray.Dataset:
    """Write where a sampling's points lie as the coordinates of a data set.

    Parameters
    ----------
    sampling : Sampling
        Any sampling.

    Returns
    -------
    xarray.Dataset
        Without variables. ``lat`` and ``lon`` in degrees, with the attributes of the CF
        conventions: along dimensions of their own for `Equiangular` and `GaussLegendre`, along
        ``cells`` for all others. `Healpix` also has the NEST numbers of its pixels in
        ``cell_ids``, with the attributes by which xdggs knows them.

    Raises
    ------
    ImportError
        If xarray is not installed: the extra ``weather``.

    Notes
    -----
    CF conventions 1.11, sections 4.1 and 4.2; https://xdggs.readthedocs.io for ``cell_ids``.

    Examples
    --------
    >>> from deepsphere.sampling import Equiangular
    >>> grid = to_coordinates(Equiangular(4, 8))
    >>> dict(grid.sizes), grid.lat.values.tolist()
    ({'lat': 4, 'lon': 8}, [67.5, 22.5, -22.5, -67.5])
    """
    xarray = require("xarray", extra="weather")
    if isinstance(sampling, (Equiangular, GaussLegendre)):
        longitudes = 360 * np.arange(sampling.nlon) / sampling.nlon
        return xarray.Dataset(
            coords={
                "lat": ("lat", sampling.latitudes, {**LATITUDE, "axis": "Y"}),
                "lon": ("lon", longitudes, {**LONGITUDE, "axis": "X"}),
            }
        )
    lon, lat = to_lonlat(sampling.points).T
    coordinates: dict[str, Any] = {"lat": (CELLS, lat, LATITUDE), "lon": (CELLS, lon, LONGITUDE)}
    if isinstance(sampling, Healpix):
        attributes = {
            "grid_name": "healpix",
            "level": sampling.level,
            "indexing_scheme": "nested",
        }
        coordinates["cell_ids"] = (CELLS, sampling.pixels, attributes)
    return xarray.Dataset(coords=coordinates)


def from_coordinates(data: xarray.Dataset | xarray.DataArray) -> Sampling:
    """Find out how a data set is sampled.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataArray
        With a coordinate ``cell_ids`` of HEALPix, or with latitudes and longitudes, known by
        their CF attribute ``standard_name`` or by the names lat, latitude, lon and longitude.

    Returns
    -------
    Sampling
        - `Healpix`, if there are ``cell_ids`` whose attribute ``grid_name`` is healpix.
        - `Equiangular` or `GaussLegendre`, if latitudes and longitudes are those of such a grid.
        - `ReducedGaussian`, `Icosahedral`, `IcosahedralFaces`, `CubedSphere` or `Fibonacci`, if
          all points are those of such a sampling, in its order.
        - `Scattered` otherwise: points in the order of the coordinates; on grids row by row, that
          is of maps ``data.transpose(..., "lat", "lon")``. Parts of grids are scattered, too.

    Raises
    ------
    ValueError
        If there are no such coordinates. Also if the values are in another order than the
        sampling's: cells in RING ordering or not sorted, latitudes from south to north, or
        longitudes that do not start at 0. Nothing is put in order here, as the data must be,
        too: messages say how.

    Notes
    -----
    Coordinates count as those of a sampling if they are right to a thousandth of the distance
    between its points.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> from_coordinates(to_coordinates(Healpix(8)))
    Healpix(nside=8)
    """
    # Files often have latitudes and longitudes among a data set's variables.
    variables: Mapping[Any, Any] = getattr(data, "variables", None) or data.coords
    cells = variables.get("cell_ids")
    if cells is not None and cells.attrs.get("grid_name") == "healpix":
        return _healpix(cells)
    lat_name, lon_name = _find(variables, "latitude"), _find(variables, "longitude")
    lat, lon = variables[lat_name], variables[lon_name]
    if lat.ndim == lon.ndim == 1 and lat.dims != lon.dims:
        return _grid(np.asarray(lat, np.float64), np.asarray(lon, np.float64), lat_name, lon_name)
    if lat.dims != lon.dims:
        raise ValueError(
            f"latitudes and longitudes must have the same dimensions or one each, got {lat.dims} "
            f"and {lon.dims}"
        )
    points = to_vectors(np.column_stack((np.ravel(lon), np.ravel(lat))))
    width = np.sqrt(4 * np.pi / len(points))
    for sampling in _samplings_of(len(points)):
        if np.abs(sampling.points - points).max() < SAME * width:
            return sampling
    return Scattered(points)


def _healpix(cells: Any) -> Healpix:
    scheme = cells.attrs.get("indexing_scheme", "nested")
    if "level" not in cells.attrs:
        raise ValueError(f"cell_ids lack the attribute level; they have {sorted(cells.attrs)}")
    level = int(cells.attrs["level"])
    if scheme == "ring":
        raise ValueError(
            "cell_ids are in RING ordering, samplings in NEST: with "
            f"ids = astropy_healpix.healpy.ring2nest({2**level}, data.cell_ids.values) and "
            f"attrs = {{**data.cell_ids.attrs, 'indexing_scheme': 'nested'}}, take "
            f"data.assign_coords(cell_ids=({cells.dims[0]!r}, ids, attrs)).sortby('cell_ids')"
        )
    if scheme != "nested":
        raise ValueError(f"cell_ids must have the indexing_scheme nested, got {scheme!r}")
    pixels = np.asarray(cells)
    if np.any(np.diff(pixels) <= 0):
        raise ValueError("cell_ids must be strictly increasing; take data.sortby('cell_ids')")
    return Healpix(level=level, pixels=pixels)


def _find(variables: Mapping[Any, Any], standard_name: str) -> str:
    names = (standard_name, standard_name[:3])
    for name, variable in variables.items():
        if variable.attrs.get("standard_name") == standard_name or name in names:
            return str(name)
    raise ValueError(
        f"there is no {standard_name}: name it {' or '.join(names)}, or give it the attribute "
        f"standard_name={standard_name!r}; there are {sorted(map(str, variables))}"
    )


def _grid(
    latitudes: NDArray[np.float64], longitudes: NDArray[np.float64], lat: str, lon: str
) -> Sampling:
    nlat, nlon = len(latitudes), len(longitudes)
    turn = 360 * np.arange(nlon) / nlon
    eastwards = _same(longitudes, turn, 360 / nlon)
    turned = not eastwards and _same(np.sort(longitudes % 360), turn, 360 / nlon)
    for sampling in _grids_of(nlat, nlon) if eastwards or turned else ():
        southwards = _same(latitudes, sampling.latitudes, 180 / nlat)
        if not southwards and not _same(latitudes[::-1], sampling.latitudes, 180 / nlat):
            continue
        if not southwards:
            raise ValueError(
                f"latitudes go from south to north, those of {sampling} from north to south: "
                f"take data.sortby({lat!r}, ascending=False)"
            )
        if turned:
            raise ValueError(
                f"longitudes start at {longitudes[0]}, those of {sampling} at 0: take "
                f"data.assign_coords({lon}=data.{lon} % 360).sortby({lon!r})"
            )
        return sampling
    pairs = np.stack(np.broadcast_arrays(longitudes, latitudes[:, None]), axis=-1)
    return Scattered(pairs.reshape(-1, 2))


def _same(values: NDArray[np.float64], others: NDArray[np.float64], spacing: float) -> bool:
    return bool(np.abs(values - others).max() < SAME * spacing)


def _grids_of(nlat: int, nlon: int) -> Iterator[Equiangular | GaussLegendre]:
    for grid in GRIDS:
        if nlat > 1 or grid != "clenshaw-curtis":
            yield Equiangular(nlat, nlon, grid)
    yield GaussLegendre(nlat, nlon)


def _samplings_of(n: int) -> Iterator[Sampling]:
    """Yield all samplings of so many points that are known by their number."""
    octahedral = int(np.sqrt(n / 4 + 81 / 4) - 9 / 2 + 0.5)  # there are 4 N (N + 9) points
    candidates: list[Sampling] = [ReducedGaussian(max(octahedral, 1))]
    candidates += [ReducedGaussian(number, "classical") for number in NUMBERS]
    level = max(int(np.log2(n / 10) / 2 + 0.5), 0)
    candidates += [Icosahedral(level), IcosahedralFaces(level), IcosahedralFaces(max(level - 1, 0))]
    candidates += [CubedSphere(max(int(np.sqrt(n / 6) + 0.5), 1)), Fibonacci(n)]
    yield from (sampling for sampling in candidates if len(sampling) == n)
