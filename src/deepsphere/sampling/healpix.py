"""The HEALPix sampling, in NEST ordering: equal-area pixels, each with four children."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.sampling.base import Sampling, check_levels, check_size, read_only, region_indices
from deepsphere.sampling.encoding import decode_pixels, encode_pixels

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
        If `nside` is not an integer.
    ValueError
        If `nside` is not a power of two, as NEST ordering requires, or not from 1 to 2**29.
    """
    if isinstance(nside, bool) or not isinstance(nside, (int, np.integer)):
        raise TypeError(f"nside must be an integer, got {nside!r}")
    nside = int(nside)
    if nside < 1 or nside & (nside - 1) or nside > 2**MAX_LEVEL:
        raise ValueError(
            f"nside must be a power of two from 1 to 2**{MAX_LEVEL}, as NEST ordering requires; "
            f"got {nside}"
        )
    return nside


def check_nest(nest: bool) -> None:
    """Raise TypeError if `nest` is not a bool (True for NEST, False for RING ordering)."""
    if not isinstance(nest, (bool, np.bool_)):
        raise TypeError(f"nest must be True for NEST ordering or False for RING, got {nest!r}")


def check_pixels(pixels: ArrayLike, nside: int) -> NDArray[np.int64]:
    """Return HEALPix pixel indices as int64, or raise if they are invalid.

    Parameters
    ----------
    pixels : array_like of int, shape (n,)
        HEALPix pixel indices in any order.
    nside : int
        HEALPix resolution parameter.

    Returns
    -------
    ndarray of int64, shape (n,)
        A copy of the pixel indices.

    Raises
    ------
    TypeError
        If `pixels` are not integers, for instance a boolean map.
    ValueError
        If `pixels` are empty, masked, not one-dimensional, or not from 0 to ``12 * nside**2 - 1``.
    """
    if np.ma.is_masked(pixels):
        raise ValueError(
            f"{np.ma.count_masked(pixels)} of the pixels are masked; use pixels.compressed(), and "
            "drop the same values from your maps"
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
    pixels: ArrayLike, nside: int, coarse_nside: int, *, nest: bool
) -> NDArray[np.int64]:
    """Extend a set of pixels to whole pixels of a coarser resolution.

    A network that coarsens down to `coarse_nside` needs all descendants of every coarse pixel that
    it uses. This function returns the smallest such set that contains `pixels`.

    Parameters
    ----------
    pixels : array_like of int, shape (n,)
        Pixel indices at `nside`, in any order; they may be repeated.
    nside : int
        Resolution of `pixels`.
    coarse_nside : int
        Coarse resolution, at most `nside`.
    nest : bool
        Whether `pixels` and the result are in NEST ordering, as those of `Healpix`; RING if False.
        There is no default, because healpy's default is RING.

    Returns
    -------
    ndarray of int64, shape (m,)
        Sorted pixel indices at `nside`.

    Raises
    ------
    TypeError
        If `nside`, `coarse_nside` or `pixels` are not integers, or `nest` is not a bool.
    ValueError
        If a resolution is not a power of two, `coarse_nside` is greater than `nside`, or `pixels`
        are empty, masked, not one-dimensional or out of range.

    Examples
    --------
    >>> extend_pixels([5], nside=2, coarse_nside=1, nest=True).tolist()
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
        Resolution parameter, a power of two from 1 to 2**29. The sphere has ``12 * nside**2``
        pixels. Give either `nside` or `level`.
    pixels : array_like of int, shape (n,), optional
        NEST indices of the sampled pixels, strictly increasing. Defaults to the whole sphere.
    level : int, optional
        Resolution level from 0 to 29, ``nside = 2**level``, as weather and climate users give it.

    Raises
    ------
    TypeError
        If `nside`, `level` or `pixels` are not integers.
    ValueError
        If both or neither of `nside` and `level` are given, `nside` is not a power of two, a
        resolution is out of range, or `pixels` are empty, masked, out of range, not one-dimensional
        or not strictly increasing.

    Notes
    -----
    K. M. Gorski et al., "HEALPix: A framework for high-resolution discretization and fast
    analysis of data distributed on the sphere", ApJ 622 (2005). astropy-healpix computes the
    geometry.

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
                    "pixels must be strictly increasing; use np.unique(pixels), and reorder the "
                    "values of your maps accordingly"
                )
            if len(array) < 12 * self._nside**2:
                self._pixels = read_only(array)

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
        """NEST indices of the sampled pixels, strictly increasing, shape ``(len(self),)``."""
        if self._pixels is not None:
            return self._pixels
        check_size(len(self), f"the whole sphere at nside {self._nside}")
        return read_only(np.arange(12 * self._nside**2, dtype=np.int64))

    @property
    def whole(self) -> Self:
        """The sampling of the whole sphere at this resolution."""
        return self if self.is_full else type(self)(self._nside)

    @property
    def indices(self) -> NDArray[np.int64]:
        """The same as `pixels`: indices in the whole sphere."""
        return self.pixels

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors of the pixel centers, shape ``(len(self), 3)``; read-only."""
        from astropy_healpix.healpy import pix2vec

        return read_only(np.column_stack(pix2vec(self._nside, self.pixels, nest=True)))

    @property
    def areas(self) -> NDArray[np.float64]:
        """Solid angle of each pixel in steradian, all equal, shape ``(len(self),)``."""
        check_size(len(self), f"Healpix(nside={self._nside})")
        return np.full(len(self), np.pi / (3 * self._nside**2))

    def __len__(self) -> int:
        return 12 * self._nside**2 if self._pixels is None else len(self._pixels)

    def coarsen(self, levels: int = 1) -> Self:
        """Return the sampling of the ancestors of these pixels, `levels` levels up.

        Parameters
        ----------
        levels : int, default 1
            Number of levels; `nside` is divided by ``2**levels``.

        Returns
        -------
        Healpix
            The coarser sampling. Its point ``i`` is the ancestor of points ``4**levels * i`` to
            ``4**levels * (i + 1) - 1``.

        Raises
        ------
        TypeError
            If `levels` is not an integer.
        ValueError
            If `levels` is negative, there are fewer coarser levels, or some descendants of an
            ancestor are not sampled (see `extend_pixels`).
        """
        levels = check_levels(levels)
        if levels > self.level:
            raise ValueError(
                f"nside {self._nside} has {self.level} coarser levels, got levels={levels}"
            )
        nside = self._nside >> levels
        if self._pixels is None:
            return type(self)(nside)
        parents, counts = np.unique(self._pixels >> 2 * levels, return_counts=True)
        incomplete = np.count_nonzero(counts < 4**levels)
        if incomplete:
            raise ValueError(
                f"pixels are not closed under nside {nside}: {incomplete} of its {len(parents)} "
                f"pixels are incomplete; use extend_pixels(pixels, {self._nside}, {nside}, "
                "nest=True)"
            )
        return type(self)(nside, parents)

    def refine(self, levels: int = 1) -> Self:
        """Return the sampling of the descendants of these pixels, `levels` levels down.

        Parameters
        ----------
        levels : int, default 1
            Number of levels; `nside` is multiplied by ``2**levels``.

        Returns
        -------
        Healpix
            The finer sampling, with ``4**levels`` times as many pixels.

        Raises
        ------
        TypeError
            If `levels` is not an integer.
        ValueError
            If `levels` is negative, or the new `nside` would be greater than 2**29.
        """
        levels = check_levels(levels)
        if levels > MAX_LEVEL - self.level:
            raise ValueError(
                f"nside {self._nside} has {MAX_LEVEL - self.level} finer levels, got "
                f"levels={levels}"
            )
        nside = self._nside << levels
        if self._pixels is None:
            return type(self)(nside)
        children = (self._pixels[:, None] << 2 * levels) + np.arange(4**levels)
        return type(self)(nside, children.ravel())

    def subset(self, region: ArrayLike) -> Self:
        """Return the sampling of some of these pixels.

        Parameters
        ----------
        region : array_like
            Either a mask of bool, shape ``(len(self),)``, as the functions of
            `deepsphere.sampling.regions` return, or strictly increasing indices into `pixels`.

        Returns
        -------
        Healpix
            The pixels in the region, in the same order.

        Raises
        ------
        TypeError
            If `region` is neither bool nor integers.
        ValueError
            If `region` is empty or has the wrong shape, or the indices are out of range, masked or
            not strictly increasing.
        """
        return type(self)(self._nside, self.pixels[region_indices(region, self)])

    def get_config(self) -> dict[str, Any]:
        """Return ``nside`` and, on a part of the sphere, the pixels encoded as text."""
        if self._pixels is None:
            return {"nside": self._nside}
        return {"nside": self._nside, "pixels": encode_pixels(self._pixels)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the sampling described by a result of `get_config`."""
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
