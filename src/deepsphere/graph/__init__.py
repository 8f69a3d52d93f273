"""Graphs on a sampling: edges, weights, Laplacians, and the rescaling of their spectra."""

from deepsphere._cache import clear_cache
from deepsphere.graph.cached_laplacians import (
    laplacian,
    rescaled_laplacian,
    spectral,
)
from deepsphere.graph.components import DisconnectedGraphWarning
from deepsphere.graph.edges import edge_pattern, edge_weights
from deepsphere.graph.eigenvalue import MARGIN, largest_eigenvalue, rescale
from deepsphere.graph.isotropy import isotropy_error
from deepsphere.graph.laplacians import laplacian_of_weights
from deepsphere.graph.neighbors import nearest_neighbors
from deepsphere.graph.resolve import choose_neighbors, resolve_graph
from deepsphere.graph.spec import (
    DEFAULT_NEIGHBORS,
    EDGES,
    LAPLACIANS,
    Graph,
    GraphLike,
    LaplacianName,
    Optimal,
    as_graph,
    graph_config,
    with_graph,
)
from deepsphere.graph.weights import gaussian_weights, kernel_width

__all__ = [
    "DEFAULT_NEIGHBORS",
    "EDGES",
    "LAPLACIANS",
    "MARGIN",
    "DisconnectedGraphWarning",
    "Graph",
    "GraphLike",
    "LaplacianName",
    "Optimal",
    "as_graph",
    "choose_neighbors",
    "clear_cache",
    "edge_pattern",
    "edge_weights",
    "gaussian_weights",
    "graph_config",
    "isotropy_error",
    "kernel_width",
    "laplacian",
    "laplacian_of_weights",
    "largest_eigenvalue",
    "nearest_neighbors",
    "rescale",
    "rescaled_laplacian",
    "resolve_graph",
    "spectral",
    "with_graph",
]
