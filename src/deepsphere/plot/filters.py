"""Four views of the filters that a graph convolution has learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deepsphere.analysis.filters import (
    LayerLike,
    filter_coefficients,
    graph_convolutions,
    localize,
    response_of,
)
from deepsphere.extras import require
from deepsphere.plot.close_ups import draw_close_ups
from deepsphere.plot.drawing import center_of
from deepsphere.plot.panels import (
    choose_pixel,
    draw_lines,
    half_width,
    place_name,
    require_healpix,
    ring_section,
    shown,
    with_counts,
)
from deepsphere.plot.style import COLORS, MARKERS

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from deepsphere.layers import GraphConv


def plot_coefficients(
    layer: LayerLike,
    *,
    model: keras.Model | None = None,
    max_channels: int = 6,
    max_filters: int = 6,
) -> Figure:
    """Draw the coefficients of a layer's filters against the degree of the polynomial.

    Parameters
    ----------
    layer, model
        A built graph convolution: the object, or its name or index in `model`; see
        `deepsphere.analysis.filters.graph_convolution`.
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
    TypeError, ValueError
        If there is no such graph convolution, it is not built, or a limit is out of range.
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


def plot_spectral(
    layer: LayerLike,
    *,
    model: keras.Model | None = None,
    max_channels: int = 6,
    max_filters: int = 6,
    points: int = 200,
) -> Figure:
    """Draw the spectral response of a layer's filters: the factor on each graph frequency.

    Parameters
    ----------
    layer, model
        As for `plot_coefficients`.
    max_channels, max_filters : int, default 6
        As for `plot_coefficients`.
    points : int, default 200
        Number of eigenvalues, evenly spaced from 0 to the largest one of the Laplacian, at which
        the response is drawn.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per input channel. The abscissa is the eigenvalue of the Laplacian: 0 is the
        smoothest mode, small values are large scales on the sphere.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If there is no such graph convolution, it is not built, or a limit is out of range.
    """
    if points < 2:
        raise ValueError(f"points must be 2 or more, got {points}")
    name, conv, coefficients, counts = _shown(layer, model, max_channels, max_filters)
    eigenvalues = np.linspace(0.0, conv.spectral_bound, points)
    response = response_of(coefficients, conv, eigenvalues)

    def draw(axes: Axes, channel: int, f: int, style: dict[str, Any]) -> None:
        spots = (f * points // 60, max(1, points // 8))  # markers of two lines do not coincide
        axes.plot(eigenvalues, response[:, channel, f], marker=MARKERS[f], markevery=spots, **style)
        axes.set_xlim(0, eigenvalues[-1])

    return draw_lines(
        draw,
        response.shape[1:],
        ("Laplacian eigenvalue λ", "Filter response"),
        with_counts(f"Spectral response of {name}", response.shape[1:], counts),
    )


def plot_sections(
    layer: LayerLike,
    *,
    model: keras.Model | None = None,
    center: int | tuple[float, float] | None = None,
    width_degrees: float | None = None,
    max_channels: int = 6,
    max_filters: int = 6,
) -> Figure:
    """Draw a cut through each filter as it lies on the sphere.

    The filter is applied to a unit impulse at one pixel; the section runs along the parallel
    through that pixel, over the pixels whose centers lie on it (HEALPix rings), so nothing is
    interpolated.

    Parameters
    ----------
    layer, model
        As for `plot_coefficients`; on a HEALPix sampling, full or partial.
    center : int or (float, float), optional
        Where the impulse lies: the position of a pixel in the layer's sampling, or longitude and
        latitude in degrees, of which the nearest pixel is taken. Default: the sampled pixel
        nearest to longitude 0 on the equator, or for a part of the sphere the one farthest from
        its edges.
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
    TypeError, ValueError
        If there is no such graph convolution, it is not built, it does not lie on a HEALPix
        sampling, or an argument is out of range.
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


def plot_gnomonic_filters(
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
    """Draw the filters as they lie on the sphere, seen on a tangent plane.

    Parameters
    ----------
    layer, model
        As for `plot_coefficients`; on a HEALPix sampling, full or partial.
    center, width_degrees
        As for `plot_sections`; at most 150 degrees, as for `plot_gnomonic`.
    max_channels : int, default 5
        Most input channels shown, one row each.
    max_filters : int, default 6
        Most filters shown, one column each.
    shared_scale : bool, default True
        Whether all panels share one color scale, with a color bar. False: each panel has its
        own, from minus to plus its largest absolute value, which is written in the panel.
    gamma : float, default 0.5
        Depth of color grows as ``abs(value)**gamma``. The default, a square root, lets the faint
        surroundings of a filter be seen beside its strong center; 1 is a linear scale.

    Returns
    -------
    matplotlib.figure.Figure
        A grid of close-ups with east to the left; white is zero, light gray is outside the
        sampling. The title says how many channels and filters are left out.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If there is no such graph convolution, it is not built, it does not lie on a HEALPix
        sampling, or an argument is out of range.
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
    """Find a graph convolution, and the coefficients of the first of its channels and filters.

    Returns its name, itself, those coefficients, and how many channels and filters it has.
    """
    name, conv = next(iter(graph_convolutions(layer, model).items()))
    coefficients = filter_coefficients(conv)
    counts = coefficients.shape[1:]
    channels = shown(counts[0], max_channels, "max_channels", most[0])
    filters = shown(counts[1], max_filters, "max_filters", most[1])
    return name, conv, coefficients[:, :channels, :filters], counts
