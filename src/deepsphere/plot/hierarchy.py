"""Plot of a sampling's hierarchy, and comparison of its quality with other hierarchies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepsphere._extras import require
from deepsphere.plot.globe import (
    VIEW,
    cell_picture,
    draw_picture,
    globe_pixels,
    new_globe,
    viewing_frame,
)
from deepsphere.plot.style import COLORS, MARKERS, PAGE_WIDTH, house_style, new_figure
from deepsphere.sampling import Sampling, hierarchy_quality
from deepsphere.sampling.quality import LevelQuality

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESOLUTION = 700
"""Pixels across a globe; three globes fill a page at 300 dots per inch."""

PALE = 0.42
"""Share of the house style's colors in cells. The rest is white, to keep points visible."""

TINTS = 7
"""Number of cell colors, one more than a greedy choice needs for planar maps."""

PANELS: dict[str, Callable[[LevelQuality], float | None]] = {
    "Mesh ratio": lambda one: one.mesh_ratio,
    "Mesh ratio among the points": lambda one: one.child_ratio,
    "Farthest child / spacing": lambda one: one.reach,
    "Variation of areas": lambda one: one.part_variation if one.level else one.area_variation,
    "Children": lambda one: one.children and one.children[1],
}
"""Panel titles, and functions that return the plotted value of a `LevelQuality`."""


def plot_hierarchy(
    samplings: Mapping[str, Sampling],
    levels: int = 3,
    *,
    view: tuple[float, float] = VIEW,
) -> Figure:
    """Plot the hierarchy of a sampling, and compare its quality with other samplings.

    Parameters
    ----------
    samplings : mapping of str to Sampling
        From 1 to 8 samplings, by their names in the legend. Globes show the first one.
    levels : int, default 3
        Number of coarser levels, from 1 to 4.
    view : (float, float), default (25, 40)
        Longitude and latitude of the center of the globes, in degrees.

    Returns
    -------
    matplotlib.figure.Figure
        The upper row has a globe for each coarser level, with its points as black dots and the
        points of the next finer level as small dots. The cells of the finer points have the color
        of the point to which they, or most of them, belong. The lower panels show the measures of
        `deepsphere.sampling.hierarchy_quality` against the level: mesh ratios of the sphere and of
        the points, largest distance of a child to its parent, variation of areas, and number of
        children (median and range).

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError
        If a value of `samplings` is not a `Sampling`.
    ValueError
        If there are no samplings or more than 8, `levels` is not from 1 to 4, or a sampling has
        fewer levels.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix, RandomUniform
    >>> samplings = {"random": RandomUniform(600), "HEALPix": Healpix(8)}
    >>> figure = plot_hierarchy(samplings, levels=2)  # doctest: +SKIP
    """
    if not 1 <= len(samplings) <= len(COLORS):
        raise ValueError(
            f"samplings must contain 1 to {len(COLORS)} samplings, got {len(samplings)}"
        )
    if not 1 <= levels <= 4:
        raise ValueError(f"levels must be from 1 to 4 for globes to be legible, got {levels}")
    measured = {name: hierarchy_quality(sampling, levels) for name, sampling in samplings.items()}
    with house_style():
        globe = PAGE_WIDTH / max(levels, 3)
        figure = new_figure(PAGE_WIDTH, globe + 3.8, "constrained")
        figure.set_layout_engine("constrained", w_pad=0.08)  # keeps numbers off the edge
        halves: Any = figure.subfigures(2, 1, height_ratios=[globe + 0.4, 3.4])
        above, below = halves
        globes = above.subplots(1, levels, squeeze=False)[0]
        name, sampling = next(iter(samplings.items()))
        _draw_globes(globes, name, sampling, view)
        grid = below.subplots(2, 3, sharex=True)
        for axes, title in zip([*grid[0, :2], *grid[1]], PANELS, strict=True):
            _draw_panel(axes, title, measured)
        for axes in grid[1]:
            axes.set_xlabel("Level")
        handles, names = grid[0, 0].get_legend_handles_labels()
        counts = [f"{name}, {len(samplings[name])} points" for name in names]
        grid[0, 2].legend(handles, counts, loc="center")
        grid[0, 2].set_axis_off()
    return figure


def _draw_globes(
    globes: NDArray[np.object_], name: str, sampling: Sampling, view: tuple[float, float]
) -> None:
    frame = viewing_frame(*view)
    pixels = globe_pixels(frame, RESOLUTION)
    tints = require("matplotlib.colors", "plot").ListedColormap(_tints())
    for level, axes in enumerate(globes, start=1):
        coarse, shares = sampling.coarsen(), sampling.membership()
        parents = np.asarray(shares.argmax(axis=0)).ravel()
        new_globe(axes, pixels)
        picture = cell_picture(sampling, parents.astype(np.float64), pixels)
        picture = _color(picture, len(coarse))
        draw_picture(axes, picture, tints, (-0.5, TINTS - 0.5))
        _draw_points(axes, sampling, frame, 0.2 * 2.0**level, "0.3", 3)
        _draw_points(axes, coarse, frame, 0.5 * 2.6**level, "black", 4)
        title = f"level {level}: {len(coarse)} of {len(sampling)}"
        axes.set_title(f"{name}, {title}" if level == 1 else title)
        sampling = coarse


def _draw_points(
    axes: Axes,
    sampling: Sampling,
    frame: NDArray[np.float64],
    size: float,
    color: str,
    zorder: int,
) -> None:
    x, y, depth = frame @ sampling.points.T
    seen = depth > 0
    axes.scatter(x[seen], y[seen], s=size, color=color, linewidths=0, zorder=zorder)


def _tints() -> list[tuple[float, float, float]]:
    to_rgb = require("matplotlib.colors", "plot").to_rgb
    colors = [np.array(to_rgb(color)) for color in COLORS if color != "#000000"]
    return [tuple(1 - PALE * (1 - color)) for color in colors]


def _color(picture: NDArray[np.float64], parts: int) -> NDArray[np.float64]:
    """Color parts so that parts that touch in an image have different tints.

    Parameters
    ----------
    picture : ndarray of float64, shape (size, size)
        Number of the part at each pixel, or NaN.
    parts : int
        Number of parts.

    Returns
    -------
    ndarray of float64, shape (size, size)
        Tint of each pixel, from 0 to `TINTS` - 1, or NaN. A part whose neighbors have all tints
        shares one of them.
    """
    sides = [(picture[1:], picture[:-1]), (picture[:, 1:], picture[:, :-1])]
    pairs = np.concatenate([np.column_stack((a.ravel(), b.ravel())) for a, b in sides])
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & ~np.isnan(pairs).any(axis=1)].astype(np.int64)
    touching: list[set[int]] = [set() for _ in range(parts)]
    for a, b in np.unique(np.sort(pairs, axis=1), axis=0).tolist():
        touching[a].add(b)
        touching[b].add(a)
    tints = np.full(parts, -1)
    used = np.zeros(TINTS)
    for part in sorted(range(parts), key=lambda one: -len(touching[one])):
        taken = {tints[other] for other in touching[part]}
        free = [tint for tint in range(TINTS) if tint not in taken] or list(range(TINTS))
        tints[part] = min(free, key=lambda tint: used[tint])
        used[tints[part]] += 1
    on = ~np.isnan(picture)
    colored = np.full(picture.shape, np.nan)
    colored[on] = tints[picture[on].astype(np.int64)]
    return colored


def _draw_panel(axes: Axes, title: str, measured: Mapping[str, list[LevelQuality]]) -> None:
    """Draw one measure of all samplings, with equal values side by side."""
    read, bars = PANELS[title], title == "Children"
    for number, (name, qualities) in enumerate(measured.items()):
        values = [(one.level, read(one)) for one in qualities]
        levels, heights = np.array([pair for pair in values if pair[1] is not None]).T
        levels = levels + (number - (len(measured) - 1) / 2) * (0.1 if bars else 0.04)
        color = COLORS[number]
        line: dict[str, Any] = {"color": color, "marker": MARKERS[number], "zorder": 3}
        axes.plot(levels, heights, label=name, linestyle="none" if bars else "-", **line)
        if bars:
            ends = np.array([one.children for one in qualities if one.children is not None])
            axes.vlines(levels, ends[:, 0], ends[:, 2], color=color, linewidth=0.8)
    axes.set_title(title)
    axes.set_xticks(range(len(qualities)))
    axes.grid(True)
    if bars:
        ticker = require("matplotlib.ticker", "plot")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    elif title == "Mesh ratio":
        axes.set_yscale("log")
    else:
        top = axes.get_ylim()[1]
        axes.set_ylim(-0.03 * top, 1.03 * top)  # keeps markers at 0 visible
