"""The three networks that `network.py` times: their sizes, data, and ours."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepsphere.sampling import Sampling
from problems import Case


class Network(NamedTuple):
    """Sizes of a network; `share` is how many such parts make the sphere.

    `kind` is ``"classifier"``: for each of `filters` a graph convolution, batch norm, bias, ReLU
    and a max pooling, then a graph convolution to one channel per class, the mean over the pixels
    and a softmax. Or ``"unet"``: two such convolutions at each resolution, max pooling on the way
    down, a transposed convolution over the four children and a concatenation on the way up, a
    linear map per pixel at the end.
    """

    name: str
    kind: str
    nside: int
    share: int
    batch: int
    channels: int
    filters: tuple[int, ...]
    outputs: int
    terms: int
    neighbors: int

    @property
    def sampling(self) -> Sampling:
        """Where the maps are sampled."""
        return self.case(0).sampling

    def case(self, level: int) -> Case:
        """Return a graph convolution `level` resolutions down: for its graph."""
        return Case(self.nside >> level, 1, 1, 1, self.terms, self.neighbors, self.share)


NETWORKS = (
    Network("quick-start", "classifier", 64, 1, 16, 1, (5, 5, 5), 2, 10, 20),
    Network("FCN", "classifier", 256, 12, 8, 1, (16, 32, 64, 64, 64), 2, 5, 20),
    Network("U-Net", "unet", 32, 1, 4, 2, (32, 64, 128), 2, 5, 20),
)
QUICK_NETWORKS = (
    Network("quick-start", "classifier", 8, 1, 2, 1, (3, 3), 2, 4, 8),
    Network("FCN", "classifier", 16, 12, 2, 1, (4, 8), 2, 3, 20),
    Network("U-Net", "unet", 8, 1, 2, 2, (4, 8), 2, 3, 20),
)


def data(network: Network, steps: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return inputs and targets for some training steps: noise, always the same."""
    rng = np.random.default_rng(0)
    n = len(network.sampling)
    maps = steps * network.batch
    x = rng.standard_normal((maps, n, network.channels), dtype=np.float32)
    if network.kind == "classifier":
        return x, rng.integers(network.outputs, size=maps).astype(np.int32)
    return x, rng.standard_normal((maps, n, network.outputs), dtype=np.float32)


def ours(network: Network) -> Any:
    """Build the network of this package."""
    import keras

    from deepsphere.layers import ChebyshevConv, Pool
    from deepsphere.models import Sequential, UNet

    order = network.terms - 1
    if network.kind == "unet":
        model = UNet(
            network.sampling,
            network.outputs,
            filters=network.filters,
            order=order,
            graph=network.neighbors,
        )
    else:
        layers: list[Any] = []
        for filters in network.filters:
            layers += [
                ChebyshevConv(filters, order, normalization="batch", activation="relu"),
                Pool(),
            ]
        layers += [
            ChebyshevConv(network.outputs, order),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Softmax(),
        ]
        model = Sequential(network.sampling, layers, graph=network.neighbors)
    model.build((None, len(network.sampling), network.channels))
    return model
