"""Weights move between PyTorch modules and Keras layers."""

import keras
import pytest

torch = pytest.importorskip("torch")

import deepsphere.torch as ds  # noqa: E402
from deepsphere import layers, models  # noqa: E402
from harness import SINGLE, relative_error, to_numpy  # noqa: E402
from torch_pairs import CONV, PAIRS, SPHERE, data, made  # noqa: E402


@pytest.mark.parametrize("name", ["conv", "normalized", "patch", "unet", "grid unet"])
def test_weights_there_and_back(name):
    module, layer, _ = made(name)
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            tensor.fill_(7) if "tracked" in key else tensor.add_(1)
    ds.copy_to_keras(module, layer)
    again, _ = PAIRS[name]()
    ds.load_keras_weights(again, layer)
    for one, other in zip(module.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_weights_that_do_not_fit():
    module = ds.ChebyshevConv(**CONV)
    layer = layers.ChebyshevConv(3, 4, sampling=SPHERE)
    with pytest.raises(ValueError, match="not built"):
        ds.load_keras_weights(module, layer)
    layer.build((None, 192, 5))
    with pytest.raises(
        ValueError, match=r"has shape \(5, 5, 3\), but the module needs \(5, 2, 3\)"
    ):
        ds.load_keras_weights(module, layer)
    for other, message in (
        (
            layers.ChebyshevConv(3, 4, sampling=SPHERE, graph=8),
            r"graph Graph\(20, .* has Graph\(8, ",
        ),
        (layers.ChebyshevConv(3, 4, sampling=SPHERE, scale=1.0), "has the scale 0.75, .* has 1.0"),
        (layers.ChebyshevConv(3, 3, sampling=SPHERE), "has the order 4, .* has 3"),
    ):
        other.build((None, 192, 2))
        with pytest.raises(ValueError, match=message):
            ds.load_keras_weights(module, other)
    monomial = layers.MonomialConv(3, 4, sampling=SPHERE)
    monomial.build((None, 192, 2))
    with pytest.raises(TypeError, match="not a ChebyshevConv"):
        ds.load_keras_weights(module, monomial)
    with pytest.raises(TypeError, match="ReLU has no counterpart"):
        ds.load_keras_weights(torch.nn.ReLU(), layer)
    bare = layers.ChebyshevConv(3, 4, sampling=SPHERE, use_bias=False)
    bare.build((None, 192, 2))
    before = module.weight.clone()
    with pytest.raises(ValueError, match="has a bias"):
        ds.load_keras_weights(module, bare)
    assert torch.equal(module.weight, before)  # all or nothing


def test_a_stack_of_both():
    ours = torch.nn.Sequential(
        ds.ChebyshevConv(3, 4, 2, sampling=SPHERE, activation="relu"),
        ds.Pool(sampling=SPHERE),
        ds.ChebyshevConv(4, 2, 2, sampling=SPHERE.coarsen()),
    )
    conv = layers.ChebyshevConv
    theirs = models.Sequential(
        SPHERE, [conv(4, 2, activation="relu"), layers.Pool(), conv(2, 2), keras.layers.ReLU()]
    )
    theirs.build((None, 192, 3))
    ds.load_keras_weights(ours, theirs)
    x = data(SPHERE)
    y = torch.relu(ours(torch.tensor(x))).detach().numpy()
    assert relative_error(y, to_numpy(theirs(x))) < SINGLE
