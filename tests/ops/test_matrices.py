"""Matrices of every format give the right result, and broken ones an error."""

import numpy as np
import pytest
from scipy import sparse

from deepsphere.ops import SparseMap, SparseOperator, sparse_product
from deepsphere.ops.matrices import to_csr
from harness import SINGLE, relative_error

RNG = np.random.default_rng(0)
DENSE = RNG.standard_normal((6, 6)) * (RNG.random((6, 6)) < 0.5)  # not symmetric
DENSE[2] = 0
X = RNG.standard_normal((2, 6, 3)).astype(np.float32)
FORMATS = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_the_same_matrix(name, kind):
    matrix = kind(DENSE).asformat(name)
    expected = DENSE @ X.astype(float)
    assert relative_error(sparse_product(X, SparseOperator(matrix)), expected) < SINGLE
    operator = SparseOperator(matrix)
    assert type(operator.matrix) is sparse.csr_array
    np.testing.assert_array_equal(operator.transpose.matrix.toarray(), DENSE.T)
    part = matrix.tocsr()[:4].asformat(name)
    assert relative_error(SparseMap(part)(X), expected[:, :4]) < SINGLE


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float32, np.longdouble])
def test_every_real_type_is_float64(dtype):
    whole = np.round(4 * DENSE) != 0 if dtype is bool else np.abs(np.round(4 * DENSE))
    for matrix in (whole.astype(dtype), sparse.csc_array(whole.astype(dtype))):
        result = to_csr(matrix)
        assert result.dtype == np.float64
        np.testing.assert_array_equal(result.toarray(), whole)


def test_dense_matrices_are_taken():
    np.testing.assert_array_equal(to_csr([[0, 1], [2, 0]]).toarray(), [[0, 1], [2, 0]])


def test_a_matrix_in_this_form_is_not_copied():
    matrix = sparse.csr_array(DENSE)
    assert np.shares_memory(SparseOperator(matrix).matrix.data, matrix.data)


def test_duplicates_are_summed_and_the_rows_sorted():
    data, columns, starts = np.array([1.0, 2, 4, 8]), np.array([1, 0, 1, 1]), np.array([0, 3, 4])
    matrix = sparse.csr_array((data.copy(), columns.copy(), starts), shape=(2, 2))
    result = to_csr(matrix)
    np.testing.assert_array_equal(result.indices, [0, 1, 1])
    np.testing.assert_array_equal(result.data, [2, 5, 8])
    np.testing.assert_array_equal(matrix.data, data)  # the caller's own is left alone
    np.testing.assert_array_equal(matrix.indices, columns)


def test_zeros_that_are_stored_stay():
    """Stored zeros still mark neighbors."""
    assert to_csr(sparse.csr_array(([0.0], ([0], [1])), shape=(2, 2))).nnz == 1


def test_wide_indices():
    matrix = sparse.csr_array(DENSE)
    matrix.indices, matrix.indptr = (a.astype(np.int64) for a in (matrix.indices, matrix.indptr))
    operator = SparseOperator(matrix)
    assert [a.dtype for a in operator.compressed] == [np.int32, np.int32, np.float32]
    assert relative_error(sparse_product(X, operator), DENSE @ X.astype(float)) < SINGLE


def broken(kind, indices=(0, 1, 2), starts=(0, 1, 2, 3)):
    arrays = np.ones(3), np.array(indices, np.int32), np.array(starts, np.int32)
    return kind(arrays, shape=(3, 3))


def broken_triplets(row, column):
    matrix = sparse.coo_array((np.ones(2), ([0, 1], [0, 1])), shape=(3, 3))
    matrix.row[0], matrix.col[0] = row, column
    return matrix


def broken_lists():
    matrix = sparse.lil_array(np.eye(3))
    matrix.rows[0] = [12]
    return matrix


def broken_blocks():
    matrix = sparse.bsr_array(np.eye(4), blocksize=(2, 2))
    matrix.indices[0] = 9
    return matrix


BROKEN = {
    f"{kind.__name__} {fault}": broken(kind, **{where: values})
    for kind in (sparse.csr_array, sparse.csc_array)
    for fault, where, values in (
        ("far", "indices", (0, 1, 10**8)),
        ("just beyond", "indices", (0, 3, 2)),
        ("negative", "indices", (0, -1, 2)),
        ("falling", "starts", (0, 2, 1, 3)),
    )
} | {
    "coo row": broken_triplets(-1, 0),
    "coo column": broken_triplets(0, 3),
    "lil": broken_lists(),
    "bsr": broken_blocks(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_indices_outside_are_refused(name):
    """The compiled functions do not check them again and would crash the interpreter."""
    for make in (SparseOperator, SparseMap):
        with pytest.raises(ValueError, match="has broken indices"):
            make(BROKEN[name])


def test_arrays_of_different_lengths_are_refused():
    matrix = sparse.csr_array(np.eye(3))
    matrix.data = matrix.data[:2]
    with pytest.raises(ValueError, match="has broken indices"):
        SparseOperator(matrix)


def test_entries_beyond_the_last_row_are_dropped():
    starts, columns, values = SparseOperator(
        broken(sparse.csr_array, starts=(0, 1, 2, 2))
    ).compressed
    assert starts[-1] == len(columns) == len(values) == 2


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        (DENSE + 1j, TypeError, "must contain real numbers, got dtype complex128"),
        (
            sparse.csr_array(DENSE + 1j),
            TypeError,
            "must contain real numbers, got dtype complex128",
        ),
        ([["a"]], TypeError, "must contain real numbers"),
        (np.ma.masked_array(DENSE, DENSE > 0), TypeError, "must be a plain array"),
        (np.ones(3), ValueError, r"must have rows and columns, got shape \(3,\)"),
        (sparse.csr_array((0, 0)), ValueError, r"must have rows and columns, got shape \(0, 0\)"),
        (None, ValueError, r"got shape \(\)"),
        ([[1, np.inf], [0, 1]], ValueError, "must be finite, got NaN or infinite entries"),
    ],
    ids=str,
)
def test_other_matrices_are_refused(matrix, error, message):
    for make in (SparseOperator, SparseMap):
        with pytest.raises(error, match=message):
            make(matrix)


def test_entries_beyond_single_precision_are_refused():
    with pytest.raises(ValueError, match=r"range of float32, got one of magnitude 1e\+39"):
        _ = SparseOperator(1e39 * np.eye(2)).compressed
