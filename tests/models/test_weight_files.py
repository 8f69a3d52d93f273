"""Weights in files are compared with those of the model that loads them."""

from functools import partial

import keras
import numpy as np
import pytest

from deepsphere.layers import ChebyshevConv
from deepsphere.models import Sequential, UNet, vit_classifier
from deepsphere.sampling import Healpix
from harness import QUICK, to_numpy

SPHERE = Healpix(4)
MAPS = np.random.default_rng(0).standard_normal((2, 192, 2)).astype("float32")


def test_weights_of_another_model_are_named(tmp_path):
    path = tmp_path / "model.weights.h5"
    narrow, wider = (UNet(SPHERE, 1, filters=(2, n), order=1, block="residual") for n in (3, 4))
    for model in (narrow, wider):
        model.build((None, 192, 2))
    narrow.save_weights(path)
    with pytest.raises(ValueError, match=r"(?s)does not hold.*down_blocks.*in the file, .* model"):
        wider.load_weights(path)
    vit_classifier(SPHERE, 2, levels=1).save_weights(path)
    with pytest.raises(ValueError, match=r"\(1, 48, 64\) in the file, \(1, 192, 64\) in the"):
        vit_classifier(Healpix(8), 2, levels=1).load_weights(path)


def deep(layers):
    model = Sequential(SPHERE, [ChebyshevConv(2, order=1) for _ in range(layers)])
    model.build((None, 192, 2))
    return model


WAYS = ["method", "function", "inside", "whole", "shards"]


@pytest.mark.parametrize("way", WAYS)
def test_a_file_with_more_layers_is_told(way, tmp_path):
    """Keras alone would silently load the first two of three layers."""
    model, other = deep(3), deep(2)
    model.compile("adam", "mse", metrics=["mae"], **QUICK)
    model.fit(MAPS, MAPS, verbose=0)  # the file has states of optimizer and metrics
    if way == "inside":
        inputs = keras.Input((192, 2))
        model, other = (keras.Model(inputs, part(inputs)) for part in (model, other))
    suffix = {"whole": "keras", "shards": "weights.json"}.get(way, "weights.h5")
    path, options = tmp_path / f"model.{suffix}", {}
    if way == "shards":
        options["max_shard_size"] = 1e-7
    model.save(path) if way == "whole" else model.save_weights(path, **options)
    load = other.load_weights
    if way == "function":
        load = partial(keras.saving.load_weights, other)
    message = r"(?s)(layers/)?chebyshev_conv_2/vars/0: \(4, 2\)"
    with pytest.raises(ValueError, match=message):
        load(path)
    with pytest.warns(UserWarning, match=message):
        load(path, skip_mismatch=True)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=False):
        np.testing.assert_array_equal(a, b)
    same = deep(3)
    if way == "inside":
        same = keras.Model(inputs, same(inputs))
    same.load_weights(path)
    np.testing.assert_array_equal(to_numpy(same(MAPS)), to_numpy(model(MAPS)))
