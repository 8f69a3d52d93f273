"""Exact spectrum and equivariance error of a sparse operator at each spherical-harmonic degree."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.graph.legendre import half_squares, legendre_gaps
from deepsphere.sampling import Sampling

CHUNK = 2**16
"""Pairs of neighbors processed together: arrays of 512 kB, which stay in the processor's cache."""


FRACTIONS = (1 / 16, 1 / 4, 1 / 2, 1, 3 / 2)
"""Degrees that represent the band, in units of nside: from large scales to the end of the power of
maps."""


def resolution(sampling: Sampling) -> float:
    """Return ``sqrt(n / 12)``, which is nside on HEALPix."""
    return sqrt(len(sampling) / 12)


def table_degrees(sampling: Sampling, most: float = FRACTIONS[-1]) -> list[int]:
    """Return the distinct degrees at 1/16, 1/4, 1/2, 1 and 3/2 of nside.

    Parameters
    ----------
    sampling : Sampling
        The whole sphere; ``sqrt(n / 12)`` takes the place of nside on samplings other than HEALPix.
    most : float, default 3/2
        Largest degree in units of nside, at least 1/16.

    Returns
    -------
    list of int
        The degrees, rounded down but at least 1, in increasing order.
    """
    fractions = [fraction for fraction in FRACTIONS if fraction <= most]
    return sorted({max(1, int(fraction * resolution(sampling))) for fraction in fractions})


def some_rows(n: int, most: int, seed: int = 0) -> NDArray[np.int64]:
    """Return the sorted indices of n rows, or of `most` of them chosen at random if n is larger."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def geometric_mean(errors: NDArray[np.float64]) -> float:
    """Return the geometric mean, which is 0 if any error is."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(errors).mean()))


def check_degrees(degrees: Sequence[int]) -> NDArray[np.int64]:
    """Return spherical-harmonic degrees as an array.

    Raises
    ------
    TypeError
        If `degrees` is empty or not a sequence of integers.
    ValueError
        If a degree is less than 1.
    """
    array = np.atleast_1d(np.asarray(degrees))
    if array.ndim != 1 or not len(array) or not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"degrees must be integers, got {degrees!r}")
    if array.min() < 1:
        raise ValueError(f"degrees must be at least 1, got {array.min()}")
    return array.astype(np.int64)


def isotropy_error(
    matrix: csr_array,
    points: NDArray[np.float64],
    degrees: Sequence[int],
    *,
    rows: NDArray[np.int64] | None = None,
    areas: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the equivariance error of a sparse operator at each degree.

    An operator that commutes with all rotations multiplies every field of spherical-harmonic degree
    ell by a number ``h_l``. The error is ``E_l = 2 E|L f - h f|**2 / E|L f|**2`` over random fields
    f of that degree, with the best h. It equals the mean over all rotations g of
    ``|L g f - g L f|**2 / |L f|**2``, but without the error of rotating a sampled map: the
    expectations are exact sums over pairs of neighbors.

    Parameters
    ----------
    matrix : csr_array, shape (n, n)
        The operator L.
    points : ndarray of float64, shape (n, 3)
        Unit vectors.
    degrees : sequence of int
        Degrees ell, each at least 1.
    rows : ndarray of int, optional
        Indices of the points at which to measure the error, for instance the inside of a part of
        the sphere. Defaults to all points.
    areas : ndarray of float64, shape (n,), optional
        Weights of the points in the mean over the sphere. Defaults to equal weights.

    Returns
    -------
    ndarray of float64, shape (len(degrees),)
        The error at each degree: 0 for an isotropic operator, 2 for one whose output is unrelated
        to its input.

    Raises
    ------
    TypeError
        If `degrees` is empty or not a sequence of integers.
    ValueError
        If a degree is less than 1.

    Notes
    -----
    Perraudin et al., arXiv 1904.05146, and Defferrard et al., arXiv 2012.15000, define the error
    with rotated maps. In the mean over rotations the mixed term vanishes, which leaves twice the
    part that is not isotropic. With ``(L f)_i = s_i f_i + sum_j v_ij (f_i - f_j)``, where s are the
    row sums, everything is a sum of ``Q_l = 1 - P_l`` of distances between neighbors.
    """
    wanted = check_degrees(degrees)
    selected, share = _selection(matrix, rows, areas)
    signal = np.zeros(len(wanted))
    power = np.zeros(len(wanted))
    for start, stop in chunks(np.diff(matrix.indptr)[selected]):
        _add_rows(matrix, points, selected[start:stop], share[start:stop], wanted, signal, power)
    # For a multiple of the identity, rounding can make the difference negative.
    left = np.maximum(power - signal**2, 0.0)
    return np.divide(2 * left, power, out=np.zeros_like(left), where=power > 0)


def spectrum(
    matrix: csr_array,
    points: NDArray[np.float64],
    degrees: Sequence[int],
    *,
    rows: NDArray[np.int64] | None = None,
    areas: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the factor by which a sparse operator multiplies each spherical-harmonic degree.

    The factor is ``h_l = E (L f) f / E f**2`` over random fields f of degree ell. It is the
    eigenvalue of an operator that commutes with rotations, and the best h of `isotropy_error` for
    any other. It is computed exactly, by the addition theorem.

    Parameters
    ----------
    matrix, points, degrees, rows, areas
        See `isotropy_error`.

    Returns
    -------
    ndarray of float64, shape (len(degrees),)
        The factors, in the unit of the matrix. Those of a Laplacian are roughly proportional to
        ``l (l + 1)``.

    Raises
    ------
    TypeError, ValueError
        See `isotropy_error`.

    Examples
    --------
    >>> from deepsphere.graph import Graph, laplacian
    >>> from deepsphere.sampling import Healpix
    >>> graph = laplacian(Healpix(16), Graph(20, laplacian="optimal"))
    >>> eigenvalues = spectrum(graph, Healpix(16).points, [1, 2, 8])
    >>> print((eigenvalues / eigenvalues[0]).round(2))
    [ 1.    2.99 34.32]
    """
    wanted = check_degrees(degrees)
    selected, share = _selection(matrix, rows, areas)
    signal = np.zeros(len(wanted))
    for start, stop in chunks(np.diff(matrix.indptr)[selected]):
        here, weights = selected[start:stop], share[start:stop]
        neighbors, values = padded_rows(matrix, here)
        sums, differences = _differences(neighbors, values, here)
        to_center = half_squares(points[neighbors], points[here][:, None])
        first = differences * to_center
        for ell, gap in enumerate(legendre_gaps(to_center, int(wanted.max())), start=1):
            if ell in wanted:
                linear = np.einsum("ij,ij->i", first, gap)
                signal[wanted == ell] += weights @ (sums + linear)
    return signal


def _selection(
    matrix: csr_array, rows: NDArray[np.int64] | None, areas: NDArray[np.float64] | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the selected rows, and the weight of each in the mean."""
    selected = np.arange(matrix.shape[0]) if rows is None else np.asarray(rows)
    share = np.ones(len(selected)) if areas is None else np.asarray(areas)[selected]
    return selected, share / share.sum()


def _differences(
    neighbors: NDArray[np.int64], values: NDArray[np.float64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums s of padded rows, and the weights v of the differences to neighbors."""
    return values.sum(axis=1), np.where(neighbors == rows[:, None], 0.0, -values)


def chunks(lengths: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the bounds of ranges of rows with about `CHUNK` pairs of entries each."""
    widest = int(lengths.max(initial=1))
    step = max(1, CHUNK // widest**2)
    return [(i, min(i + step, len(lengths))) for i in range(0, len(lengths), step)]


def _add_rows(
    matrix: csr_array,
    points: NDArray[np.float64],
    rows: NDArray[np.int64],
    share: NDArray[np.float64],
    wanted: NDArray[np.int64],
    signal: NDArray[np.float64],
    power: NDArray[np.float64],
) -> None:
    """Add ``E (L f)_i f_i`` to `signal` and ``E (L f)_i**2`` to `power`, for some rows i."""
    neighbors, values = padded_rows(matrix, rows)
    sums, differences = _differences(neighbors, values, rows)
    near = points[neighbors]
    to_center = half_squares(near, points[rows][:, None])
    one, other = np.triu_indices(near.shape[1], 1)  # each pair once: the sum is symmetric
    between = half_squares(near[:, one], near[:, other])
    first = differences * to_center
    pairs = 2 * differences[:, one] * differences[:, other] * between
    steps = zip(
        legendre_gaps(to_center, int(wanted.max())),
        legendre_gaps(between, int(wanted.max())),
        strict=True,
    )
    totals = differences.sum(axis=1)
    for ell, (gap, mutual) in enumerate(steps, start=1):
        for place in np.flatnonzero(wanted == ell):
            linear = np.einsum("ij,ij->i", first, gap)
            quadratic = 2 * totals * linear - np.einsum("ij,ij->i", pairs, mutual)
            signal[place] += share @ (sums + linear)
            power[place] += share @ (sums**2 + 2 * sums * linear + quadratic)


def padded_rows(
    matrix: csr_array, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the columns and entries of some rows, padded to the longest row.

    Returns
    -------
    columns : ndarray of int64, shape (len(rows), longest)
        Column indices; padding repeats the row's own index.
    entries : ndarray of float64, shape (len(rows), longest)
        Entries; padding is 0.
    """
    if not matrix.nnz:
        return rows[:, None].astype(np.int64), np.zeros((len(rows), 1))
    starts, lengths = matrix.indptr[rows], np.diff(matrix.indptr)[rows]
    slots = np.arange(int(lengths.max(initial=1)))
    filled = slots < lengths[:, None]
    places = np.where(filled, starts[:, None] + slots, 0)
    columns = np.where(filled, matrix.indices[places], rows[:, None])
    return columns.astype(np.int64), np.where(filled, matrix.data[places], 0.0)
