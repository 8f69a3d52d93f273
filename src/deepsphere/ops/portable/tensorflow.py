"""Operations on TensorFlow, with CSR products, or sums over neighbors where unsupported.

The CSR product is TensorFlow's fastest on CPU and needs no XLA. Neither XLA nor other runtimes
(ONNX, LiteRT, OpenVINO) support it, so for them products are sums of gathered rows over neighbors.
Within XLA a loop runs over the degrees: if it were unrolled, XLA would fuse each sum into the next
and recompute the earlier ones for every neighbor, at a cost exponential in the order. Elsewhere it
is unrolled: a CSR matrix that a loop captures loses its shape in a SavedModel, which then cannot
be loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.eager import forwardprop_util
from tensorflow.python.ops import control_flow_util
from tensorflow.python.ops.while_v2 import _WhileBodyGradFuncGraph

from deepsphere.ops import plan
from deepsphere.ops.derivatives.activations import LEAKY_SLOPE
from deepsphere.ops.derivatives.rules import gradients_cotangents
from deepsphere.ops.exporting import called_from, is_across_runtimes
from deepsphere.ops.operator import SparseOperator

_CONVERTERS = (
    "keras.src.export.onnx",
    "keras.src.export.litert",
    "keras.src.export.openvino",
    "tf2onnx.",
    "tensorflow.lite.",
)
"""Modules that trace a model for another runtime."""

UNROLL = 8
"""Neighbors per step of a looped sum, as on JAX."""


class _Product(NamedTuple):
    """A function that multiplies (n, columns) by an operator, and whether to unroll recurrences."""

    multiply: Callable[[tf.Tensor], tf.Tensor]
    unroll: bool

    def __call__(self, columns: tf.Tensor) -> tf.Tensor:
        """Multiply (n, columns) by the operator."""
        return self.multiply(columns)


@tf.autograph.experimental.do_not_convert
def chebyshev_filter(
    x: tf.Tensor,
    kernel: tf.Tensor,
    operator: SparseOperator,
    bias: tf.Tensor | None,
    activation: str,
) -> tf.Tensor:
    """Filter, add a bias, activate; see `deepsphere.ops.chebyshev_filter`."""
    if plan.is_empty(x, kernel):  # a sum over no channels is 0
        y = _mix(x, tf.cast(kernel[0], x.dtype))
    elif has_tangent(x, kernel):
        y = _plain_filter(x, kernel, operator)
    else:
        y = _custom_filter(x, kernel, operator)
    return _activate(y, bias, activation)


@tf.autograph.experimental.do_not_convert
def normalized_filter(
    x: tf.Tensor,
    kernel: tf.Tensor,
    operator: SparseOperator,
    bias: tf.Tensor | None,
    epsilon: float,
    activation: str,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Filter, normalize, add a bias, activate; see `deepsphere.ops.normalized_filter`."""
    raw = tf.cast(chebyshev_filter(x, kernel, operator, None, "linear"), _working_dtype(x))
    y, mean, variance = normalize(raw, bias, epsilon, activation)
    return tf.cast(y, x.dtype), tf.stop_gradient(mean), tf.stop_gradient(variance)


def normalize(
    raw: tf.Tensor, bias: tf.Tensor | None, epsilon: float, activation: str
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalize filtered features, add a bias, activate; return mean and variance, too."""
    mean = tf.reduce_mean(raw, [0, 1])
    centered = raw - mean
    variance = tf.reduce_mean(tf.square(centered), [0, 1])
    y = centered * tf.math.rsqrt(variance + epsilon)
    return _activate(y, bias, activation), mean, variance


def _activate(y: tf.Tensor, bias: tf.Tensor | None, activation: str) -> tf.Tensor:
    if bias is not None:
        y = y + tf.cast(bias, y.dtype)
    return activate(y, activation)


@tf.autograph.experimental.do_not_convert
def activate(y: tf.Tensor, activation: str) -> tf.Tensor:
    """Apply one of `deepsphere.ops.ACTIVATIONS`."""
    match activation:
        case "linear":
            return y
        case "leaky_relu":
            return tf.nn.leaky_relu(y, LEAKY_SLOPE)
    return getattr(tf.nn, activation)(y)


def _custom_filter(x: tf.Tensor, kernel: tf.Tensor, operator: SparseOperator) -> tf.Tensor:
    dtype = _working_dtype(x)

    @tf.custom_gradient
    def apply(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        y = _filter(_fold(tf.cast(x, dtype)), tf.cast(kernel, dtype), operator)
        return tf.cast(_unfold(y, x), x.dtype), lambda g: _filter_gradients(x, kernel, g, operator)

    return apply(x, kernel)


def _working_dtype(x: tf.Tensor) -> tf.DType:
    return tf.float64 if x.dtype == tf.float64 else tf.float32


def has_tangent(*tensors: tf.Tensor) -> bool:
    """Whether a `tf.autodiff.ForwardAccumulator` watches any of the tensors.

    In graphs it ignores custom gradients and would return zero. It does differentiate single
    operations.
    """
    tensors = tuple(map(tf.convert_to_tensor, tensors))  # converts variables, too
    return bool(forwardprop_util.pack_tangents(list(tensors)).tangents)


def _plain_filter(x: tf.Tensor, kernel: tf.Tensor, operator: SparseOperator) -> tf.Tensor:
    """Filter with operations that TensorFlow can differentiate."""
    dtype = _working_dtype(x)

    def add(y: Any, _: Any, term: tf.Tensor, coefficients: tf.Tensor) -> tf.Tensor:
        return y + _mix(_rows(term, x.shape[2]), coefficients)

    y = _walk_basis(
        _fold(tf.cast(x, dtype)), tf.cast(kernel, dtype), _plain_product(operator, dtype), 0.0, add
    )
    return _plain_unfold(y, x)


def _plain_unfold(y: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Unfold (n * batch, channels) without `ensure_shape`, at which forward accumulators fail."""
    filters = y.shape[-1]
    y = tf.transpose(tf.reshape(y, [like.shape[1], -1, filters]), [1, 0, 2])
    y.set_shape([like.shape[0], like.shape[1], filters])
    return tf.cast(y, like.dtype)


def _plain_product(operator: SparseOperator, dtype: tf.DType) -> _Product:
    """Return the product as a sum over neighbors."""
    lists = _neighbor_lists(operator, dtype, embed=False)
    return _Product(lambda columns: _unrolled_neighbor_sum(*lists, columns), unroll=True)


@tf.autograph.experimental.do_not_convert
def _filter_gradients(
    x: tf.Tensor, kernel: tf.Tensor, gradient: tf.Tensor, operator: SparseOperator
) -> list[tf.Tensor]:
    dtype = _working_dtype(x)

    @tf.custom_gradient
    def apply(
        x: tf.Tensor, kernel: tf.Tensor, g: tf.Tensor
    ) -> tuple[list[tf.Tensor], Callable[..., Any]]:
        # Fold x again, to keep only x itself and the kernel between the passes.
        dx, dw = _gradients(
            _fold(tf.cast(x, dtype)), tf.cast(kernel, dtype), _fold(tf.cast(g, dtype)), operator
        )

        def second(*cotangents: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return gradients_cotangents(
                lambda x, kernel: _custom_filter(x, kernel, operator),
                lambda x, kernel, g, _: _filter_gradients(x, kernel, g, operator),
                *(x, kernel, g, cotangents),
            )

        return [tf.cast(_unfold(dx, x), x.dtype), tf.cast(dw, kernel.dtype)], second

    return apply(x, kernel, gradient)


def _fold(x: tf.Tensor) -> tf.Tensor:
    """Transpose (batch, n, channels) to (n, batch, channels), contiguous per vertex."""
    return tf.transpose(x, [1, 0, 2])


def _unfold(y: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    filters = y.shape[-1]
    y = tf.transpose(tf.reshape(y, [like.shape[1], -1, filters]), [1, 0, 2])
    return tf.ensure_shape(y, [like.shape[0], like.shape[1], filters])


def _rows(columns: tf.Tensor, channels: int) -> tf.Tensor:
    return tf.reshape(columns, [-1, channels])


def _filter(z: tf.Tensor, kernel: tf.Tensor, operator: SparseOperator) -> tf.Tensor:
    """Return ``sum_k T_k(A) z W_k`` of (n, batch, channels), as (n * batch, filters)."""
    channels, filters = z.shape[2], kernel.shape[2]

    def by_basis(product: _Product) -> tf.Tensor:
        def add(y: tf.Tensor, _: Any, term: tf.Tensor, coefficients: tf.Tensor) -> tf.Tensor:
            return y + _mix(_rows(term, channels), coefficients)

        start = tf.zeros([tf.shape(z)[0] * tf.shape(z)[1], filters], z.dtype)
        return _walk_basis(z, kernel, product, start, add)

    if plan.clenshaw_is_narrower(channels, filters):
        return _with_product(operator, z, filters, lambda product: _clenshaw(z, kernel, product))
    return _with_product(operator, z, channels, by_basis)


def _mix(rows: tf.Tensor, coefficients: tf.Tensor) -> tf.Tensor:
    """Multiply rows by the coefficients of a term, by channel if the kernel is depthwise."""
    depthwise = rows.shape[-1] != coefficients.shape[0]
    return rows * coefficients if depthwise else rows @ coefficients


def _correlate(left: tf.Tensor, right: tf.Tensor, depthwise: bool) -> tf.Tensor:
    """Return the gradient of the coefficients of a term."""
    if depthwise:
        return tf.reduce_sum(left * right, 0, keepdims=True)
    return tf.matmul(left, right, transpose_a=True)


def _walk_basis(
    z: tf.Tensor, kernel: tf.Tensor, product: _Product, carry: Any, visit: Callable[..., Any]
) -> Any:
    """Fold ``visit(carry, k, T_k(A) z, W_k)`` over k."""
    terms, n = kernel.shape[0], z.shape[0]
    previous = tf.reshape(z, [n, -1])
    carry = visit(carry, 0, previous, kernel[0])
    if terms == 1:
        return carry

    def step(i: Any, previous: tf.Tensor, current: tf.Tensor, carry: Any) -> tuple[Any, ...]:
        carry = visit(carry, i + 1, current, kernel[i + 1])
        return current, 2 * product(current) - previous, carry

    _, current, carry = _repeat(product, terms - 2, step, (previous, product(previous), carry))
    return visit(carry, terms - 1, current, kernel[terms - 1])


def _clenshaw(z: tf.Tensor, kernel: tf.Tensor, product: _Product) -> tf.Tensor:
    terms, channels, filters = kernel.shape
    rows = _rows(z, channels)

    def shifted(b: tf.Tensor) -> tf.Tensor:
        return _rows(product(tf.reshape(b, [z.shape[0], -1])), filters)

    current = rows @ kernel[terms - 1]
    if terms == 1:
        return current

    def step(i: Any, current: tf.Tensor, following: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return rows @ kernel[terms - 2 - i] + 2 * shifted(current) - following, current

    current, following = _repeat(product, terms - 2, step, (current, tf.zeros_like(current)))
    return rows @ kernel[0] + shifted(current) - following


def _repeat(
    product: _Product, times: int, step: Callable[..., tuple[Any, ...]], state: tuple[Any, ...]
) -> Any:
    """Apply ``state = step(i, *state)`` for i = 0 to ``times - 1``, and return the state."""
    if product.unroll:
        for i in range(times):
            state = step(i, *state)
        return state
    return tf.while_loop(
        lambda i, *_: i < times,
        lambda i, *state: (i + 1, *step(i, *state)),
        (tf.constant(0), *state),
        maximum_iterations=times,
    )[1:]


def _gradients(
    z: tf.Tensor, kernel: tf.Tensor, g: tf.Tensor, operator: SparseOperator
) -> tuple[tf.Tensor, tf.Tensor]:
    terms, channels, filters = kernel.shape[0], z.shape[2], kernel.shape[2]
    depthwise = plan.is_depthwise(z.shape, kernel.shape)
    turned = kernel if depthwise else tf.transpose(kernel, [0, 2, 1])

    def collected(parts: tf.TensorArray) -> tf.Tensor:
        return tf.ensure_shape(parts.stack(), kernel.shape)

    def empty() -> tf.TensorArray:
        return tf.TensorArray(z.dtype, size=terms, element_shape=kernel.shape[1:])

    def separate_dw(product: _Product) -> tf.Tensor:
        rows = _rows(g, filters)

        def visit(dw: tf.TensorArray, k: Any, term: tf.Tensor, _: tf.Tensor) -> tf.TensorArray:
            return dw.write(k, tf.matmul(_rows(term, channels), rows, transpose_a=True))

        return collected(_walk_basis(z, kernel, product, empty(), visit))

    def both(product: _Product) -> tuple[tf.Tensor, tf.Tensor]:
        rows = _rows(z, channels)

        def visit(carry: Any, k: Any, term: tf.Tensor, coefficients: tf.Tensor) -> Any:
            dx, dw = carry
            term = _rows(term, filters)
            return dx + _mix(term, coefficients), dw.write(k, _correlate(rows, term, depthwise))

        dx, dw = _walk_basis(g, turned, product, (tf.zeros_like(rows), empty()), visit)
        return dx, collected(dw)

    if plan.separate_gradients(channels, filters):
        dx = _filter(g, turned, operator.transpose)
        return dx, _with_product(operator, z, channels, separate_dw)
    return _with_product(operator.transpose, g, filters, both)


def _with_product(
    operator: SparseOperator, z: tf.Tensor, channels: int, compute: Callable[[_Product], Any]
) -> Any:
    """Call `compute` with a product suited to the context and the number of columns."""
    xla = control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
    if xla or _for_another_runtime():
        lists = _neighbor_lists(operator, z.dtype, embed=not xla)

        def product(columns: tf.Tensor) -> tf.Tensor:
            return _clear_empty_rows(operator, _unrolled_neighbor_sum(*lists, columns))

        return compute(_Product(product, unroll=not xla))
    batch, limit = z.shape[1], plan.max_columns(operator.nnz)

    def whole() -> Any:
        csr = _csr(operator, z.dtype)
        return compute(_Product(lambda columns: _csr_product(csr, columns), unroll=True))

    def split() -> Any:  # creates the CSR matrix within the loops, which keeps the graph small
        return compute(_Product(lambda columns: _split_product(operator, columns, limit), False))

    if batch is not None:
        return whole() if batch * channels <= limit else split()
    return tf.cond(tf.shape(z)[1] <= limit // channels, whole, split)


def _for_another_runtime() -> bool:
    """Whether the caller is being traced for a format other than TensorFlow's."""
    if tf.executing_eagerly():
        return False
    return is_across_runtimes() or called_from(_CONVERTERS)


def _csr_product(csr: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    result = tf.raw_ops.SparseMatrixMatMul(a=csr, b=columns)
    return tf.ensure_shape(result, columns.shape)


def _split_product(operator: SparseOperator, columns: tf.Tensor, limit: int) -> tf.Tensor:
    blocks = -(-tf.shape(columns)[1] // limit)

    def write(i: tf.Tensor, parts: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        csr = _csr(operator, columns.dtype)  # negligible compared to the product
        block = _csr_product(csr, columns[:, i * limit : (i + 1) * limit])
        return i + 1, parts.write(i, tf.transpose(block))

    parts = tf.TensorArray(
        columns.dtype, blocks, infer_shape=False, element_shape=[None, columns.shape[0]]
    )
    _, parts = tf.while_loop(lambda i, _: i < blocks, write, (tf.constant(0), parts))
    return tf.ensure_shape(tf.transpose(parts.concat()), columns.shape)


def _csr(operator: SparseOperator, dtype: tf.DType) -> tf.Tensor:
    """Return the operator as a CSRSparseMatrix, created in the graph that uses it.

    A matrix created eagerly loses its shape when a graph captures it. Creating it from captured
    components takes 2 ms for a million entries, once for all products of a filter.
    """

    def components() -> tuple[tf.Tensor, tf.Tensor]:
        matrix = operator.matrix
        rows = np.repeat(np.arange(len(operator)), np.diff(matrix.indptr))
        return (
            tf.constant(np.column_stack((rows, matrix.indices)).astype(np.int64)),
            tf.constant(matrix.data, dtype),
        )

    def convert() -> tf.Tensor:
        indices, values = constants(operator, ("tensorflow", dtype), components)
        return tf.raw_ops.SparseTensorToCSRSparseMatrix(
            indices=indices, values=values, dense_shape=[len(operator)] * 2
        )

    if tf.executing_eagerly():
        return operator.constant(("tensorflow csr", dtype), convert)
    return convert()


def constants(operator: SparseOperator, key: Any, make: Callable[[], Any]) -> Any:
    """Return the tensors that an operator stores under a key, created eagerly on first use."""

    def eagerly() -> Any:
        with tf.init_scope():
            return make()

    tensors = operator.constant(key, eagerly)
    graph = tf.compat.v1.get_default_graph()
    outer = None
    while getattr(graph, "outer_graph", None) is not None:
        if isinstance(graph, _WhileBodyGradFuncGraph):
            outer = graph.outer_graph
        graph = graph.outer_graph
    if outer is None or tf.executing_eagerly():
        return tensors
    # The gradient of a loop cannot capture eager tensors, only those of the surrounding graph.
    with outer.as_default(), tf.control_dependencies(None):
        return tf.nest.map_structure(tf.identity, tensors)


def _neighbor_lists(operator: SparseOperator, dtype: tf.DType, embed: bool) -> tuple[Any, Any]:
    """Return indices of shape (width, n) and weights of shape (width, n, 1)."""
    indices, values = operator.neighbor_lists
    if embed:  # converters would take captured constants for inputs
        return [tf.constant(row) for row in indices], [
            tf.constant(v[:, None], dtype) for v in values
        ]

    return constants(
        operator,
        ("tensorflow lists", dtype),
        lambda: (tf.constant(indices), tf.constant(values[..., None], dtype)),
    )


def _unrolled_neighbor_sum(indices: Any, values: Any, columns: tf.Tensor) -> tf.Tensor:
    """Multiply (n, columns) with operations that XLA fuses and every runtime supports."""
    if not isinstance(indices, list):  # one operation, not a slice for every neighbor
        indices, values = tf.unstack(indices), tf.unstack(values)
    total = tf.zeros_like(columns)
    for neighbors, weights in zip(indices, values, strict=True):
        total = total + tf.gather(columns, neighbors) * weights
    return total


def _clear_empty_rows(operator: SparseOperator, columns: tf.Tensor) -> tf.Tensor:
    """Set rows of (n, columns) without entries to 0: the padding they read may be NaN."""
    empty = operator.empty_rows
    return columns if empty is None else tf.where(empty[:, None], tf.zeros_like(columns), columns)


# ---- plain products ----


@tf.autograph.experimental.do_not_convert
def sparse_product(x: tf.Tensor, operator: SparseOperator, power: int) -> tf.Tensor:
    """Multiply features; see `deepsphere.ops.sparse_product`."""
    if has_tangent(x):
        return _plain_powers(x, operator, power)

    @tf.custom_gradient
    def apply(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return _powers(x, operator, power), lambda g: sparse_product(g, operator.transpose, power)

    return apply(x)


def _plain_powers(x: tf.Tensor, operator: SparseOperator, power: int) -> tf.Tensor:
    """Multiply with operations that TensorFlow can differentiate."""
    z = _fold(tf.cast(x, _working_dtype(x)))
    columns, product = tf.reshape(z, [z.shape[0], -1]), _plain_product(operator, z.dtype)
    for _ in range(power):
        columns = product(columns)
    return _plain_unfold(tf.reshape(columns, [-1, z.shape[2]]), x)


def _powers(x: tf.Tensor, operator: SparseOperator, power: int) -> tf.Tensor:
    z = _fold(tf.cast(x, _working_dtype(x)))
    columns = tf.reshape(z, [z.shape[0], -1])

    def unrolled(product: _Product) -> tf.Tensor:  # a loop around a CSR matrix cannot be saved
        result = columns
        for _ in range(power):
            result = product(result)
        return result

    if control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        _, y = tf.while_loop(
            lambda i, _: i < power,
            lambda i, c: (i + 1, _looped_neighbor_sum(operator, c)),
            (tf.constant(0), columns),
            maximum_iterations=power,
        )
    else:
        y = _with_product(operator, z, z.shape[2], unrolled)
    return tf.cast(_unfold(tf.reshape(y, [-1, z.shape[2]]), x), x.dtype)


def _looped_neighbor_sum(operator: SparseOperator, columns: tf.Tensor) -> tf.Tensor:
    def make() -> tuple[tf.Tensor, tf.Tensor]:
        lists = operator.neighbor_lists
        n, spare = len(operator), -len(lists.indices) % UNROLL
        # Pad with an index that the row reads anyway: another vertex could hold NaN.
        last = np.tile(lists.indices[-1], (spare, 1))
        indices = np.concatenate((lists.indices, last)).reshape(-1, UNROLL, n)
        values = np.pad(lists.values, ((0, spare), (0, 0))).reshape(-1, UNROLL, n, 1)
        return tf.constant(indices), tf.constant(values, columns.dtype)

    indices, values = constants(operator, ("tensorflow blocks", columns.dtype), make)

    def step(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for neighbors, weights in zip(tf.unstack(indices[i]), tf.unstack(values[i]), strict=True):
            total = total + tf.gather(columns, neighbors) * weights
        return i + 1, total

    steps = indices.shape[0]
    _, total = tf.while_loop(
        lambda i, _: i < steps,
        step,
        (tf.constant(0), tf.zeros_like(columns)),
        maximum_iterations=steps,
    )
    return _clear_empty_rows(operator, total)


# ---- pooling ----


@tf.autograph.experimental.do_not_convert
def pool(x: tf.Tensor, children: int, mode: str) -> tf.Tensor:
    """Pool children; see `deepsphere.ops.pool`."""
    batch, n, channels = (
        tf.shape(x)[axis] if size is None else size for axis, size in enumerate(x.shape)
    )
    y = tf.reshape(x, [batch, n // children, children, channels])
    if plan.is_empty(x):
        return y[:, :, 0]
    if mode == "max":
        return tf.reduce_any(y, 2) if y.dtype == tf.bool else tf.reduce_max(y, 2)
    return tf.cast(tf.reduce_mean(tf.cast(y, _working_dtype(x)), 2), x.dtype)


# ---- blocks of vertices, for attention ----


def jitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors and an `operator`, compiled if that helps the backend."""
    return tf.autograph.experimental.do_not_convert(function)


def device_of(x: tf.Tensor) -> str:  # noqa: ARG001
    """Return the type of device that holds a tensor, such as ``"cpu"`` or ``"gpu"``."""
    return "gpu" if tf.config.list_logical_devices("GPU") else "cpu"


def device_constant(
    operator: SparseOperator,
    key: Any,
    make: Callable[[], NDArray[Any]],
    like: tf.Tensor,  # noqa: ARG001
) -> tf.Tensor:
    """Return an array on the device of `like`, created once per operator and key."""
    return constants(operator, ("tensorflow", key), lambda: tf.constant(make()))


def gather_rows(table: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Return the rows of (n, batch, ...) at indices (slots, size), iterable by slot."""
    rows = tf.gather(tf.reshape(table, [table.shape[0], -1]), indices)
    return tf.reshape(rows, [*indices.shape, -1, *table.shape[2:]])


def map_blocks(function: Callable[..., Any], *blocks: tf.Tensor) -> tf.Tensor:
    """Call a function on one block after another and stack the results."""
    return tf.map_fn(
        lambda block: function(*block),
        blocks,
        fn_output_signature=blocks[0].dtype,
        parallel_iterations=1,  # parallel iterations would gather for several blocks
    )


def differentiable_attention(
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
