"""Old argument names are accepted in files but rejected in code."""

import numpy as np
import pytest

from deepsphere import layers
from deepsphere.layers import ChebyshevConv
from deepsphere.models import (
    Autoencoder,
    ClimateUNet,
    TemporalUNet,
    UNet,
    VariationalAutoencoder,
    cnn_classifier,
    fcn_classifier,
)
from deepsphere.sampling import Healpix
from harness import to_numpy

SPHERE = Healpix(4)
SMALL = {"filters": (2, 4), "order": 1}
X = np.random.default_rng(0).standard_normal((2, 192, 1)).astype("float32")
TANH = {"output_activation": "tanh"}

MODELS = {
    "unet": lambda: UNet(SPHERE, 2, **SMALL, **TANH),
    "without normalization": lambda: UNet(SPHERE, 2, **SMALL, normalization=None),
    "temporal": lambda: TemporalUNet(SPHERE, 2, **SMALL, **TANH),
    "climate": lambda: ClimateUNet(SPHERE, 2, **SMALL),
    "autoencoder": lambda: Autoencoder(SPHERE, 1, latent=2, **SMALL, **TANH),
    "variational": lambda: VariationalAutoencoder(SPHERE, latent=2, **SMALL, **TANH),
}


def as_written_before(model):
    """Return the configuration as versions before 0.1.0 wrote it."""
    config = model.get_config()
    if "normalization" in config:
        config["batch_norm"] = config.pop("normalization") is not None
    if "output_activation" in config:
        config["last_activation"] = config.pop("output_activation")
    if isinstance(model, Autoencoder):
        config["channels"] = config.pop("outputs")
    return config


@pytest.mark.parametrize("name", MODELS)
def test_old_configurations_make_equal_models(name):
    model = MODELS[name]()
    x = np.stack([X, X], 1) if name == "temporal" else X
    expected = to_numpy(model(x))
    config = as_written_before(model)
    kept = dict(config)
    old = type(model).from_config(config)
    assert config == kept
    old(x)
    old.set_weights(model.get_weights())
    np.testing.assert_array_equal(to_numpy(old(x)), expected)
    assert old.get_config() == model.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UNet(SPHERE, 2, last_activation="tanh"), "UNet takes output_activation=..., not"),
        (
            lambda: UNet(SPHERE, 2, batch_norm=False),
            "takes normalization=..., not batch_norm=False",
        ),
        (lambda: TemporalUNet(SPHERE, 2, batch_norm=True), "TemporalUNet takes normalization="),
        (lambda: Autoencoder(SPHERE, channels=1), "Autoencoder takes outputs=..., not channels=1"),
        (lambda: VariationalAutoencoder(SPHERE, channels=1), "takes outputs=..., not channels=1"),
        (lambda: fcn_classifier(SPHERE, 2, batch_norm=True), "takes normalization=..., not"),
        (lambda: cnn_classifier(SPHERE, 2, classifier_activation=None), "takes output_activation="),
    ],
)
def test_old_names_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize("value", [True, "layer"])
@pytest.mark.parametrize("make", [UNet, fcn_classifier])
def test_unknown_normalizations_are_refused(make, value):
    with pytest.raises(ValueError, match=f"normalization must be None or 'batch', got {value!r}"):
        make(SPHERE, 2, filters=(2, 2), normalization=value)


OLD = [
    (ChebyshevConv(3, 2, normalization="batch"), {"batch_norm": True}),
    (ChebyshevConv(3, 2), {"batch_norm": False}),
    (layers.ConvPool(3, levels=2), {"p": 2, "batch_norm": False}),
    (layers.Pool(2, "mean"), {"p": 2}),
    (layers.SmoothPool(2), {"p": 2}),
    (layers.Unpool(2), {"p": 2}),
    (layers.MaxUnpool(2), {"p": 2}),
    (layers.PatchConv(3, 2), {"p": 2}),
    (layers.PatchConvTranspose(3, 2), {"p": 2}),
    (layers.Statistics("max"), {"kind": "max"}),
    (layers.TransformerBlock(2, 2), {"layer_norm": True}),
    (layers.GraphTransformer(2, 2, normalization=None), {"layer_norm": False}),
    (layers.VisionTransformer(2, 2, 1, normalization=None), {"p": 1, "layer_norm": False}),
    (layers.ResidualBlock(ChebyshevConv(order=1)), {"norm": None, "norm_config": {}}),
    (
        layers.ResidualBlock(
            ChebyshevConv(order=1), normalization="layer", normalization_config={"epsilon": 1e-2}
        ),
        {"norm": "layer", "norm_config": {"epsilon": 1e-2}},
    ),
]


@pytest.mark.parametrize(("layer", "old"), OLD, ids=lambda value: getattr(value, "name", ""))
def test_layers_read_the_configurations_of_old_files(layer, old):
    config = layer.get_config()
    new = {"p": "levels", "kind": "statistic", "norm_config": "normalization_config"}
    before = dict(config)
    for name, value in old.items():
        before.pop(new.get(name, "normalization"))
        before[name] = value
    assert before.keys() != config.keys()
    assert type(layer).from_config(before).get_config() == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ChebyshevConv(3, batch_norm=True), "ChebyshevConv takes normalization=..., not"),
        (lambda: layers.Pool(p=2), r"Pool takes levels=..., not p=2"),
        (lambda: layers.VisionTransformer(2, 2, p=1), "VisionTransformer takes levels=..., not p"),
        (lambda: layers.Statistics(kind="max"), "Statistics takes statistic=..., not kind='max'"),
        (lambda: layers.TransformerBlock(2, 2, layer_norm=False), "takes normalization=..., not"),
        (lambda: layers.ResidualBlock(ChebyshevConv(), norm="batch"), "takes normalization=..., "),
    ],
)
def test_layers_refuse_old_names(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize("value", [True, "layer"])
def test_convolutions_refuse_unknown_normalizations(value):
    with pytest.raises(ValueError, match=f"must be None or 'batch', got {value!r}"):
        ChebyshevConv(3, normalization=value)
