"""Graph Laplacians of a sampling, built once and shared."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, diags_array

from deepsphere.graph.cache import DiskCache, MemoryCache, matrix_bytes
from deepsphere.graph.choices import (
    WEIGHTED_KINDS,
    Edges,
    Kind,
    Optimal,
    check_edges,
    check_kind,
    plain,
)
from deepsphere.graph.edges import edge_weights
from deepsphere.graph.legacy import first_neighbors_weights
from deepsphere.graph.optimal_laplacian import optimal_laplacian
from deepsphere.graph.spectrum import largest_eigenvalue, rescale
from deepsphere.sampling import Sampling, serialize

LARGE = 2**17
"""Number of points from which graphs are also kept on disk: they take seconds to build."""

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


def _build(sampling: Sampling, neighbors: Edges, kind: Kind) -> Spectral:
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


_memory: MemoryCache[Spectral] = MemoryCache(
    size=lambda graph: matrix_bytes(graph.laplacian), limit=2 * 2**30
)
_disk = DiskCache(FORMAT)


def clear_cache() -> None:
    """Forget the graphs that are held in memory; those on disk stay."""
    _memory.clear()


def spectral(sampling: Sampling, neighbors: Edges, kind: Kind) -> Spectral:
    """Return the shared Laplacian of a sampling with its largest eigenvalue.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled.
    neighbors : int, str or Nearest
        Which edges, see `laplacian`.
    kind : str or Optimal
        Which Laplacian: one of `KINDS`, or `Optimal`.

    Returns
    -------
    Spectral
        Read-only arrays, shared by all who ask.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """
    kind = check_kind(kind)
    if not isinstance(sampling, Sampling):
        raise TypeError(f"sampling must be a Sampling such as Healpix(64), got {sampling!r}")
    neighbors = check_edges(neighbors)  # first of all: 8.0 and True would hit the keys 8 and 1

    def build() -> Spectral:
        if len(sampling) < LARGE:
            graph = _build(sampling, neighbors, kind)
        else:
            key = {
                "sampling": serialize(sampling),
                "neighbors": plain(neighbors),
                "kind": plain(kind),
            }
            graph = Spectral(*_disk.get(key, lambda: _build(sampling, neighbors, kind)))
        for array in (graph.laplacian.data, graph.laplacian.indices, graph.laplacian.indptr):
            array.flags.writeable = False
        return graph

    return _memory.get((sampling, neighbors, kind), build)


def laplacian(sampling: Sampling, neighbors: Edges = 20, kind: Kind = "normalized") -> csr_array:
    """Return the graph Laplacian of a sampling, not rescaled.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled, for instance ``Healpix(64)``.
    neighbors : int, str or Nearest, default 20
        Number of nearest neighbours, clipped to ``len(sampling) - 1``. 20 is what the papers
        settled on: more neighbours are closer to rotation equivariance and cost more. `Nearest`
        also says how wide the Gaussian kernel is, and with ``spread`` makes neighbourhoods as large
        near the poles of grids as elsewhere, which optimal weights need there. Other edges go by
        name: ``"mesh"`` (Voronoi cells that touch), ``"grid"`` (four neighbours on a
        longitude-latitude grid) and ``"adjacent"`` (the eight HEALPix pixels around), see
        `deepsphere.graph.edges`.
    kind : str or Optimal, default "normalized"
        ``"normalized"``, ``"combinatorial"``, ``"random_walk"``; ``"optimal"`` or `Optimal`, with
        weights that make it as equivariant to rotation as these edges allow; or
        ``"normalized_tf2"``: the
        normalized one of the TensorFlow 2 code, which keeps exactly `neighbors` neighbours where
        several are at equal distance, and with which its trained weights give the same numbers.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The caller's own copy.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    Perraudin et al., arXiv 1810.12186, section 3; Defferrard et al., arXiv 2012.15000.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> laplacian(Healpix(4), neighbors=8).shape
    (192, 192)
    """
    return spectral(sampling, neighbors, kind).laplacian.copy()


def rescaled_laplacian(
    sampling: Sampling, neighbors: Edges = 20, kind: Kind = "normalized", scale: float = 1.0
) -> csr_array:
    """Return the Laplacian of a sampling with its spectrum mapped into [-1, 1].

    Parameters
    ----------
    sampling, neighbors, kind
        As for `laplacian`.
    scale : float, default 1
        Part of the interval that is used; see `rescale`.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The caller's own matrix.
    """
    graph = spectral(sampling, neighbors, kind)
    return rescale(graph.laplacian, graph.eigenvalue, scale)
