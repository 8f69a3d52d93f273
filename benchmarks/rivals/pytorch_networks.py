"""The networks of `networks.py` with `ChebConv`, as plain PyTorch modules."""

from __future__ import annotations

import torch
from torch import nn

from networks import Network
from rivals.pytorch_geometric import ConvBlock, Graph, conv, graph, nodes_last


def build(network: Network, device: str) -> nn.Module:
    """Return the network on a device."""
    levels = len(network.filters) + (network.kind == "classifier")
    cases = [network.case(level) for level in range(levels)]
    graphs = [graph(case.sampling, case.neighbors, device) for case in cases]
    make = Classifier if network.kind == "classifier" else UNet
    return make(network, graphs).to(device)


def pool(x: torch.Tensor) -> torch.Tensor:
    """Return the maxima of the four children."""
    return nodes_last(lambda channels_first: nn.functional.max_pool1d(channels_first, 4), x)


class Classifier(nn.Module):
    """From maps to logits."""

    def __init__(self, network: Network, graphs: list[Graph]) -> None:
        super().__init__()
        widths = (network.channels, *network.filters)
        self.blocks = nn.ModuleList(
            ConvBlock(before, after, network.terms, given)
            for before, after, given in zip(widths, widths[1:], graphs, strict=False)
        )
        self.last = conv(widths[-1], network.outputs, network.terms, bias=True)
        self.graph = graphs[-1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify."""
        for block in self.blocks:
            x = pool(block(x))
        given = self.graph
        x = self.last(x, given.edge_index, given.edge_weight, None, given.lambda_max)
        return x.mean(dim=1)


class UNet(nn.Module):
    """From maps to maps."""

    def __init__(self, network: Network, graphs: list[Graph]) -> None:
        super().__init__()
        filters, terms = network.filters, network.terms

        def pair(before: int, level: int) -> nn.Sequential:
            after = filters[level]
            return nn.Sequential(
                ConvBlock(before, after, terms, graphs[level]),
                ConvBlock(after, after, terms, graphs[level]),
            )

        befores = (network.channels, *filters[:-1])
        up = range(len(filters) - 2, -1, -1)
        self.down = nn.ModuleList(pair(before, i) for i, before in enumerate(befores))
        self.unpool = nn.ModuleList(
            nn.ConvTranspose1d(filters[i + 1], filters[i], 4, stride=4) for i in up
        )
        self.up = nn.ModuleList(pair(2 * filters[i], i) for i in up)
        self.last = nn.Linear(filters[0], network.outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Go down and come up again."""
        x, kept = self.down[0](x), []
        for block in self.down[1:]:
            kept.append(x)
            x = block(pool(x))
        for unpool, block in zip(self.unpool, self.up, strict=True):
            x = block(torch.cat([nodes_last(unpool, x), kept.pop()], dim=-1))
        return self.last(x)
