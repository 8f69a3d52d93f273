"""Sparse products on PyTorch."""

from __future__ import annotations

import torch

from deepsphere.ops.derivatives_torch import PRODUCT, apply
from deepsphere.ops.operator import SparseOperator
from deepsphere.ops.torch import ENGINE, exporting


def sparse_product(x: torch.Tensor, operator: SparseOperator, power: int) -> torch.Tensor:
    """Multiply features; see `deepsphere.ops.product.sparse_product`."""
    if exporting():  # converters do not support custom gradients
        return ENGINE.product(x, operator, power)
    return apply(PRODUCT, x, operator, power, ENGINE)
