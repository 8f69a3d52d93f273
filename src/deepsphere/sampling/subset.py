"""A part of any sampling, with its hierarchy, and regions that make up whole coarser cells."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from deepsphere.sampling.base import Sampling, check_levels, read_only, region_indices
from deepsphere.sampling.healpix import Healpix
from deepsphere.sampling.pixel_codec import decode_pixels, encode_pixels

TOLERANCE = 1e-9
"""Part of a coarse cell that may be missing in one that counts as complete: rounding of edges."""


class Subset(Sampling):
    """A part of a sampling: a region of the sphere, in its points' order.

    Made by ``sampling.subset(region)``. Of HEALPix, that is a `Healpix` with some of the pixels.

    Parameters
    ----------
    whole : Sampling
        The sampling of which this is a part.
    indices : array_like of int, shape (n,)
        Which of its points, strictly increasing.

    Raises
    ------
    TypeError, ValueError
        If `whole` is no sampling that this is for, or the indices are not sorted, distinct
        numbers of points, or are all of them.

    Notes
    -----
    Areas are those in the whole. A coarser level has the points of the coarser whole whose cells
    are complete: all points with a share in them are in the region. Shares of points in cells
    beyond the region go to those within. If some point has no share in any complete cell, the
    region is not closed under this level, and has to be extended first: see `extend_region`.

    Examples
    --------
    >>> from deepsphere.sampling import CubedSphere, extend_region, regions
    >>> sphere = CubedSphere(32)
    >>> cap = regions.disc(sphere, lon=0, lat=90, radius=20)
    >>> region = sphere.subset(extend_region(sphere, cap, p=2))
    >>> region, region.coarsen(2)
    (Subset(CubedSphere(n=32), <256 of 6144>), Subset(CubedSphere(n=8), <16 of 384>))
    """

    kind: ClassVar[str] = "subset"

    def __init__(self, whole: Sampling, indices: ArrayLike) -> None:
        if not isinstance(whole, Sampling):
            raise TypeError(f"whole must be a sampling, got {whole!r}")
        if isinstance(whole, (Healpix, Subset)):
            raise TypeError(f"use the method subset of {whole!r}: its parts need no Subset")
        self._whole = whole
        self._indices = read_only(region_indices(indices, whole))
        if len(self._indices) == len(whole):
            raise ValueError(f"these are all points of {whole}: use it as it is")

    @property
    def whole(self) -> Sampling:
        """The sampling of which this is a part."""
        return self._whole

    @property
    def indices(self) -> NDArray[np.int64]:
        """Which points of the whole, strictly increasing, read-only."""
        return self._indices

    @property
    def crowded(self) -> bool:  # type: ignore[override]
        """Whether points of the whole crowd somewhere."""
        return self._whole.crowded

    @property
    def places(self) -> NDArray[np.int64] | None:
        """The place of each point, or None where no two coincide."""
        places = self._whole.places
        if places is None:
            return None
        distinct, numbers = np.unique(places[self._indices], return_inverse=True)
        return numbers if len(distinct) < len(numbers) else None

    @property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors of the points, shape ``(len(self), 3)``."""
        return self._whole.points[self._indices]

    @property
    def areas(self) -> NDArray[np.float64]:
        """Solid angle that each point stands for in the whole, shape ``(len(self),)``."""
        return self._whole.areas[self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    def subset(self, region: ArrayLike) -> Sampling:
        """Return a part of this part, as one of the whole."""
        return self._whole.subset(self._indices[region_indices(region, self)])

    def coarsen(self, p: int = 1) -> Subset:
        """Return the complete points of the sampling `p` levels coarser.

        Parameters
        ----------
        p : int, default 1
            Number of levels.

        Returns
        -------
        Subset
            A part of ``whole.coarsen(p)``.

        Raises
        ------
        ValueError
            If the region is not closed under these levels, or the whole has not as many.
        """
        coarse = self
        for _ in range(check_levels(p)):
            coarse = coarse._coarser
        return coarse

    def refine(self, p: int = 1) -> Sampling:
        """Return the points that have a share in these, `p` levels down.

        Parameters
        ----------
        p : int, default 1
            Number of levels.

        Returns
        -------
        Sampling
            A part of ``whole.refine(p)``, closed under `p` levels.

        Raises
        ------
        ValueError
            If the whole has no finer levels.
        """
        whole, inside = self._whole, self._inside
        for _ in range(check_levels(p)):
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
                "have no share in a complete cell there; take whole.subset(extend_region(whole, "
                "region, p)), p being the number of levels that you need"
            )
        return Subset(coarse, np.flatnonzero(complete))

    def _shares(self) -> csr_array:
        shares = self._whole.membership()[self._coarser.indices][:, self._indices]
        return csr_array(shares / shares.sum(axis=0))

    def get_config(self) -> dict[str, Any]:
        """Return the whole as `deepsphere.sampling.serialize` writes it, and encoded indices."""
        whole = {"kind": self._whole.kind, **self._whole.get_config()}
        return {"whole": whole, "indices": encode_pixels(self._indices)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a sampling from what `get_config` returned."""
        from deepsphere.sampling import deserialize

        whole = deserialize(config["whole"])
        return cls(whole, decode_pixels(config["indices"], len(whole)))

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self._indices.astype("<i8").tobytes()).hexdigest()

    def _identity(self) -> tuple[Any, ...]:
        return (self._whole, self._digest)

    def __repr__(self) -> str:
        return f"Subset({self._whole!r}, <{len(self)} of {len(self._whole)}>)"


def extend_region(sampling: Sampling, region: ArrayLike, p: int = 1) -> NDArray[np.bool_]:
    """Extend a region so that it can be coarsened.

    A network that coarsens needs all points with a share in every coarse cell that it uses. Each
    point of the region gets the cell in which it has its largest share, unless it has a share in
    a complete one, and all points with a share in these cells are taken in. Where cells are
    whole parts of coarser ones, as on HEALPix, this is the smallest such region.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled.
    region : array_like
        Either bool, shape ``(len(sampling),)``, such as `regions` gives, or the strictly
        increasing indices of the points.
    p : int, default 1
        Number of levels under which the result is closed.

    Returns
    -------
    ndarray of bool, shape (len(sampling),)
        True for all points of the region, and those that were added.

    Raises
    ------
    TypeError, ValueError
        If the region is not as described, or the sampling has not as many levels.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> np.flatnonzero(extend_region(Healpix(2), [5])).tolist()
    [4, 5, 6, 7]
    """
    inside = np.zeros(len(sampling), dtype=bool)
    inside[region_indices(region, sampling)] = True
    if check_levels(p) == 0:
        return inside
    coarse, shares = sampling.coarsen(), sampling.membership()
    largest = _largest_shares(shares)
    while True:
        wanted = complete_cells(shares, inside)
        orphans = inside & ~(shares.T @ wanted > 0)
        wanted[largest[orphans]] = True
        wanted = extend_region(coarse, wanted, p - 1)
        extended = inside | (shares.T @ wanted > 0)
        if np.array_equal(extended, inside):
            return inside
        inside = extended  # this may have completed other cells, which need cells of their own


def whole_of(sampling: Sampling) -> tuple[Sampling, NDArray[np.int64]]:
    """Return the sampling that this is a part of, and which points of it.

    Parameters
    ----------
    sampling : Sampling
        A part, or a whole one.

    Returns
    -------
    whole : Sampling
        The sampling itself if it is no part.
    indices : ndarray of int64, shape (len(sampling),)
        Strictly increasing.
    """
    if isinstance(sampling, Healpix):
        return Healpix(sampling.nside), sampling.pixels
    if isinstance(sampling, Subset):
        return sampling.whole, sampling.indices
    return sampling, np.arange(len(sampling))


def complete_cells(shares: csr_array, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return in which coarse cells all points with a share are inside.

    Parameters
    ----------
    shares : csr_array, shape (m, n)
        Membership of the points.
    inside : ndarray of bool, shape (n,)
        Which points are inside.

    Returns
    -------
    ndarray of bool, shape (m,)
        True for complete cells; `TOLERANCE` of one may be missing.
    """
    missing = shares @ (~inside).astype(np.float64)
    return np.asarray(missing <= TOLERANCE * shares.sum(axis=1))


def _largest_shares(shares: csr_array) -> NDArray[np.int64]:
    """Return the row of the largest share in each column, the first of equal ones."""
    entries = shares.tocoo()
    largest = shares.max(axis=0).toarray().ravel()
    rows = np.full(shares.shape[1], shares.shape[0])
    found = entries.data >= largest[entries.col] - TOLERANCE
    np.minimum.at(rows, entries.col[found], entries.row[found])
    return rows
