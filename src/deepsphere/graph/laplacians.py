"""Laplacians of weighted graphs and of samplings, built without any cache."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, diags_array, issparse

from deepsphere.graph.coincident import distinct, spread_back
from deepsphere.graph.edges import edge_weights
from deepsphere.graph.eigenvalue import largest_eigenvalue
from deepsphere.graph.optimal import optimal_laplacian
from deepsphere.graph.spec import WEIGHTED_LAPLACIANS, Graph, Optimal, registered_laplacian
from deepsphere.sampling import Sampling

FORMAT = 5
"""Version of the graphs on disk; increase it when the same request yields a different graph."""


ROUNDING = 1e-9
"""Largest difference between the two directions of an edge, relative to the largest weight."""


class Spectral(NamedTuple):
    """A Laplacian and its largest eigenvalue.

    Attributes
    ----------
    laplacian : csr_array of float64, shape (n, n)
        The Laplacian, not rescaled.
    eigenvalue : float
        Its largest eigenvalue; of an optimal Laplacian, that of its symmetric part.
    """

    laplacian: csr_array
    eigenvalue: float


def laplacian_of_weights(weights: csr_array, laplacian: str = "normalized") -> csr_array:
    """Return the Laplacian of a weighted graph.

    Parameters
    ----------
    weights : csr_array, shape (n, n)
        Edge weights W: symmetric, finite and nonnegative, with an empty diagonal.
    laplacian : {"normalized", "combinatorial", "random_walk"}, default "normalized"
        ``"normalized"`` is ``I - D^-1/2 W D^-1/2``, with D the diagonal matrix of the row sums of
        W. ``"combinatorial"`` is ``D - W``. ``"random_walk"`` is ``I - D^-1 W``, which is not
        symmetric but has the eigenvalues of the normalized Laplacian.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The Laplacian. Rows and columns of points without edges are zero.

    Raises
    ------
    TypeError
        If `weights` is not a sparse matrix of real numbers.
    ValueError
        If `laplacian` is unknown. Also if `weights` is not square, not finite, negative, not
        symmetric (to 1e-9 of the largest weight), or not zero on the diagonal.
    """
    if laplacian not in WEIGHTED_LAPLACIANS:
        raise ValueError(
            f"laplacian must be one of {', '.join(WEIGHTED_LAPLACIANS)}; got {laplacian!r}"
        )
    return _laplacian(_checked_weights(weights), laplacian)


def _laplacian(weights: csr_array, kind: str) -> csr_array:
    """Return the Laplacian of unchecked weights, which may be negative on a mesh."""
    degrees = np.asarray(weights.sum(axis=1)).ravel()
    connected = degrees > 0
    identity = diags_array(connected.astype(float))
    # Weights of distant points can be so small that 1 / degree overflows; 1 / sqrt(degree) cannot.
    root = diags_array(
        np.divide(1.0, np.sqrt(degrees), out=np.zeros_like(degrees), where=connected)
    )
    if kind == "combinatorial":
        result = diags_array(degrees) - weights
    elif kind == "normalized":
        result = identity - root @ weights @ root
    else:
        result = identity - root @ (root @ weights)
    result = result.tocsr()
    result.sort_indices()
    return result


def _checked_weights(weights: csr_array) -> csr_array:
    """Return edge weights as a CSR matrix of float64, or raise if they are invalid."""
    if not issparse(weights):
        raise TypeError(f"weights must be a sparse matrix, got {type(weights).__name__}")
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1]:
        raise ValueError(f"weights must be a square matrix, got shape {weights.shape}")
    if weights.dtype.kind not in "fiub":
        raise TypeError(f"weights must be real numbers, got dtype {weights.dtype}")
    weights = csr_array(weights, dtype=np.float64)
    if not np.isfinite(weights.data).all():
        count = np.count_nonzero(~np.isfinite(weights.data))
        raise ValueError(f"weights must be finite, got {count} NaN or infinite ones")
    if weights.data.min(initial=0) < 0:
        count = np.count_nonzero(weights.data < 0)
        raise ValueError(
            f"weights must not be negative, got {count} negative ones, down to "
            f"{weights.data.min():g}: their Laplacian could have eigenvalues below 0"
        )
    if weights.diagonal().any():
        row = np.flatnonzero(weights.diagonal())[0]
        raise ValueError(
            f"weights must join different points, but vertex {row} has an edge to itself with "
            f"weight {weights.diagonal()[row]:g}; use weights.setdiag(0)"
        )
    difference = abs(weights - weights.T)
    largest = abs(weights).max() if weights.nnz else 0.0
    if difference.nnz and difference.max() > ROUNDING * largest:
        raise ValueError(
            "weights must be symmetric, but the two directions of an edge differ by up to "
            f"{difference.max():g}; take the mean (weights + weights.T) / 2, or the maximum"
        )
    return weights


def build_spectral(sampling: Sampling, graph: Graph) -> Spectral:
    """Build the Laplacian of a sampling, and compute its largest eigenvalue.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere, with n points.
    graph : Graph
        A graph that `deepsphere.graph.resolve_graph` returned.

    Returns
    -------
    Spectral
        The Laplacian, shape (n, n), and its largest eigenvalue.

    Raises
    ------
    TypeError
        If the edges or the Laplacian are not defined for this kind of sampling.
    ValueError
        If `graph` has not been resolved, the edges are not defined for this sampling (several
        points coincide, for instance), or optimal weights are unstable.
    """
    found = _on_distinct_points(distinct(sampling), graph)
    return Spectral(spread_back(found.laplacian, sampling), found.eigenvalue)


def _on_distinct_points(sampling: Sampling, graph: Graph) -> Spectral:
    kind = graph.laplacian
    if kind == "optimal" or isinstance(kind, Optimal):
        choice = kind if isinstance(kind, Optimal) else Optimal()
        return Spectral(*optimal_laplacian(sampling, graph, choice))
    if kind is None:
        raise ValueError(f"{graph!r} has no Laplacian: pass it through resolve_graph first")
    build = registered_laplacian(kind)
    if build is not None:
        result = build(sampling, graph)
        return Spectral(result, largest_eigenvalue(result))
    weights = edge_weights(sampling, graph)
    result = _laplacian(weights, kind)
    # The random-walk Laplacian has the eigenvalues of the normalized one, which is symmetric.
    symmetric = _laplacian(weights, "normalized") if kind == "random_walk" else result
    return Spectral(result, largest_eigenvalue(symmetric))
