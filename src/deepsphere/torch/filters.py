"""Graph convolution and its batch normalization."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor, nn

from deepsphere._checks import check_count
from deepsphere.graph import Graph, GraphLike, resolve_graph
from deepsphere.ops.compiled.options import ACTIVATIONS
from deepsphere.ops.moving_averages import weight_of_batch
from deepsphere.ops.operator import SparseOperator, laplacian_operator
from deepsphere.sampling import Sampling
from deepsphere.sampling.base import check_sampling
from deepsphere.torch.base import OnGraph
from deepsphere.torch.functional import check_features, operations

NORMALIZATIONS = (None, "batch")

Activation = str | Callable[[Tensor], Tensor] | None


class BatchNorm(nn.Module):
    """Batch normalization over batch and pixels, without factor and offset.

    In training mode it normalizes by the statistics of the batch and updates the running averages;
    in evaluation mode it uses these. Step ``t`` moves the averages by
    ``max(momentum, 50 / (t + 49))``. The first step thus replaces them, which makes evaluation
    accurate from the start; see `deepsphere.layers.BatchNormalization`.

    Parameters
    ----------
    channels : int
        Number of channels.
    eps : float, default 1e-5
        Added to the variance.
    momentum : float, default 0.1
        Fraction by which a step moves the running averages in long trainings.

    Attributes
    ----------
    running_mean, running_var : Tensor, shape (channels,)
        The running averages.
    num_batches_tracked : Tensor, shape ()
        Number of steps in the averages.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.channels, self.eps, self.momentum = channels, eps, momentum
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def reset_parameters(self) -> None:
        """Reset the running averages."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()

    def update(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running averages towards a batch's mean and variance, of shape (channels,)."""
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            part = weight_of_batch(self.num_batches_tracked.to(self.running_mean.dtype))
            part = part.clamp(min=self.momentum)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), part)
            self.running_var.lerp_(variance.to(self.running_var.dtype), part)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize features of shape (batch, pixels, channels)."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.training and x.shape[0]:
            variance, mean = torch.var_mean(wide, dim=(0, 1), correction=0)
            self.update(mean.detach(), variance.detach())
        else:
            mean, variance = self.running_mean.to(wide.dtype), self.running_var.to(wide.dtype)
        return ((wide - mean) * torch.rsqrt(variance + self.eps)).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the arguments, for `repr`."""
        return f"{self.channels}, eps={self.eps}, momentum={self.momentum}"


class ChebyshevConv(OnGraph):
    """Graph convolution: ``y = activation(norm(sum_k T_k(L~) x W_k) + bias)``.

    ``L~`` is the Laplacian of the sampling's graph with its spectrum mapped into [-0.75, 0.75], and
    ``T_k`` are Chebyshev polynomials. Input shape ``(batch, pixels, in_channels)``, output shape
    ``(batch, pixels, out_channels)``: **channels come last**.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of input and output channels.
    order : int, default 4
        Degree of the polynomials: ``order + 1`` terms. The output at a pixel depends on pixels up
        to `order` edges away.
    sampling : Sampling
        Sampling of the input, for instance ``Healpix(64)``.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: `deepsphere.Graph()`, which adapts to the sampling.
    normalization : {None, "batch"}, optional
        ``"batch"``: a `BatchNorm` before bias and activation, computed together with the filter.
    activation : str or callable, optional
        ``"relu"``, ``"elu"``, ``"selu"``, ``"leaky_relu"``, ``"tanh"``, ``"sigmoid"``,
        ``"softplus"``, ``"silu"`` or ``"gelu"``, computed together with the filter, or a function
        of a tensor such as ``torch.nn.functional.mish``. The names mean the same as in Keras:
        ``"leaky_relu"`` has the slope 0.2. Default: none.
    depthwise : bool, default False
        Whether to filter each channel by itself, without mixing channels. `out_channels` must equal
        `in_channels`.
    bias : bool, default True
        Whether to add a bias to each output channel.
    scale : float, default 0.75
        Fraction of the interval [-1, 1] that the spectrum fills, as in
        `deepsphere.layers.ChebyshevConv`.

    Attributes
    ----------
    weight : Parameter, shape (order + 1, in_channels, out_channels)
        Chebyshev coefficients; ``(order + 1, 1, out_channels)`` if `depthwise`.
    bias : Parameter, shape (out_channels,), or None
        The bias.
    norm : BatchNorm or None
        The batch normalization.

    Raises
    ------
    TypeError
        If `in_channels`, `out_channels` or `order` is not an integer, `sampling` is not a
        `Sampling`, `graph` is not a `Graph`, an integer or a string, or `activation` is not a
        function.
    ValueError
        If `in_channels` or `out_channels` is less than 1, `order` is negative, `normalization`,
        `activation` or `graph` is an unknown name, `depthwise` is True and `out_channels` differs
        from `in_channels`, or `scale` is not in (0, 1]. When called: if the input does not have
        shape ``(batch, len(sampling), in_channels)``.

    Examples
    --------
    >>> import torch
    >>> from deepsphere.sampling import Healpix
    >>> conv = ChebyshevConv(3, 8, sampling=Healpix(4), activation="relu")
    >>> tuple(conv(torch.zeros(2, 192, 3)).shape)
    (2, 192, 8)
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        order: int = 4,
        *,
        sampling: Sampling,
        graph: GraphLike | None = None,
        normalization: str | None = None,
        activation: Activation = None,
        depthwise: bool = False,
        bias: bool = True,
        scale: float = 0.75,
    ) -> None:
        super().__init__()
        self.in_channels = check_count(in_channels, "in_channels")
        self.out_channels = check_count(out_channels, "out_channels")
        self.order = check_count(order, "order", least=0)
        self.sampling = check_sampling(sampling)
        self._points = len(sampling)
        self.graph_spec: Graph = resolve_graph(sampling, graph)
        if normalization not in NORMALIZATIONS:
            raise ValueError(f"normalization must be None or 'batch', got {normalization!r}")
        self.activation = check_activation(activation)
        if not 0 < scale <= 1:
            raise ValueError(f"scale must be in (0, 1], got {scale}")
        self.scale = float(scale)
        self.depthwise = bool(depthwise)
        if self.depthwise and in_channels != out_channels:
            raise ValueError(
                f"out_channels must equal in_channels = {in_channels} if depthwise=True, "
                f"got {out_channels}"
            )
        rows = 1 if self.depthwise else in_channels
        self.weight = nn.Parameter(torch.empty(self.order + 1, rows, out_channels))
        self.register_parameter("bias", nn.Parameter(torch.empty(out_channels)) if bias else None)
        self.norm = BatchNorm(out_channels) if normalization == "batch" else None
        self.operator: SparseOperator = laplacian_operator(sampling, self.graph_spec, self.scale)
        self._prepare(torch.empty(0))
        self.reset_parameters()

    @property
    def output_sampling(self) -> Sampling:
        """Sampling of the output, the same as that of the input."""
        return self.sampling

    def reset_parameters(self) -> None:
        """Draw the weight such that the variance is preserved, and set the bias to 0."""
        deviation = 1 / sqrt(self.weight.shape[1] * (self.order + 1.5) / 2)
        nn.init.trunc_normal_(self.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Filter, normalize, add the bias, activate."""
        check_features(x, self.sampling, self._points, self.in_channels)
        included = self.activation if isinstance(self.activation, str) else "linear"
        weight, bias = self.weight, self.bias
        if self.norm is None:
            y = operations.chebyshev_filter(x, weight, self.operator, bias, included)
        elif self.norm.training and x.shape[0]:  # the norm may be frozen separately
            y, mean, variance = operations.normalized_filter(
                x, weight, self.operator, bias, self.norm.eps, included
            )
            self.norm.update(mean, variance)
        else:  # folds the running averages into weight and bias
            dtype = torch.promote_types(weight.dtype, torch.float32)
            factor = torch.rsqrt(self.norm.running_var.to(dtype) + self.norm.eps)
            shift = -self.norm.running_mean.to(dtype) * factor
            shift = shift if bias is None else shift + bias.to(dtype)
            kernel = weight.to(dtype) * factor
            y = operations.chebyshev_filter(x, kernel, self.operator, shift, included)
        return y if isinstance(self.activation, str) else self.activation(y)

    def extra_repr(self) -> str:
        """Return the arguments, for `repr`."""
        return (
            f"{self.in_channels}, {self.out_channels}, order={self.order}, "
            f"sampling={self.sampling!r}, graph={self.graph_spec!r}"
            + (", depthwise=True" if self.depthwise else "")
        )


def check_activation(activation: Activation) -> str | Callable[[Tensor], Tensor]:
    """Return an activation: one of `deepsphere.ops.ACTIVATIONS`, or a function."""
    if activation is None:
        return "linear"
    names = ", ".join(ACTIVATIONS)
    expected = f"activation must be None, one of {names}, or a function of a tensor"
    if isinstance(activation, type) or not (callable(activation) or isinstance(activation, str)):
        raise TypeError(f"{expected}; got {activation!r}")
    if isinstance(activation, str) and activation not in ACTIVATIONS:
        raise ValueError(f"{expected}; got {activation!r}")
    return activation
