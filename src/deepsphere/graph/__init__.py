"""From a sampling to a sparse operator: neighbours, weights, Laplacian, bound, rescaling."""

from deepsphere.graph.build import laplacian_of_weights
from deepsphere.graph.choices import (
    EDGE_SETS,
    KINDS,
    WEIGHTED_KINDS,
    Edges,
    Kind,
    Nearest,
    Optimal,
    check_edges,
    check_kind,
    plain,
)
from deepsphere.graph.choose import choose_neighbors, definite_edges
from deepsphere.graph.edges import edge_weights
from deepsphere.graph.isotropy import isotropy_error
from deepsphere.graph.laplacians import (
    clear_cache,
    laplacian,
    rescaled_laplacian,
    spectral,
)
from deepsphere.graph.neighbors import nearest_neighbors
from deepsphere.graph.spectrum import MARGIN, largest_eigenvalue, rescale
from deepsphere.graph.weights import gaussian_weights, kernel_width

__all__ = [
    "EDGE_SETS",
    "KINDS",
    "MARGIN",
    "WEIGHTED_KINDS",
    "Edges",
    "Kind",
    "Nearest",
    "Optimal",
    "check_edges",
    "check_kind",
    "choose_neighbors",
    "clear_cache",
    "definite_edges",
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
