import copy
import gc

import numpy as np
import pytest
from scipy.sparse import csr_array

from deepsphere.graph import Graph, rescaled_laplacian
from deepsphere.ops import SparseOperator, laplacian_operator
from deepsphere.sampling import Healpix


def irregular(n=30):
    """A matrix with rows of different lengths, one of them empty."""
    rng = np.random.default_rng(0)
    dense = rng.random((n, n)) * (rng.random((n, n)) < 0.2)
    dense[7] = 0
    return csr_array(dense)


def test_neighbor_lists_hold_the_matrix():
    matrix = irregular()
    indices, values = SparseOperator(matrix).neighbor_lists
    assert indices.shape == values.shape == (np.diff(matrix.indptr).max(), 30)
    dense = np.zeros(matrix.shape)
    for j in range(len(indices)):
        np.add.at(dense, (np.arange(30), indices[j]), values[j])
    np.testing.assert_array_equal(dense, matrix.toarray())


def test_transpose():
    matrix = irregular()
    operator = SparseOperator(matrix)
    np.testing.assert_array_equal(operator.transpose.matrix.toarray(), matrix.toarray().T)
    assert operator.transpose.transpose is operator
    laplacian = laplacian_operator(Healpix(4), Graph(8, laplacian="normalized"), 0.75)
    assert laplacian.transpose is laplacian
    walk = laplacian_operator(Healpix(4), Graph(8, laplacian="random_walk"), 0.75)
    assert walk.transpose is not walk


def test_operators_are_shared_while_they_are_used():
    operator = laplacian_operator(Healpix(4), Graph(8, laplacian="normalized"), 0.75)
    assert laplacian_operator(Healpix(4, range(192)), 8, 0.75) is operator
    assert laplacian_operator(Healpix(4), Graph(8, laplacian="normalized"), 1.0) is not operator
    assert copy.deepcopy(operator) is operator
    expected = rescaled_laplacian(Healpix(4), Graph(8, laplacian="normalized"), 0.75)
    assert abs(operator.matrix - expected).max() == 0
    identity = id(operator.matrix)
    del operator
    gc.collect()
    again = laplacian_operator(Healpix(4), Graph(8, laplacian="normalized"), 0.75)
    assert abs(again.matrix - expected).max() == 0
    assert id(again.matrix) != identity or again.matrix.nnz == expected.nnz


def test_bad_matrices_are_refused():
    with pytest.raises(ValueError, match=r"square matrix, got shape \(2, 3\)"):
        SparseOperator(csr_array(np.ones((2, 3))))
    with pytest.raises(ValueError, match="NaN or infinite"):
        SparseOperator(csr_array(np.array([[1.0, np.nan], [0, 1]])))
