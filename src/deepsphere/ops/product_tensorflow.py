"""Sparse products on TensorFlow: CSR products, or a loop over neighbors within XLA."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from deepsphere.ops.operator import SparseOperator
from deepsphere.ops.tensorflow import (
    Product,
    _fold,
    _unfold,
    _with_product,
    clear_empty_rows,
    constants,
    has_tangent,
    plain_product,
    plain_unfold,
)

UNROLL = 8  # neighbors per step of the loop, as on JAX


@tf.autograph.experimental.do_not_convert
def sparse_product(x: tf.Tensor, operator: SparseOperator, power: int) -> tf.Tensor:
    """Multiply features; see `deepsphere.ops.product.sparse_product`."""
    if has_tangent(x):
        return _plain(x, operator, power)

    @tf.custom_gradient
    def apply(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return _product(x, operator, power), lambda g: sparse_product(g, operator.transpose, power)

    return apply(x)


def _plain(x: tf.Tensor, operator: SparseOperator, power: int) -> tf.Tensor:
    """Multiply with operations that TensorFlow can differentiate."""
    z = _fold(tf.cast(x, x.dtype if x.dtype == tf.float64 else tf.float32))
    columns, product = tf.reshape(z, [z.shape[0], -1]), plain_product(operator, z.dtype)
    for _ in range(power):
        columns = product(columns)
    return plain_unfold(tf.reshape(columns, [-1, z.shape[2]]), x)


def _product(x: tf.Tensor, operator: SparseOperator, power: int) -> tf.Tensor:
    z = _fold(tf.cast(x, x.dtype if x.dtype == tf.float64 else tf.float32))
    columns = tf.reshape(z, [z.shape[0], -1])

    def unrolled(product: Product) -> tf.Tensor:  # a loop around a CSR matrix cannot be saved
        result = columns
        for _ in range(power):
            result = product(result)
        return result

    if control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        _, y = tf.while_loop(
            lambda i, _: i < power,
            lambda i, c: (i + 1, _neighbor_sum(operator, c)),
            (tf.constant(0), columns),
            maximum_iterations=power,
        )
    else:
        y = _with_product(operator, z, z.shape[2], unrolled)
    return tf.cast(_unfold(tf.reshape(y, [-1, z.shape[2]]), x), x.dtype)


def _neighbor_sum(operator: SparseOperator, columns: tf.Tensor) -> tf.Tensor:
    def make() -> tuple[tf.Tensor, tf.Tensor]:
        lists = operator.neighbor_lists
        n, spare = len(operator), -len(lists.indices) % UNROLL
        # Pad with an index that the row reads anyway: another vertex could hold NaN.
        last = np.tile(lists.indices[-1], (spare, 1))
        indices = np.concatenate((lists.indices, last)).reshape(-1, UNROLL, n)
        values = np.pad(lists.values, ((0, spare), (0, 0))).reshape(-1, UNROLL, n)
        return tf.constant(indices), tf.constant(values, columns.dtype)

    indices, values = constants(operator, ("tensorflow blocks", columns.dtype), make)

    def step(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        neighbors, weights = indices[i], values[i]
        for j in range(UNROLL):
            total = total + tf.gather(columns, neighbors[j]) * weights[j][:, None]
        return i + 1, total

    steps = indices.shape[0]
    _, total = tf.while_loop(
        lambda i, _: i < steps,
        step,
        (tf.constant(0), tf.zeros_like(columns)),
        maximum_iterations=steps,
    )
    return clear_empty_rows(operator, total)
