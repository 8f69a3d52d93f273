"""Reader for sets of HEALPix maps in FITS files, with their missing pixels."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from deepsphere.data.healpix_fits import FitsMap, Pixels, read_fits_map
from deepsphere.sampling import Footprint, Healpix, extend_pixels
from deepsphere.sampling.healpix import check_nside
from deepsphere.sampling.missing import check_fill

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class HealpixMaps:
    """HEALPix maps on a common footprint, in the shape that networks expect.

    Parameters
    ----------
    values : ndarray, shape (maps, pixels, channels)
        The maps in NEST ordering, in the units of the files.
    footprint : Footprint
        The pixels of `values`, and which of them are observed in all maps and channels. The others
        are padding and hold the fill value.
    fields, units : tuple of str, default ()
        Names and units of the channels; empty strings where no file gives one.
    coordinates : str, default ""
        Coordinate system of all maps: "G" (galactic), "C" (equatorial), "E" (ecliptic), another
        word of the files, or an empty string if no file gives one.
    """

    values: NDArray[Any]
    footprint: Footprint
    fields: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    coordinates: str = ""

    @property
    def sampling(self) -> Healpix:
        """The sampling of `values`."""
        return self.footprint.sampling

    @property
    def observed(self) -> NDArray[np.bool_]:
        """True for observed pixels, False for padding, shape (pixels,)."""
        return self.footprint.observed


def read_healpix_maps(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    nside: int | None = None,
    coarse_nside: int | None = None,
    field: int | Sequence[int] | None = None,
    fill: float = 0.0,
    *,
    hdu: int | str | None = None,
    dtype: DTypeLike = "float32",
) -> HealpixMaps:
    """Read HEALPix maps from FITS files, one map per file.

    The footprint of the result consists of the pixels that are observed in all maps and fields.
    Pixels are missing if they hold ``healpy.UNSEEN``, NaN, the value of the keyword ``BAD_DATA`` or
    the ``TNULL`` of a column, or if a partial-sky file omits them.

    Maps are converted from the ordering in the header to NEST. Without a keyword ``ORDERING``, RING
    is assumed, as in healpy, and a warning is logged. Files are read one by one, and only pixels
    that all maps so far have in common are kept in memory.

    Parameters
    ----------
    paths : path or sequence of paths
        The files, which may be compressed by gzip. Maps are in the order of the files.
    nside : int, optional
        Resolution of the result, a power of two. Degrading a map averages its pixels; a coarse
        pixel is missing if any of its fine pixels is. Upgrading repeats pixels. Defaults to the
        resolution of the files, which must be equal.
    coarse_nside : int, optional
        Coarsest resolution of the network. The footprint is padded to whole pixels of it, as
        pooling requires (see `deepsphere.sampling.Footprint`). Defaults to no padding.
    field : int or sequence of ints, optional
        Columns of the files to read as channels, counted from 0 without the column of pixel indices
        in partial-sky files. ``[0, 1, 2]`` reads the Stokes parameters I, Q and U. Defaults to the
        first, as in healpy; a warning lists the others, if there are any.
    fill : float, default 0.0
        Value of padded pixels. The default is the mean of most maps that networks are trained on.
    hdu : int or str, optional
        Number or name of the extension that holds the map. Defaults to the first table that is a
        HEALPix map; a warning lists the others, if there are any.
    dtype : dtype, default "float32"
        Type of the values. The default is the type in which networks compute. Use integers or bool
        for classes and flags.

    Returns
    -------
    HealpixMaps
        The values, their footprint, and the names, units and coordinates in the files.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    TypeError
        If `field`, `nside` or `coarse_nside` are not integers, `fill` is not a number, or `dtype`
        is float16 or not a type of real numbers.
    ValueError
        If an argument is invalid: no files or fields, a negative field, a resolution that is not a
        power of two, a `coarse_nside` greater than the resolution of the maps, or a `fill` that is
        not finite or that `dtype` cannot represent.

        If a file is not a HEALPix map, lacks a field, has an nside that is not a power of two, or
        has keywords that contradict each other or the data.

        If files differ in the unit of a field, in their coordinates, or in resolution without
        `nside`, no pixel is observed in all maps, values are infinite or cannot be represented in
        `dtype`, or maps of integers would have to be averaged.

    Notes
    -----
    The sign of a Stokes parameter U in the IAU convention (keyword ``POLCCONV``) is changed to that
    of HEALPix (COSMO), and a warning is logged.
    """
    files = _check_paths(paths)
    columns = None if field is None else _check_field(field)
    wanted = None if nside is None else check_nside(nside)
    if coarse_nside is not None:
        check_nside(coarse_nside)
    kind = _check_dtype(dtype)
    if not np.isfinite(check_fill(fill, kind).astype(np.float64)):
        raise ValueError(f"fill must be finite, got {fill!r}")

    common: _Common | None = None
    for file in files:
        one = read_fits_map(file, columns, hdu, kind)
        if wanted is not None and one.nside != wanted:
            if one.nside > wanted and kind.kind != "f":
                raise ValueError(
                    f"{file} has nside {one.nside}; maps of {kind} cannot be averaged to {wanted}"
                )
            one = _change_nside(one, wanted)
        if common is None:
            common = _Common(file, one)
            columns = columns or (0,)  # warn about other columns only once
            if coarse_nside is not None and coarse_nside > one.nside:
                raise ValueError(
                    f"coarse_nside must be at most the maps' nside {one.nside}, got {coarse_nside}"
                )
        else:
            common.add(file, one)
        if not len(common.pixels):
            raise ValueError(
                f"no pixel is observed in every field of all {len(files)} "
                f"maps{f' (none is left with {file})' if len(files) > 1 else ''}; read maps of "
                "the same part of the sky"
            )
    assert common is not None
    return common.stacked(coarse_nside, fill)


class _Common:
    """The maps read so far, on the pixels that they have in common."""

    def __init__(self, file: Path, one: FitsMap) -> None:
        self.first = file
        self.nside = one.nside
        self.pixels = one.pixels
        self.ever = _union(one.pixels, one.partly)
        self.values = [one.values]
        self.fields, self.units, self.coordinates = one.fields, one.units, one.coordinates
        self._told: set[str] = set()

    def add(self, file: Path, one: FitsMap) -> None:
        """Add another map."""
        if one.nside != self.nside:
            raise ValueError(
                f"{file} has nside {one.nside} but {self.first} has {self.nside}; pass nside to "
                "convert all maps to one resolution"
            )
        self._compare(file, one)
        values = one.values
        self.ever = _union(self.ever, _union(one.pixels, one.partly))
        if not np.array_equal(self.pixels, one.pixels):
            places, found = _find(self.pixels, one.pixels)
            self.pixels, values = one.pixels[found], values[found]
            for i in range(len(self.values)):  # one by one, to keep only one copy at a time
                self.values[i] = self.values[i][places]
        self.values.append(values)

    def _compare(self, file: Path, one: FitsMap) -> None:
        """Raise ValueError or warn if files describe their maps differently."""
        pairs = {
            f"the unit of {name}": (mine, other)
            for name, mine, other in zip(self.fields, self.units, one.units, strict=True)
        }
        pairs["COORDSYS"] = (self.coordinates, one.coordinates)
        for what, (mine, other) in pairs.items():
            if mine and other and not _mean_the_same(mine, other):
                raise ValueError(
                    f"{what} is {other!r} in {file} but {mine!r} in {self.first}; convert the "
                    "maps, or read them one by one if both mean the same"
                )
            if bool(mine) != bool(other):
                self._tell_once(
                    what,
                    f"{what} is {repr(other) if other else 'not given'} in {file} and "
                    f"{repr(mine) if mine else 'not given'} in {self.first}",
                )
        names = [
            f"{other} and {mine}"
            for mine, other in zip(self.fields, one.fields, strict=True)
            if mine.upper() != other.upper()
        ]
        if names:
            self._tell_once(
                "names",
                f"the fields of {file} and {self.first} have different names ({', '.join(names)})",
            )
        self.units = tuple(a or b for a, b in zip(self.units, one.units, strict=True))
        self.coordinates = self.coordinates or one.coordinates

    def _tell_once(self, what: str, message: str) -> None:
        if what not in self._told:
            self._told.add(what)
            logger.warning("%s; they are assumed to be the same", message)

    def stacked(self, coarse_nside: int | None, fill: float) -> HealpixMaps:
        """Pad the footprint and stack the maps."""
        disagreeing = len(self.ever) - len(self.pixels)
        if disagreeing:
            logger.warning(
                "%d of %d pixels are missing in some maps or fields and observed in others; they "
                "are left out of all",
                disagreeing,
                12 * self.nside**2,
            )
        pixels, is_full = self.pixels, len(self.pixels) == 12 * self.nside**2
        if coarse_nside is not None and not is_full:
            pixels = extend_pixels(pixels, self.nside, coarse_nside, nest=True)
        observed = np.full(len(pixels), len(pixels) == len(self.pixels))
        if not observed.any():
            observed[np.searchsorted(pixels, self.pixels)] = True
        first = self.values[0]
        shape = (len(self.values), len(pixels), first.shape[1])
        values = np.full(shape, fill, dtype=first.dtype)
        for i in range(len(self.values)):
            values[i, observed] = self.values[i]
            self.values[i] = first[:0]  # no longer needed
        sampling = Healpix(self.nside) if is_full else Healpix(self.nside, pixels)
        footprint = Footprint(sampling, observed)
        return HealpixMaps(values, footprint, self.fields, self.units, self.coordinates)


def _mean_the_same(first: str, second: str) -> bool:
    """Return whether two strings name the same unit, such as K_CMB and K CMB, or K and Kelvin."""
    from astropy.units import Unit

    plain = [re.sub(r"[\s_^*().]", "", text) for text in (first, second)]
    if plain[0] == plain[1]:
        return True
    try:
        return bool(Unit(first) == Unit(second))
    except (TypeError, ValueError):  # a unit unknown to astropy
        return False


def _change_nside(one: FitsMap, nside: int) -> FitsMap:
    """Degrade or upgrade a map."""
    if nside > one.nside:
        ratio = (nside // one.nside) ** 2
        return one._replace(
            nside=nside,
            pixels=_children(one.pixels, ratio),
            partly=_children(one.partly, ratio),
            values=np.repeat(one.values, ratio, axis=0),
        )
    ratio = (one.nside // nside) ** 2
    pixels, complete = _complete_parents(one.pixels, ratio)
    groups = one.values[complete].reshape(len(pixels), ratio, -1)
    ever, _ = _complete_parents(_union(one.pixels, one.partly), ratio)
    return one._replace(
        nside=nside,
        pixels=pixels,
        partly=np.setdiff1d(ever, pixels, assume_unique=True),
        values=groups.mean(axis=1, dtype=np.float64).astype(one.values.dtype),
    )


def _children(pixels: Pixels, ratio: int) -> Pixels:
    return (pixels.astype(np.int64)[:, None] * ratio + np.arange(ratio)).ravel()


def _complete_parents(pixels: Pixels, ratio: int) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return the parents whose children are all present, and a mask of these children."""
    parents, counts = np.unique(pixels // ratio, return_counts=True)
    return parents[counts == ratio], np.repeat(counts == ratio, counts)


def _union(first: Pixels, second: Pixels) -> Pixels:
    if not len(second) or np.array_equal(first, second):
        return first
    return np.union1d(first, second)


def _find(pixels: Pixels, others: Pixels) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the positions in `pixels` of the others that occur there, and a mask of these."""
    places = np.searchsorted(pixels, others)
    found = places < len(pixels)
    found[found] = pixels[places[found]] == others[found]
    return places[found], found


def _check_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    kind = np.dtype(dtype)
    if kind.kind not in "biuf" or kind == np.float16:
        raise TypeError(
            "dtype must be float32, float64, a type of integers or bool (float16 can represent "
            f"neither the values of most maps nor UNSEEN), got {dtype!r}"
        )
    return kind


def _check_paths(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> list[Path]:
    files = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(p) for p in paths]
    if not files:
        raise ValueError("paths must contain at least one file, got none")
    return files


def _check_field(field: int | Sequence[int]) -> tuple[int, ...]:
    columns = tuple(field) if isinstance(field, Sequence | np.ndarray) else (field,)
    for column in columns:
        if isinstance(column, bool) or not isinstance(column, (int, np.integer)):
            raise TypeError(f"field must be an integer or a sequence of integers, got {field!r}")
        if column < 0:
            raise ValueError(f"field must not be negative, got {column}")
    if not columns:
        raise ValueError("field must contain at least one column, got none")
    return tuple(int(column) for column in columns)
