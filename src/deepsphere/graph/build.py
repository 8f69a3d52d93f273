"""The Laplacian of a weighted graph, and that of a sampling, built anew at each call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, diags_array

from deepsphere.graph.choices import WEIGHTED_KINDS, Edges, Kind, Optimal
from deepsphere.graph.edges import edge_weights
from deepsphere.graph.legacy import first_neighbors_weights
from deepsphere.graph.optimal_laplacian import optimal_laplacian
from deepsphere.graph.spectrum import largest_eigenvalue
from deepsphere.sampling import Sampling

FORMAT = 3
"""Version of what is written to disk; raise it when the same request builds another graph."""


class Spectral(NamedTuple):
    """A Laplacian and its largest eigenvalue."""

    laplacian: csr_array
    eigenvalue: float


def laplacian_of_weights(weights: csr_array, kind: str = "normalized") -> csr_array:
    """Make the Laplacian of a weighted graph.

    ``normalized``: ``I - D^-1/2 W D^-1/2``; ``combinatorial``: ``D - W``; ``random_walk``:
    ``I - D^-1 W``, which is not symmetric but has the eigenvalues of the normalized one.

    Parameters
    ----------
    weights : csr_array, shape (n, n)
        Symmetric, non-negative, with an empty diagonal.
    kind : str, default "normalized"
        Which Laplacian.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The Laplacian; rows and columns of points without edges are zero.

    Raises
    ------
    ValueError
        If the kind is unknown.
    """
    if kind not in WEIGHTED_KINDS:
        raise ValueError(f"laplacian kind must be one of {', '.join(WEIGHTED_KINDS)}; got {kind!r}")
    degrees = np.asarray(weights.sum(axis=1)).ravel()
    connected = degrees > 0
    identity = diags_array(connected.astype(float))
    # Far points can have weights so small that 1 / degree overflows; 1 / sqrt(degree) does not.
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


def build_spectral(sampling: Sampling, neighbors: Edges, kind: Kind) -> Spectral:
    """Build the Laplacian of a sampling anew, with its largest eigenvalue.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled.
    neighbors, kind
        As `deepsphere.graph.check_edges` and `check_kind` return them, with a number of neighbours.

    Returns
    -------
    Spectral
        New matrices.

    Raises
    ------
    TypeError, ValueError
        If these edges do not go with the sampling or the kind.
    """
    if kind == "optimal" or isinstance(kind, Optimal):
        choice = kind if isinstance(kind, Optimal) else Optimal()
        return Spectral(*optimal_laplacian(sampling, neighbors, choice))
    if kind == "normalized_tf2":
        if not isinstance(neighbors, int):
            raise ValueError(
                f"laplacian kind 'normalized_tf2' needs a number of neighbors, got {neighbors!r}"
            )
        weights, kind = first_neighbors_weights(sampling, neighbors), "normalized"
    else:
        weights = edge_weights(sampling, neighbors)
    result = laplacian_of_weights(weights, kind)
    # The random-walk Laplacian is similar to the normalized one: same eigenvalues, but symmetric.
    symmetric = laplacian_of_weights(weights) if kind == "random_walk" else result
    return Spectral(result, largest_eigenvalue(symmetric))
