"""Compiled operations on JAX, as custom calls of XLA on the host."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax.custom_derivatives import zero_from_primal

from deepsphere._allocator import keep_freed_memory
from deepsphere.ops.compiled import build
from deepsphere.ops.compiled.options import (
    attention_options,
    filter_options,
    pool_options,
    product_options,
)
from deepsphere.ops.derivatives.activations import is_curved, slope
from deepsphere.ops.derivatives.jax import LinearMap, derivative
from deepsphere.ops.derivatives.pooling import pull_to_coarse
from deepsphere.ops.derivatives.rules import (
    filter_tangent,
    gradients_cotangents,
    gradients_tangent,
)
from deepsphere.ops.exporting import called_from, is_portable
from deepsphere.ops.operator import SparseOperator
from deepsphere.ops.portable.jax import activate, differentiate_product, in_shard_map, normalize

TARGETS = (
    "forward",
    "forward_normalized",
    "backward",
    "backward_normalized",
    "product",
    "pool",
    "pool_backward",
    "attend",
    "attend_backward",
)

_EXPORTERS = ("keras.src.export", "jax._src.export", "jax.experimental.jax2tf", "jax2onnx")
"""Modules that trace a model for another runtime, which lacks these functions."""


@cache
def _registered() -> bool:
    options = (f"-I{jax.ffi.include_dir()}",)
    return bool(build.load(_register, "jax.c", options, jaxlib.__version__))


def _register(path: str) -> bool:
    functions = ctypes.CDLL(path)
    for name in TARGETS:
        handler = getattr(functions, f"deepsphere_jax_{name}")
        jax.ffi.register_ffi_target(
            f"deepsphere_{name}", jax.ffi.pycapsule(handler), platform="cpu"
        )
    keep_freed_memory()
    return True


def available(x: Any, kernel: Any, bias: Any | None = None) -> bool:
    """Return whether the compiled functions support these arguments."""
    return (
        not is_portable()
        and jax.default_backend() == "cpu"
        and jnp.float64 not in (x.dtype, kernel.dtype)
        and all(isinstance(size, int) for size in x.shape)  # exports may leave sizes symbolic
        and not (isinstance(x, jax.core.Tracer) and (in_shard_map() or called_from(_EXPORTERS)))
        and _registered()
    )


def _call(name: str, shapes: list[tuple[int, ...]], arguments: list[Any]) -> list[jax.Array]:
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    call = jax.ffi.ffi_call(f"deepsphere_{name}", results, vmap_method="sequential")
    return list(call(*arguments))


def _options(options: tuple[float, ...]) -> np.ndarray:
    return np.array(options, np.float32)


def _matrix(operator: SparseOperator) -> list[jax.Array]:
    def transfer() -> list[jax.Array]:
        with jax.ensure_compile_time_eval():
            return [jnp.asarray(array) for array in operator.compressed]

    return operator.constant("compiled jax", transfer)


def _output_shape(x: jax.Array, kernel: jax.Array) -> tuple[int, ...]:
    return (*x.shape[:2], kernel.shape[2])


def _gradient_shapes(x: jax.Array, kernel: jax.Array, wanted: tuple[bool, ...]) -> list[Any]:
    shapes = (x.shape, kernel.shape, kernel.shape[2:])
    return [s if w else (0,) for s, w in zip(shapes, wanted, strict=True)]


def _through(values: jax.Array, y: jax.Array, activation: str) -> jax.Array:
    """Multiply by the derivative of the activation at its output."""
    return values if activation == "linear" else values * slope(activation, y, jnp)


def _none() -> jax.Array:
    """Return an empty array, which stands for a missing one."""
    return jnp.zeros(0, jnp.float32)


# ---- filter, bias, activation; an empty bias means no bias ----


@partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _forward(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, operator: SparseOperator, activation: str
) -> jax.Array:
    arguments = [_options(filter_options(activation)), x, kernel, bias, *_matrix(operator)]
    return _call("forward", [_output_shape(x, kernel)], arguments)[0]


@partial(_forward.defjvp, symbolic_zeros=True)
def _differentiate_forward(operator, activation, inputs, tangents):  # type: ignore[no-untyped-def]
    x, kernel, bias = inputs
    y = _forward(*inputs, operator, activation)
    kept = y if activation != "linear" else _none()
    tx, tkernel, tbias = tangents
    linear = LinearMap(_vary_forward, _pull_back_forward, (operator, activation))
    return y, linear((x, kernel, bias, kept), (tx, tkernel, tbias if bias.size else None), y)


def _vary_forward(residuals, tangents, operator, activation):  # type: ignore[no-untyped-def]
    x, kernel, _, y = residuals
    tx, tkernel, tbias = tangents
    tangent = filter_tangent(_filtered_by(operator), x, kernel, tx, tkernel)
    if tbias is not None:
        tangent = (
            jnp.broadcast_to(tbias, _output_shape(x, kernel))
            if tangent is None
            else tangent + tbias
        )
    return (_through(tangent, y, activation),)


def _filtered_by(operator):  # type: ignore[no-untyped-def]
    return lambda x, kernel: _forward(x, kernel, _none(), operator, "linear")


def _pull_back_forward(residuals, cotangents, wanted, operator, activation):  # type: ignore[no-untyped-def]
    wanted = wanted[0], wanted[1] or wanted[2], wanted[2]
    return _backward(*residuals, *cotangents, operator, activation, wanted)


@partial(jax.custom_jvp, nondiff_argnums=(5, 6, 7))
def _backward(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    y: jax.Array,
    gradient: jax.Array,
    operator: SparseOperator,
    activation: str,
    wanted: tuple[bool, ...],
) -> list[jax.Array]:
    matrices = *_matrix(operator), *_matrix(operator.transpose)
    arguments = [_options(filter_options(activation)), x, kernel, y, gradient, *matrices]
    return _call("backward", _gradient_shapes(x, kernel, wanted), arguments)


@partial(_backward.defjvp, symbolic_zeros=True)
def _differentiate_backward(operator, activation, wanted, inputs, tangents):  # type: ignore[no-untyped-def]
    found = _backward(*inputs, operator, activation, wanted)
    x, kernel, bias, y, gradient = inputs
    tx, tkernel, tbias, _, tgradient = tangents
    if is_curved(activation):
        again = derivative(_filter_gradients_from_parts, operator, activation, wanted)
        return found, again((x, kernel, bias, gradient), (tx, tkernel, tbias, tgradient), found)
    linear = LinearMap(_vary_backward, _pull_back_backward, (operator, activation, wanted))
    return found, linear((x, kernel, y, gradient), (tx, tkernel, tgradient), found)


def _vary_backward(residuals, tangents, operator, activation, wanted):  # type: ignore[no-untyped-def]
    x, kernel, y, gradient = residuals
    gradients = _gradients_by(y, operator, activation)
    found = gradients_tangent(gradients, x, kernel, gradient, tangents, wanted)
    shapes = _gradient_shapes(x, kernel, wanted)
    return tuple(
        jnp.zeros(shape, jnp.float32) if f is None else f
        for f, shape in zip(found, shapes, strict=True)
    )


def _pull_back_backward(residuals, cotangents, needed, operator, activation, wanted):  # type: ignore[no-untyped-def]
    x, kernel, y, gradient = residuals
    vx, vkernel, vbias = (v if w else None for v, w in zip(cotangents, wanted, strict=True))
    to_x, to_kernel, to_gradient = gradients_cotangents(
        _filtered_by(operator),
        _gradients_by(y, operator, activation),
        *(x, kernel, gradient, (vx, vkernel), needed),
    )
    if needed[2] and vbias is not None:
        to_gradient = vbias if to_gradient is None else to_gradient + vbias
    if to_gradient is not None:
        to_gradient = _through(jnp.broadcast_to(to_gradient, gradient.shape), y, activation)
    found = to_x, to_kernel, to_gradient
    return tuple(
        jnp.zeros_like(like) if f is None else f
        for f, like in zip(found, (x, kernel, gradient), strict=True)
    )


def _gradients_by(y, operator, activation):  # type: ignore[no-untyped-def]
    return lambda x, kernel, gradient, wanted: _backward(
        x, kernel, _none(), y, gradient, operator, activation, wanted
    )


def _filter_gradients_from_parts(x, kernel, bias, gradient, operator, activation, wanted):  # type: ignore[no-untyped-def]
    def filtered(x, kernel, bias):  # type: ignore[no-untyped-def]
        return activate(_forward(x, kernel, bias, operator, "linear"), activation)

    found = jax.vjp(filtered, x, kernel, bias)[1](gradient)
    return tuple(f if w else _none() for f, w in zip(found, wanted, strict=True))


def chebyshev_filter(
    x: jax.Array,
    kernel: jax.Array,
    operator: SparseOperator,
    bias: jax.Array | None,
    activation: str,
) -> jax.Array:
    """Filter, add a bias, activate; see `deepsphere.ops.chebyshev_filter`."""
    single = jnp.float32
    b = jnp.zeros(0, single) if bias is None else bias.astype(single)
    y = _forward(x.astype(single), kernel.astype(single), b, operator, activation)
    return y.astype(x.dtype)


# ---- filter, normalization, bias, activation ----


@partial(jax.custom_jvp, nondiff_argnums=(3, 4, 5))
def _normalized(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    operator: SparseOperator,
    epsilon: float,
    activation: str,
) -> list[jax.Array]:
    shape, filters = _output_shape(x, kernel), kernel.shape[2:]
    arguments = [_options(filter_options(activation, epsilon)), x, kernel, bias, *_matrix(operator)]
    return _call("forward_normalized", [shape, shape, filters, filters], arguments)


@partial(_normalized.defjvp, symbolic_zeros=True)
def _differentiate_normalized(operator, epsilon, activation, inputs, tangents):  # type: ignore[no-untyped-def]
    y, *statistics = _normalized(*inputs, operator, epsilon, activation)
    tx, tkernel, tbias = tangents
    linear = LinearMap(_vary_normalized, _pull_back_normalized, (operator, epsilon, activation))
    tangents = tx, tkernel, tbias if inputs[2].size else None
    # The statistics carry no gradient themselves; their use in y is part of y's derivative.
    tangent = linear((*inputs, *statistics), tangents, y)
    return [y, *statistics], [tangent, *zero_from_primal(statistics, symbolic_zeros=True)]


def _vary_normalized(residuals, tangents, operator, epsilon, activation):  # type: ignore[no-untyped-def]
    return (_normalized_tangent(residuals, tangents, operator, epsilon, activation),)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _normalized_tangent(residuals, tangents, operator, epsilon, activation):  # type: ignore[no-untyped-def]
    x, kernel, bias, raw, mean, variance = residuals
    tx, tkernel, tbias = tangents
    scale = jax.lax.rsqrt(variance + epsilon)
    scaled = (raw - mean) * scale
    tangent = jnp.zeros_like(raw)
    if tx is not None or tkernel is not None:
        tangents_of_filter = tx, tkernel, None
        (filtered,) = _vary_forward(
            (x, kernel, bias, _none()), tangents_of_filter, operator, "linear"
        )
        along = (scaled * filtered).mean((0, 1))
        tangent = scale * (filtered - filtered.mean((0, 1)) - scaled * along)
    if tbias is not None:
        tangent += tbias
    z = scaled + bias if bias.size else scaled
    return jax.jvp(partial(activate, activation=activation), (z,), (tangent,))[1]


@partial(_normalized_tangent.defjvp, symbolic_zeros=True)
def _differentiate_tangent(operator, epsilon, activation, inputs, changes):  # type: ignore[no-untyped-def]
    value = _normalized_tangent(*inputs, operator, epsilon, activation)
    (residuals, tangents), (residual_changes, tangent_changes) = inputs, changes
    return value, derivative(_tangent_from_parts, operator, epsilon, activation)(
        (*residuals[:3], *tangents), (*residual_changes[:3], *tangent_changes), value
    )


def _pull_back_normalized(residuals, cotangents, wanted, operator, epsilon, activation):  # type: ignore[no-untyped-def]
    return _backward_normalized(*residuals, *cotangents, operator, epsilon, activation, wanted)


@partial(jax.custom_jvp, nondiff_argnums=(7, 8, 9, 10))
def _backward_normalized(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    raw: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    gradient: jax.Array,
    operator: SparseOperator,
    epsilon: float,
    activation: str,
    wanted: tuple[bool, ...],
) -> list[jax.Array]:
    options = _options(filter_options(activation, epsilon))
    arguments = [options, x, kernel, bias, raw, mean, variance, gradient]
    arguments += [*_matrix(operator), *_matrix(operator.transpose)]
    return _call("backward_normalized", _gradient_shapes(x, kernel, wanted), arguments)


@partial(_backward_normalized.defjvp, symbolic_zeros=True)
def _differentiate_backward_normalized(operator, epsilon, activation, wanted, inputs, tangents):  # type: ignore[no-untyped-def]
    found = _backward_normalized(*inputs, operator, epsilon, activation, wanted)
    again = derivative(_gradients_from_parts, operator, epsilon, activation, wanted)
    return found, again((*inputs[:3], inputs[-1]), (*tangents[:3], tangents[-1]), found)


# Second derivatives are rare, so not compiled: the first derivatives are recomputed from
# differentiable parts, as functions of the inputs instead of their statistics.


def _from_parts(x, kernel, bias, operator, epsilon, activation):  # type: ignore[no-untyped-def]
    raw = _forward(x, kernel, _none(), operator, "linear")
    return normalize(raw, bias if bias.size else None, epsilon, activation)[0]


def _tangent_from_parts(x, kernel, bias, tx, tkernel, tbias, *static):  # type: ignore[no-untyped-def]
    return derivative(_from_parts, *static).function(
        (x, kernel, bias), (tx, tkernel, tbias), _from_parts, *static
    )


def _gradients_from_parts(x, kernel, bias, gradient, *static):  # type: ignore[no-untyped-def]
    *of_parts, wanted = static
    found = jax.vjp(lambda *inputs: _from_parts(*inputs, *of_parts), x, kernel, bias)[1](gradient)
    return tuple(f if w else _none() for f, w in zip(found, wanted, strict=True))


def normalized_filter(
    x: jax.Array,
    kernel: jax.Array,
    operator: SparseOperator,
    bias: jax.Array | None,
    epsilon: float,
    activation: str,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Filter, normalize, add a bias, activate; see `deepsphere.ops.normalized_filter`."""
    single = jnp.float32
    b = jnp.zeros(0, single) if bias is None else bias.astype(single)
    y, _, mean, variance = _normalized(
        x.astype(single), kernel.astype(single), b, operator, epsilon, activation
    )
    return y.astype(x.dtype), mean, variance


# ---- plain products ----


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _product(x: jax.Array, operator: SparseOperator, power: int) -> jax.Array:
    options = _options(product_options(power))
    return _call("product", [x.shape], [options, x, *_matrix(operator)])[0]


differentiate_product(_product)


def sparse_product(x: jax.Array, operator: SparseOperator, power: int) -> jax.Array:
    """Multiply features; see `deepsphere.ops.sparse_product`."""
    return _product(x.astype(jnp.float32), operator, power).astype(x.dtype)


# ---- pooling ----


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _pool(x: jax.Array, children: int, mode: str) -> jax.Array:
    batch, n, channels = x.shape
    options = _options(pool_options(mode, children))
    return _call("pool", [(batch, n // children, channels)], [options, x])[0]


@_pool.defjvp
def _differentiate_pool(children, mode, inputs, tangents):  # type: ignore[no-untyped-def]
    (x,), y = inputs, _pool(*inputs, children, mode)
    return y, LinearMap(_vary_pool, _pull_back_pool, (mode,))((x, y), tangents, y)


def _vary_pool(residuals, tangents, mode):  # type: ignore[no-untyped-def]
    (tx,), (x, y) = tangents, residuals
    return (pull_to_coarse(tx, x, y, mode),)


def _pull_back_pool(residuals, cotangents, wanted, mode):  # type: ignore[no-untyped-def]
    return (_pool_backward(*residuals, *cotangents, mode),)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _pool_backward(x: jax.Array, y: jax.Array, gradient: jax.Array, mode: str) -> jax.Array:
    options = _options(pool_options(mode, x.shape[1] // max(1, y.shape[1])))
    return _call("pool_backward", [x.shape], [options, x, y, gradient])[0]


@partial(_pool_backward.defjvp, symbolic_zeros=True)
def _differentiate_pool_backward(mode, inputs, tangents):  # type: ignore[no-untyped-def]
    found = _pool_backward(*inputs, mode)
    linear = LinearMap(_vary_pool_backward, _pull_back_pool_backward, (mode,))
    return found, linear(inputs[:2], tangents[2:], found)


def _vary_pool_backward(residuals, tangents, mode):  # type: ignore[no-untyped-def]
    return (_pool_backward(*residuals, *tangents, mode),)


def _pull_back_pool_backward(residuals, cotangents, wanted, mode):  # type: ignore[no-untyped-def]
    (cotangent,), (x, y) = cotangents, residuals
    return (pull_to_coarse(cotangent, x, y, mode),)


def pool(x: jax.Array, children: int, mode: str) -> jax.Array:
    """Pool children; see `deepsphere.ops.pool`."""
    return _pool(x.astype(jnp.float32), children, mode).astype(x.dtype)


# ---- attention ----


def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: Any, pattern: SparseOperator) -> Any:
    """Attend to neighbors; see `deepsphere.ops.attention.neighbor_attention`."""
    tensors = [_with_heads_joined(x) for x in (q, k, v)]
    arguments = [_options(attention_options(q.shape[2])), *tensors, _as_floats(mask)]
    (y,) = _call("attend", [tensors[0].shape], [*arguments, *_matrix(pattern)])
    return y.reshape(q.shape).astype(q.dtype)


def attend_gradients(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    gradient: jax.Array,
    mask: Any,
    pattern: SparseOperator,
    portable: Callable[..., Any],
) -> tuple[jax.Array, ...]:
    """Return the gradients of q, k and v, whose derivatives are those of a portable function."""

    @jax.custom_jvp
    def gradients(*inputs: jax.Array) -> tuple[jax.Array, ...]:
        tensors = [_with_heads_joined(x) for x in inputs]
        options = _options(attention_options(q.shape[2]))
        arguments = [options, *tensors[:3], _as_floats(mask), tensors[3]]
        matrices = [*_matrix(pattern), *_matrix(pattern.transpose)]
        found = _call("attend_backward", [tensors[0].shape] * 3, [*arguments, *matrices])
        return tuple(f.reshape(q.shape).astype(q.dtype) for f in found)

    @gradients.defjvp
    def differentiate(inputs, tangents):  # type: ignore[no-untyped-def]
        _, changes = jax.jvp(portable, inputs, tangents)
        return gradients(*inputs), changes

    return gradients(q, k, v, gradient)


def _with_heads_joined(x: jax.Array) -> jax.Array:
    return x.reshape(*x.shape[:2], -1).astype(jnp.float32)


def _as_floats(mask: jax.Array | None) -> jax.Array:
    return _none() if mask is None else mask.astype(jnp.float32)
