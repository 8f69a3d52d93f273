"""Conversion between samplings and coordinates of xarray data sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsphere._extras import require
from deepsphere.sampling.base import Sampling
from deepsphere.sampling.cells import find_cells
from deepsphere.sampling.cf_coordinates import Angles, latitudes_longitudes, maps_of
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
"""Name of the dimension of points that do not form a grid, as in xdggs."""

SAME = 1e-3
"""Largest distance of coordinates to the points of a sampling, relative to the point spacing.

Files store degrees in single precision, with errors of 3e-5, or rounded to 3 or 4 decimals.
"""

LATITUDE = {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"}
LONGITUDE = {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"}


def to_coordinates(sampling: Sampling) -> xarray.Dataset:
    """Return the points of a sampling as coordinates of an xarray data set.

    Parameters
    ----------
    sampling : Sampling
        Any sampling.

    Returns
    -------
    xarray.Dataset
        A data set with coordinates only: ``lat`` and ``lon`` in degrees, with attributes of the CF
        conventions. They have one dimension each for `Equiangular` and `GaussLegendre`, and share
        the dimension ``cells`` for all other samplings. `Healpix` also has the NEST indices of its
        pixels in ``cell_ids``, with the attributes that xdggs expects.

    Raises
    ------
    ImportError
        If xarray is not installed (extra ``weather``).

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
    """Return the sampling of an xarray data set.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataArray
        Data with HEALPix cells or with latitudes and longitudes. HEALPix cells are recognized by
        the attributes or the index of xdggs, or by a grid mapping of the CF conventions or of
        easy.gems. Latitudes and longitudes are recognized by their CF attribute ``standard_name``,
        by the names lat, latitude, lon and longitude, or by units such as degrees_north. Their
        attribute ``units`` may be degrees or radians.

    Returns
    -------
    Sampling
        - `Healpix`, if there are HEALPix cells.
        - `Equiangular` or `GaussLegendre`, if latitudes and longitudes are those of such a grid.
        - `Healpix`, `ReducedGaussian`, `Icosahedral`, `IcosahedralFaces`, `CubedSphere` or
          `Fibonacci`, if the points are all points of such a sampling, in its order.
        - `Scattered` otherwise, for parts of grids too, with points in the order of the coordinates
          (row by row on grids).

    Raises
    ------
    ValueError
        If there are no such coordinates, or their metadata are incomplete or contradictory. Also
        if the values are not in the order of the sampling: longitudes before latitudes, latitudes
        from south to north, longitudes that do not start at 0 or repeat it, cells in RING ordering
        or not sorted. The message shows how to reorder the data; `from_dataarray` does it.

    Notes
    -----
    Coordinates match a sampling if they differ from its points by less than a thousandth of the
    point spacing.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> from_coordinates(to_coordinates(Healpix(8)))
    Healpix(nside=8)
    """
    place = _locate(data)
    for name, dims in maps_of(data).items():
        if set(place.dims) <= set(dims) and not _side_by_side(place.dims, dims):
            listed = ", ".join(repr(dim) for dim in place.dims)
            raise ValueError(
                f"the dimensions of {name} are {dims}, but {place.sampling} has values row by "
                f"row: use data.transpose(..., {listed})"
            )
    if place.advice:
        raise ValueError(place.advice)
    return place.sampling


def from_dataarray(
    array: xarray.DataArray, channels: str | None = None
) -> tuple[NDArray[Any], Sampling]:
    """Return the values of an xarray data array in the order of its sampling, and the sampling.

    Unlike `from_coordinates`, this function accepts dimensions in any order, latitudes from south
    to north, longitudes that start anywhere or repeat the first column, and HEALPix cells in RING
    or no ordering. It reorders the values.

    Parameters
    ----------
    array : xarray.DataArray
        Data with coordinates that `from_coordinates` recognizes.
    channels : str, optional
        Name of a dimension to put last, such as that of levels. Defaults to none.

    Returns
    -------
    values : ndarray, shape (..., n) or (..., n, channels)
        The values. Other dimensions come first, in the order of the array.
    sampling : Sampling
        The sampling of the n values.

    Raises
    ------
    TypeError
        If `array` is not a DataArray.
    ValueError
        If `array` lacks a dimension of the coordinates or the dimension `channels`, or its
        coordinates are not recognized (see `from_coordinates`).

    Examples
    --------
    >>> import numpy as np
    >>> import xarray
    >>> coordinates = {"lon": [-180, -90, 0, 90], "lat": [-45, 45], "level": [850, 500, 250]}
    >>> dimensions = ("time", "level", "lon", "lat")
    >>> winds = xarray.DataArray(np.zeros((5, 3, 4, 2)), coordinates, dimensions)
    >>> values, sampling = from_dataarray(winds, channels="level")
    >>> values.shape, sampling
    ((5, 8, 3), Equiangular(nlat=2, nlon=4, grid='soft'))
    """
    if hasattr(array, "data_vars") or not hasattr(array, "dims"):
        raise TypeError(
            f"array must be an xarray.DataArray, got {type(array).__name__}; use one variable of "
            "a data set"
        )
    place = _locate(array)
    last = () if channels is None else (channels,)
    missing = [dim for dim in (*place.dims, *last) if dim not in array.dims]
    if missing or set(last) & set(place.dims):
        raise ValueError(
            f"the array must have the dimensions {place.dims} of {place.sampling} and the "
            f"dimension of the channels; got {array.dims} and channels={channels!r}"
        )
    variable = array.variable.isel(place.order)  # without indexes, which isel would reorder too
    first = [dim for dim in variable.dims if dim not in (*place.dims, *last)]
    values = variable.transpose(*first, *place.dims, *last).to_numpy()
    before, after = values.shape[: len(first)], values.shape[len(first) + len(place.dims) :]
    return values.reshape(*before, len(place.sampling), *after), place.sampling


class _Place(NamedTuple):
    """The sampling of data, and how to reorder maps to it.

    `dims` are the dimensions of the points, the slowest first. `order` holds the positions to take
    along them. `advice` says how to reorder the data, and is empty if they are in order.
    """

    sampling: Sampling
    dims: tuple[str, ...]
    order: dict[str, NDArray[np.int64]]
    advice: str


def _locate(data: Any) -> _Place:
    if not hasattr(data, "coords") and not hasattr(data, "variables"):
        raise TypeError(
            f"data must be an xarray.Dataset or DataArray, got {type(data).__name__}; for points "
            "without metadata, use deepsphere.sampling.Scattered(points)"
        )
    cells = find_cells(data)
    if cells is not None:
        if cells.order is None:
            return _Place(cells.sampling, (cells.dim,), {}, "")
        return _Place(cells.sampling, (cells.dim,), {cells.dim: cells.order}, cells.advice)
    latitudes, longitudes = latitudes_longitudes(data)
    if len(latitudes.dims) == len(longitudes.dims) == 1 and latitudes.dims != longitudes.dims:
        return _grid(latitudes, longitudes)
    if latitudes.dims != longitudes.dims:
        raise ValueError(
            "latitudes and longitudes must have the same dimensions or one each, "
            f"got {latitudes.dims} and {longitudes.dims}"
        )
    points = to_vectors(np.column_stack((longitudes.degrees.ravel(), latitudes.degrees.ravel())))
    dims = latitudes.dims
    width = np.sqrt(4 * np.pi / len(points))
    for sampling in _samplings_of(len(points)):
        if np.abs(sampling.points - points).max() < SAME * width:
            return _Place(sampling, dims, {}, "")
        if isinstance(sampling, Healpix) and len(dims) == 1:
            order = _ring_order(sampling)
            if np.abs(sampling.points - points[order]).max() < SAME * width:
                advice = (
                    f"the points are those of {sampling} in RING ordering, but samplings are in "
                    "NEST: use "
                    f"data.isel({dims[0]}=astropy_healpix.healpy.nest2ring({sampling.nside}, "
                    f"numpy.arange({len(points)})))"
                )
                return _Place(sampling, dims, {dims[0]: order}, advice)
    return _Place(Scattered(points), dims, {}, "")


def _ring_order(sampling: Healpix) -> NDArray[np.int64]:
    from astropy_healpix.healpy import nest2ring

    return np.asarray(nest2ring(sampling.nside, sampling.pixels), dtype=np.int64)


def _side_by_side(dims: tuple[str, ...], among: tuple[str, ...]) -> bool:
    """Return whether `dims` are consecutive and in this order in `among`."""
    first = among.index(dims[0]) if dims else 0
    return among[first : first + len(dims)] == dims


def _grid(latitudes: Angles, longitudes: Angles) -> _Place:
    lat, lon = latitudes.degrees, longitudes.degrees
    dims = (*latitudes.dims, *longitudes.dims)
    eastwards = np.argsort(lon % 360, kind="stable")
    spacing = 360 / len(lon)
    repeats = np.diff(lon[eastwards] % 360, append=lon[eastwards[0]] % 360 + 360) < SAME * spacing
    if repeats.any() and len(lon) > 1:
        # drop the later of two equal longitudes: the last column where it repeats the first
        pairs = np.stack((eastwards, np.roll(eastwards, -1)))[:, repeats]
        keep = np.setdiff1d(np.arange(len(lon)), pairs.max(axis=0))
        name = longitudes.name
        rest = _grid(latitudes, Angles(name, longitudes.dims, lon[keep]))
        order = {**rest.order, dims[1]: keep[rest.order.get(dims[1], np.arange(len(keep)))]}
        drop = np.setdiff1d(np.arange(len(lon)), keep)
        return rest._replace(
            order=order,
            advice=(
                f"longitude {lon[drop[0]]} repeats another one: use "
                f"data.isel({dims[1]}={_as_slice(keep)})"
            ),
        )
    southwards = np.arange(len(lat))
    turn = spacing * np.arange(len(lon))
    in_order = _same(lon, turn, spacing)
    if in_order or _same(lon[eastwards] % 360, turn, spacing):
        for sampling in _grids_of(len(lat), len(lon)):
            height = 180 / len(lat)
            order, advice = {}, ""
            if not in_order:
                order[dims[1]] = eastwards
                advice = (
                    f"longitudes start at {lon[0]}, but those of {sampling} at 0: use "
                    f"data.assign_coords({longitudes.name}=data.{longitudes.name} % "
                    f"360).sortby({longitudes.name!r})"
                )
            if _same(lat, sampling.latitudes, height):
                return _Place(sampling, dims, order, advice)
            if _same(lat[::-1], sampling.latitudes, height):
                order[dims[0]] = southwards[::-1]
                advice = (
                    f"latitudes run from south to north, but those of {sampling} from north to "
                    f"south: use data.sortby({latitudes.name!r}, ascending=False)"
                )
                return _Place(sampling, dims, order, advice)
    poles = (np.abs(lat) > 90 - SAME * 180 / len(lat)) & (np.abs(lat) <= 90)
    if poles.any() and len(lon) > 1:
        raise ValueError(
            f"the rows at latitude {lat[poles].tolist()} repeat the same point {len(lon)} times, "
            "and the grid is not a known grid of the whole sphere: leave these rows out with "
            f"data.isel({dims[0]}={_as_slice(np.flatnonzero(~poles))})"
        )
    pairs = np.stack(np.broadcast_arrays(lon, lat[:, None]), axis=-1)
    return _Place(Scattered(pairs.reshape(-1, 2)), dims, {}, "")


def _as_slice(kept: NDArray[np.int64]) -> str:
    """Return positions as text, as a slice if they are consecutive."""
    if np.all(np.diff(kept) == 1):
        return f"slice({kept[0]}, {kept[-1] + 1})"
    return str(kept.tolist())


def _same(values: NDArray[np.float64], others: NDArray[Any], spacing: float) -> bool:
    return bool(np.abs(values - others).max() < SAME * spacing)


def _grids_of(nlat: int, nlon: int) -> Iterator[Equiangular | GaussLegendre]:
    for grid in GRIDS:
        if nlat > 1 or grid != "clenshaw-curtis":
            yield Equiangular(nlat, nlon, grid)
    yield GaussLegendre(nlat, nlon)


def _samplings_of(n: int) -> Iterator[Sampling]:
    """Yield the samplings that have n points."""
    octahedral = int(np.sqrt(n / 4 + 81 / 4) - 9 / 2 + 0.5)  # there are 4 N (N + 9) points
    candidates: list[Sampling] = [ReducedGaussian(max(octahedral, 1))]
    candidates += [ReducedGaussian(number, "classical") for number in NUMBERS]
    nside = round((n / 12) ** 0.5)
    if 12 * nside**2 == n and nside & (nside - 1) == 0:
        candidates.append(Healpix(nside))
    level = max(int(np.log2(n / 10) / 2 + 0.5), 0)
    candidates += [Icosahedral(level), IcosahedralFaces(level), IcosahedralFaces(max(level - 1, 0))]
    candidates += [CubedSphere(max(int(np.sqrt(n / 6) + 0.5), 1)), Fibonacci(n)]
    yield from (sampling for sampling in candidates if len(sampling) == n)
