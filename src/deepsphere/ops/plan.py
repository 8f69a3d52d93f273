"""Choice of the cheapest form of a filter and its gradients, from sizes alone, for all backends.

With ``T_k`` a Chebyshev polynomial, ``y = sum_k T_k(A) x W_k`` can be summed over the basis
``T_k(A) x``, whose products with ``A`` have as many columns as `x` has channels, or by Clenshaw's
recurrence, whose products have as many columns as `y` has channels. For the gradients
``dx = sum_k T_k(A^T) g W_k^T`` and ``dW_k = (T_k(A) x)^T g = x^T T_k(A^T) g``, one basis of `g`
serves both; if `x` is much narrower than `g`, two narrow recurrences on `x` are cheaper. No form
stores the basis, so memory does not grow with the order.
"""

from __future__ import annotations

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


def channels_together(channels: int) -> int:
    """Return how many channels to filter at once if all of them are filtered alike.

    The kernel is then a multiple of the identity, and the cost grows with the square of the
    channels. The others are filtered as further samples, so that the number divides `channels`. At
    most 16 channels are filtered at once, one vector of the processor.
    """
    return max(c for c in range(1, 17) if channels % c == 0)


def is_empty(*tensors: Any) -> bool:
    """Whether any tensor is known to have no elements, which few backends can multiply."""
    return any(isinstance(size, int) and size == 0 for x in tensors for size in x.shape)
