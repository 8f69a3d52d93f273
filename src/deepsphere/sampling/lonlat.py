"""Conversion of longitudes and latitudes to unit vectors and back, and units of angles."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEGREES = re.compile(r"(deg(ree)?s?|°)[ _]?(?P<direction>true|north|n|east|e|)")
RADIANS = re.compile(r"rad(ian)?s?[ _]?(?P<direction>true|north|n|east|e|)")

BEYOND = 1e-5
"""Tolerance in degrees for latitudes beyond a pole. pi/2 in single precision exceeds by 2.5e-6."""


def to_vectors(lonlat: NDArray[np.floating]) -> NDArray[np.float64]:
    """Convert longitudes and latitudes to unit vectors.

    Parameters
    ----------
    lonlat : ndarray, shape (n, 2)
        Longitudes and latitudes in degrees.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        Unit vectors. The z axis points to the north pole, the x axis to longitude 0 on the equator.

    Raises
    ------
    ValueError
        If a number is not finite, or a latitude is not from -90 to 90.
    """
    lonlat = np.asarray(lonlat, dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(lonlat).all(axis=1) & (np.abs(lonlat[:, 1]) <= 90)))
    if len(wrong):
        raise ValueError(
            "longitudes and latitudes must be finite degrees, latitudes from -90 to 90; got "
            f"{lonlat[wrong[0]].tolist()} at {list_some(wrong)}"
        )
    lon, lat = np.radians(lonlat).T
    return np.column_stack((np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)))


def to_lonlat(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert unit vectors to longitudes and latitudes.

    Parameters
    ----------
    vectors : ndarray of float64, shape (n, 3)
        Unit vectors.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        Longitudes from 0 to below 360 and latitudes from -90 to 90, in degrees.
    """
    x, y, z = vectors.T
    lon = np.degrees(np.arctan2(y, x)) % 360
    lat = np.degrees(np.arctan2(z, np.hypot(x, y)))
    return np.column_stack((np.where(lon == 360, 0, lon), lat))


def to_degrees(angles: Any, name: str, units: str | None = None) -> NDArray[np.float64]:
    """Convert angles to degrees.

    Parameters
    ----------
    angles : array_like, or astropy or pint quantity
        Angles. Quantities are converted from their own unit.
    name : str
        Name of the angles in error messages.
    units : str, optional
        Unit of plain numbers, in any spelling of degrees or radians that files use. Defaults to
        degrees.

    Returns
    -------
    ndarray of float64
        Angles in degrees, in the shape of `angles`.

    Raises
    ------
    TypeError
        If the angles are not real numbers.
    ValueError
        If the unit is not degrees or radians (quantities: not a unit of angle), or an angle is
        masked.
    """
    try:
        if hasattr(angles, "to_value"):  # astropy; vectors have no unit
            angles = angles.to_value("deg" if str(angles.unit) else "")
        elif hasattr(angles, "magnitude"):  # pint
            angles = angles.magnitude if angles.unitless else angles.to("degree").magnitude
        elif units is not None and is_radians(units, name):
            angles = np.rad2deg(np.ma.asarray(angles, dtype=np.float64))
    except (TypeError, ValueError) as error:  # base classes of both libraries' unit errors
        raise ValueError(f"{name} must be in degrees or radians: {error}") from error
    if np.ma.is_masked(angles):
        raise ValueError(
            f"{np.ma.count_masked(angles)} of {np.size(angles)} values of {name} are masked; "
            "drop these points, and their values from your maps"
        )
    array = np.asarray(angles)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be real numbers, got an array of {array.dtype}")
    return array.astype(np.float64)


def is_radians(units: str, name: str) -> bool:
    """Return True for radians and False for degrees, or raise ValueError for other units."""
    text = str(units).strip().lower()
    if RADIANS.fullmatch(text):
        return True
    if DEGREES.fullmatch(text):
        return False
    raise ValueError(
        f"{name} must have units such as degrees_north, degrees_east, degrees or radian; "
        f"got {units!r}"
    )


def direction(units: str) -> str:
    """Return the direction that a unit of angle names: "n", "e", or "" for none."""
    text = str(units).strip().lower()
    match = DEGREES.fullmatch(text) or RADIANS.fullmatch(text)
    return match["direction"][:1].replace("t", "") if match else ""


def resembles_radians(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> bool:
    """Return whether all numbers lie in the range of radians."""
    return bool(
        min(len(lon), len(lat)) > 3
        and np.abs(lat).max() <= np.pi / 2 + BEYOND
        and lon.min() >= -np.pi - BEYOND
        and lon.max() <= 2 * np.pi + BEYOND
    )


def covers_as_radians(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> bool:
    """Return whether numbers lie in the range of radians and, as such, cover much of the sphere."""
    return resembles_radians(lon, lat) and bool(np.ptp(lat) > 2 and np.ptp(lon) > 4)


def list_some(indices: NDArray[np.int64]) -> str:
    """Return the first five indices and the number of the others as text, for messages."""
    some = ", ".join(str(i) for i in indices[:5].tolist())
    return f"index {some}" + (f" and {len(indices) - 5} more" if len(indices) > 5 else "")
