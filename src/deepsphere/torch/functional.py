"""The operations that the modules share: checks, then the compiled or the portable form."""

from __future__ import annotations

import torch
from torch import Tensor

from deepsphere.ops.compiled import torch as compiled
from deepsphere.ops.operator import SparseOperator
from deepsphere.ops.portable import torch as portable
from deepsphere.sampling import Sampling


def check_features(x: Tensor, sampling: Sampling, points: int, channels: int | None = None) -> None:
    """Raise if a tensor does not hold features on a sampling.

    Parameters
    ----------
    x : Tensor, shape (batch, len(sampling), channels)
        What a module was called on.
    sampling : Sampling
        Where its input is sampled.
    points : int
        ``len(sampling)``, which PyTorch's compiler cannot trace on every sampling.
    channels : int, optional
        Number of input channels. Default: any.

    Raises
    ------
    TypeError
        If `x` is not a tensor of real floating-point numbers.
    ValueError
        If its shape is another one.
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


def chebyshev_filter(
    x: Tensor,
    kernel: Tensor,
    operator: SparseOperator,
    bias: Tensor | None = None,
    activation: str = "linear",
) -> Tensor:
    """Filter, add a bias and activate; see `deepsphere.ops.chebyshev_filter`."""
    if not x.numel() or not kernel.numel():
        y = x @ kernel[0].to(x.dtype)
    elif compiled.available(x, kernel, bias):
        return compiled.chebyshev_filter(x, kernel, operator, bias, activation)
    else:
        y = portable.chebyshev_filter(x, kernel.to(x.dtype), operator)
    if bias is not None:
        y = y + bias.to(y.dtype)
    return torch.relu(y) if activation == "relu" else y


def normalized_filter(
    x: Tensor,
    kernel: Tensor,
    operator: SparseOperator,
    bias: Tensor | None,
    epsilon: float,
    activation: str = "linear",
) -> tuple[Tensor, Tensor, Tensor]:
    """Filter, normalize over a batch, add a bias, activate; return mean and variance, too."""
    if x.numel() and compiled.available(x, kernel, bias):
        return compiled.normalized_filter(x, kernel, operator, bias, epsilon, activation)
    y = chebyshev_filter(x, kernel, operator)
    wide = y if y.dtype == torch.float64 else y.float()
    variance, mean = torch.var_mean(wide, dim=(0, 1), correction=0)
    y = ((wide - mean) * torch.rsqrt(variance + epsilon)).to(y.dtype)
    if bias is not None:
        y = y + bias.to(y.dtype)
    return torch.relu(y) if activation == "relu" else y, mean.detach(), variance.detach()


def apply_map(x: Tensor, operator: SparseOperator, rows: int) -> Tensor:
    """Apply a sparse map that was made square by rows or columns of zeros; return `rows` rows."""
    n = x.shape[1]
    if len(operator) > n:
        x = torch.nn.functional.pad(x, (0, 0, 0, len(operator) - n))
    if x.numel() and compiled.available(x, x):
        y = compiled.sparse_product(x, operator, 1)
    else:
        y = portable.sparse_product(x, operator, 1) if x.numel() else x
    return y[:, :rows]


def pool(x: Tensor, children: int, mode: str) -> Tensor:
    """Pool children that lie side by side; see `deepsphere.ops.pool`."""
    if x.numel() and compiled.available(x, x):
        return compiled.pool(x, children, mode)
    y = x.unflatten(1, (-1, children))
    if not x.numel():
        return y[:, :, 0]
    return y.amax(2) if mode == "max" else y.mean(2)
