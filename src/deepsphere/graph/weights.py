"""Gaussian edge weights, with the kernel widths of the DeepSphere papers."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from deepsphere.graph.neighbors import check_neighbors, nearest_neighbors
from deepsphere.sampling import Healpix, Sampling
from deepsphere.sampling.healpix import check_nside

TABLE_NEIGHBORS = (8, 20, 40, 60)
TABLE_WIDTHS = {
    32: (0.02500, 0.03185, 0.042432, 0.051720),
    64: (0.01228, 0.01564, 0.021354, 0.025403),
    128: (0.00614, 0.00782, 0.010595, 0.012695),
    256: (0.00307, 0.00391, 0.005551, 0.006351),
    512: (0.00154, 0.00196, 0.005551 / 2, 0.006351 / 2),
    1024: (0.00077, 0.00098, 0.005551 / 4, 0.006351 / 4),
}
"""Width for each nside and each of `TABLE_NEIGHBORS`, found by minimising the equivariance error
(Defferrard et al., arXiv 2012.15000, and the PyGSP code that goes with it)."""


def kernel_width(nside: int, neighbors: int) -> float:
    """Return the width of the Gaussian kernel on HEALPix: the chord distance with weight 1/2.

    Parameters
    ----------
    nside : int
        Resolution. Below 32 the width doubles, above 1024 it halves with each level, as the
        distance between pixels does.
    neighbors : int
        Number of neighbours. 8, 20, 40 and 60 have tabulated widths. In between the logarithm
        of the width is interpolated linearly in the logarithm of the number; below 8 the first
        segment goes on, and above 60 the width grows with the square root, as the radius of a
        disc of that many pixels does.

    Returns
    -------
    float
        Width sigma of ``exp(-ln 2 (d / sigma)**2)``, in units of the sphere's radius.

    Raises
    ------
    TypeError, ValueError
        If `nside` is not a power of two, or `neighbors` not an integer of one or more.
    """
    nside, neighbors = check_nside(nside), check_neighbors(neighbors)
    level = int(np.clip(nside, min(TABLE_WIDTHS), max(TABLE_WIDTHS)))
    log_k, log_widths = np.log(TABLE_NEIGHBORS), np.log(TABLE_WIDTHS[level])
    log_width = np.interp(np.log(neighbors), log_k, log_widths)
    if neighbors < TABLE_NEIGHBORS[0]:
        slope = (log_widths[1] - log_widths[0]) / (log_k[1] - log_k[0])
        log_width += slope * (np.log(neighbors) - log_k[0])
    elif neighbors > TABLE_NEIGHBORS[-1]:
        log_width += 0.5 * (np.log(neighbors) - log_k[-1])
    return float(np.exp(log_width) * level / nside)


def gaussian_weights(sampling: Sampling, neighbors: int) -> csr_array:
    """Join each point to its nearest neighbours by edges with Gaussian weights.

    ``w_ij = exp(-ln 2 (d_ij / sigma)**2)``, with d the chord distance; an edge exists where
    either end is among the nearest neighbours of the other.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled; on a part of the sphere, neighbours are sought in that part.
    neighbors : int
        Number of neighbours, clipped to ``len(sampling) - 1``.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric weights with an empty diagonal.

    Raises
    ------
    TypeError
        If there is no kernel width for this kind of sampling.
    """
    if not isinstance(sampling, Healpix):
        raise TypeError(f"no kernel width is known for {sampling!r}")
    n = len(sampling)
    rows, columns, distances = nearest_neighbors(sampling.points, neighbors)
    sigma = kernel_width(sampling.nside, neighbors)
    values = np.exp(-np.log(2) * (distances / sigma) ** 2)
    starts = np.searchsorted(rows, np.arange(n + 1))
    index = np.int32 if len(rows) < 2**30 else np.int64
    weights = csr_array((values, columns.astype(index), starts.astype(index)), shape=(n, n))
    weights.sort_indices()
    return weights.maximum(weights.T.tocsr())
