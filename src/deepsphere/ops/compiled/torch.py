"""Compiled operations on PyTorch, as custom operators that ``torch.compile`` treats as opaque.

Their derivatives are in `deepsphere.ops.derivatives.torch`. Arguments and results are single
tensors, not lists, which the ``vmap`` of older parts of PyTorch cannot map.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from deepsphere._allocator import keep_freed_memory
from deepsphere.ops.compiled import build
from deepsphere.ops.compiled.options import (
    attention_options,
    filter_options,
    pool_options,
    product_options,
)
from deepsphere.ops.derivatives import torch as derivatives
from deepsphere.ops.exporting import is_portable
from deepsphere.ops.operator import SparseOperator
from deepsphere.ops.portable import torch as portable
from deepsphere.ops.portable.torch import constants, exporting

# The functions in call.h.
FORWARD, FORWARD_NORMALIZED, BACKWARD, BACKWARD_NORMALIZED, PRODUCT = range(5)
POOL, POOL_BACKWARD, ATTEND, ATTEND_BACKWARD = range(5, 9)
TYPES = {torch.float32: 1, torch.int32: 2}  # all others are 0
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
    keep_freed_memory()
    return call


def available(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> bool:
    """Whether the compiled functions support these arguments."""
    return (
        not is_portable()
        and x.device.type == "cpu"
        and kernel.device.type == "cpu"
        and torch.float64 not in (x.dtype, kernel.dtype)
        and not exporting()
        and _loaded()
    )


def _loaded() -> bool:
    # Dynamo cannot trace how the library is loaded; what it finds here is a constant to it.
    global _is_loaded
    if not torch.compiler.is_dynamo_compiling():
        _is_loaded = _call() is not None
    return _is_loaded


_is_loaded = False


def prepare(operator: SparseOperator, device: torch.device, dtype: torch.dtype) -> None:
    """Create what products with an operator need, so that ``torch.compile`` finds it.

    Parameters
    ----------
    operator : SparseOperator
        The operator; its transpose, which gradients need, is prepared too.
    device : torch.device
        Device of the features.
    dtype : torch.dtype
        The precision of the products, float32 or float64.
    """
    compiled = device.type == "cpu" and dtype != torch.float64 and _loaded()
    for each in (operator, operator.transpose):
        _ = each.transpose
        if compiled:
            _matrix(each)
        else:
            portable.prepare(each, device, dtype)


def _run(function: int, arguments: list[Tensor], results: list[Tensor]) -> list[Tensor]:
    arguments = [argument.contiguous() for argument in arguments]  # kept alive during the call
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


def _options(options: tuple[float, ...]) -> Tensor:
    # Whatever the default type and device are.
    return torch.tensor(options, dtype=torch.float32, device="cpu")


def _matrix(operator: SparseOperator) -> list[Tensor]:
    return constants(
        operator,
        "compiled torch",
        lambda: [torch.from_numpy(array) for array in operator.compressed],
    )


def _empty_like_output(x: Tensor, kernel: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:2], kernel.shape[2]))


def _wanted(x: Tensor, kernel: Tensor, wanted: list[bool]) -> list[Tensor]:
    shapes = (x.shape, kernel.shape, kernel.shape[2:])
    return [x.new_empty(s if w else (0,)) for s, w in zip(shapes, wanted, strict=True)]


def _three(tensors: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    return tensors[0], tensors[1], tensors[2]


# ---- filter, bias, activation; an empty bias means no bias ----


@torch.library.custom_op("deepsphere::forward", mutates_args=())
def _forward(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor,
    starts: Tensor,
    indices: Tensor,
    values: Tensor,
    activation: str,
) -> Tensor:
    arguments = [_options(filter_options(activation)), x, kernel, bias, starts, indices, values]
    return _run(FORWARD, arguments, [_empty_like_output(x, kernel)])[0]


@_forward.register_fake
def _(x, kernel, bias, starts, indices, values, activation):  # type: ignore[no-untyped-def]
    return _empty_like_output(x, kernel)


@torch.library.custom_op("deepsphere::backward", mutates_args=())
def _backward(
    x: Tensor,
    kernel: Tensor,
    y: Tensor,
    gradient: Tensor,
    starts: Tensor,
    indices: Tensor,
    values: Tensor,
    transposed_starts: Tensor,
    transposed_indices: Tensor,
    transposed_values: Tensor,
    activation: str,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    matrix = [starts, indices, values]
    transposed = [transposed_starts, transposed_indices, transposed_values]
    arguments = [_options(filter_options(activation)), x, kernel, y, gradient, *matrix, *transposed]
    return _three(_run(BACKWARD, arguments, _wanted(x, kernel, wanted)))


@_backward.register_fake
def _(x, kernel, y, gradient, s, i, v, ts, ti, tv, activation, wanted):  # type: ignore[no-untyped-def]
    return _three(_wanted(x, kernel, wanted))


# ---- filter, normalization, bias, activation ----


@torch.library.custom_op("deepsphere::forward_normalized", mutates_args=())
def _forward_normalized(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor,
    starts: Tensor,
    indices: Tensor,
    values: Tensor,
    epsilon: float,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    options = _options(filter_options(activation, epsilon))
    arguments = [options, x, kernel, bias, starts, indices, values]
    results = _normalized_results(x, kernel)
    _run(FORWARD_NORMALIZED, arguments, list(results))
    return results


def _normalized_results(x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    y, statistic = _empty_like_output(x, kernel), x.new_empty(kernel.shape[2:])
    return y, torch.empty_like(y), statistic, torch.empty_like(statistic)


@_forward_normalized.register_fake
def _(x, kernel, bias, starts, indices, values, epsilon, activation):  # type: ignore[no-untyped-def]
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
    starts: Tensor,
    indices: Tensor,
    values: Tensor,
    transposed_starts: Tensor,
    transposed_indices: Tensor,
    transposed_values: Tensor,
    epsilon: float,
    activation: str,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    matrix = [starts, indices, values]
    transposed = [transposed_starts, transposed_indices, transposed_values]
    options = _options(filter_options(activation, epsilon))
    arguments = [options, x, kernel, bias, raw, mean, variance, gradient]
    results = _wanted(x, kernel, wanted)
    return _three(_run(BACKWARD_NORMALIZED, [*arguments, *matrix, *transposed], results))


@_backward_normalized.register_fake
def _(x, kernel, b, raw, mean, variance, g, s, i, v, ts, ti, tv, eps, activation, wanted):  # type: ignore[no-untyped-def]
    return _three(_wanted(x, kernel, wanted))


@_backward_normalized.register_vmap
def _(info, in_dims, *arguments):  # type: ignore[no-untyped-def]
    # For `torch.autograd.grad` with ``is_grads_batched=True``.
    return derivatives.one_by_one(_backward_normalized, info, in_dims, arguments)


# ---- plain products ----


@torch.library.custom_op("deepsphere::product", mutates_args=())
def _product(x: Tensor, starts: Tensor, indices: Tensor, values: Tensor, power: int) -> Tensor:
    options = _options(product_options(power))
    return _run(PRODUCT, [options, x, starts, indices, values], [x.new_empty(x.shape)])[0]


@_product.register_fake
def _(x, starts, indices, values, power):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape)


# ---- pooling ----


@torch.library.custom_op("deepsphere::pool", mutates_args=())
def _pool(x: Tensor, children: int, mode: str) -> Tensor:
    return _run(POOL, [_options(pool_options(mode, children)), x], [_pooled(x, children)])[0]


@_pool.register_fake
def _(x, children, mode):  # type: ignore[no-untyped-def]
    return _pooled(x, children)


@torch.library.custom_op("deepsphere::pool_backward", mutates_args=())
def _pool_backward(x: Tensor, y: Tensor, gradient: Tensor, mode: str) -> Tensor:
    options = _options(pool_options(mode, x.shape[1] // max(1, y.shape[1])))
    return _run(POOL_BACKWARD, [options, x, y, gradient], [x.new_empty(x.shape)])[0]


@_pool_backward.register_fake
def _(x, y, gradient, mode):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape)


def _pooled(x: Tensor, children: int) -> Tensor:
    return x.new_empty((x.shape[0], x.shape[1] // children, x.shape[2]))


# ---- attention ----


@torch.library.custom_op("deepsphere::attend", mutates_args=())
def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    starts: Tensor,
    indices: Tensor,
    values: Tensor,
) -> Tensor:
    arguments = [_options(attention_options(q.shape[2])), *(x.flatten(2) for x in (q, k, v)), mask]
    y = q.new_empty(q.shape)
    _run(ATTEND, [*arguments, starts, indices, values], [y.flatten(2)])
    return y


@_attend.register_fake
def _(q, k, v, mask, starts, indices, values):  # type: ignore[no-untyped-def]
    return q.new_empty(q.shape)


@torch.library.custom_op("deepsphere::attend_backward", mutates_args=())
def _attend_backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    gradient: Tensor,
    starts: Tensor,
    indices: Tensor,
    values: Tensor,
    transposed_starts: Tensor,
    transposed_indices: Tensor,
    transposed_values: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    matrix = [starts, indices, values]
    transposed = [transposed_starts, transposed_indices, transposed_values]
    arguments = [_options(attention_options(q.shape[2])), *(x.flatten(2) for x in (q, k, v)), mask]
    found = [q.new_empty(q.shape) for _ in range(3)]
    arguments += [gradient.flatten(2), *matrix, *transposed]
    _run(ATTEND_BACKWARD, arguments, [f.flatten(2) for f in found])
    return _three(found)


@_attend_backward.register_fake
def _(q, k, v, mask, gradient, s, i, w, ts, ti, tw):  # type: ignore[no-untyped-def]
    return q.new_empty(q.shape), q.new_empty(q.shape), q.new_empty(q.shape)


@_attend_backward.register_vmap
def _(info, in_dims, *arguments):  # type: ignore[no-untyped-def]
    # For `torch.autograd.grad` with ``is_grads_batched=True``.
    return derivatives.one_by_one(_attend_backward, info, in_dims, arguments)


# ---- public functions, in single precision ----


def _compute_gradients(x, kernel, y, gradient, operator, activation, wanted):  # type: ignore[no-untyped-def]
    matrices = *_matrix(operator), *_matrix(operator.transpose)
    return _backward(x, kernel, y, gradient, *matrices, activation, list(wanted))


def _compute_normalized_gradients(*arguments):  # type: ignore[no-untyped-def]
    *tensors, operator, epsilon, activation, wanted = arguments
    matrices = *_matrix(operator), *_matrix(operator.transpose)
    return _backward_normalized(*tensors, *matrices, epsilon, activation, list(wanted))


ENGINE = derivatives.Engine(
    filter=lambda x, kernel, bias, operator, activation: _forward(
        x, kernel, bias, *_matrix(operator), activation
    ),
    gradients=_compute_gradients,
    product=lambda x, operator, power: _product(x, *_matrix(operator), power),
    normalized=lambda x, kernel, bias, operator, epsilon, activation: _forward_normalized(
        x, kernel, bias, *_matrix(operator), epsilon, activation
    ),
    normalized_gradients=_compute_normalized_gradients,
    activate=portable.activate,
    pool=_pool,
    pool_gradient=_pool_backward,
)


def _single(x: Tensor, kernel: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    x = x.to(torch.float32)
    bias = derivatives.none(x) if bias is None else bias.to(torch.float32)
    return x, kernel.to(torch.float32), bias


def chebyshev_filter(
    x: Tensor, kernel: Tensor, operator: SparseOperator, bias: Tensor | None, activation: str
) -> Tensor:
    """Filter, add a bias, activate; see `deepsphere.ops.chebyshev_filter`."""
    tensors = _single(x, kernel, bias)
    y = derivatives.apply(derivatives.FILTER, *tensors, operator, activation, ENGINE)
    return y.to(x.dtype)


def normalized_filter(
    x: Tensor,
    kernel: Tensor,
    operator: SparseOperator,
    bias: Tensor | None,
    epsilon: float,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Filter, normalize, add a bias, activate; see `deepsphere.ops.normalized_filter`."""
    tensors = _single(x, kernel, bias)
    y, _, mean, variance = derivatives.apply(
        derivatives.NORMALIZED_FILTER, *tensors, operator, epsilon, activation, ENGINE
    )
    return y.to(x.dtype), mean, variance


def sparse_product(x: Tensor, operator: SparseOperator, power: int) -> Tensor:
    """Multiply features; see `deepsphere.ops.sparse_product`."""
    y = derivatives.apply(derivatives.PRODUCT, x.to(torch.float32), operator, power, ENGINE)
    return y.to(x.dtype)


def pool(x: Tensor, children: int, mode: str) -> Tensor:
    """Pool children; see `deepsphere.ops.pool`."""
    y = derivatives.apply(derivatives.POOL, x.to(torch.float32), children, mode, ENGINE)
    return y.to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, pattern: SparseOperator) -> Tensor:
    """Attend to neighbors; see `deepsphere.ops.attention.neighbor_attention`."""
    tensors = [x.to(torch.float32) for x in (q, k, v)]
    return _attend(*tensors, _as_floats(q, mask), *_matrix(pattern)).to(q.dtype)


def attend_gradients(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gradient: Tensor,
    mask: Tensor | None,
    pattern: SparseOperator,
    portable: Callable[..., Any],
) -> tuple[Tensor, ...]:
    """Return the gradients of q, k and v, by a portable function if they may be differentiated."""
    if derivatives.differentiated(q, k, v, gradient):
        return tuple(portable(q, k, v, gradient))
    *tensors, g = [x.to(torch.float32) for x in (q, k, v, gradient)]
    matrices = *_matrix(pattern), *_matrix(pattern.transpose)
    return tuple(
        f.to(q.dtype) for f in _attend_backward(*tensors, _as_floats(q, mask), g, *matrices)
    )


def _as_floats(like: Tensor, mask: Tensor | None) -> Tensor:
    return like.new_empty(0, dtype=torch.float32) if mask is None else mask.to(torch.float32)
