"""Measures of how evenly the levels of a hierarchy cover the sphere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deepsphere.sampling.base import Sampling, check_levels
from deepsphere.sampling.voronoi import TIE, farthest_places


@dataclass(frozen=True)
class LevelQuality:
    """Measures of one level of a hierarchy, with angles in degrees.

    Those that involve children are None at the finest level.
    """

    level: int
    """Number of levels above the finest, which is 0."""

    points: int
    """Number of points."""

    spacing: float
    """Side of a square of the mean area; 58.6 degrees for 12 points on the sphere."""

    separation: float
    """Smallest distance between two points; NaN for a single point."""

    covering: float
    """Covering radius: the largest distance of any place on the sphere to its nearest point."""

    area_variation: float
    """Standard deviation of the points' areas, divided by their mean."""

    part_variation: float | None = None
    """Standard deviation of the summed areas of each point's children, divided by their mean."""

    children: tuple[float, float, float] | None = None
    """Smallest, median and largest number of children. A shared child counts by its shares."""

    farthest_child: float | None = None
    """Largest distance between a child and a parent."""

    @property
    def mesh_ratio(self) -> float:
        """Covering radius divided by half the separation: 1.15 for hexagons, 1.41 for squares.

        The definition is that of R. S. Womersley, "Efficient spherical designs with good geometric
        properties" (2018); others divide by the whole separation. D. P. Hardin, T. Michaels and
        E. B. Saff, "A comparison of popular point configurations on S²", Dolomites Res. Notes
        Approx. 9 (2016), survey it for many samplings.
        """
        return 2 * self.covering / self.separation

    @property
    def child_ratio(self) -> float | None:
        """The mesh ratio over the points one level finer only, instead of the whole sphere.

        If the points leave a region empty, an ocean for instance, this ratio measures the choice of
        points outside of it. For `Scattered` it is at most 2 (T. F. Gonzalez, 1985).
        """
        return None if self.farthest_child is None else 2 * self.farthest_child / self.separation

    @property
    def reach(self) -> float | None:
        """Largest distance between a child and a parent, in units of the spacing of this level."""
        return None if self.farthest_child is None else self.farthest_child / self.spacing


def hierarchy_quality(sampling: Sampling, levels: int = 3) -> list[LevelQuality]:
    """Measure how evenly each level of a hierarchy covers the sphere.

    Parameters
    ----------
    sampling : Sampling
        The finest level.
    levels : int, default 3
        Number of coarser levels.

    Returns
    -------
    list of LevelQuality
        Measures of the finest level, followed by those of `levels` coarser ones.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, or `levels` is not an integer.
    ValueError
        If `levels` is negative, or the sampling cannot be coarsened that often.

    Notes
    -----
    Covering radii are exact, because the distance to the nearest point is largest at a corner of a
    Voronoi cell. For a part of a sampling, only places nearer to its points than to those left out
    count. For scattered points the whole sphere counts, including regions without points. 50 000
    points take seconds.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix, hierarchy_quality
    >>> finest, coarse = hierarchy_quality(Healpix(2), levels=1)
    >>> coarse.points, coarse.children, round(coarse.separation), round(coarse.mesh_ratio, 2)
    (12, (4.0, 4.0, 4.0), 58, 1.66)
    """
    if not isinstance(sampling, Sampling):
        raise TypeError(f"sampling must be a Sampling, got {sampling!r}")
    levels = check_levels(levels, "levels")
    sampling.coarsen(levels)  # so that an error names the finest level
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
    """Return the measures that need no other level."""
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
    whole, indices = sampling.whole, sampling.indices
    points = whole.points
    places = farthest_places(points)
    distances = cKDTree(points).query(places)[0]
    if len(indices) < len(whole):
        # Corners of a cell are equally far from its neighbors, which may be left out.
        inside = cKDTree(points[indices]).query(places)[0] <= distances + TIE
        distances = distances[inside]
    return _angle(distances.max())


def _variation(areas: NDArray[np.float64]) -> float:
    return float(areas.std() / areas.mean())


def _angle(chord: float) -> float:
    """Return the angle in degrees between unit vectors at the distance `chord`."""
    return float(np.degrees(2 * np.arcsin(min(chord / 2, 1.0))))
