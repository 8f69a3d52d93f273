"""The compiled operation on PyTorch, as operations that ``torch.compile`` keeps whole."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch

from deepsphere.ops.native import build
from deepsphere.ops.native.pooling import POOL_MODES, pull_to_coarse
from deepsphere.ops.operator import SparseOperator
from deepsphere.ops.torch import exporting

# The functions of call.h.
FORWARD, FORWARD_NORMALIZED, BACKWARD, BACKWARD_NORMALIZED, PRODUCT, POOL, POOL_BACKWARD = range(7)
TYPES = {torch.float32: 1, torch.int32: 2}  # all others are 0
ACTIVATIONS = {"linear": 0.0, "relu": 1.0}
NO_GRAPH = [None] * 3, [None] * 3  # the gradients of two sparse matrices
Tensor = torch.Tensor


class _Array(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("type", ctypes.c_int64),
        ("rank", ctypes.c_int64),
        ("dims", ctypes.POINTER(ctypes.c_int64)),
    ]


@cache
def _call() -> Any:
    return build.load(_open)


def _open(path: str) -> Any:
    call = ctypes.CDLL(path).deepsphere_call
    call.restype = ctypes.c_char_p
    return call


def available(x: Tensor, kernel: Tensor) -> bool:
    """Whether the compiled functions do what these arguments ask for."""
    return (
        x.device.type == "cpu"
        and kernel.device.type == "cpu"
        and torch.float64 not in (x.dtype, kernel.dtype)
        and not exporting()
        and _call() is not None
    )


def _run(function: int, arguments: list[Tensor], results: list[Tensor]) -> list[Tensor]:
    arguments = [argument.contiguous() for argument in arguments]  # held until the call is over
    arrays = []
    for group in (arguments, results):
        arrays.append((_Array * len(group))())
        for array, tensor in zip(arrays[-1], group, strict=True):
            array.data = tensor.data_ptr()
            array.type = TYPES.get(tensor.dtype, 0)
            array.rank = tensor.dim()
            array.dims = (ctypes.c_int64 * tensor.dim())(*tensor.shape)
    message = _call()(function, *arrays)
    if message is not None:
        raise RuntimeError(message.decode())
    return results


def _options(activation: str, epsilon: float = 0.0) -> Tensor:
    return torch.tensor([ACTIVATIONS[activation], build.threads(), epsilon])


def _matrix(operator: SparseOperator) -> list[Tensor]:
    return operator.constant(
        "compiled torch", lambda: [torch.from_numpy(array) for array in operator.compressed]
    )


def _empty_like_output(x: Tensor, kernel: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:2], kernel.shape[2]))


def _wanted(x: Tensor, kernel: Tensor, wanted: list[bool]) -> list[Tensor]:
    shapes = (x.shape, kernel.shape, kernel.shape[2:])
    return [x.new_empty(s if w else (0,)) for s, w in zip(shapes, wanted, strict=True)]


# ---- filter, bias, activation ----


@torch.library.custom_op("deepsphere::forward", mutates_args=())
def _forward(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor,
    matrix: list[Tensor],
    transposed: list[Tensor],
    activation: str,
) -> Tensor:
    arguments = [_options(activation), x, kernel, bias, *matrix]
    return _run(FORWARD, arguments, [_empty_like_output(x, kernel)])[0]


@_forward.register_fake
def _(x, kernel, bias, matrix, transposed, activation):  # type: ignore[no-untyped-def]
    return _empty_like_output(x, kernel)


@torch.library.custom_op("deepsphere::backward", mutates_args=())
def _backward(
    x: Tensor,
    kernel: Tensor,
    y: Tensor,
    gradient: Tensor,
    matrix: list[Tensor],
    transposed: list[Tensor],
    activation: str,
    wanted: list[bool],
) -> list[Tensor]:
    arguments = [_options(activation), x, kernel, y, gradient, *matrix, *transposed]
    return _run(BACKWARD, arguments, _wanted(x, kernel, wanted))


@_backward.register_fake
def _(x, kernel, y, gradient, matrix, transposed, activation, wanted):  # type: ignore[no-untyped-def]
    return _wanted(x, kernel, wanted)


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, kernel, _, ctx.matrix, ctx.transposed, ctx.activation = inputs
    ctx.save_for_backward(x, kernel, *([] if ctx.activation == "linear" else [output]))


def _differentiate_forward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    x, kernel, *y = ctx.saved_tensors
    needs_dx, needs_dkernel, needs_dbias = ctx.needs_input_grad[:3]
    wanted = [needs_dx, needs_dkernel or needs_dbias, needs_dbias]
    found = _backward(
        x,
        kernel,
        y[0] if y else x.new_empty(0),
        gradient,
        ctx.matrix,
        ctx.transposed,
        ctx.activation,
        wanted,
    )
    gradients = [g if w else None for g, w in zip(found, ctx.needs_input_grad[:3], strict=True)]
    return (*gradients, *NO_GRAPH, None)


_forward.register_autograd(_differentiate_forward, setup_context=_keep_for_backward)


def _keep_for_second(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    *tensors, ctx.matrix, ctx.transposed, ctx.activation, ctx.wanted = inputs
    ctx.save_for_backward(*tensors)


def _differentiate_backward(ctx: Any, cotangents: list[Tensor]) -> tuple[Any, ...]:
    # What the gradients are linear in gives the forward pass of a variation; the rest is
    # symmetric: see docs/performance.md, "Second derivatives".
    x, kernel, y, gradient = ctx.saved_tensors
    vx, vkernel, vbias = (v if w else None for v, w in zip(cotangents, ctx.wanted, strict=True))
    none, graph = x.new_empty(0), (ctx.matrix, ctx.transposed)
    parts = []
    dx = dkernel = None
    if vx is not None:
        parts.append(_forward(vx, kernel, none, *graph, "linear"))
        dkernel = _backward(vx, kernel, y, gradient, *graph, ctx.activation, [False, True, False])[
            1
        ]
    if vkernel is not None:
        parts.append(_forward(x, vkernel, none, *graph, "linear"))
        dx = _backward(x, vkernel, y, gradient, *graph, ctx.activation, [True, False, False])[0]
    if vbias is not None:
        parts.append(vbias.expand(gradient.shape))
    dgradient = sum(parts)
    if ctx.activation == "relu":
        dgradient = dgradient * (y > 0)
    return dx, dkernel, None, dgradient, *NO_GRAPH, None, None


_backward.register_autograd(_differentiate_backward, setup_context=_keep_for_second)


def chebyshev_filter(
    x: Tensor, kernel: Tensor, operator: SparseOperator, bias: Tensor | None, activation: str
) -> Tensor:
    """Filter, add a bias, activate; see `deepsphere.ops.chebyshev_filter`."""
    single = torch.float32
    b = x.new_empty(0, dtype=single) if bias is None else bias.to(single)
    graph = _matrix(operator), _matrix(operator.transpose)
    return _forward(x.to(single), kernel.to(single), b, *graph, activation).to(x.dtype)


# ---- filter, normalisation, bias, activation ----


@torch.library.custom_op("deepsphere::forward_normalized", mutates_args=())
def _forward_normalized(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor,
    matrix: list[Tensor],
    transposed: list[Tensor],
    epsilon: float,
    activation: str,
) -> list[Tensor]:
    arguments = [_options(activation, epsilon), x, kernel, bias, *matrix]
    return _run(FORWARD_NORMALIZED, arguments, _normalized_results(x, kernel))


def _normalized_results(x: Tensor, kernel: Tensor) -> list[Tensor]:
    y, statistic = _empty_like_output(x, kernel), x.new_empty(kernel.shape[2:])
    return [y, torch.empty_like(y), statistic, torch.empty_like(statistic)]


@_forward_normalized.register_fake
def _(x, kernel, bias, matrix, transposed, epsilon, activation):  # type: ignore[no-untyped-def]
    return _normalized_results(x, kernel)


@torch.library.custom_op("deepsphere::backward_normalized", mutates_args=())
def _backward_normalized(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor,
    raw: Tensor,
    mean: Tensor,
    variance: Tensor,
    gradient: Tensor,
    matrix: list[Tensor],
    transposed: list[Tensor],
    epsilon: float,
    activation: str,
    wanted: list[bool],
) -> list[Tensor]:
    arguments = [_options(activation, epsilon), x, kernel, bias, raw, mean, variance, gradient]
    return _run(BACKWARD_NORMALIZED, [*arguments, *matrix, *transposed], _wanted(x, kernel, wanted))


@_backward_normalized.register_fake
def _(x, kernel, b, raw, mean, variance, g, matrix, turned, eps, activation, wanted):  # type: ignore[no-untyped-def]
    return _wanted(x, kernel, wanted)


def _keep_for_normalized(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, kernel, bias, *ctx.rest = inputs
    ctx.save_for_backward(x, kernel, bias, *output[1:])


def _differentiate_normalized(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    needs_dx, needs_dkernel, needs_dbias = ctx.needs_input_grad[:3]
    wanted = [needs_dx, needs_dkernel, needs_dbias and len(ctx.saved_tensors[2]) > 0]
    found = _backward_normalized(*ctx.saved_tensors, gradients[0], *ctx.rest, wanted)
    asked_for = [g if w else None for g, w in zip(found, wanted, strict=True)]
    return (*asked_for, *NO_GRAPH, None, None)


_forward_normalized.register_autograd(_differentiate_normalized, setup_context=_keep_for_normalized)


def _keep_for_second_normalized(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    *tensors, ctx.matrix, ctx.transposed, ctx.epsilon, ctx.activation, ctx.wanted = inputs
    ctx.save_for_backward(*tensors)


def _differentiate_backward_normalized(ctx: Any, cotangents: list[Tensor]) -> tuple[Any, ...]:
    # Rare, so not compiled: the gradient is formed again from differentiable parts.
    x, kernel, bias, _, _, _, gradient = ctx.saved_tensors
    none = x.new_empty(0)
    with torch.enable_grad():
        copies = [t.detach().requires_grad_() for t in (x, kernel, bias, gradient)]
        raw = _forward(copies[0], copies[1], none, ctx.matrix, ctx.transposed, "linear")
        centred = raw - raw.mean((0, 1))
        y = centred * torch.rsqrt(centred.square().mean((0, 1)) + ctx.epsilon)
        if len(bias):
            y = y + copies[2]
        if ctx.activation == "relu":
            y = torch.relu(y)
        sources = [c for c, w in zip(copies[:3], ctx.wanted, strict=True) if w]
        found = torch.autograd.grad(y, sources, copies[3], create_graph=True)
        kept = [v for v, w in zip(cotangents, ctx.wanted, strict=True) if w]
        total = torch.stack([(f * v).sum() for f, v in zip(found, kept, strict=True)]).sum()
        dx, dkernel, dbias, dgradient = torch.autograd.grad(total, copies, allow_unused=True)
    return dx, dkernel, dbias, None, None, None, dgradient, *NO_GRAPH, None, None, None


_backward_normalized.register_autograd(
    _differentiate_backward_normalized, setup_context=_keep_for_second_normalized
)


def normalized_filter(
    x: Tensor,
    kernel: Tensor,
    operator: SparseOperator,
    bias: Tensor | None,
    epsilon: float,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Filter, normalise, add a bias, activate; see `deepsphere.ops.normalized_filter`."""
    single = torch.float32
    b = x.new_empty(0, dtype=single) if bias is None else bias.to(single)
    graph = _matrix(operator), _matrix(operator.transpose)
    y, _, mean, variance = _forward_normalized(
        x.to(single), kernel.to(single), b, *graph, epsilon, activation
    )
    return y.to(x.dtype), mean, variance


# ---- plain products ----


@torch.library.custom_op("deepsphere::product", mutates_args=())
def _product(x: Tensor, matrix: list[Tensor], transposed: list[Tensor], power: int) -> Tensor:
    options = torch.tensor([float(power), build.threads()])
    return _run(PRODUCT, [options, x, *matrix], [x.new_empty(x.shape)])[0]


@_product.register_fake
def _(x, matrix, transposed, power):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape)


def _keep_for_product(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, ctx.matrix, ctx.transposed, ctx.power = inputs


def _differentiate_product(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return _product(gradient, ctx.transposed, ctx.matrix, ctx.power), *NO_GRAPH, None


_product.register_autograd(_differentiate_product, setup_context=_keep_for_product)


def sparse_product(x: Tensor, operator: SparseOperator, power: int) -> Tensor:
    """Multiply features; see `deepsphere.ops.product.sparse_product`."""
    graph = _matrix(operator), _matrix(operator.transpose)
    return _product(x.to(torch.float32), *graph, power).to(x.dtype)


# ---- pooling ----


@torch.library.custom_op("deepsphere::pool", mutates_args=())
def _pool(x: Tensor, children: int, mode: int) -> Tensor:
    return _run(POOL, [_pool_options(mode, children), x], [_pooled(x, children)])[0]


@_pool.register_fake
def _(x, children, mode):  # type: ignore[no-untyped-def]
    return _pooled(x, children)


@torch.library.custom_op("deepsphere::pool_backward", mutates_args=())
def _pool_backward(x: Tensor, y: Tensor, gradient: Tensor, mode: int) -> Tensor:
    options = _pool_options(mode, x.shape[1] // max(1, y.shape[1]))
    return _run(POOL_BACKWARD, [options, x, y, gradient], [x.new_empty(x.shape)])[0]


@_pool_backward.register_fake
def _(x, y, gradient, mode):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape)


def _pool_options(mode: int, children: int) -> Tensor:
    return torch.tensor([float(mode), build.threads(), children])


def _pooled(x: Tensor, children: int) -> Tensor:
    return x.new_empty((x.shape[0], x.shape[1] // children, x.shape[2]))


def _keep_for_pool(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)
    ctx.mode = inputs[2]


def _differentiate_pool(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return _pool_backward(*ctx.saved_tensors, gradient, ctx.mode), None, None


_pool.register_autograd(_differentiate_pool, setup_context=_keep_for_pool)


def _keep_for_second_pool(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.mode = inputs[3]


def _differentiate_pool_backward(ctx: Any, cotangent: Tensor) -> tuple[Any, ...]:
    x, y = ctx.saved_tensors
    return None, None, pull_to_coarse(cotangent, x, y, ctx.mode), None


_pool_backward.register_autograd(_differentiate_pool_backward, setup_context=_keep_for_second_pool)


def pool(x: Tensor, children: int, mode: str) -> Tensor:
    """Pool children; see `deepsphere.ops.pool`."""
    return _pool(x.to(torch.float32), children, POOL_MODES[mode]).to(x.dtype)
