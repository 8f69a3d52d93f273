"""Graphs on a sampling: edges, weights, Laplacians, and the rescaling of their spectra."""

from deepsphere.graph.cached_laplacians import laplacian, rescaled_laplacian, spectral
from deepsphere.graph.components import DisconnectedGraphWarning
from deepsphere.graph.edges import edge_pattern, edge_weights
from deepsphere.graph.eigenvalue import largest_eigenvalue, rescale
from deepsphere.graph.isotropy import isotropy_error
from deepsphere.graph.laplacians import laplacian_of_weights
from deepsphere.graph.neighbors import nearest_neighbors
from deepsphere.graph.resolve import choose_neighbors, resolve_graph
from deepsphere.graph.spec import Graph, GraphLike, Optimal
from deepsphere.graph.weights import gaussian_weights, kernel_width

__all__ = [
    "DisconnectedGraphWarning",
    "Graph",
    "GraphLike",
    "Optimal",
    "choose_neighbors",
    "edge_pattern",
    "edge_weights",
    "gaussian_weights",
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
]
