"""Reader for single HEALPix maps in FITS files.

Keywords follow K. M. Gorski et al., "HEALPix", and the documentation of its Fortran facilities
(ORDERING, INDXSCHM, GRAIN, FIRSTPIX, LASTPIX, OBJECT, COORDSYS, POLCCONV, BAD_DATA), and section
7.3 of the FITS standard 4.0 for columns (TFORM, TSCAL, TZERO, TNULL, TUNIT).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsphere.sampling.missing import is_marked

logger = logging.getLogger(__name__)

CHUNK = 2**18
"""Number of pixels converted at a time, which need little memory compared with the maps."""

FRAMES = {
    "G": ("G", "GALACTIC"),
    "C": ("C", "Q", "EQUATORIAL", "CELESTIAL", "ICRS", "FK5"),
    "E": ("E", "ECLIPTIC"),
}

Pixels = NDArray[np.integer[Any]]


class FitsMap(NamedTuple):
    """The map of one file.

    Attributes
    ----------
    nside : int
        Resolution, a power of two.
    pixels : ndarray of int, shape (n,)
        NEST indices, increasing, of the pixels that are observed in all fields.
    partly : ndarray of int
        NEST indices of the pixels that are observed in some fields and missing in others.
    values : ndarray, shape (n, fields)
        Values at `pixels`.
    fields, units : tuple of str
        Names and units of the fields; empty strings where the file gives none.
    coordinates : str
        Coordinate system: "G", "C" or "E", another word of the file, or an empty string if the file
        gives none.
    """

    nside: int
    pixels: Pixels
    partly: Pixels
    values: NDArray[Any]
    fields: tuple[str, ...]
    units: tuple[str, ...]
    coordinates: str


def read_fits_map(
    file: Path, fields: Sequence[int] | None, hdu: int | str | None, dtype: np.dtype[Any]
) -> FitsMap:
    """Read a HEALPix map from a FITS file.

    Parameters
    ----------
    file : Path
        The file, which may be compressed by gzip.
    fields : sequence of int or None
        Columns to read, counted from 0 without that of pixel indices. None reads the first, and
        logs a warning if there are others.
    hdu : int, str or None
        Number or name of the extension. None reads the first table that is a HEALPix map, and logs
        a warning if there are others.
    dtype : dtype
        Type of the values.

    Returns
    -------
    FitsMap
        The observed pixels and their values, in NEST ordering.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file does not hold a HEALPix map or the wanted fields, its keywords contradict each
        other or the data, or values are infinite or cannot be represented in `dtype`.
    """
    from astropy.io import fits

    if not file.exists():
        raise FileNotFoundError(f"no such file: {file}")
    what = "a HEALPix map" if fields is None else f"field {_listed(fields)} of a HEALPix map"
    try:
        with fits.open(file, memmap=True) as units:
            return _read(_Table(file, _choose(units, hdu, file)), fields, dtype)
    except _MapFileError as error:
        raise ValueError(str(error)) from None
    except MemoryError:
        raise
    except Exception as error:  # astropy raises many types for files that are not FITS
        raise ValueError(f"cannot read {what} from {file}: {error}") from error


class _MapFileError(ValueError):
    """The metadata of a file are invalid or not supported."""


class _Table:
    """A binary table and its header."""

    def __init__(self, file: Path, unit: Any) -> None:
        self.file = file
        self.header = unit.header
        self.columns = [_Column(file, unit, number) for number in range(len(unit.columns))]
        self.size = self.columns[0].size if self.columns else 0
        self._check_type()
        self.is_explicit = self._find_scheme()
        self.nside = self._find_nside()
        self.npix = 12 * self.nside**2
        self.is_ring = self._find_ordering()

    def word(self, key: str) -> str:
        """Return the text of a keyword in upper case, or an empty string if it is missing."""
        return str(self.header.get(key, "")).strip().upper()

    def number(self, key: str) -> int | None:
        """Return the integer of a keyword, or None if it is missing."""
        value = self.header.get(key)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = np.nan
        if isinstance(value, bool) or number != np.round(number):
            raise _MapFileError(f"{self.file} has {key} = {value!r}, which is not an integer")
        return int(number)

    def _check_type(self) -> None:
        kind = self.word("PIXTYPE")
        if kind not in ("", "HEALPIX"):
            raise _MapFileError(f"{self.file} has PIXTYPE = {kind!r}; only HEALPIX can be read")
        ordering = self.word("ORDERING")
        if ordering in ("NUNIQ", "RANGE") or self.word("INDXSCHM") == "SPARSE":
            raise _MapFileError(
                f"{self.file} holds a map of several resolutions (ORDERING = {ordering!r}); "
                "convert it to one resolution, for instance with mhealpy or ligo-skymap-flatten"
            )

    def _find_scheme(self) -> bool:
        """Return whether a column holds pixel indices."""
        scheme, grain, kind = self.word("INDXSCHM"), self.number("GRAIN"), self.word("OBJECT")
        named = bool(self.columns) and self.columns[0].name.upper() in ("PIXEL", "PIX", "IPIX")
        if grain not in (None, 0, 1):
            raise _MapFileError(
                f"{self.file} has GRAIN = {grain}; only 0 or 1 pixels per row can be read"
            )
        explicit = {
            f"INDXSCHM = {scheme}": {"EXPLICIT": True, "IMPLICIT": False}.get(scheme),
            f"OBJECT = {kind}": {"PARTIAL": True, "FULLSKY": False}.get(kind),
            f"GRAIN = {grain}": None if grain is None else grain == 1,
        }
        said = {text: value for text, value in explicit.items() if value is not None}
        # GRAIN is wrong in many files; the name of the first column decides.
        if not named and len(set(said.values())) > 1:
            raise _MapFileError(f"{self.file} contradicts itself: {', '.join(said)}")
        if named and not any(said.values()) and said:
            raise _MapFileError(
                f"{self.file} contradicts itself: it has a column {self.columns[0].name}, and "
                f"{', '.join(said)}"
            )
        return named or any(said.values())

    def _find_nside(self) -> int:
        nside = self.number("NSIDE")
        if nside is None:
            if self.is_explicit:
                raise _MapFileError(
                    f"{self.file} lacks NSIDE, which maps with pixel numbers require"
                )
            nside = round((self.size / 12) ** 0.5)
            if 12 * nside**2 != self.size or not nside:
                raise _MapFileError(
                    f"{self.file} lacks NSIDE, and its {self.size} values are not a HEALPix map "
                    "of 12 nside**2 pixels"
                )
        if nside < 1 or nside & (nside - 1):
            raise _MapFileError(
                f"{self.file} has nside {nside}; NEST ordering needs a power of two"
            )
        return nside

    def _find_ordering(self) -> bool:
        ordering = self.word("ORDERING")
        if ordering in ("NESTED", "NEST"):
            return False
        if ordering == "":
            logger.warning("%s does not give its ordering; RING is assumed", self.file)
        elif ordering != "RING":
            raise _MapFileError(
                f"{self.file} has the ordering {ordering!r}; only RING and NESTED are known"
            )
        else:
            logger.info("%s converted from RING to NEST", self.file)
        return True

    def stored(self) -> Iterator[tuple[Pixels, Pixels]]:
        """Yield chunks of increasing NEST indices, and the positions of the pixels in the file."""
        from astropy_healpix.healpy import nest2ring

        numbers = self._numbers()
        if numbers is None:
            for start in range(0, self.npix, CHUNK):
                nest = np.arange(start, min(start + CHUNK, self.npix))
                yield nest, nest2ring(self.nside, nest) if self.is_ring else nest
            return
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        repeated = np.count_nonzero(np.diff(numbers) == 0)
        if repeated:
            raise _MapFileError(f"{self.file} repeats {repeated} of its {len(numbers)} pixels")
        for start in range(0, len(order), CHUNK):
            yield numbers[start : start + CHUNK], order[start : start + CHUNK]

    def _numbers(self) -> Pixels | None:
        """Return the NEST indices of the stored pixels, or None for a whole map."""
        from astropy_healpix.healpy import ring2nest

        if self.is_explicit:
            numbers, seen = self.columns[0].read(np.arange(self.size))
            if numbers.dtype.kind not in "iuf" or np.any(numbers[seen] != np.round(numbers[seen])):
                raise _MapFileError(f"{self.file} has pixel numbers that are not integers")
            if not seen.all():
                raise _MapFileError(
                    f"{self.file} lacks {np.count_nonzero(~seen)} of its pixel numbers"
                )
            numbers = numbers.astype(np.int64)
        else:
            first, last = self.number("FIRSTPIX"), self.number("LASTPIX")
            first = 0 if first is None or first < 0 else first
            last = self.npix - 1 if last is None or last < 0 else last
            if self.size != last - first + 1:
                raise _MapFileError(
                    f"{self.file} has {self.size} values, but its keywords announce "
                    f"{last - first + 1}: NSIDE = {self.nside}, from pixel {first} to {last}"
                )
            if first == 0 and self.size == self.npix:
                return None
            numbers = np.arange(first, last + 1)
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= self.npix):
            raise _MapFileError(
                f"{self.file} has pixel numbers from {numbers.min()} to {numbers.max()}; for "
                f"nside {self.nside} they must be from 0 to {self.npix - 1}"
            )
        return np.asarray(ring2nest(self.nside, numbers)) if self.is_ring else numbers


class _Column:
    """A column of numbers."""

    def __init__(self, file: Path, unit: Any, number: int) -> None:
        column = unit.columns[number]
        self.file = file
        self.name = str(column.name or f"column {number}").strip()
        self.unit = str(column.unit or "").strip()
        match = re.search("[A-Z]", column.format)
        self.code = match[0] if match else ""
        raw = unit.data.view(np.ndarray)  # as stored, without astropy's scaling
        self._raw = raw[raw.dtype.names[number]]
        self.size = self._raw.size
        self._repeat = max(self._raw.size // max(len(self._raw), 1), 1)
        self._null, self._scale, self._zero = column.null, column.bscale, column.bzero
        self._bad = _bad_data(file, unit.header)

    def read(self, places: Pixels) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the values stored at some positions, and a mask of those that are observed."""
        if self.code not in tuple("LBIJKED"):
            raise _MapFileError(
                f"{self.file} has a field {self.name} of the FITS type {self.code}, which is not "
                "a real number"
            )
        raw = self._raw.reshape(len(self._raw), self._repeat)
        stored = raw[places // self._repeat, places % self._repeat]
        if self.code == "L":
            return stored == ord("T"), stored != 0
        values = stored.astype(stored.dtype.newbyteorder("="))
        seen = np.ones(len(values), dtype=bool)
        if self._null not in (None, ""):
            seen &= values != int(self._null)
        values = _scaled(values, float(self._scale or 1), float(self._zero or 0))
        seen &= ~is_marked(values)
        if self._bad is not None:
            # Compare in single precision, because the header has more digits.
            single = values.dtype == np.float32
            seen &= values != (np.float32(self._bad) if single else self._bad)
        return values, seen


def _scaled(values: NDArray[Any], scale: float, zero: float) -> NDArray[Any]:
    """Apply TSCAL and TZERO."""
    if (scale, zero) == (1, 0):
        return values
    bits = 8 * values.dtype.itemsize
    if values.dtype.kind in "iu" and scale == 1 and abs(zero) == 2 ** (bits - 1):
        # FITS stores integers of the other signedness with this offset.
        other = np.dtype(("u" if values.dtype.kind == "i" else "i") + str(bits // 8))
        flipped = values.view(f"u{bits // 8}") ^ np.array(2 ** (bits - 1), f"u{bits // 8}")
        return flipped.view(other)
    return zero + scale * values.astype(np.float64)


def _bad_data(file: Path, header: Any) -> float | None:
    bad = header.get("BAD_DATA")
    if bad is None or (isinstance(bad, str) and not bad.strip()):
        return None
    try:
        return float(bad)
    except (TypeError, ValueError):
        raise _MapFileError(f"{file} has BAD_DATA = {bad!r}, which is not a number") from None


def _choose(units: Any, hdu: int | str | None, file: Path) -> Any:
    """Return the extension with the map."""
    from astropy.io import fits

    if any(str(unit.header.get("PIXTYPE", "")).strip().upper() == "HEALSPARSE" for unit in units):
        raise _MapFileError(
            f"{file} is a healsparse map; convert it to a HEALPix map with healsparse's "
            "generate_healpix_map and healpy.write_map"
        )
    tables = {
        number: unit for number, unit in enumerate(units) if isinstance(unit, fits.BinTableHDU)
    }
    described = ", ".join(f"{n} ({unit.name or 'no name'})" for n, unit in tables.items())
    if hdu is not None:
        try:
            number = units.index_of(hdu)
        except (KeyError, ValueError, IndexError):
            number = -1
        if number not in tables:
            raise _MapFileError(
                f"{file} has no table in extension {hdu!r}; its tables are in {described}"
            )
        return tables[number]
    if not tables:
        raise _MapFileError(f"cannot read a HEALPix map from {file}: it holds no binary table")
    maps = {
        number: unit
        for number, unit in tables.items()
        if str(unit.header.get("PIXTYPE", "")).strip().upper() == "HEALPIX"
    } or tables
    if len(maps) > 1:
        logger.warning(
            "%s has maps in the extensions %s; only the first is read: pass hdu to choose another",
            file,
            ", ".join(f"{n} ({unit.name or 'no name'})" for n, unit in maps.items()),
        )
    return next(iter(maps.values()))


def _read(table: _Table, fields: Sequence[int] | None, dtype: np.dtype[Any]) -> FitsMap:
    columns = table.columns[table.is_explicit :]
    names = ", ".join(column.name for column in columns)
    if fields is None:
        if len(columns) > 1:
            logger.warning(
                "%s has the fields %s; only the first is read: pass field=0 to read it without "
                "this warning, or field=%s to read all of them as channels",
                table.file,
                names,
                list(range(len(columns))),
            )
        fields = [0]
    if not columns or max(fields) >= len(columns):
        raise _MapFileError(
            f"cannot read field {_listed(fields)} of a HEALPix map from {table.file}: "
            f"it has {len(columns)} ({names})"
        )
    chosen = [columns[field] for field in fields]
    sizes = {table.size, *(column.size for column in chosen)}
    if len(sizes) > 1:
        raise _MapFileError(
            f"the columns of {table.file} have different numbers of values: {sorted(sizes)}"
        )
    signs = [-1 if _is_flipped(table, column.name) else 1 for column in chosen]
    kind = np.int32 if table.npix <= 2**31 else np.int64
    pixels: list[Pixels] = [np.zeros(0, kind)]
    partly: list[Pixels] = [np.zeros(0, kind)]
    values: list[NDArray[Any]] = [np.zeros((0, len(chosen)), dtype)]
    faults = _Faults(table.file, dtype)
    for numbers, places in table.stored():
        read = [column.read(places) for column in chosen]
        seen = np.stack([one for _, one in read], axis=1)
        every, some = seen.all(axis=1), seen.any(axis=1)
        for given, known in read:
            faults.count(given[known])
        kept = [
            given[every] if s > 0 else -1.0 * given[every]
            for (given, _), s in zip(read, signs, strict=True)
        ]
        with np.errstate(over="ignore", invalid="ignore"):  # counted as faults
            values.append(np.stack([one.astype(dtype) for one in kept], axis=1))
        pixels.append(numbers[every].astype(kind))
        partly.append(numbers[some & ~every].astype(kind))
    faults.raise_if_any()
    coordinates = table.word("COORDSYS") or table.word("COORDTYPE")
    letter = next((key for key, words in FRAMES.items() if coordinates in words), coordinates)
    return FitsMap(
        table.nside,
        np.concatenate(pixels),
        np.concatenate(partly),
        np.concatenate(values),
        tuple(column.name for column in chosen),
        tuple(column.unit for column in chosen),
        letter,
    )


def _is_flipped(table: _Table, name: str) -> bool:
    """Return whether a field is a Stokes U with the sign opposite to that of HEALPix."""
    convention = table.word("POLCCONV")
    if not re.match(r"U([_\- ]|$)", name.upper()) or convention in ("", "COSMO"):
        return False
    if convention != "IAU":
        raise _MapFileError(
            f"{table.file} has POLCCONV = {convention!r}; only COSMO and IAU are known"
        )
    logger.warning(
        "%s has %s in the IAU convention; its sign is converted to that of HEALPix (COSMO)",
        table.file,
        name,
    )
    return True


class _Faults:
    """Counter of values that a dtype cannot represent."""

    def __init__(self, file: Path, dtype: np.dtype[Any]) -> None:
        self._file, self._dtype = file, dtype
        self._infinite = self._large = self._inexact = 0

    def count(self, values: NDArray[Any]) -> None:
        """Add the faults among observed values."""
        dtype = self._dtype
        if values.dtype.kind == "f":
            infinite = np.isinf(values)
            self._infinite += int(np.count_nonzero(infinite))
            values = values[~infinite]
        if dtype.kind == "f" and values.dtype.kind == "f":
            self._large += int(np.count_nonzero(np.abs(values) > np.finfo(dtype).max))
            return
        with np.errstate(all="ignore"):
            back = values.astype(dtype).astype(values.dtype)
        wrong = back != values
        if values.dtype.kind == "i" and dtype.kind == "u":
            wrong |= values < 0
        if values.dtype.kind == "u" and dtype.kind == "i":
            wrong |= values > np.iinfo(dtype).max
        self._inexact += int(np.count_nonzero(wrong))

    def raise_if_any(self) -> None:
        """Raise ValueError with the number of faults, if there are any."""
        if self._infinite:
            raise _MapFileError(
                f"{self._file} holds {self._infinite} infinite values; mark missing pixels with "
                "NaN or healpy.UNSEEN"
            )
        if self._large:
            raise _MapFileError(
                f"{self._file} holds {self._large} values too large for {self._dtype}; "
                "rescale the map, or read it with another dtype"
            )
        if self._inexact:
            raise _MapFileError(
                f"{self._file} holds {self._inexact} values that {self._dtype} cannot represent "
                "exactly; read it with another dtype"
            )


def _listed(fields: Sequence[int]) -> str:
    return ", ".join(map(str, fields))
