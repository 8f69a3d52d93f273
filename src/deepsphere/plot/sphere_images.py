"""Elements of plots of the sphere: images, graticules, color scales and color bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepsphere._extras import require
from deepsphere.plot.image_lookup import look_up
from deepsphere.plot.projection import (
    gnomonic_vectors,
    longitude_latitude,
    meridian,
    parallel,
    plane_to_sphere,
    unit_vectors,
)
from deepsphere.plot.style import BLANK
from deepsphere.sampling import Sampling

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

IMAGE_WIDTH = 1400
"""Pixels across an image of the sphere, one per dot of a page-wide figure at 200 dots per inch."""


def center_of(sampling: Sampling, center: int | tuple[float, float]) -> tuple[float, float]:
    """Return the longitude and latitude in degrees of a vertex, or check a given pair.

    Raises
    ------
    ValueError
        If `center` is neither a position in the sampling nor a finite (longitude, latitude) with
        the latitude from -90 to 90.
    """
    if isinstance(center, (int, np.integer)) and not isinstance(center, bool):
        if not 0 <= center < len(sampling):
            raise ValueError(
                f"center must be a position from 0 to {len(sampling) - 1} in the sampling, or "
                f"(longitude, latitude); got {center}"
            )
        longitude, latitude = longitude_latitude(sampling.points[center])
        return float(longitude), float(latitude)
    pair = np.asarray(center, dtype=np.float64)
    if pair.shape != (2,) or not np.isfinite(pair).all() or abs(pair[1]) > 90:
        raise ValueError(
            "center must be the position of a vertex (an int) or (longitude, latitude) in degrees, "
            f"latitude from -90 to 90; got {center!r}"
        )
    return float(pair[0] % 360.0), float(pair[1])


def gnomonic_values(
    values: NDArray[np.float64],
    sampling: Sampling,
    longitude: float,
    latitude: float,
    width_degrees: float,
    size: int,
) -> np.ma.MaskedArray[Any, np.dtype[np.float64]]:
    """Return the (size, size) image of a tangent plane; row 0 is south, column 0 is west.

    Raises
    ------
    ValueError
        If `width_degrees` is not above 0 and at most 150.
    """
    if not 0 < width_degrees <= 150:
        raise ValueError(f"width_degrees must be above 0 and at most 150, got {width_degrees}")
    half = np.tan(np.radians(width_degrees / 2))
    offsets = half * _pixel_centers(size)
    directions = gnomonic_vectors(offsets[None, :], offsets[:, None], longitude, latitude)
    return look_up(values, sampling, directions)


def draw_gnomonic(
    axes: Axes,
    seen: np.ma.MaskedArray[Any, np.dtype[np.float64]],
    width_degrees: float,
    cmap: str,
    limits: tuple[float, float],
    astronomical: bool = True,
) -> AxesImage:
    """Draw an image from `gnomonic_values`, with ticks at round angles from the center."""
    half = float(np.tan(np.radians(width_degrees / 2)))
    axes.set_facecolor(BLANK)
    image = axes.imshow(
        seen,
        cmap=cmap,
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        extent=(-half, half, -half, half),
    )
    locator = require("matplotlib.ticker", "plot").MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10])
    angles = locator.tick_values(-width_degrees / 2, width_degrees / 2)
    angles = angles[np.abs(angles) <= width_degrees / 2]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(np.tan(np.radians(angles)), [with_minus(f"{angle:g}") for angle in angles])
    for spine in axes.spines.values():
        spine.set_visible(True)
    if astronomical:
        axes.invert_xaxis()
    return image


def color_limits(
    arrays: Sequence[NDArray[np.float64]], limits: tuple[float, float] | None
) -> tuple[float, float]:
    """Return checked limits of a color scale, by default the extremes of all values.

    Raises
    ------
    ValueError
        If `limits` are not finite or not increasing.
    """
    if limits is None:
        low = min(float(np.nanmin(array)) for array in arrays)
        high = max(float(np.nanmax(array)) for array in arrays)
        return (low, high) if high > low else (low - 0.5, high + 0.5)
    low, high = (float(limit) for limit in limits)
    if not (low < high and np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"limits must be finite (low, high) with low < high, got {limits!r}")
    return low, high


def with_minus(text: str) -> str:
    """Replace hyphens in `text` by minus signs, as in Matplotlib's own labels."""
    return text.replace("-", "\N{MINUS SIGN}")


def _pixel_centers(size: int) -> NDArray[np.float64]:
    return (2 * np.arange(size) + 1) / size - 1


def draw_sphere(
    axes: Axes,
    values: NDArray[np.float64],
    sampling: Sampling,
    projection: str,
    cmap: str,
    limits: tuple[float, float],
    center_longitude: float,
    astronomical: bool,
) -> AxesImage:
    """Draw the whole sphere into empty axes, light gray where values are missing."""
    patches = require("matplotlib.patches", "plot")
    x, y = np.meshgrid(2 * _pixel_centers(IMAGE_WIDTH), _pixel_centers(IMAGE_WIDTH // 2))
    if projection == "mollweide":
        # Pixels cut by the outline take the value at the outline, which then clips them.
        radius = np.hypot(x / 2, y)
        rim = (radius > 1) & (radius < 1 + 8 / IMAGE_WIDTH)
        shrink = np.where(rim, radius * (1 + 1e-9), 1.0)
        x, y = x / shrink, y / shrink
        outline = patches.Ellipse((0, 0), 4, 2)
    else:
        outline = patches.Rectangle((-2, -1), 4, 2)
    outline.set(facecolor=BLANK, edgecolor="none", zorder=0)
    axes.add_patch(outline)
    directions = unit_vectors(*plane_to_sphere(x, y, projection, center_longitude))
    image = axes.imshow(
        look_up(values, sampling, directions),
        cmap=cmap,
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        extent=(-2, 2, -1, 1),
        zorder=1,
    )
    image.set_clip_path(outline)
    frame = outline.__class__(
        *(((0, 0), 4, 2) if projection == "mollweide" else ((-2, -1), 4, 2)),
        facecolor="none",
        edgecolor="0.2",
        linewidth=0.8,
        zorder=3,
        clip_on=False,
    )
    axes.add_patch(frame)
    axes.set(xlim=(-2, 2), ylim=(-1, 1))
    if astronomical:
        axes.invert_xaxis()
    axes.set_axis_off()
    return image


def draw_graticule(
    axes: Axes, projection: str, center_longitude: float, astronomical: bool, labels: bool
) -> None:
    """Draw parallels every 30 and meridians every 60 degrees over an image by `draw_sphere`."""
    line: dict[str, Any] = {"color": "black", "alpha": 0.25, "linewidth": 0.4, "zorder": 2}
    outline = require("matplotlib.patheffects", "plot").withStroke(linewidth=1.5, foreground="w")
    for latitude in (-60, -30, 0, 30, 60):
        x, y = parallel(latitude, projection)
        axes.plot(x, y, **line)
        if labels:
            left = x[1] if astronomical else x[0]
            gap = (-5, 2 * np.sign(latitude))
            axes.annotate(
                with_minus(f"{latitude:+d}°" if latitude else "0°"),
                (left, y[0]),
                xytext=gap,
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=7,
                annotation_clip=False,
            )
    first = np.ceil((center_longitude - 180) / 60) * 60
    for longitude in np.arange(first, center_longitude + 180, 60):
        offset = longitude - center_longitude
        if abs(offset) == 180:
            continue  # the outline is already drawn
        x, y = meridian(offset, projection)
        axes.plot(x, y, **line)
        if labels and abs(offset) < 170:
            axes.annotate(
                f"{longitude % 360:.0f}°",
                (offset / 90, 0),
                xytext=(2, 2),
                textcoords="offset points",
                ha="left",
                va="bottom",
                fontsize=6,
                path_effects=[outline],
            )


def add_colorbar(
    figure: Figure,
    image: AxesImage,
    axes: Sequence[Axes],
    arrays: Sequence[NDArray[np.float64]],
    unit: str | None,
    shrink: float = 1.0,
    vertical: bool = False,
) -> None:
    """Add one color bar for all `axes`, with arrows at its ends if values lie beyond them."""
    low, high = image.get_clim()
    below = any(np.nanmin(array) < low for array in arrays)
    above = any(np.nanmax(array) > high for array in arrays)
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above))
    bar = figure.colorbar(
        image,
        ax=list(axes),
        orientation="vertical" if vertical else "horizontal",
        shrink=shrink,
        aspect=20 if vertical else 35,
        pad=0.03,
        extend=extend or "neither",
    )
    bar.outline.set_linewidth(0.5)
    if unit:
        bar.set_label(unit)
