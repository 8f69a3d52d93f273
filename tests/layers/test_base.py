"""Properties of every layer of the package; no layer can be omitted."""

import keras
import numpy as np
import pytest

from deepsphere import layers
from deepsphere.compat import healpy_layers as hp
from deepsphere.graph import Graph
from deepsphere.models import (
    Autoencoder,
    ClimateUNet,
    Sequential,
    TemporalUNet,
    UNet,
    VariationalAutoencoder,
)
from deepsphere.sampling import Healpix
from harness import BACKEND, QUICK, relative_error, to_numpy

SPHERE = Healpix(2)
COUNTS = np.random.default_rng(0).poisson(30, (2, 48, 4)).clip(0, 127)
MASK = np.arange(48) < 30


def unbound(**options):
    conv = layers.ChebyshevConv(order=1)
    return {
        "BatchNormalization": lambda: layers.BatchNormalization(**options),
        "BernsteinConv": lambda: layers.BernsteinConv(3, 1, **options),
        "ChebyshevConv": lambda: layers.ChebyshevConv(3, 1, normalization="batch", **options),
        "ConvPool": lambda: layers.ConvPool(3, 1, **options),
        "GaussianSmoothing": lambda: layers.GaussianSmoothing(fwhm=30, unit="degree", **options),
        "GraphConvLSTM": lambda: layers.GraphConvLSTM(2, 1, sampling=SPHERE, **options),
        "GraphConvLSTMCell": lambda: layers.GraphConvLSTMCell(2, 1, sampling=SPHERE, **options),
        "GraphTransformer": lambda: layers.GraphTransformer(2, 2, **options),
        "LayerNormalization": lambda: layers.LayerNormalization(**options),
        "MaxUnpool": lambda: layers.MaxUnpool(sampling=Healpix(1), **options),
        "MonomialConv": lambda: layers.MonomialConv(3, 1, **options),
        "NeighborTransformerBlock": lambda: layers.NeighborTransformerBlock(2, 2, **options),
        "PatchConv": lambda: layers.PatchConv(3, **options),
        "PatchConvTranspose": lambda: layers.PatchConvTranspose(3, **options),
        "Pool": lambda: layers.Pool(mode="mean", **options),
        "PositionEmbedding": lambda: layers.PositionEmbedding(**options),
        "Resample": lambda: layers.Resample(Healpix(1), "inverse_distance", **options),
        "ResidualBlock": lambda: layers.ResidualBlock(conv, normalization="batch", **options),
        "SmoothPool": lambda: layers.SmoothPool(**options),
        "Statistics": lambda: layers.Statistics("histogram", bins=3, **options),
        "SurveyMask": lambda: layers.SurveyMask(MASK, **options),
        "TransformerBlock": lambda: layers.TransformerBlock(2, 2, **options),
        "Unpool": lambda: layers.Unpool(**options),
        "VisionTransformer": lambda: layers.VisionTransformer(2, 2, 1, **options),
    }


BASES = {"GraphConv", "SphereConv", "SphereLayer"}
MORE = {
    "Pool max": lambda **o: layers.Pool(**o),
    "Pool area": lambda **o: layers.Pool(mode="area", **o),
    "Statistics max": lambda **o: layers.Statistics("max", **o),
    "Statistics mean_variance": lambda **o: layers.Statistics("mean_variance", **o),
    "GraphConvLSTM loop": lambda **o: layers.GraphConvLSTM(
        2, 1, sampling=SPHERE, unroll=False, **o
    ),
    "HealpyChebyshev": lambda **o: hp.HealpyChebyshev(2, 3, **o),
    "HealpyPool": lambda **o: hp.HealpyPool(1, **o),
    "HealpyPseudoConv": lambda **o: hp.HealpyPseudoConv(1, 3, **o),
    "HealpySmoothing": lambda **o: hp.HealpySmoothing(
        nside=2, indices=np.arange(48), nest=True, fwhm=1800, **o
    ),
}
NAMES = [*unbound(), *MORE]


def make(name, **options):
    layer = MORE[name](**options) if name in MORE else unbound(**options)[name]()
    known = not isinstance(layer, layers.SphereLayer) or layer.sampling is not None
    return layer if known else layer.bind(SPHERE, graph=8)


def call(name, layer, x):
    """Call a layer with the arguments that its class needs."""
    if name == "MaxUnpool":
        return layer([x[:, ::4], x])
    if name.startswith("GraphConvLSTM "):
        return layer(np.stack([x, x], 1))
    if name == "GraphConvLSTM":
        return layer(np.stack([x, x], 1))
    if name == "GraphConvLSTMCell":
        return layer(x, layer.get_initial_state(2))[0]
    return layer(x)


def test_every_layer_is_here():
    assert set(unbound()) | BASES == set(layers.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_integers_and_booleans_are_numbers(name, engine):
    """As Keras layers do, layers compute in their own precision whatever holds the numbers."""
    layer = make(name)
    for counts, dtypes in (
        (COUNTS, ("int64", "int32", "int8", "uint8", "float16", "float64")),
        (COUNTS > 30, ("bool",)),
    ):
        expected = to_numpy(call(name, layer, counts.astype(np.float32)))
        assert expected.dtype == np.float32
        for dtype in dtypes:
            y = to_numpy(call(name, layer, counts.astype(dtype)))
            assert y.dtype == np.float32, dtype
            if dtype == "float64":  # rounded before or after the moments of a normalization
                np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
            else:
                np.testing.assert_array_equal(y, expected, err_msg=dtype)
    with pytest.raises(TypeError, match="needs real numbers"):
        call(name, layer, COUNTS.astype(np.complex64))


ON_GRAPH = [name for name in unbound() if getattr(getattr(layers, name), "on_graph", False)]
GRAPH, OTHER = Graph(7, laplacian="combinatorial"), Graph(5)


def test_layers_on_graphs():
    convolutions = {"BernsteinConv", "ChebyshevConv", "ConvPool", "MonomialConv", "ResidualBlock"}
    recurrent = {"GraphConvLSTM", "GraphConvLSTMCell"}
    attention = {"GraphTransformer", "NeighborTransformerBlock"}
    assert set(ON_GRAPH) == {*convolutions, *recurrent, *attention, "SmoothPool"}


@pytest.mark.parametrize("name", ON_GRAPH)
def test_a_layer_keeps_its_graph_or_takes_the_models(name):
    own = unbound(graph=GRAPH)[name]()
    for layer in (own, own.bind(SPHERE, OTHER), own.bind(SPHERE)):
        assert layer.graph_spec == GRAPH
        assert type(layer).from_config(layer.get_config()).graph_spec == GRAPH
    assert unbound()[name]().bind(SPHERE, GRAPH).graph_spec == GRAPH
    assert unbound()[name]().bind(SPHERE).graph_spec is None
    assert unbound(graph="mesh")[name]().graph_spec == Graph(edges="mesh")


@pytest.mark.parametrize("name", ON_GRAPH)
def test_parts_of_graphs_are_no_arguments(name):
    with pytest.raises(TypeError, match=r"use graph=Graph\(neighbors=7\), .* got neighbors=7"):
        unbound(neighbors=7)[name]()
    with pytest.raises(TypeError, match=r"graph=Graph\(neighbors=7, laplacian='optimal'\)"):
        unbound(neighbors=7, laplacian="optimal")[name]()


FOUR, SMALL = Healpix(4), {"filters": (2, 4), "order": 1}
ON_ONE_GRAPH = {
    "UNet": lambda **o: UNet(SPHERE, 1, block="residual", pooling="smooth_max", **SMALL, **o),
    "TemporalUNet": lambda **o: TemporalUNet(SPHERE, 1, **SMALL, **o),
    "ClimateUNet": lambda **o: ClimateUNet(SPHERE, 1, **SMALL, **o),
    "Autoencoder": lambda **o: Autoencoder(FOUR, latent=2, pooling="conv", **SMALL, **o),
    "VariationalAutoencoder": lambda **o: VariationalAutoencoder(FOUR, latent=2, **SMALL, **o),
    "Sequential": lambda **o: Sequential(SPHERE, [unbound()[name]() for name in IN_A_ROW], **o),
}
IN_A_ROW = ["ResidualBlock", "GraphTransformer", "MonomialConv", "ConvPool"]


@pytest.mark.parametrize("name", ON_ONE_GRAPH)
def test_all_layers_of_a_model_are_on_its_graph(name):
    make = ON_ONE_GRAPH[name]
    model = make(graph=GRAPH)
    for each in (model, type(model).from_config(model.get_config())):
        found = [
            layer.graph_spec for layer in each._flatten_layers() if hasattr(layer, "graph_spec")
        ]
        assert len(found) >= 4
        assert set(found) == {GRAPH}
    with pytest.raises(TypeError, match=r"use graph=Graph\(neighbors=7\), .* got neighbors=7"):
        make(neighbors=7)


@pytest.mark.parametrize("name", ["ChebyshevConv", "PatchConv", "Pool", "BatchNormalization"])
def test_integers_in_functional_models(name):
    inputs = keras.Input((48, 4), dtype="int32")
    layer = make(name)
    model = keras.Model(inputs, layer(inputs))
    assert model.outputs[0].dtype == "float32"
    expected = to_numpy(layer(COUNTS.astype(np.float32)))
    np.testing.assert_array_equal(to_numpy(model(COUNTS.astype(np.int32))), expected)


def models():
    small = {"filters": (2, 3), "order": 1, "activation": "elu"}
    yield UNet(SPHERE, 1, **small), COUNTS
    yield Autoencoder(SPHERE, 4, filters=(2,), latent=2, order=1), COUNTS
    yield VariationalAutoencoder(SPHERE, 4, filters=(2,), latent=2, order=1), COUNTS
    yield TemporalUNet(SPHERE, 1, **small), np.stack([COUNTS, COUNTS], 1)
    yield Sequential(SPHERE, [layers.ChebyshevConv(2, 1), keras.layers.Dense(1)]), COUNTS


@pytest.mark.parametrize("which", range(5))
def test_models_of_integers(which):
    model, counts = list(models())[which]
    real = counts.astype(np.float32)
    expected = to_numpy(model(real))
    for dtype in ("uint8", "float64"):
        np.testing.assert_array_equal(to_numpy(model(counts.astype(dtype))), expected)
        y = model.predict(counts.astype(dtype), verbose=0)
        assert relative_error(y, expected) < 1e-5
    target = np.zeros(expected.shape, np.float32)
    model.compile(keras.optimizers.SGD(0.0), "mse", **QUICK)
    before = [np.array(v) for v in model.get_weights()]
    losses = []
    for x in (real, counts.astype(np.int64)):
        model.set_weights(before)
        losses.append(model.evaluate(x, target, verbose=0))
        model.fit(x, target, verbose=0)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    for function in (model, lambda x: model.predict(x, verbose=0)):
        with pytest.raises(TypeError, match="needs real numbers"):
            function(counts.astype(np.complex64))


TOLERANCES = {"float16": 1e-2, "bfloat16": 8e-2, "float64": 1e-4}
"""Some ten roundings of 1e-3 and 8e-3; single precision is what is compared with."""


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", NAMES)
def test_every_precision(name, dtype):
    x = (COUNTS / 30 - 1).astype(np.float32)
    layer, other = make(name), make(name, dtype=dtype)
    expected = to_numpy(call(name, layer, x))
    y = call(name, other, x)
    # JAX computes in double precision only if it is told to for the whole process.
    assert keras.backend.standardize_dtype(y.dtype) == (
        "float32" if (BACKEND, dtype) == ("jax", "float64") else dtype
    )
    other.set_weights([to_numpy(w).astype(np.float32) for w in layer.get_weights()])
    y = to_numpy(keras.ops.cast(call(name, other, x), "float32"))
    assert relative_error(y, expected) < TOLERANCES[dtype]
