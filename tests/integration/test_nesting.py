"""Nested models, in wrappers and functional models, can be built, saved and cloned."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from deepsphere import HealpyGCNN
from deepsphere.graph import Graph
from deepsphere.layers import (
    ChebyshevConv,
    GraphConvLSTM,
    MaxUnpool,
    Pool,
    ResidualBlock,
    SphereLayer,
)
from deepsphere.layers.protocol import find_output_sampling
from deepsphere.models import Autoencoder, Sequential, TemporalUNet, UNet
from deepsphere.sampling import Healpix, serialize
from harness import BACKEND, OTHERS, to_numpy

SPHERE = Healpix(4)
COARSE = Healpix(2)


def unet():
    return UNet(SPHERE, 2, filters=(2, 3), order=1)


def functional():
    x = inputs = keras.Input((192, 1))
    x = ChebyshevConv(2, 1, sampling=SPHERE)(x)
    x = Pool(sampling=SPHERE)(x)
    return keras.Model(inputs, keras.layers.Dense(2)(x))


def around_models():
    x = inputs = keras.Input((192, 1))
    x = Sequential(SPHERE, [ChebyshevConv(2, 1), Pool()])(unet()(x))
    return keras.Model(inputs, x)


def in_time(*layers):
    start = [keras.layers.Reshape((192, 3, 1)), keras.layers.Permute((2, 1, 3))]
    return Sequential(SPHERE, [*start, *layers])


CASES = {
    "model": (lambda: Sequential(SPHERE, [Sequential(SPHERE, [ChebyshevConv(2, 1)])]), SPHERE),
    "pooling model": (
        lambda: Sequential(
            SPHERE, [Sequential(SPHERE, [ChebyshevConv(2, 1), Pool()]), ChebyshevConv(1, 1)]
        ),
        COARSE,
    ),
    "plain layer after": (
        lambda: Sequential(
            SPHERE, [Sequential(SPHERE, [ChebyshevConv(2, 1)]), keras.layers.Dense(1)]
        ),
        SPHERE,
    ),
    "unet": (lambda: Sequential(SPHERE, [unet(), Pool()]), COARSE),
    "autoencoder": (lambda: Sequential(SPHERE, [Autoencoder(SPHERE, filters=(2, 3))]), SPHERE),
    "functional": (lambda: Sequential(SPHERE, [functional(), ChebyshevConv(1, 1)]), COARSE),
    "in a functional": (around_models, COARSE),
    "in Keras' own": (
        lambda: keras.Sequential(
            [keras.Input((192, 1)), Sequential(SPHERE, [Pool()]), keras.layers.Dense(2)]
        ),
        COARSE,
    ),
    "memory": (lambda: in_time(GraphConvLSTM(2, 1), Pool()), COARSE),
    "memory on its sampling": (lambda: in_time(GraphConvLSTM(2, 1, sampling=SPHERE)), SPHERE),
    "both ways": (lambda: in_time(keras.layers.Bidirectional(GraphConvLSTM(2, 1))), SPHERE),
    "each time": (
        lambda: in_time(
            keras.layers.TimeDistributed(ChebyshevConv(2, 1)),
            keras.layers.TimeDistributed(Pool()),
            GraphConvLSTM(2, 1),
        ),
        COARSE,
    ),
    "unet each time": (lambda: in_time(keras.layers.TimeDistributed(unet())), SPHERE),
    "normalized": (
        lambda: Sequential(SPHERE, [keras.layers.SpectralNormalization(ChebyshevConv(2, 1))]),
        SPHERE,
    ),
    "temporal unet": (lambda: in_time(TemporalUNet(SPHERE, 1, filters=(2, 3), order=1)), SPHERE),
    "old": (
        lambda: HealpyGCNN(4, np.arange(192), [Sequential(SPHERE, [Pool()]), ChebyshevConv(1, 1)]),
        COARSE,
    ),
}
SEQUENCES = {"memory", "memory on its sampling", "both ways", "each time", "unet each time"} | {
    "temporal unet"
}


def maps(name):
    shape = (2, 192, 3 if name in SEQUENCES else 1)
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("name", CASES)
def test_what_is_nested_is_saved_loaded_and_cloned(name, tmp_path):
    make, sampling = CASES[name]
    model, x = make(), maps(name)
    expected = to_numpy(model(x))
    for variable in model.weights:  # not the initial values
        if variable.dtype == "float32":
            variable.assign(to_numpy(variable) + 0.1)
    expected = to_numpy(model(x))
    assert find_output_sampling(model) == sampling
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(x)), expected)
    clone = keras.models.clone_model(model)
    assert type(clone) is type(loaded) is type(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(to_numpy(clone(x)), expected)
    assert find_output_sampling(clone) == find_output_sampling(loaded) == sampling


@pytest.mark.parametrize("name", ["memory", "both ways", "each time", "normalized"])
def test_only_the_model_saves_the_sampling(name):
    config = CASES[name][0]().get_config()
    assert "healpix" not in json.dumps(config["layers"])
    assert config["sampling"] == serialize(SPHERE)


@pytest.mark.parametrize("name", ["model", "memory", "both ways", "each time", "normalized"])
def test_all_layers_on_one_level_share_one_sampling(name):
    model = CASES[name][0]()
    loaded = type(model).from_config(json.loads(json.dumps(model.get_config())))
    for each in (model, loaded, keras.models.clone_model(model)):
        samplings = [s for layer in each._flatten_layers() if (s := getattr(layer, "sampling", 0))]
        assert len(samplings) > 1
        assert len({id(sampling) for sampling in samplings}) == len(set(samplings))


@pytest.mark.parametrize(
    "wrap",
    [
        keras.layers.TimeDistributed,
        keras.layers.SpectralNormalization,
        lambda layer: keras.layers.TimeDistributed(keras.layers.TimeDistributed(layer)),
    ],
)
def test_wrapped_layers_are_bound_in_place(wrap):
    layer = ChebyshevConv(2, 1)
    wrapper = wrap(layer)
    model = Sequential(SPHERE, [wrapper], graph=8)
    assert model.layers[0] is wrapper
    assert layer.sampling is model.sampling
    assert layer.graph_spec == Graph(8)


def test_memories_follow_the_protocol():
    memory = GraphConvLSTM(2, 1)
    with pytest.raises(ValueError, match="does not know the sampling of its input"):
        memory.output_sampling  # noqa: B018
    assert memory.compute_output_sampling(COARSE) == COARSE
    model = in_time(memory)
    assert model.layers[-1] is memory
    assert memory.sampling is memory.cell.sampling is memory.cell.conv.sampling is model.sampling
    assert memory.state_size == [(192, 2), (192, 2)]


def test_layers_take_the_sampling_of_their_input_in_the_functional_api():
    inputs = keras.Input((192, 1))
    pool, mixed = Pool(), MaxUnpool()
    fine = ChebyshevConv(2, 1, sampling=SPHERE)(inputs)
    y = keras.layers.Dense(2)(keras.layers.Dropout(0.5)(pool(fine)))
    y = mixed([ChebyshevConv(2, 1)(y + 1), fine])
    model = keras.Model(inputs, ResidualBlock(ChebyshevConv(order=1))(y))
    assert pool.sampling is find_output_sampling(model) is mixed.output_sampling
    assert (model.layers[-1].sampling, mixed.sampling) == (SPHERE, COARSE)
    stacked = keras.Sequential([keras.Input((192, 1)), Pool(sampling=SPHERE), ChebyshevConv(1, 1)])
    assert stacked.layers[-1].sampling == COARSE


def test_memories_take_the_sampling_of_their_input_in_the_functional_api():
    inputs = keras.Input((3, 192, 1))
    memory = GraphConvLSTM(2, 1)
    first = keras.layers.TimeDistributed(Pool(sampling=SPHERE))
    pool = Pool()
    assert pool(memory(first(inputs))).shape == (None, 12, 2)
    assert memory.sampling is pool.sampling is first.layer.output_sampling


def test_the_first_layer_needs_a_sampling():
    for layer in (ChebyshevConv(1, 1), keras.layers.TimeDistributed(ChebyshevConv(1, 1))):
        shape = (192, 1) if isinstance(layer, ChebyshevConv) else (3, 192, 1)
        with pytest.raises(ValueError, match="does not know the sampling of its input: pass"):
            layer(keras.layers.Dense(1)(keras.Input(shape)))


class Smoothed(SphereLayer):
    """A user's layer with sublayers that do not know their sampling."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.steps = [ChebyshevConv(2, 1), ResidualBlock(ChebyshevConv(order=1))]

    def build(self, input_shape):
        super().build(input_shape)
        self.steps[0].build(input_shape)
        self.steps[1].build((*input_shape[:2], 2))

    def call(self, x):
        return self.steps[1](self.steps[0](x))


def test_layers_inside_layers_are_bound():
    layer = Smoothed()
    model = Sequential(SPHERE, [layer], graph=8)
    assert model(np.zeros((1, 192, 1), "float32")).shape == (1, 192, 2)
    for inner in (layer.steps[0], layer.steps[1], layer.steps[1].conv2):
        assert inner.sampling is model.sampling
        assert inner.graph_spec == Graph(8)


LOADS = """
import sys, keras, numpy as np
with np.load(sys.argv[1]) as file:
    for name in {name.split(":")[0] for name in file}:
        model = keras.models.load_model(f"{sys.argv[2]}/{name}.keras")
        y = keras.ops.convert_to_numpy(model(file[f"{name}:x"]))
        np.testing.assert_allclose(y, file[f"{name}:y"], rtol=1e-4, atol=1e-5)
"""


@pytest.mark.skipif(not OTHERS, reason="one backend is installed")
@pytest.mark.skipif(BACKEND == "jax", reason="TensorFlow's are loaded by JAX, PyTorch's by it")
def test_another_backend_loads_them(tmp_path):
    arrays = {}
    for name in ("unet", "functional", "memory", "old"):
        model, x = CASES[name][0](), maps(name)
        arrays[f"{name}:x"], arrays[f"{name}:y"] = x, to_numpy(model(x))
        model.save(tmp_path / f"{name}.keras")
    np.savez(tmp_path / "values.npz", **arrays)
    code = [sys.executable, "-c", "import deepsphere\n" + LOADS]
    done = subprocess.run(
        [*code, tmp_path / "values.npz", tmp_path],
        env={**os.environ, "KERAS_BACKEND": OTHERS[0]},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_model_on_another_sampling_is_refused():
    with pytest.raises(ValueError, match=r"is on Healpix\(nside=8\), but the model"):
        Sequential(SPHERE, [Sequential(Healpix(8), [Pool()])])
    with pytest.raises(ValueError, match=r"is on Healpix\(nside=4\), but the model"):
        Sequential(SPHERE, [Pool(), unet()])
    with pytest.raises(ValueError, match=r"GraphConvLSTM .* is on Healpix\(nside=8\)"):
        Sequential(SPHERE, [GraphConvLSTM(1, 1, sampling=Healpix(8))])


def test_nested_models_are_used_as_they_are():
    inner = Sequential(SPHERE, [ChebyshevConv(2, 1)])
    assert Sequential(SPHERE, [inner]).layers[0] is inner


def test_a_memory_without_sampling_says_so():
    with pytest.raises(ValueError, match="does not know the sampling of its input"):
        GraphConvLSTM(2, 1)(np.zeros((1, 3, 192, 1), "float32"))


def test_clones():
    layers = [
        ChebyshevConv(2, 1),
        ResidualBlock(ChebyshevConv(order=1), normalization="layer"),
        keras.layers.Dense(3),
    ]
    model = Sequential(SPHERE, layers, graph=8, name="of_eight")
    model.build((None, 192, 1))
    model.compile("adam", "mse")
    clone = keras.models.clone_model(model)
    assert clone.get_config() == model.get_config()
    assert clone.get_compile_config() == model.get_compile_config()
    assert not any(a is b for a, b in zip(clone.weights, model.weights, strict=True))
    shared = keras.models.clone_model(model, clone_function=lambda layer: layer)
    assert shared.layers == model.layers
    assert shared.sampling == SPHERE

    def wider(layer):
        config = layer.get_config()
        if "units" in config:
            config["units"] = 5
        return type(layer).from_config(config)

    tensor = keras.Input((192, 1), name="maps")
    wide = keras.models.clone_model(model, input_tensors=tensor, clone_function=wider)
    assert type(wide) is Sequential
    assert wide.output_shape == (None, 192, 5)
    assert wide.inputs[0].name == "maps"
    unbuilt = keras.models.clone_model(Sequential(SPHERE, [Pool()]))
    assert not unbuilt.built
    assert unbuilt.output_sampling == COARSE
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert type(keras.models.clone_model(plain)) is keras.Sequential


def test_old_models_are_cloned_with_their_attributes():
    model = HealpyGCNN(4, np.arange(192), [ChebyshevConv(2, 1), Pool()])
    model.build((None, 192, 1))
    clone = keras.models.clone_model(model)
    assert (clone.nside_in, clone.nside_out, clone.n_neighbors) == (4, 2, 8)
    assert clone.layers_in == model.layers_in
    assert clone.graph_spec == Graph(8, laplacian="normalized_tf2")
