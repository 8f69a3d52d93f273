"""HEALPix cells of xarray data, found by the metadata of several conventions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsphere.sampling.cf_coordinates import has_angles, variables_of
from deepsphere.sampling.healpix import MAX_LEVEL, Healpix, check_nside, check_pixels

logger = logging.getLogger(__name__)

LEVELS = ("level", "refinement_level", "healpix_level", "zoom", "order", "resolution", "depth")
NSIDES = ("nside", "healpix_nside")
SCHEMES = ("indexing_scheme", "healpix_order", "ordering", "order", "nest")
NUMBERS = ("cell_ids", "healpix_index", "cell", "cells", "ipix")
"""Names of the coordinate of cell indices, if no metadata identify it."""


class Cells(NamedTuple):
    """The cells of a data set, and how to reorder its maps to those of a sampling.

    Attributes
    ----------
    sampling : Healpix
        The cells.
    dim : str
        Dimension of the cells.
    order : ndarray of int64 or None
        Positions of the cells of the sampling along `dim`; None if they are in order.
    advice : str
        How to reorder the data, for error messages.
    """

    sampling: Healpix
    dim: str
    order: NDArray[np.int64] | None
    advice: str


def find_cells(data: Any) -> Cells | None:
    """Return the HEALPix cells of a data set, or None if its metadata name none.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataArray
        Data with a coordinate whose attribute ``grid_name`` is healpix, with the index that xdggs
        makes of it, or with a grid mapping whose ``grid_mapping_name`` is healpix, as in the CF
        conventions and at easy.gems.

    Returns
    -------
    Cells or None
        The cells.

    Raises
    ------
    ValueError
        If the metadata are incomplete, contradict each other or contradict the data, cells of
        several levels are mixed, or the data name a grid mapping that they lack and have no
        latitudes and longitudes.
    """
    variables = variables_of(data)
    for name, attributes in _numbered(data, variables):
        known = _scheme(attributes, name) or "nested"  # the default of xdggs
        return _cells(data, name, _level(attributes, name), known)
    for name, attributes in _mappings(data, variables):
        level, scheme = _level(attributes, name), _scheme(attributes, name)
        if scheme is None:
            raise ValueError(
                f"the grid mapping {name} lacks the order of its cells, one of the attributes "
                "indexing_scheme and healpix_order: nested or ring"
            )
        _check_sphere(attributes, name)
        numbers = [
            other
            for other, variable in variables.items()
            if variable.ndim == 1
            and (variable.attrs.get("standard_name") == "healpix_index" or other in NUMBERS)
        ]
        return _cells(data, numbers[0] if numbers else None, level, scheme)
    return None


def _numbered(data: Any, variables: Mapping[Any, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and attributes of coordinates that hold indices of HEALPix cells."""
    for name, index in getattr(data, "xindexes", {}).items():
        info: Any = getattr(index, "grid_info", None)  # xdggs builds it from the attributes
        if hasattr(info, "to_dict"):
            attributes = info.to_dict()
            if attributes.get("grid_name") == "healpix":
                _check_sphere(attributes, str(name))
                yield str(name), attributes
    for name, variable in variables.items():
        if variable.attrs.get("grid_name") == "healpix":
            _check_sphere(variable.attrs, str(name))
            yield str(name), variable.attrs


def _mappings(data: Any, variables: Mapping[Any, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the grid mappings of HEALPix, and raise ValueError if a named one is missing."""
    for name, variable in variables.items():
        if variable.attrs.get("grid_mapping_name") == "healpix":
            yield str(name), variable.attrs
    maps = data.data_vars.values() if hasattr(data, "data_vars") else [data]
    named = {
        text.split(":")[0]
        for one in maps
        for text in [str({**one.encoding, **one.attrs}.get("grid_mapping", ""))]
    }
    missing = sorted(named - {"", *map(str, variables)})
    if missing and not has_angles(data):
        raise ValueError(
            f"the data refer to a grid mapping {missing[0]!r} but have neither it nor latitudes "
            "and longitudes: copy it from the data set that has it, with "
            f"data.assign_coords({missing[0]}=dataset.{missing[0]})"
        )


def _level(attributes: Mapping[str, Any], name: str) -> int:
    levels: dict[str, int] = {}
    for key in LEVELS + NSIDES:
        value = attributes.get(key)
        if value is None or (isinstance(value, str) and not value.strip().isdigit()):
            continue  # such as order="nested"
        number = int(np.asarray(value).astype(np.float64).item())
        if number != float(value):
            raise ValueError(f"{key} of {name} must be an integer, got {value!r}")
        levels[key] = check_nside(number).bit_length() - 1 if key in NSIDES else number
    if not levels:
        raise ValueError(
            f"{name} lack the attribute level (or refinement_level, healpix_nside); "
            f"they have {sorted(attributes)}"
        )
    if len(set(levels.values())) > 1:
        raise ValueError(f"the attributes of {name} contradict each other: they imply {levels}")
    level = next(iter(levels.values()))
    if not 0 <= level <= MAX_LEVEL:
        raise ValueError(f"the level of {name} must be from 0 to {MAX_LEVEL}, got {level}")
    return level


def _scheme(attributes: Mapping[str, Any], name: str) -> str | None:
    schemes: dict[str, str] = {}
    for key in SCHEMES:
        value = attributes.get(key)
        if isinstance(value, (bool, np.bool_)) or (key == "nest" and value is not None):
            schemes[key] = "nested" if value else "ring"
        elif isinstance(value, str) and not value.strip().isdigit():
            text = value.strip().lower()
            schemes[key] = "nested" if text == "nest" else text
    if len(set(schemes.values())) > 1:
        raise ValueError(f"the attributes of {name} contradict each other: they specify {schemes}")
    scheme = next(iter(schemes.values()), None)
    if scheme not in (None, "nested", "ring"):
        raise ValueError(
            f"{name} must have the indexing_scheme nested or ring, got {scheme!r}; cells of "
            "several levels must be converted to a single level"
        )
    return scheme


def _check_sphere(attributes: Mapping[str, Any], name: str) -> None:
    """Warn if cells lie on an ellipsoid, because a sampling's points lie on the sphere."""
    ellipsoid = attributes.get("ellipsoid")
    flattening = float(attributes.get("inverse_flattening", 0) or 0)
    named = ellipsoid.get("name") if isinstance(ellipsoid, Mapping) else ellipsoid
    is_sphere = isinstance(ellipsoid, Mapping) and "radius" in ellipsoid
    if flattening or not (ellipsoid is None or is_sphere or str(named).lower() == "sphere"):
        logger.warning(
            "%s lie on an ellipsoid (%s); the sampling uses the same cells on the sphere, whose "
            "latitudes differ from geodetic ones by up to 0.13 degrees",
            name,
            named or f"inverse flattening {flattening:g}",
        )


def _cells(data: Any, name: str | None, level: int, scheme: str) -> Cells:
    from astropy_healpix.healpy import nest2ring, ring2nest

    nside, count = 2**level, 12 * 4**level
    if name is None:
        dims = [str(dim) for dim, size in data.sizes.items() if size == count]
        if not dims:
            raise ValueError(
                f"level {level} has {count} cells, but no dimension has that size "
                f"({dict(data.sizes)}); for a part of the sphere, number its cells in a "
                "coordinate 'cell_ids'"
            )
        dim = dims[0]
        if scheme == "nested":
            return Cells(Healpix(nside), dim, None, "")
        advice = (
            "the cells are in RING ordering, but samplings are in NEST: use "
            f"data.isel({dim}=astropy_healpix.healpy.nest2ring({nside}, numpy.arange({count}))), "
            "and set the attribute of the grid mapping to nested"
        )
        order = np.asarray(nest2ring(nside, np.arange(count)), dtype=np.int64)
        return Cells(Healpix(nside), dim, order, advice)
    variable = variables_of(data)[name]
    if variable.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got {variable.dims}")
    dim = str(variable.dims[0])
    numbers = check_pixels(_integers(np.asarray(variable), name), nside)
    advice = f"{name} must be strictly increasing; use data.sortby({name!r})"
    if scheme == "ring":
        numbers = np.asarray(ring2nest(nside, numbers), dtype=np.int64)
        advice = (
            f"{name} are in RING ordering, but samplings are in NEST: with ids = "
            f"astropy_healpix.healpy.ring2nest({nside}, data.{name}.values) and attrs = "
            f"{{**data.{name}.attrs, 'indexing_scheme': 'nested'}}, use "
            f"data.assign_coords({name}=({dim!r}, ids, attrs)).sortby({name!r})"
        )
    order = np.argsort(numbers, kind="stable")
    repeated = np.count_nonzero(np.diff(numbers[order]) == 0)
    if repeated:
        raise ValueError(
            f"{name} must be distinct: {repeated} of {len(numbers)} repeat another one; use "
            f"data.drop_duplicates({dim!r})"
        )
    in_order = scheme == "nested" and bool(np.all(np.diff(numbers) > 0))
    return Cells(Healpix(nside, numbers[order]), dim, None if in_order else order, advice)


def _integers(numbers: NDArray[Any], name: str) -> NDArray[Any]:
    """Return cell indices as integers, because reading a file may have turned them into floats."""
    if numbers.dtype.kind != "f":
        return numbers
    missing = np.count_nonzero(~np.isfinite(numbers))
    if missing:
        raise ValueError(f"{missing} of {len(numbers)} {name} are missing; drop these cells")
    if np.any(numbers != np.round(numbers)):
        raise ValueError(f"{name} must be integers, got {numbers.dtype} with fractions")
    return numbers.astype(np.int64)
