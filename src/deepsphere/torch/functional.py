"""The operations that the modules share, and the check of their input."""

from __future__ import annotations

import torch
from torch import Tensor

from deepsphere.ops.dispatch import operations_of
from deepsphere.ops.operator import SparseOperator
from deepsphere.sampling import Sampling

operations = operations_of("torch")


def check_features(x: Tensor, sampling: Sampling, points: int, channels: int | None = None) -> None:
    """Raise if a tensor does not hold features on a sampling.

    Parameters
    ----------
    x : Tensor, shape (batch, len(sampling), channels)
        Input of a module.
    sampling : Sampling
        Sampling of the input.
    points : int
        ``len(sampling)``, which PyTorch's compiler cannot trace on every sampling.
    channels : int, optional
        Number of input channels. Default: any.

    Raises
    ------
    TypeError
        If `x` is not a tensor of real floating-point numbers.
    ValueError
        If `x` does not have shape ``(batch, len(sampling), channels)``.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"the input must be a torch.Tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"the input must be floating-point, got {x.dtype}; use x.float()")
    if x.dim() != 3 or x.shape[1] != points or (channels is not None and x.shape[2] != channels):
        last = "channels" if channels is None else channels
        raise ValueError(
            f"the input must have shape (batch, pixels, channels) = (batch, {points}, {last}) on "
            f"{sampling!r}, got {tuple(x.shape)}"
        )


def apply_map(x: Tensor, operator: SparseOperator, rows: int) -> Tensor:
    """Apply a sparse map that was made square by rows or columns of zeros; return `rows` rows."""
    n = x.shape[1]
    if len(operator) > n:
        x = torch.nn.functional.pad(x, (0, 0, 0, len(operator) - n))
    return operations.sparse_product(x, operator, 1)[:, :rows]
