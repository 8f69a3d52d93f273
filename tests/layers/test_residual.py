import json

import keras
import numpy as np
import pytest

from deepsphere.graph import Graph
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    GraphConv,
    MonomialConv,
    PatchConv,
    Pool,
    SphereLayer,
)
from deepsphere.layers.residual import ResidualBlock
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix
from harness import MODES, SINGLE, check_layer, gradients, relative_error, spectral_truth, to_numpy

LAYERS = [ChebyshevConv, MonomialConv, BernsteinConv]
SPHERE = Healpix(2)
PART = Healpix(4, np.r_[0:16, 20:30])

ACTIVATIONS = {None: lambda z: z, "relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}


def data(sampling=SPHERE, channels=3, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(sampling), channels)).astype(np.float32)


def randomised(layer, x):
    """Return a built layer with weights other than the initial ones."""
    layer(x)
    rng = np.random.default_rng(1)
    for variable in layer.weights:
        value = to_numpy(variable)
        variable.assign(value + rng.uniform(0.1, 0.4, value.shape))
    return layer


def convolve(conv, x):
    y = spectral_truth(
        x,
        to_numpy(conv.kernel),
        conv.sampling,
        basis=conv.basis,
        graph=conv.resolved_graph,
        scale=conv.scale,
    )
    return ACTIVATIONS[None if conv.activation is keras.activations.linear else "tanh"](
        y + to_numpy(conv.bias)
    )


def normalize(norm, y, training=False):
    if norm is None:
        return y
    gamma, beta = to_numpy(norm.gamma), to_numpy(norm.beta)
    if isinstance(norm, keras.layers.LayerNormalization):
        mean, variance = y.mean(2, keepdims=True), y.var(2, keepdims=True)
    elif training:
        mean, variance = y.mean((0, 1)), y.var((0, 1))
    else:
        mean, variance = to_numpy(norm.moving_mean), to_numpy(norm.moving_variance)
    return gamma * (y - mean) / np.sqrt(variance + norm.epsilon) + beta


def truth(block, x, activation, training=False):
    x = x.astype(float)
    y = normalize(block.norm1, convolve(block.conv1, x), training)
    y = normalize(block.norm2, convolve(block.conv2, y), training)
    activate = ACTIVATIONS[activation]
    if block.activation_first:
        return activate(y) + block.alpha * x
    return activate(y + block.alpha * x)


@pytest.mark.parametrize(
    ("cls", "activation_first", "norm", "sampling"),
    [
        *((cls, False, "batch", PART) for cls in LAYERS),
        *((ChebyshevConv, True, norm, PART) for norm in (None, "batch", "layer")),
        *((ChebyshevConv, False, norm, SPHERE) for norm in (None, "layer")),
    ],
)
def test_output_is_that_of_the_definition(cls, activation_first, norm, sampling):
    conv = cls(order=2, graph=8, activation="tanh")
    block = ResidualBlock(
        conv,
        sampling=sampling,
        activation="relu",
        activation_first=activation_first,
        normalization=norm,
        alpha=0.3,
    )
    x = data(sampling)
    randomised(block, x)
    assert relative_error(block(x), truth(block, x, "relu")) < SINGLE
    expected = truth(block, x, "relu", training=True)
    assert relative_error(block(x, training=True), expected) < SINGLE


@pytest.mark.parametrize(("alpha", "activation_first"), [(0.0, False), (0.1, False), (2.0, True)])
def test_alpha_counts_without_activation_too(activation_first, alpha):
    block = ResidualBlock(
        ChebyshevConv(order=2, graph=8),
        sampling=SPHERE,
        activation_first=activation_first,
        alpha=alpha,
    )
    x = data()
    randomised(block, x)
    assert relative_error(block(x), truth(block, x, None)) < SINGLE


def test_alpha_is_one_by_default():
    conv = ChebyshevConv(order=1, kernel_initializer="zeros")
    x = data()
    np.testing.assert_array_equal(to_numpy(ResidualBlock(conv, sampling=SPHERE)(x)), x)


@pytest.mark.parametrize(("norm", "order", "first"), [("batch", 1, False), ("layer", 0, True)])
def test_gates(norm, order, first, tmp_path):
    # Low order and few neighbors, as XLA compiles a term for each.
    check_layer(
        lambda: ResidualBlock(
            ChebyshevConv(order=order, graph=3, kernel_regularizer=keras.regularizers.L2(1e-3)),
            sampling=PART,
            activation="tanh",
            activation_first=first,
            normalization=norm,
            normalization_config={"gamma_regularizer": keras.regularizers.L2(1e-3)},
            alpha=0.5,
        ),
        data(PART, channels=8),  # the deviation of 3 can be small, and enlarge half's rounding
        tmp_path,
    )


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_observed_pixels_do_not_see_the_others(norm):
    block = ResidualBlock(
        ChebyshevConv(order=1, graph=3, activation="tanh"),
        sampling=PART,
        activation="tanh",
        normalization=norm,
    )
    x = data(PART)
    mask = np.random.default_rng(2).random(x.shape[:2]) < 0.7
    randomised(block, x)
    hidden, zero = x.copy(), x.copy()
    hidden[~mask], zero[~mask] = np.nan, 0
    hidden[1][~mask[1]] = np.inf
    weights = np.where(mask[..., None], 1, 0) * np.ones(x.shape, np.float32)

    def observed(y):
        return np.where(mask[..., None], to_numpy(y), 0)

    # The second convolution takes what the first gave at unobserved pixels as 0, too.
    z = normalize(block.norm1, convolve(block.conv1, zero))
    z = normalize(block.norm2, convolve(block.conv2, np.where(mask[..., None], z, 0)))
    expected = np.tanh(z + zero)
    for mode in MODES:
        y, (dx,) = gradients(lambda x: block(x, mask=mask), [hidden], np.float32(weights), mode)
        assert relative_error(observed(y), observed(expected)) < SINGLE, mode
        assert np.isfinite(dx).all()
        assert not dx[~mask].any()
    in_training = [to_numpy(block(each, training=True, mask=mask)) for each in (hidden, zero)]
    np.testing.assert_array_equal(*map(observed, in_training))


@keras.saving.register_keras_serializable("tests")
class Doubled(SphereLayer):
    """A layer without graph, weights, or mask."""

    def call(self, x):
        return 2 * x

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize("conv", [ChebyshevConv(order=0), Doubled()], ids=["graph", "pointwise"])
def test_batch_norm_counts_observed_pixels_only(conv):
    block = ResidualBlock(
        conv, sampling=PART, normalization="batch", normalization_config={"momentum": 0.0}
    )
    x = data(PART)
    mask = np.random.default_rng(2).random(x.shape[:2]) < 0.7
    block(x, training=True, mask=mask)
    seen = to_numpy(block.conv1(x))[mask].astype(float)
    np.testing.assert_allclose(to_numpy(block.norm1.moving_mean), seen.mean(0), atol=1e-5)
    np.testing.assert_allclose(to_numpy(block.norm1.moving_variance), seen.var(0), rtol=1e-4)


def test_the_template_is_only_copied():
    conv = ChebyshevConv(order=2, name="pattern")
    before = conv.get_config()
    blocks = [ResidualBlock(conv, sampling=SPHERE), ResidualBlock(conv, sampling=PART)]
    for block in blocks:
        block(data(block.sampling))
        copies = [each for each in block._flatten_layers() if isinstance(each, GraphConv)]
        assert copies == [block.conv1, block.conv2]
        assert len(block.trainable_variables) == 4
        assert not np.array_equal(to_numpy(block.conv1.kernel), to_numpy(block.conv2.kernel))
    assert not conv.built
    assert conv.sampling is None
    assert conv.get_config() == before


def test_the_callers_normalization_config_is_only_copied():
    config = {"epsilon": 1e-5, "gamma_initializer": keras.initializers.Constant(2.0)}
    before = dict(config)
    block = ResidualBlock(
        ChebyshevConv(), sampling=SPHERE, normalization="layer", normalization_config=config
    )
    assert config == before
    config["epsilon"] = 1.0
    again = ResidualBlock.from_config(block.get_config())
    for each in (block, again):
        each.build((None, 48, 3))
        for norm in (each.norm1, each.norm2):
            assert norm.epsilon == 1e-5
            np.testing.assert_array_equal(to_numpy(norm.gamma), 2 * np.ones(3))
    assert again.get_config() == block.get_config()


def test_the_sampling_is_written_once():
    for built in (False, True):
        block = ResidualBlock(ChebyshevConv(sampling=PART), normalization="batch")
        assert block.sampling == block.conv1.sampling == block.conv2.sampling == PART
        if built:
            block.build((None, len(PART), 3))
        text = json.dumps(keras.saving.serialize_keras_object(block))
        pixels = json.dumps(PART.get_config()["pixels"])
        assert text.count(pixels) == 1
        again = keras.saving.deserialize_keras_object(json.loads(text))
        assert again.conv2.sampling == PART


def test_model_hands_sampling_and_graph_to_the_copies(tmp_path):
    sampling = Healpix(4)
    model = Sequential(
        sampling,
        [
            ChebyshevConv(4, 1),
            ResidualBlock(MonomialConv(order=1), normalization="batch"),
            Pool(),
            ResidualBlock(BernsteinConv(order=1, graph=6), activation="relu"),
            ResidualBlock(ChebyshevConv(order=1), graph=Graph(7, laplacian="random_walk")),
        ],
        graph=Graph(10, laplacian="combinatorial"),
    )
    blocks = [layer for layer in model.layers if isinstance(layer, ResidualBlock)]
    found = [(b.conv1.sampling, b.conv1.resolved_graph) for b in blocks]
    half = sampling.coarsen()
    assert found == [
        (sampling, Graph(10, laplacian="combinatorial")),
        (half, Graph(6, laplacian="normalized")),  # a graph of its own, as a whole
        (half, Graph(7, laplacian="random_walk")),
    ]
    assert all(b.conv1.resolved_graph == b.conv2.resolved_graph for b in blocks)
    x = data(sampling)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    assert loaded.layers[4].conv2.resolved_graph == Graph(7, laplacian="random_walk")


def test_precision_reaches_the_copies():
    block = ResidualBlock(
        ChebyshevConv(), sampling=SPHERE, normalization="layer", dtype="mixed_bfloat16"
    )
    for layer in (block.conv1, block.conv2, block.norm1, block.norm2):
        assert layer.dtype_policy.name == "mixed_bfloat16"
    block = ResidualBlock(
        ChebyshevConv(), normalization="batch", normalization_config={"dtype": "float32"}
    )
    assert block.norm2.dtype_policy.name == "float32"


def test_any_layer_that_keeps_the_shape():
    x = data()
    block = ResidualBlock(Doubled(), sampling=SPHERE, alpha=0.5, graph=8)
    np.testing.assert_allclose(to_numpy(block(x)), 4.5 * x, rtol=1e-6)
    mask = np.ones(x.shape[:2], bool)
    np.testing.assert_allclose(to_numpy(block(x, mask=mask)), 4.5 * x, rtol=1e-6)
    nested = ResidualBlock(block)
    np.testing.assert_allclose(to_numpy(nested(x)), (4.5**2 + 1) * x, rtol=1e-6)
    assert ResidualBlock.from_config(nested.get_config()).get_config() == nested.get_config()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"conv": "chebyshev"}, TypeError, r"such as ChebyshevConv\(\), got 'chebyshev'"),
        ({"conv": keras.layers.Dense(3)}, TypeError, "must be a layer of this package"),
        (
            {"normalization": "batch_norm"},
            ValueError,
            "None or 'batch' or 'layer', got 'batch_norm'",
        ),
        (
            {"normalization_config": {"axis": -1}},
            ValueError,
            r"requires normalization='batch' or 'layer', got {'axis'",
        ),
        ({"normalization": "batch", "normalization_config": {"epsilom": 1}}, ValueError, "epsilom"),
        ({"alpha": float("nan")}, ValueError, "alpha must be finite, got nan"),
        ({"activation": "rleu"}, ValueError, "rleu"),
        ({"graph": 0}, ValueError, "neighbors must be at least 1, got 0"),
        ({"graph": "normalized"}, ValueError, r"use graph=Graph\(laplacian='normalized'\)"),
        ({"sampling": 64}, TypeError, "sampling must be a Sampling"),
        (
            {"conv": Pool(), "sampling": SPHERE},
            ValueError,
            r"preserve the sampling, but Pool maps Healpix\(nside=2\) to Healpix\(nside=1\)",
        ),
        ({"conv": ChebyshevConv(sampling=PART), "sampling": SPHERE}, ValueError, "is on Healpix"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        ResidualBlock(**{"conv": ChebyshevConv(), **arguments})


def test_a_model_refuses_another_resolution():
    with pytest.raises(ValueError, match="must preserve the sampling, but PatchConv maps"):
        Sequential(SPHERE, [ResidualBlock(PatchConv())])


def test_another_number_of_channels():
    ResidualBlock(ChebyshevConv(3), sampling=SPHERE)(data())
    with pytest.raises(ValueError, match=r"inputs of shape \(3, 48, 3\) into \(3, 48, 4\).* to 3"):
        ResidualBlock(ChebyshevConv(4), sampling=SPHERE)(data())


def test_without_sampling():
    with pytest.raises(ValueError, match="does not know the sampling of its input"):
        ResidualBlock(ChebyshevConv())(data())


def test_drop_path_skips_samples_in_training():
    """Each sample gets either the scaled block output or only its input."""
    block = ResidualBlock(ChebyshevConv(order=1), sampling=Healpix(2), drop_path=0.25)
    x = np.random.default_rng(0).standard_normal((400, 48, 2)).astype("float32")
    whole = to_numpy(block(x)) - x
    y = to_numpy(block(x, training=True)) - x
    skipped = np.all(y == 0, axis=(1, 2))
    assert 0.15 < skipped.mean() < 0.35  # four standard deviations of 400 draws
    # Scaled in float32, then x is taken from the sum again.
    np.testing.assert_allclose(y[~skipped], whole[~skipped] / 0.75, rtol=0, atol=1e-5)
    again = ResidualBlock.from_config(block.get_config())
    assert again.drop_path == 0.25
    with pytest.raises(ValueError, match=r"drop_path must be in \[0, 1\), got 1"):
        ResidualBlock(ChebyshevConv(), drop_path=1)
