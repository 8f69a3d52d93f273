"""The graph of deepsphere-cosmo-tf2, edge for edge: ``Graph(laplacian="normalized_tf2")``.

Where neighbors are equally distant, that code took the neighbors that happened to come first after
rounding. Networks trained with it reproduce their numbers only on the same edges, so this module
computes pixel coordinates with the same rounding, bit for bit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from deepsphere._processors import thread_count
from deepsphere.graph import Graph, laplacian_of_weights
from deepsphere.graph.neighbors import check_neighbors
from deepsphere.graph.spec import register_laplacian
from deepsphere.graph.weights import kernel_width
from deepsphere.sampling import Healpix, Sampling

RINGS = np.repeat([2, 3, 4], 4)
"""Ring of the southern corner of each base pixel, in units of nside."""

MERIDIANS = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7])
"""Longitude of the corners of each base pixel, in units of pi / 4."""


def old_laplacian(sampling: Sampling, graph: Graph) -> csr_array:
    """Return the normalized Laplacian of the old code.

    Parameters
    ----------
    sampling : Healpix
        The sphere or a part of it, with n pixels.
    graph : Graph
        The number of neighbors. It must not request anything that the old code did not support.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The Laplacian. It keeps exactly ``graph.neighbors`` neighbors where several are equally
        distant.

    Raises
    ------
    TypeError
        If `sampling` is not a `Healpix`.
    ValueError
        If the graph names edges other than the nearest neighbors, spreads them, or sets a width.
    """
    if not isinstance(sampling, Healpix):
        raise TypeError(f"laplacian 'normalized_tf2' requires a Healpix sampling, got {sampling!r}")
    if graph.edges != "nearest" or graph.width != "tuned" or graph.spread:
        raise ValueError(
            "laplacian 'normalized_tf2' requires nearest neighbors and the tuned width, got "
            f"{graph!r}; leave out edges, width and spread, or use 'normalized'"
        )
    return laplacian_of_weights(first_neighbors_weights(sampling, graph.neighbor_count))


register_laplacian("normalized_tf2", old_laplacian)


def first_neighbors_weights(sampling: Sampling, neighbors: int) -> csr_array:
    """Return Gaussian weights between each pixel and exactly `neighbors` others.

    Rounding decides between equally distant neighbors.

    Parameters
    ----------
    sampling : Healpix
        The sphere or a part of it, with n pixels.
    neighbors : int
        Number of neighbors, clipped to ``n - 1``.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric weights, those of `gaussian_weights` except for the ties.

    Raises
    ------
    TypeError
        If `neighbors` is not an integer.
    ValueError
        If `neighbors` is less than 1.
    """
    if not isinstance(sampling, Healpix):
        raise TypeError(f"laplacian 'normalized_tf2' requires a Healpix sampling, got {sampling!r}")
    n = len(sampling)
    k = min(check_neighbors(neighbors), n - 1)
    points = _healpy_points(sampling)
    # Ties come in the order in which the tree stores the points, whatever the number of threads.
    distances, columns = cKDTree(points).query(points, k + 1, workers=thread_count())
    distances, columns = distances.reshape(n, -1)[:, 1:], columns.reshape(n, -1)[:, 1:]
    width = kernel_width(sampling.nside, neighbors)
    values = np.exp(-np.log(2) * (distances / width) ** 2).ravel()
    starts = np.arange(n + 1) * k
    weights = csr_array((values, columns.ravel(), starts), shape=(n, n))
    weights.sort_indices()
    return weights.maximum(weights.T.tocsr())


def _healpy_points(sampling: Healpix) -> NDArray[np.float64]:
    """Return unit vectors of pixel centers with the rounding errors of ``healpy.pix2vec``.

    The formulas are those of Gorski et al. 2005, section 5: ring number, position in the ring, then
    z and longitude. Operations are in healpy's order; sines and cosines are the C library's.
    """
    nside, pixels = sampling.nside, sampling.pixels
    face, inside = pixels // nside**2, pixels % nside**2
    x, y = _even_bits(inside), _even_bits(inside >> 1)
    ring = RINGS[face] * nside - x - y - 1
    north, south = ring < nside, ring > 3 * nside
    in_ring = np.where(north, ring, np.where(south, 4 * nside - ring, nside))  # pixels / 4
    area = 4.0 / (12 * nside**2)
    step = 2 * nside * area
    cap = in_ring * in_ring * area
    z = np.where(north, 1 - cap, np.where(south, cap - 1, (2 * nside - ring) * step))
    exact = np.abs(z) > 0.99  # near the poles 1 - z^2 would cancel
    sine = np.sqrt(np.where(exact, cap * (2.0 - cap), (1 - z) * (1 + z)))
    place = MERIDIANS[face] * in_ring + x - y
    place = np.where(place < 0, place + 8 * in_ring, place)
    quarter = np.pi / 2
    longitude = np.where(
        in_ring == nside, 0.75 * quarter * place * step, 0.5 * quarter * place / in_ring
    )
    # NumPy's sine and cosine differ from the C library's in the last bit.
    cosines = np.fromiter(map(math.cos, longitude), np.float64, len(longitude))
    sines = np.fromiter(map(math.sin, longitude), np.float64, len(longitude))
    return np.column_stack((sine * cosines, sine * sines, z))


def _even_bits(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bits at even positions: a coordinate in a base pixel, from the NEST index."""
    gathered = np.zeros_like(numbers)
    for bit in range(30):
        gathered |= ((numbers >> 2 * bit) & 1) << bit
    return gathered
