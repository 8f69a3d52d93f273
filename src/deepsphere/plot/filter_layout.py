"""Layout of filter plots: grids of panels, titles, and the choice of pixels and ranges."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deepsphere._processors import thread_count
from deepsphere.plot.projection import angles_from, unit_vectors
from deepsphere.plot.sphere_images import center_of, with_minus
from deepsphere.plot.style import COLORS, COLUMN_WIDTH, PAGE_WIDTH, house_style, new_figure
from deepsphere.sampling import Healpix, Sampling

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_lines(
    draw: Callable[[Axes, int, int, dict[str, Any]], None],
    counts: tuple[int, ...],
    labels: tuple[str, str],
    title: str,
) -> Figure:
    """Draw a panel per input channel with a line per filter, on shared axes."""
    channels, filters = counts
    columns = min(channels, 3)
    rows = -(-channels // columns)
    with house_style():
        width = {1: COLUMN_WIDTH + 0.7, 2: 5.5, 3: PAGE_WIDTH}[columns]
        figure = new_figure(width, 1.75 * rows + 0.5 + title_height(title), "constrained")
        first: Axes | None = None
        for i in range(channels):
            axes = figure.add_subplot(rows, columns, i + 1, sharex=first, sharey=first)
            first = first or axes
            axes.axhline(0, color="0.6", linewidth=0.6, zorder=1)
            for f in range(filters):
                draw(axes, i, f, {"color": COLORS[f], "label": f"Filter {f}", "zorder": 2 + f})
            axes.set_title(f"Channel {i}")
            axes.tick_params(labelbottom=i + columns >= channels, labelleft=i % columns == 0)
        figure.supxlabel(labels[0], fontsize=8)
        figure.supylabel(labels[1], fontsize=8)
        fit_title(figure, title)
        handles, names = figure.axes[0].get_legend_handles_labels()
        if filters > 1:
            figure.legend(handles, names, loc="outside right center")
    return figure


def new_grid(
    width: float, height: float, rows: int, columns: int, layout: str
) -> tuple[Figure, Any]:
    """Return a figure and its axes, an array of shape (rows, columns), laid out by `new_figure`."""
    if rows * columns <= 100:
        figure = new_figure(width, height, layout)
        return figure, figure.subplots(rows, columns, squeeze=False)
    # Arranging many panels would take Matplotlib minutes, so set margins in inches.
    figure = new_figure(width, height, "none")
    grid = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left=0.6 / width,
        right=1 - 0.2 / width,
        bottom=0.8 / height,
        top=1 - 0.7 / height,
        wspace=0.1,
        hspace=0.4,
    )
    return figure, grid


def shown(count: int, limit: int, name: str, most: int) -> int:
    """Return the smaller of `count` and `limit`.

    Raises
    ------
    ValueError
        If `limit` is not from 1 to `most`.
    """
    if not 1 <= limit <= most:
        raise ValueError(
            f"{name} must be from 1 to {most} for the figure to be legible; got {limit}"
        )
    return min(count, limit)


def with_counts(title: str, shown: tuple[int, ...], counts: tuple[int, ...]) -> str:
    """Add the numbers of channels and filters shown to `title`, if some are omitted."""
    parts = [
        f"{some} of {every} {what}"
        for some, every, what in zip(shown, counts, ("channels", "filters"), strict=True)
        if some < every
    ]
    return f"{title}\n(the first {' and '.join(parts)})" if parts else title


def require_healpix(sampling: Sampling | None, name: str) -> Healpix:
    """Return the sampling of the layer `name`, which must be HEALPix.

    Raises
    ------
    TypeError
        If the sampling is not HEALPix.
    ValueError
        If the layer has no sampling.
    """
    if sampling is None:
        raise ValueError(
            f"the filters of {name!r} have no shape on the sphere: the layer has no sampling, "
            "only a graph given by a matrix"
        )
    if not isinstance(sampling, Healpix):
        raise TypeError(f"layer {name!r} must be on a HEALPix sampling, got {sampling!r}")
    return sampling


def choose_pixel(sampling: Healpix, center: int | tuple[float, float] | None) -> int:
    """Return the pixel at which filters are shown.

    Parameters
    ----------
    sampling : Healpix
        Full or partial sampling.
    center : int or (float, float) or None
        Position of a pixel, returned unchanged; or longitude and latitude in degrees, for the
        nearest pixel; or None for the pixel on the equator nearest to longitude 0, or for a part
        of the sphere the pixel farthest from its edges.

    Returns
    -------
    int
        Position in ``sampling.points``.

    Raises
    ------
    ValueError
        If `center` is neither a position in `sampling` nor a (longitude, latitude).
    """
    if center is not None:
        place = center_of(sampling, center)
        if isinstance(center, (int, np.integer)):
            return int(center)
        target = unit_vectors(*place)
    elif sampling.is_full:
        # Just short of the first pixel of the equator, to avoid ties.
        target = unit_vectors(0.24 * 180.0 / sampling.nside, 0.0)
    else:
        return _innermost(sampling)
    return int(np.argmax(sampling.points @ target))


def _innermost(sampling: Healpix) -> int:
    """Return the position of the pixel that is farthest from the edge of a footprint.

    The pixel nearest to the mean of all would be at an edge for a footprint of two patches.
    """
    from astropy_healpix import neighbours

    # Where only three base pixels meet, one of the eight neighbors is missing (-1).
    with np.errstate(invalid="ignore"):
        around = neighbours(sampling.pixels, sampling.nside, order="nested")
    edge = ((around >= 0) & ~np.isin(around, sampling.pixels)).any(axis=0)
    points = sampling.points
    depth = cKDTree(points[edge]).query(points, workers=thread_count())[0]
    deepest = np.flatnonzero(depth > depth.max() - 1e-9)
    return int(deepest[np.argmax(points[deepest] @ points.mean(axis=0))])


def ring_section(sampling: Healpix, position: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the pixels on the parallel through a pixel, from west to east.

    Parameters
    ----------
    sampling : Healpix
        Full or partial sampling.
    position : int
        Position of the pixel in `sampling`.

    Returns
    -------
    ring : ndarray of int, shape (n,)
        Positions of the pixels.
    offsets : ndarray of float64, shape (n,)
        Great-circle distances from the pixel at `position`, in degrees, positive to the east,
        from -180 (excluded) to 180.
    """
    points = sampling.points
    ring = np.flatnonzero(np.abs(points[:, 2] - points[position, 2]) < 1e-9)
    angles = angles_from(points[ring], points[position])
    x, y = points[position, :2]
    east = points[ring, 1] * x - points[ring, 0] * y  # sine of the step in longitude, scaled
    offsets = np.where(east < -1e-12, -angles, angles)  # the opposite point counts as east
    along = np.argsort(offsets)
    return ring[along], offsets[along]


def title_height(title: str) -> float:
    """Return the height of a figure title, in inches."""
    return 0.16 * len(title.split("\n"))


def fit_title(figure: Figure, title: str) -> None:
    """Set the title of a figure, in a smaller font if it would not fit."""
    longest = max(1, *map(len, title.split("\n")))
    # On average a character is 0.62 of the font size wide; below 6 points text is illegible.
    fitting = 72 * figure.get_figwidth() / (0.62 * longest)
    figure.suptitle(title, fontsize=min(9.5, max(fitting, 6.0)))


def place_name(longitude: float, latitude: float) -> str:
    """Format a direction, given in degrees, for a title."""
    latitude = round(latitude, 1) + 0.0  # avoid -0.0
    return with_minus(f"longitude {longitude:.1f}°, latitude {latitude:.1f}°")


def half_width(
    kernels: NDArray[np.floating[Any]],
    sampling: Healpix,
    position: int,
    order: int,
    width_degrees: float | None,
) -> float:
    """Return the angle from the center up to which filters are shown, in degrees.

    It is half of `width_degrees` or, by default, the distance at which any of the `kernels`
    (n, channels, filters) reaches 1 % of their largest value, at least three pixels and at most
    three pixels per order.

    Raises
    ------
    ValueError
        If `width_degrees` is not above 0 and at most 360.
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
