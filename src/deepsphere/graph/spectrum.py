"""The spectrum of a Laplacian: a bound by one loose estimate, and the rescaling to [-1, 1]."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, eye_array
from scipy.sparse.linalg import eigsh

MARGIN = 1.02
"""Factor from the largest eigenvalue to the bound, as in the reference implementations."""

DENSE_SIZE = 64  # below this a dense solver is as fast, and Lanczos vectors would not fit


def largest_eigenvalue(laplacian: csr_array) -> float:
    """Estimate the largest eigenvalue of a symmetric Laplacian from below, to about 1e-6.

    Lanczos to a residual of 1e-4 suffices: the error is about quadratic in the residual, and
    `MARGIN` covers 2 %. Filters need a bound, not an eigenvalue, but the numbers of earlier
    implementations, which solved to machine precision, are met only as well as their bound is:
    with a residual of 1e-3 outputs of a few layers would differ in the third digit.

    Parameters
    ----------
    laplacian : csr_array, shape (n, n)
        Symmetric and positive semi-definite.

    Returns
    -------
    float
        The estimate; 1 for a graph without edges, whose eigenvalues are all 0.
    """
    n = laplacian.shape[0]
    # At least the largest degree and at most twice that: near 0 there are no edges worth the
    # name (far points, whose weights underflow), and Lanczos would find no direction to go.
    if laplacian.diagonal().max() <= 1e-12:
        return 1.0
    if n <= DENSE_SIZE:
        return float(np.linalg.eigvalsh(laplacian.toarray())[-1])
    start = np.random.default_rng(0).standard_normal(n)  # the same estimate every time
    found = eigsh(laplacian, k=1, which="LA", tol=1e-4, ncv=20, v0=start, return_eigenvectors=False)
    return float(found[0])


def rescale(laplacian: csr_array, eigenvalue: float, scale: float = 1.0) -> csr_array:
    """Map the spectrum of a Laplacian into [-1, 1], where Chebyshev polynomials are bounded.

    ``L~ = 2 scale / (1.02 eigenvalue) L - I``

    Parameters
    ----------
    laplacian : csr_array, shape (n, n)
        Laplacian; it is not changed.
    eigenvalue : float
        Its largest eigenvalue.
    scale : float, default 1
        Part of the interval that is used: eigenvalues go to ``[-1, 2 scale / 1.02 - 1]``.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The rescaled operator.

    Raises
    ------
    ValueError
        If `scale` is not in (0, 1], or the eigenvalue not positive.
    """
    if not 0 < scale <= 1:
        raise ValueError(f"scale must be in (0, 1], got {scale}")
    if not eigenvalue > 0:
        raise ValueError(f"the largest eigenvalue must be positive, got {eigenvalue}")
    identity = eye_array(laplacian.shape[0], format="csr")
    rescaled = (2 * scale / (MARGIN * eigenvalue)) * laplacian - identity
    rescaled = rescaled.tocsr()
    rescaled.sort_indices()
    return rescaled
