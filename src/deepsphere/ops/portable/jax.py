"""Operations on JAX, with sparse products as sums of gathered rows over neighbors.

``lax.scan`` loops over the degrees. If the loop were unrolled, XLA would fuse each neighbor sum
into the next and recompute the earlier ones for every neighbor, at a cost exponential in the order.

Filters unroll the sum over the neighbors, some 20 per row. The operators of plain products may have
a hundred, for which the sum is a loop: XLA would fuse the preceding operations into each term.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from numpy.typing import NDArray

from deepsphere.ops import plan
from deepsphere.ops.derivatives.activations import LEAKY_SLOPE
from deepsphere.ops.derivatives.jax import LinearMap
from deepsphere.ops.derivatives.rules import filter_tangent
from deepsphere.ops.operator import SparseOperator

UNROLL = 8
"""Neighbors per step of a looped sum: the fastest from 1 to 32, for 16 and 64 columns."""


def chebyshev_filter(
    x: jax.Array,
    kernel: jax.Array,
    operator: SparseOperator,
    bias: jax.Array | None,
    activation: str,
) -> jax.Array:
    """Filter, add a bias, activate; see `deepsphere.ops.chebyshev_filter`."""
    if plan.is_empty(x, kernel):  # a sum over no channels is 0
        y = _mix(x, kernel[0]).astype(x.dtype)
    else:
        y = _chebyshev_filter(*align(x, kernel), operator)
    return _activate(y, bias, activation)


def normalized_filter(
    x: jax.Array,
    kernel: jax.Array,
    operator: SparseOperator,
    bias: jax.Array | None,
    epsilon: float,
    activation: str,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Filter, normalize, add a bias, activate; see `deepsphere.ops.normalized_filter`."""
    raw = chebyshev_filter(x, kernel, operator, None, "linear").astype(_working_dtype(x))
    y, mean, variance = normalize(raw, bias, epsilon, activation)
    return y.astype(x.dtype), lax.stop_gradient(mean), lax.stop_gradient(variance)


def normalize(
    raw: jax.Array, bias: jax.Array | None, epsilon: float, activation: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalize filtered features, add a bias, activate; return mean and variance, too."""
    mean = raw.mean((0, 1))
    centered = raw - mean
    variance = jnp.square(centered).mean((0, 1))
    return _activate(centered * lax.rsqrt(variance + epsilon), bias, activation), mean, variance


def _activate(y: jax.Array, bias: jax.Array | None, activation: str) -> jax.Array:
    if bias is not None:
        y = y + bias.astype(y.dtype)
    return activate(y, activation)


def activate(y: jax.Array, activation: str) -> jax.Array:
    """Apply one of `deepsphere.ops.ACTIVATIONS`."""
    match activation:
        case "linear":
            return y
        case "leaky_relu":
            return jax.nn.leaky_relu(y, LEAKY_SLOPE)
        case "gelu":
            return jax.nn.gelu(y, approximate=False)
    function: Callable[[jax.Array], jax.Array] = getattr(jax.nn, activation)
    return function(y)


def in_shard_map() -> bool:
    """Whether a function is being traced within `jax.shard_map`."""
    return bool(getattr(jax.sharding.get_abstract_mesh(), "manual_axes", ()))


def align(*arrays: jax.Array) -> list[jax.Array]:
    """Make arrays vary over the same mesh axes within `jax.shard_map`.

    A custom gradient must have the type of its argument. The gradient of this function sums over
    the devices, as required for a kernel that the devices share.
    """
    axes = [_varying_axes(array) for array in arrays]
    every: frozenset[str] = frozenset().union(*axes)
    return [
        _spread(array, tuple(sorted(every - own))) if every - own else array
        for array, own in zip(arrays, axes, strict=True)
    ]


def _varying_axes(array: jax.Array) -> frozenset[str]:
    kind = jax.typeof(array)
    if hasattr(kind, "mat"):  # the name in JAX 0.10
        return kind.mat.varying
    return getattr(kind, "vma", frozenset())


def _spread(array: jax.Array, axes: tuple[str, ...]) -> jax.Array:
    if hasattr(lax, "pcast"):  # the name in JAX 0.9
        return lax.pcast(array, axes, to="varying")
    return lax.pvary(array, axes)  # type: ignore[attr-defined]


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _chebyshev_filter(x: jax.Array, kernel: jax.Array, operator: SparseOperator) -> jax.Array:
    return _forward_pass(x, kernel, operator)


@partial(_chebyshev_filter.defjvp, symbolic_zeros=True)
def _differentiate(operator, inputs, tangents):  # type: ignore[no-untyped-def]
    y = _chebyshev_filter(*inputs, operator)
    return y, LinearMap(_vary, _pull_back, (operator,))(inputs, tangents, y)


def _vary(inputs, tangents, operator):  # type: ignore[no-untyped-def]
    def filtered(x, kernel):  # type: ignore[no-untyped-def]
        return _chebyshev_filter(x, kernel, operator)

    return (filter_tangent(filtered, *inputs, *tangents),)


def _pull_back(inputs, cotangents, _, operator):  # type: ignore[no-untyped-def]
    return _backward_pass(*inputs, *cotangents, operator)


# Outside jit, JAX would recompile the loops at each call.
@partial(jax.jit, static_argnums=2)
def _forward_pass(x: jax.Array, kernel: jax.Array, operator: SparseOperator) -> jax.Array:
    dtype = _working_dtype(x)
    y = _filter(_fold(x.astype(dtype)), kernel.astype(dtype), operator)
    return _unfold(y, x).astype(x.dtype)


@partial(jax.jit, static_argnums=3)
def _backward_pass(
    x: jax.Array, kernel: jax.Array, gradient: jax.Array, operator: SparseOperator
) -> tuple[jax.Array, jax.Array]:
    dtype = _working_dtype(x)
    dx, dw = _gradients(
        _fold(x.astype(dtype)), kernel.astype(dtype), _fold(gradient.astype(dtype)), operator
    )
    return _unfold(dx, x).astype(x.dtype), dw.astype(kernel.dtype)


def _working_dtype(x: jax.Array) -> jnp.dtype:
    return jnp.promote_types(x.dtype, jnp.float32)


def _fold(x: jax.Array) -> jax.Array:
    """Transpose (batch, n, channels) to (n, batch, channels), contiguous per vertex."""
    return jnp.transpose(x, (1, 0, 2))


def _unfold(y: jax.Array, like: jax.Array) -> jax.Array:
    batch, n = like.shape[:2]
    return y.reshape(n, batch, -1).transpose(1, 0, 2)


def _filter(z: jax.Array, kernel: jax.Array, operator: SparseOperator) -> jax.Array:
    """Return ``sum_k T_k(A) z W_k`` of (n, batch, channels), as (n * batch, filters)."""
    channels, filters = z.shape[2], kernel.shape[2]
    if plan.clenshaw_is_narrower(channels, filters):
        return _clenshaw(z, kernel, operator)

    def add(y: jax.Array, term: jax.Array, coefficients: jax.Array) -> tuple[jax.Array, None]:
        return y + _mix(term.reshape(-1, channels), coefficients), None

    return _walk_basis(z, kernel, operator, _zeros(z, filters), add)[0]


def _mix(rows: jax.Array, coefficients: jax.Array) -> jax.Array:
    """Multiply rows by the coefficients of a term, by channel if the kernel is depthwise."""
    depthwise = rows.shape[-1] != coefficients.shape[0]
    return rows * coefficients if depthwise else rows @ coefficients


def _correlate(left: jax.Array, right: jax.Array, depthwise: bool) -> jax.Array:
    """Return the gradient of the coefficients of a term."""
    return (left * right).sum(0, keepdims=True) if depthwise else left.T @ right


def _zeros(z: jax.Array, channels: int) -> jax.Array:
    """Return rows of zeros, in a form that supports an unknown batch size in ONNX exports."""
    return jnp.zeros((*z.shape[:2], channels), z.dtype).reshape(-1, channels)


def _walk_basis(z, kernel, operator, start, visit):  # type: ignore[no-untyped-def]
    """Fold ``visit(carry, T_k(A) z, W_k)`` over k; return the carry and the stacked outputs."""
    first = z.reshape(z.shape[0], -1)
    carry, output = visit(start, first, kernel[0])
    outputs = [jax.tree.map(lambda a: a[None], output)]
    if len(kernel) > 1:
        second = _matmul(operator, first)

        def step(state, coefficients):  # type: ignore[no-untyped-def]
            previous, current, carry = state
            carry, output = visit(carry, current, coefficients)
            return (current, 2 * _matmul(operator, current) - previous, carry), output

        (_, last, carry), output = lax.scan(step, (first, second, carry), kernel[1:-1])
        outputs.append(output)
        carry, output = visit(carry, last, kernel[-1])
        outputs.append(jax.tree.map(lambda a: a[None], output))
    return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts), *outputs)


def _clenshaw(z: jax.Array, kernel: jax.Array, operator: SparseOperator) -> jax.Array:
    n, batch, channels = z.shape
    filters = kernel.shape[2]
    rows = z.reshape(-1, channels)
    if len(kernel) == 1:
        return rows @ kernel[0]

    # Keep the shape that products gather from: if a buffer has two shapes, XLA on CPU (seen with
    # jaxlib 0.10.2) may overwrite it during a gather.
    def mix(coefficients: jax.Array) -> jax.Array:
        return (rows @ coefficients).reshape(n, -1)

    def step(state, coefficients):  # type: ignore[no-untyped-def]
        current, following = state
        return (mix(coefficients) + 2 * _matmul(operator, current) - following, current), None

    start = mix(kernel[-1]), _zeros(z, filters).reshape(n, -1)
    # ONNX does not support scan(reverse=True).
    (current, following), _ = lax.scan(step, start, kernel[-2:0:-1])
    y = mix(kernel[0]) + _matmul(operator, current) - following
    return y.reshape(n * batch, filters)


def _gradients(
    z: jax.Array, kernel: jax.Array, gradient: jax.Array, operator: SparseOperator
) -> tuple[jax.Array, jax.Array]:
    channels, filters = z.shape[2], kernel.shape[2]
    depthwise = plan.is_depthwise(z.shape, kernel.shape)
    turned = kernel if depthwise else kernel.transpose(0, 2, 1)
    if plan.separate_gradients(channels, filters):
        rows = gradient.reshape(-1, filters)
        dx = _filter(gradient, turned, operator.transpose)
        _, dw = _walk_basis(
            z,
            kernel,
            operator,
            (),
            lambda carry, term, _: (carry, term.reshape(-1, channels).T @ rows),
        )
        return dx, dw
    rows = z.reshape(-1, channels)

    def visit(dx, term, coefficients):  # type: ignore[no-untyped-def]
        term_rows = term.reshape(-1, filters)
        return dx + _mix(term_rows, coefficients), _correlate(rows, term_rows, depthwise)

    return _walk_basis(gradient, turned, operator.transpose, jnp.zeros_like(rows), visit)


def _matmul(operator: SparseOperator, columns: jax.Array) -> jax.Array:
    """Multiply (n, columns) by the operator."""
    limit, width = plan.max_columns(operator.nnz), columns.shape[1]
    if not isinstance(width, int) or width <= limit:  # the width is symbolic during export
        return _unrolled_neighbor_sum(operator, columns)
    blocks = [columns[:, i : i + limit] for i in range(0, width, limit)]
    return jnp.concatenate([_unrolled_neighbor_sum(operator, block) for block in blocks], axis=1)


def _unrolled_neighbor_sum(operator: SparseOperator, columns: jax.Array) -> jax.Array:
    lists = operator.neighbor_lists
    values = operator.constant(("jax", columns.dtype), lambda: lists.values.astype(columns.dtype))
    terms = (
        # The indices are known to be valid, so XLA need not check them.
        columns.at[neighbors].get(mode="promise_in_bounds") * weights[:, None]
        for neighbors, weights in zip(lists.indices, values, strict=True)
    )
    return _clear_empty_rows(operator, sum(terms, next(terms)))


def _clear_empty_rows(operator: SparseOperator, columns: jax.Array) -> jax.Array:
    """Set rows of (n, columns) without entries to 0: the padding they read may be NaN."""
    empty = operator.empty_rows
    return columns if empty is None else jnp.where(empty[:, None], 0, columns)


# ---- plain products ----


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def sparse_product(x: jax.Array, operator: SparseOperator, power: int) -> jax.Array:
    """Multiply features; see `deepsphere.ops.sparse_product`."""
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
    columns = lax.fori_loop(0, power, lambda _, c: _looped_neighbor_sum(operator, c), columns)
    return _unfold(columns, x).astype(x.dtype)


def _looped_neighbor_sum(operator: SparseOperator, columns: jax.Array) -> jax.Array:
    lists = operator.neighbor_lists
    values = operator.constant(("jax", columns.dtype), lambda: lists.values.astype(columns.dtype))

    def add(total, neighbor):  # type: ignore[no-untyped-def]
        indices, weights = neighbor
        # The indices are known to be valid, so XLA need not check them.
        gathered = columns.at[indices].get(mode="promise_in_bounds")
        return total + gathered * weights[:, None], None

    total, _ = lax.scan(add, jnp.zeros_like(columns), (lists.indices, values), unroll=UNROLL)
    return _clear_empty_rows(operator, total)


# ---- pooling ----


def pool(x: jax.Array, children: int, mode: str) -> jax.Array:
    """Pool children; see `deepsphere.ops.pool`."""
    batch, n, channels = x.shape
    y = x.reshape(batch, n // children, children, channels)
    if plan.is_empty(x):
        return y[:, :, 0]
    return y.max(2) if mode == "max" else y.mean(2, dtype=_working_dtype(x)).astype(x.dtype)


# ---- blocks of vertices, for attention ----


def jitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors and an `operator`, compiled if that helps the backend."""
    # Outside jit, JAX would recompile the loops at each call.
    return jax.jit(function, static_argnames="operator")


def device_of(x: jax.Array) -> str:  # noqa: ARG001
    """Return the type of device that holds a tensor, such as ``"cpu"`` or ``"gpu"``."""
    return jax.default_backend()


def device_constant(
    operator: SparseOperator,
    key: Any,
    make: Callable[[], NDArray[Any]],
    like: jax.Array,  # noqa: ARG001
) -> NDArray[Any]:
    """Return an array on the device of `like`, created once per operator and key."""
    return operator.constant(("jax", key), make)


def gather_rows(table: jax.Array, indices: jax.Array) -> list[jax.Array]:
    """Return the rows of (n, batch, ...) at indices (slots, size), iterable by slot."""
    # XLA fuses gathers of single slots into their use: half the time of one large gather.
    # The indices are known to be valid, so XLA need not check them.
    rows = table.reshape(table.shape[0], -1)
    return [
        rows.at[slot].get(mode="promise_in_bounds").reshape(-1, *table.shape[1:])
        for slot in indices
    ]


def map_blocks(function: Callable[..., Any], *blocks: jax.Array) -> jax.Array:
    """Call a function on one block after another and stack the results."""
    return lax.map(lambda block: function(*block), blocks)


def differentiable_attention(
    forward: Callable[..., Any], backward: Callable[..., Any], tangent: Callable[..., Any]
) -> Callable[..., Any]:
    """Return attention of q, k, v, mask, operator with the given derivatives."""

    def vary(inputs: Any, tangents: Any, operator: SparseOperator) -> Any:
        *tensors, mask = inputs
        moving = [
            jnp.zeros_like(x) if t is None else t for x, t in zip(tensors, tangents, strict=True)
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
