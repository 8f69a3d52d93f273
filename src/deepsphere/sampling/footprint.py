"""The footprint of a survey: the pixels that a network uses, and which of them were observed."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.sampling.healpix import Healpix, check_nest, check_nside, extend_pixels
from deepsphere.sampling.missing import UNSEEN, check_fill, is_marked, split_mask


class Footprint:
    """The observed part of the sphere, padded to the pixels that a network needs.

    A network that coarsens down to some `nside` works on whole pixels of that resolution. A
    footprint holds the padded set of pixels (`sampling`) and which of them have data (`observed`).
    It converts maps of the full sphere to this set and back.

    Parameters
    ----------
    sampling : Healpix
        The pixels that the network works on.
    observed : array_like of bool, shape (len(sampling),)
        True for observed pixels, False for padding. Masked entries of a masked array count as
        False.

    Attributes
    ----------
    sampling, observed
        As given; `observed` is read-only.

    Raises
    ------
    TypeError
        If `sampling` is not a `Healpix`.
    ValueError
        If `observed` does not contain one bool per pixel, or is False everywhere.

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
        observed = _seen(observed, "observed")
        if observed.dtype != bool or observed.shape != (len(sampling),):
            raise ValueError(
                f"observed must contain {len(sampling)} bools, one per pixel of {sampling}; got "
                f"{observed.dtype} of shape {observed.shape}"
            )
        if not observed.any():
            raise ValueError("no pixel is observed: the mask is False everywhere")
        observed.flags.writeable = False
        self.sampling = sampling
        self.observed = observed

    @classmethod
    def from_mask(cls, mask: ArrayLike, coarse_nside: int | None = None, *, nest: bool) -> Self:
        """Return the footprint of a boolean map of the full sphere.

        Parameters
        ----------
        mask : array_like of bool, shape (12 * nside**2,)
            True for observed pixels; see `deepsphere.sampling.regions` for masks of regions. Masked
            entries of a masked array count as False. Turn an apodized mask of weights from 0 to 1
            into a bool: ``weights > 0`` keeps everything observed, ``weights == 1`` only pixels
            that are not attenuated.
        coarse_nside : int, optional
            Coarsest resolution of the network. The footprint is padded to whole pixels of it.
            Defaults to no padding.
        nest : bool
            Whether `mask` is in NEST ordering; RING if False.

        Returns
        -------
        Footprint
            The footprint with the smallest set of whole coarse pixels that contains the mask.

        Raises
        ------
        TypeError
            If `mask` is complex or not numbers, `coarse_nside` is not an integer, or `nest` is not
            a bool.
        ValueError
            If `mask` is not boolean, not of a HEALPix size, or False everywhere, or `coarse_nside`
            is not a power of two or is greater than the `nside` of the mask.
        """
        check_nest(nest)
        mask = _seen(mask, "mask")
        if mask.dtype != bool or mask.ndim != 1:
            raise ValueError(
                f"mask must be a boolean map with one dimension, got {mask.dtype} of shape "
                f"{mask.shape}; convert weights with a threshold, such as weights > 0"
            )
        nside = _nside(len(mask))
        mask = to_nest(mask, nside) if not nest else mask
        pixels = np.flatnonzero(mask)
        if len(pixels) and coarse_nside is not None:
            pixels = extend_pixels(pixels, nside, coarse_nside, nest=True)
        if not len(pixels):
            raise ValueError("no pixel is observed: the mask is False everywhere")
        return cls(Healpix(nside, pixels), mask[pixels])

    @classmethod
    def from_maps(cls, maps: ArrayLike, coarse_nside: int | None = None, *, nest: bool) -> Self:
        """Return the footprint of maps whose missing pixels are marked.

        Missing pixels are masked in a masked array, NaN or `UNSEEN`.

        Parameters
        ----------
        maps : array_like, shape (npix,), (maps, npix) or (maps, npix, channels)
            Maps of the full sphere, with ``npix = 12 * nside**2``. A pixel is observed if it is not
            missing in any map or channel. Pixels of integers are missing only if masked.
        coarse_nside, nest
            See `from_mask`.

        Returns
        -------
        Footprint
            The footprint of the pixels that all maps have in common.

        Raises
        ------
        TypeError
            If `maps` are complex, not numbers, or booleans without masked pixels, `coarse_nside` is
            not an integer, or `nest` is not a bool.
        ValueError
            If `maps` hold infinite values or have the wrong number of dimensions or pixels, no
            pixel is observed, or `coarse_nside` is not a power of two up to the `nside` of the
            maps.
        """
        array, masked = split_mask(maps, "maps")
        if array.dtype == bool and not masked.any():
            raise TypeError(
                "maps are boolean and none of their pixels is masked: use Footprint.from_mask for "
                "the footprint of a mask"
            )
        missing = masked | is_marked(array)
        _check_finite(array, ~missing, "maps")
        axes = tuple(axis for axis in range(missing.ndim) if axis != _pixel_axis(missing.ndim))
        return cls.from_mask(~missing.any(axis=axes), coarse_nside, nest=nest)

    @property
    def nside(self) -> int:
        """Resolution of the maps."""
        return self.sampling.nside

    def pack(self, maps: ArrayLike, *, nest: bool, fill: float = 0.0) -> NDArray[Any]:
        """Convert maps of the full sphere to maps on the footprint.

        Parameters
        ----------
        maps : array_like, shape (npix,), (maps, npix) or (maps, npix, channels)
            Maps with ``npix = 12 * nside**2``. Values outside the footprint are ignored, and may be
            masked.
        nest : bool
            Whether `maps` are in NEST ordering; RING if False.
        fill : float, default 0
            Value of padded pixels. The default is the mean of most maps that networks are trained
            on. In maps of integers the value may coincide with a class or flag; use `observed` to
            distinguish padding.

        Returns
        -------
        ndarray, shape (n,), (maps, n) or (maps, n, channels)
            The maps on the pixels of `sampling`, in NEST ordering, with the dtype of `maps`; a
            plain array.

        Raises
        ------
        TypeError
            If `maps` are complex or not numbers, `fill` is not a number, or `nest` is not a bool.
        ValueError
            If `maps` have the wrong shape, an observed pixel is missing (masked, NaN or `UNSEEN`)
            or infinite, or the dtype of `maps` cannot represent `fill`.
        """
        check_nest(nest)
        maps, masked = split_mask(maps, "maps")
        axis = _pixel_axis(maps.ndim)
        if maps.shape[axis] != 12 * self.nside**2:
            raise ValueError(
                f"maps of nside {self.nside} have {12 * self.nside**2} pixels along axis {axis}, "
                f"got shape {maps.shape}"
            )
        value = check_fill(fill, maps.dtype)
        positions = self._positions(nest)
        packed = np.take(maps, positions, axis=axis)
        shape = (-1,) + (1,) * (packed.ndim - 1 - axis)
        observed = np.broadcast_to(self.observed.reshape(shape), packed.shape)
        missing = np.take(masked, positions, axis=axis) | is_marked(packed)
        count = np.count_nonzero(missing & observed)
        if count:
            raise ValueError(
                f"{count} values are missing (masked, NaN or UNSEEN) inside the footprint; use "
                "Footprint.from_maps for the footprint, or fill these values first"
            )
        _check_finite(packed, observed, "maps")
        return np.where(observed, packed, value)

    def unpack(self, values: ArrayLike, *, nest: bool, fill: float | None = None) -> NDArray[Any]:
        """Convert values on the footprint to maps of the full sphere.

        Parameters
        ----------
        values : array_like, shape (n,), (maps, n) or (maps, n, channels)
            Values on the pixels of `sampling`: numbers, classes or flags.
        nest : bool
            Whether the result is in NEST ordering; RING if False.
        fill : float, int or bool, optional
            Value of pixels that were not observed, including padding, and of masked values.
            Defaults to `UNSEEN`, which only floating-point numbers of 32 bits or more can
            represent. Integers and booleans need a value that does not occur among them, such as
            255 or -1 for classes. To mark missing flags, pass ``values.astype("float32")``.

        Returns
        -------
        ndarray, shape (npix,), (maps, npix) or (maps, npix, channels)
            Maps of the full sphere, with the dtype of `values`.

        Raises
        ------
        TypeError
            If `values` are complex or not numbers, `fill` is not a number, or `nest` is not a bool.
        ValueError
            If `values` have the wrong shape, or their dtype cannot represent `fill`. The default
            `fill` does not suit integers, bool, float16 and bfloat16.
        """
        check_nest(nest)
        values, masked = split_mask(values, "values")
        axis = _pixel_axis(values.ndim)
        if values.shape[axis] != len(self.sampling):
            raise ValueError(
                f"the footprint has {len(self.sampling)} pixels along axis {axis}, "
                f"got shape {values.shape}"
            )
        shape = list(values.shape)
        shape[axis] = 12 * self.nside**2
        missing = _default_fill(values.dtype) if fill is None else check_fill(fill, values.dtype)
        full = np.full(shape, missing, dtype=values.dtype)
        seen = np.flatnonzero(self.observed)
        place: tuple[Any, ...] = (slice(None),) * axis
        if masked.any():
            values = np.where(masked, missing, values)
        full[(*place, self._positions(nest)[seen])] = values[(*place, seen)]
        return full

    def _positions(self, nest: bool) -> NDArray[np.int64]:
        """Return the positions of the footprint's pixels in a full map."""
        from astropy_healpix.healpy import nest2ring

        pixels = self.sampling.pixels
        return pixels if nest else np.asarray(nest2ring(self.nside, pixels), dtype=np.int64)

    def __repr__(self) -> str:
        return f"Footprint({self.sampling}, observed=<{np.count_nonzero(self.observed)}>)"


def to_nest(ring_map: NDArray[Any], nside: int) -> NDArray[Any]:
    """Reorder the first axis of a map from RING to NEST."""
    from astropy_healpix.healpy import nest2ring

    return ring_map[nest2ring(nside, np.arange(12 * nside**2))]


def _seen(mask: ArrayLike, name: str) -> NDArray[Any]:
    """Return a copy of a boolean mask in which masked entries are False."""
    array, masked = split_mask(mask, name)
    return array & ~masked if array.dtype == bool else array


def _default_fill(dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `UNSEEN` in a dtype, or raise ValueError if it cannot represent it."""
    if dtype.kind in "biu":
        raise ValueError(
            f"{dtype} cannot represent UNSEEN, which marks unobserved pixels; pass as fill a "
            "value that does not occur (such as 255 or -1), or pass values.astype('float32')"
        )
    with np.errstate(over="ignore"):
        unseen = np.asarray(UNSEEN).astype(dtype)
    if not is_marked(unseen.astype(np.float64)):
        raise ValueError(
            f"{dtype} cannot represent UNSEEN (it becomes {float(unseen):g}); pass "
            "fill=numpy.nan, or values.astype('float32')"
        )
    return unseen


def _check_finite(array: NDArray[Any], where: NDArray[np.bool_], name: str) -> None:
    """Raise ValueError if values selected by a mask are infinite."""
    if array.dtype.kind in "biu":
        return
    infinite = np.count_nonzero(np.isinf(array) & where)
    if infinite:
        raise ValueError(
            f"{name} contain {infinite} infinite values at observed pixels; mark missing pixels "
            "with NaN or UNSEEN (which becomes -inf in float16)"
        )


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
