"""From a sampling to a sparse operator: neighbours, weights, Laplacian, bound, rescaling."""

from deepsphere.graph.laplacians import (
    KINDS,
    WEIGHTED_KINDS,
    check_kind,
    clear_cache,
    laplacian,
    laplacian_of_weights,
    rescaled_laplacian,
    spectral,
)
from deepsphere.graph.neighbors import nearest_neighbors
from deepsphere.graph.spectrum import MARGIN, largest_eigenvalue, rescale
from deepsphere.graph.weights import gaussian_weights, kernel_width

__all__ = [
    "KINDS",
    "MARGIN",
    "WEIGHTED_KINDS",
    "check_kind",
    "clear_cache",
    "gaussian_weights",
    "kernel_width",
    "laplacian",
    "laplacian_of_weights",
    "largest_eigenvalue",
    "nearest_neighbors",
    "rescale",
    "rescaled_laplacian",
    "spectral",
]
