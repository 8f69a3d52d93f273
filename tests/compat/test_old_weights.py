"""Weights that deepsphere-cosmo-tf2 saved in its formats, and what its network answered.

``model.weights.h5`` was written by deepsphere-cosmo-tf2 0.3.0. The other files hold the same
weights as Keras 2 and 3 store them (tools/old_weights_files.py), so the same answers are right.
"""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from deepsphere import HealpyGCNN
from deepsphere import healpy_layers as hl
from deepsphere.compat import load_tf2_weights
from deepsphere.compat.old_weights import is_old_weights
from harness import BACKEND, to_numpy

FOLDER = Path(__file__).parents[1] / "golden"
FILE = FOLDER / "model.weights.h5"
CHECKPOINTS = [
    "keras2/{}/weights.tf",
    "keras2/{}/weights.tf.index",
    "keras2/{}/manager",
    "keras2/{}/manager/ckpt-1",
]
FILES = [
    "keras2/{}/new.weights.h5",
    "keras2/{}/legacy.h5",
    "keras3/{}/new.weights.h5",
    *CHECKPOINTS,
]


def layers() -> list[keras.layers.Layer]:
    residual = {"K": 4, "activation": "relu", "use_bias": True}
    return [
        hl.HealpyChebyshev(K=6, Fout=5, use_bias=True, use_bn=True, activation="relu"),
        hl.HealpyPool(p=1, pool_type="MAX"),
        hl.HealpyMonomial(K=4, Fout=6, use_bias=True, activation="elu"),
        hl.Healpy_ResidualLayer("CHEBY", residual, activation="relu", alpha=0.3, use_bn=True),
        hl.HealpyPseudoConv(p=1, Fout=8, activation="relu"),
        hl.HealpyPseudoConv_Transpose(p=1, Fout=4),
        hl.HealpyPool(p=1, pool_type="AVG"),
        hl.HealpyChebyshev(K=3, Fout=2),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(3),
    ]


def network(stack=None) -> HealpyGCNN:
    model = HealpyGCNN(8, np.arange(768), stack or layers(), n_neighbors=20)
    model.build((None, 768, 1))
    return model


@pytest.fixture(scope="module")
def convolutional() -> HealpyGCNN:
    return network()


class Autoencoder(keras.Model):
    """A user's own model with its old attributes."""

    def __init__(self):
        super().__init__()
        self.encoder = HealpyGCNN(
            4, np.arange(192), [hl.Healpy_Transformer(2, 2), hl.Healpy_ViT(2, 2, 2, n_layers=2)]
        )
        self.decoder = HealpyGCNN(
            1, np.arange(12), [hl.HealpyPseudoConv_Transpose(1, 3), hl.HealpyChebyshev(2, 1)]
        )

    def call(self, x):
        return self.decoder(self.encoder(x))


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    model = Autoencoder()
    model(np.zeros((1, 192, 1), "float32"))
    return model


def forget(model: keras.Model) -> None:
    model.set_weights([np.full(weight.shape, 7.0, "float32") for weight in model.get_weights()])


@pytest.mark.parametrize("file", ["model.weights.h5", *[f.format("convolutional") for f in FILES]])
def test_predictions_are_the_old_ones(convolutional, file):
    forget(convolutional)
    convolutional.load_weights(FOLDER / file)
    with np.load(FOLDER / "model.npz") as golden:
        y = to_numpy(convolutional(golden["x"], training=False))
        # Answers up to 4, computed in float32 through eight layers.
        np.testing.assert_allclose(y, golden["y"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("file", FILES)
def test_transformers_in_a_nested_model(autoencoder, file):
    """Each weight equals the saved model's weight of the same name."""
    forget(autoencoder)
    path = FOLDER / file.format("transformers")
    load_tf2_weights(autoencoder, path)
    attention, vision = autoencoder.encoder.layers
    up, chebyshev = autoencoder.decoder.layers
    found = {
        "position": attention.position.embeddings,
        "query": attention.blocks[0].query.kernel,
        "dense": attention.blocks[0].dense.kernel,
        "patches": vision.embedding.kernel,
        "key": vision.blocks[1].key.kernel,
        "value_bias": vision.blocks[1].value.bias,
        "gamma": vision.blocks[0].norm1.gamma,
        "beta": vision.blocks[1].norm2.beta,
        "up": up.kernel,
        "kernel": chebyshev.kernel,
    }
    folder = FOLDER / file.split("/")[0] / "transformers"
    with np.load(folder / "values.npz") as values:
        assert set(values) == set(found)
        for name, variable in found.items():
            right = values[name][0] if name == "up" else values[name]
            np.testing.assert_array_equal(to_numpy(variable), right, err_msg=name)
    for weight in autoencoder.get_weights():
        assert not np.any(weight == 7.0)


def test_checkpoint_of_keras_3(convolutional):
    forget(convolutional)
    load_tf2_weights(convolutional, FOLDER / "keras3/convolutional/manager")
    with np.load(FOLDER / "model.npz") as golden:
        y = to_numpy(convolutional(golden["x"], training=False))
        np.testing.assert_allclose(y, golden["y"], rtol=0, atol=1e-5)


def test_what_keras_3_lost(autoencoder):
    """Keras 3 omits layers in lists from TensorFlow checkpoints."""
    with pytest.raises(ValueError, match="is not in the file"):
        load_tf2_weights(autoencoder, FOLDER / "keras3/transformers/manager")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has such checkpoints")
@pytest.mark.parametrize("file", ["keras2", "keras3"])
def test_tensorflow_does_not_restore_a_part_in_silence(convolutional, file):
    import tensorflow as tf

    path = tf.train.latest_checkpoint(FOLDER / file / "convolutional/manager")
    with pytest.raises(ValueError, match="written by deepsphere-cosmo-tf2"):
        tf.train.Checkpoint(network=convolutional).restore(path)


def test_new_files_are_loaded_too(tmp_path, convolutional):
    convolutional.load_weights(FILE)
    convolutional.save_weights(tmp_path / "new.weights.h5")
    kept = convolutional.get_weights()
    forget(convolutional)
    assert is_old_weights(FILE)
    assert not is_old_weights(tmp_path / "new.weights.h5")
    convolutional.load_weights(tmp_path / "new.weights.h5")
    for a, b in zip(convolutional.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "file", ["model.weights.h5", *[f.format("convolutional") for f in FILES if ".index" not in f]]
)
@pytest.mark.parametrize("change", ["order", "channels", "fewer", "more"])
def test_another_network_is_refused(file, change):
    stack = layers()
    if change == "order":
        stack[0] = hl.HealpyChebyshev(K=5, Fout=5, use_bias=True, use_bn=True)
    elif change == "channels":
        stack[4] = hl.HealpyPseudoConv(p=1, Fout=9)
    elif change == "fewer":
        del stack[7]
    else:
        stack.append(keras.layers.Dense(3))
    model = network(stack)
    before = model.get_weights()
    with pytest.raises(ValueError, match="do not match the model"):
        model.load_weights(FOLDER / file)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_skip_mismatch():
    model = network([*layers()[:-1], keras.layers.Dense(4)])
    with pytest.warns(UserWarning, match=r"shape \(2, 4\), but \(2, 3\) in the file"):
        model.load_weights(FOLDER / "keras2/convolutional/manager", skip_mismatch=True)
    with h5py.File(FILE) as file:
        np.testing.assert_array_equal(
            to_numpy(model.layers[0].kernel), file["layers/chebyshev/vars/0"][()]
        )


def test_model_without_weights():
    model = HealpyGCNN(8, np.arange(768), layers())
    with pytest.raises(ValueError, match="has no weights yet"):
        load_tf2_weights(model, FILE)


def test_no_file(tmp_path, convolutional):
    with pytest.raises(FileNotFoundError, match="no weights at"):
        load_tf2_weights(convolutional, tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text("nothing")
    with pytest.raises(ValueError, match="neither an HDF5 file nor a TensorFlow checkpoint"):
        load_tf2_weights(convolutional, tmp_path / "text.h5")


def test_the_file_is_not_changed(convolutional):
    before = FILE.read_bytes()
    convolutional.load_weights(FILE)
    assert FILE.read_bytes() == before


def test_what_is_no_old_file(tmp_path):
    assert not is_old_weights(tmp_path / "missing.weights.h5")
    assert not is_old_weights(tmp_path / "model.keras")
