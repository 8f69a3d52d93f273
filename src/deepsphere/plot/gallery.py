"""A gallery of samplings, with points and edges, areas, a map, and the pooled map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepsphere._extras import require
from deepsphere.graph import GraphLike, edge_weights
from deepsphere.plot.globe import (
    VIEW,
    cell_picture,
    draw_picture,
    globe_pixels,
    new_globe,
    viewing_frame,
)
from deepsphere.plot.style import COLORS, DIVERGING, PAGE_WIDTH, house_style, new_figure
from deepsphere.sampling import Sampling
from deepsphere.sampling.resampling import pooling_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESOLUTION = 300
"""Pixels across a globe, more than a printer resolves at this size."""

WAVES = 6.0
"""Wave number of the map: structures of 60 degrees, which pooled maps of 100 points resolve."""

WIDEST = 2.0
"""The color scale of areas extends from the mean divided by this factor to the mean times it."""

COLUMNS = ("points and edges", "areas / mean", "a smooth map", "pooled by area")


def smooth_field(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the map of the gallery, the sum of five plane waves with wave number `WAVES`.

    Parameters
    ----------
    points : ndarray of float64, shape (n, 3)
        Unit vectors.

    Returns
    -------
    ndarray of float64, shape (n,)
        Values between -5 and 5.
    """
    rng = np.random.default_rng(3)
    directions = rng.standard_normal((5, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.cos(WAVES * points @ directions.T + rng.uniform(0, 2 * np.pi, 5)).sum(axis=1)


def plot_sampling_gallery(
    samplings: Sequence[Sampling] | Mapping[str, Sampling],
    graph: GraphLike = 8,
    *,
    view: tuple[float, float] = VIEW,
) -> Figure:
    """Plot samplings as rows of globes.

    Parameters
    ----------
    samplings : sequence of Sampling, or mapping of str to Sampling
        Samplings of a few hundred points each; with more, points and edges merge. A mapping gives
        the names of the rows, which default to the class names.
    graph : Graph, int or str, default 8
        Edges to draw, see `deepsphere.Graph`. Few edges are easier to distinguish.
    view : (float, float), default (25, 40)
        Longitude and latitude of the center of the globes, in degrees.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with a row for each sampling. The columns show points and edges; areas divided by
        their mean; a smooth map, the same for all samplings (`smooth_field`), with each cell in
        the color of its point; and the area-weighted means of the map on the next coarser level.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    ValueError
        If `samplings` is empty, or one has no coarser level.

    Examples
    --------
    >>> from deepsphere.sampling import Fibonacci, Healpix
    >>> figure = plot_sampling_gallery([Healpix(4), Fibonacci(200)])  # doctest: +SKIP
    """
    if not isinstance(samplings, Mapping):
        samplings = {
            _name(sampling, i, samplings): sampling for i, sampling in enumerate(samplings)
        }
    if not samplings:
        raise ValueError("samplings must contain at least one sampling, got none")
    frame = viewing_frame(*view)
    pixels = globe_pixels(frame, RESOLUTION)
    with house_style():
        rows = len(samplings)
        figure = new_figure(0.86 * PAGE_WIDTH, 1.42 * rows + 0.7)
        axes = figure.subplots(rows, len(COLUMNS), squeeze=False)
        for row, (name, sampling) in zip(axes, samplings.items(), strict=True):
            areas, values = _draw_row(row, sampling, graph, frame, pixels)
            row[0].text(
                -0.1, 0.5, f"{name}\n{len(sampling)} points", rotation=90, ha="center",
                va="center", multialignment="center", transform=row[0].transAxes,
            )  # fmt: skip
        for column, title in zip(axes[0], COLUMNS, strict=True):
            column.set_title(title)
        bars: dict[str, Any] = {"location": "bottom", "pad": 0.01}
        of_areas: dict[str, Any] = {"ticks": [-1, 0, 1], "extend": "both", "format": _ratio}
        figure.colorbar(areas, ax=axes[:, 1], shrink=0.85, aspect=18, **bars, **of_areas)
        figure.colorbar(values, ax=axes[:, 2:], shrink=0.5, aspect=22, ticks=[-4, 0, 4], **bars)
    return figure


def _name(sampling: Sampling, number: int, samplings: Sequence[Sampling]) -> str:
    name = type(sampling).__name__
    several = sum(type(other).__name__ == name for other in samplings) > 1
    return f"{name} {number + 1}" if several else name


def _ratio(value: float, _: Any = None) -> str:
    """Format a tick of the color bar of areas, whose values are logarithms."""
    return {-1: f"1/{WIDEST:g}", 0: "1", 1: f"{WIDEST:g}"}[round(value)]


def _draw_row(
    row: Sequence[Axes],
    sampling: Sampling,
    graph: GraphLike,
    frame: NDArray[np.float64],
    pixels: NDArray[np.float64],
) -> tuple[Any, Any]:
    """Draw the row of one sampling and return the images for the color bars."""
    for axes in row:
        new_globe(axes, None if axes is row[0] else pixels)
    _draw_edges(row[0], sampling, graph, frame)
    ratio = np.log(sampling.areas / sampling.areas.mean()) / np.log(WIDEST)
    field = smooth_field(sampling.points)
    pooled = pooling_matrix(sampling, weighted=True) @ field
    drawn = []
    for axes, cells, shown, limit in (
        (row[1], sampling, ratio, 1.0),
        (row[2], sampling, field, 4.0),
        (row[3], sampling.coarsen(), pooled, 4.0),
    ):
        picture = cell_picture(cells, shown, pixels)
        drawn.append(draw_picture(axes, picture, DIVERGING, (-limit, limit)))
    return drawn[0], drawn[1]


def _draw_edges(
    axes: Axes, sampling: Sampling, graph: GraphLike, frame: NDArray[np.float64]
) -> None:
    x, y, depth = frame @ sampling.points.T
    seen = depth > 0
    edges = edge_weights(sampling, graph).tocoo()
    start, end = edges.coords
    kept = (start < end) & seen[start] & seen[end]
    places = np.stack([x, y], axis=1)
    lines = require("matplotlib.collections", "plot").LineCollection(
        np.stack([places[start[kept]], places[end[kept]]], axis=1),
        colors="0.55", linewidths=0.3,
    )  # fmt: skip
    axes.add_collection(lines)
    axes.scatter(x[seen], y[seen], s=2.2, color=COLORS[0], linewidths=0, zorder=3)
