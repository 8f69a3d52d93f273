"""Parts of samplings with their hierarchies, and regions extended to whole coarser cells."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from deepsphere.sampling.base import Sampling, check_levels, read_only, region_indices
from deepsphere.sampling.encoding import decode_pixels, encode_pixels
from deepsphere.sampling.healpix import Healpix
from deepsphere.sampling.serialization import deserialize

TOLERANCE = 1e-9
"""Fraction of a coarse cell that may be missing in a complete one, for rounding errors of edges."""


class Subset(Sampling):
    """A part of a sampling: the points in a region of the sphere, in the same order.

    Use ``sampling.subset(region)`` to make one. A part of a `Healpix` is a `Healpix`, not a
    `Subset`.

    Parameters
    ----------
    whole : Sampling
        The sampling to take a part of; not a `Healpix` or a `Subset`.
    indices : array_like of int, shape (n,)
        Strictly increasing indices of the points to take, but not of all points.

    Raises
    ------
    TypeError
        If `whole` is not a sampling, or is a `Healpix` or a `Subset`, or `indices` are not
        integers.
    ValueError
        If `indices` are empty, masked, out of range, not one-dimensional or not strictly
        increasing, or select all points.

    Notes
    -----
    Areas are those in the whole. A coarser level has the points of the coarser whole whose cells
    are complete, which means that all points with a share in them lie in the region. Shares of
    points in incomplete cells go to the complete ones. If some point has no share in any complete
    cell, the region is not closed under this level and must be extended first, see `extend_region`.

    Examples
    --------
    >>> from deepsphere.sampling import CubedSphere, extend_region, regions
    >>> sphere = CubedSphere(32)
    >>> cap = regions.disc(sphere, lon=0, lat=90, radius=20)
    >>> region = sphere.subset(extend_region(sphere, cap, levels=2))
    >>> region, region.coarsen(2)
    (Subset(CubedSphere(n=32), <256 of 6144>), Subset(CubedSphere(n=8), <16 of 384>))
    """

    kind: ClassVar[str] = "subset"

    def __init__(self, whole: Sampling, indices: ArrayLike) -> None:
        if not isinstance(whole, Sampling):
            raise TypeError(f"whole must be a Sampling, got {whole!r}")
        if isinstance(whole, (Healpix, Subset)):
            raise TypeError(f"use {whole!r}.subset(region): its parts do not need Subset")
        self._whole = whole
        self._indices = read_only(region_indices(indices, whole))
        if len(self._indices) == len(whole):
            raise ValueError(f"these are all points of {whole}: use it directly")

    @property
    def whole(self) -> Sampling:
        """The whole sampling."""
        return self._whole

    @property
    def indices(self) -> NDArray[np.int64]:
        """Indices of the points in the whole, strictly increasing, shape ``(n,)``; read-only."""
        return self._indices

    @property
    def is_full(self) -> bool:
        """False, because this is a part."""
        return False

    @property
    def crowded(self) -> bool:  # type: ignore[override]
        """Whether the points of the whole are crowded somewhere, see `Sampling.crowded`."""
        return self._whole.crowded

    @property
    def places(self) -> NDArray[np.int64] | None:
        """Index of the place of each point, shape ``(n,)``, or None if no points coincide."""
        places = self._whole.places
        if places is None:
            return None
        distinct, numbers = np.unique(places[self._indices], return_inverse=True)
        return numbers if len(distinct) < len(numbers) else None

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors of the points, shape ``(len(self), 3)``; read-only."""
        return read_only(self._whole.points[self._indices])

    @property
    def areas(self) -> NDArray[np.float64]:
        """Solid angle of each point in the whole, in steradian, shape ``(len(self),)``."""
        return self._whole.areas[self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    def subset(self, region: ArrayLike) -> Sampling:
        """Return a part of this part, as a part of the whole."""
        return self._whole.subset(self._indices[region_indices(region, self)])

    def coarsen(self, levels: int = 1) -> Subset:
        """Return the points that are coarser by `levels` whose cells are complete.

        Parameters
        ----------
        levels : int, default 1
            Number of levels.

        Returns
        -------
        Subset
            A part of ``whole.coarsen(levels)``.

        Raises
        ------
        TypeError
            If `levels` is not an integer.
        ValueError
            If `levels` is negative, the region is not closed under `levels` levels (see
            `extend_region`), or the whole cannot be coarsened that often.
        """
        coarse = self
        for _ in range(check_levels(levels)):
            coarse = coarse._coarser
        return coarse

    def refine(self, levels: int = 1) -> Sampling:
        """Return the points that are finer by `levels` that have a share in the cells of these.

        Parameters
        ----------
        levels : int, default 1
            Number of levels.

        Returns
        -------
        Sampling
            A part of ``whole.refine(levels)``, closed under `levels` levels.

        Raises
        ------
        TypeError
            If `levels` is not an integer.
        ValueError
            If `levels` is negative, or the whole has no finer levels.
        """
        whole, inside = self._whole, self._inside
        for _ in range(check_levels(levels)):
            whole = whole.refine()
            inside = whole.membership().T @ inside > 0
        return whole.subset(inside)

    @property
    def _inside(self) -> NDArray[np.bool_]:
        inside = np.zeros(len(self._whole), dtype=bool)
        inside[self._indices] = True
        return inside

    @cached_property
    def _coarser(self) -> Subset:
        coarse = self._whole.coarsen()
        shares = self._whole.membership()
        complete = complete_cells(shares, self._inside)
        orphans = np.count_nonzero(self._inside & ~(shares.T @ complete > 0))
        if orphans:
            raise ValueError(
                f"the region is not closed under {coarse}: {orphans} of its {len(self)} points "
                "have no share in a complete cell there; use whole.subset(extend_region(whole, "
                "region, levels)) with the number of levels that you need"
            )
        return Subset(coarse, np.flatnonzero(complete))

    def _shares(self) -> csr_array:
        shares = self._whole.membership()[self._coarser.indices][:, self._indices]
        return csr_array(shares / shares.sum(axis=0))

    def get_config(self) -> dict[str, Any]:
        """Return the serialized whole, and the indices encoded as text."""
        whole = {"kind": self._whole.kind, **self._whole.get_config()}
        return {"whole": whole, "indices": encode_pixels(self._indices)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the sampling described by a result of `get_config`."""
        whole = deserialize(config["whole"])
        return cls(whole, decode_pixels(config["indices"], len(whole)))

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self._indices.astype("<i8").tobytes()).hexdigest()

    def _identity(self) -> tuple[Any, ...]:
        return (self._whole, self._digest)

    def __repr__(self) -> str:
        return f"Subset({self._whole!r}, <{len(self)} of {len(self._whole)}>)"


def extend_region(sampling: Sampling, region: ArrayLike, levels: int = 1) -> NDArray[np.bool_]:
    """Extend a region to whole coarser cells, so that it can be coarsened.

    A network that coarsens needs all points with a share in every coarse cell that it uses. If a
    point of the region has no share in a complete cell, the cell in which it has its largest share
    is completed: all points with a share in it are added. Where cells are nested, as on HEALPix,
    the result is the smallest such region.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere.
    region : array_like
        Either a mask of bool, shape ``(len(sampling),)``, as the functions of `regions` return, or
        strictly increasing indices of points.
    levels : int, default 1
        Number of levels by which the result can be coarsened.

    Returns
    -------
    ndarray of bool, shape (len(sampling),)
        True for the points of the region and those that were added.

    Raises
    ------
    TypeError
        If `region` is neither bool nor integers, or `levels` is not an integer.
    ValueError
        If `region` is empty or has the wrong shape, its indices are out of range, masked or not
        strictly increasing, `levels` is negative, or the sampling cannot be coarsened that often.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> np.flatnonzero(extend_region(Healpix(2), [5])).tolist()
    [4, 5, 6, 7]
    """
    inside = np.zeros(len(sampling), dtype=bool)
    inside[region_indices(region, sampling)] = True
    if check_levels(levels) == 0:
        return inside
    coarse, shares = sampling.coarsen(), sampling.membership()
    largest = _largest_shares(shares)
    while True:
        wanted = complete_cells(shares, inside)
        orphans = inside & ~(shares.T @ wanted > 0)
        wanted[largest[orphans]] = True
        wanted = extend_region(coarse, wanted, levels - 1)
        extended = inside | (shares.T @ wanted > 0)
        if np.array_equal(extended, inside):
            return inside
        inside = extended  # repeat, because added points may need cells of their own


def complete_cells(shares: csr_array, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask of the coarse cells whose points are all inside.

    Parameters
    ----------
    shares : csr_array, shape (m, n)
        Membership of the points, see `Sampling.membership`.
    inside : ndarray of bool, shape (n,)
        True for points inside.

    Returns
    -------
    ndarray of bool, shape (m,)
        True for complete cells, of which at most the fraction `TOLERANCE` is missing.
    """
    missing = shares @ (~inside).astype(np.float64)
    return np.asarray(missing <= TOLERANCE * shares.sum(axis=1))


def _largest_shares(shares: csr_array) -> NDArray[np.int64]:
    """Return the row of the largest share in each column, or the first of several."""
    entries = shares.tocoo()
    largest = shares.max(axis=0).toarray().ravel()
    rows = np.full(shares.shape[1], shares.shape[0])
    found = entries.data >= largest[entries.col] - TOLERANCE
    np.minimum.at(rows, entries.col[found], entries.row[found])
    return rows
