"""Grids of close-ups of filters, with one panel for each pair of channel and filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepsphere._extras import require
from deepsphere.plot.filter_layout import fit_title, new_grid, title_height
from deepsphere.plot.projection import gnomonic_plane, unit_vectors
from deepsphere.plot.sphere_images import center_of, draw_gnomonic, gnomonic_values
from deepsphere.plot.style import COLUMN_WIDTH, DIVERGING, PAGE_WIDTH, house_style
from deepsphere.sampling import Healpix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 45.0, 90.0)
"""Possible spacings of the graticule, in degrees."""


def draw_close_ups(
    kernels: NDArray[np.float64],
    sampling: Healpix,
    position: int,
    width_degrees: float,
    title: str,
    label: Callable[[Axes, int, int], None],
    *,
    shared_scale: bool = True,
    gamma: float = 0.5,
    graticule: bool = False,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw filters around a pixel, on tangent planes with symmetric color scales.

    Parameters
    ----------
    kernels : ndarray, shape (pixels, channels, filters)
        Values of the filters.
    sampling : Healpix
        Sampling of the values.
    position : int
        Position of the central pixel in `sampling`.
    width_degrees : float
        Angle across each panel.
    title : str
        Title of the figure.
    label : callable
        ``label(axes, channel, filter)`` labels each panel.
    shared_scale, gamma
        As in `deepsphere.plot.plot_filter_gnomonic`.
    graticule : bool, default False
        Whether to draw parallels and meridians, at round angles.
    figsize : (float, float), optional
        Width and height in inches. Default: at most as wide as a journal page, unless there are
        so many filters that they would be narrower than 0.5 inch.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each channel and a column for each filter.
    """
    rows, columns = kernels.shape[1:]
    longitude, latitude = center_of(sampling, position)
    peak = float(np.abs(kernels).max()) or 1.0
    norm = require("matplotlib.colors", "plot").FuncNorm
    stroke = require("matplotlib.patheffects", "plot").withStroke(linewidth=1.5, foreground="w")
    size = 300 if rows * columns <= 64 else 100  # dots per panel side
    with house_style():
        side = max(min(1.5, (PAGE_WIDTH - 1.6) / columns), 0.5)
        width = max(columns * side + (1.55 if shared_scale else 0.8), COLUMN_WIDTH)
        height = rows * (side + 0.05) + 0.6 + title_height(title)
        width, height = figsize or (width, height)
        figure, grid = new_grid(width, height, rows, columns, "compressed")
        for i, j in np.ndindex(rows, columns):
            axes: Axes = grid[i, j]
            kernel = kernels[:, i, j]
            limit = peak if shared_scale else float(np.abs(kernel).max()) or 1.0
            seen = gnomonic_values(kernel, sampling, longitude, latitude, width_degrees, size)
            image = draw_gnomonic(axes, seen, width_degrees, DIVERGING, (-limit, limit))
            image.set_norm(norm(signed_power(gamma), vmin=-limit, vmax=limit))
            axes.tick_params(labelbottom=i == rows - 1, labelleft=j == 0)
            if graticule:
                _draw_lines(axes, longitude, latitude, width_degrees)
            label(axes, i, j)
            if not shared_scale:
                text = axes.text(0.04, 0.04, f"±{limit:.2g}", transform=axes.transAxes, fontsize=6)
                text.set_path_effects([stroke])
        fit_title(figure, title)
        if shared_scale:
            share = min(0.15, 1.2 / width)
            bar = figure.colorbar(image, ax=grid, fraction=share, pad=0.02, aspect=12 * rows)
            bar.set_label("Filter value")
            bar.set_ticks(round_ticks(peak, gamma))
            bar.minorticks_off()
    return figure


def _draw_lines(axes: Axes, longitude: float, latitude: float, width_degrees: float) -> None:
    """Draw parallels and meridians over an image by `draw_gnomonic`."""
    line: dict[str, Any] = {"color": "black", "alpha": 0.35, "linewidth": 0.4, "zorder": 2}
    reach = 0.75 * width_degrees  # to the corners
    narrowing = np.cos(np.radians(min(abs(latitude) + reach, 89.0)))
    span = min(reach / narrowing, 180.0)
    axes.autoscale(False)
    along = np.linspace(-1, 1, 181)
    for parallel in _round_angles(latitude, reach, width_degrees / 4):
        if abs(parallel) < 90:
            vectors = unit_vectors(longitude + span * along, parallel)
            axes.plot(*gnomonic_plane(vectors, longitude, latitude), **line)
    middle = max(np.cos(np.radians(latitude)), 0.1)
    for meridian in _round_angles(longitude, span, width_degrees / 4 / middle):
        vectors = unit_vectors(meridian, np.clip(latitude + reach * along, -90, 90))
        axes.plot(*gnomonic_plane(vectors, longitude, latitude), **line)


def _round_angles(middle: float, reach: float, step: float) -> NDArray[np.float64]:
    """Return multiples of the first of `STEPS` that is at least `step`, within a range."""
    step = next((one for one in STEPS if one >= step), STEPS[-1])
    first, last = np.ceil((middle - reach) / step), np.floor((middle + reach) / step)
    return step * np.arange(first, last + 1)


def signed_power(gamma: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return the function ``sign(x) * abs(x)**gamma`` and its inverse, for a color scale."""

    def forward(x: Any) -> Any:
        return np.sign(x) * np.abs(x) ** gamma

    def inverse(x: Any) -> Any:
        return np.sign(x) * np.abs(x) ** (1 / gamma)

    return forward, inverse


def round_ticks(peak: float, gamma: float) -> list[float]:
    """Choose round values from -peak to peak that are evenly spaced in color."""
    power = 10 ** np.floor(np.log10(peak))
    top = power * max(one for one in (1, 1.5, 2, 3, 4, 5, 6, 8) if one == 1 or one * power <= peak)
    ticks = [float(top)]
    for share in (0.67, 0.33):
        value = top * share ** (1 / gamma)
        digit = 10 ** np.floor(np.log10(value))
        ticks.append(float(np.round(value / digit) * digit))
    return [-tick for tick in ticks] + [0.0] + ticks[::-1]
