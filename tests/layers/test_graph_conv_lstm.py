"""The recurrent layer, compared with NumPy steps and the dense Laplacian."""

import keras
import numpy as np
import pytest

from deepsphere.graph import Graph
from deepsphere.layers import GraphConvLSTM, GraphConvLSTMCell
from deepsphere.sampling import Healpix
from harness import (
    BACKEND,
    QUICK,
    SINGLE,
    check_fit,
    check_modes,
    check_saving,
    gradients,
    relative_error,
    spectral_truth,
    to_numpy,
)

SPHERE = Healpix(2)
PART = Healpix(4, np.arange(64))


def data(points=48, steps=3, channels=2, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, steps, points, channels)).astype(np.float32)


def make(filters=2, sampling=SPHERE, **options):
    return GraphConvLSTM(filters, 2, sampling=sampling, graph=4, **options)


def steps_in_numpy(layer, x):
    """Return all hidden states and the last cell state, in float64."""
    conv = layer.cell.conv
    h = c = np.zeros((len(x), x.shape[2], layer.cell.filters))
    states = []
    for t in range(x.shape[1]):
        gates = spectral_truth(
            np.concatenate([x[:, t], h], axis=2),
            to_numpy(conv.kernel),
            layer.sampling,
            basis="chebyshev",
            graph=4,
            scale=0.75,
        )
        i, f, g, o = np.split(gates + to_numpy(conv.bias), 4, axis=2)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        states.append(h)
    return np.stack(states, axis=1), c


@pytest.mark.parametrize("sampling", [SPHERE, PART], ids=str)
@pytest.mark.parametrize("unroll", [True, False])
def test_values(sampling, unroll):
    layer = make(3, sampling, unroll=unroll, return_sequences=True, return_state=True)
    x = data(len(sampling))
    layer.build(x.shape)
    conv = layer.cell.conv
    assert conv.kernel.shape == (3 * (2 + 3), 4 * 3)
    np.testing.assert_array_equal(to_numpy(conv.bias), np.repeat([0, 1, 0, 0], 3))
    conv.bias.assign(np.linspace(-1, 1, 12))
    hidden, cell = steps_in_numpy(layer, x)
    found = [*layer(x)]
    shapes = layer.compute_output_shape(x.shape)
    for value, truth, shape in zip(found, [hidden, hidden[:, -1], cell], shapes, strict=True):
        assert relative_error(value, truth) < SINGLE
        assert truth.shape == shape


def test_options_of_keras():
    """Last state only, reversed time, initial states, and masked steps."""
    x = data()
    layer = make(return_sequences=True)
    layer.build(x.shape)
    weights = layer.get_weights()

    def again(x, call=None, **options):
        other = make(**options)
        other.build(x.shape)
        other.set_weights(weights)
        return other(x, **(call or {}))

    states = to_numpy(layer(x))
    assert relative_error(again(x), states[:, -1]) < SINGLE
    assert relative_error(again(x[:, ::-1].copy(), go_backwards=True), states[:, -1]) < SINGLE
    start = again(x[:, :1], return_state=True)[1:]
    later = again(x[:, 1:], {"initial_state": list(start)})
    assert relative_error(later, states[:, -1]) < SINGLE
    seen = keras.ops.convert_to_tensor(np.array([[True, True, False]] * 3))
    assert relative_error(again(x, {"mask": seen}), states[:, 1]) < SINGLE


@pytest.mark.parametrize("sequences", [False, True])
def test_gates(sequences, tmp_path):
    def layer():
        return make(return_sequences=sequences, use_bias=not sequences)

    if sequences:
        check_saving(layer, data(steps=2), tmp_path)
        check_fit(layer, data(steps=1))  # compiling takes a second a step
    else:
        check_modes(layer, data(steps=2))


@pytest.mark.skipif(BACKEND == "tensorflow", reason="no gradient of a convolution in a loop")
def test_gradients_of_a_loop():
    x, weights = data(), np.random.default_rng(1).standard_normal((3, 48, 2)).astype(np.float32)
    layer = make()
    layer.build(x.shape)
    loop = make(unroll=False)
    loop.build(x.shape)
    loop.set_weights(layer.get_weights())
    mode = "jit" if BACKEND == "jax" else "eager"
    (_, (expected,)), (_, (found,)) = (
        gradients(each, [x], weights, mode) for each in (layer, loop)
    )
    assert relative_error(found, expected) < SINGLE


def test_learns_a_difference():
    """The target is the last map minus the first, which needs a memory."""
    x = data(channels=1, batch=64)
    target = 0.3 * (x[:, -1] - x[:, 0])
    inputs = keras.Input(x.shape[1:])
    hidden = GraphConvLSTM(6, 0, sampling=SPHERE)(inputs)  # each point by itself
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    model.compile(keras.optimizers.Adam(2e-2), "mse", **QUICK)
    losses = model.fit(x, target, batch_size=8, epochs=12, verbose=0).history["loss"]
    # The last map alone leaves half of the variance.
    assert losses[-1] < 0.15 * target.var(), losses


def test_half_precision():
    layer = make()
    half = GraphConvLSTM.from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
    x = data()
    expected = layer(x)
    half.build(x.shape)
    half.set_weights(layer.get_weights())
    y = half(x)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    # Roundings of 8e-3 in three steps, which add up.
    assert relative_error(keras.ops.cast(y, "float32"), to_numpy(expected)) < 4e-2


def test_every_option_comes_back():
    options = {
        "activation": "elu",
        "recurrent_activation": "hard_sigmoid",
        "use_bias": False,
        "graph": Graph(5, laplacian="optimal"),
        "unroll": False,
        "return_sequences": True,
        "stateful": False,
        "name": "mine",
    }
    layer = GraphConvLSTM(3, 1, sampling=PART, **options)
    config = layer.get_config()
    again = GraphConvLSTM.from_config(config)
    assert again.get_config() == config
    options["graph"] = options["graph"].get_config()
    assert {name: config[name] for name in options} == options
    cell = layer.cell
    assert GraphConvLSTMCell.from_config(cell.get_config()).get_config() == cell.get_config()


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: GraphConvLSTM(3)(data()), ValueError, "pass sampling="),
        (lambda: make(0), ValueError, "filters must be at least 1, got 0"),
        (
            lambda: make()(data()[:, 0]),
            ValueError,
            r"\(batch, time, 48, channels\) .*, got \(3, 48",
        ),
        (lambda: make()(data(12)), ValueError, r"\(batch, 48, channels\), got \(3, 12, 2\)"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_a_loop_trains_as_what_is_unrolled():
    """On TensorFlow too, which has no gradient of the convolution in a loop."""
    sphere = Healpix(1)
    x = np.random.default_rng(0).standard_normal((2, 3, 12, 1)).astype(np.float32)
    results = []
    for unroll in (True, False):
        keras.utils.set_random_seed(0)
        layer = GraphConvLSTM(2, 1, sampling=sphere, unroll=unroll)
        model = keras.Sequential([keras.Input((3, 12, 1)), layer])
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=BACKEND == "jax")
        model.fit(x, np.zeros((2, 12, 2)), epochs=2, verbose=0)
        assert layer.unroll is unroll
        results.append(model.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    if BACKEND == "tensorflow":
        layer = GraphConvLSTM(2, 1, sampling=sphere, unroll=False)
        model = keras.Sequential([keras.Input((None, 12, 1)), layer])
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match="known number of steps"):
            layer.call(keras.Input((None, 12, 1)), training=True)


def test_a_mask_of_pixels_is_refused():
    layer = make()
    for shape in ((3, 3, 12), (3,)):
        with pytest.raises(ValueError, match=r"mask of shape \(batch, time\).*TemporalUNet"):
            layer(data(), mask=keras.ops.ones(shape, "bool"))
