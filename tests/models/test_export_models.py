"""Every ready-made model, on a part of the sphere, saved and exported to another runtime.

ONNX (onnxruntime) under PyTorch, SavedModel (TensorFlow) under the other two.
"""

import keras
import numpy as np
import pytest

from deepsphere.models import (
    Autoencoder,
    UNet,
    VariationalAutoencoder,
    cnn_classifier,
    fcn_classifier,
    vit_classifier,
)
from deepsphere.sampling import Healpix
from harness import BACKEND, relative_error, to_numpy

pytestmark = pytest.mark.filterwarnings("default")
"""The exporters of Keras and of the backends warn about themselves."""

PART = Healpix(1, [3, 5]).refine(3)
SMALL = {"filters": (4, 4), "graph": 4, "order": 2}
MODELS = {
    "fcn": lambda: fcn_classifier(PART, 2, **SMALL),
    "cnn": lambda: cnn_classifier(PART, 2, **SMALL),
    "vit": lambda: vit_classifier(PART, 2, key_dim=4, num_heads=2, levels=2, num_layers=1),
    "autoencoder": lambda: Autoencoder(PART, latent=3, **SMALL),
    "variational": lambda: VariationalAutoencoder(PART, latent=3, **SMALL),
    "unet": lambda: UNet(PART, 1, **SMALL),
}


def run_elsewhere(model: keras.Model, x: np.ndarray, folder) -> np.ndarray:
    if BACKEND == "torch":
        onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime runs the model")
        pytest.importorskip("onnxscript", reason="torch.onnx needs it")
        path = str(folder / "model.onnx")
        model.export(path, format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(path)
        return session.run(None, {session.get_inputs()[0].name: x})[0]
    tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow runs the model")
    model.export(str(folder / "model"), format="tf_saved_model", verbose=False)
    loaded = tensorflow.saved_model.load(str(folder / "model"))
    return np.asarray(loaded.serve(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_saved_and_exported(name, tmp_path):
    x = np.random.default_rng(0).standard_normal((3, len(PART), 1)).astype(np.float32)
    model = MODELS[name]()
    expected = to_numpy(model(x))
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(model(x)), expected)
    # Sums of some 20 float32 numbers in another order, in a few layers.
    assert relative_error(run_elsewhere(model, x, tmp_path), expected) < 1e-5
