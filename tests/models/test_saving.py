"""Saving models, and failures to save."""

import copy
import json
import pickle
import resource
import signal
import zipfile

import keras
import numpy as np
import pytest

import deepsphere.layers
from deepsphere import HealpyGCNN
from deepsphere.layers import (
    ChebyshevConv,
    GraphConvLSTM,
    GraphTransformer,
    MaxUnpool,
    Pool,
    ResidualBlock,
    VisionTransformer,
)
from deepsphere.layers.sublayers import walk_sublayers
from deepsphere.models import (
    Autoencoder,
    Sequential,
    TemporalUNet,
    UNet,
    VariationalAutoencoder,
    fcn_classifier,
    vit_classifier,
)
from deepsphere.sampling import Healpix
from harness import BACKEND, QUICK, to_numpy

SPHERE = Healpix(4)
MAPS = np.random.default_rng(0).standard_normal((2, 192, 2)).astype("float32")


def residual_unet():
    return UNet(SPHERE, 1, filters=(2, 3), order=1, block="residual")


def in_a_row(layer):
    return Sequential(SPHERE, [layer, keras.layers.Dense(1)])


MODELS = {
    "unet": residual_unet,
    "repeat": lambda: UNet(SPHERE, 1, filters=(2, 3), order=1, unpooling="repeat"),
    "autoencoder": lambda: Autoencoder(SPHERE, 2, filters=(2, 3)),
    "variational": lambda: VariationalAutoencoder(SPHERE, 2, filters=(2, 3), seed=1),
    "transformer": lambda: in_a_row(GraphTransformer(2, 2, num_layers=2)),
    "vision": lambda: in_a_row(VisionTransformer(2, 2, 1, num_layers=2)),
    "residual": lambda: in_a_row(ResidualBlock(ChebyshevConv(order=1), normalization="batch")),
    "classifier": lambda: fcn_classifier(SPHERE, 2, channels=2, filters=(2,)),
    "vit": lambda: vit_classifier(SPHERE, 2, channels=2, levels=1, num_layers=1),
    "old": lambda: HealpyGCNN(4, np.arange(192), [ChebyshevConv(2, 1), Pool()]),
}

QUANTIZED = ["unet", "classifier", *(["variational", "vision"] if BACKEND == "torch" else [])]
"""Which paths are saved does not depend on the backend; building these two takes XLA a minute."""


def built(name):
    model = MODELS[name]()
    if not model.built:
        model.build((None, 192, 2))
    return model


def as_json(model):
    return json.loads(json.dumps(model.get_config()))


def trainable_flags(model):
    return {path: layer.trainable for path, layer in walk_sublayers(model)}


@pytest.mark.parametrize("name", MODELS)
def test_frozen_parts_stay_frozen(name, tmp_path):
    model = built(name)
    layers = dict(walk_sublayers(model))
    for path in list(layers)[1::3]:  # some of every depth
        layers[path].trainable = False
    flags = trainable_flags(model)
    assert False in flags.values()
    frozen = len(model.trainable_weights)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    for other in (loaded, clone, copy.deepcopy(model)):
        assert trainable_flags(other) == flags
        assert len(other.trainable_weights) == frozen
    assert as_json(loaded) == as_json(model)


def test_a_frozen_block_is_named_by_its_place():
    model = built("unet")
    model.down_blocks[0].conv1.trainable = False
    assert model.get_config()["frozen"] == [
        "down_blocks/0/conv1",
        "down_blocks/0/conv1/norm",
    ]
    with pytest.raises(ValueError, match="names layers that it does not have: down_blocks/9"):
        UNet(SPHERE, 1, filters=(2, 3), frozen=["down_blocks/9"]).build((None, 192, 2))


@pytest.mark.filterwarnings("ignore:.*does not have a `quantize` method")
@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_models_are_loaded(name, tmp_path):
    model = built(name)
    model.quantize("int8")
    expected = to_numpy(model(MAPS))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(MAPS)), expected)
    modes = {path: layer.quantization_mode for path, layer in walk_sublayers(model)}
    assert {path: layer.quantization_mode for path, layer in walk_sublayers(loaded)} == modes
    if name != "classifier":  # which has no dense layer
        assert "int8" in modes.values()


@pytest.mark.parametrize("name", MODELS)
def test_copies_and_pickles(name):
    model = built(name)
    expected = to_numpy(model(MAPS))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(to_numpy(other(MAPS)), expected)
        assert as_json(other) == as_json(model)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    restored.set_weights(model.get_weights())
    np.testing.assert_array_equal(to_numpy(restored(MAPS)), expected)


def all_layers():
    """One of every layer of the package, with the shape of its input."""
    made = {
        "BatchNormalization": {"sampling": None},
        "BernsteinConv": {"filters": 2, "order": 1},
        "ChebyshevConv": {"filters": 2, "order": 1, "normalization": "batch"},
        "ConvPool": {"filters": 2},
        "GaussianSmoothing": {"fwhm": 2000.0},
        "GraphConvLSTM": {"filters": 2, "order": 1},
        "GraphTransformer": {"key_dim": 2, "num_heads": 2, "num_layers": 2},
        "LayerNormalization": {"sampling": None},
        "MonomialConv": {"filters": 2, "order": 1},
        "NeighborTransformerBlock": {"key_dim": 1, "num_heads": 2},
        "PatchConv": {"filters": 2},
        "PatchConvTranspose": {"filters": 2},
        "Resample": {"target": Healpix(2)},
        "ResidualBlock": {"conv": ChebyshevConv(order=1), "normalization": "batch"},
        "SurveyMask": {"mask": np.arange(192) > 5},
        "TransformerBlock": {"key_dim": 1, "num_heads": 2},
        "VisionTransformer": {"key_dim": 2, "num_heads": 2, "levels": 1, "num_layers": 2},
    }
    abstract = {"GraphConv", "SphereConv", "SphereLayer", "GraphConvLSTMCell"}
    for name in deepsphere.layers.__all__:
        kind = getattr(deepsphere.layers, name)
        if name in abstract or not issubclass(kind, keras.layers.Layer) or kind is MaxUnpool:
            continue
        options = {"sampling": SPHERE, **made.get(name, {})}
        if options["sampling"] is None:
            del options["sampling"]
        yield kind(**options), (2, 3, 192, 2) if kind is GraphConvLSTM else (2, 192, 2)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own checkpoints")
def test_tensorflow_checkpoints_hold_every_weight(tmp_path):
    import tensorflow as tf

    rng = np.random.default_rng(1)
    cases = [(layer, shape, None) for layer, shape in all_layers()]
    cases += [(built(name), (2, 192, 2), MODELS[name]) for name in MODELS]
    temporal = TemporalUNet(SPHERE, 1, filters=(2, 3), order=1)
    cases.append((temporal, (2, 3, 192, 2), None))
    for layer, shape, make in cases:
        x = rng.standard_normal(shape).astype("float32")
        layer(x)
        for variable in layer.weights:
            if variable.dtype == "float32":
                variable.assign(to_numpy(variable) + 0.1)
        expected = to_numpy(layer(x))
        path = tf.train.Checkpoint(network=layer).save(str(tmp_path / "checkpoint"))
        names = tf.train.load_checkpoint(path).get_variable_to_shape_map()
        saved = [name for name in names if name.startswith("network/") and "VARIABLE" in name]
        assert len(saved) >= len(layer.weights), layer
        fresh = make() if make else type(layer).from_config(layer.get_config())
        fresh.build(shape)
        status = tf.train.Checkpoint(network=fresh).restore(path)
        status.assert_existing_objects_matched()
        np.testing.assert_array_equal(to_numpy(fresh(x)), expected)


@pytest.mark.parametrize("name", ["unet", "classifier", "old"])
@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
def test_the_old_format_is_refused(name, suffix, tmp_path):
    model = built(name)
    with pytest.raises(ValueError, match=r"cannot be saved as .*Save model\.keras instead"):
        model.save(tmp_path / f"model{suffix}")
    assert not list(tmp_path.iterdir())
    if suffix == ".hdf5":  # which Keras refuses as a checkpoint
        return
    model.compile("sgd", "mse", **QUICK)
    target = np.zeros(model.compute_output_shape(MAPS.shape), "float32")
    keep = keras.callbacks.ModelCheckpoint(str(tmp_path / f"best{suffix}"))
    with pytest.raises(ValueError, match=r"best\.keras instead"):
        model.fit(MAPS, target, callbacks=[keep], verbose=0)


@pytest.mark.parametrize("name", ["unet", "classifier", "old"])
def test_functions_of_keras_refuse_the_old_format(name, tmp_path):
    model = built(name)
    inputs = keras.Input(MAPS.shape[1:])
    for whole in (model, keras.Model(inputs, model(inputs))):
        with pytest.raises(
            ValueError, match=r"as HDF5.*Save model\.keras.*started contains no model"
        ):
            keras.saving.save_model(whole, tmp_path / "model.h5")
    keras.saving.save_model(model, tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(MAPS)), to_numpy(model(MAPS)))


@pytest.fixture
def small_disk():
    """Limit the size of files to 4 kB, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing raises OSError instead

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", ["unet", "classifier", "old"])
@pytest.mark.parametrize("zipped", [None, False])
def test_a_full_disk_keeps_the_old_files(name, zipped, tmp_path, small_disk):
    model = built(name)
    path = tmp_path / ("model.keras" if zipped is None else "model")
    weights = tmp_path / "model.weights.h5"
    model.save(path, zipped=zipped)
    model.save_weights(weights)
    expected = to_numpy(model(MAPS))
    other = built(name)
    small_disk()
    for write in (lambda: other.save(path, zipped=zipped), lambda: other.save_weights(weights)):
        with pytest.raises((OSError, RuntimeError)):
            write()
    assert {file.name for file in tmp_path.iterdir()} == {path.name, weights.name}
    if zipped is None:
        np.testing.assert_array_equal(to_numpy(keras.models.load_model(path)(MAPS)), expected)
    other.load_weights(weights)
    np.testing.assert_array_equal(to_numpy(other(MAPS)), expected)


def test_a_file_that_cannot_be_read_back_does_not_replace(tmp_path, monkeypatch):
    model = built("classifier")
    path = tmp_path / "model.keras"
    model.save(path)
    before = path.read_bytes()
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: "model.weights.h5")
    with pytest.raises(OSError, match=r"model\.weights\.h5 is damaged"):
        model.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


def test_sharded_weights_and_directories(tmp_path):
    model = built("unet")
    expected = to_numpy(model(MAPS))
    for _ in range(2):  # the second replaces the first
        model.save_weights(tmp_path / "model.weights.json", max_shard_size=1e-6)
        model.save(tmp_path / "model", zipped=False)
    other = built("unet")
    other.load_weights(tmp_path / "model.weights.json")
    np.testing.assert_array_equal(to_numpy(other(MAPS)), expected)
    assert (tmp_path / "model" / "config.json").exists()


def test_training_goes_on_as_before(tmp_path):
    target = np.zeros((2, 192, 1), "float32")
    model = built("repeat")
    stop = keras.callbacks.EarlyStopping("loss", patience=5, restore_best_weights=True)
    model.compile(keras.optimizers.Adam(1e-2), "mse", metrics=["mae"], **QUICK)
    options = {"shuffle": False, "verbose": 0}
    model.fit(MAPS, target, epochs=2, callbacks=[stop], **options)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    histories = [m.fit(MAPS, target, epochs=2, **options).history for m in (model, loaded)]
    assert histories[0] == histories[1]
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["w.h5", "w.keras", "w", "dir/w"])
def test_names_of_weights(name, tmp_path):
    """The message has the name that was given, not that of a temporary file."""
    model = Sequential(Healpix(1), [keras.Input((12, 1)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match=rf"must end in \.weights\.h5, got '.*{name}'"):
        model.save_weights(tmp_path / name)
    assert not list(tmp_path.iterdir())
