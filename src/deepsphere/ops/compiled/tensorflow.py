"""Compiled operations on TensorFlow, as custom ops."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow.python.ops import control_flow_util

from deepsphere.ops.compiled import build
from deepsphere.ops.compiled.options import (
    attention_options,
    filter_options,
    pool_options,
    product_options,
)
from deepsphere.ops.derivatives.activations import is_curved, slope
from deepsphere.ops.derivatives.pooling import pull_to_coarse
from deepsphere.ops.derivatives.rules import ONLY_DX, gradients_cotangents
from deepsphere.ops.exporting import called_from, is_portable
from deepsphere.ops.operator import SparseOperator
from deepsphere.ops.portable.tensorflow import activate, constants, has_tangent, normalize

_WRITERS = (
    "keras.src.export",
    "tensorflow.python.saved_model.save",
    "tf2onnx.",
    "tensorflow.lite.",
)
"""Modules that trace a model for a file, which other processes could not run with custom ops."""


@cache
def _operations() -> Any:
    options = *tf.sysconfig.get_link_flags(), f"-Wl,-rpath,{tf.sysconfig.get_lib()}"
    return build.load(tf.load_op_library, "tensorflow.c", options, tf.__version__)


def available(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None = None) -> bool:
    """Whether the compiled operations support these arguments."""
    return (
        not is_portable()
        and tf.float64 not in (x.dtype, kernel.dtype)
        and not tf.config.list_logical_devices("GPU")
        and (tf.executing_eagerly() or not (_in_xla() or called_from(_WRITERS)))
        and not has_tangent(x, kernel, *([] if bias is None else [bias]))
        and _operations() is not None
    )


def _compute(name: str, *arguments: Any) -> Any:
    return getattr(_operations(), f"deepsphere_{name}")(*arguments)


def _in_xla() -> bool:
    graph = tf.compat.v1.get_default_graph()
    return bool(control_flow_util.GraphOrParentsInXlaContext(graph))


def _options(options: tuple[float, ...], wanted: tuple[bool, ...] = ()) -> tf.Tensor:
    """Return options followed by the gradients that are wanted, as in tensorflow.c."""
    return tf.constant([*options, *map(float, wanted)], tf.float32)


def _matrix(operator: SparseOperator) -> list[tf.Tensor]:
    return constants(
        operator,
        "compiled tensorflow",
        lambda: [tf.constant(array) for array in operator.compressed],
    )


def _output_shape(x: tf.Tensor, kernel: tf.Tensor) -> tf.TensorShape:
    return tf.TensorShape([*x.shape[:2], kernel.shape[2]])


def _needs_dx(x: tf.Tensor, kernel: tf.Tensor) -> bool:
    """Whether the gradient with respect to `x` may be requested, as far as is known.

    It is not requested if a tape watches the kernel but not `x`, as in a network's first layer.
    """
    return record.should_record_backprop([x]) or not record.should_record_backprop([kernel])


def _filter_gradients(backward: Callable[..., Any], needs_dx: bool, has_bias: bool) -> list[Any]:
    """Return dx, dkernel, dbias from ``backward(wanted)``.

    A graph drops unused results only as whole operations, so in a graph a dx that is probably not
    needed is computed by a separate operation.
    """
    if needs_dx:
        return list(backward((True, True, has_bias)))
    _, dkernel, dbias = backward((False, True, has_bias))
    dx = None if tf.executing_eagerly() else backward(ONLY_DX)[0]
    return [dx, dkernel, dbias]


# ---- filter, bias, activation; an empty bias means no bias ----


@tf.autograph.experimental.do_not_convert
def _forward(
    x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, operator: SparseOperator, activation: str
) -> tf.Tensor:
    needs_dx = _needs_dx(x, kernel)

    @tf.custom_gradient
    def apply(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
        options = _options(filter_options(activation))
        y = _compute("forward", options, x, kernel, bias, *_matrix(operator))
        y = tf.ensure_shape(y, _output_shape(x, kernel))
        has_bias = bias.shape[0] > 0
        # Create it outside the gradient: tensors that a function captures may be differentiated.
        kept = tf.zeros([0]) if activation == "linear" else tf.stop_gradient(y)

        def gradient(g: tf.Tensor) -> list[Any]:
            found = _filter_gradients(
                lambda wanted: _backward(x, kernel, bias, kept, g, operator, activation, wanted),
                needs_dx,
                has_bias,
            )
            return [*found[:2], found[2] if has_bias else tf.zeros_like(bias)]

        return y, gradient

    return apply(x, kernel, bias)


@tf.autograph.experimental.do_not_convert
def _backward(
    x: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    y: tf.Tensor,
    gradient: tf.Tensor,
    operator: SparseOperator,
    activation: str,
    wanted: tuple[bool, bool, bool],
) -> list[tf.Tensor]:
    @tf.custom_gradient
    def apply(
        x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, y: tf.Tensor, g: tf.Tensor
    ) -> tuple[list[tf.Tensor], Any]:
        matrices = *_matrix(operator), *_matrix(operator.transpose)
        options = _options(filter_options(activation), wanted)
        found = _compute("backward", options, x, kernel, y, g, *matrices)

        def filtered(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
            return activate(_forward(x, kernel, bias, operator, "linear"), activation)

        def second(*cotangents: tf.Tensor) -> list[Any]:
            if is_curved(activation):
                dx, dkernel, dbias, dg = _from_parts(
                    filtered, (x, kernel, bias), g, cotangents, wanted
                )
                return [dx, dkernel, dbias, tf.zeros_like(y), dg]
            vx, vkernel, vbias = (v if w else None for v, w in zip(cotangents, wanted, strict=True))
            dx, dkernel, dg = gradients_cotangents(
                lambda x, kernel: _forward(x, kernel, tf.zeros([0]), operator, "linear"),
                lambda x, kernel, g, wanted: _backward(
                    x, kernel, tf.zeros([0]), y, g, operator, activation, wanted
                ),
                *(x, kernel, g, (vx, vkernel)),
            )
            dx, dkernel, dg = (
                tf.zeros_like(like) if found is None else found
                for found, like in zip((dx, dkernel, dg), (x, kernel, g), strict=True)
            )
            if vbias is not None:
                dg += vbias
            if activation != "linear":
                dg *= slope(activation, y, tf)
            return [dx, dkernel, tf.zeros_like(bias), tf.zeros_like(y), dg]

        return _with_shapes(found, x, kernel, wanted), second

    return apply(x, kernel, bias, y, gradient)


def _from_parts(
    filtered: Callable[..., tf.Tensor],
    inputs: tuple[tf.Tensor, ...],
    g: tf.Tensor,
    cotangents: tuple[tf.Tensor, ...],
    wanted: tuple[bool, bool, bool],
) -> list[tf.Tensor]:
    """Pull cotangents of a filter's gradients back to its inputs and to g, the output's gradient.

    They are rare, so not compiled: `filtered` recomputes the output from differentiable parts.
    """
    with tf.GradientTape() as outer:
        outer.watch([*inputs, g])
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            y = filtered(*inputs)
        first = inner.gradient(y, inputs, g, unconnected_gradients="zero")
        products = [
            tf.reduce_sum(f * v) for f, v, w in zip(first, cotangents, wanted, strict=True) if w
        ]
        total = tf.add_n(products)
    return list(outer.gradient(total, [*inputs, g], unconnected_gradients="zero"))


def _with_shapes(found: Any, x: tf.Tensor, kernel: tf.Tensor, wanted: Any) -> list[tf.Tensor]:
    shapes = (x.shape, kernel.shape, kernel.shape[2:])
    return [
        tf.ensure_shape(f, s if w else [0]) for f, s, w in zip(found, shapes, wanted, strict=True)
    ]


def chebyshev_filter(
    x: tf.Tensor,
    kernel: tf.Tensor,
    operator: SparseOperator,
    bias: tf.Tensor | None,
    activation: str,
) -> tf.Tensor:
    """Filter, add a bias, activate; see `deepsphere.ops.chebyshev_filter`."""
    single = tf.float32
    b = tf.zeros([0]) if bias is None else tf.cast(bias, single)
    y = _forward(tf.cast(x, single), tf.cast(kernel, single), b, operator, activation)
    return tf.cast(y, x.dtype)


# ---- filter, normalization, bias, activation ----


@tf.autograph.experimental.do_not_convert
def _normalized(
    x: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    operator: SparseOperator,
    epsilon: float,
    activation: str,
) -> list[tf.Tensor]:
    needs_dx = _needs_dx(x, kernel)

    @tf.custom_gradient
    def apply(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[list[tf.Tensor], Any]:
        options = _options(filter_options(activation, epsilon))
        y, raw, mean, variance = _compute(
            "forward_normalized", options, x, kernel, bias, *_matrix(operator)
        )
        y = tf.ensure_shape(y, _output_shape(x, kernel))
        mean, variance = (tf.ensure_shape(v, kernel.shape[2:]) for v in (mean, variance))
        has_bias = bias.shape[0] > 0
        kept = x, kernel, bias, *map(tf.stop_gradient, (raw, mean, variance))

        def gradient(g: tf.Tensor, *_: tf.Tensor) -> list[Any]:
            found = _filter_gradients(
                lambda wanted: _backward_normalized(
                    *kept, g, operator, epsilon, activation, wanted
                ),
                needs_dx,
                has_bias,
            )
            return [*found[:2], found[2] if has_bias else tf.zeros_like(bias)]

        return [y, mean, variance], gradient

    return apply(x, kernel, bias)


@tf.autograph.experimental.do_not_convert
def _backward_normalized(
    x: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    raw: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    gradient: tf.Tensor,
    operator: SparseOperator,
    epsilon: float,
    activation: str,
    wanted: tuple[bool, bool, bool],
) -> list[tf.Tensor]:
    @tf.custom_gradient
    def apply(*inputs: tf.Tensor) -> tuple[list[tf.Tensor], Any]:
        matrices = *_matrix(operator), *_matrix(operator.transpose)
        options = _options(filter_options(activation, epsilon), wanted)
        found = _compute("backward_normalized", options, *inputs, *matrices)

        def normalized(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
            raw = _forward(x, kernel, tf.zeros([0]), operator, "linear")
            shift = bias if bias.shape[0] > 0 else None
            return normalize(raw, shift, epsilon, activation)[0]

        def second(*cotangents: tf.Tensor) -> list[Any]:
            *tensors, g = inputs
            dx, dkernel, dbias, dg = _from_parts(
                normalized, tuple(tensors[:3]), g, cotangents, wanted
            )
            return [dx, dkernel, dbias, *map(tf.zeros_like, tensors[3:]), dg]

        return _with_shapes(found, inputs[0], inputs[1], wanted), second

    return apply(x, kernel, bias, raw, mean, variance, gradient)


def normalized_filter(
    x: tf.Tensor,
    kernel: tf.Tensor,
    operator: SparseOperator,
    bias: tf.Tensor | None,
    epsilon: float,
    activation: str,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Filter, normalize, add a bias, activate; see `deepsphere.ops.normalized_filter`."""
    single = tf.float32
    b = tf.zeros([0]) if bias is None else tf.cast(bias, single)
    y, mean, variance = _normalized(
        tf.cast(x, single), tf.cast(kernel, single), b, operator, epsilon, activation
    )
    return tf.cast(y, x.dtype), mean, variance


# ---- plain products ----


@tf.autograph.experimental.do_not_convert
def sparse_product(x: tf.Tensor, operator: SparseOperator, power: int) -> tf.Tensor:
    """Multiply features; see `deepsphere.ops.sparse_product`."""

    @tf.custom_gradient
    def apply(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        y = _compute("product", _options(product_options(power)), x, *_matrix(operator))
        y = tf.ensure_shape(y, x.shape)
        return y, lambda g: sparse_product(g, operator.transpose, power)

    return tf.cast(apply(tf.cast(x, tf.float32)), x.dtype)


# ---- pooling ----


@tf.autograph.experimental.do_not_convert
def _pool_backward(
    x: tf.Tensor, y: tf.Tensor, gradient: tf.Tensor, children: int, mode: str
) -> tf.Tensor:
    @tf.custom_gradient
    def apply(g: tf.Tensor) -> tuple[tf.Tensor, Any]:
        dx = _compute("pool_backward", _options(pool_options(mode, children)), x, y, g)
        return tf.ensure_shape(dx, x.shape), lambda v: pull_to_coarse(v, x, y, mode)

    return apply(gradient)


@tf.autograph.experimental.do_not_convert
def pool(x: tf.Tensor, children: int, mode: str) -> tf.Tensor:
    """Pool children; see `deepsphere.ops.pool`."""

    @tf.custom_gradient
    def apply(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        y = _compute("pool", _options(pool_options(mode, children)), x)
        n = None if x.shape[1] is None else x.shape[1] // children
        y = tf.ensure_shape(y, [x.shape[0], n, x.shape[2]])
        kept = tf.stop_gradient(y)
        return y, lambda g: _pool_backward(x, kept, g, children, mode)

    return tf.cast(apply(tf.cast(x, tf.float32)), x.dtype)


# ---- attention ----


@tf.autograph.experimental.do_not_convert
def attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, mask: Any, pattern: SparseOperator) -> Any:
    """Attend to neighbors; see `deepsphere.ops.attention.neighbor_attention`."""
    tensors = [_with_heads_joined(x) for x in (q, k, v)]
    arguments = [_options(attention_options(q.shape[2])), *tensors, _as_floats(mask)]
    return _with_heads_apart(_compute("attend", *arguments, *_matrix(pattern)), q)


@tf.autograph.experimental.do_not_convert
def attend_gradients(
    q: tf.Tensor,
    k: tf.Tensor,
    v: tf.Tensor,
    gradient: tf.Tensor,
    mask: Any,
    pattern: SparseOperator,
    portable: Callable[..., Any],
) -> tuple[tf.Tensor, ...]:
    """Return the gradients of q, k and v, whose derivatives are those of a portable function."""

    @tf.custom_gradient
    def gradients(*inputs: tf.Tensor) -> tuple[Any, Any]:
        tensors = [_with_heads_joined(x) for x in inputs]
        options = _options(attention_options(q.shape[2]))
        arguments = [options, *tensors[:3], _as_floats(mask), tensors[3]]
        matrices = [*_matrix(pattern), *_matrix(pattern.transpose)]
        found = _compute("attend_backward", *arguments, *matrices)

        def pull_back(*cotangents: tf.Tensor) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                parts = portable(*inputs)
            return tape.gradient(parts, inputs, output_gradients=list(cotangents))

        return tuple(_with_heads_apart(f, q) for f in found), pull_back

    return gradients(q, k, v, gradient)


def _with_heads_joined(x: tf.Tensor) -> tf.Tensor:
    _, n, heads, depth = x.shape
    return tf.reshape(tf.cast(x, tf.float32), [-1, n, heads * depth])


def _with_heads_apart(y: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    y = tf.reshape(y, [-1, *like.shape[1:]])
    return tf.cast(tf.ensure_shape(y, like.shape), like.dtype)


def _as_floats(mask: tf.Tensor | None) -> tf.Tensor:
    return tf.zeros([0]) if mask is None else tf.cast(mask, tf.float32)
