"""Four views of the filters that a graph convolution has learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepsphere.analysis.filters import (
    filter_coefficients,
    filter_response,
    localized_filters,
    spectral_bound,
)
from deepsphere.extras import require
from deepsphere.plot.drawing import center_of, draw_gnomonic, gnomonic_values
from deepsphere.plot.panels import (
    choose_pixel,
    draw_lines,
    fit_title,
    half_width,
    place_name,
    round_ticks,
    shown,
    signed_power,
    title_height,
    with_counts,
)
from deepsphere.plot.projection import angles_from
from deepsphere.plot.style import (
    COLUMN_WIDTH,
    DIVERGING,
    MARKERS,
    PAGE_WIDTH,
    house_style,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_coefficients(layer: Any, *, max_channels: int = 6, max_filters: int = 6) -> Figure:
    """Draw the coefficients of a layer's filters against the degree of the polynomial.

    Parameters
    ----------
    layer : graph convolution layer
        Built; see `deepsphere.analysis.filters.filter_coefficients`.
    max_channels : int, default 6
        Most input channels shown, one panel each; the title says how many there are.
    max_filters : int, default 6
        Most filters shown, one line each; no more than 8 can be told apart.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per input channel.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If a limit is out of range, or the layer is not built.
    """
    coefficients = filter_coefficients(layer)
    degrees = np.arange(len(coefficients))

    def draw(axes: Axes, channel: int, f: int, style: dict[str, Any]) -> None:
        axes.plot(degrees, coefficients[:, channel, f], marker=MARKERS[f], **style)
        axes.xaxis.set_major_locator(
            require("matplotlib.ticker", "plot").MaxNLocator(integer=True, nbins=6)
        )

    return draw_lines(
        draw,
        coefficients.shape[1:],
        (max_channels, max_filters),
        ("Polynomial degree k", "Coefficient"),
        f"Filter coefficients of {layer.name}",
    )


def plot_spectral(
    layer: Any, *, max_channels: int = 6, max_filters: int = 6, points: int = 200
) -> Figure:
    """Draw the spectral response of a layer's filters: the factor on each graph frequency.

    Parameters
    ----------
    layer : graph convolution layer
        Built; see `deepsphere.analysis.filters.filter_response`.
    max_channels, max_filters : int, default 6
        As for `plot_coefficients`.
    points : int, default 200
        Number of eigenvalues, evenly spaced from 0 to the largest one of the Laplacian, at which
        the response is drawn.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per input channel. The abscissa is the eigenvalue of the Laplacian: 0 is the
        constant, small values are large scales on the sphere.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If a limit is out of range, or the layer is not built.
    """
    if points < 2:
        raise ValueError(f"points must be 2 or more, got {points}")
    eigenvalues = np.linspace(0.0, spectral_bound(layer), points)
    response = np.asarray(filter_response(layer, eigenvalues))

    def draw(axes: Axes, channel: int, f: int, style: dict[str, Any]) -> None:
        spots = (f * points // 60, max(1, points // 8))  # markers of two lines do not coincide
        axes.plot(eigenvalues, response[:, channel, f], marker=MARKERS[f], markevery=spots, **style)
        axes.set_xlim(0, eigenvalues[-1])

    return draw_lines(
        draw,
        response.shape[1:],
        (max_channels, max_filters),
        ("Laplacian eigenvalue λ", "Filter response"),
        f"Spectral response of {layer.name}",
    )


def plot_sections(
    layer: Any,
    *,
    center: int | tuple[float, float] | None = None,
    width_degrees: float | None = None,
    max_channels: int = 6,
    max_filters: int = 6,
) -> Figure:
    """Draw a cut through each filter as it lies on the sphere.

    The filter is applied to a unit impulse at one pixel; the section runs along the parallel
    through that pixel, over the pixels whose centres lie on it (HEALPix rings), so nothing is
    interpolated.

    Parameters
    ----------
    layer : graph convolution layer
        Built, on a HEALPix sampling, full or partial; see
        `deepsphere.analysis.filters.localized_filters`.
    center : int or (float, float), optional
        Where the impulse lies: the position of a pixel in the layer's sampling, or longitude and
        latitude in degrees, of which the nearest pixel is taken. Default: the sampled pixel
        nearest to longitude 0 on the equator, or for a part of the sphere nearest to its middle.
    width_degrees : float, optional
        Angle from end to end of the abscissa. Default: where the filters reach 1 % of their
        largest value, and no more than six pixels for each order of the polynomial.
    max_channels, max_filters : int, default 6
        As for `plot_coefficients`.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per input channel. Distances are along great circles, in degrees, positive to
        the east.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If an argument is out of range, or the layer is not built.
    TypeError
        If the layer does not lie on a HEALPix sampling.
    """
    sampling = layer.sampling
    position = choose_pixel(sampling, center)
    kernels = np.asarray(localized_filters(layer, position))
    points = sampling.points
    ring = np.flatnonzero(np.abs(points[:, 2] - points[position, 2]) < 1e-9)
    angles = angles_from(points[ring], points[position])
    x, y = points[position, :2]
    east = points[ring, 1] * x - points[ring, 0] * y  # sine of the step in longitude, scaled
    offsets = np.where(east < -1e-12, -angles, angles)  # the opposite point counts as east
    order = len(filter_coefficients(layer)) - 1
    along = np.argsort(offsets)
    half = half_width(kernels, sampling, position, order, width_degrees)

    def draw(axes: Axes, channel: int, f: int, style: dict[str, Any]) -> None:
        axes.plot(offsets[along], kernels[ring[along], channel, f], marker=MARKERS[f], **style)
        axes.set_xlim(-half, half)

    longitude, latitude = center_of(sampling, position)
    return draw_lines(
        draw,
        kernels.shape[1:],
        (max_channels, max_filters),
        ("Angular distance to the east (deg)", "Filter value"),
        f"Sections of the filters of {layer.name}\nat {place_name(longitude, latitude)}",
    )


def plot_gnomonic_filters(
    layer: Any,
    *,
    center: int | tuple[float, float] | None = None,
    width_degrees: float | None = None,
    max_channels: int = 5,
    max_filters: int = 6,
    shared_scale: bool = True,
    gamma: float = 0.5,
) -> Figure:
    """Draw the filters as they lie on the sphere, seen on a tangent plane.

    Parameters
    ----------
    layer : graph convolution layer
        Built, on a HEALPix sampling, full or partial; see
        `deepsphere.analysis.filters.localized_filters`.
    center, width_degrees
        As for `plot_sections`; at most 150 degrees, as for `plot_gnomonic`.
    max_channels : int, default 5
        Most input channels shown, one row each.
    max_filters : int, default 6
        Most filters shown, one column each.
    shared_scale : bool, default True
        Whether all panels share one colour scale, with a colour bar. False: each panel has its
        own, from minus to plus its largest absolute value, which is written in the panel.
    gamma : float, default 0.5
        Depth of colour grows as ``abs(value)**gamma``. The default, a square root, lets the faint
        surroundings of a filter be seen beside its strong centre; 1 is a linear scale.

    Returns
    -------
    matplotlib.figure.Figure
        A grid of close-ups with east to the left; white is zero, light grey is outside the
        sampling. The title says how many channels and filters are left out.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If an argument is out of range, or the layer is not built.
    TypeError
        If the layer does not lie on a HEALPix sampling.
    """
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must be above 0 and at most 1, got {gamma}")
    sampling = layer.sampling
    position = choose_pixel(sampling, center)
    kernels = np.asarray(localized_filters(layer, position), dtype=np.float64)
    order = len(filter_coefficients(layer)) - 1
    half = half_width(kernels, sampling, position, order, width_degrees)
    rows = shown(kernels.shape[1], max_channels, "max_channels", 12)
    columns = shown(kernels.shape[2], max_filters, "max_filters", 12)
    longitude, latitude = center_of(sampling, position)
    peak = float(np.abs(kernels[:, :rows, :columns]).max()) or 1.0
    title = f"Filters of {layer.name}\nat {place_name(longitude, latitude)}"
    title = with_counts(title, (rows, columns), kernels.shape[1:])
    norm = require("matplotlib.colors", "plot").FuncNorm
    stroke = require("matplotlib.patheffects", "plot").withStroke(linewidth=1.5, foreground="w")
    with house_style():
        side = min(1.5, (PAGE_WIDTH - 1.6) / columns)
        width = max(columns * side + (1.55 if shared_scale else 0.8), COLUMN_WIDTH)
        figure = new_figure(width, rows * (side + 0.05) + 0.6 + title_height(title))
        grid: Any = figure.subplots(rows, columns, squeeze=False)
        for i, j in np.ndindex(rows, columns):
            axes: Axes = grid[i, j]
            kernel = kernels[:, i, j]
            limit = peak if shared_scale else float(np.abs(kernel).max()) or 1.0
            seen = gnomonic_values(kernel, sampling, longitude, latitude, 2 * half, 300)
            image = draw_gnomonic(axes, seen, 2 * half, DIVERGING, (-limit, limit))
            image.set_norm(norm(signed_power(gamma), vmin=-limit, vmax=limit))
            axes.tick_params(labelbottom=i == rows - 1, labelleft=j == 0)
            if i == 0:
                axes.set_title(f"Filter {j}")
            if i == rows - 1:
                axes.set_xlabel("East (deg)")
            if j == 0:
                axes.set_ylabel(f"Channel {i}\nNorth (deg)")
            if not shared_scale:
                label = axes.text(0.04, 0.04, f"±{limit:.2g}", transform=axes.transAxes, fontsize=6)
                label.set_path_effects([stroke])
        fit_title(figure, title)
        if shared_scale:
            bar = figure.colorbar(image, ax=grid, pad=0.02, aspect=12 * rows)
            bar.set_label("Filter value")
            bar.set_ticks(round_ticks(peak, gamma))
            bar.minorticks_off()
    return figure
