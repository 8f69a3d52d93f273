"""The footprint of a survey: the pixels a network works on, and which of them were observed."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.sampling.healpix import Healpix, check_nside, extend_pixels

UNSEEN = -1.6375e30
"""The value by which HEALPix maps mark missing pixels (``healpy.UNSEEN``)."""


def is_missing(values: ArrayLike) -> NDArray[np.bool_]:
    """Return where values are missing: NaN or `UNSEEN`, the latter to a relative 1e-5."""
    values = np.asarray(values)
    # As healpy: float32 holds another number than float64.
    return np.isnan(values) | (np.abs(values - UNSEEN) <= 1e-5 * abs(UNSEEN))


class Footprint:
    """A part of the sphere that was observed, padded to what a network needs.

    A network that coarsens down to some `nside` works on whole pixels of that resolution. A
    footprint knows the padded set of pixels (`sampling`), which of them hold data (`observed`),
    and brings maps of the full sphere to this set and back.

    Parameters
    ----------
    sampling : Healpix
        The pixels a network works on.
    observed : array_like of bool, shape (len(sampling),)
        True where there is data, False where the footprint was padded.

    Attributes
    ----------
    sampling, observed
        As given; `observed` is read-only.

    Raises
    ------
    TypeError, ValueError
        If `sampling` is no `Healpix`, or `observed` does not have one bool per pixel, or is
        False everywhere.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix, regions
    >>> mask = regions.disc(Healpix(16), lon=30, lat=-20, radius=25)
    >>> footprint = Footprint.from_mask(mask, coarse_nside=4, nest=True)
    >>> footprint
    Footprint(Healpix(nside=16, pixels=<224 of 3072>), observed=<141>)
    >>> maps = np.random.default_rng(0).standard_normal((5, 3072))
    >>> packed = footprint.pack(maps, nest=True)
    >>> packed.shape
    (5, 224)
    >>> footprint.unpack(packed, nest=True).shape
    (5, 3072)
    """

    def __init__(self, sampling: Healpix, observed: ArrayLike) -> None:
        if not isinstance(sampling, Healpix):
            raise TypeError(f"sampling must be a Healpix sampling, got {sampling!r}")
        observed = np.array(observed)
        if observed.dtype != bool or observed.shape != (len(sampling),):
            raise ValueError(
                f"observed must hold {len(sampling)} bools, one per pixel of {sampling}; "
                f"got {observed.dtype} of shape {observed.shape}"
            )
        if not observed.any():
            raise ValueError("nothing is observed: the mask is False everywhere")
        observed.flags.writeable = False
        self.sampling = sampling
        self.observed = observed

    @classmethod
    def from_mask(cls, mask: ArrayLike, coarse_nside: int | None = None, *, nest: bool) -> Self:
        """Make the footprint of a boolean map of the full sphere.

        Parameters
        ----------
        mask : array_like of bool, shape (12 * nside**2,)
            True where there is data; regions come from `deepsphere.sampling.regions`.
        coarse_nside : int, optional
            Coarsest resolution of the network: the footprint is padded to whole pixels of it.
            Default: no padding.
        nest : bool
            Ordering of `mask`: NEST, or RING if False.

        Returns
        -------
        Footprint
            Its sampling is the smallest closed set that holds the mask.

        Raises
        ------
        ValueError
            If the map is not boolean, of no HEALPix size, or False everywhere; or
            `coarse_nside` is not a power of two up to the map's `nside`.
        """
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.ndim != 1:
            raise ValueError(
                "mask must be a boolean map with one dimension, got "
                f"{mask.dtype} of shape {mask.shape}; use for instance weights > 0"
            )
        nside = _nside(len(mask))
        mask = to_nest(mask, nside) if not nest else mask
        pixels = np.flatnonzero(mask)
        if len(pixels) and coarse_nside is not None:
            pixels = extend_pixels(pixels, nside, coarse_nside)
        if not len(pixels):
            raise ValueError("nothing is observed: the mask is False everywhere")
        return cls(Healpix(nside, pixels), mask[pixels])

    @classmethod
    def from_maps(cls, maps: ArrayLike, coarse_nside: int | None = None, *, nest: bool) -> Self:
        """Make the footprint of maps that mark missing pixels by NaN or `UNSEEN`.

        Parameters
        ----------
        maps : array_like, shape (12 * nside**2,), (maps, 12 * nside**2) or (maps, ..., channels)
            Maps of the full sphere. A pixel is observed if every map and channel has it.
        coarse_nside, nest
            As for `from_mask`.

        Returns
        -------
        Footprint
            What all maps have in common.
        """
        missing = is_missing(maps)
        axes = tuple(axis for axis in range(missing.ndim) if axis != _pixel_axis(missing.ndim))
        return cls.from_mask(~missing.any(axis=axes), coarse_nside, nest=nest)

    @property
    def nside(self) -> int:
        """Resolution of the maps."""
        return self.sampling.nside

    def pack(self, maps: ArrayLike, *, nest: bool, fill: float = 0.0) -> NDArray[Any]:
        """Bring maps of the full sphere to the footprint.

        Parameters
        ----------
        maps : array_like, shape (npix,), (maps, npix) or (maps, npix, channels)
            Maps with ``npix = 12 * nside**2``; outside the footprint they may hold anything.
        nest : bool
            Ordering of `maps`: NEST, or RING if False.
        fill : float, default 0
            Value of the padded pixels; zero is the mean of most maps that are fed to a network.

        Returns
        -------
        ndarray, shape (n,), (maps, n) or (maps, n, channels)
            The maps on the pixels of `sampling`, in NEST ordering, dtype as given.

        Raises
        ------
        ValueError
            If the shape does not fit, or an observed pixel is missing (NaN or `UNSEEN`).
        """
        maps = np.asarray(maps)
        axis = _pixel_axis(maps.ndim)
        if maps.shape[axis] != 12 * self.nside**2:
            raise ValueError(
                f"maps of nside {self.nside} have {12 * self.nside**2} pixels along axis {axis}, "
                f"got shape {maps.shape}"
            )
        packed = np.take(maps, self._positions(nest), axis=axis)
        shape = (-1,) + (1,) * (packed.ndim - 1 - axis)
        observed = self.observed.reshape(shape)
        if np.issubdtype(packed.dtype, np.floating):
            missing = np.count_nonzero(is_missing(packed) & observed)
            if missing:
                raise ValueError(
                    f"{missing} values are missing (NaN or UNSEEN) inside the footprint; "
                    "make the footprint with Footprint.from_maps, or fill them first"
                )
        return np.where(observed, packed, np.asarray(fill, dtype=packed.dtype))

    def unpack(self, values: ArrayLike, *, nest: bool, fill: float = UNSEEN) -> NDArray[Any]:
        """Bring values on the footprint to maps of the full sphere.

        Parameters
        ----------
        values : array_like, shape (n,), (maps, n) or (maps, n, channels)
            Values on the pixels of `sampling`.
        nest : bool
            Ordering of the result: NEST, or RING if False.
        fill : float, default UNSEEN
            Value of pixels that were not observed, the padded ones among them.

        Returns
        -------
        ndarray, shape (npix,), (maps, npix) or (maps, npix, channels)
            Full maps, dtype as given.

        Raises
        ------
        ValueError
            If the shape does not fit.
        """
        values = np.asarray(values)
        axis = _pixel_axis(values.ndim)
        if values.shape[axis] != len(self.sampling):
            raise ValueError(
                f"the footprint has {len(self.sampling)} pixels along axis {axis}, "
                f"got shape {values.shape}"
            )
        shape = list(values.shape)
        shape[axis] = 12 * self.nside**2
        full = np.full(shape, fill, dtype=values.dtype)
        seen = np.flatnonzero(self.observed)
        place: tuple[Any, ...] = (slice(None),) * axis
        full[(*place, self._positions(nest)[seen])] = values[(*place, seen)]
        return full

    def _positions(self, nest: bool) -> NDArray[np.int64]:
        """Where the footprint's pixels lie in a full map."""
        from astropy_healpix.healpy import nest2ring

        pixels = self.sampling.pixels
        return pixels if nest else np.asarray(nest2ring(self.nside, pixels), dtype=np.int64)

    def __repr__(self) -> str:
        return f"Footprint({self.sampling}, observed=<{np.count_nonzero(self.observed)}>)"


def to_nest(ring_map: NDArray[Any], nside: int) -> NDArray[Any]:
    """Return a map in NEST ordering, given in RING along its first axis."""
    from astropy_healpix.healpy import nest2ring

    return ring_map[nest2ring(nside, np.arange(12 * nside**2))]


def _nside(npix: int) -> int:
    nside = round((npix / 12) ** 0.5)
    if npix != 12 * nside**2:
        raise ValueError(f"a HEALPix map has 12 * nside**2 pixels, got {npix}")
    return check_nside(nside)


def _pixel_axis(dimensions: int) -> int:
    if not 1 <= dimensions <= 3:
        raise ValueError(
            "maps must have shape (pixels,), (maps, pixels) or (maps, pixels, channels), "
            f"got {dimensions} dimensions"
        )
    return min(dimensions - 1, 1)
