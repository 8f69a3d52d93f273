"""The plain product on PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from deepsphere.ops.operator import SparseOperator
from deepsphere.ops.torch import _fold, _matmul, _unfold, _working_dtype, exporting


def sparse_product(x: torch.Tensor, operator: SparseOperator, power: int) -> torch.Tensor:
    """Multiply features; see `deepsphere.ops.product.sparse_product`."""
    if exporting():  # converters do not know functions with a gradient of their own
        return _forward(x, operator, power)
    return _SparseProduct.apply(x, operator, power)


def _forward(x: torch.Tensor, operator: SparseOperator, power: int) -> torch.Tensor:
    columns = _fold(x.to(_working_dtype(x))).flatten(1)
    for _ in range(power):
        columns = _matmul(operator, columns)
    return _unfold(columns, x).to(x.dtype)


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, operator: SparseOperator, power: int) -> torch.Tensor:
        ctx.operator, ctx.power = operator, power
        return _forward(x, operator, power)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        return sparse_product(gradient, ctx.operator.transpose, ctx.power), None, None
