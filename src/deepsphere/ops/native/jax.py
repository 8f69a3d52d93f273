"""The compiled operation on JAX, as custom calls of XLA on the host."""

from __future__ import annotations

import ctypes
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from deepsphere.ops.callers import called_from
from deepsphere.ops.jax import in_shard_map
from deepsphere.ops.native import build
from deepsphere.ops.native.pooling import POOL_MODES, pull_to_coarse
from deepsphere.ops.operator import SparseOperator

ACTIVATIONS = {"linear": 0.0, "relu": 1.0}
TARGETS = (
    "forward",
    "forward_normalized",
    "backward",
    "backward_normalized",
    "product",
    "pool",
    "pool_backward",
)

_EXPORTERS = ("keras.src.export", "jax._src.export", "jax.experimental.jax2tf", "jax2onnx")
"""Modules that trace a model for another runtime, which does not know these functions."""


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
    return True


def available(x: Any, kernel: Any, bias: Any | None = None) -> bool:
    """Whether the compiled functions do what these arguments ask for."""
    return (
        jax.default_backend() == "cpu"
        and jnp.float64 not in (x.dtype, kernel.dtype)
        and all(isinstance(size, int) for size in x.shape)  # none left open by an export
        and not (isinstance(x, jax.core.Tracer) and (in_shard_map() or called_from(_EXPORTERS)))
        and _registered()
    )


def _call(name: str, shapes: list[tuple[int, ...]], arguments: list[Any]) -> list[jax.Array]:
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    call = jax.ffi.ffi_call(f"deepsphere_{name}", results, vmap_method="sequential")
    return list(call(*arguments))


def _options(activation: str, epsilon: float = 0.0) -> np.ndarray:
    return np.array([ACTIVATIONS[activation], build.threads(), epsilon], np.float32)


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


def _instantiate(gradient: Any, shape: tuple[int, ...]) -> jax.Array:
    if isinstance(gradient, jax.custom_derivatives.SymbolicZero):
        return jnp.zeros(shape, jnp.float32)
    return gradient


def _marks(*flags: bool) -> tuple[Any, ...]:
    """Put flags into the structure of what is kept, which holds no values but arrays."""
    return tuple(() if flag else None for flag in flags)


def _flags(marks: tuple[Any, ...]) -> tuple[bool, ...]:
    return tuple(mark is not None for mark in marks)


# ---- filter, bias, activation; an empty bias is none ----


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _forward(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, operator: SparseOperator, activation: str
) -> jax.Array:
    arguments = [_options(activation), x, kernel, bias, *_matrix(operator)]
    return _call("forward", [_output_shape(x, kernel)], arguments)[0]


def _forward_and_keep(x, kernel, bias, operator, activation):  # type: ignore[no-untyped-def]
    y = _forward(x.value, kernel.value, bias.value, operator, activation)
    wanted = x.perturbed, kernel.perturbed or bias.perturbed, bias.perturbed and bias.value.size > 0
    kept = y if activation != "linear" else jnp.zeros(0, jnp.float32)
    return y, (x.value, kernel.value, kept, bias.value, _marks(*wanted))


def _differentiate_forward(operator, activation, kept, gradient):  # type: ignore[no-untyped-def]
    x, kernel, y, bias, marks = kept
    wanted = _flags(marks)
    gradient = _instantiate(gradient, _output_shape(x, kernel))
    dx, dkernel, dbias = _backward(x, kernel, y, gradient, operator, activation, wanted)
    return (
        dx if wanted[0] else jnp.zeros_like(x),
        dkernel if wanted[1] else jnp.zeros_like(kernel),
        dbias if wanted[2] else jnp.zeros_like(bias),
    )


_forward.defvjp(_forward_and_keep, _differentiate_forward, symbolic_zeros=True)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _backward(
    x: jax.Array,
    kernel: jax.Array,
    y: jax.Array,
    gradient: jax.Array,
    operator: SparseOperator,
    activation: str,
    wanted: tuple[bool, ...],
) -> list[jax.Array]:
    matrices = *_matrix(operator), *_matrix(operator.transpose)
    arguments = [_options(activation), x, kernel, y, gradient, *matrices]
    return _call("backward", _gradient_shapes(x, kernel, wanted), arguments)


def _backward_and_keep(x, kernel, y, gradient, operator, activation, wanted):  # type: ignore[no-untyped-def]
    found = _backward(x, kernel, y, gradient, operator, activation, wanted)
    return found, (x, kernel, y, gradient)


def _differentiate_backward(operator, activation, wanted, kept, cotangents):  # type: ignore[no-untyped-def]
    # What the gradients are linear in gives the forward pass of a variation; the rest is
    # symmetric: see docs/performance.md, "Second derivatives".
    x, kernel, y, gradient = kept
    vx, vkernel, vbias = (v if w else None for v, w in zip(cotangents, wanted, strict=True))
    none = jnp.zeros(0, jnp.float32)
    dx, dkernel, dgradient = jnp.zeros_like(x), jnp.zeros_like(kernel), jnp.zeros_like(gradient)
    if vx is not None:
        dgradient += _forward(vx, kernel, none, operator, "linear")
        dkernel = _backward(vx, kernel, y, gradient, operator, activation, (False, True, False))[1]
    if vkernel is not None:
        dgradient += _forward(x, vkernel, none, operator, "linear")
        dx = _backward(x, vkernel, y, gradient, operator, activation, (True, False, False))[0]
    if vbias is not None:
        dgradient += vbias
    if activation == "relu":
        dgradient *= y > 0
    return dx, dkernel, jnp.zeros_like(y), dgradient


_backward.defvjp(_backward_and_keep, _differentiate_backward)


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


# ---- filter, normalisation, bias, activation ----


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _normalized(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    operator: SparseOperator,
    epsilon: float,
    activation: str,
) -> list[jax.Array]:
    shape, filters = _output_shape(x, kernel), kernel.shape[2:]
    arguments = [_options(activation, epsilon), x, kernel, bias, *_matrix(operator)]
    return _call("forward_normalized", [shape, shape, filters, filters], arguments)


def _normalized_and_keep(x, kernel, bias, operator, epsilon, activation):  # type: ignore[no-untyped-def]
    wanted = x.perturbed, kernel.perturbed, bias.perturbed and bias.value.size > 0
    inputs = x.value, kernel.value, bias.value
    results = _normalized(*inputs, operator, epsilon, activation)
    return results, (*inputs, *results[1:], _marks(*wanted))


def _differentiate_normalized(operator, epsilon, activation, kept, gradients):  # type: ignore[no-untyped-def]
    x, kernel, bias, raw, mean, variance, marks = kept
    wanted, gradient = _flags(marks), _instantiate(gradients[0], raw.shape)
    dx, dkernel, dbias = _backward_normalized(
        x, kernel, bias, raw, mean, variance, gradient, operator, epsilon, activation, wanted
    )
    return (
        dx if wanted[0] else jnp.zeros_like(x),
        dkernel if wanted[1] else jnp.zeros_like(kernel),
        dbias if wanted[2] else jnp.zeros_like(bias),
    )


_normalized.defvjp(_normalized_and_keep, _differentiate_normalized, symbolic_zeros=True)


@partial(jax.custom_vjp, nondiff_argnums=(7, 8, 9, 10))
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
    arguments = [_options(activation, epsilon), x, kernel, bias, raw, mean, variance, gradient]
    arguments += [*_matrix(operator), *_matrix(operator.transpose)]
    return _call("backward_normalized", _gradient_shapes(x, kernel, wanted), arguments)


def _backward_normalized_and_keep(x, kernel, bias, raw, mean, variance, gradient, *static):  # type: ignore[no-untyped-def]
    found = _backward_normalized(x, kernel, bias, raw, mean, variance, gradient, *static)
    return found, (x, kernel, bias, raw, mean, variance, gradient)


def _differentiate_backward_normalized(operator, epsilon, activation, wanted, kept, cotangents):  # type: ignore[no-untyped-def]
    # Rare, so not compiled: the gradient is formed again from differentiable parts.
    x, kernel, bias, *statistics, gradient = kept

    def normalized(x, kernel, bias):  # type: ignore[no-untyped-def]
        raw = _forward(x, kernel, jnp.zeros(0, jnp.float32), operator, "linear")
        centred = raw - raw.mean((0, 1))
        y = centred * jax.lax.rsqrt(jnp.square(centred).mean((0, 1)) + epsilon)
        y = y + bias if bias.size else y
        return jax.nn.relu(y) if activation == "relu" else y

    def first(x, kernel, bias, gradient):  # type: ignore[no-untyped-def]
        found = jax.vjp(normalized, x, kernel, bias)[1](gradient)
        return [f for f, w in zip(found, wanted, strict=True) if w]

    _, pull_back = jax.vjp(first, x, kernel, bias, gradient)
    dx, dkernel, dbias, dgradient = pull_back(
        [v for v, w in zip(cotangents, wanted, strict=True) if w]
    )
    return dx, dkernel, dbias, *map(jnp.zeros_like, statistics), dgradient


_backward_normalized.defvjp(_backward_normalized_and_keep, _differentiate_backward_normalized)


def normalized_filter(
    x: jax.Array,
    kernel: jax.Array,
    operator: SparseOperator,
    bias: jax.Array | None,
    epsilon: float,
    activation: str,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Filter, normalise, add a bias, activate; see `deepsphere.ops.normalized_filter`."""
    single = jnp.float32
    b = jnp.zeros(0, single) if bias is None else bias.astype(single)
    y, _, mean, variance = _normalized(
        x.astype(single), kernel.astype(single), b, operator, epsilon, activation
    )
    return y.astype(x.dtype), mean, variance


# ---- plain products ----


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _product(x: jax.Array, operator: SparseOperator, power: int) -> jax.Array:
    options = np.array([power, build.threads()], np.float32)
    return _call("product", [x.shape], [options, x, *_matrix(operator)])[0]


_product.defvjp(
    lambda x, operator, power: (_product(x, operator, power), ()),
    lambda operator, power, _, gradient: (_product(gradient, operator.transpose, power),),
)


def sparse_product(x: jax.Array, operator: SparseOperator, power: int) -> jax.Array:
    """Multiply features; see `deepsphere.ops.product.sparse_product`."""
    return _product(x.astype(jnp.float32), operator, power).astype(x.dtype)


# ---- pooling ----


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _pool(x: jax.Array, children: int, mode: int) -> jax.Array:
    batch, n, channels = x.shape
    options = _pool_options(mode, children)
    return _call("pool", [(batch, n // children, channels)], [options, x])[0]


def _pool_options(mode: int, children: int) -> np.ndarray:
    return np.array([mode, build.threads(), children], np.float32)


def _pool_and_keep(x, children, mode):  # type: ignore[no-untyped-def]
    y = _pool(x, children, mode)
    return y, (x, y)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _pool_backward(x: jax.Array, y: jax.Array, gradient: jax.Array, mode: int) -> jax.Array:
    options = _pool_options(mode, x.shape[1] // max(1, y.shape[1]))
    return _call("pool_backward", [x.shape], [options, x, y, gradient])[0]


_pool.defvjp(
    _pool_and_keep,
    lambda children, mode, kept, gradient: (_pool_backward(*kept, gradient, mode),),
)
_pool_backward.defvjp(
    lambda x, y, gradient, mode: (_pool_backward(x, y, gradient, mode), (x, y)),
    lambda mode, kept, cotangent: (
        *map(jnp.zeros_like, kept),
        pull_to_coarse(cotangent, kept[0], kept[1], mode),
    ),
)


def pool(x: jax.Array, children: int, mode: str) -> jax.Array:
    """Pool children; see `deepsphere.ops.pool`."""
    return _pool(x.astype(jnp.float32), children, POOL_MODES[mode]).astype(x.dtype)
