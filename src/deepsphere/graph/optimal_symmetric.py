"""Symmetric edge weights that make the Laplacian as equivariant as symmetry allows.

One weight an edge instead of two: all vertices' quadratic forms of `deepsphere.graph.optimal` are
added up and minimized together, by conjugate gradients.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, cg

from deepsphere.graph.isotropy import padded_rows
from deepsphere.graph.optimal import RIDGE, Systems, Target, in_threads

LARGEST = 4 * 2**30
"""Bytes that the systems of all vertices may take; they are needed in every step."""

STEPS = 300
"""Steps at most. With 8 and 20 neighbors the error is final by then; with 40 it still falls, to
about that with 20, which is why more is not worth waiting for."""

TOLERANCE = 1e-6


def symmetric_weights(
    pattern: csr_array,
    points: NDArray[np.float64],
    goal: Target,
    rows: NDArray[np.int64] | None = None,
    ridge: float = RIDGE,
) -> csr_array:
    """Return the symmetric weights of the most equivariant Laplacian ``D - W`` on given edges.

    Parameters
    ----------
    pattern : csr_array, shape (n, n)
        Its entries are the edges; symmetric, with an empty diagonal and sorted rows.
    points : ndarray of float64, shape (n, 3)
        Unit vectors.
    goal : Target
        The spectrum aimed at.
    rows : ndarray of int, optional
        Which vertices count. Default: all. Edges between others get the weight 0.
    ridge : float, default `RIDGE`
        How much the squares of the weights count.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric weights, a few of them slightly negative.

    Raises
    ------
    ValueError
        If there are so many edges that the systems do not fit into `LARGEST` bytes.
    """
    selected = np.arange(pattern.shape[0]) if rows is None else rows
    size = 8 * int((np.diff(pattern.indptr)[selected].astype(np.int64) ** 2).sum())
    if size > LARGEST:
        raise ValueError(
            f"symmetric weights of {len(selected)} points with "
            f"{pattern.nnz / pattern.shape[0]:.0f} edges each need {size / 2**30:.1f} GiB at once, "
            f"more than {LARGEST / 2**30:.1f}: "
            "use weights that need not be symmetric, or fewer neighbors"
        )
    systems = Systems(pattern, points, goal, selected, ridge)
    made = in_threads(systems.make, systems.pieces)
    numbers = _edge_numbers(pattern)
    numbered = csr_array((numbers, pattern.indices, pattern.indptr), pattern.shape)
    slots = [
        padded_rows(numbered, selected[start:stop])[1].astype(np.int64)
        for start, stop in systems.pieces
    ]
    count = int(numbers.max())
    right = np.zeros(count + 1)  # the first one is for padding
    diagonal = np.zeros(count + 1)
    for (matrix, b, _), slot in zip(made, slots, strict=True):
        np.add.at(right, slot, b)
        np.add.at(diagonal, slot, np.einsum("ijj->ij", matrix))

    def apply(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        padded = np.append(0.0, weights)
        total = np.zeros(count + 1)
        for (matrix, _, _), slot in zip(made, slots, strict=True):
            product = np.matmul(matrix, padded[slot][:, :, None])
            total += np.bincount(slot.ravel(), product.ravel(), minlength=count + 1)
        return total[1:]

    scale = np.where(diagonal[1:] > 0, diagonal[1:], 1.0)
    solution, _ = cg(
        LinearOperator((count, count), matvec=apply, dtype=np.float64),
        right[1:],
        rtol=TOLERANCE,
        maxiter=STEPS,
        M=LinearOperator((count, count), matvec=lambda r: r / scale, dtype=np.float64),
    )
    result = csr_array(
        (solution[numbers - 1], pattern.indices, pattern.indptr), pattern.shape, copy=True
    )
    result.eliminate_zeros()
    return result


def _edge_numbers(pattern: csr_array) -> NDArray[np.int64]:
    """Return which edge each entry belongs to, from 1 on, alike in both directions."""
    n = pattern.shape[0]
    starts = np.repeat(np.arange(n), np.diff(pattern.indptr))
    low, high = np.minimum(starts, pattern.indices), np.maximum(starts, pattern.indices)
    return np.unique(low.astype(np.int64) * n + high, return_inverse=True)[1] + 1
