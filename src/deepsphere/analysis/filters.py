"""Learned filters of graph convolutions: coefficients, spectral response, shape on the sphere.

Normalization, bias and activation of the layer are not included.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.graph.eigenvalue import MARGIN
from deepsphere.layers import GraphConv
from deepsphere.ops import evaluate_basis, to_chebyshev
from deepsphere.ops.reference import chebyshev_filter

LayerLike: TypeAlias = "keras.layers.Layer | str | int"
"""A layer, or its name or index in a model."""


def graph_convolution(layer: LayerLike, model: keras.layers.Layer | None = None) -> GraphConv:
    """Return a graph convolution, given as an object, its name or its index.

    Parameters
    ----------
    layer : keras.layers.Layer, str or int
        The layer; or its name in `model`, where ``/`` separates the names of nested layers
        (``"residual_block/conv2"``); or its index in ``model.layers``, from the end if negative.
        For a layer or model that contains several graph convolutions, the first is returned.
    model : keras.Model, optional
        Model in which names and indices are looked up; not needed if `layer` is an object. Layers
        passed to a `deepsphere.models.Sequential` that copies them stand for their copies.

    Returns
    -------
    GraphConv
        The built layer.

    Raises
    ------
    TypeError
        If `model` is not a Keras layer, or `layer` is not a layer, a string or an integer, or is
        a layer without a graph convolution.
    ValueError
        If the name or index does not exist in `model`, `model` is not given for a name or index,
        the named layer contains no graph convolution, or the graph convolution is not built.

    Examples
    --------
    >>> from deepsphere.layers import ChebyshevConv, ResidualBlock
    >>> from deepsphere.models import Sequential
    >>> from deepsphere.sampling import Healpix
    >>> model = Sequential(Healpix(4), [ResidualBlock(ChebyshevConv(order=3), name="block")])
    >>> model.build((None, 192, 2))
    >>> graph_convolution("block/conv2", model).name
    'conv2'
    """
    return next(iter(graph_convolutions(layer, model).values()))


def graph_convolutions(
    layer: LayerLike, model: keras.layers.Layer | None = None
) -> dict[str, GraphConv]:
    """Return all graph convolutions in a layer, given as an object, its name or its index.

    Parameters
    ----------
    layer, model
        As in `graph_convolution`.

    Returns
    -------
    dict of str to GraphConv
        One or more built layers, in order. The keys are paths of names, from that of `layer` to
        that of the graph convolution.

    Raises
    ------
    TypeError, ValueError
        As in `graph_convolution`.
    """
    if model is not None and not isinstance(model, keras.layers.Layer):
        raise TypeError(f"model must be a Keras model, got {type(model).__name__}")
    path, found = _look_up(layer, model)
    every = [(path, found), *_below(found, f"{path}/")]
    result: dict[str, GraphConv] = {}
    for name, one in every:
        if isinstance(one, GraphConv):
            result.setdefault(name, one)
    if not result and isinstance(layer, keras.layers.Layer):
        raise TypeError(f"layer must be a graph convolution, got {type(found).__name__}")
    if not result:
        raise ValueError(
            f"layer {layer!r} is a {type(found).__name__}, not a graph convolution{_choice(model)}"
        )
    for name, one in result.items():
        if not one.built:
            raise ValueError(f"layer {name!r} has no weights yet: build the layer or call it once")
    return result


def _look_up(layer: LayerLike, model: keras.layers.Layer | None) -> tuple[str, keras.layers.Layer]:
    """Return the path and the layer for an object, a name or an index."""
    if isinstance(layer, keras.layers.Layer):
        if model is not None and not layer.built:
            for path, one in _below(model):
                if path == layer.name and (
                    isinstance(layer, type(one)) or isinstance(one, type(layer))
                ):
                    return path, one
        return layer.name, layer
    if isinstance(layer, bool) or not isinstance(layer, (str, int, np.integer)):
        raise TypeError(f"layer must be a layer, its name or its index, got {layer!r}")
    if model is None:
        raise ValueError(
            f"layer {layer!r} is a name or an index: pass the model, too, as model=..."
        )
    if isinstance(layer, str):
        for path, one in _below(model):
            if path == layer:
                return path, one
        raise ValueError(f"{model.name!r} has no layer {layer!r}{_choice(model)}")
    children = _children(model)
    if not -len(children) <= layer < len(children):
        raise ValueError(
            f"layer must be an index from 0 to {len(children) - 1} in {model.name!r}, or from "
            f"-{len(children)} to -1; got {layer}{_choice(model)}"
        )
    return children[layer].name, children[layer]


def _children(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    if isinstance(layer, keras.Model):
        return list(layer.layers)
    return list(layer._flatten_layers(include_self=False, recursive=False))


def _below(layer: keras.layers.Layer, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Iterate over the paths and layers nested in a layer."""
    for child in _children(layer):
        yield prefix + child.name, child
        yield from _below(child, f"{prefix}{child.name}/")


def _choice(model: keras.layers.Layer | None) -> str:
    """List the graph convolutions of a model, for the end of an error message."""
    names = [] if model is None else [n for n, one in _below(model) if isinstance(one, GraphConv)]
    if not names:
        return "; it has no graph convolution"
    return f"; its graph convolutions are {', '.join(map(repr, names))}"


def filter_coefficients(
    layer: LayerLike, *, model: keras.layers.Layer | None = None
) -> NDArray[np.float64]:
    """Return the coefficients of a layer's filters in its own polynomial basis.

    Parameters
    ----------
    layer, model
        The layer, as in `graph_convolution`.

    Returns
    -------
    ndarray of float64, shape (order + 1, channels, filters)
        Entry ``[k, i, o]`` multiplies ``P_k`` between channel i and filter o.

    Raises
    ------
    TypeError, ValueError
        As in `graph_convolution`.
    """
    conv = graph_convolution(layer, model)
    kernel = keras.ops.convert_to_numpy(conv.kernel).astype(np.float64)
    return kernel.reshape(-1, conv.order + 1, kernel.shape[1]).transpose(1, 0, 2)


def spectral_bound(layer: LayerLike, *, model: keras.layers.Layer | None = None) -> float:
    """Return the largest eigenvalue of the layer's Laplacian.

    Parameters
    ----------
    layer, model
        The layer, as in `graph_convolution`.

    Returns
    -------
    float
        Estimate with an error of about 1e-4, see `deepsphere.graph.largest_eigenvalue`.

    Raises
    ------
    TypeError, ValueError
        As in `graph_convolution`.
    """
    return graph_convolution(layer, model).spectral_bound


def filter_response(
    layer: LayerLike, eigenvalues: ArrayLike, *, model: keras.layers.Layer | None = None
) -> NDArray[np.float64]:
    """Return the factor by which a layer's filters multiply each graph frequency.

    Parameters
    ----------
    layer, model
        The layer, as in `graph_convolution`.
    eigenvalues : array_like, shape (n,)
        Eigenvalues of the Laplacian before the layer rescales it, from 0 to `spectral_bound`.

    Returns
    -------
    ndarray of float64, shape (n, channels, filters)
        ``sum_k W_k P_k(2 scale / (1.02 bound) lambda - 1)``, with the layer's rescaling.

    Raises
    ------
    TypeError, ValueError
        As in `graph_convolution`.
    """
    conv = graph_convolution(layer, model)
    return response_of(filter_coefficients(conv), conv, eigenvalues)


def response_of(
    coefficients: NDArray[np.float64], conv: GraphConv, eigenvalues: ArrayLike
) -> NDArray[np.float64]:
    """Return `filter_response` for given coefficients on the graph of a layer."""
    bound = MARGIN * conv.spectral_bound
    points = 2 * conv.scale / bound * np.asarray(eigenvalues, dtype=np.float64) - 1
    return np.einsum("nk,kio->nio", evaluate_basis(conv.basis, conv.order, points), coefficients)


def localized_filters(
    layer: LayerLike, position: int, *, model: keras.layers.Layer | None = None
) -> NDArray[np.float64]:
    """Return the shape of a layer's filters around one pixel: their response to an impulse.

    Parameters
    ----------
    layer, model
        The layer, as in `graph_convolution`.
    position : int
        Position of the pixel in the layer's sampling, from 0.

    Returns
    -------
    ndarray of float64, shape (pixels, channels, filters)
        Values of each filter on the layer's sampling.

    Raises
    ------
    TypeError, ValueError
        As in `graph_convolution`; ValueError also if `position` is not from 0 to pixels - 1.
    """
    conv = graph_convolution(layer, model)
    return localize(filter_coefficients(conv), conv, position)


def localize(
    coefficients: NDArray[np.float64], conv: GraphConv, position: int
) -> NDArray[np.float64]:
    """Return `localized_filters` for given coefficients on the graph of a layer."""
    n = len(conv.operator)
    if not 0 <= position < n:
        raise ValueError(f"position must be from 0 to {n - 1}, got {position}")
    terms, channels, filters = coefficients.shape
    series = np.einsum("kj,jio->kio", to_chebyshev(conv.basis, conv.order), coefficients)
    impulse = np.zeros((1, n, 1))
    impulse[0, position] = 1
    kernel = series.reshape(terms, 1, channels * filters)
    return chebyshev_filter(impulse, kernel, conv.operator)[0].reshape(n, channels, filters)
