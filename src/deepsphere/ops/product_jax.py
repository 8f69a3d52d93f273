"""Sparse products on JAX, as a loop over the neighbors.

`chebyshev_filter` unrolls its operators, which have some 20 entries per row. With a hundred
entries, XLA would fuse the preceding operations into each of them.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from deepsphere.ops.derivatives_jax import LinearMap
from deepsphere.ops.jax import _fold, _unfold, _working_dtype, clear_empty_rows
from deepsphere.ops.operator import SparseOperator

UNROLL = 8  # neighbors per step: the fastest from 1 to 32, for 16 and 64 columns


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def sparse_product(x: jax.Array, operator: SparseOperator, power: int) -> jax.Array:
    """Multiply features; see `deepsphere.ops.product.sparse_product`."""
    return _product(x, operator, power)


def differentiate_product(product: jax.custom_jvp) -> None:
    """Register the derivatives of a product of x, operator and power, which use the product."""

    def function(_, tangents, operator, power):  # type: ignore[no-untyped-def]
        return (product(*tangents, operator, power),)

    def transposed(_, cotangents, __, operator, power):  # type: ignore[no-untyped-def]
        return (product(*cotangents, operator.transpose, power),)

    @product.defjvp
    def differentiate(operator, power, inputs, tangents):  # type: ignore[no-untyped-def]
        y = product(*inputs, operator, power)
        return y, LinearMap(function, transposed, (operator, power))((), tangents, y)


differentiate_product(sparse_product)


@partial(jax.jit, static_argnums=(1, 2))
def _product(x: jax.Array, operator: SparseOperator, power: int) -> jax.Array:
    columns = _fold(x.astype(_working_dtype(x))).reshape(len(operator), -1)
    columns = lax.fori_loop(0, power, lambda _, c: _neighbor_sum(operator, c), columns)
    return _unfold(columns, x).astype(x.dtype)


def _neighbor_sum(operator: SparseOperator, columns: jax.Array) -> jax.Array:
    lists = operator.neighbor_lists
    values = operator.constant(("jax", columns.dtype), lambda: lists.values.astype(columns.dtype))

    def add(total, neighbor):  # type: ignore[no-untyped-def]
        indices, weights = neighbor
        # The indices are known to be valid, so XLA need not check them.
        gathered = columns.at[indices].get(mode="promise_in_bounds")
        return total + gathered * weights[:, None], None

    total, _ = lax.scan(add, jnp.zeros_like(columns), (lists.indices, values), unroll=UNROLL)
    return clear_empty_rows(operator, total)
