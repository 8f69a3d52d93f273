"""Latitudes and longitudes of xarray data, found by their metadata."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsphere.sampling.lonlat import (
    BEYOND,
    covers_as_radians,
    direction,
    resembles_radians,
    to_degrees,
)

logger = logging.getLogger(__name__)

DIRECTIONS = {"latitude": "n", "longitude": "e"}


class Angles(NamedTuple):
    """Latitudes or longitudes of a data set, with their name, dimensions and values in degrees."""

    name: str
    dims: tuple[str, ...]
    degrees: NDArray[np.float64]


def variables_of(data: Any) -> Mapping[Any, Any]:
    """Return all variables by name, among which to look for coordinates."""
    # Files often store latitudes and longitudes as data variables.
    return getattr(data, "variables", None) or data.coords


def maps_of(data: Any) -> dict[str, tuple[str, ...]]:
    """Return the names of the variables that hold maps, and their dimensions."""
    if hasattr(data, "data_vars"):
        return {str(name): variable.dims for name, variable in data.data_vars.items()}
    return {str(data.name or "data"): data.dims}


def has_angles(data: Any) -> bool:
    """Return whether the data have latitudes and longitudes."""
    return all(_candidates(variables_of(data), name) for name in DIRECTIONS)


def latitudes_longitudes(data: Any) -> tuple[Angles, Angles]:
    """Return the latitudes and longitudes of a data set in degrees.

    Parameters
    ----------
    data : xarray.Dataset or xarray.DataArray
        Data whose coordinates or variables are recognized, in this order of precedence, by the
        attribute ``standard_name``, by the names lat, latitude, lon and longitude, or by units such
        as degrees_north.

    Returns
    -------
    latitudes, longitudes : Angles
        Angles in degrees, converted from the unit in the attribute ``units``. Angles without that
        attribute are assumed to be in degrees.

    Raises
    ------
    TypeError
        If the angles are not real numbers.
    ValueError
        If there are no latitudes or longitudes or several, they are empty or masked, their units
        are unknown or those of the other direction, or they have no units and look like radians.
    """
    variables = variables_of(data)
    latitudes, longitudes = (_find(data, variables, name) for name in DIRECTIONS)
    lat, lon = latitudes.degrees, longitudes.degrees
    if not lat.size or not lon.size:
        raise ValueError(f"{latitudes.name} and {longitudes.name} must not be empty")
    plain = all(_units_of(variables[one.name]) is None for one in (latitudes, longitudes))
    if plain and covers_as_radians(lon.ravel(), lat.ravel()):
        raise ValueError(
            f"{latitudes.name} and {longitudes.name} have no attribute units, and look like "
            f"radians: they range from {lat.min():.4g} to {lat.max():.4g} and from "
            f"{lon.min():.4g} to {lon.max():.4g}; set data.{latitudes.name}.attrs['units'] and "
            f"data.{longitudes.name}.attrs['units'] to 'radian' or 'degrees'"
        )
    if plain and resembles_radians(lon.ravel(), lat.ravel()):
        logger.warning(
            "%s and %s have no attribute units, and could be radians by their range; degrees are "
            "assumed: set their attribute units to 'radian' or 'degrees'",
            latitudes.name,
            longitudes.name,
        )
    over = (np.abs(lat) > 90) & (np.abs(lat) <= 90 + BEYOND)
    lat[over] = np.copysign(90, lat[over])
    return latitudes, longitudes


def _find(data: Any, variables: Mapping[Any, Any], kind: str) -> Angles:
    found = _candidates(variables, kind)
    if len(found) > 1:  # of cells, edges and vertices, for instance: take those of the maps
        dims = {dim for dims in maps_of(data).values() for dim in dims}
        found = [name for name in found if set(variables[name].dims) <= dims] or found
    if len(found) > 1:
        described = ", ".join(f"{name} {variables[name].dims}" for name in found)
        raise ValueError(
            f"there are several {kind}s: {described}; use one variable of the data set, or drop "
            "the others with data.drop_vars"
        )
    if not found:
        raise ValueError(
            f"there is no {kind}: name it {kind} or {kind[:3]}, or set its attribute "
            f"standard_name={kind!r}; the variables are {sorted(map(str, variables))}"
        )
    variable, units = variables[found[0]], _units_of(variables[found[0]])
    if units is not None and direction(units) not in ("", DIRECTIONS[kind]):
        raise ValueError(f"{found[0]} is a {kind} by its name, but has the units {units!r}")
    values = variable.data if hasattr(variable.data, "magnitude") else variable.values
    if hasattr(variable.data, "to_value"):
        values = variable.data
    degrees = to_degrees(values, str(found[0]), units)
    return Angles(str(found[0]), tuple(map(str, variable.dims)), degrees)


def _candidates(variables: Mapping[Any, Any], kind: str) -> list[Any]:
    """Return the names of the latitudes or longitudes, by the most reliable metadata present."""
    bounds = {
        text
        for variable in variables.values()
        for text in str(variable.attrs.get("bounds", "")).split()
    }
    names = [name for name in variables if name not in bounds]
    by_standard_name = [
        name for name in names if variables[name].attrs.get("standard_name") == kind
    ]
    # Variables with another standard_name, such as grid_latitude, mean something else.
    names = [name for name in names if "standard_name" not in variables[name].attrs]
    by_name = [name for name in names if str(name).lower() in (kind, kind[:3])]
    by_units = [
        name
        for name in names
        if direction(variables[name].attrs.get("units", "")) == DIRECTIONS[kind]
    ]
    return by_standard_name or by_name or by_units


def _units_of(variable: Any) -> str | None:
    """Return the unit of a variable, from its data or its attribute, or None."""
    data = variable.data
    units = getattr(data, "units", None) or getattr(data, "unit", None)
    units = variable.attrs.get("units") if units is None else units
    return str(units) if units is not None and str(units).strip() else None
