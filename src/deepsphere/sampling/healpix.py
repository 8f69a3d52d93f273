"""HEALPix: equal-area pixels in a hierarchy of four (Gorski et al. 2005), NEST ordering."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.sampling.base import Sampling, check_levels, check_size, region_indices
from deepsphere.sampling.pixel_codec import decode_pixels, encode_pixels

MAX_LEVEL = 29  # 12 * 4**29 is the largest number of pixels that fits in 64-bit integers


def check_nside(nside: int) -> int:
    """Return `nside` as an int, or raise if it is not a power of two from 1 to 2**29.

    Parameters
    ----------
    nside : int
        HEALPix resolution parameter.

    Returns
    -------
    int
        The same number.

    Raises
    ------
    TypeError
        If it is not an integer.
    ValueError
        If it is not a power of two, which NEST ordering needs, or out of range.
    """
    if isinstance(nside, bool) or not isinstance(nside, (int, np.integer)):
        raise TypeError(f"nside must be an integer, got {nside!r}")
    nside = int(nside)
    if nside < 1 or nside & (nside - 1) or nside > 2**MAX_LEVEL:
        raise ValueError(
            f"nside must be a power of two from 1 to 2**{MAX_LEVEL}, as NEST ordering needs; "
            f"got {nside}"
        )
    return nside


def check_nest(nest: bool) -> None:
    """Raise TypeError if the ordering is not given as True (NEST) or False (RING)."""
    if not isinstance(nest, (bool, np.bool_)):
        raise TypeError(f"nest must be True for NEST ordering or False for RING, got {nest!r}")


def check_pixels(pixels: ArrayLike, nside: int) -> NDArray[np.int64]:
    """Return `pixels` as int64, or raise if they are not pixel numbers of this `nside`.

    Parameters
    ----------
    pixels : array_like of int, shape (n,)
        HEALPix pixel numbers in any order.
    nside : int
        HEALPix resolution parameter.

    Returns
    -------
    ndarray of int64, shape (n,)
        A copy of the pixel numbers.

    Raises
    ------
    TypeError
        If they are not integers (a boolean map, for instance).
    ValueError
        If they are not one-dimensional, are empty, masked or out of range.
    """
    if np.ma.is_masked(pixels):
        raise ValueError(
            f"{np.ma.count_masked(pixels)} of the pixels are masked; "
            "take pixels.compressed(), and the same part of your maps"
        )
    array = np.asarray(pixels)
    if array.dtype == bool:
        raise TypeError("pixels must be pixel numbers, got a boolean map; use np.flatnonzero(map)")
    if array.size == 0:
        raise ValueError("pixels must not be empty")
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"pixels must be integers, got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"pixels must have one dimension, got shape {array.shape}")
    npix = 12 * nside**2
    if array.min() < 0 or array.max() >= npix:
        raise ValueError(
            f"pixels must be from 0 to {npix - 1} for nside {nside}, "
            f"got values from {array.min()} to {array.max()}"
        )
    return array.astype(np.int64)


def extend_pixels(
    pixels: ArrayLike, nside: int, coarse_nside: int, nest: bool = True
) -> NDArray[np.int64]:
    """Extend a footprint to whole pixels of a coarser resolution.

    A network that coarsens down to `coarse_nside` needs all children of every coarse pixel that
    it uses. This returns the smallest such set that holds `pixels`.

    Parameters
    ----------
    pixels : array_like of int, shape (n,)
        Pixel numbers at `nside`, in any order, repetitions allowed.
    nside : int
        Resolution of `pixels`.
    coarse_nside : int
        Resolution under which the result is closed; at most `nside`.
    nest : bool, default True
        Ordering of `pixels` and of the result: NEST, or RING if False.

    Returns
    -------
    ndarray of int64, shape (m,), m >= n
        Sorted pixel numbers at `nside`.

    Raises
    ------
    TypeError, ValueError
        If a resolution is not a power of two, `coarse_nside` is above `nside`, or the pixels
        are not pixel numbers at `nside`.

    Examples
    --------
    >>> extend_pixels([5], nside=2, coarse_nside=1).tolist()
    [4, 5, 6, 7]
    """
    from astropy_healpix.healpy import nest2ring, ring2nest

    check_nest(nest)
    nside, coarse_nside = check_nside(nside), check_nside(coarse_nside)
    if coarse_nside > nside:
        raise ValueError(f"coarse_nside must be at most nside {nside}, got {coarse_nside}")
    array = check_pixels(pixels, nside)
    if not nest:
        array = ring2nest(nside, array)
    children = (nside // coarse_nside) ** 2
    parents = np.unique(array // children)
    extended = (parents[:, None] * children + np.arange(children)).ravel()
    return extended if nest else np.sort(nest2ring(nside, extended).astype(np.int64))


class Healpix(Sampling):
    """The HEALPix sampling of the sphere or of a part of it, in NEST ordering.

    Parameters
    ----------
    nside : int, optional
        Resolution parameter, a power of two; the sphere has ``12 * nside**2`` pixels. Give
        either this or `level`.
    pixels : array_like of int, shape (n,), optional
        NEST numbers of the pixels that are sampled, strictly increasing. Default: all of them.
    level : int, optional
        Resolution as weather and climate users count it, ``nside = 2**level``.

    Raises
    ------
    TypeError, ValueError
        If `nside` is not a power of two, or the pixels are not sorted, distinct pixel numbers.

    Notes
    -----
    K. M. Gorski et al., "HEALPix: A framework for high-resolution discretization and fast
    analysis of data distributed on the sphere", ApJ 622 (2005). Geometry by astropy-healpix.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> sphere = Healpix(64)
    >>> len(sphere), sphere.coarsen(3)
    (49152, Healpix(nside=8))
    >>> Healpix(level=1, pixels=[4, 5, 6, 7]).coarsen()
    Healpix(nside=1, pixels=<1 of 12>)
    """

    kind: ClassVar[str] = "healpix"
    branching: ClassVar[int] = 4

    def __init__(
        self, nside: int | None = None, pixels: ArrayLike | None = None, *, level: int | None = None
    ) -> None:
        if (nside is None) == (level is None):
            raise ValueError(f"give either nside or level, got nside={nside!r}, level={level!r}")
        if level is not None:
            level = check_levels(level, "level")
            if level > MAX_LEVEL:
                raise ValueError(f"level must be at most {MAX_LEVEL}, got {level}")
            nside = 2**level
        self._nside = check_nside(nside)  # type: ignore[arg-type]
        self._pixels: NDArray[np.int64] | None = None
        if pixels is not None:
            array = check_pixels(pixels, self._nside)
            if np.any(np.diff(array) <= 0):
                raise ValueError(
                    "pixels must be strictly increasing; use np.unique(pixels), "
                    "and bring the values of your maps into the same order"
                )
            if len(array) < 12 * self._nside**2:
                array.flags.writeable = False
                self._pixels = array

    @property
    def nside(self) -> int:
        """Resolution parameter."""
        return self._nside

    @property
    def level(self) -> int:
        """Resolution level, ``nside = 2**level``."""
        return self._nside.bit_length() - 1

    @property
    def is_full(self) -> bool:
        """Whether every pixel of the sphere is sampled."""
        return self._pixels is None

    @cached_property
    def pixels(self) -> NDArray[np.int64]:
        """NEST numbers of the pixels, strictly increasing, shape ``(len(self),)``."""
        if self._pixels is not None:
            return self._pixels
        check_size(len(self), f"the whole sphere at nside {self._nside}")
        pixels = np.arange(12 * self._nside**2, dtype=np.int64)
        pixels.flags.writeable = False
        return pixels

    @property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors of the pixel centers, shape ``(len(self), 3)``."""
        from astropy_healpix.healpy import pix2vec

        return np.column_stack(pix2vec(self._nside, self.pixels, nest=True))

    @property
    def areas(self) -> NDArray[np.float64]:
        """Solid angle of each pixel in steradian, shape ``(len(self),)``; all equal."""
        check_size(len(self), f"Healpix(nside={self._nside})")
        return np.full(len(self), np.pi / (3 * self._nside**2))

    def __len__(self) -> int:
        return 12 * self._nside**2 if self._pixels is None else len(self._pixels)

    def coarsen(self, p: int = 1) -> Self:
        """Return the sampling whose pixels are the ancestors of these, `p` levels up.

        Parameters
        ----------
        p : int, default 1
            Number of levels; `nside` is divided by ``2**p``.

        Returns
        -------
        Healpix
            Its pixel ``i`` is the ancestor of pixels ``4**p * i`` to ``4**p * (i + 1) - 1``.

        Raises
        ------
        ValueError
            If there are not `p` coarser levels, or an ancestor would lack some of its pixels.
        """
        p = check_levels(p)
        if p > self.level:
            raise ValueError(f"nside {self._nside} has {self.level} coarser levels, got p={p}")
        nside = self._nside >> p
        if self._pixels is None:
            return type(self)(nside)
        parents, counts = np.unique(self._pixels >> 2 * p, return_counts=True)
        incomplete = np.count_nonzero(counts < 4**p)
        if incomplete:
            raise ValueError(
                f"pixels are not closed under nside {nside}: {incomplete} of its {len(parents)} "
                f"pixels are incomplete; use extend_pixels(pixels, {self._nside}, {nside})"
            )
        return type(self)(nside, parents)

    def refine(self, p: int = 1) -> Self:
        """Return the sampling whose pixels are the descendants of these, `p` levels down.

        Parameters
        ----------
        p : int, default 1
            Number of levels; `nside` is multiplied by ``2**p``.

        Returns
        -------
        Healpix
            The sampling with ``4**p`` times as many pixels.

        Raises
        ------
        ValueError
            If the resolution would exceed the largest `nside`, 2**29.
        """
        p = check_levels(p)
        if p > MAX_LEVEL - self.level:
            raise ValueError(
                f"nside {self._nside} has {MAX_LEVEL - self.level} finer levels, got p={p}"
            )
        nside = self._nside << p
        if self._pixels is None:
            return type(self)(nside)
        children = (self._pixels[:, None] << 2 * p) + np.arange(4**p)
        return type(self)(nside, children.ravel())

    def subset(self, region: ArrayLike) -> Self:
        """Return the sampling of some of these pixels.

        Parameters
        ----------
        region : array_like
            Either bool, shape ``(len(self),)``, such as `deepsphere.sampling.regions` gives, or
            the indices of the pixels among those sampled, strictly increasing.

        Returns
        -------
        Healpix
            The pixels in the region, in their order.

        Raises
        ------
        TypeError, ValueError
            If the region is not as described, or empty.
        """
        return type(self)(self._nside, self.pixels[region_indices(region, self)])

    def get_config(self) -> dict[str, Any]:
        """Return ``nside`` and, for a part of the sphere, the pixels as encoded text."""
        if self._pixels is None:
            return {"nside": self._nside}
        return {"nside": self._nside, "pixels": encode_pixels(self._pixels)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a sampling from what `get_config` returned."""
        pixels = config.get("pixels")
        if pixels is None:
            return cls(config["nside"])
        return cls(config["nside"], decode_pixels(pixels, 12 * check_nside(config["nside"]) ** 2))

    @cached_property
    def _digest(self) -> str | None:
        if self._pixels is None:
            return None
        return hashlib.sha256(self._pixels.astype("<i8").tobytes()).hexdigest()

    def _identity(self) -> tuple[Any, ...]:
        return (self._nside, self._digest)

    def __repr__(self) -> str:
        if self._pixels is None:
            return f"Healpix(nside={self._nside})"
        return f"Healpix(nside={self._nside}, pixels=<{len(self)} of {12 * self._nside**2}>)"
