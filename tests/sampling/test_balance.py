"""Matrices with given sums of rows and columns, against the formula of independent sums."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from deepsphere.sampling.balance import CONSISTENT, EXACT, balanced

ROWS, COLUMNS = np.array([1.0, 2.0, 4.0, 3.0]), np.array([4.0, 3.0, 2.0, 1.0])


def blocks(rows, columns):
    """Two components, each full: the solution nearest to ones is the product of the sums."""
    matrix, truth = np.zeros((4, 4)), np.zeros((4, 4))
    for part in (slice(0, 3), slice(3, 4)):
        matrix[part, part] = 1
        truth[part, part] = np.outer(rows[part], columns[part]) / rows[part].sum()
    return csr_array(matrix), truth


def test_sums_are_those_given():
    columns = np.array([2.5, 3.0, 1.5, 3.0])
    matrix, truth = blocks(ROWS, columns)
    found = balanced(matrix, ROWS, columns).toarray()
    np.testing.assert_allclose(found, truth, rtol=1e-12)  # Newton's steps end at EXACT


def test_sums_may_be_wrong_by_rounding():
    """Of columns: those of rows are exact in each component."""
    wrong = np.array([2.5, 3.0, 1.5, 3.0]) * [1, 1, 1, 1 + CONSISTENT / 2]
    matrix, _ = blocks(ROWS, wrong)
    found = balanced(matrix, ROWS, wrong)
    np.testing.assert_allclose(found.sum(axis=1), ROWS, rtol=10 * EXACT)


def test_sums_that_no_matrix_has():
    matrix, _ = blocks(ROWS, COLUMNS)
    with pytest.raises(ValueError, match=r"their declared areas differ by 2\b"):
        balanced(matrix, ROWS, COLUMNS)
