"""The methods of deepsphere-cosmo-tf2's `HealpyGCNN` that return and plot its filters."""

from __future__ import annotations

from collections import Counter
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal, overload

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere._extras import require
from deepsphere.analysis.filters import LayerLike, graph_convolutions
from deepsphere.compat.filters import Filters, Index
from deepsphere.compat.old_plots import plot_filters_gnomonic, plot_filters_section
from deepsphere.layers import (
    GaussianSmoothing,
    GraphConv,
    GraphTransformer,
    PatchConv,
    PatchConvTranspose,
    Pool,
    ResidualBlock,
    VisionTransformer,
)
from deepsphere.plot.style import MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class FilterInspection:
    """Mixin of models with methods that return and plot the filters of their graph convolutions.

    The methods have these arguments in common:

    layer : str, int or keras.layers.Layer
        A graph convolution, or a residual layer, which contains two; or its name or index, see
        `deepsphere.analysis.filters.graph_convolution`. Names of the old code work too:
        ``"chebyshev"``, ``"chebyshev_1"``, ``"gcnn__residual_layer"`` and so on.
    ind_in, ind_out : int, array_like or None
        Input and output channels, from 0. None: all.

    They raise TypeError or ValueError as `deepsphere.analysis.filters.graph_convolution` does, and
    ValueError if a channel does not exist. As in the old code, they draw in pyplot's current axes
    or in new pyplot figures.
    """

    @overload
    def get_gsp_filters(
        self,
        layer: LayerLike,
        ind_in: Index = None,
        ind_out: Index = None,
        return_weights: Literal[False] = False,
    ) -> list[Filters]: ...

    @overload
    def get_gsp_filters(
        self, layer: LayerLike, ind_in: Index, ind_out: Index, return_weights: Literal[True]
    ) -> list[NDArray[np.float64]]: ...

    def get_gsp_filters(
        self,
        layer: LayerLike,
        ind_in: Index = None,
        ind_out: Index = None,
        return_weights: bool = False,
    ) -> list[Filters] | list[NDArray[np.float64]]:
        """Return the filters of a layer.

        Parameters
        ----------
        layer, ind_in, ind_out
            See the class.
        return_weights : bool, default False
            Whether to return the coefficients only.

        Returns
        -------
        list of Filters, or of ndarray of shape (K, out, in)
            One entry, or two for a residual layer.
        """
        found = graph_convolutions(by_old_name(layer, self), self)
        filters = [Filters(conv, ind_in, ind_out, name) for name, conv in found.items()]
        return [one.weights for one in filters] if return_weights else filters

    def plot_chebyshev_coeffs(
        self,
        layer: LayerLike,
        ind_in: Index = None,
        ind_out: Index = None,
        ax: Axes | None = None,
        title: str = "Chebyshev coefficients - layer {}",
    ) -> Axes:
        """Plot the coefficients of a layer, in its own basis, against the polynomial degree.

        Parameters
        ----------
        layer, ind_in, ind_out
            See the class.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. Default: ``pyplot.gca()``.
        title : str
            Title of the axes, formatted with `layer`.

        Returns
        -------
        matplotlib.axes.Axes
            The axes. The two convolutions of a residual layer have different markers.
        """
        weights = self.get_gsp_filters(layer, ind_in, ind_out, return_weights=True)
        axes = _axes(ax)
        for one, marker in zip(weights, cycle(MARKERS)):
            axes.plot(one.reshape(len(one), -1), marker, markersize=3)
        axes.set(
            xlabel="Polynomial degree k",
            ylabel="Coefficient",
            xticks=range(0, len(weights[0]), 1 + len(weights[0]) // 12),
            title=title.format(_name(layer)),
        )
        return axes

    def plot_filters_spectral(
        self,
        layer: LayerLike,
        ind_in: Index = None,
        ind_out: Index = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Axes:
        """Plot the factor by which a layer's filters multiply each graph frequency.

        Parameters
        ----------
        layer, ind_in, ind_out
            See the class.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. Default: ``pyplot.gca()``.
        **kwargs
            Arguments of `Filters.plot`: ``n``, ``title``, and those of Matplotlib's ``plot``.

        Returns
        -------
        matplotlib.axes.Axes
            The axes. The second convolution of a residual layer is dashed. Lines are labeled with
            their channel numbers, for ``axes.legend()``.
        """
        filters = self.get_gsp_filters(layer, ind_in, ind_out)
        title = kwargs.pop("title", f"Spectral response of layer {_name(layer)}")
        axes = _axes(ax)
        for one, dashes in zip(filters, cycle(("-", "--", "-.", ":"))):
            style = {"linestyle": dashes} if len(filters) > 1 else {}
            one.plot(title=title, ax=axes, **{**style, **kwargs})
        return axes

    def plot_filters_section(
        self,
        layer: LayerLike,
        ind_in: Index = None,
        ind_out: Index = None,
        ax: Axes | None = None,
        title: str = "Sections of the {} filters in the filterbank",
        figsize: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> list[Figure]:
        """Plot sections through the filters of a layer along a parallel.

        Parameters
        ----------
        layer, ind_in, ind_out
            See the class.
        ax : matplotlib.axes.Axes, optional
            Axes for a single filter. Default: new figures.
        title, figsize, **kwargs
            As in `deepsphere.plot.plot_filters_section`.

        Returns
        -------
        list of matplotlib.figure.Figure
            One figure, or two for a residual layer.

        Raises
        ------
        ValueError
            If `ax` is given for several filters.
        """
        filters = self.get_gsp_filters(layer, ind_in, ind_out)
        if ax is not None and len(filters) > 1:
            names = ", ".join(repr(one.name) for one in filters)
            raise ValueError(f"ax has room for only one filter: choose one of the layers {names}")
        return [
            plot_filters_section(
                one, len(one.coefficients), title=title, figsize=figsize, ax=ax, **kwargs
            )
            for one in filters
        ]

    def plot_filters_gnomonic(
        self,
        layer: LayerLike,
        ind_in: Index = None,
        ind_out: Index = None,
        ind: int | None = None,
        title: str | None = "Filter {}->{}",
        figsize: tuple[float, float] | None = None,
        graticule: bool = False,
    ) -> list[Figure]:
        """Plot the filters of a layer on the sphere, projected onto a tangent plane.

        Parameters
        ----------
        layer, ind_in, ind_out
            See the class.
        ind : int, optional
            Position of the central pixel. Default: a pixel on the equator, or in the middle of a
            footprint.
        title, figsize, graticule
            As in `deepsphere.plot.plot_filters_gnomonic`.

        Returns
        -------
        list of matplotlib.figure.Figure
            One figure, or two for a residual layer.
        """
        return [
            plot_filters_gnomonic(
                one, len(one.coefficients), ind, title, graticule, figsize=figsize
            )
            for one in self.get_gsp_filters(layer, ind_in, ind_out)
        ]


def by_old_name(layer: LayerLike, model: Any) -> LayerLike:
    """Return the layer with this name in the old code, unless it is the current name of a layer."""
    if not isinstance(layer, str) or any(each.name == layer for each in model.layers):
        return layer
    found: dict[str, keras.layers.Layer] = {}
    numbers: Counter[str] = Counter()

    def give(kind: str, each: keras.layers.Layer) -> None:
        found[f"{kind}_{numbers[kind]}" if numbers[kind] else kind] = each
        numbers[kind] += 1

    for each in model.layers:
        if isinstance(each, GraphConv):
            give(each.basis, each)
        elif isinstance(each, ResidualBlock):
            give("gcnn__residual_layer", each)
            for conv in (each.conv1, each.conv2):
                if isinstance(conv, GraphConv):
                    give(conv.basis, conv)
        else:
            for kind, name in _OLD_NAMES.items():
                if isinstance(each, kind):
                    give(name, each)
    return found.get(layer, layer)


_OLD_NAMES = {
    GaussianSmoothing: "healpy_smoothing",
    GraphTransformer: "graph__transformer",
    PatchConv: "healpy_pseudo_conv",
    PatchConvTranspose: "healpy_pseudo_conv__transpose",
    Pool: "healpy_pool",
    VisionTransformer: "healpy__vi_t",
}
"""Default Keras names of the old layers, without numbers."""


def _axes(ax: Axes | None) -> Axes:
    return require("matplotlib.pyplot", "plot").gca() if ax is None else ax


def _name(layer: LayerLike) -> str:
    return str(getattr(layer, "name", layer))
