"""The methods of deepsphere-cosmo-tf2's `HealpyGCNN` that show its filters."""

from __future__ import annotations

from collections import Counter
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal, overload

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere.analysis.filters import LayerLike, graph_convolutions
from deepsphere.compat.filters import Filters, Index
from deepsphere.extras import require
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
from deepsphere.plot.old_names import plot_filters_gnomonic, plot_filters_section
from deepsphere.plot.style import MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class FilterInspection:
    """Methods of a model that show the filters of its graph convolutions, of every kind.

    They have these arguments in common:

    layer : str, int or keras.layers.Layer
        Name, index or object of a graph convolution, or of a residual layer, which has two; see
        `deepsphere.analysis.filters.graph_convolution`. The names that the old code gave are
        known too: ``"chebyshev"``, ``"chebyshev_1"``, ``"gcnn__residual_layer"`` and so on.
    ind_in, ind_out : int, array_like or None
        Which input and output channels; None for all. 0 is the first.

    and raise TypeError or ValueError if there is no such layer, no graph convolution in it, no
    such channel, or the model is not built. As in the old code, they draw in the current axes of
    pyplot or in new figures that pyplot knows of.
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
            Whether to return coefficients only.

        Returns
        -------
        list of Filters, or of ndarray of shape (K, out, in)
            One, or two of a residual layer.
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
        """Draw the coefficients of a layer, in its own basis, over the degree of the polynomial.

        Parameters
        ----------
        layer, ind_in, ind_out
            See the class.
        ax : matplotlib.axes.Axes, optional
            Where to draw. Default: ``pyplot.gca()``.
        title : str
            Title of the axes, with `layer`.

        Returns
        -------
        matplotlib.axes.Axes
            The axes. The two convolutions of a residual layer have other markers.
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
        """Draw what the filters of a layer multiply each graph frequency by.

        Parameters
        ----------
        layer, ind_in, ind_out
            See the class.
        ax : matplotlib.axes.Axes, optional
            Where to draw. Default: ``pyplot.gca()``.
        **kwargs
            Arguments of `Filters.plot`: ``n``, ``title``, and those of matplotlib's ``plot``.

        Returns
        -------
        matplotlib.axes.Axes
            The axes. The second convolution of a residual layer is dashed. The lines have the
            numbers of their channels as labels: ``axes.legend()`` shows these.
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
        """Draw a cut through the filters of a layer along a parallel.

        Parameters
        ----------
        layer, ind_in, ind_out
            See the class.
        ax : matplotlib.axes.Axes, optional
            Where to draw, if one filter is chosen. Default: new figures.
        title, figsize, **kwargs
            As for `deepsphere.plot.plot_filters_section`.

        Returns
        -------
        list of matplotlib.figure.Figure
            One, or two of a residual layer.
        """
        filters = self.get_gsp_filters(layer, ind_in, ind_out)
        if ax is not None and len(filters) > 1:
            names = ", ".join(repr(one.name) for one in filters)
            raise ValueError(f"ax has room for one filter: choose one of the layers {names}")
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
        """Draw the filters of a layer on the sphere, seen on a tangent plane.

        Parameters
        ----------
        layer, ind_in, ind_out
            See the class.
        ind : int, optional
            Position of the pixel around which they are drawn. Default: one on the equator, or
            in the middle of a footprint.
        title, figsize, graticule
            As for `deepsphere.plot.plot_filters_gnomonic`.

        Returns
        -------
        list of matplotlib.figure.Figure
            One, or two of a residual layer.
        """
        return [
            plot_filters_gnomonic(
                one, len(one.coefficients), ind, title, graticule, figsize=figsize
            )
            for one in self.get_gsp_filters(layer, ind_in, ind_out)
        ]


def by_old_name(layer: LayerLike, model: Any) -> LayerLike:
    """Return the layer that the old code called so, if none is called so now."""
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
"""Names that Keras gave the old layers, without a number."""


def _axes(ax: Axes | None) -> Axes:
    return require("matplotlib.pyplot", "plot").gca() if ax is None else ax


def _name(layer: LayerLike) -> str:
    return str(getattr(layer, "name", layer))
