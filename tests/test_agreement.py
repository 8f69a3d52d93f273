"""The three backends give the same numbers: models saved here are loaded under the others."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from deepsphere import HealpyGCNN, Sequential, healpy_layers
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    MonomialConv,
    PatchConv,
    PatchConvTranspose,
    Pool,
)
from deepsphere.sampling import Healpix, extend_pixels

BACKENDS = ("tensorflow", "jax", "torch")
TOLERANCE = 1e-5
"""Relative. In float32, sums in other orders differ by some 1e-7 of their size."""

PART = Healpix(8, extend_pixels([5, 100, 300, 301], 8, 2))


def one_layer(layer, sampling=PART, channels=3):
    inputs = keras.Input((len(sampling), channels))
    return keras.Model(inputs, layer(inputs))


def network():
    layers = [
        ChebyshevConv(5, 4, batch_norm=True, activation="relu"),
        Pool(),
        MonomialConv(4, 3, activation="elu"),
        PatchConv(6),
        PatchConvTranspose(4),
        BernsteinConv(2, 3),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Softmax(),
    ]
    model = Sequential(PART, layers, neighbors=8, laplacian="random_walk")
    model.build((None, len(PART), 3))
    return model


def old_network():
    layers = [
        healpy_layers.HealpyChebyshev(5, 4, use_bias=True, use_bn=True, activation="relu"),
        healpy_layers.HealpyPool(1),
        healpy_layers.HealpyPseudoConv(1, 3),
    ]
    model = HealpyGCNN(8, PART.pixels, layers, n_neighbors=12)
    model.build((None, len(PART), 3))
    return model


MODELS = {
    "chebyshev": lambda: one_layer(ChebyshevConv(4, 9, PART)),
    "chebyshev, fewer filters": lambda: one_layer(ChebyshevConv(2, 5, PART, batch_norm=True)),
    "chebyshev, more filters": lambda: one_layer(
        ChebyshevConv(8, 5, PART, laplacian="random_walk")
    ),
    "monomial": lambda: one_layer(MonomialConv(4, 5, PART, laplacian="combinatorial")),
    "bernstein": lambda: one_layer(BernsteinConv(4, 5, PART)),
    "pool": lambda: one_layer(Pool(2, "mean", PART)),
    "patch": lambda: one_layer(PatchConv(4, 2, PART)),
    "patch transpose": lambda: one_layer(PatchConvTranspose(4, 1, PART)),
    "network": network,
    "old network": old_network,
}

LOAD = """
import json, sys
import keras, numpy as np
import deepsphere
folder, names = sys.argv[1], json.loads(sys.argv[2])
x = np.load(f"{folder}/x.npy")
for i, name in enumerate(names):
    model = keras.models.load_model(f"{folder}/{i}.keras")
    np.save(f"{folder}/{i}-value.npy", model.predict(x, verbose=0))
    model.train_on_batch(x, np.load(f"{folder}/{i}-target.npy"))
    weights = [keras.ops.convert_to_numpy(v).ravel() for v in model.trainable_variables]
    np.save(f"{folder}/{i}-weights.npy", np.concatenate([np.zeros(1), *weights]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("other", [b for b in BACKENDS if b != keras.backend.backend()])
def test_values_and_training_agree(other, tmp_path, seeded):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, len(PART), 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    expected = []
    for i, make in enumerate(MODELS.values()):
        model = make()
        value = model.predict(x, verbose=0)
        target = rng.standard_normal(value.shape).astype(np.float32)
        np.save(tmp_path / f"{i}-target.npy", target)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.save(tmp_path / f"{i}.keras")
        before = [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
        model.train_on_batch(x, target)
        after = [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
        expected.append((value, before, after))
    result = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path), json.dumps(list(MODELS))],
        env={**os.environ, "KERAS_BACKEND": other},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for i, (name, (value, before, after)) in enumerate(zip(MODELS, expected, strict=True)):
        found = np.load(tmp_path / f"{i}-value.npy")
        assert np.abs(found - value).max() < TOLERANCE * np.abs(value).max(), name
        weights = np.load(tmp_path / f"{i}-weights.npy")[1:]
        start, end = (np.concatenate([np.zeros(0), *map(np.ravel, w)]) for w in (before, after))
        if len(start):  # the step is the gradient; it loses what the weights are rounded to
            step = np.abs(end - start).max()
            assert step > 0
            rounding = 2**-23 * np.abs(start).max() / step
            assert np.abs(weights - end).max() < (TOLERANCE + 2 * rounding) * step, name
