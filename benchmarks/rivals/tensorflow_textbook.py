"""The textbook formulation in TensorFlow.

Transpose, multiply by the sparse Laplacian term after term, stack all terms, transpose back, and
one product with the kernel; the gradient is TensorFlow's. That is how deepsphere-cosmo-tf2 and the
code of the papers compute a graph convolution, but for two mercies: the sparse tensor is put in
order once and not in every call, and the bias is the offset of the batch norm.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.sparse import csr_array


def sparse_tensor(matrix: csr_array) -> tf.SparseTensor:
    """Return a matrix as TensorFlow's sparse tensor in single precision."""
    coo = matrix.tocoo()
    indices = np.stack([coo.row, coo.col], axis=1).astype(np.int64)
    return tf.sparse.reorder(tf.SparseTensor(indices, coo.data.astype(np.float32), coo.shape))


def chebyshev_filter(x: tf.Tensor, kernel: tf.Tensor, laplacian: tf.SparseTensor) -> tf.Tensor:
    """Filter features by Chebyshev polynomials.

    Parameters
    ----------
    x : tensor, shape (batch, n, channels)
        Features; the batch size may be unknown.
    kernel : tensor, shape (channels * terms, filters)
        Row ``channel * terms + k`` holds the coefficient of the k-th polynomial.
    laplacian : SparseTensor, shape (n, n)
        With its spectrum in [-1, 1].
    """
    n, channels = x.shape[1:]
    terms, filters = kernel.shape[0] // channels, kernel.shape[1]
    x0 = tf.reshape(tf.transpose(x, [1, 2, 0]), [n, -1])
    stack = [x0]
    if terms > 1:
        stack.append(tf.sparse.sparse_dense_matmul(laplacian, x0))
    for _ in range(terms - 2):
        stack.append(2 * tf.sparse.sparse_dense_matmul(laplacian, stack[-1]) - stack[-2])
    stacked = tf.reshape(tf.stack(stack), [terms, n, channels, -1])
    rows = tf.reshape(tf.transpose(stacked, [3, 1, 2, 0]), [-1, channels * terms])
    return tf.reshape(tf.matmul(rows, kernel), [-1, n, filters])


class ChebyshevConv(keras.layers.Layer):
    """The graph convolution as a Keras layer, without bias or with one.

    Parameters
    ----------
    filters, terms : int
        Number of output channels, and of polynomials.
    matrix : csr_array
        The rescaled Laplacian.
    use_bias : bool
        Whether to add a bias; batch norm brings its own.
    """

    def __init__(self, filters: int, terms: int, matrix: csr_array, use_bias: bool) -> None:
        super().__init__()
        self.filters, self.terms, self.use_bias = filters, terms, use_bias
        self._laplacian = sparse_tensor(matrix)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the kernel and the bias."""
        shape = (self.terms * input_shape[-1], self.filters)
        spread = 1 / np.sqrt(input_shape[-1] * (self.terms + 0.5) / 2)
        start = keras.initializers.TruncatedNormal(stddev=spread)
        self.kernel = self.add_weight(shape=shape, initializer=start, name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        """Filter, and add the bias."""
        y = chebyshev_filter(x, tf.convert_to_tensor(self.kernel), self._laplacian)
        return y + self.bias if self.use_bias else y

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape with `filters` channels."""
        return (*input_shape[:2], self.filters)


def conv_block(x: Any, filters: int, terms: int, matrix: csr_array) -> Any:
    """Convolve, normalize with an offset, activate."""
    x = ChebyshevConv(filters, terms, matrix, use_bias=False)(x)
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, scale=False)(x)
    return keras.layers.ReLU()(x)
