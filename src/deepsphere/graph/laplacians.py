"""Graph Laplacians of a sampling, built once and shared."""

from __future__ import annotations

from scipy.sparse import csr_array

from deepsphere.graph.build import FORMAT, Spectral, build_spectral
from deepsphere.graph.cache import DiskCache, MemoryCache, matrix_bytes
from deepsphere.graph.choices import Edges, Kind, plain
from deepsphere.graph.choose import definite_graph, forget_choices
from deepsphere.graph.pieces import warn_if_disconnected
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


def spectral(
    sampling: Sampling, neighbors: Edges | None = None, kind: Kind | None = None
) -> Spectral:
    """Return the shared Laplacian of a sampling with its largest eigenvalue.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled.
    neighbors : int, str or Nearest, optional
        Which edges, see `laplacian`.
    kind : str or Optimal, optional
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
    # First of all: 8.0 and True would hit the keys 8 and 1.
    neighbors, kind = definite_graph(sampling, neighbors, kind)

    def build() -> Spectral:
        if len(sampling) < LARGE:
            graph = build_spectral(sampling, neighbors, kind)
        else:
            key = {
                "sampling": serialize(sampling),
                "neighbors": plain(neighbors),
                "kind": plain(kind),
            }
            graph = Spectral(
                *_disk.get(key, lambda: build_spectral(sampling, neighbors, kind), len(sampling))
            )
        warn_if_disconnected(graph.laplacian, sampling, f"neighbors={neighbors!r}")
        for array in (graph.laplacian.data, graph.laplacian.indices, graph.laplacian.indptr):
            array.flags.writeable = False
        return graph

    return _memory.get((sampling, neighbors, kind), build)


def laplacian(
    sampling: Sampling, neighbors: Edges | None = None, kind: Kind | None = None
) -> csr_array:
    """Return the graph Laplacian of a sampling, not rescaled.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled, for instance ``Healpix(64)``.
    neighbors : int, str or Nearest, optional
        Number of nearest neighbors, clipped to ``len(sampling) - 1``. Default: 20, which is what
        the papers settled on: more neighbors are closer to rotation equivariance and cost more. On
        longitude-latitude grids, whose points crowd at the poles, they are spread over a disc that
        is as large at the poles as elsewhere, unless ``Nearest(20, spread=False)`` says otherwise.
        `Nearest` also says how wide the Gaussian kernel is;
        ``Nearest("auto", equivariance=1e-4)`` takes the least number that reaches this error, see
        `choose_neighbors`. Other edges go by name: ``"mesh"`` (Voronoi cells that touch),
        ``"grid"`` (four neighbors on a longitude-latitude grid) and ``"adjacent"`` (the eight
        HEALPix pixels around), see `deepsphere.graph.edges`.
    kind : str or Optimal, optional
        ``"normalized"``, ``"combinatorial"``, ``"random_walk"``; ``"optimal"`` or `Optimal`, with
        weights that make it as equivariant to rotation as these edges allow; or
        ``"normalized_tf2"``: the normalized one of the TensorFlow 2 code, which keeps exactly
        `neighbors` neighbors where several are at equal distance, and with which its trained
        weights give the same numbers. Default: ``"optimal"`` on longitude-latitude grids with
        spread neighbors, where Gaussian weights respond differently at each latitude, and
        ``"normalized"`` for everything else.

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
    >>> laplacian(Healpix(4), neighbors=8).shape
    (192, 192)
    """
    return spectral(sampling, neighbors, kind).laplacian.copy()


def rescaled_laplacian(
    sampling: Sampling,
    neighbors: Edges | None = None,
    kind: Kind | None = None,
    scale: float = 1.0,
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
