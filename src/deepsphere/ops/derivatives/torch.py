"""Derivatives and `vmap` of the operations on PyTorch, for the portable and compiled engines.

Derivatives of any order, forward and backward, are filters and gradients of other arguments
(`deepsphere.ops.derivatives.rules`). This supports `torch.func`, dual tensors, second derivatives
and vectorized Jacobians.

Dynamo cannot trace a function that has a `jvp`. While it compiles, the base class without one is
used; forward-mode derivatives of compiled code raise NotImplementedError, since they would be zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.autograd import Function, forward_ad

from deepsphere.ops import plan
from deepsphere.ops.derivatives import rules
from deepsphere.ops.derivatives.activations import is_curved, slope
from deepsphere.ops.operator import SparseOperator

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Engine:
    """The functions that do the computation, either portable or compiled from C."""

    filter: Callable[[Tensor, Tensor, Tensor, SparseOperator, str], Tensor]
    gradients: Callable[..., tuple[Tensor, Tensor, Tensor]]
    product: Callable[[Tensor, SparseOperator, int], Tensor]
    normalized: Callable[..., tuple[Tensor, ...]] | None = None
    normalized_gradients: Callable[..., tuple[Tensor, ...]] | None = None
    activate: Callable[[Tensor, str], Tensor] | None = None
    pool: Callable[[Tensor, int, str], Tensor] | None = None
    pool_gradient: Callable[[Tensor, Tensor, Tensor, str], Tensor] | None = None


Functions = tuple[type[Function], type[Function]]
"""A function without forward-mode derivatives, for Dynamo, and the same function with them."""


def apply(functions: Functions, *arguments: Any) -> Any:
    """Call the variant of a function that works with Dynamo or with eager PyTorch.

    Raises
    ------
    NotImplementedError
        If Dynamo compiles a forward-mode derivative.
    """
    if not torch.compiler.is_dynamo_compiling():
        return functions[1].apply(*arguments)
    if forward_ad._current_level >= 0:
        raise NotImplementedError(
            "torch.compile of a forward-mode derivative (torch.func.jvp, jacfwd, hessian) is not "
            "supported: call the transformation outside torch.compile, or use reverse mode "
            "(torch.func.vjp, jacrev)"
        )
    return functions[0].apply(*arguments)


def _forward_mode(rule: Callable[..., Any]) -> Any:
    """Return a `jvp` that can be differentiated in forward mode again.

    PyTorch disables forward mode within a `jvp`. The forward-mode derivative of a forward-mode
    derivative would then silently lack the terms from saved tensors.
    """

    def jvp(ctx: Any, *tangents: Any) -> Any:
        saved = [forward_ad.unpack_dual(tensor).primal for tensor in ctx.saved_tensors]
        with forward_ad._set_fwd_grad_enabled(True):
            return rule(ctx, saved, *tangents)

    return staticmethod(jvp)


def none(like: Tensor) -> Tensor:
    """Return an empty tensor, which stands for a missing one."""
    return torch.empty(0, dtype=like.dtype, device=like.device)


def _filtered_by(
    call: Callable[..., Any], operator: SparseOperator, engine: Engine
) -> rules.Filter:
    """Return the filter without bias and activation, called by `apply` or without Dynamo."""
    return lambda x, kernel: call(x, kernel, none(x), operator, "linear", engine)


# ---- vmap ----


def one_by_one(function: Callable[..., Any], info: Any, in_dims: Any, arguments: Any) -> Any:
    """Call a function for each element of the mapped axis and stack the results."""
    results = [
        function(
            *(
                a.select(d, i) if isinstance(d, int) else a
                for a, d in zip(arguments, in_dims, strict=True)
            )
        )
        for i in range(info.batch_size)
    ]
    if isinstance(results[0], Tensor):
        return torch.stack(results), 0
    columns = [torch.stack(column) for column in zip(*results, strict=True)]
    return tuple(columns), (0,) * len(columns)


def _into_axis(tensor: Tensor, dim: int | None, size: int, axis: int) -> Tensor:
    """Merge the mapped axis into another axis, as its leading part."""
    if dim is None:
        tensor = tensor.expand(size, *tensor.shape).movedim(0, axis)
    else:
        tensor = tensor.movedim(dim, axis)
    return tensor.flatten(axis, axis + 1)


def _out_of_axis(tensor: Tensor, size: int, axis: int) -> Tensor:
    return tensor.unflatten(axis, (size, -1))


def _over_the_batch(
    functions: Functions, info: Any, tensors: Any, dims: Any, *rest: Any
) -> tuple[Tensor, int]:
    """Map a function that treats samples independently, in one call over a larger batch."""
    folded = [_into_axis(t, d, info.batch_size, 0) for t, d in zip(tensors, dims, strict=True)]
    return _out_of_axis(apply(functions, *folded, *rest), info.batch_size, 0), 0


# ---- filter, bias, activation; an empty bias means no bias ----


class _Filter(Function):
    @staticmethod
    def forward(
        x: Tensor,
        kernel: Tensor,
        bias: Tensor,
        operator: SparseOperator,
        activation: str,
        engine: Engine,
    ) -> Tensor:
        return engine.filter(x, kernel, bias, operator, activation)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, kernel, bias, ctx.operator, ctx.activation, ctx.engine = inputs
        kept = (x, kernel) if ctx.activation == "linear" else (x, kernel, bias, output)
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Any, ...]:
        if gradient is None:
            return (None,) * 6
        x, kernel, *kept = ctx.saved_tensors
        needs_dx, needs_dkernel, needs_dbias = ctx.needs_input_grad[:3]
        wanted = needs_dx, needs_dkernel or needs_dbias, needs_dbias
        y, activation = kept[1] if kept else none(x), ctx.activation
        if is_curved(activation) and differentiated(x, kernel, kept[0], gradient):
            # Second derivatives need that of the activation, so it is left to PyTorch.
            z = apply(FILTER, x, kernel, kept[0], ctx.operator, "linear", ctx.engine)
            gradient = gradient * _slope_at_input(ctx, z)
            y, activation = none(x), "linear"
        found = apply(
            GRADIENTS, x, kernel, y, gradient, ctx.operator, activation, ctx.engine, wanted
        )
        needed = ctx.needs_input_grad[:3]
        return (*(f if n else None for f, n in zip(found, needed, strict=True)), None, None, None)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        x, kernel, bias, *rest = arguments
        x_dim, kernel_dim, bias_dim = in_dims[:3]
        if kernel_dim is None and bias_dim is None:
            return _over_the_batch(FILTER, info, [x], [x_dim], kernel, bias, *rest)
        features = [size for d, size in enumerate(x.shape) if d != x_dim]
        weights = [size for d, size in enumerate(kernel.shape) if d != kernel_dim]
        if plan.is_depthwise(features, weights):
            return one_by_one(partial(apply, FILTER), info, in_dims, arguments)
        if x_dim is None and (bias_dim is not None or bias.numel() == 0):
            kernels = _into_axis(kernel, kernel_dim, info.batch_size, 2)
            biases = bias if bias_dim is None else _into_axis(bias, bias_dim, info.batch_size, 0)
            y = apply(FILTER, x, kernels, biases, *rest)
            return _out_of_axis(y, info.batch_size, 2), 2
        return one_by_one(partial(apply, FILTER), info, in_dims, arguments)


class Filter(_Filter):
    """``activation(sum_k T_k(A) x W_k + b)`` of x, kernel, bias, operator, activation, engine."""

    @_forward_mode
    def jvp(ctx: Any, saved: Any, tx: Any, tkernel: Any, tbias: Any, *_: None) -> Tensor | None:
        x, kernel, *kept = saved
        filtered = _filtered_by(Filter.apply, ctx.operator, ctx.engine)
        tangent = rules.filter_tangent(filtered, x, kernel, tx, tkernel)
        if tbias is not None and tbias.numel():
            tangent = tbias.expand(*x.shape[:2], -1) if tangent is None else tangent + tbias
        if kept and tangent is not None:
            return tangent * slope(ctx.activation, kept[1], torch)
        return tangent


FILTER = _Filter, Filter


class _Gradients(Function):
    @staticmethod
    def forward(
        x: Tensor,
        kernel: Tensor,
        y: Tensor,
        gradient: Tensor,
        operator: SparseOperator,
        activation: str,
        engine: Engine,
        wanted: tuple[bool, bool, bool],
    ) -> tuple[Tensor, Tensor, Tensor]:
        return engine.gradients(x, kernel, y, gradient, operator, activation, wanted)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.operator, ctx.activation, ctx.engine, ctx.wanted = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        x, kernel, y, gradient = ctx.saved_tensors
        vx, vkernel, vbias = (v if w else None for v, w in zip(cotangents, ctx.wanted, strict=True))
        fixed = ctx.operator, ctx.activation, ctx.engine

        def gradients(x: Tensor, kernel: Tensor, g: Tensor, wanted: Any) -> Any:
            return apply(GRADIENTS, x, kernel, y, g, *fixed, wanted)

        dx, dkernel, dgradient = rules.gradients_cotangents(
            _filtered_by(partial(apply, FILTER), ctx.operator, ctx.engine),
            gradients,
            *(x, kernel, gradient, (vx, vkernel), (*ctx.needs_input_grad[:2], True)),
        )
        if vbias is not None:
            vbias = vbias.expand(gradient.shape)
            dgradient = vbias if dgradient is None else dgradient + vbias
        if dgradient is not None and ctx.activation != "linear":
            dgradient = dgradient * slope(ctx.activation, y, torch)
        return dx, dkernel, None, dgradient, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        x, kernel, y, gradient, *rest = arguments
        wanted = rest[-1]
        if in_dims[1] is None and not (wanted[1] or wanted[2]):
            tensors, dims = [x, gradient], [in_dims[0], in_dims[3]]
            folded = [
                _into_axis(t, d, info.batch_size, 0) for t, d in zip(tensors, dims, strict=True)
            ]
            mask = y if y.dim() == 1 else _into_axis(y, in_dims[2], info.batch_size, 0)
            dx, *others = apply(GRADIENTS, folded[0], kernel, mask, folded[1], *rest)
            return (_out_of_axis(dx, info.batch_size, 0), *others), (0, None, None)
        return one_by_one(partial(apply, GRADIENTS), info, in_dims, arguments)


class Gradients(_Gradients):
    """The gradients dx, dkernel and dbias of `Filter`; those that are not wanted are empty.

    The arguments are x, kernel, y (the output, or empty without an activation), gradient,
    operator, activation, engine and wanted.
    """

    @_forward_mode
    def jvp(
        ctx: Any, saved: Any, tx: Any, tkernel: Any, _: Any, tgradient: Any, *__: None
    ) -> tuple[Tensor, ...]:
        x, kernel, y, gradient = saved
        fixed = ctx.operator, ctx.activation, ctx.engine

        def gradients(x: Tensor, kernel: Tensor, g: Tensor, wanted: Any) -> Any:
            return Gradients.apply(x, kernel, y, g, *fixed, wanted)

        tangents = rules.gradients_tangent(
            gradients, x, kernel, gradient, (tx, tkernel, tgradient), ctx.wanted
        )
        likes = [
            like if w else none(like)
            for like, w in zip((x, kernel, kernel[0, 0]), ctx.wanted, strict=True)
        ]
        return tuple(
            torch.zeros_like(like) if tangent is None else tangent
            for tangent, like in zip(tangents, likes, strict=True)
        )


GRADIENTS = _Gradients, Gradients


# ---- filter, normalization, bias, activation ----


class _NormalizedFilter(Function):
    @staticmethod
    def forward(
        x: Tensor,
        kernel: Tensor,
        bias: Tensor,
        operator: SparseOperator,
        epsilon: float,
        activation: str,
        engine: Engine,
    ) -> tuple[Tensor, ...]:
        assert engine.normalized is not None
        return tuple(engine.normalized(x, kernel, bias, operator, epsilon, activation))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, kernel, bias, ctx.operator, ctx.epsilon, ctx.activation, ctx.engine = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(x, kernel, bias, *output[1:])
        ctx.save_for_forward(x, kernel, bias)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Any, ...]:
        if gradient is None:
            return (None,) * 7
        saved = ctx.saved_tensors  # read once: checkpointing provides them only once
        needed = ctx.needs_input_grad[:3]
        wanted = needed[0], needed[1], needed[2] and saved[2].numel() > 0
        if differentiated(*saved[:3], gradient):
            x, kernel, bias = saved[:3]
            found = _differentiable_gradients(ctx, x, kernel, bias, gradient, wanted)
        else:
            found = ctx.engine.normalized_gradients(
                *saved, gradient, ctx.operator, ctx.epsilon, ctx.activation, wanted
            )
        return (*(f if w else None for f, w in zip(found, wanted, strict=True)), *(None,) * 4)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return one_by_one(partial(apply, NORMALIZED_FILTER), info, in_dims, arguments)


class NormalizedFilter(_NormalizedFilter):
    """Normalized filter of x, kernel, bias, operator, epsilon, activation, engine.

    Returns the output, the filtered features, their mean and their variance; only the output is
    differentiable.
    """

    @_forward_mode
    def jvp(
        ctx: Any, saved: Any, tx: Any, tkernel: Any, tbias: Any, *_: None
    ) -> tuple[Tensor | None, ...]:
        x, kernel, bias = saved
        filtered_by = _filtered_by(Filter.apply, ctx.operator, ctx.engine)
        filtered = rules.filter_tangent(filtered_by, x, kernel, tx, tkernel)
        scaled, scale, slopes = _normalize(ctx, x, kernel, bias)
        tangent = torch.zeros_like(scaled)
        if filtered is not None:
            tangent = tangent + scale * (
                filtered - filtered.mean((0, 1)) - scaled * (scaled * filtered).mean((0, 1))
            )
        if tbias is not None and tbias.numel():
            tangent = tangent + tbias
        return tangent if slopes is None else tangent * slopes, None, None, None


NORMALIZED_FILTER = _NormalizedFilter, NormalizedFilter


def _normalize(
    ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the normalized features, the scale, and the derivative of the activation."""
    raw = apply(FILTER, x, kernel, none(x), ctx.operator, "linear", ctx.engine)
    centered = raw - raw.mean((0, 1))
    scale = torch.rsqrt(centered.square().mean((0, 1)) + ctx.epsilon)
    scaled = centered * scale
    if ctx.activation == "linear":
        return scaled, scale, None
    return scaled, scale, _slope_at_input(ctx, scaled + bias if bias.numel() else scaled)


def _differentiable_gradients(
    ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor, gradient: Tensor, wanted: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of a normalized filter from differentiable parts."""
    scaled, scale, slopes = _normalize(ctx, x, kernel, bias)
    if slopes is not None:
        gradient = gradient * slopes
    filtered = scale * (
        gradient - gradient.mean((0, 1)) - scaled * (scaled * gradient).mean((0, 1))
    )
    fixed = ctx.operator, "linear", ctx.engine
    dx, dkernel, _ = apply(
        GRADIENTS, x, kernel, none(x), filtered, *fixed, (wanted[0], wanted[1], False)
    )
    return dx, dkernel, gradient.sum((0, 1))


def _slope_at_input(ctx: Any, z: Tensor) -> Tensor:
    """Return the derivative of the activation at its input, itself differentiable."""
    if ctx.activation == "silu":
        s = torch.sigmoid(z)
        return s * (1 + z * (1 - s))
    if ctx.activation == "gelu":
        density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        return 0.5 * torch.erfc(-z * math.sqrt(0.5)) + z * density
    return slope(ctx.activation, ctx.engine.activate(z, ctx.activation), torch)


def differentiated(*tensors: Tensor) -> bool:
    """Whether a gradient of these tensors may be differentiated itself."""
    return torch.is_grad_enabled() or any(
        forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors
    )


# ---- plain products ----


class _Product(Function):
    @staticmethod
    def forward(x: Tensor, operator: SparseOperator, power: int, engine: Engine) -> Tensor:
        return engine.product(x, operator, power)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, ctx.operator, ctx.power, ctx.engine = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        dx = apply(PRODUCT, gradient, ctx.operator.transpose, ctx.power, ctx.engine)
        return dx, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, *rest: Any) -> Any:
        return _over_the_batch(PRODUCT, info, [x], in_dims[:1], *rest)


class Product(_Product):
    """``A^power x`` of x, operator, power, engine."""

    @_forward_mode
    def jvp(ctx: Any, _: Any, tx: Tensor, *__: None) -> Tensor:
        return Product.apply(tx, ctx.operator, ctx.power, ctx.engine)


PRODUCT = _Product, Product


# ---- pooling ----


class _Pool(Function):
    @staticmethod
    def forward(x: Tensor, children: int, mode: str, engine: Engine) -> Tensor:
        assert engine.pool is not None
        return engine.pool(x, children, mode)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, _, ctx.mode, ctx.engine = inputs
        ctx.save_for_backward(x, output)
        ctx.save_for_forward(x, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        x, y = ctx.saved_tensors
        return apply(POOL_GRADIENT, x, y, gradient, ctx.mode, ctx.engine), None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, *rest: Any) -> Any:
        return _over_the_batch(POOL, info, [x], in_dims[:1], *rest)


class Pool(_Pool):
    """Pooling of x, children, mode, engine."""

    @_forward_mode
    def jvp(ctx: Any, saved: Any, tx: Tensor, *_: None) -> Tensor:
        x, y = saved
        return _pull_to_coarse(tx, x, y, ctx.mode)


POOL = _Pool, Pool


class _PoolGradient(Function):
    @staticmethod
    def forward(x: Tensor, y: Tensor, gradient: Tensor, mode: str, engine: Engine) -> Tensor:
        assert engine.pool_gradient is not None
        return engine.pool_gradient(x, y, gradient, mode)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, y, _, ctx.mode, ctx.engine = inputs
        ctx.save_for_backward(x, y)
        ctx.save_for_forward(x, y)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor | None) -> tuple[Any, ...]:
        if cotangent is None:
            return (None,) * 5
        x, y = ctx.saved_tensors
        return None, None, _pull_to_coarse(cotangent, x, y, ctx.mode), None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return _over_the_batch(POOL_GRADIENT, info, arguments[:3], in_dims[:3], *arguments[3:])


class PoolGradient(_PoolGradient):
    """The gradient of pooling, as a function of x, y, gradient, mode, engine."""

    @_forward_mode
    def jvp(ctx: Any, saved: Any, _: Any, __: Any, tgradient: Tensor | None, *___: None) -> Tensor:
        x, y = saved
        if tgradient is None:
            return torch.zeros_like(x)
        return PoolGradient.apply(x, y, tgradient, ctx.mode, ctx.engine)


POOL_GRADIENT = _PoolGradient, PoolGradient


def _pull_to_coarse(fine: Tensor, x: Tensor, y: Tensor, mode: str) -> Tensor:
    """Sum children weighted by their share of the gradient: the transpose of pooling's gradient."""
    blocks = (x.shape[0], y.shape[1], -1, y.shape[2])
    fine = fine.reshape(blocks)
    if mode == "mean":
        return fine.mean(2)
    chosen = (x.reshape(blocks) == y.unsqueeze(2)).to(y.dtype)
    return (fine * chosen).sum(2) / chosen.sum(2)


# ---- attention ----


def attention_function(
    forward: Callable[..., Any], backward: Callable[..., Any], tangent: Callable[..., Any]
) -> Callable[..., Any]:
    """Return attention of q, k, v, mask, operator with the given derivatives.

    These consist of PyTorch operations and can be differentiated further.
    """

    class _Attention(Function):
        @staticmethod
        def forward(
            q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, operator: SparseOperator
        ) -> Tensor:
            return forward(q, k, v, mask, operator=operator)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            *tensors, mask, ctx.operator = inputs
            kept = tensors if mask is None else (*tensors, mask)
            ctx.save_for_backward(*kept)
            ctx.save_for_forward(*kept)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
            q, k, v, *mask = ctx.saved_tensors
            found = backward(q, k, v, gradient, *(mask or [None]), operator=ctx.operator)
            return *found, None, None

        @staticmethod
        def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
            q, k, v, mask, operator = arguments
            if mask is None:
                return _over_the_batch(functions, info, [q, k, v], in_dims[:3], None, operator)
            return _over_the_batch(functions, info, [q, k, v, mask], in_dims[:4], operator)

    class Attention(_Attention):
        @_forward_mode
        def jvp(self: Any, saved: Any, *tangents: Any) -> Tensor:
            q, k, v, *mask = saved
            return tangent(q, k, v, *tangents[:3], *(mask or [None]), operator=self.operator)  # type: ignore[attr-defined]

    functions = _Attention, Attention
    return lambda *arguments: apply(functions, *arguments)
