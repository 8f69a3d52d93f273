"""Smoothing with a Gaussian beam as a sparse matrix."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, isfinite, log2, pi, sin, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from deepsphere._processors import thread_count
from deepsphere.graph.neighbors import TIE
from deepsphere.sampling import Healpix, Sampling

SUPPORT = 4.0
"""Radius at which the kernel is cut off, in standard deviations. It loses exp(-8) = 0.03 % of its
mass and 0.3 % of its variance. With 3 it would lose 1.1 % and 5 %, by far the largest error (see
`deepsphere.layers.smoothing.GaussianSmoothing`). With 5 it has 1.6 times the entries, and is better
only where the error is already 0.3 % or less."""

WIDEST = 1.5
"""Largest standard deviation of a single pass, in pixel spacings: 111 entries per row at `SUPPORT`.

Several passes need as many multiplications as one with a wider kernel, but less memory."""

COARSE_LEVEL = 6  # the search for surroundings starts from at most 49 152 pixels
CHUNK = 2**22  # entries searched at once: 100 MB


def check_beam(sigma: float, support: float = SUPPORT) -> None:
    """Raise ValueError if `sigma` is not in (0, pi] rad or `support` is not positive and finite."""
    if not (isfinite(sigma) and 0 < sigma <= pi):
        raise ValueError(f"sigma must be in (0, pi] rad, got {sigma} rad: check its unit")
    if not (isfinite(support) and support > 0):
        raise ValueError(f"support must be a positive number of standard deviations, got {support}")


def beam_passes(sampling: Sampling, sigma: float) -> int:
    """Return the number of passes in which none is wider than `WIDEST` pixel spacings.

    Variances add, so each of m passes has the standard deviation ``sigma / sqrt(m)``.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere. The pixel spacing is the square root of the mean area.
    sigma : float
        Standard deviation of the whole kernel in rad.

    Returns
    -------
    int
        The number of passes, at least 1.

    Raises
    ------
    ValueError
        If `sigma` is not in (0, pi].

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> beam_passes(Healpix(64), 0.1)
    18
    """
    check_beam(sigma)
    spacing = sqrt(sampling.areas.mean())
    return max(1, ceil((sigma / (WIDEST * spacing)) ** 2))


def surroundings(sampling: Sampling, radius: float) -> Healpix | None:
    """Return the pixels within some distance of a sampled region, but outside it.

    Parameters
    ----------
    sampling : Sampling
        A part of the sphere.
    radius : float
        Largest distance in rad.

    Returns
    -------
    Healpix or None
        The pixels. None if there are none, or `sampling` is not a `Healpix`.

    Examples
    --------
    >>> surroundings(Healpix(2, [0]), 0.6)
    Healpix(nside=2, pixels=<4 of 48>)
    """
    if not isinstance(sampling, Healpix) or sampling.is_full:
        return None
    # Search coarse pixels first, with a spacing of about the radius. Corners of a pixel are at most
    # 1.05 spacings from its center.
    spacing = sqrt(sampling.areas[0])
    p = max(int(log2(max(radius / spacing, 1))), sampling.level - COARSE_LEVEL)
    p = min(p, sampling.level)
    parents = Healpix(sampling.nside >> p, np.unique(sampling.pixels >> 2 * p))
    coarse = _near(Healpix(parents.nside), parents, radius + 2.1 * spacing * 2**p)
    candidates = ((coarse[:, None] << 2 * p) + np.arange(4**p)).ravel()
    candidates = np.setdiff1d(candidates, sampling.pixels, assume_unique=True)
    if len(candidates):
        candidates = _near(Healpix(sampling.nside, candidates), sampling, radius)
    return Healpix(sampling.nside, candidates) if len(candidates) else None


def _near(sampling: Healpix, others: Healpix, radius: float) -> NDArray[np.int64]:
    """Return the pixels of a sampling that lie within `radius` of some others."""
    tree = cKDTree(others.points, balanced_tree=False, compact_nodes=False)
    distances, _ = tree.query(
        sampling.points, distance_upper_bound=_chord(radius), workers=thread_count()
    )
    return sampling.pixels[np.isfinite(distances)]


def gaussian_beam(
    sampling: Sampling, sigma: float, support: float = SUPPORT, around: Sampling | None = None
) -> csr_array:
    """Return the matrix that smooths maps with a Gaussian, in one pass.

    ``A_ij = a_j exp(-r_ij^2 / 2 sigma^2) / sum_k a_k exp(-r_ik^2 / 2 sigma^2)`` for great-circle
    distances ``r`` up to ``support * sigma``, with ``a`` the areas of the pixels. Rows sum to one
    over the sampled pixels, even at the edge of a part of the sphere.

    Parameters
    ----------
    sampling : Sampling
        The sampling of the sphere.
    sigma : float
        Standard deviation in rad.
    support : float, default 4
        Radius of the kernel in standard deviations. The default cuts off 0.03 % of its mass.
    around : Sampling, optional
        Further pixels, which follow those of `sampling` in rows and columns.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The matrix, where n counts the pixels of `sampling` and `around`. A row has about
        ``pi (support sigma)^2 / area`` entries. The matrix is symmetric only up to the
        normalization of the rows, so it conserves the sum of a map only approximately.

    Raises
    ------
    ValueError
        If `sigma` is not in (0, pi], or `support` is not positive and finite.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> matrix = gaussian_beam(Healpix(8), sigma=0.1)
    >>> bool(abs(matrix.sum(axis=1) - 1).max() < 1e-12)
    True
    """
    check_beam(sigma, support)
    samplings = [sampling] if around is None else [sampling, around]
    points = np.concatenate([each.points for each in samplings])
    areas = np.concatenate([each.areas for each in samplings])
    chord = _chord(support * sigma)
    tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
    counts = tree.query_ball_point(points, chord, return_length=True, workers=thread_count())
    ends = np.cumsum(counts, dtype=np.int64)
    # Each chunk holds the rows that end before the next multiple of CHUNK entries.
    cuts = np.searchsorted(ends, np.arange(0, ends[-1] + CHUNK, CHUNK), side="right")
    cuts = np.unique(np.append(cuts, len(points)))
    index = np.dtype(np.int32 if ends[-1] < 2**31 else np.int64)
    indices, values = np.empty(ends[-1], index), np.empty(ends[-1])
    starts = np.concatenate(([0], ends)).astype(index)
    for first, last in pairwise(cuts):
        here = slice(starts[first], starts[last])
        kernel = _kernel(tree, points[first:last], chord, sigma)
        indices[here], values[here] = kernel.indices, kernel.data
    values *= areas[indices]
    values /= np.repeat(np.add.reduceat(values, ends - counts), counts)
    return csr_array((values, indices, starts), shape=(len(points), len(points)))


def _chord(angle: float) -> float:
    return 2 * sin(min(angle, pi) / 2) * (1 + TIE)


def _kernel(tree: cKDTree, points: NDArray[np.float64], chord: float, sigma: float) -> csr_array:
    """Return the kernel between `points` and all points of the tree, with sorted rows."""
    pairs = cKDTree(points).sparse_distance_matrix(tree, chord, output_type="ndarray")
    angles = 2 * np.arcsin(np.minimum(pairs["v"] / 2, 1))
    values = np.exp(-((angles / sigma) ** 2) / 2)
    kernel = csr_array((values, (pairs["i"], pairs["j"])), shape=(len(points), tree.n))
    kernel.sort_indices()
    return kernel
