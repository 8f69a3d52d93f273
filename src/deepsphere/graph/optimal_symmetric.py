"""Symmetric edge weights that make the Laplacian as equivariant as symmetry allows.

Each edge has one weight instead of two. Conjugate gradients minimize the sum of the quadratic forms
of all vertices, which `deepsphere.graph.optimal_rows` defines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, cg

from deepsphere.graph.isotropy import padded_rows
from deepsphere.graph.optimal_rows import RIDGE, Systems, Target, in_threads

LARGEST = 4 * 2**30
"""Largest memory of the systems of all vertices, in bytes: every step needs all of them."""

STEPS = 300
"""Largest number of steps. With 8 and 20 neighbors the error has converged by then. With 40 it
still falls, but only to about that with 20, so more steps are not worth their time."""

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
        A matrix whose entries are the edges; symmetric, with an empty diagonal and sorted rows.
    points : ndarray of float64, shape (n, 3)
        Unit vectors.
    goal : Target
        The target spectrum.
    rows : ndarray of int, optional
        Indices of the vertices whose errors to minimize. Defaults to all. Edges between other
        vertices get the weight 0.
    ridge : float, default `RIDGE`
        The regularization, which penalizes the squares of the weights.

    Returns
    -------
    csr_array of float64, shape (n, n)
        Symmetric weights, a few of them slightly negative.

    Raises
    ------
    ValueError
        If the systems of all vertices need more than `LARGEST` bytes (4 GiB).
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
    """Return the number of each entry's edge, from 1, equal for both directions."""
    n = pattern.shape[0]
    starts = np.repeat(np.arange(n), np.diff(pattern.indptr))
    low, high = np.minimum(starts, pattern.indices), np.maximum(starts, pattern.indices)
    return np.unique(low.astype(np.int64) * n + high, return_inverse=True)[1] + 1
