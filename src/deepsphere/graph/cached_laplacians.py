"""Graph Laplacians of a sampling, built once and cached."""

from __future__ import annotations

from scipy.sparse import csr_array

from deepsphere._cache import DiskCache, MemoryCache, matrix_bytes
from deepsphere.graph.components import warn_if_disconnected
from deepsphere.graph.eigenvalue import rescale
from deepsphere.graph.laplacians import FORMAT, Spectral, build_spectral
from deepsphere.graph.resolve import resolve_graph
from deepsphere.graph.spec import GraphLike
from deepsphere.sampling import Sampling, serialize

LARGE = 2**17
"""Number of points from which graphs are also cached on disk: they take seconds to build."""

_memory: MemoryCache[Spectral] = MemoryCache(
    size=lambda graph: matrix_bytes(graph.laplacian), limit=2 * 2**30
)
_disk = DiskCache(FORMAT)


def spectral(sampling: Sampling, graph: GraphLike | None = None) -> Spectral:
    """Return the cached Laplacian of a sampling and its largest eigenvalue.

    Parameters
    ----------
    sampling, graph
        See `laplacian`.

    Returns
    -------
    Spectral
        The Laplacian, shape (n, n), and its largest eigenvalue. The matrix is shared between
        callers, so its arrays are read-only.

    Raises
    ------
    TypeError, ValueError
        See `laplacian`.

    Warns
    -----
    DisconnectedGraphWarning
        See `laplacian`.
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
    """Return the graph Laplacian of a sampling.

    Its spectrum is not rescaled; see `rescaled_laplacian`.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere, with n points, for instance ``Healpix(64)``.
    graph : Graph, int or str, optional
        A `Graph`, a number of nearest neighbors, or the name of a set of edges. Defaults to
        `Graph()`, which adapts to the sampling.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The Laplacian. It is a copy, which the caller may change.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, `graph` is not a `Graph`, an integer or a string, or the
        edges or the Laplacian are not defined for this kind of sampling.
    ValueError
        If `graph` is an invalid number or name, no number of neighbors reaches its ``max_error``,
        its edges are not defined for this sampling (several points coincide, for instance), or
        optimal weights would be unstable.

    Warns
    -----
    DisconnectedGraphWarning
        If the graph has more connected components than the sampled region: filters carry no
        information from one to another.

    Notes
    -----
    All pixels of a row at a pole are one point of the sphere and one vertex of the graph.
    `deepsphere.graph.coincident` explains the consequences for maps that vary along such a row.

    References: Perraudin et al., arXiv 1810.12186, section 3; Defferrard et al., arXiv 2012.15000.

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
        See `laplacian`.
    scale : float, default 1
        Fraction of the interval to use, see `rescale`.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The rescaled Laplacian. It is a copy, which the caller may change.

    Raises
    ------
    TypeError
        See `laplacian`.
    ValueError
        As for `laplacian`, or if `scale` is not in (0, 1].
    """
    found = spectral(sampling, graph)
    return rescale(found.laplacian, found.eigenvalue, scale)
