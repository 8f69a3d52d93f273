"""A weights file of deepsphere-cosmo-tf2 0.3.0, and what its network answered."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from deepsphere import HealpyGCNN
from deepsphere import healpy_layers as hl
from deepsphere.compat.old_weights import is_old_weights_file

FOLDER = Path(__file__).parents[1] / "golden"
FILE = FOLDER / "model.weights.h5"


def network(layers=None) -> HealpyGCNN:
    residual = {"K": 4, "activation": "relu", "use_bias": True}
    layers = layers or [
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
    model = HealpyGCNN(nside=8, indices=np.arange(768), layers=layers, n_neighbors=20)
    model.build((None, 768, 1))
    return model


def test_predictions_are_the_old_ones():
    model = network()
    model.load_weights(FILE)
    with np.load(FOLDER / "model.npz") as golden:
        y = model.predict(golden["x"], verbose=0)
        # Answers up to 4, computed in float32 through eight layers.
        np.testing.assert_allclose(y, golden["y"], rtol=0, atol=1e-5)


def test_new_files_are_loaded_too(tmp_path):
    model, other = network(), network()
    model.load_weights(FILE)
    model.save_weights(tmp_path / "new.weights.h5")
    assert is_old_weights_file(FILE)
    assert not is_old_weights_file(tmp_path / "new.weights.h5")
    other.load_weights(tmp_path / "new.weights.h5")
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_network_is_refused():
    model = network([hl.HealpyChebyshev(K=5, Fout=5, use_bias=True, use_bn=True)])
    with pytest.raises(ValueError, match=r"(?i)shape|expected"):
        model.load_weights(FILE)


def test_the_file_is_not_changed():
    before = FILE.read_bytes()
    network().load_weights(FILE)
    assert FILE.read_bytes() == before
    with h5py.File(FILE) as file:
        assert "chebyshev" in file["layers"]


def test_what_is_no_old_file(tmp_path):
    assert not is_old_weights_file(tmp_path / "missing.weights.h5")
    assert not is_old_weights_file(tmp_path / "model.keras")
