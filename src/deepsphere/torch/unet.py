"""U-Net: one output per pixel, at the resolution of the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deepsphere._checks import check_count
from deepsphere.graph import GraphLike
from deepsphere.ops.portable.torch import activate
from deepsphere.sampling import Sampling
from deepsphere.sampling.base import check_sampling
from deepsphere.sampling.resampling import POOL_MODES
from deepsphere.torch.filters import (
    Activation,
    ChebyshevConv,
    check_activation,
)
from deepsphere.torch.resolution import PatchConvTranspose, Pool, SmoothPool, Unpool

POOLINGS = (*POOL_MODES, *(f"smooth_{mode}" for mode in POOL_MODES))
SKIPS = ("concatenate", "add")
UNPOOLINGS = ("patch", "repeat")


class UNet(nn.Module):
    """U-Net on the sphere, as `deepsphere.models.UNet` with plain blocks.

    The encoder applies two graph convolutions and a pooling at each resolution. The decoder goes
    back up and combines its features with the encoder's at each resolution. Input shape
    ``(batch, pixels, in_channels)``, output shape ``(batch, pixels, out_channels)``: **channels
    come last**.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of input and output channels.
    sampling : Sampling
        Sampling of input and output. It needs ``len(filters) - 1`` coarser levels.
    filters : sequence of int, default (64, 128, 256, 512)
        Number of channels at each resolution, from fine to coarse.
    order : int, default 4
        Degree of the polynomials of the graph convolutions.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`. Default: `deepsphere.Graph()`, which adapts
        to the sampling.
    normalization : {"batch", None}, default "batch"
        Normalization in the convolutions.
    activation : str or callable, default "relu"
        Activation of the convolutions.
    pooling : str, default "max"
        ``"max"``, ``"mean"`` or ``"area"``, with the prefix ``"smooth_"`` for `SmoothPool`.
    unpooling : {"patch", "repeat"}, optional
        ``"patch"``: `PatchConvTranspose`. ``"repeat"``: a linear map of the channels, then
        `Unpool`. Default: ``"patch"`` where the points are in the order of their hierarchy, as on
        HEALPix, otherwise ``"repeat"``.
    skip : {"concatenate", "add"}, default "concatenate"
        How the decoder combines its features with the encoder's.
    output_activation : str or callable, optional
        Activation of the output. Default: none.

    Raises
    ------
    TypeError
        If `in_channels`, `out_channels`, `order` or an entry of `filters` is not an integer, or
        `sampling` is not a `Sampling`.
    ValueError
        If `filters` is empty, `graph`, `normalization`, `activation`, `pooling`, `unpooling` or
        `skip` is an unknown name, or the sampling has too few coarser levels.

    Examples
    --------
    >>> import torch
    >>> from deepsphere.sampling import Healpix
    >>> model = UNet(2, 1, sampling=Healpix(4), filters=(4, 8))
    >>> tuple(model(torch.zeros(3, 192, 2)).shape)
    (3, 192, 1)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        sampling: Sampling,
        filters: Sequence[int] = (64, 128, 256, 512),
        order: int = 4,
        graph: GraphLike | None = None,
        normalization: str | None = "batch",
        activation: Activation = "relu",
        pooling: str = "max",
        unpooling: str | None = None,
        skip: str = "concatenate",
        output_activation: Activation = None,
    ) -> None:
        super().__init__()
        self.sampling = self.output_sampling = check_sampling(sampling)
        widths = [check_count(width, "each of filters") for width in filters]
        if not widths:
            raise ValueError("filters must not be empty")
        if unpooling is None:
            unpooling = "patch" if sampling.branching else "repeat"
        for name, value, choices in (
            ("pooling", pooling, POOLINGS),
            ("unpooling", unpooling, UNPOOLINGS),
            ("skip", skip, SKIPS),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
        self.skip = skip
        self.output_activation = check_activation(output_activation)
        samplings = [sampling]
        for _ in widths[1:]:
            samplings.append(samplings[-1].coarsen())

        def block(channels: int, width: int, where: Sampling) -> nn.Sequential:
            options: dict[str, Any] = {
                "sampling": where,
                "graph": graph,
                "normalization": normalization,
                "activation": activation,
            }
            return nn.Sequential(
                ChebyshevConv(channels, width, order, **options),
                ChebyshevConv(width, width, order, **options),
            )

        def pool(where: Sampling) -> Pool:
            if pooling.startswith("smooth_"):
                return SmoothPool(1, pooling.removeprefix("smooth_"), sampling=where, graph=graph)
            return Pool(1, pooling, sampling=where)

        def unpool(channels: int, width: int, level: int) -> nn.Module:
            coarse, fine = samplings[level + 1], samplings[level]
            if unpooling == "patch":
                return PatchConvTranspose(channels, width, sampling=coarse)
            return nn.Sequential(nn.Linear(channels, width), Unpool(1, sampling=coarse, finer=fine))

        before = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(map(block, before, widths, samplings))
        self.pools = nn.ModuleList(map(pool, samplings[:-1]))
        levels = range(len(widths) - 2, -1, -1)
        self.unpools = nn.ModuleList(
            unpool(widths[level + 1], widths[level], level) for level in levels
        )
        factor = 2 if skip == "concatenate" else 1
        self.up = nn.ModuleList(
            block(factor * widths[level], widths[level], samplings[level]) for level in levels
        )
        self.last = nn.Linear(widths[0], check_count(out_channels, "out_channels"))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the encoder, keep the features of each resolution, and apply the decoder."""
        x = self.down[0](x)
        kept = []
        for pool, down in zip(self.pools, self.down[1:], strict=True):
            kept.append(x)
            x = down(pool(x))
        for unpool, up in zip(self.unpools, self.up, strict=True):
            x, before = unpool(x), kept.pop()
            x = up(x + before if self.skip == "add" else torch.cat([x, before], dim=-1))
        y = self.last(x)
        if isinstance(self.output_activation, str):
            return activate(y, self.output_activation)
        return self.output_activation(y)
