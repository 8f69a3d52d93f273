"""The base class of all samplings of the sphere, and checks that they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, eye_array

Scalar = TypeVar("Scalar", bound=np.generic)


class Sampling(ABC):
    """A finite set of points on the unit sphere, with their areas and a hierarchy of resolutions.

    A sampling is immutable and small: it stores what identifies it, and computes the rest on
    demand. Two samplings of the same kind and the same points are equal and have equal hashes, so
    graphs and operators are built only once for them.

    Subclasses implement `points`, `areas`, `coarsen`, `refine`, `get_config`, `__len__` and
    `_identity`, and set `kind`, which also registers them for `deserialize`. They also set
    `branching`, or implement `_shares`, which says how their cells make up coarser ones.
    """

    kinds: ClassVar[dict[str, type[Sampling]]] = {}
    """All classes of samplings by their `kind`."""

    kind: ClassVar[str]
    """Name of the sampling in saved configurations, such as ``"healpix"``."""

    branching: ClassVar[int | None] = None
    """Number of consecutive points that share one point of ``coarsen(1)``. None if children are not
    consecutive or differ in number."""

    crowded: bool = False
    """Whether points are much denser somewhere than on average, as at the poles of
    longitude-latitude grids. The nearest neighbors of such points all lie on one side or on one
    row, so graphs spread neighbors by default, see `deepsphere.graph.Graph`."""

    def __init_subclass__(cls, *, listed: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if listed and "kind" in cls.__dict__:  # not one that is inherited
            known = Sampling.kinds.setdefault(cls.kind, cls)
            if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(
                    f"kind {cls.kind!r} already belongs to {known.__name__}; choose another"
                )
            Sampling.kinds[cls.kind] = cls  # a cell of a notebook may define its class again

    @property
    def whole(self) -> Sampling:
        """The sampling of the whole sphere that this one is a part of, or itself."""
        return self

    @property
    def indices(self) -> NDArray[np.int64]:
        """Indices of the points in `whole`, strictly increasing, shape ``(len(self),)``."""
        return np.arange(len(self))

    @property
    def is_full(self) -> bool:
        """Whether this is a whole sampling rather than a part of one."""
        return True

    @property
    def places(self) -> NDArray[np.int64] | None:
        """Index of the place of each point, shape ``(len(self),)``, or None if no points coincide.

        Points that coincide, as in a row at a pole, share one place. Places are numbered from 0 in
        the order of their first points.
        """
        return None

    @property
    @abstractmethod
    def points(self) -> NDArray[np.float64]:
        """Unit vectors of the points, shape ``(len(self), 3)``; read-only."""

    @property
    @abstractmethod
    def areas(self) -> NDArray[np.float64]:
        """Solid angle that each point stands for, in steradian, shape ``(len(self),)``."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of points."""

    @abstractmethod
    def coarsen(self, levels: int = 1) -> Sampling:
        """Return the sampling that is coarser by `levels`, whose points are parents of these."""

    @abstractmethod
    def refine(self, levels: int = 1) -> Sampling:
        """Return the sampling that is finer by `levels`, whose points are children of these."""

    def membership(self, levels: int = 1) -> csr_array:
        """Return how the cells of this sampling make up those that are coarser by `levels`.

        Levels are combined one by one, so pooling over two levels is pooling twice.

        Parameters
        ----------
        levels : int, default 1
            Number of levels.

        Returns
        -------
        csr_array of float64, shape (len(self.coarsen(levels)), len(self))
            The fraction of the cell of each point (column) that lies in the cell of each coarser
            point (row). Columns sum to 1. If cells are nested, each column has a single 1.

        Raises
        ------
        TypeError
            If `levels` is not an integer.
        ValueError
            If `levels` is negative, or the sampling cannot be coarsened `levels` times.
        """
        levels = check_levels(levels)
        n = len(self)
        if self.branching is not None:
            coarse = len(self.coarsen(levels))  # raises ValueError if a coarse cell is incomplete
            starts = np.arange(0, n + 1, self.branching**levels)
            return csr_array((np.ones(n), np.arange(n), starts), shape=(coarse, n))
        sampling: Sampling = self
        shares = csr_array(eye_array(n))
        for _ in range(levels):
            shares = sampling._shares() @ shares
            sampling = sampling.coarsen()
        shares.sort_indices()
        return shares

    def _shares(self) -> csr_array:
        """Return the membership for one level."""
        if self.branching is None:
            raise NotImplementedError(
                f"{type(self).__name__} must set branching or implement _shares"
            )
        return self.membership()

    def subset(self, region: ArrayLike) -> Sampling:
        """Return a part of this sampling.

        Parameters
        ----------
        region : array_like
            Either a mask of bool, shape ``(len(self),)``, as the functions of
            `deepsphere.sampling.regions` return, or strictly increasing indices of points.

        Returns
        -------
        Sampling
            The points in the region, in the same order; the sampling itself if these are all.

        Raises
        ------
        TypeError
            If `region` is neither bool nor integers.
        ValueError
            If `region` is empty or has the wrong shape, or the indices are out of range, masked or
            not strictly increasing.
        """
        indices = region_indices(region, self)
        if len(indices) == len(self):
            return self
        part: Any = Sampling.kinds["subset"]  # its module imports this one
        return part(self, indices)

    @abstractmethod
    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON-serializable data."""

    @abstractmethod
    def _identity(self) -> tuple[Any, ...]:
        """Return the hashable values that distinguish samplings of one class."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the sampling described by a result of `get_config`."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self.kind, *self._identity()))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickling through the constructor keeps arrays read-only, which NumPy would not.
        return self.from_config, (self.get_config(),)


def check_levels(levels: int, name: str = "levels") -> int:
    """Return a number of levels as an int, or raise if it is not an integer >= 0."""
    if isinstance(levels, bool) or not isinstance(levels, (int, np.integer)):
        raise TypeError(f"{name} must be an integer number of resolution levels, got {levels!r}")
    if levels < 0:
        raise ValueError(f"{name} must be a nonnegative number of resolution levels, got {levels}")
    return int(levels)


def region_indices(region: ArrayLike, sampling: Sampling) -> NDArray[np.int64]:
    """Return the indices of a region's points.

    Parameters
    ----------
    region : array_like
        Either a mask of bool, shape ``(len(sampling),)``, or strictly increasing indices of points.
        Masked entries of a masked array of bool are outside the region.
    sampling : Sampling
        The sampling of the sphere.

    Returns
    -------
    ndarray of int64, shape (m,), m >= 1
        Strictly increasing indices.

    Raises
    ------
    TypeError
        If `region` is neither bool nor integers.
    ValueError
        If `region` is empty or has the wrong shape, or the indices are out of range, masked or not
        strictly increasing.
    """
    array, n = np.asarray(region), len(sampling)
    if array.dtype == bool:
        array = array & ~np.ma.getmaskarray(np.ma.asarray(region))
        if array.shape != (n,):
            raise ValueError(
                f"a region of {sampling} must contain {n} bools, one per point; got shape "
                f"{array.shape}"
            )
        array = np.flatnonzero(array)
    elif np.ma.is_masked(region):
        raise ValueError("indices of points must not be masked; use indices.compressed()")
    if array.size == 0:
        raise ValueError("a region must not be empty")
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"a region must be bools or indices of points, got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"indices of points must have one dimension, got shape {array.shape}")
    if np.any(np.diff(array.astype(np.int64)) <= 0):
        raise ValueError(
            "indices of points must be strictly increasing; use np.unique(indices), and reorder "
            "the values of your maps accordingly"
        )
    if array[0] < 0 or array[-1] >= n:
        raise ValueError(
            f"indices of points must be from 0 to {n - 1} for {sampling}, "
            f"got values from {array[0]} to {array[-1]}"
        )
    return array.astype(np.int64)


MOST_POINTS = 2**28
"""Largest number of points of a sampling, whose coordinates take 6 GB. A HEALPix map at nside 4096
has 201 326 592 pixels, and a grid at 1/60 of a degree 233 280 000."""


def check_size(points: int, what: str) -> None:
    """Raise ValueError if a sampling has more than `MOST_POINTS`; call it before allocating."""
    if points > MOST_POINTS:
        raise ValueError(
            f"{what} has {points:,} points, more than the maximum of {MOST_POINTS:,}; use a "
            "coarser sampling or a part of the sphere"
        )


def check_sampling(sampling: Any, name: str = "sampling") -> Sampling:
    """Return `sampling`, or raise TypeError if it is not a `Sampling`."""
    if not isinstance(sampling, Sampling):
        raise TypeError(f"{name} must be a Sampling such as Healpix(64), got {sampling!r}")
    return sampling


def halve(value: int, levels: int, name: str) -> int:
    """Return `value` divided by ``2**levels``, or raise ValueError if that is not an integer."""
    if value % 2**levels:
        raise ValueError(
            f"{name} {value} cannot be divided by 2**{levels}, as coarsening by levels={levels} "
            "requires"
        )
    return value >> levels


def read_only(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Make an array read-only and return it."""
    array.flags.writeable = False
    return array
