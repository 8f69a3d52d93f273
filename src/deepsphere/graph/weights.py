"""Gaussian edge weights and the widths of their kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.graph.coincident import distinct, spread_back, whole_and_rows
from deepsphere.graph.meridian import meridian_of
from deepsphere.graph.neighbors import check_neighbors, edges_to_nearest, nearest_neighbors
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
(Defferrard et al., arXiv 2012.15000, and its PyGSP code)."""


def kernel_width(nside: int, neighbors: int) -> float:
    """Return the tuned width of the Gaussian kernel on HEALPix.

    Parameters
    ----------
    nside : int
        HEALPix resolution, a power of two. Widths are tabulated from 32 to 1024. Outside this range
        they are proportional to ``1 / nside``, as the distance between pixels is.
    neighbors : int
        Number of neighbors. Widths are tabulated for 8, 20, 40 and 60. In between, the logarithm of
        the width is interpolated linearly in the logarithm of the number. Below 8, the first
        segment is extrapolated; above 60, the width grows with the square root, like the radius of
        a disc of that many pixels.

    Returns
    -------
    float
        Width sigma of ``exp(-ln 2 (d / sigma)**2)``, in units of the sphere's radius: the chord
        distance d at which the weight is 1/2.

    Raises
    ------
    TypeError
        If `nside` or `neighbors` is not an integer.
    ValueError
        If `nside` is not a power of two from 1 to 2**29, or `neighbors` is less than 1.
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
    """Return the edges between nearest neighbors, with Gaussian weights.

    ``w_ij = exp(-ln 2 (d_ij / sigma)**2)``, with d the chord distance. Two points are joined if
    either is among the nearest neighbors of the other.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere, with n points. On a part of the sphere, neighbors lie in that
        part.
    neighbors : int
        Number of neighbors, clipped to ``n - 1``.
    width : {"tuned", "average"} or float, default "tuned"
        Width sigma: the chord distance at which the weight is 1/2, in units of the sphere's radius.
        ``"average"`` is the mean distance to the neighbors. ``"tuned"`` minimizes the equivariance
        error; it is known on HEALPix (`kernel_width`) and on the samplings of `TUNED`, and falls
        back to ``"average"`` on others.
    spread : bool, optional
        Whether to spread neighbors where points are crowded (see `deepsphere.graph.spread`) instead
        of always taking the nearest. The mean distance is then the mean over the edges. Defaults to
        `sampling.crowded`, which is True on longitude-latitude grids.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric weights with an empty diagonal. Where points coincide, the weights are computed
        for the distinct points, and `deepsphere.graph.coincident.spread_back` expands them to the
        pixels.

    Raises
    ------
    TypeError
        If `neighbors` is not an integer.
    ValueError
        If `neighbors` is less than 1, or `width` is neither positive nor a known name.
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
    """Return the chord distances along the edges to nearest or to spread neighbors.

    The points of the sampling must be distinct.
    """
    if not spread:
        return edges_to_nearest(sampling.points, neighbors)
    return edges_to_spread(
        sampling.points, neighbors, points_on_sphere(sampling), meridian_of(sampling)
    )


def points_on_sphere(sampling: Sampling) -> float:
    """Return how many points the whole sphere would have at the density of the sampling.

    On crowded samplings, the density is that of the whole, because it differs between parts.
    """
    whole = whole_and_rows(sampling)[0] if sampling.crowded else sampling
    return 4 * np.pi / float(whole.areas.mean())


def gaussian_kernel(distances: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return ``exp(-ln 2 (d / width)**2)``, which is 1/2 at the distance `width`."""
    return np.exp(-np.log(2) * (distances / width) ** 2)


TUNED: dict[str, tuple[float, ...]] = {
    "fibonacci": (0.701, 0.888, 1.155),
    "icosahedral": (0.823, 1.311, 2.550),
    "icosahedral-faces": (0.783, 1.469, 2.620),
    "cubed-sphere": (0.814, 1.492, 2.634),
    "reduced-gaussian": (0.886, 1.600, 3.152),
}
"""Tuned widths by kind of sampling, for each of `TABLE_NEIGHBORS` but the last, in units of
``sqrt(4 pi / n)``, the side of a square of the mean area. They minimize the equivariance error, as
those of the papers do, and were found by `deepsphere.graph.width_search.best_width` at 2048
vertices of samplings with 5 120 to 11 000.

Where areas differ by tens of percent, as on the last four, large numbers of neighbors need wide
kernels with nearly equal weights: the response then follows the spacing of the points. Grids of
equal rings and random points are missing because they are too uneven for a single width."""


def tuned_width(sampling: Sampling, neighbors: int) -> float | None:
    """Return the tuned width of the Gaussian kernel, or None if it is unknown.

    A part of the sphere has the width of the whole.
    """
    if isinstance(sampling, Healpix):
        return kernel_width(sampling.nside, neighbors)
    whole: Sampling = getattr(sampling, "whole", sampling)
    widths = TUNED.get(whole.kind)
    if widths is None:
        return None
    log_k = np.log(TABLE_NEIGHBORS[: len(widths)])
    return _interpolated(neighbors, log_k, np.log(widths)) * float(np.sqrt(4 * np.pi / len(whole)))
