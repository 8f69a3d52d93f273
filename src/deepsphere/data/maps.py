"""Reading users' own HEALPix maps from FITS files, with their missing pixels."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsphere.extras import require
from deepsphere.sampling import Footprint, Healpix
from deepsphere.sampling.healpix import check_nside

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class HealpixMaps:
    """Maps on a common footprint, as a network takes them.

    Parameters
    ----------
    values : ndarray of float32, shape (maps, pixels, channels)
        The maps in NEST ordering, in the unit of the files.
    footprint : Footprint
        The pixels of `values`, and which of them every map and channel observed; the others hold
        the fill value because the footprint was padded.
    """

    values: NDArray[np.float32]
    footprint: Footprint

    @property
    def sampling(self) -> Healpix:
        """The pixels of `values`."""
        return self.footprint.sampling

    @property
    def observed(self) -> NDArray[np.bool_]:
        """True where `values` holds data, shape (pixels,)."""
        return self.footprint.observed


def read_healpix_maps(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    nside: int | None = None,
    coarse_nside: int | None = None,
    field: int | Sequence[int] = 0,
    fill: float = 0.0,
) -> HealpixMaps:
    """Read HEALPix maps from FITS files, one map a file.

    The ordering is taken from each file's header and converted to NEST; without an ``ORDERING``
    keyword it is taken for RING, as healpy does, and a warning is logged. Pixels that hold
    ``healpy.UNSEEN`` or NaN, and those that a partial-sky file leaves out, are missing. The
    footprint is what all maps and fields observed.

    Parameters
    ----------
    paths : path or sequence of paths
        The files. The order of the maps is that of the files.
    nside : int, optional
        Resolution to bring all maps to, a power of two. Degrading averages the pixels; a coarse
        pixel is missing if any of its fine pixels is. Upgrading repeats them. Default: that of
        the files, which must then agree.
    coarse_nside : int, optional
        Coarsest resolution that the network reaches. The footprint is extended to whole pixels of
        it, as pooling needs (`deepsphere.sampling.Footprint`). Default: no extension.
    field : int or sequence of ints, default 0
        Columns of the files that become channels, from 0; in partial-sky files the column of
        pixel numbers does not count.
    fill : float, default 0.0
        Value of the pixels by which the footprint is extended; zero is the mean of most maps that
        are fed to a network.

    Returns
    -------
    HealpixMaps
        The values and their footprint.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    TypeError
        If `field` or a resolution is not made of integers.
    ValueError
        If a file is not a HEALPix map, lacks a field, has a resolution that is not a power of two
        or another one than the first file while `nside` is not given, or holds infinite values;
        if no pixel is seen in all maps; or if `coarse_nside` is above the resolution.
    ImportError
        If healpy is not installed.
    """
    files = _check_paths(paths)
    columns = _check_field(field)
    wanted = None if nside is None else check_nside(nside)
    if coarse_nside is not None:
        check_nside(coarse_nside)
    if not abs(fill) <= np.finfo(np.float32).max:
        raise ValueError(f"fill must be a finite float32, got {fill!r}")

    skies: list[NDArray[np.float32]] = []
    for file in files:
        sky = _read_nest(file, columns)
        found = _nside_of(sky)
        if wanted is None:
            if skies and found != _nside_of(skies[0]):
                raise ValueError(
                    f"{file} has nside {found} but {files[0]} has {_nside_of(skies[0])}; "
                    "give nside to bring all maps to one resolution"
                )
        elif found != wanted:
            sky = _change_nside(sky, wanted)
        skies.append(sky)
    values = np.stack(skies)
    return _common_footprint(values, coarse_nside, np.float32(fill))


def _common_footprint(
    values: NDArray[np.float32], coarse_nside: int | None, fill: np.float32
) -> HealpixMaps:
    """Cut full-sky maps (maps, pixels, channels), NaN where missing, to their footprint."""
    nside = _nside_of(values[0])
    if coarse_nside is not None and coarse_nside > nside:
        raise ValueError(
            f"coarse_nside must be at most the maps' nside {nside}, got {coarse_nside}"
        )
    seen = ~np.isnan(values)
    observed: NDArray[np.bool_] = np.all(seen, axis=(0, 2))
    if not np.any(observed):
        raise ValueError(
            f"no pixel is seen in every field of all {len(values)} maps; "
            "read maps of the same part of the sky"
        )
    disagreeing = np.count_nonzero(np.any(seen, axis=(0, 2)) & ~observed)
    if disagreeing:
        logger.warning(
            "%d of %d pixels are missing in some maps or fields and seen in others; "
            "they are left out of all",
            disagreeing,
            len(observed),
        )
    footprint = Footprint.from_mask(observed, coarse_nside, nest=True)
    return HealpixMaps(footprint.pack(values, nest=True, fill=float(fill)), footprint)


def _read_nest(file: Path, columns: tuple[int, ...]) -> NDArray[np.float32]:
    """Read full-sky NEST values, NaN where missing, shape (pixels, channels)."""
    healpy = require("healpy", "healpy")
    fits = require("astropy.io.fits", "healpy")
    if not file.exists():
        raise FileNotFoundError(f"no such file: {file}")
    try:
        # opened here because healpy leaves a file that it cannot read open
        with fits.open(file, memmap=False) as units:
            fields, cards = healpy.read_map(
                units, field=columns, dtype=np.float64, nest=None, h=True
            )
    except Exception as error:  # healpy and astropy raise many kinds for what is no map
        raise ValueError(
            f"cannot read field {', '.join(map(str, columns))} of a HEALPix map "
            f"from {file}: {error}"
        ) from error
    values = np.atleast_2d(fields).T
    found = _nside_of(values)
    if found & (found - 1):
        raise ValueError(f"{file} has nside {found}; NEST ordering needs a power of two")
    values = values[_stored_order(file, dict(cards), found)]

    missing = np.isnan(values) | healpy.mask_bad(values)
    infinite = np.count_nonzero(np.isinf(values))
    if infinite:
        raise ValueError(
            f"{file} holds {infinite} infinite values; mark missing pixels by NaN or healpy.UNSEEN"
        )
    too_large = np.count_nonzero(~missing & (np.abs(values) > np.finfo(np.float32).max))
    if too_large:
        raise ValueError(f"{file} holds {too_large} values too large for float32; rescale the map")
    values[missing] = np.nan
    return values.astype(np.float32)


def _stored_order(file: Path, header: dict[str, Any], nside: int) -> NDArray[np.int64]:
    """Return where each NEST pixel is in a file with this header."""
    healpy = require("healpy", "healpy")
    pixels = np.arange(12 * nside**2)
    ordering = str(header.get("ORDERING", "")).strip().upper()
    if ordering in ("NESTED", "NEST"):
        return pixels
    if ordering == "":
        logger.warning("%s does not give its ordering; taken for RING", file)
    elif ordering != "RING":
        raise ValueError(f"{file} has the ordering {ordering!r}; RING and NESTED are known")
    else:
        logger.info("%s converted from RING to NEST", file)
    order: NDArray[np.int64] = healpy.nest2ring(nside, pixels)
    return order


def _change_nside(values: NDArray[np.float32], nside: int) -> NDArray[np.float32]:
    """Degrade or upgrade NEST maps (pixels, channels), NaN where missing."""
    healpy = require("healpy", "healpy")
    marked = np.where(np.isnan(values), healpy.UNSEEN, values.astype(np.float64))
    changed = np.stack(
        [
            healpy.ud_grade(channel, nside, pess=True, order_in="NEST", order_out="NEST")
            for channel in marked.T
        ],
        axis=1,
    )
    changed[healpy.mask_bad(changed)] = np.nan
    return changed.astype(np.float32)


def _nside_of(values: NDArray[Any]) -> int:
    """Return the resolution of full-sky maps with the shape (pixels, channels)."""
    return round((len(values) / 12) ** 0.5)


def _check_paths(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> list[Path]:
    files = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(p) for p in paths]
    if not files:
        raise ValueError("paths must name at least one file, got none")
    return files


def _check_field(field: int | Sequence[int]) -> tuple[int, ...]:
    columns = (field,) if isinstance(field, (int, np.integer)) else tuple(field)
    for column in columns:
        if isinstance(column, bool) or not isinstance(column, (int, np.integer)):
            raise TypeError(f"field must be an integer or several, got {field!r}")
        if column < 0:
            raise ValueError(f"field must be zero or more, got {column}")
    if not columns:
        raise ValueError("field must name at least one column, got none")
    return tuple(int(column) for column in columns)
