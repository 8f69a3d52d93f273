"""Arguments of models under their old names: read from files, refused in code."""

import numpy as np
import pytest

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
