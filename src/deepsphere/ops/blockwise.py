"""Process graph vertices block by block, to limit how many neighbors are gathered at a time.

This module holds the backend-specific part of `deepsphere.ops.attention`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.ops.operator import SparseOperator

BACKEND = keras.backend.backend()

GATHERED = {"cpu": 2**21, "other": 2**25}
"""Maximum number of values that a block gathers at once: few enough for a processor's cache (8 MB),
and enough to fill an accelerator (128 MB)."""

USUAL_BATCH = 16
"""Batch size assumed when cutting blocks if it is unknown."""


def count_blocks(n: int, numbers: int, device: str) -> int:
    """Return the number of blocks for `n` vertices, each of which gathers `numbers` values.

    It is a power of two, which divides the number of pixels of most maps and so avoids padding.
    """
    least = -(-n * numbers // GATHERED["cpu" if device == "cpu" else "other"])
    return min(1 << max(0, least - 1).bit_length(), n)


if BACKEND == "tensorflow":
    import tensorflow as tf

    from deepsphere.ops.portable.tensorflow import constants

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of tensors and an `operator`, compiled if that helps the backend."""
        return tf.autograph.experimental.do_not_convert(function)

    def device_of(x: Any) -> str:  # noqa: ARG001
        """Return the type of device that holds a tensor, such as ``"cpu"`` or ``"gpu"``."""
        return "gpu" if tf.config.list_logical_devices("GPU") else "cpu"

    def constant(
        operator: SparseOperator,
        key: Any,
        make: Callable[[], NDArray[Any]],
        like: Any,  # noqa: ARG001
    ) -> Any:
        """Return an array on the device of `like`, created once per operator and key."""
        return constants(operator, ("tensorflow", key), lambda: tf.constant(make()))

    def gather(table: Any, indices: Any) -> Any:
        """Return the rows of (n, batch, ...) at indices (slots, size), iterable by slot."""
        rows = tf.gather(tf.reshape(table, [table.shape[0], -1]), indices)
        return tf.reshape(rows, [*indices.shape, -1, *table.shape[2:]])

    def map_blocks(function: Callable[..., Any], *blocks: Any) -> Any:
        """Call a function on one block after another and stack the results."""
        return tf.map_fn(
            lambda block: function(*block),
            blocks,
            fn_output_signature=blocks[0].dtype,
            parallel_iterations=1,  # parallel iterations would gather for several blocks
        )

    def differentiable(
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        tangent: Callable[..., Any],  # noqa: ARG001
    ) -> Callable[..., Any]:
        """Return attention of q, k, v, mask, operator with the given derivatives.

        TensorFlow builds forward-mode derivatives from two reverse passes and needs no `tangent`.
        """

        def attend(q: Any, k: Any, v: Any, mask: Any, operator: SparseOperator) -> Any:
            @tf.custom_gradient
            def apply(q: Any, k: Any, v: Any) -> Any:
                y = forward(q, k, v, mask, operator=operator)
                return y, lambda g: backward(q, k, v, g, mask, operator=operator)

            return apply(q, k, v)

        return attend

elif BACKEND == "jax":
    from functools import partial

    import jax

    from deepsphere.ops.derivatives.jax import LinearMap
    from deepsphere.ops.portable.jax import align

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of tensors and an `operator`, compiled if that helps the backend."""
        # Outside jit, JAX would compile the loops anew at each call.
        return jax.jit(function, static_argnames="operator")

    def device_of(x: Any) -> str:  # noqa: ARG001
        """Return the type of device that holds a tensor, such as ``"cpu"`` or ``"gpu"``."""
        return jax.default_backend()

    def constant(
        operator: SparseOperator,
        key: Any,
        make: Callable[[], NDArray[Any]],
        like: Any,  # noqa: ARG001
    ) -> Any:
        """Return an array on the device of `like`, created once per operator and key."""
        return operator.constant(("jax", key), make)

    def gather(table: Any, indices: Any) -> Any:
        """Return the rows of (n, batch, ...) at indices (slots, size), iterable by slot."""
        # XLA fuses gathers of single slots into their use: half the time of one large gather.
        # The indices are known to be valid, so XLA need not check them.
        rows = table.reshape(table.shape[0], -1)
        return [
            rows.at[slot].get(mode="promise_in_bounds").reshape(-1, *table.shape[1:])
            for slot in indices
        ]

    def map_blocks(function: Callable[..., Any], *blocks: Any) -> Any:
        """Call a function on one block after another and stack the results."""
        return jax.lax.map(lambda block: function(*block), blocks)

    def differentiable(
        forward: Callable[..., Any], backward: Callable[..., Any], tangent: Callable[..., Any]
    ) -> Callable[..., Any]:
        """Return attention of q, k, v, mask, operator with the given derivatives."""

        def vary(inputs: Any, tangents: Any, operator: SparseOperator) -> Any:
            *tensors, mask = inputs
            moving = [
                jax.numpy.zeros_like(x) if t is None else t
                for x, t in zip(tensors, tangents, strict=True)
            ]
            return (tangent(*tensors, *moving, mask, operator=operator),)

        def pull_back(inputs: Any, cotangents: Any, _: Any, operator: SparseOperator) -> Any:
            *tensors, mask = inputs
            return backward(*tensors, *cotangents, mask, operator=operator)

        @partial(jax.custom_jvp, nondiff_argnums=(4,))
        def apply(q: Any, k: Any, v: Any, mask: Any, operator: SparseOperator) -> Any:
            return forward(q, k, v, mask, operator=operator)

        @partial(apply.defjvp, symbolic_zeros=True)
        def differentiate(operator: SparseOperator, inputs: Any, tangents: Any) -> Any:
            y = apply(*inputs, operator)
            return y, LinearMap(vary, pull_back, (operator,))(inputs, tangents[:3], y)

        def attend(q: Any, k: Any, v: Any, mask: Any, operator: SparseOperator) -> Any:
            return apply(*align(q, k, v), mask, operator)

        return attend

else:
    import torch

    from deepsphere.ops.derivatives.torch import attention_function
    from deepsphere.ops.portable.torch import constants, exporting

    def differentiable(
        forward: Callable[..., Any], backward: Callable[..., Any], tangent: Callable[..., Any]
    ) -> Callable[..., Any]:
        """Return attention of q, k, v, mask, operator with the given derivatives."""
        function = attention_function(forward, backward, tangent)

        def attend(q: Any, k: Any, v: Any, mask: Any, operator: SparseOperator) -> Any:
            if exporting():  # converters do not support custom gradients
                return forward(q, k, v, mask, operator=operator)
            return function(q, k, v, mask, operator)

        return attend

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of tensors and an `operator`, compiled if that helps the backend."""
        return function

    def device_of(x: Any) -> str:
        """Return the type of device that holds a tensor, such as ``"cpu"`` or ``"gpu"``."""
        return x.device.type

    def constant(
        operator: SparseOperator, key: Any, make: Callable[[], NDArray[Any]], like: Any
    ) -> Any:
        """Return an array on the device of `like`, created once per operator and key."""
        return constants(
            operator, ("torch", key, like.device), lambda: torch.tensor(make(), device=like.device)
        )

    def gather(table: Any, indices: Any) -> Any:
        """Return the rows of (n, batch, ...) at indices (slots, size), iterable by slot."""
        rows = table.reshape(table.shape[0], -1).index_select(0, indices.reshape(-1))
        return rows.reshape(*indices.shape, *table.shape[1:])

    def map_blocks(function: Callable[..., Any], *blocks: Any) -> Any:
        """Call a function on one block after another and stack the results."""
        return torch.stack([function(*block) for block in zip(*blocks, strict=True)])


class Blocks:
    """Layout of tensors (batch, n, heads, depth) as blocks of vertices.

    Parameters
    ----------
    x : tensor, shape (batch, n, heads, depth)
        One of the tensors, for its shape, dtype and device.
    operator : SparseOperator of size n
        Stores an entry, of any value, for each pair of neighbors.
    """

    def __init__(self, x: Any, operator: SparseOperator) -> None:
        batch, self.n, self.heads, self.depth = x.shape
        self.like = x
        wide = keras.backend.standardize_dtype(x.dtype) == "float64"
        self.dtype = "float64" if wide else "float32"
        rows = operator.constant("pattern", lambda: _ones(operator))
        self.patterns = {"keys": rows, "queries": rows.transpose}
        slots = max(int(np.diff(p.matrix.indptr).max()) for p in self.patterns.values())
        numbers = (batch or USUAL_BATCH) * slots * self.heads * self.depth
        self.count = count_blocks(self.n, numbers, device_of(x))

    def fold(self, x: Any) -> Any:
        """Transpose (batch, n, ...) to (n, batch, ...), contiguous per vertex."""
        return self.pack(ops.transpose(ops.cast(x, self.dtype), (1, 0, *range(2, len(x.shape)))))

    def pack(self, x: Any) -> Any:
        """Make (n, batch, ...) contiguous: PyTorch would copy a view for each block."""
        return ops.reshape(ops.reshape(x, (self.n, -1)), (self.n, -1, *x.shape[2:]))

    def unfold(self, y: Any, like: Any) -> Any:
        """Transpose (n, batch, ...) to (batch, n, ...) and cast to the dtype of `like`."""
        return ops.cast(ops.transpose(y, (1, 0, 2, 3)), like.dtype)

    def hidden(self, mask: Any) -> Any:
        """Return the bias of the scores of keys, (n, batch): -inf outside the mask, else 0."""
        if mask is None:
            return None
        return self.fold(ops.where(mask, 0.0, -np.inf))

    def cut(self, x: Any) -> Any:
        """Cut (n, batch, ...) into (blocks, size, batch, ...), padded with 0."""
        missing = -self.n % self.count
        if missing:
            x = ops.pad(x, ((0, missing),) + ((0, 0),) * (len(x.shape) - 1))
        return ops.reshape(x, (self.count, -(-self.n // self.count), -1, *x.shape[2:]))

    def lists(self, which: str) -> tuple[Any, Any]:
        """Return the padded neighbor lists of each block, and a bias of -inf at the padding.

        ``"keys"`` lists the vertices that a vertex attends to, ``"queries"`` those that attend to
        it.
        """
        pattern = self.patterns[which]

        def indices() -> NDArray[np.int32]:
            return _cut(pattern.neighbor_lists.indices, self.count)

        def gaps() -> NDArray[np.floating]:
            degrees = np.diff(pattern.matrix.indptr)
            slots = np.arange(len(pattern.neighbor_lists.indices))
            full = np.where(slots[:, None] < degrees, 0, -np.inf).astype(self.dtype)
            return _cut(full, self.count, -np.inf)

        return (
            constant(pattern, ("indices", self.count), indices, self.like),
            constant(pattern, ("gaps", self.count, self.dtype), gaps, self.like),
        )

    def map(self, function: Callable[..., Any], width: int, *blocks: Any) -> Any:
        """Call a function on each block and join the results, (..., heads, width)."""
        if self.count == 1:
            return function(*(block[0] for block in blocks))
        y = map_blocks(function, *blocks)
        return ops.reshape(y, (self.count * -(-self.n // self.count), -1, self.heads, width))[
            : self.n
        ]

    def clear(self, y: Any, which: str) -> Any:
        """Set vertices of (n, ...) without neighbors to 0: the padding they read may be NaN."""
        pattern = self.patterns[which]
        rows = pattern.empty_rows
        if rows is None:
            return y
        empty = constant(pattern, "empty rows", lambda: rows[:, None, None, None], self.like)
        return ops.where(empty, ops.zeros_like(y), y)


def _ones(operator: SparseOperator) -> SparseOperator:
    matrix = operator.matrix
    data = np.ones(matrix.nnz)
    return SparseOperator(csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape))


def _cut(array: NDArray[Any], blocks: int, fill: float = 0) -> NDArray[Any]:
    """Cut (slots, n) into (blocks, slots, size), with the last block padded."""
    slots, n = array.shape
    size = -(-n // blocks)
    padded = np.pad(array, ((0, 0), (0, blocks * size - n)), constant_values=fill)
    return np.ascontiguousarray(padded.reshape(slots, blocks, size).transpose(1, 0, 2))
