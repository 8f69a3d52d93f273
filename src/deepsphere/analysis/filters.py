"""What a graph convolution has learned: coefficients, spectral response, shape on the sphere."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.graph import MARGIN, spectral
from deepsphere.layers import GraphConv
from deepsphere.ops import evaluate_basis, to_chebyshev
from deepsphere.ops.reference import chebyshev_filter


def _built(layer: GraphConv) -> GraphConv:
    if not isinstance(layer, GraphConv):
        raise TypeError(f"layer must be a graph convolution, got {type(layer).__name__}")
    if not layer.built:
        raise ValueError(f"layer {layer.name!r} has no weights yet: build it or call it once")
    return layer


def filter_coefficients(layer: GraphConv) -> NDArray[np.float64]:
    """Return the coefficients of a layer's filters in its own polynomial basis.

    Parameters
    ----------
    layer : GraphConv
        A built layer.

    Returns
    -------
    ndarray of float64, shape (order + 1, channels, filters)
        Entry ``[k, i, o]`` multiplies ``P_k`` between channel i and filter o.

    Raises
    ------
    TypeError, ValueError
        If `layer` is no graph convolution, or not built.
    """
    kernel = keras.ops.convert_to_numpy(_built(layer).kernel).astype(np.float64)
    terms = layer.order + 1
    return kernel.reshape(-1, terms, kernel.shape[1]).transpose(1, 0, 2)


def spectral_bound(layer: GraphConv) -> float:
    """Return the largest eigenvalue of the layer's Laplacian, where its spectrum ends.

    Parameters
    ----------
    layer : GraphConv
        A built layer.

    Returns
    -------
    float
        Estimate to about 1e-4, see `deepsphere.graph.largest_eigenvalue`.
    """
    graph = _built(layer).graph
    return spectral(layer.require_sampling(), graph["neighbors"], graph["laplacian"]).eigenvalue


def filter_response(layer: GraphConv, eigenvalues: ArrayLike) -> NDArray[np.float64]:
    """Return what a layer's filters multiply each graph frequency by.

    Parameters
    ----------
    layer : GraphConv
        A built layer.
    eigenvalues : array_like, shape (n,)
        Eigenvalues of the Laplacian as it is before the layer rescales it, from 0 to
        `spectral_bound`.

    Returns
    -------
    ndarray of float64, shape (n, channels, filters)
        ``sum_k W_k P_k(2 scale / (1.02 bound) lambda - 1)``, the rescaling that the layer uses.
    """
    bound = MARGIN * spectral_bound(layer)
    points = 2 * layer.scale / bound * np.asarray(eigenvalues, dtype=np.float64) - 1
    basis = evaluate_basis(layer.basis, layer.order, points)
    return np.einsum("nk,kio->nio", basis, filter_coefficients(layer))


def localized_filters(layer: GraphConv, position: int) -> NDArray[np.float64]:
    """Return the shape of a layer's filters around one pixel: their response to an impulse.

    Parameters
    ----------
    layer : GraphConv
        A built layer.
    position : int
        Which of the sampling's points, from 0 to ``len(layer.sampling) - 1``.

    Returns
    -------
    ndarray of float64, shape (pixels, channels, filters)
        Values of each filter on the sampling.

    Raises
    ------
    ValueError
        If there is no such point.
    """
    coefficients = filter_coefficients(layer)
    n = len(layer.operator)
    if not 0 <= position < n:
        raise ValueError(f"position must be from 0 to {n - 1}, got {position}")
    terms, channels, filters = coefficients.shape
    series = np.einsum("kj,jio->kio", to_chebyshev(layer.basis, layer.order), coefficients)
    impulse = np.zeros((1, n, 1))
    impulse[0, position] = 1
    kernel = series.reshape(terms, 1, channels * filters)
    return chebyshev_filter(impulse, kernel, layer.operator)[0].reshape(n, channels, filters)
