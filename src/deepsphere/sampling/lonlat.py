"""Longitudes and latitudes in degrees, to unit vectors and back."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEGREES = re.compile(r"(deg(ree)?s?|°)[ _]?(?P<direction>true|north|n|east|e|)")
RADIANS = re.compile(r"rad(ian)?s?[ _]?(?P<direction>true|north|n|east|e|)")

BEYOND = 1e-5
"""Degrees by which latitudes may lie beyond a pole: pi/2 in single precision does by 2.5e-6."""


def to_vectors(lonlat: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return unit vectors.

    Parameters
    ----------
    lonlat : ndarray, shape (n, 2)
        Longitudes and latitudes in degrees.

    Returns
    -------
    ndarray of float64, shape (n, 3)
        The z axis points to the north pole, the x axis to longitude 0 on the equator.

    Raises
    ------
    ValueError
        If numbers are not finite, or latitudes are beyond the poles.
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
    """Return longitudes and latitudes.

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
    """Return angles in degrees.

    Parameters
    ----------
    angles : array_like, or a quantity of astropy or pint
        Quantities carry their unit.
    name : str
        What messages call the angles.
    units : str, optional
        Unit of plain numbers, in any spelling of degrees or radians that files use. Default:
        degrees.

    Returns
    -------
    ndarray of float64
        Of the same shape.

    Raises
    ------
    TypeError
        If the angles are no real numbers.
    ValueError
        If the unit is another, or an angle is masked.
    """
    try:
        if hasattr(angles, "to_value"):  # astropy; vectors have no unit
            angles = angles.to_value("deg" if str(angles.unit) else "")
        elif hasattr(angles, "magnitude"):  # pint
            angles = angles.magnitude if angles.unitless else angles.to("degree").magnitude
        elif units is not None and is_radians(units, name):
            angles = np.rad2deg(np.ma.asarray(angles, dtype=np.float64))
    except (TypeError, ValueError) as error:  # both libraries' errors of units are one of these
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
    """Return whether a unit is that of radians, not degrees, or raise ValueError if neither."""
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
    """Return to which direction a unit of angles counts: "n", "e", or "" if it does not say."""
    text = str(units).strip().lower()
    match = DEGREES.fullmatch(text) or RADIANS.fullmatch(text)
    return match["direction"][:1].replace("t", "") if match else ""


def resembles_radians(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> bool:
    """Return whether numbers fit into the range of radians, and none is as large as degrees are."""
    return bool(
        min(len(lon), len(lat)) > 3
        and np.abs(lat).max() <= np.pi / 2 + BEYOND
        and lon.min() >= -np.pi - BEYOND
        and lon.max() <= 2 * np.pi + BEYOND
    )


def covers_as_radians(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> bool:
    """Return whether numbers cover much of the sphere if they are radians, and little else."""
    return resembles_radians(lon, lat) and bool(np.ptp(lat) > 2 and np.ptp(lon) > 4)


def list_some(indices: NDArray[np.int64]) -> str:
    """Return the first few of some indices as text, and how many there are, for messages."""
    some = ", ".join(str(i) for i in indices[:5].tolist())
    return f"index {some}" + (f" and {len(indices) - 5} more" if len(indices) > 5 else "")
