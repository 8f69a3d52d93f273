"""Exported models, run by other runtimes, give what the model gives.

Keras also offers the SavedModel format under PyTorch (by torch_xla), LiteRT under PyTorch (by
litert-torch) and OpenVINO under JAX (by a mode of jax2tf that JAX has given up): not tested here.
"""

import importlib
import subprocess
import sys
from collections.abc import Callable

import keras
import numpy as np
import pytest

from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    MonomialConv,
    PatchConv,
    PatchConvTranspose,
    Pool,
    ResidualBlock,
    SurveyMask,
)
from deepsphere.models import (
    Autoencoder,
    Sequential,
    UNet,
    VariationalAutoencoder,
    cnn_classifier,
    fcn_classifier,
    vit_classifier,
)
from deepsphere.ops import plan
from deepsphere.sampling import Healpix
from harness import BACKEND, relative_error, to_numpy

pytestmark = pytest.mark.filterwarnings("default")
"""The exporters of Keras and of the backends warn about themselves."""

FORMATS = {
    "tensorflow": ["tf_saved_model", "onnx", "litert", "openvino"],
    "jax": ["tf_saved_model", "onnx"],
    "torch": ["onnx", "torch", "openvino"],
}[BACKEND]

NEEDED = {
    "tf_saved_model": ["tensorflow"],
    "onnx": ["onnxruntime", {"tensorflow": "tf2onnx", "jax": "jax2onnx", "torch": "onnx"}[BACKEND]],
    "litert": ["tensorflow"],
    "openvino": ["openvino"],
    "torch": ["torch"],
}

SUFFIX = {"onnx": ".onnx", "litert": ".tflite", "openvino": ".xml", "torch": ".pt2"}

TOLERANCE = 1e-5
"""Relative, in float32: the order of sums differs, over some 10 terms of 20 neighbors in each of
a few layers (see `harness.SINGLE` for one)."""


def masked_sequential() -> tuple[keras.Model, np.ndarray]:
    sphere = Healpix(4)
    observed = sphere.points[:, 2] > -0.5
    layers = [
        SurveyMask(observed),
        ChebyshevConv(4, 2, normalization="batch", activation="relu"),
        Pool(1, "mean"),
        ResidualBlock(ChebyshevConv(order=1), normalization="batch"),  # layers inside of a layer
        ChebyshevConv(2, 2),  # fewer filters than channels: Clenshaw's recurrence
        Pool(1, "mean"),
        keras.layers.GlobalAveragePooling1D(),
    ]
    model = Sequential(sphere, layers, graph=4)
    model.build((None, len(sphere), 2))
    x = np.random.default_rng(0).standard_normal((3, len(sphere), 2)).astype(np.float32)
    x[:, ~observed] = np.nan
    return model, x


def partial_sky_branches() -> tuple[keras.Model, np.ndarray]:
    coarse = np.r_[3, 10, 20:24]
    part = Healpix(4, (4 * coarse[:, None] + np.arange(4)).ravel())
    inputs = keras.Input((len(part), 2))
    fine = MonomialConv(4, 2, sampling=part, graph=4, normalization="batch", activation="relu")(
        inputs
    )
    down = PatchConv(5, sampling=part)(fine)
    down = BernsteinConv(3, 2, sampling=part.coarsen(), graph=3)(down)
    up = PatchConvTranspose(4, sampling=part.coarsen())(down)
    outputs = ChebyshevConv(3, 0, sampling=part)(keras.layers.Concatenate()([fine, up]))
    outputs = Pool(1, "max", sampling=part)(outputs)
    x = np.random.default_rng(0).standard_normal((3, len(part), 2)).astype(np.float32)
    return keras.Model(inputs, outputs), x


def high_order() -> tuple[keras.Model, np.ndarray]:
    """The demonstration's layers: both recurrences with ten terms."""
    sphere = Healpix(2)
    layers = [
        ChebyshevConv(5, order=9, normalization="batch", activation="relu"),
        Pool(),
        ChebyshevConv(2, order=9),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Softmax(),
    ]
    model = Sequential(sphere, layers, graph=4)
    model.build((None, len(sphere), 1))
    return model, np.random.default_rng(0).standard_normal((3, len(sphere), 1)).astype(np.float32)


def run_saved_model(path: str, batches: list[np.ndarray]) -> list[np.ndarray]:
    import tensorflow as tf

    model = tf.saved_model.load(path)
    return [model.serve(x).numpy() for x in batches]


def run_onnx(path: str, batches: list[np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    (only,) = session.get_inputs()
    return [session.run(None, {only.name: x})[0] for x in batches]


def run_litert(path: str, batches: list[np.ndarray]) -> list[np.ndarray]:
    import tensorflow as tf

    model = tf.lite.Interpreter(path)
    (entry,), (result,) = model.get_input_details(), model.get_output_details()
    found = []
    for x in batches:
        model.resize_tensor_input(entry["index"], x.shape)
        model.allocate_tensors()
        model.set_tensor(entry["index"], x)
        model.invoke()
        found.append(model.get_tensor(result["index"]))
    return found


def run_openvino(path: str, batches: list[np.ndarray]) -> list[np.ndarray]:
    import openvino

    # By default it computes in bfloat16 where the processor can.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(path, "CPU", options)
    return [np.array(model(x)[0]) for x in batches]


def run_torch(path: str, batches: list[np.ndarray]) -> list[np.ndarray]:
    import torch

    program = torch.export.load(path).module()
    return [program(torch.tensor(x)).detach().numpy() for x in batches]


RUN = {
    "tf_saved_model": run_saved_model,
    "onnx": run_onnx,
    "litert": run_litert,
    "openvino": run_openvino,
    "torch": run_torch,
}


@pytest.mark.filterwarnings("ignore")  # those of the converters, about their own insides
@pytest.mark.parametrize(
    "make",
    [masked_sequential, partial_sky_branches, high_order],
)
@pytest.mark.parametrize("kind", FORMATS)
def test_other_runtimes_agree(kind: str, make: Callable, tmp_path):
    for module in NEEDED[kind]:
        pytest.importorskip(module)
    model, x = make()
    if (BACKEND, kind) == ("tensorflow", "onnx"):
        # tf2onnx writes where(mask, x, 0) as mask * x + (1 - mask) * 0, which NaN passes.
        x = np.nan_to_num(x, nan=1e20)
    expected = to_numpy(model(x))  # without compiling
    options = {}
    if kind == "torch":
        import torch

        options["dynamic_shapes"] = {0: torch.export.Dim("batch", min=1)}
    path = str(tmp_path / f"model{SUFFIX.get(kind, '')}")
    try:
        model.export(path, format=kind, verbose=False, **options)
    except ValueError as error:
        if "Unrecognized format" in str(error):
            pytest.skip(f"Keras {keras.__version__} has no format {kind!r}")
        raise
    batches = [x, x[:1]]  # the batch size is left open
    for batch, found in zip(batches, RUN[kind](path, batches), strict=True):
        assert relative_error(found, expected[: len(batch)]) < TOLERANCE
    # What was made for the export does not reach the model.
    np.testing.assert_array_equal(to_numpy(model(x)), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS[:2])
def test_export_needs_no_look_at_its_callers(kind, tmp_path, monkeypatch):
    for module in NEEDED[kind]:
        pytest.importorskip(module)
    for name in ("compiled", "portable"):
        module = importlib.import_module(f"deepsphere.ops.{name}.{BACKEND}")
        monkeypatch.setattr(module, "called_from", lambda _: False, raising=False)
    sphere = Healpix(2)
    model = Sequential(sphere, [ChebyshevConv(2, 2)], graph=4)
    model.build((None, len(sphere), 1))
    x = np.random.default_rng(0).standard_normal((1, len(sphere), 1)).astype(np.float32)
    expected = to_numpy(model(x))
    path = str(tmp_path / f"model{SUFFIX.get(kind, '')}")
    model.export(path, format=kind, verbose=False)
    assert relative_error(RUN[kind](path, [x])[0], expected) < TOLERANCE


RUN_ALONE = """
import sys
sys.modules["deepsphere"] = None  # cannot be imported
import numpy as np
import tensorflow as tf

folder, data, result = sys.argv[1:]
model = tf.saved_model.load(folder)
np.save(result, model.serve(np.load(data)).numpy())
"""

if "tf_saved_model" in FORMATS:

    def test_a_saved_model_runs_alone_also_if_products_are_split(tmp_path, monkeypatch):
        pytest.importorskip("tensorflow")
        layer = ChebyshevConv(3, 3, sampling=Healpix(2), graph=4)
        inputs = keras.Input((48, 3))
        model = keras.Model(inputs, layer(inputs))
        monkeypatch.setattr(plan, "MAX_PRODUCT", 4 * layer.operator.nnz)  # 4 columns, of 9
        x = np.random.default_rng(0).standard_normal((3, 48, 3)).astype(np.float32)
        np.save(tmp_path / "x.npy", x)
        model.export(tmp_path / "model", verbose=False)
        files = [str(tmp_path / name) for name in ("model", "x.npy", "y.npy")]
        subprocess.run([sys.executable, "-c", RUN_ALONE, *files], check=True, capture_output=True)
        assert relative_error(np.load(tmp_path / "y.npy"), layer(x)) < TOLERANCE


CORNER = Healpix(1, [3, 5]).refine(3)
SMALL = {"filters": (4, 4), "graph": 4, "order": 2}
MODELS = {
    "fcn": lambda: fcn_classifier(CORNER, 2, **SMALL),
    "cnn": lambda: cnn_classifier(CORNER, 2, **SMALL),
    "vit": lambda: vit_classifier(CORNER, 2, key_dim=4, num_heads=2, levels=2, num_layers=1),
    "autoencoder": lambda: Autoencoder(CORNER, latent=3, **SMALL),
    "variational": lambda: VariationalAutoencoder(CORNER, latent=3, **SMALL),
    "unet": lambda: UNet(CORNER, 1, **SMALL),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_exported_after_loading(name, tmp_path):
    x = np.random.default_rng(0).standard_normal((3, len(CORNER), 1)).astype(np.float32)
    model = MODELS[name]()
    expected = to_numpy(model(x))
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(model(x)), expected)
    kind = "onnx" if BACKEND == "torch" else "tf_saved_model"
    for module in NEEDED[kind]:
        pytest.importorskip(module)
    path = str(tmp_path / f"exported{SUFFIX.get(kind, '')}")
    model.export(path, format=kind, verbose=False)
    assert relative_error(RUN[kind](path, [x])[0], expected) < TOLERANCE
