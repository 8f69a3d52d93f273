"""Gaussian edge weights, with the kernel widths of the DeepSphere papers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.graph.meridian import meridian_of
from deepsphere.graph.neighbors import check_neighbors, edges_to_nearest, nearest_neighbors
from deepsphere.graph.places import distinct, spread_back, whole_and_rows
from deepsphere.graph.spec import check_width
from deepsphere.graph.spread import edges_to_spread
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
"""Width for each nside and each of `TABLE_NEIGHBORS`, found by minimizing the equivariance error
(Defferrard et al., arXiv 2012.15000, and the PyGSP code that goes with it)."""


def kernel_width(nside: int, neighbors: int) -> float:
    """Return the width of the Gaussian kernel on HEALPix: the chord distance with weight 1/2.

    Parameters
    ----------
    nside : int
        Resolution. Below 32 the width doubles, above 1024 it halves with each level, as the
        distance between pixels does.
    neighbors : int
        Number of neighbors. 8, 20, 40 and 60 have tabulated widths. In between the logarithm
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
    return _interpolated(neighbors, log_k, log_widths) * level / nside


def _interpolated(
    neighbors: int, log_k: NDArray[np.float64], log_widths: NDArray[np.float64]
) -> float:
    log_width = np.interp(np.log(neighbors), log_k, log_widths)
    if np.log(neighbors) < log_k[0]:
        slope = (log_widths[1] - log_widths[0]) / (log_k[1] - log_k[0])
        log_width += slope * (np.log(neighbors) - log_k[0])
    elif np.log(neighbors) > log_k[-1]:
        log_width += 0.5 * (np.log(neighbors) - log_k[-1])
    return float(np.exp(log_width))


def gaussian_weights(
    sampling: Sampling, neighbors: int, width: str | float = "tuned", spread: bool | None = None
) -> csr_array:
    """Join each point to its nearest neighbors by edges with Gaussian weights.

    ``w_ij = exp(-ln 2 (d_ij / sigma)**2)``, with d the chord distance; an edge exists where
    either end is among the nearest neighbors of the other.

    Parameters
    ----------
    sampling : Sampling
        Where the sphere is sampled; on a part of the sphere, neighbors are sought in that part.
    neighbors : int
        Number of neighbors, clipped to ``len(sampling) - 1``.
    width : {"tuned", "average"} or float, default "tuned"
        Width sigma: the distance at which a weight is 1/2, in units of the sphere's radius.
        ``"tuned"`` minimizes the equivariance error, where that was found: on HEALPix
        (`kernel_width`) and on the samplings of `TUNED`. Elsewhere it is as ``"average"``: the
        mean distance to the neighbors.
    spread : bool, optional
        Whether neighbors are spread where points crowd (`deepsphere.graph.spread`), and not always
        the nearest. The mean distance is then the one along the edges. Default: whether the
        sampling is `crowded`, as longitude-latitude grids are.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric weights with an empty diagonal. Where points coincide, they are those of the
        distinct points, which `deepsphere.graph.places.spread_back` brings back to the pixels.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """
    width, neighbors = check_width(width), check_neighbors(neighbors)
    spread = sampling.crowded if spread is None else spread
    vertices = distinct(sampling)
    if width == "tuned":
        width = tuned_width(sampling, neighbors) or "average"
    weights = join(vertices, neighbors, spread)
    if width == "average":
        nearest = None if spread else nearest_neighbors(vertices.points, neighbors)
        distances = weights.data if nearest is None else nearest.distances
        width = float(distances.mean()) if len(distances) else 1.0
    weights.data = gaussian_kernel(weights.data, float(width))
    return spread_back(weights, sampling)


def join(sampling: Sampling, neighbors: int, spread: bool = False) -> csr_array:
    """Return the edges to the nearest neighbors, or to spread ones, with their chord distances.

    The sampling's points are distinct.
    """
    if not spread:
        return edges_to_nearest(sampling.points, neighbors)
    return edges_to_spread(
        sampling.points, neighbors, points_on_sphere(sampling), meridian_of(sampling)
    )


def points_on_sphere(sampling: Sampling) -> float:
    """Return how many points the whole sphere has, or would have at the density of a part.

    On crowded samplings it is that of the whole: one part of a grid is denser than another.
    """
    whole = whole_and_rows(sampling)[0] if sampling.crowded else sampling
    return 4 * np.pi / float(whole.areas.mean())


def gaussian_kernel(distances: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return ``exp(-ln 2 (d / width)**2)``: 1/2 at the distance `width`."""
    return np.exp(-np.log(2) * (distances / width) ** 2)


TUNED: dict[str, tuple[float, ...]] = {
    "fibonacci": (0.701, 0.888, 1.155),
    "icosahedral": (0.823, 1.311, 2.550),
    "icosahedral-faces": (0.783, 1.469, 2.620),
    "cubed-sphere": (0.814, 1.492, 2.634),
    "reduced-gaussian": (0.886, 1.600, 3.152),
}
"""Tuned widths of samplings with about equal areas by their kind, for each of `TABLE_NEIGHBORS` but
the last, in units of ``sqrt(4 pi / n)``, the side of a square of the mean area. Found as the
papers' were, by `deepsphere.graph.tune.best_width` at 2048 vertices of 5 120 to 11 000.

Where areas differ by tens of percent, as on the last four, many neighbors want wide, that is
nearly equal, weights: then the response follows the spacing of the points. Grids of equal rings and
random points have no such width: their points are too uneven for any one to fit."""


def tuned_width(sampling: Sampling, neighbors: int) -> float | None:
    """Return the width of the Gaussian kernel with the least equivariance error, if it is known.

    On a part of the sphere it is that of the whole.
    """
    if isinstance(sampling, Healpix):
        return kernel_width(sampling.nside, neighbors)
    whole: Sampling = getattr(sampling, "whole", sampling)
    widths = TUNED.get(whole.kind)
    if widths is None:
        return None
    log_k = np.log(TABLE_NEIGHBORS[: len(widths)])
    return _interpolated(neighbors, log_k, np.log(widths)) * float(np.sqrt(4 * np.pi / len(whole)))
