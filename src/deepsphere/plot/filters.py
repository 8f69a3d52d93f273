"""Plots of the filters that a graph convolution has learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepsphere._checks import check_count
from deepsphere._extras import require
from deepsphere.analysis.filters import (
    LayerLike,
    filter_coefficients,
    graph_convolutions,
    localize,
    response_of,
)
from deepsphere.plot.filter_close_ups import draw_close_ups
from deepsphere.plot.filter_layout import (
    choose_pixel,
    draw_lines,
    half_width,
    place_name,
    require_healpix,
    ring_section,
    shown,
    with_counts,
)
from deepsphere.plot.sphere_images import center_of
from deepsphere.plot.style import COLORS, MARKERS

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from deepsphere.layers import GraphConv


def plot_filter_coefficients(
    layer: LayerLike,
    *,
    model: keras.Model | None = None,
    max_channels: int = 6,
    max_filters: int = 6,
) -> Figure:
    """Plot the coefficients of a layer's filters against the polynomial degree.

    Parameters
    ----------
    layer : keras.layers.Layer, str or int
        A built graph convolution, or its name or index in `model`; see
        `deepsphere.analysis.filters.graph_convolution`.
    model : keras.Model, optional
        Model in which a name or index is looked up.
    max_channels : int, default 6
        Maximum number of input channels to show, one per panel; at most 24. The title gives the
        total number.
    max_filters : int, default 6
        Maximum number of filters to show, one per line; at most 8, the number of colors.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with one panel per input channel.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError, ValueError
        As in `deepsphere.analysis.filters.graph_convolution`; ValueError also if `max_channels` or
        `max_filters` is out of range.
    """
    name, _, coefficients, counts = _shown(layer, model, max_channels, max_filters)
    degrees = np.arange(len(coefficients))

    def draw(axes: Axes, channel: int, f: int, style: dict[str, Any]) -> None:
        axes.plot(degrees, coefficients[:, channel, f], marker=MARKERS[f], **style)
        axes.xaxis.set_major_locator(
            require("matplotlib.ticker", "plot").MaxNLocator(integer=True, nbins=6)
        )

    return draw_lines(
        draw,
        coefficients.shape[1:],
        ("Polynomial degree k", "Coefficient"),
        with_counts(f"Filter coefficients of {name}", coefficients.shape[1:], counts),
    )


def plot_filter_responses(
    layer: LayerLike,
    *,
    model: keras.Model | None = None,
    max_channels: int = 6,
    max_filters: int = 6,
    points: int = 200,
) -> Figure:
    """Plot the spectral response of a layer's filters: their factor at each graph frequency.

    Parameters
    ----------
    layer, model
        As in `plot_filter_coefficients`.
    max_channels, max_filters : int, default 6
        As in `plot_filter_coefficients`.
    points : int, default 200
        Number of eigenvalues at which the response is drawn, at least 2. They are evenly spaced
        from 0 to the largest eigenvalue of the Laplacian.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with one panel per input channel. The abscissa is the eigenvalue of the Laplacian:
        0 is the smoothest mode, and small values are large scales on the sphere.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError, ValueError
        As in `plot_filter_coefficients`; also if `points` is not an integer of at least 2.
    """
    points = check_count(points, "points", 2)
    name, conv, coefficients, counts = _shown(layer, model, max_channels, max_filters)
    eigenvalues = np.linspace(0.0, conv.spectral_bound, points)
    response = response_of(coefficients, conv, eigenvalues)

    def draw(axes: Axes, channel: int, f: int, style: dict[str, Any]) -> None:
        spots = (f * points // 60, max(1, points // 8))  # offset the markers of different lines
        axes.plot(eigenvalues, response[:, channel, f], marker=MARKERS[f], markevery=spots, **style)
        axes.set_xlim(0, eigenvalues[-1])

    return draw_lines(
        draw,
        response.shape[1:],
        ("Laplacian eigenvalue λ", "Filter response"),
        with_counts(f"Spectral response of {name}", response.shape[1:], counts),
    )


def plot_filter_sections(
    layer: LayerLike,
    *,
    model: keras.Model | None = None,
    center: int | tuple[float, float] | None = None,
    width_degrees: float | None = None,
    max_channels: int = 6,
    max_filters: int = 6,
) -> Figure:
    """Plot sections through a layer's filters on the sphere.

    Each filter is applied to a unit impulse at one pixel. The section follows the parallel through
    that pixel, over the pixels with centers on it (a HEALPix ring), without interpolation.

    Parameters
    ----------
    layer, model
        As in `plot_filter_coefficients`; on a full or partial HEALPix sampling.
    center : int or (float, float), optional
        Location of the impulse: the position of a pixel in the layer's sampling, or longitude and
        latitude in degrees, for the nearest pixel. Default: the pixel nearest to longitude 0 on
        the equator, or for a part of the sphere the pixel farthest from its edges.
    width_degrees : float, optional
        Angle spanned by the abscissa, above 0 and at most 360. Default: the range in which the
        filters reach 1 % of their largest value, at most six pixels per polynomial degree.
    max_channels, max_filters : int, default 6
        As in `plot_filter_coefficients`.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with one panel per input channel. Distances are in degrees along great circles,
        positive to the east.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError
        As in `plot_filter_coefficients`, or if the layer's sampling is not HEALPix.
    ValueError
        As in `plot_filter_coefficients`, or if the layer has no sampling, or `center` or
        `width_degrees` is out of range.
    """
    name, conv, coefficients, counts = _shown(layer, model, max_channels, max_filters)
    sampling = require_healpix(conv.sampling, name)
    position = choose_pixel(sampling, center)
    kernels = localize(coefficients, conv, position)
    ring, offsets = ring_section(sampling, position)
    half = half_width(kernels, sampling, position, len(coefficients) - 1, width_degrees)

    def draw(axes: Axes, channel: int, f: int, style: dict[str, Any]) -> None:
        axes.plot(offsets, kernels[ring, channel, f], marker=MARKERS[f], **style)
        axes.set_xlim(-half, half)

    place = place_name(*center_of(sampling, position))
    return draw_lines(
        draw,
        kernels.shape[1:],
        ("Angular distance to the east (deg)", "Filter value"),
        with_counts(f"Sections of the filters of {name}\nat {place}", kernels.shape[1:], counts),
    )


def plot_filter_gnomonic(
    layer: LayerLike,
    *,
    model: keras.Model | None = None,
    center: int | tuple[float, float] | None = None,
    width_degrees: float | None = None,
    max_channels: int = 5,
    max_filters: int = 6,
    shared_scale: bool = True,
    gamma: float = 0.5,
) -> Figure:
    """Plot a layer's filters on the sphere, projected onto a tangent plane.

    Parameters
    ----------
    layer, model
        As in `plot_filter_coefficients`; on a full or partial HEALPix sampling.
    center, width_degrees
        As in `plot_filter_sections`, but at most 150 degrees wide.
    max_channels : int, default 5
        Maximum number of input channels to show, one per row; at most 12.
    max_filters : int, default 6
        Maximum number of filters to show, one per column; at most 12.
    shared_scale : bool, default True
        Whether all panels share one color scale, with a color bar. Otherwise the scale of each
        panel extends to plus and minus its largest absolute value, which is written in the panel.
    gamma : float, default 0.5
        Exponent of the color scale, above 0 and at most 1: color depth grows as
        ``abs(value)**gamma``. The default, a square root, reveals the faint surroundings of a
        filter next to its strong center; 1 is a linear scale.

    Returns
    -------
    matplotlib.figure.Figure
        A grid of close-ups with east to the left. White is zero; light gray is outside the
        sampling. The title gives the number of omitted channels and filters.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError, ValueError
        As in `plot_filter_sections`; ValueError also if `gamma` is out of range.
    """
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must be above 0 and at most 1, got {gamma}")
    name, conv, coefficients, counts = _shown(layer, model, max_channels, max_filters, (12, 12))
    sampling = require_healpix(conv.sampling, name)
    position = choose_pixel(sampling, center)
    kernels = localize(coefficients, conv, position)
    half = half_width(kernels, sampling, position, len(coefficients) - 1, width_degrees)
    rows = coefficients.shape[1]

    def label(axes: Axes, channel: int, f: int) -> None:
        if channel == 0:
            axes.set_title(f"Filter {f}")
        if channel == rows - 1:
            axes.set_xlabel("East (deg)")
        if f == 0:
            axes.set_ylabel(f"Channel {channel}\nNorth (deg)")

    place = place_name(*center_of(sampling, position))
    title = with_counts(f"Filters of {name}\nat {place}", coefficients.shape[1:], counts)
    return draw_close_ups(
        kernels, sampling, position, 2 * half, title, label, shared_scale=shared_scale, gamma=gamma
    )


def _shown(
    layer: LayerLike,
    model: keras.layers.Layer | None,
    max_channels: int,
    max_filters: int,
    most: tuple[int, int] = (24, len(COLORS)),
) -> tuple[str, GraphConv, NDArray[np.float64], tuple[int, ...]]:
    """Return a graph convolution and the coefficients to show.

    The result is its name, the layer, the coefficients of its first channels and filters, and its
    numbers of channels and filters.
    """
    name, conv = next(iter(graph_convolutions(layer, model).items()))
    coefficients = filter_coefficients(conv)
    counts = coefficients.shape[1:]
    channels = shown(counts[0], max_channels, "max_channels", most[0])
    filters = shown(counts[1], max_filters, "max_filters", most[1])
    return name, conv, coefficients[:, :channels, :filters], counts
