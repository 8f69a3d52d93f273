"""Operations on PyTorch, with ``embedding_bag``, which is faster than CSR products on CPU.

In exported models, products are sums over neighbors, which other runtimes support.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from numpy.typing import NDArray
from torch.nn import functional

from deepsphere.ops import plan
from deepsphere.ops.derivatives.activations import LEAKY_SLOPE
from deepsphere.ops.derivatives.torch import (
    FILTER,
    PRODUCT,
    Engine,
    apply,
    attention_function,
    none,
)
from deepsphere.ops.exporting import is_across_runtimes
from deepsphere.ops.operator import SparseOperator


def chebyshev_filter(
    x: torch.Tensor,
    kernel: torch.Tensor,
    operator: SparseOperator,
    bias: torch.Tensor | None,
    activation: str,
) -> torch.Tensor:
    """Filter, add a bias, activate; see `deepsphere.ops.chebyshev_filter`."""
    if plan.is_empty(x, kernel):  # a sum over no channels is 0
        y = _add_product(None, x, kernel[0].to(x.dtype))
    elif exporting():  # converters do not support custom gradients
        y = _forward(x, kernel, operator)
    else:
        y = apply(FILTER, x, kernel, none(x), operator, "linear", ENGINE)
    return _activate(y, bias, activation)


def normalized_filter(
    x: torch.Tensor,
    kernel: torch.Tensor,
    operator: SparseOperator,
    bias: torch.Tensor | None,
    epsilon: float,
    activation: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Filter, normalize, add a bias, activate; see `deepsphere.ops.normalized_filter`."""
    raw = chebyshev_filter(x, kernel, operator, None, "linear").to(_working_dtype(x))
    mean = raw.mean((0, 1))
    centered = raw - mean
    variance = centered.square().mean((0, 1))
    y = _activate(centered * torch.rsqrt(variance + epsilon), bias, activation)
    return y.to(x.dtype), mean.detach(), variance.detach()


def _activate(y: torch.Tensor, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
    if bias is not None:
        y = y + bias.to(y.dtype)
    return activate(y, activation)


def activate(y: torch.Tensor, activation: str) -> torch.Tensor:
    """Apply one of `deepsphere.ops.ACTIVATIONS`."""
    match activation:
        case "linear":
            return y
        case "silu":  # PyTorch's own has no derivative in forward mode of that in reverse mode
            return y * torch.sigmoid(y)
        case "leaky_relu":
            return functional.leaky_relu(y, LEAKY_SLOPE)
        case "relu" | "tanh" | "sigmoid":
            return getattr(torch, activation)(y)
    return getattr(functional, activation)(y)


def sparse_product(x: torch.Tensor, operator: SparseOperator, power: int) -> torch.Tensor:
    """Multiply features; see `deepsphere.ops.sparse_product`."""
    if exporting():  # converters do not support custom gradients
        return ENGINE.product(x, operator, power)
    return apply(PRODUCT, x, operator, power, ENGINE)


def pool(x: torch.Tensor, children: int, mode: str) -> torch.Tensor:
    """Pool children; see `deepsphere.ops.pool`."""
    batch, n, channels = x.shape
    y = x.reshape(batch, n // children, children, channels)
    if plan.is_empty(x):  # PyTorch has no maximum of an empty tensor
        return y[:, :, 0]
    return y.amax(2) if mode == "max" else y.mean(2, dtype=_working_dtype(x)).to(x.dtype)


def _portable_filter(
    x: torch.Tensor,
    kernel: torch.Tensor,
    bias: torch.Tensor,  # noqa: ARG001
    operator: SparseOperator,
    activation: str,  # noqa: ARG001
) -> torch.Tensor:
    with torch.autocast(x.device.type, enabled=False):  # computed in the precision chosen here
        return _forward(x, kernel, operator)


def _portable_gradients(
    x: torch.Tensor,
    kernel: torch.Tensor,
    y: torch.Tensor,  # noqa: ARG001
    gradient: torch.Tensor,
    operator: SparseOperator,
    activation: str,  # noqa: ARG001
    wanted: tuple[bool, bool, bool],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    dtype = _working_dtype(x)
    with torch.autocast(x.device.type, enabled=False):
        dx, dw = _gradients(
            _fold(x.to(dtype)),
            kernel.to(dtype),
            _fold(gradient.to(dtype)),
            operator,
            *wanted[:2],
        )
    return (
        none(x) if dx is None else _unfold(dx, x).to(x.dtype),
        none(kernel) if dw is None else dw.to(kernel.dtype),
        none(kernel),
    )


def _forward(x: torch.Tensor, kernel: torch.Tensor, operator: SparseOperator) -> torch.Tensor:
    dtype = _working_dtype(x)
    return _unfold(_filter(_fold(x.to(dtype)), kernel.to(dtype), operator), x).to(x.dtype)


def _working_dtype(x: torch.Tensor) -> torch.dtype:
    return x.dtype if x.dtype == torch.float64 else torch.float32


def _fold(x: torch.Tensor) -> torch.Tensor:
    """Transpose (batch, n, channels) to (n, batch, channels), contiguous per vertex."""
    return x.permute(1, 0, 2).contiguous()


def _unfold(y: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    batch, n = like.shape[:2]
    return y.reshape(n, batch, -1).permute(1, 0, 2).contiguous()


def _filter(z: torch.Tensor, kernel: torch.Tensor, operator: SparseOperator) -> torch.Tensor:
    """Return ``sum_k T_k(A) z W_k`` of (n, batch, channels), as (n * batch, filters)."""
    channels, filters = z.shape[2], kernel.shape[2]
    if plan.clenshaw_is_narrower(channels, filters):
        return _clenshaw(z, kernel, operator)
    y: torch.Tensor | None = None
    for term, coefficients in zip(_basis(z, len(kernel), operator), kernel, strict=True):
        y = _add_product(y, term.reshape(-1, channels), coefficients)
    assert y is not None
    return y


def _add_product(y: torch.Tensor | None, rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Add a product to `y` in place, or return the product if `y` is None.

    The product is by channel if the matrix is that of a depthwise kernel. If `y` started as zeros,
    `vmap` would reject adding a mapped product to it in place.
    """
    if rows.shape[-1] != matrix.shape[0]:
        return rows * matrix if y is None else y.addcmul_(rows, matrix)
    return rows @ matrix if y is None else y.addmm_(rows, matrix)


def _correlate(left: torch.Tensor, right: torch.Tensor, depthwise: bool) -> torch.Tensor:
    """Return the gradient of the coefficients of a term."""
    return (left * right).sum(0, keepdim=True) if depthwise else left.T @ right


def _clenshaw(z: torch.Tensor, kernel: torch.Tensor, operator: SparseOperator) -> torch.Tensor:
    n, batch, channels = z.shape
    rows = z.reshape(-1, channels)

    def product(b: torch.Tensor) -> torch.Tensor:
        return _matmul(operator, b.reshape(n, -1)).reshape(n * batch, -1)

    current, following = rows @ kernel[-1], None
    for k in range(len(kernel) - 2, -1, -1):
        step = product(current)
        step = torch.addmm(step.mul_(2) if k else step, rows, kernel[k])
        if following is not None:
            step = step.sub_(following)
        current, following = step, current
    return current


def _gradients(
    z: torch.Tensor,
    kernel: torch.Tensor,
    gradient: torch.Tensor,
    operator: SparseOperator,
    needs_dx: bool,
    needs_dw: bool,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    channels, filters = z.shape[2], kernel.shape[2]
    depthwise = plan.is_depthwise(z.shape, kernel.shape)
    turned = kernel if depthwise else kernel.transpose(1, 2)
    if not needs_dw or plan.separate_gradients(channels, filters, needs_dx):
        dx = dw = None
        if needs_dx:
            dx = _filter(gradient, turned, operator.transpose)
        if needs_dw:
            rows = gradient.reshape(-1, filters)
            terms = _basis(z, len(kernel), operator)
            dw = torch.stack([term.reshape(-1, channels).T @ rows for term in terms])
        return dx, dw
    rows, dw_terms = z.reshape(-1, channels), []
    dx = None
    terms = _basis(gradient, len(kernel), operator.transpose)
    for term, coefficients in zip(terms, turned, strict=True):
        term_rows = term.reshape(-1, filters)
        dw_terms.append(_correlate(rows, term_rows, depthwise))
        if needs_dx:
            dx = _add_product(dx, term_rows, coefficients)
    return dx, torch.stack(dw_terms)


def _basis(z: torch.Tensor, terms: int, operator: SparseOperator) -> Any:
    """Yield ``T_k(A) z`` for k = 0 to ``terms - 1``, keeping two of them at a time."""
    n = z.shape[0]
    previous = z.reshape(n, -1)
    yield previous
    if terms > 1:
        current = _matmul(operator, previous)
        yield current
        for _ in range(terms - 2):
            previous, current = current, _matmul(operator, current).mul_(2).sub_(previous)
            yield current


def _matmul(operator: SparseOperator, columns: torch.Tensor) -> torch.Tensor:
    """Multiply (n, columns) by the operator."""
    if exporting():
        return _neighbor_sum(operator, columns)
    limit = plan.max_columns(operator.nnz)
    if columns.shape[1] > limit:
        blocks = columns.split(limit, dim=1)
        return torch.cat([_matmul(operator, block.contiguous()) for block in blocks], dim=1)
    indices, starts, values = prepare(operator, columns.device, columns.dtype)
    return torch.nn.functional.embedding_bag(
        indices, columns, starts, mode="sum", per_sample_weights=values, include_last_offset=True
    )


def prepare(
    operator: SparseOperator, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, ...]:
    """Return the tensors that products with an operator need, created on first use."""
    return constants(
        operator, ("torch", device, dtype), lambda: _embedding_bag(operator, device, dtype)
    )


def exporting() -> bool:
    """Whether a model is being traced for another runtime."""
    if is_across_runtimes():
        return True
    # Non-strict export, which Keras uses, compiles without Dynamo.
    dynamo = torch.compiler.is_dynamo_compiling()
    return torch.jit.is_tracing() or (torch.compiler.is_compiling() and not dynamo)


def _neighbor_sum(operator: SparseOperator, columns: torch.Tensor) -> torch.Tensor:
    device, dtype = columns.device, columns.dtype

    def make() -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [
            (
                torch.tensor(neighbors, device=device),
                torch.tensor(weights[:, None], dtype=dtype, device=device),
            )
            for neighbors, weights in zip(*operator.neighbor_lists, strict=True)
        ]

    lists = constants(operator, ("torch lists", device, dtype), make)
    total = torch.zeros_like(columns)
    for neighbors, weights in lists:
        total = total + columns.index_select(0, neighbors) * weights
    if operator.empty_rows is None:
        return total
    empty = constants(
        operator,
        ("torch empty rows", device),
        lambda: torch.tensor(operator.empty_rows, device=device),
    )
    return total.masked_fill(empty[:, None], 0)  # the padding they read may be NaN


def constants(operator: SparseOperator, key: Any, make: Callable[[], Any]) -> Any:
    """Return the tensors that an operator stores under a key, created on first use.

    Another thread creates them: tensors created in inference mode, within a transformation of
    `torch.func` or during tracing could not be used outside, and these modes are per thread.
    """
    if torch.compiler.is_dynamo_compiling():  # it cannot trace threads or locks
        found = operator.known_constant(key, "torch")
        return make() if found is None else found

    def elsewhere() -> Any:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(make).result()

    return operator.constant(key, elsewhere, "torch")


def _embedding_bag(
    operator: SparseOperator, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, ...]:
    matrix = operator.matrix
    index = torch.int32 if operator.nnz < 2**31 else torch.int64
    return (
        torch.tensor(matrix.indices, dtype=index, device=device),
        torch.tensor(matrix.indptr, dtype=index, device=device),
        torch.tensor(matrix.data, dtype=dtype, device=device),
    )


def _portable_product(x: torch.Tensor, operator: SparseOperator, power: int) -> torch.Tensor:
    columns = _fold(x.to(_working_dtype(x))).reshape(len(operator), -1)
    for _ in range(power):
        columns = _matmul(operator, columns)
    return _unfold(columns, x).to(x.dtype)


ENGINE = Engine(filter=_portable_filter, gradients=_portable_gradients, product=_portable_product)


# ---- blocks of vertices, for attention ----


def jitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors and an `operator`, compiled if that helps the backend."""
    return function


def device_of(x: torch.Tensor) -> str:
    """Return the type of device that holds a tensor, such as ``"cpu"`` or ``"gpu"``."""
    return x.device.type


def device_constant(
    operator: SparseOperator, key: Any, make: Callable[[], NDArray[Any]], like: torch.Tensor
) -> torch.Tensor:
    """Return an array on the device of `like`, created once per operator and key."""
    return constants(
        operator, ("torch", key, like.device), lambda: torch.tensor(make(), device=like.device)
    )


def gather_rows(table: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return the rows of (n, batch, ...) at indices (slots, size), iterable by slot."""
    rows = table.reshape(table.shape[0], -1).index_select(0, indices.reshape(-1))
    return rows.reshape(*indices.shape, *table.shape[1:])


def map_blocks(function: Callable[..., Any], *blocks: torch.Tensor) -> torch.Tensor:
    """Call a function on one block after another and stack the results."""
    return torch.stack([function(*block) for block in zip(*blocks, strict=True)])


def differentiable_attention(
    forward: Callable[..., Any], backward: Callable[..., Any], tangent: Callable[..., Any]
) -> Callable[..., Any]:
    """Return attention of q, k, v, mask, operator with the given derivatives."""
    function = attention_function(forward, backward, tangent)

    def attend(q: Any, k: Any, v: Any, mask: Any, operator: SparseOperator) -> Any:
        if exporting():  # converters do not support custom gradients
            return forward(q, k, v, mask, operator=operator)
        return function(q, k, v, mask, operator)

    return attend
