"""The three backends give the same numbers: models saved here are loaded under the others."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from agreement import outputs_and_step, ready_made
from deepsphere import HealpyGCNN, Sequential, healpy_layers
from deepsphere.graph import Graph
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    ConvPool,
    MonomialConv,
    PatchConv,
    PatchConvTranspose,
    Pool,
)
from deepsphere.sampling import Healpix, extend_pixels
from harness import OTHERS

TOLERANCE = 1e-5
"""Relative. In float32, sums in other orders differ by some 1e-7 of their size."""

PART = Healpix(8, extend_pixels([5, 100, 300, 301], 8, 2, nest=True))


def network():
    layers = [
        ChebyshevConv(5, 4, normalization="batch", activation="relu"),
        Pool(),
        MonomialConv(4, 3, activation="elu"),
        PatchConv(6),
        PatchConvTranspose(4),
        BernsteinConv(2, 3),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Softmax(),
    ]
    model = Sequential(PART, layers, graph=Graph(8, laplacian="random_walk"))
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


LAYERS = {
    "chebyshev": lambda: ChebyshevConv(4, 9, sampling=PART),
    "fewer filters": lambda: ChebyshevConv(2, 5, sampling=PART, normalization="batch"),
    "more filters": lambda: ChebyshevConv(
        8, 5, sampling=PART, graph=Graph(laplacian="random_walk")
    ),
    "monomial": lambda: MonomialConv(4, 5, sampling=PART, graph=Graph(laplacian="combinatorial")),
    "bernstein": lambda: BernsteinConv(4, 5, sampling=PART),
    "pool": lambda: Pool(2, "mean", sampling=PART),
    "conv pool": lambda: ConvPool(4, sampling=PART),
    "patch": lambda: PatchConv(4, 2, sampling=PART),
    "patch transpose": lambda: PatchConvTranspose(4, 1, sampling=PART),
}


def every_layer():
    """Return a model with an output per layer, compiled and trained at once."""
    inputs = keras.Input((len(PART), 3))
    return keras.Model(inputs, [make()(inputs) for make in LAYERS.values()])


def all_models():
    own = {"every layer": every_layer(), "network": network(), "old network": old_network()}
    return own | ready_made(PART, 3)


SUPPORT = Path(__file__).parents[1] / "support"
LOAD = """
import sys
import keras, numpy as np
import deepsphere
sys.path.append(sys.argv[1])
from agreement import outputs_and_step
for name in sys.argv[3:]:
    model = keras.models.load_model(f"{sys.argv[2]}/{name}.keras")
    outputs, before, after = outputs_and_step(model, sys.argv[2])
    np.savez(f"{sys.argv[2]}/{name}.npz", *outputs, before=before, after=after)
"""


@pytest.mark.slow
def test_values_and_training_agree(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((3, len(PART), 3)).astype(np.float32))
    expected = {}
    for name, model in all_models().items():
        model.save(tmp_path / f"{name}.keras")
        expected[name] = outputs_and_step(model, tmp_path)
    for other in OTHERS:
        result = subprocess.run(
            [sys.executable, "-c", LOAD, str(SUPPORT), str(tmp_path), *expected],
            env={**os.environ, "KERAS_BACKEND": other},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        for name, (outputs, before, after) in expected.items():
            with np.load(tmp_path / f"{name}.npz") as file:
                found = dict(file)
            for i, output in enumerate(outputs):
                error = np.abs(found[f"arr_{i}"] - output).max()
                assert error < TOLERANCE * np.abs(output).max(), (other, name, i)
            np.testing.assert_array_equal(found["before"], before)
            # The step is the gradient; it loses what the weights are rounded to.
            step, rounding = np.abs(after - before).max(), 2**-23 * np.abs(before).max()
            assert step > 0
            difference = np.abs(found["after"] - after).max()
            assert difference < TOLERANCE * step + 2 * rounding, (other, name)
