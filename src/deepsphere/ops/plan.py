"""Choice of the cheapest form of a filter and its gradients, from sizes alone, for all backends.

With ``T_k`` a Chebyshev polynomial, ``y = sum_k T_k(A) x W_k`` can be summed over the basis
``T_k(A) x``, whose products with ``A`` have as many columns as `x` has channels, or by Clenshaw's
recurrence, whose products have as many columns as `y` has channels. For the gradients
``dx = sum_k T_k(A^T) g W_k^T`` and ``dW_k = (T_k(A) x)^T g = x^T T_k(A^T) g``, one basis of `g`
serves both; if `x` is much narrower than `g`, two narrow recurrences on `x` are cheaper. No form
stores the basis, so memory does not grow with the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_PRODUCT = 2**31 - 1
"""Maximum number of multiply-adds of one sparse product; wider products are split by columns.

Some backend kernels count with 32-bit integers."""


def clenshaw_is_narrower(channels: int, filters: int) -> bool:
    """Whether Clenshaw's recurrence computes the forward sum on fewer columns."""
    return filters < channels


def separate_gradients(channels: int, filters: int, needs_dx: bool = True) -> bool:
    """Whether two recurrences on `x` are cheaper than one basis of the output gradient."""
    return (2 if needs_dx else 1) * channels < filters


def max_columns(nnz: int) -> int:
    """Return the maximum number of columns of one product with `nnz` stored entries."""
    return max(1, MAX_PRODUCT // max(1, nnz))


def is_depthwise(features: Sequence[int | None], weights: Sequence[int]) -> bool:
    """Whether a kernel filters each channel for itself, from the shapes of features and kernel.

    Such a kernel has the shape (order + 1, 1, channels).
    """
    return weights[1] == 1 and features[2] not in (None, 1) and features[2] == weights[2]


def is_empty(*tensors: Any) -> bool:
    """Whether any tensor is known to have no elements, which few backends can multiply."""
    return any(isinstance(size, int) and size == 0 for x in tensors for size in x.shape)
