"""`torch_geometric.nn.ChebConv`, the graph convolution of PyTorch Geometric.

It takes the weights of the edges and computes the Laplacian from them, in every call. With the
degrees of our graph it gets our Laplacian: ``2 / lambda_max L - I`` with ``lambda_max`` the
bound divided by our scale, so that it gives our numbers. A batch of maps is a dimension before that
of the nodes, which its base class supports and which needs one copy of the graph only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch_geometric.nn import ChebConv

from deepsphere import graph as graphs
from deepsphere.graph import gaussian_weights, rescaled_laplacian
from deepsphere.sampling import Sampling
from problems import LAPLACIAN, SCALE


class Graph(NamedTuple):
    """The arguments of `ChebConv` other than the features."""

    edge_index: torch.Tensor
    edge_weight: torch.Tensor
    lambda_max: torch.Tensor


def graph(sampling: Sampling, neighbors: int, device: str) -> Graph:
    """Return the graph of a sampling, edges in the order of the rows they go to.

    The eigenvalue is read off the diagonal of the rescaled Laplacian ``2 / lambda_max L - I``, as
    the diagonal of ``L`` is 1.
    """
    weights = gaussian_weights(sampling, neighbors).tocoo()
    which = graphs.Graph(neighbors, laplacian=LAPLACIAN)
    diagonal = rescaled_laplacian(sampling, which, SCALE).diagonal()
    index = np.stack([weights.col, weights.row]).astype(np.int64)
    return Graph(
        torch.from_numpy(index).to(device),
        torch.from_numpy(weights.data.astype(np.float32)).to(device),
        torch.tensor(2 / (1 + float(diagonal.mean())), device=device),
    )


def conv(channels: int, filters: int, terms: int, bias: bool) -> ChebConv:
    """Return the layer with its default initial weights."""
    return ChebConv(channels, filters, terms, normalization="sym", bias=bias)


class ConvBlock(nn.Module):
    """Convolve, normalize, activate: `(batch, n, channels)` to `(batch, n, filters)`."""

    def __init__(self, channels: int, filters: int, terms: int, given: Graph) -> None:
        super().__init__()
        self.conv = conv(channels, filters, terms, bias=False)
        self.norm = nn.BatchNorm1d(filters)
        self.graph = given

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        x = self.conv(x, self.graph.edge_index, self.graph.edge_weight, None, self.graph.lambda_max)
        return torch.relu(self.norm(x.flatten(0, 1))).unflatten(0, x.shape[:2])


def nodes_last(function: Any, x: torch.Tensor) -> torch.Tensor:
    """Apply one of PyTorch's one-dimensional layers, which want the channels first."""
    return function(x.transpose(1, 2)).transpose(1, 2)
