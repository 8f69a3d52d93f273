import healpy
import keras
import numpy as np
import pytest
from scipy.sparse import csr_array

from deepsphere import utils
from harness import to_numpy


@pytest.mark.parametrize("nest", [True, False])
def test_extend_indices_as_the_old_code_did(nest):
    """The old code degrades and upgrades the map."""
    indices = np.sort(np.random.default_rng(0).choice(768, 50, replace=False))
    binary = np.zeros(768)
    binary[indices] = 1
    order = "NEST" if nest else "RING"
    coarse = healpy.ud_grade(binary, 2, order_in=order, order_out=order)
    expected = np.flatnonzero(healpy.ud_grade(coarse, 8, order_in=order, order_out=order) > 1e-12)
    for given in (indices, binary == 1):
        np.testing.assert_array_equal(utils.extend_indices(given, 8, 2, nest=nest), expected)


def test_extend_indices_refuses_other_flags():
    with pytest.raises(TypeError, match="got a boolean map"):
        utils.extend_indices(np.ones(192, bool), 8, 2)
    with pytest.raises(ValueError, match="indices"):
        utils.extend_indices(np.ma.masked_equal(np.ones(768, bool), 1), 8, 2)


def test_rescale_makes_a_new_matrix():
    L = csr_array(np.array([[2.0, -1], [-1, 2]]))
    rescaled = utils.rescale_L(L, lmax=3, scale=0.75)
    np.testing.assert_allclose(rescaled.toarray(), [[0, -0.5], [-0.5, 0]], atol=1e-15)
    np.testing.assert_array_equal(L.toarray(), [[2, -1], [-1, 2]])


def sparse_tensor(matrix):
    rows, columns = np.nonzero(matrix)
    values = matrix[rows, columns]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.SparseTensor(np.column_stack((rows, columns)), values, matrix.shape)
    if keras.backend.backend() == "jax":
        from jax.experimental.sparse import BCOO

        return BCOO((values, np.column_stack((rows, columns))), shape=matrix.shape)
    import torch

    return torch.sparse_coo_tensor(
        np.stack((rows, columns)), values, matrix.shape, check_invariants=True
    )


def test_split_product():
    rng = np.random.default_rng(0)
    matrix = (rng.random((5, 7)) * (rng.random((5, 7)) < 0.5)).astype("float32")
    dense = rng.standard_normal((7, 6)).astype("float32")
    tensor = keras.ops.convert_to_tensor(dense)
    for splits in (1, 3):
        product = utils.split_sparse_dense_matmul(sparse_tensor(matrix), tensor, splits)
        np.testing.assert_allclose(to_numpy(product), matrix @ dense, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="divide the 6 columns, got 4"):
        utils.split_sparse_dense_matmul(sparse_tensor(matrix), tensor, 4)
