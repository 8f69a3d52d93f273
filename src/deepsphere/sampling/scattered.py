"""Samplings at arbitrary points: stations, buoys, particles, or random points."""

from __future__ import annotations

import hashlib
import logging
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from deepsphere._cache import cached
from deepsphere._checks import check_count
from deepsphere.sampling.base import Sampling, check_levels, check_size, read_only
from deepsphere.sampling.encoding import decode_floats, encode_floats
from deepsphere.sampling.lonlat import covers_as_radians, list_some, to_degrees, to_vectors
from deepsphere.sampling.voronoi import COINCIDENT, nearest_shares, voronoi_areas

logger = logging.getLogger(__name__)

ROUNDING = 2e-15
"""Tolerance for equal cosines of angles between unit vectors. The error of one, a sum of three
products, is at most 1e-15."""


class Scattered(Sampling):
    """Arbitrary points on the sphere, such as weather stations.

    Parameters
    ----------
    points : array_like of float, shape (n, 2) or (n, 3)
        Longitudes and latitudes in degrees (or an astropy or pint quantity in any unit of angle),
        or vectors, which are normalized. Points may be in any order; maps have their values in the
        same order.

    Raises
    ------
    TypeError
        If `points` are not real numbers.
    ValueError
        If `points` have another shape, are masked, not finite or repeated, latitudes are beyond the
        poles, or vectors are 0.

    Notes
    -----
    Areas are those of Voronoi cells. If the points cover only a part of the sphere, the cells of
    those at its border include everything beyond.

    A coarser level keeps a quarter of the points, rounded up, in the same order. It keeps the first
    point, and then repeatedly the one farthest from all kept so far (T. F. Gonzalez, "Clustering to
    minimize the maximum intercluster distance", Theor. Comput. Sci. 38 (1985)). Each point belongs
    to the nearest one kept. No other choice covers the points with discs of less than half the
    radius. On 4000 random points the areas of the parts vary by 33 %, compared with 54 % for
    k-means from a random start; k-means starting from this choice does not improve it. Where points
    are crowded, many of them share a part.

    There are no finer levels.

    Examples
    --------
    >>> from deepsphere.sampling import Scattered
    >>> stations = Scattered([(8.5, 47.4), (6.1, 46.2), (-0.1, 51.5), (139.7, 35.7), (174.8, -41)])
    >>> stations, stations.coarsen()
    (Scattered(<5 points>), Scattered(<2 points>))
    """

    kind: ClassVar[str] = "scattered"

    def __init__(self, points: ArrayLike) -> None:
        array = to_degrees(points, "points")
        if array.ndim != 2 or array.shape[1] not in (2, 3) or len(array) == 0:
            raise ValueError(
                "points must have shape (n, 2), longitudes and latitudes in degrees, or (n, 3), "
                f"vectors; got shape {array.shape}"
            )
        if array.shape[1] == 2 and covers_as_radians(*array.T):
            logger.warning(
                "longitudes and latitudes look like radians, because none is larger than %.4g; "
                "degrees are assumed, so pass numpy.degrees(points) if they are radians",
                np.abs(array).max(),
            )
        vectors = to_vectors(array) if array.shape[1] == 2 else _normalize(array)
        self._points = read_only(_check_distinct(vectors))

    @property
    def points(self) -> NDArray[np.float64]:
        """Unit vectors, shape ``(len(self), 3)``; read-only."""
        return self._points

    @cached_property
    def areas(self) -> NDArray[np.float64]:
        """Solid angle of each Voronoi cell in steradian, shape ``(len(self),)``; read-only."""
        return read_only(voronoi_areas(self._points))

    def __len__(self) -> int:
        return len(self._points)

    @property
    def _coarser(self) -> Scattered:
        return _coarser_level(self)

    def coarsen(self, levels: int = 1) -> Scattered:
        """Return a quarter of the points, rounded up, `levels` times.

        Parameters
        ----------
        levels : int, default 1
            Number of levels.

        Returns
        -------
        Scattered
            The points kept, in the same order. A single point is its own coarser level.

        Raises
        ------
        TypeError
            If `levels` is not an integer.
        ValueError
            If `levels` is negative.
        """
        coarse: Scattered = self
        for _ in range(check_levels(levels)):
            coarse = coarse._coarser
        return coarse

    def refine(self, levels: int = 1) -> Scattered:
        """Return the sampling itself if `levels` is 0, and raise ValueError otherwise."""
        if check_levels(levels):
            raise ValueError(
                f"scattered points have no finer levels, got levels={levels}; start from the "
                "finest points and use coarsen for coarser levels"
            )
        return self

    def _shares(self) -> csr_array:
        return nearest_shares(self._points, self._coarser.points)

    def get_config(self) -> dict[str, Any]:
        """Return the unit vectors, encoded as text."""
        return {"points": encode_floats(self._points)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the sampling described by a result of `get_config`."""
        return cls(decode_floats(config["points"]).reshape(-1, 3))

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self._points.astype("<f8").tobytes()).hexdigest()

    def _identity(self) -> tuple[Any, ...]:
        return (self._digest,)

    def __repr__(self) -> str:
        return f"Scattered(<{len(self)} points>)"


class RandomUniform(Scattered):
    """Random points, distributed uniformly over the sphere.

    Parameters
    ----------
    n : int
        Number of points.
    seed : int, default 0
        Seed of the random numbers. Equal seeds give equal points.

    Raises
    ------
    TypeError
        If `n` or `seed` is not an integer.
    ValueError
        If `n` is less than 1 or greater than 2**28, or `seed` is negative.

    Notes
    -----
    sin(latitude) and longitude are uniform random numbers of NumPy's generator PCG64, whose
    sequence does not change between versions of NumPy. Only `n` and `seed` are saved. Coarser
    levels are those of `Scattered`.

    Examples
    --------
    >>> from deepsphere.sampling import RandomUniform
    >>> RandomUniform(100).coarsen()
    Scattered(<25 points>)
    """

    kind: ClassVar[str] = "random-uniform"

    def __init__(self, n: int, seed: int = 0) -> None:
        self._n, self._seed = check_count(n, "n"), check_count(seed, "seed", 0)
        check_size(self._n, f"RandomUniform({n})")
        fractions = np.random.Generator(np.random.PCG64(self._seed)).random((self._n, 2))
        heights, longitudes = 2 * fractions[:, 0] - 1, 2 * np.pi * fractions[:, 1]
        radii = np.sqrt((1 - heights) * (1 + heights))
        super().__init__(
            np.column_stack((radii * np.cos(longitudes), radii * np.sin(longitudes), heights))
        )

    @property
    def n(self) -> int:
        """Number of points."""
        return self._n

    @property
    def seed(self) -> int:
        """Seed of the random numbers."""
        return self._seed

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"n": self._n, "seed": self._seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Return the sampling described by a result of `get_config`."""
        return cls(**config)

    def _identity(self) -> tuple[Any, ...]:
        return (self._n, self._seed)

    def __repr__(self) -> str:
        return f"RandomUniform(n={self._n}, seed={self._seed})"


@cached(maxsize=32)
def _coarser_level(sampling: Scattered) -> Scattered:
    """Return the next coarser level, cached for equal samplings because it takes seconds."""
    points = sampling.points
    return Scattered(points[farthest_points(points, -(-len(points) // 4))])


def farthest_points(points: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Choose the first point, and then repeatedly the one farthest from all chosen so far.

    Parameters
    ----------
    points : ndarray of float64, shape (n, 3)
        Unit vectors.
    count : int
        Number of points to choose, at most n.

    Returns
    -------
    ndarray of int64, shape (count,)
        Increasing indices of the chosen points. Ties go to the first point.
    """
    chosen = np.zeros(count, dtype=np.int64)
    closeness = np.full(len(points), -1.0)  # largest cosine of the angle to a chosen point
    closeness[0] = np.inf
    for i in range(1, count):
        np.maximum(closeness, points @ points[chosen[i - 1]], out=closeness)
        # The first within rounding errors, so the choice is the same on all machines.
        chosen[i] = np.argmax(closeness <= closeness.min() + ROUNDING)
        closeness[chosen[i]] = np.inf
    return np.sort(chosen)


def _normalize(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        raise ValueError(
            f"points must be finite; got {vectors[wrong[0]].tolist()} at {list_some(wrong)}"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = np.flatnonzero(lengths == 0)
    if len(wrong):
        raise ValueError(f"vectors must not be 0, but those at {list_some(wrong)} are")
    # Do not renormalize unit vectors, so that saved points are restored bit by bit.
    return np.where(np.abs(lengths - 1) < 1e-15, vectors, vectors / lengths)


def _check_distinct(points: NDArray[np.float64]) -> NDArray[np.float64]:
    pairs = cKDTree(points).query_pairs(COINCIDENT, output_type="ndarray")
    if len(pairs):
        repeated = np.unique(pairs.max(axis=1))
        raise ValueError(
            f"points must be distinct: {len(repeated)} of {len(points)} repeat an earlier one, at "
            f"{list_some(repeated)}; drop them, and their values from your maps"
        )
    return points
