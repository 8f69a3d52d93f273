"""Graph Laplacians of a sampling, built once and shared."""

from __future__ import annotations

from scipy.sparse import csr_array

from deepsphere.graph.build import FORMAT, Spectral, build_spectral
from deepsphere.graph.cache import DiskCache, MemoryCache, matrix_bytes
from deepsphere.graph.pieces import warn_if_disconnected
from deepsphere.graph.resolve import forget_choices, resolve_graph
from deepsphere.graph.spec import GraphLike
from deepsphere.graph.spectrum import rescale
from deepsphere.sampling import Sampling, serialize

LARGE = 2**17
"""Number of points from which graphs are also kept on disk: they take seconds to build."""

_memory: MemoryCache[Spectral] = MemoryCache(
    size=lambda graph: matrix_bytes(graph.laplacian), limit=2 * 2**30
)
_disk = DiskCache(FORMAT)


def clear_cache() -> None:
    """Forget the graphs and choices that are held in memory; those on disk stay."""
    _memory.clear()
    forget_choices()


def spectral(sampling: Sampling, graph: GraphLike | None = None) -> Spectral:
    """Return the shared Laplacian of a sampling with its largest eigenvalue.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled.
    graph : Graph, int or str, optional
        Which graph, see `Graph`.

    Returns
    -------
    Spectral
        Read-only arrays, shared by all who ask.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """
    resolved = resolve_graph(sampling, graph)

    def build() -> Spectral:
        if len(sampling) < LARGE:
            found = build_spectral(sampling, resolved)
        else:
            key = {"sampling": serialize(sampling), "graph": resolved.get_config()}
            found = Spectral(
                *_disk.get(key, lambda: build_spectral(sampling, resolved), len(sampling))
            )
        warn_if_disconnected(found.laplacian, sampling, resolved)
        for array in (found.laplacian.data, found.laplacian.indices, found.laplacian.indptr):
            array.flags.writeable = False
        return found

    return _memory.get((sampling, resolved), build)


def laplacian(sampling: Sampling, graph: GraphLike | None = None) -> csr_array:
    """Return the graph Laplacian of a sampling, not rescaled.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled, for instance ``Healpix(64)``.
    graph : Graph, int or str, optional
        Which graph: a `Graph`, or a number of nearest neighbors, or the name of a set of edges.
        Default: the one that suits the sampling, see `Graph`.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The caller's own copy.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Warns
    -----
    DisconnectedGraphWarning
        If the graph is in more pieces than the part of the sphere that is sampled, so that nothing
        gets from one to another.

    Notes
    -----
    The pixels of a row at a pole are one point of the sphere, and one vertex of the graph: see
    `deepsphere.graph.places` for what that means for maps that differ along the row.

    Perraudin et al., arXiv 1810.12186, section 3; Defferrard et al., arXiv 2012.15000.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> laplacian(Healpix(4), graph=8).shape
    (192, 192)
    """
    return spectral(sampling, graph).laplacian.copy()


def rescaled_laplacian(
    sampling: Sampling, graph: GraphLike | None = None, scale: float = 1.0
) -> csr_array:
    """Return the Laplacian of a sampling with its spectrum mapped into [-1, 1].

    Parameters
    ----------
    sampling, graph
        As for `laplacian`.
    scale : float, default 1
        Part of the interval that is used; see `rescale`.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The caller's own matrix.
    """
    found = spectral(sampling, graph)
    return rescale(found.laplacian, found.eigenvalue, scale)
