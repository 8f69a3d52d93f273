"""How good a hierarchy is: how evenly each level covers the sphere, and how even its parts are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deepsphere.sampling.base import Sampling, check_levels
from deepsphere.sampling.subset import whole_of
from deepsphere.sampling.voronoi import TIE, farthest_places


@dataclass(frozen=True)
class LevelQuality:
    """Figures of one level of a hierarchy; angles in degrees.

    Those of the parts, and of children, are None on the finest level.
    """

    level: int
    """How many levels coarser than the finest, which is 0."""

    points: int
    """Number of points."""

    spacing: float
    """Side of a square of the mean area: 58.6 degrees for 12 points on the sphere."""

    separation: float
    """Least distance between two points; NaN for a single point."""

    covering: float
    """Largest distance of any place of the sphere to its nearest point: the covering radius."""

    area_variation: float
    """Standard deviation of the areas of the points, over their mean."""

    part_variation: float | None = None
    """The same of the areas of the parts, which are sums of those of the children."""

    children: tuple[float, float, float] | None = None
    """Least, median and largest number of children; what is shared counts by its shares."""

    farthest_child: float | None = None
    """Largest distance of a child to its parent, or to one of them."""

    @property
    def mesh_ratio(self) -> float:
        """Covering radius over half of the separation: 1.15 for a hexagonal grid, 1.41 for squares.

        So in R. S. Womersley, "Efficient spherical designs with good geometric properties" (2018);
        others divide by all of the separation. D. P. Hardin, T. Michaels and E. B. Saff, "A
        comparison of popular point configurations on S²", Dolomites Res. Notes Approx. 9 (2016),
        survey it for many samplings.
        """
        return 2 * self.covering / self.separation

    @property
    def child_ratio(self) -> float | None:
        """The mesh ratio that counts no other places than the points one level finer.

        Where points leave a sea empty, it tells how good the choice is where they are. For
        `Scattered` it is 2 or less: T. F. Gonzalez (1985).
        """
        return None if self.farthest_child is None else 2 * self.farthest_child / self.separation

    @property
    def reach(self) -> float | None:
        """Largest distance of a child to its parent, in units of the spacing of this level."""
        return None if self.farthest_child is None else self.farthest_child / self.spacing


def hierarchy_quality(sampling: Sampling, levels: int = 3) -> list[LevelQuality]:
    """Measure each level of a hierarchy.

    Parameters
    ----------
    sampling : Sampling
        The finest level.
    levels : int, default 3
        How many coarser levels.

    Returns
    -------
    list of LevelQuality
        Of the finest level and `levels` coarser ones, in this order.

    Raises
    ------
    TypeError, ValueError
        If `sampling` is no sampling, or has not as many coarser levels.

    Notes
    -----
    Covering radii are exact: the distance to the nearest point is largest at a corner of a Voronoi
    cell. Of a part of a sampling, the places that count are those nearer to its points than to
    those left out. Scattered points stand for all of the sphere: where they leave a sea empty, it
    counts. 50 000 points take seconds.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix, hierarchy_quality
    >>> finest, coarse = hierarchy_quality(Healpix(2), levels=1)
    >>> coarse.points, coarse.children, round(coarse.separation), round(coarse.mesh_ratio, 2)
    (12, (4.0, 4.0, 4.0), 58, 1.66)
    """
    if not isinstance(sampling, Sampling):
        raise TypeError(f"sampling must be a sampling, got {sampling!r}")
    levels = check_levels(levels, "levels")
    sampling.coarsen(levels)  # or an error that names the finest level
    qualities = [LevelQuality(level=0, **_spread(sampling))]
    for level in range(1, levels + 1):
        coarse, shares = sampling.coarsen(), sampling.membership()
        counts = shares.sum(axis=1)
        pairs = shares.tocoo()
        distances = coarse.points[pairs.row] - sampling.points[pairs.col]
        qualities.append(
            LevelQuality(
                level=level,
                **_spread(coarse),
                part_variation=_variation(shares @ sampling.areas),
                children=(float(counts.min()), float(np.median(counts)), float(counts.max())),
                farthest_child=_angle(np.linalg.norm(distances, axis=1).max()),
            )
        )
        sampling = coarse
    return qualities


def _spread(sampling: Sampling) -> dict[str, Any]:
    """Return the figures that need no other level."""
    points, areas = sampling.points, sampling.areas
    separation = np.nan
    if len(points) > 1:
        separation = _angle(cKDTree(points).query(points, [2])[0].min())
    return {
        "points": len(points),
        "spacing": float(np.degrees(np.sqrt(areas.mean()))),
        "separation": separation,
        "covering": _covering(sampling),
        "area_variation": _variation(areas),
    }


def _covering(sampling: Sampling) -> float:
    whole, indices = whole_of(sampling)
    points = whole.points
    places = farthest_places(points)
    distances = cKDTree(points).query(places)[0]
    if len(indices) < len(whole):
        # Corners of cells are as far from a point that was left out as from one that was not.
        inside = cKDTree(points[indices]).query(places)[0] <= distances + TIE
        distances = distances[inside]
    return _angle(distances.max())


def _variation(areas: NDArray[np.float64]) -> float:
    return float(areas.std() / areas.mean())


def _angle(chord: float) -> float:
    """Return the angle in degrees between unit vectors at that distance."""
    return float(np.degrees(2 * np.arcsin(min(chord / 2, 1.0))))
