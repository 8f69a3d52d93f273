"""Grids of panels for filters: a panel per channel, a line per filter, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepsphere.plot.drawing import center_of, with_minus
from deepsphere.plot.projection import angles_from, unit_vectors
from deepsphere.plot.style import COLOURS, COLUMN_WIDTH, PAGE_WIDTH, house_style, new_figure
from deepsphere.sampling import Healpix, Sampling

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_lines(
    draw: Callable[[Axes, int, int, dict[str, Any]], None],
    counts: tuple[int, ...],
    limits: tuple[int, int],
    labels: tuple[str, str],
    title: str,
) -> Figure:
    """Draw a panel per input channel and in each a line per filter, on shared axes."""
    channels = shown(counts[0], limits[0], "max_channels", 24)
    filters = shown(counts[1], limits[1], "max_filters", len(COLOURS))
    columns = min(channels, 3)
    rows = -(-channels // columns)
    with house_style():
        width = {1: COLUMN_WIDTH + 0.7, 2: 5.5, 3: PAGE_WIDTH}[columns]
        title = with_counts(title, (channels, filters), counts)
        figure = new_figure(width, 1.75 * rows + 0.5 + title_height(title), "constrained")
        first: Axes | None = None
        for i in range(channels):
            axes = figure.add_subplot(rows, columns, i + 1, sharex=first, sharey=first)
            first = first or axes
            axes.axhline(0, color="0.6", linewidth=0.6, zorder=1)
            for f in range(filters):
                draw(axes, i, f, {"color": COLOURS[f], "label": f"Filter {f}", "zorder": 2 + f})
            axes.set_title(f"Channel {i}")
            axes.tick_params(labelbottom=i + columns >= channels, labelleft=i % columns == 0)
        figure.supxlabel(labels[0], fontsize=8)
        figure.supylabel(labels[1], fontsize=8)
        fit_title(figure, title)
        handles, names = figure.axes[0].get_legend_handles_labels()
        if filters > 1:
            figure.legend(handles, names, loc="outside right center")
    return figure


def shown(count: int, limit: int, name: str, most: int) -> int:
    """Return how many of `count` things are drawn, or raise if `limit` is not from 1 to `most`."""
    if not 1 <= limit <= most:
        raise ValueError(
            f"{name} must be from 1 to {most} for the figure to be legible; got {limit}"
        )
    return min(count, limit)


def with_counts(title: str, shown: tuple[int, int], counts: tuple[int, ...]) -> str:
    """Add to `title` how many channels and filters are shown, where some are left out."""
    parts = [
        f"{some} of {every} {what}"
        for some, every, what in zip(shown, counts, ("channels", "filters"), strict=True)
        if some < every
    ]
    return f"{title}\n(the first {' and '.join(parts)})" if parts else title


def choose_pixel(sampling: Sampling, center: int | tuple[float, float] | None) -> int:
    """Choose the pixel at which filters are shown.

    Parameters
    ----------
    sampling : Healpix
        Full or partial.
    center : int or (float, float) or None
        Position of a pixel, returned as it is; or longitude and latitude in degrees, of which the
        nearest pixel is taken; or None for the pixel on the equator nearest to longitude 0, in a
        part of the sphere the pixel nearest to its middle, far from its edges.

    Returns
    -------
    int
        Position in ``sampling.points``.

    Raises
    ------
    TypeError
        If the sampling is not HEALPix.
    ValueError
        If `center` is neither a position nor a direction.
    """
    if not isinstance(sampling, Healpix):
        raise TypeError(f"the layer must lie on a HEALPix sampling, got {sampling!r}")
    if center is not None:
        place = center_of(sampling, center)
        if isinstance(center, (int, np.integer)):
            return int(center)
        target = unit_vectors(*place)
    elif sampling.is_full:
        # Just short of the first pixel of the equator, so that no other is as near.
        target = unit_vectors(0.24 * 180.0 / sampling.nside, 0.0)
    else:
        target = sampling.points.mean(axis=0)
    return int(np.argmax(sampling.points @ target))


def title_height(title: str) -> float:
    """Return the height in inches that a title of a figure takes up."""
    return 0.16 * len(title.split("\n"))


def fit_title(figure: Figure, title: str) -> None:
    """Set the title of a figure, smaller where a long layer name would run over its edges."""
    longest = max(map(len, title.split("\n")))
    # A character is 0.62 of the font size wide on average; below 6 points none could be read.
    fitting = 72 * figure.get_figwidth() / (0.62 * longest)
    figure.suptitle(title, fontsize=min(9.5, max(fitting, 6.0)))


def signed_power(gamma: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return the function ``sign(x) * abs(x)**gamma`` and its inverse, for a colour scale."""

    def forward(x: Any) -> Any:
        return np.sign(x) * np.abs(x) ** gamma

    def inverse(x: Any) -> Any:
        return np.sign(x) * np.abs(x) ** (1 / gamma)

    return forward, inverse


def round_ticks(peak: float, gamma: float) -> list[float]:
    """Choose round values, evenly spread in colour, from -peak to peak."""
    ticks = []
    for share in (1.0, 0.67, 0.33):
        value = peak * share ** (1 / gamma)
        step = 10 ** np.floor(np.log10(value))
        digits = np.floor(value / step) if share == 1.0 else np.round(value / step)
        ticks.append(float(digits * step))
    return [-tick for tick in ticks] + [0.0] + ticks[::-1]


def place_name(longitude: float, latitude: float) -> str:
    """Write a direction, given in degrees, for a title."""
    latitude = round(latitude, 1) + 0.0  # no minus zero
    return with_minus(f"longitude {longitude:.1f}°, latitude {latitude:.1f}°")


def half_width(
    kernels: NDArray[np.floating[Any]],
    sampling: Healpix,
    position: int,
    order: int,
    width_degrees: float | None,
) -> float:
    """Return how far from the centre filters are shown, in degrees.

    Half of `width_degrees`, or else as far as any of the `kernels` (n, channels, filters) reaches
    1 % of their largest value, at least three pixels and at most three for each order.
    """
    if width_degrees is not None:
        if not 0 < width_degrees <= 360:
            raise ValueError(f"width_degrees must be above 0 and at most 360, got {width_degrees}")
        return width_degrees / 2
    points = sampling.points
    pixel = np.degrees(np.sqrt(np.pi / 3) / sampling.nside)
    sizes = np.abs(kernels).max(axis=(1, 2))
    felt = sizes >= 0.01 * sizes.max()
    reach = 1.1 * float(angles_from(points[felt], points[position]).max())
    return float(min(max(reach, 3 * pixel), 3 * max(order, 1) * pixel, 75.0))
