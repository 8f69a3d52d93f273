"""Modules that change the sampling of features."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsphere._checks import check_count
from deepsphere.graph import Graph, GraphLike, resolve_graph
from deepsphere.graph.low_pass import apply_series, cutoff_degree, low_pass
from deepsphere.ops.matrices import squared
from deepsphere.ops.operator import SparseOperator, laplacian_operator
from deepsphere.sampling import Sampling
from deepsphere.sampling.base import check_sampling
from deepsphere.sampling.resampling import (
    METHODS,
    POOL_MODES,
    interpolation_matrix,
    padded,
    pooling_matrix,
    unpooling_matrix,
)
from deepsphere.torch.base import OnGraph
from deepsphere.torch.functional import apply_map, check_features, operations


class Pool(OnGraph):
    """Pool the points that share a coarser point.

    Input shape ``(batch, pixels, channels)``, output shape ``(batch, len(output_sampling),
    channels)``: on HEALPix a quarter of the pixels for each level.

    Parameters
    ----------
    levels : int, default 1
        Number of resolution levels to go down; on HEALPix, `nside` is divided by ``2**levels``.
    mode : {"max", "mean", "area"}, default "max"
        Maximum, mean, or mean weighted by area, see `deepsphere.layers.Pool`.
    sampling : Sampling
        Sampling of the input.

    Raises
    ------
    TypeError
        If `levels` is not an integer or `sampling` is not a `Sampling`.
    ValueError
        If `levels` is less than 1, `mode` is unknown, or the sampling has no resolution coarser by
        `levels`.

    Examples
    --------
    >>> import torch
    >>> from deepsphere.sampling import Healpix
    >>> tuple(Pool(sampling=Healpix(4))(torch.zeros(2, 192, 5)).shape)
    (2, 48, 5)
    """

    members: Tensor | None

    def __init__(self, levels: int = 1, mode: str = "max", *, sampling: Sampling) -> None:
        super().__init__()
        self.levels = check_count(levels, "levels")
        if mode not in POOL_MODES:
            raise ValueError(f"mode must be one of {', '.join(POOL_MODES)}; got {mode!r}")
        self.mode = mode
        self.sampling = check_sampling(sampling)
        self.output_sampling = sampling.coarsen(self.levels)
        self._points, self._output_points = len(sampling), len(self.output_sampling)
        self._siblings = None
        self.operator: SparseOperator | None = None
        self._members: NDArray[np.int32] | None = None
        if sampling.branching and (mode != "area" or np.ptp(sampling.areas) == 0):
            self._siblings = sampling.branching**self.levels
        elif mode == "max":
            self._members = padded(sampling.membership(self.levels))[0]
        else:
            weighted = mode == "area"
            matrix = pooling_matrix(sampling, self.levels, weighted=weighted)
            self.operator = SparseOperator(squared(matrix))
        self._prepare(torch.empty(0))

    def _prepare(self, like: Tensor) -> None:
        super()._prepare(like)
        members = None
        if self._members is not None:
            members = torch.tensor(self._members, dtype=torch.int64, device=self._like.device)
        self.register_buffer("members", members, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Take the maximum or mean of each coarse cell."""
        check_features(x, self.sampling, self._points)
        if self._siblings is not None:
            return operations.pool(x, self._siblings, "max" if self.mode == "max" else "mean")
        if self.operator is not None:
            return apply_map(x, self.operator, self._output_points)
        assert self.members is not None
        y = x.index_select(1, self.members[0])
        for others in self.members[1:]:
            y = torch.maximum(y, x.index_select(1, others))
        return y

    def extra_repr(self) -> str:
        """Return the arguments, for `repr`."""
        return f"{self.levels}, {self.mode!r}, sampling={self.sampling!r}"


class SmoothPool(Pool):
    """Remove the scales that the coarser points cannot resolve, then pool.

    More equivariant to rotations than `Pool`; see `deepsphere.layers.SmoothPool`.

    Parameters
    ----------
    levels, mode, sampling
        As for `Pool`.
    cutoff : float, default 1
        Spherical-harmonic degree that the filter halves, in units of nside of the coarser sampling,
        or of ``sqrt(pi / 3 / area)`` of its points; above 0, at most 3.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`. Default: `deepsphere.Graph()`, which adapts
        to the sampling.

    Raises
    ------
    TypeError, ValueError
        Under the conditions listed at `Pool`; ValueError also if `cutoff` is not in (0, 3].
    """

    def __init__(
        self,
        levels: int = 1,
        mode: str = "max",
        *,
        sampling: Sampling,
        cutoff: float = 1.0,
        graph: GraphLike | None = None,
    ) -> None:
        super().__init__(levels, mode, sampling=sampling)
        if not 0 < cutoff <= 3:
            raise ValueError(f"cutoff must be in (0, 3], in units of nside, got {cutoff}")
        self.graph_spec: Graph = resolve_graph(sampling, graph)
        degree = cutoff_degree(cutoff, self.output_sampling)
        self.low_pass = _LowPass(sampling, self.graph_spec, degree)

    def forward(self, x: Tensor) -> Tensor:
        """Filter each channel, and pool."""
        check_features(x, self.sampling, self._points)
        return super().forward(self.low_pass(x))


class _LowPass(OnGraph):
    """The filter of `SmoothPool`, which halves a spherical-harmonic degree."""

    coefficients: Tensor
    factor: Tensor

    def __init__(self, sampling: Sampling, graph: Graph, degree: int) -> None:
        super().__init__()
        self.operator = laplacian_operator(sampling, graph, 0.75)
        matrix = self.operator.matrix
        coefficients = low_pass(matrix, sampling, degree)
        factor = 1 / apply_series(matrix, np.ones((len(sampling), 1)), coefficients)
        self._exact = {"coefficients": coefficients, "factor": factor}
        self._prepare(torch.empty(0))

    def _prepare(self, like: Tensor) -> None:
        super()._prepare(like)
        # Convert from double precision each time, because a module may change to half precision and
        # back.
        dtype = torch.promote_types(self._like.dtype, torch.float32)
        for name, values in self._exact.items():
            tensor = torch.tensor(values, dtype=dtype, device=self._like.device)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        alike = self.coefficients.to(wide.dtype)[:, None, None].expand(-1, 1, x.shape[2])
        y = operations.chebyshev_filter(wide, alike, self.operator, None, "linear")
        return (y * self.factor.to(wide.dtype)).to(x.dtype)


class Unpool(OnGraph):
    """Copy features to a finer sampling: each point takes those of its coarser point.

    Input shape ``(batch, pixels, channels)``, output shape
    ``(batch, len(output_sampling), channels)``. A point that belongs to several coarser points
    takes their mean, weighted by its shares.

    Parameters
    ----------
    levels : int, default 1
        Number of resolution levels to go up.
    sampling : Sampling
        Sampling of the input.
    finer : Sampling, optional
        Sampling of the output. Default: ``sampling.refine(levels)``.

    Raises
    ------
    TypeError
        If `levels` is not an integer or `sampling` is not a `Sampling`.
    ValueError
        If `levels` is less than 1, or ``finer.coarsen(levels)`` differs from `sampling`.
    """

    def __init__(
        self, levels: int = 1, *, sampling: Sampling, finer: Sampling | None = None
    ) -> None:
        super().__init__()
        self.levels = check_count(levels, "levels")
        self.sampling = check_sampling(sampling)
        fine = sampling.refine(self.levels) if finer is None else check_sampling(finer, "finer")
        if fine.coarsen(self.levels) != sampling:
            raise ValueError(
                f"{fine!r} coarsened by {self.levels} is {fine.coarsen(self.levels)!r}, "
                f"but the input is on {sampling!r}"
            )
        self.output_sampling = fine
        self._points, self._output_points = len(sampling), len(fine)
        self._siblings = fine.branching**self.levels if fine.branching else 1
        self.operator: SparseOperator | None = None
        if not fine.branching:
            self.operator = SparseOperator(squared(unpooling_matrix(fine, self.levels)))
        self._prepare(torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        """Repeat the features, or take weighted means."""
        check_features(x, self.sampling, self._points)
        if self.operator is not None:
            return apply_map(x, self.operator, self._output_points)
        return x.repeat_interleave(self._siblings, dim=1)

    def extra_repr(self) -> str:
        """Return the arguments, for `repr`."""
        return f"{self.levels}, sampling={self.sampling!r}"


class PatchConvTranspose(nn.Module):
    """Learned up-sampling by one level: a linear map from each pixel to the pixels of its patch.

    Input shape ``(batch, pixels, in_channels)``, output shape
    ``(batch, pixels * children, out_channels)``; the points must be in the order of their
    hierarchy, as on HEALPix.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of input and output channels.
    sampling : Sampling
        Sampling of the input.

    Attributes
    ----------
    weight : Parameter, shape (children, out_channels, in_channels)
        The map, in the layout of `deepsphere.layers.PatchConvTranspose`.
    bias : Parameter, shape (out_channels,)
        Added to every pixel.

    Raises
    ------
    TypeError
        If `in_channels` or `out_channels` is not an integer, or `sampling` is not a `Sampling`.
    ValueError
        If the points are not in the order of their hierarchy.
    """

    def __init__(self, in_channels: int, out_channels: int, *, sampling: Sampling) -> None:
        super().__init__()
        self.in_channels = check_count(in_channels, "in_channels")
        self.out_channels = check_count(out_channels, "out_channels")
        self.sampling = check_sampling(sampling)
        if not sampling.branching:
            raise ValueError(
                "patches need points in the order of their hierarchy, as on HEALPix, but those of "
                f"{sampling!r} are in another order; use Unpool instead"
            )
        self.output_sampling = sampling.refine(1)
        self._points = len(sampling)
        self.weight = nn.Parameter(torch.empty(sampling.branching, out_channels, in_channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight as Keras does (Glorot uniform); set the bias to 0."""
        children, filters, channels = self.weight.shape
        bound = (6 / (children * (filters + channels))) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map each pixel to its patch, and add the bias."""
        check_features(x, self.sampling, self._points, self.in_channels)
        children, filters, _ = self.weight.shape
        y = x @ self.weight.flatten(0, 1).to(x.dtype).T
        return y.reshape(x.shape[0], x.shape[1] * children, filters) + self.bias.to(x.dtype)


class Resample(OnGraph):
    """Interpolate features from one sampling to any other.

    Input shape ``(batch, pixels, channels)``, output shape ``(batch, len(target), channels)``.

    Parameters
    ----------
    target : Sampling
        Sampling of the output.
    method : {"conservative", "bilinear", "inverse_distance", "nearest"}, default "conservative"
        How to interpolate, see `deepsphere.sampling.resampling.interpolation_matrix`.
    sampling : Sampling
        Sampling of the input.
    neighbors : int, default 4
        Number of points that ``"inverse_distance"`` uses.

    Raises
    ------
    TypeError
        If `target` or `sampling` is not a `Sampling`.
    ValueError
        If `method` is unknown, or the input's sampling does not cover some points of the target.
    """

    def __init__(
        self,
        target: Sampling,
        method: str = "conservative",
        *,
        sampling: Sampling,
        neighbors: int = 4,
    ) -> None:
        super().__init__()
        self.output_sampling = check_sampling(target, "target")
        self.sampling = check_sampling(sampling)
        self._points, self._output_points = len(sampling), len(target)
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
        self.method = method
        matrix = interpolation_matrix(sampling, target, method, neighbors)
        self.operator = SparseOperator(squared(matrix))
        self._prepare(torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        """Interpolate."""
        check_features(x, self.sampling, self._points)
        return apply_map(x, self.operator, self._output_points)

    def extra_repr(self) -> str:
        """Return the arguments, for `repr`."""
        return f"{self.output_sampling!r}, {self.method!r}, sampling={self.sampling!r}"
