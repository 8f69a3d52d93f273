"""From a sampling to a sparse operator: neighbours, weights, Laplacian, bound, rescaling."""

from deepsphere.graph.build import laplacian_of_weights
from deepsphere.graph.choices import (
    DEFAULT_NEIGHBORS,
    EDGE_SETS,
    KINDS,
    WEIGHTED_KINDS,
    Edges,
    Kind,
    Nearest,
    Optimal,
    check_edges,
    check_kind,
    choice_as_written,
    plain,
)
from deepsphere.graph.choose import choose_neighbors, definite_edges, definite_graph
from deepsphere.graph.edges import edge_pattern, edge_weights
from deepsphere.graph.isotropy import isotropy_error
from deepsphere.graph.laplacians import (
    clear_cache,
    laplacian,
    rescaled_laplacian,
    spectral,
)
from deepsphere.graph.neighbors import nearest_neighbors
from deepsphere.graph.pieces import DisconnectedGraphWarning
from deepsphere.graph.spectrum import MARGIN, largest_eigenvalue, rescale
from deepsphere.graph.weights import gaussian_weights, kernel_width

__all__ = [
    "DEFAULT_NEIGHBORS",
    "EDGE_SETS",
    "KINDS",
    "MARGIN",
    "WEIGHTED_KINDS",
    "DisconnectedGraphWarning",
    "Edges",
    "Kind",
    "Nearest",
    "Optimal",
    "check_edges",
    "check_kind",
    "choice_as_written",
    "choose_neighbors",
    "clear_cache",
    "definite_edges",
    "definite_graph",
    "edge_pattern",
    "edge_weights",
    "gaussian_weights",
    "isotropy_error",
    "kernel_width",
    "laplacian",
    "laplacian_of_weights",
    "largest_eigenvalue",
    "nearest_neighbors",
    "plain",
    "rescale",
    "rescaled_laplacian",
    "spectral",
]
