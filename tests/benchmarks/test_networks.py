"""With our weights, the rivals' networks make the same predictions as ours."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from deepsphere.layers import ChebyshevConv

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from networks import QUICK_NETWORKS, data, ours

# Sums of some hundred terms in single precision, in another order.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}

pytestmark = pytest.mark.parametrize("network", QUICK_NETWORKS, ids=lambda network: network.name)


def randomised(network):
    model, rng = ours(network), np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(scale=0.3, size=variable.shape))
    return model


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs TensorFlow")
def test_textbook(network):
    from rivals.tensorflow_networks import build

    model, rival = randomised(network), build(network)
    for mine, theirs in zip(model.trainable_variables, rival.trainable_variables, strict=True):
        theirs.assign(mine)
    x, _ = data(network, steps=1)
    np.testing.assert_allclose(rival(x), model(x), **TOLERANCE)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="needs PyTorch")
def test_chebconv(network):
    torch = pytest.importorskip("torch")
    chebconv = pytest.importorskip("torch_geometric.nn").ChebConv
    from rivals.pytorch_networks import build

    model, rival = randomised(network), build(network, "cpu").eval()
    x, _ = data(network, steps=1)

    if network.kind == "unet":
        blocks = [*model.down_blocks, *model.up_blocks]
        convs = [conv for block in blocks for conv in (block.conv1, block.conv2)]
    else:
        convs = [layer for layer in model.layers if isinstance(layer, ChebyshevConv)]

    def modules(kind):
        return [module for module in rival.modules() if isinstance(module, kind)]

    biases = [norm.bias for norm in modules(torch.nn.BatchNorm1d)]
    with torch.no_grad():
        for mine, theirs in zip(convs, modules(chebconv), strict=True):
            kernel = mine.kernel.value.reshape(theirs.in_channels, -1, theirs.out_channels)
            for k, linear in enumerate(theirs.lins):
                linear.weight.copy_(kernel[:, k].T)
            bias = biases.pop(0) if theirs.bias is None else theirs.bias
            bias.copy_(mine.bias.value)
        if network.kind == "unet":
            for mine, theirs in zip(model.unpools, rival.unpool, strict=True):
                theirs.weight.copy_(mine.kernel.value.permute(2, 1, 0))
                theirs.bias.copy_(mine.bias.value)
            rival.last.weight.copy_(model.last.kernel.value.T)
            rival.last.bias.copy_(model.last.bias.value)
        found = rival(torch.from_numpy(x))
        found = found if network.kind == "unet" else found.softmax(dim=-1)
        np.testing.assert_allclose(found, model(x).detach(), **TOLERANCE)
