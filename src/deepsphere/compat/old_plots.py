"""Plots of filters under their names in deepsphere-cosmo-tf2.

They accept the results of `HealpyGCNN.get_gsp_filters`, or any objects with the same attributes
(see `deepsphere.compat.filters.Filters`). As in the earlier code, the figures belong to pyplot:
notebooks show them, and ``pyplot.close`` closes them. New code should use
`plot_filter_sections` and `plot_filter_gnomonic`, which do not involve pyplot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepsphere.plot.filter_close_ups import draw_close_ups
from deepsphere.plot.filter_layout import (
    choose_pixel,
    fit_title,
    new_grid,
    place_name,
    require_healpix,
    ring_section,
    title_height,
)
from deepsphere.plot.sphere_images import center_of
from deepsphere.plot.style import PAGE_WIDTH, house_style, pyplot_figures
from deepsphere.sampling import Healpix, Sampling

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class FilterBank(Protocol):
    """Filter attributes that the functions of this module use."""

    @property
    def n_filters(self) -> int:
        """Number of filters."""

    @property
    def sampling(self) -> Sampling | None:
        """Sampling of the filters, or None."""

    def localize(self, i: int) -> NDArray[np.float64]:
        """Return the filters' values around pixel `i`, shape (pixels, n_filters)."""


@pyplot_figures()
def plot_filters_gnomonic(
    filters: FilterBank,
    order: int = 10,
    ind: int | None = 0,
    title: str | None = "Filter {}->{}",
    graticule: bool = False,
    *,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Plot filters around a pixel, projected onto a tangent plane.

    Parameters
    ----------
    filters : Filters
        Object with `sampling`, `n_filters` and ``localize(i)`` of shape (pixels, n_filters), in
        which the filters are ordered by input channel. Optionally, `n_features_in` is the number
        of input channels, and `ind_in` and `ind_out` are the channel numbers in the titles.
    order : int, default 10
        Number of pixels from the center to the edges of a panel. Filters reach as many pixels as
        the degree of their polynomials.
    ind : int or None, default 0
        Position of the pixel in the sampling. None: the default of `plot_filter_gnomonic`, in
        the middle of a footprint.
    title : str or None, default "Filter {}->{}"
        Title of each panel, formatted with the numbers of channel and filter; None for no titles.
    graticule : bool, default False
        Whether to draw parallels and meridians.
    figsize : (float, float), optional
        Width and height in inches. Default: depends on the number of filters.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with a row for each channel and a column for each filter.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError
        If the sampling is not HEALPix.
    ValueError
        If the filters have no sampling, or `ind` is not a position in it.
    """
    sampling = require_healpix(filters.sampling, _name(filters))
    position = choose_pixel(sampling, ind)
    pixel = np.degrees(np.sqrt(np.pi / 3) / sampling.nside)
    # At most 120 degrees: beyond, the distortion of the projection dominates.
    width = float(min(2 * max(order, 1) * pixel, 120.0))
    inputs, outputs = _numbers(filters)

    def label(axes: Axes, channel: int, f: int) -> None:
        axes.tick_params(labelbottom=False, labelleft=False, length=0)
        if title is not None:
            text = title.format(inputs[channel], outputs[f])
            room = 72 * axes.bbox.width / axes.figure.dpi  # points
            axes.set_title(text, fontsize=min(7.0, 1.6 * room / max(len(text), 1)))

    count = filters.n_filters
    place = place_name(*center_of(sampling, position))
    return draw_close_ups(
        _localize(filters, position),
        sampling,
        position,
        width,
        f"Gnomonic view of {count} {'filter' if count == 1 else 'filters'}\n"
        f"{width:.3g}° wide, at {place}",
        label,
        graticule=graticule,
        figsize=figsize,
    )


@pyplot_figures()
def plot_filters_section(
    filters: FilterBank,
    order: int = 10,
    xlabel: str = "out map {}",
    ylabel: str = "in map {}",
    title: str = "Sections of the {} filters in the filterbank",
    figsize: tuple[float, float] | None = None,
    *,
    ax: Axes | None = None,
    **kwargs: Any,
) -> Figure:
    """Plot sections through filters along a parallel, against angles in degrees.

    Parameters
    ----------
    filters : Filters
        As in `plot_filters_gnomonic`. They are centered on a pixel of the equator, or in the
        middle of a footprint.
    order : int, default 10
        Number of pixels to either side of the center, or fewer if the ring is shorter.
    xlabel, ylabel : str, default "out map {}", "in map {}"
        Labels of columns and rows, formatted with the number of the filter or channel.
    title : str
        Title of the figure, formatted with the number of filters.
    figsize : (float, float), optional
        Width and height in inches. Default: depends on the number of filters.
    ax : matplotlib.axes.Axes, optional
        Axes for a single filter. Default: a new figure.
    **kwargs
        Arguments of `matplotlib.axes.Axes.plot`. Default: ``marker="o"``.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with a row for each channel and a column for each filter, or the figure of `ax`.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError
        If the sampling is not HEALPix.
    ValueError
        If the filters have no sampling, or `ax` is given for several filters.
    """
    sampling = require_healpix(filters.sampling, _name(filters))
    if ax is not None and filters.n_filters > 1:
        raise ValueError(
            f"ax has room for only one filter, got {filters.n_filters}: choose one with ind_in "
            "and ind_out, or leave out ax"
        )
    if sampling.is_full:
        position = int(get_index_equator(sampling.nside, 0)[1])
    else:
        position = choose_pixel(sampling, None)
    ring, offsets = ring_section(sampling, position)
    middle = int(np.flatnonzero(ring == position)[0])
    part = slice(max(middle - order, 0), middle + order + 1)
    kernels = _localize(filters, position)[ring[part]]
    inputs, outputs = _numbers(filters)
    kwargs = {"marker": "o", **kwargs}
    if ax is not None:
        ax.plot(offsets[part], kernels[:, 0, 0], **kwargs)
        ax.set(xlabel=xlabel.format(outputs[0]), ylabel=ylabel.format(inputs[0]))
        ax.set_title(title.format(1))
        return ax.figure  # type: ignore[return-value]
    rows, columns = kernels.shape[1:]
    with house_style():
        side = max(PAGE_WIDTH / max(columns, 2), 0.9)
        height = rows * min(side, 1.9) + 0.3 + title_height(title)
        width, height = figsize or (columns * side + 0.6, height)
        figure, grid = new_grid(width, height, rows, columns, "constrained")
        # Set limits instead of sharing axes, which takes Matplotlib minutes for 500 panels.
        low, high = 1.05 * min(kernels.min(), 0), 1.05 * max(kernels.max(), 0)
        for i, j in np.ndindex(rows, columns):
            axes = grid[i, j]
            axes.axhline(0, color="0.6", linewidth=0.6, zorder=1)
            axes.plot(offsets[part], kernels[:, i, j], **kwargs)
            if high > low:
                axes.set_ylim(low, high)
            axes.tick_params(labelbottom=i == rows - 1, labelleft=j == 0)
            if i == rows - 1:
                axes.set_xlabel(xlabel.format(outputs[j]))
            if j == 0:
                axes.set_ylabel(ylabel.format(inputs[i]))
        figure.supxlabel("Angular distance to the east (deg)", fontsize=8)
        fit_title(figure, title.format(filters.n_filters))
    return figure


def get_index_equator(nside: int, radius: int) -> tuple[NDArray[np.int64], int]:
    """Return consecutive pixels on the equator of the full sphere, and the central one.

    Parameters
    ----------
    nside : int
        Resolution, a power of two.
    radius : int
        Number of pixels to either side of the center, capped at ``2 * nside - 1``, which omits
        one pixel of the ring.

    Returns
    -------
    pixels : ndarray of int64, shape (2 * radius + 1,)
        NEST numbers from west to east, around the first pixel east of longitude 180 degrees.
    center : int
        NEST number of that pixel.

    Raises
    ------
    TypeError
        If `nside` is not an integer.
    ValueError
        If `nside` is not a power of two, or `radius` is negative.
    """
    from astropy_healpix.healpy import ring2nest

    middle = len(Healpix(nside)) // 2  # in RING order, in which the equator is contiguous
    if radius < 0:
        raise ValueError(f"radius must be a nonnegative number of pixels; got {radius}")
    radius = min(radius, 2 * nside - 1)
    ring = np.arange(middle - radius, middle + radius + 1)
    pixels = np.asarray(ring2nest(nside, ring), dtype=np.int64)
    return pixels, int(pixels[radius])


def _localize(filters: FilterBank, position: int) -> NDArray[np.float64]:
    """Return the filters around a pixel, shape (pixels, channels, filters)."""
    values = np.asarray(filters.localize(position), dtype=np.float64)
    return values.reshape(len(values), *map(len, _numbers(filters)))


def _numbers(filters: FilterBank) -> tuple[Sequence[int], Sequence[int]]:
    """Return the numbers of the input and of the output channels."""
    rows = getattr(filters, "n_features_in", 1)
    inputs = getattr(filters, "ind_in", range(rows))
    return inputs, getattr(filters, "ind_out", range(filters.n_filters // rows))


def _name(filters: FilterBank) -> str:
    return str(getattr(filters, "name", "filters"))
