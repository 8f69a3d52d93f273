import keras
import numpy as np
import pytest

from deepsphere import ops
from deepsphere.graph import Graph
from deepsphere.layers import BernsteinConv, ChebyshevConv, GraphConv, MonomialConv
from deepsphere.sampling import Healpix
from harness import BACKEND, SINGLE, check_layer, relative_error, spectral_truth, to_numpy

LAYERS = [ChebyshevConv, MonomialConv, BernsteinConv]
SPHERE = Healpix(4)
PART = Healpix(4, np.r_[0:16, 32:48, 100:108])


def data(sampling, channels=3, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(sampling), channels)).astype(np.float32)


@pytest.mark.parametrize(
    ("cls", "scale", "sampling", "kind"),
    [  # every two values of any two arguments meet
        (cls, (None, 1.0, 0.5)[(i + j + k) % 3], sampling, kind)
        for i, cls in enumerate(LAYERS)
        for j, sampling in enumerate((SPHERE, PART))
        for k, kind in enumerate(("normalized", "combinatorial", "random_walk"))
    ],
)
def test_output_is_that_of_the_definition(cls, scale, sampling, kind):
    layer = cls(
        4, 5, sampling=sampling, graph=Graph(9, laplacian=kind), scale=scale, use_bias=False
    )
    x = data(sampling)
    y = layer(x)
    expected = spectral_truth(
        x,
        to_numpy(layer.kernel),
        sampling,
        basis=cls.basis,
        graph=Graph(9, laplacian=kind),
        scale=scale or {"chebyshev": 0.75, "monomial": 1.0, "bernstein": 1.0}[cls.basis],
    )
    assert relative_error(y, expected) < SINGLE


def test_defaults_are_those_of_the_papers():
    layer = ChebyshevConv(2, sampling=PART)
    x = data(PART)
    y = layer(x)
    assert layer.resolved_graph == Graph(20, laplacian="normalized")
    kernel = to_numpy(layer.kernel)
    assert kernel.shape == (15, 2)
    expected = spectral_truth(x, kernel, PART, basis="chebyshev", graph=20, scale=0.75)
    assert relative_error(y, expected) < SINGLE


@pytest.mark.parametrize("sampling", [SPHERE, PART], ids=repr)
def test_the_number_of_neighbors_that_is_chosen(sampling):
    auto = Graph(max_error=1e-2)
    layer = ChebyshevConv(2, 3, sampling=sampling, graph=auto)
    x = data(sampling)
    y = layer(x)
    # The normalized Laplacian at nside 32: 1.8e-2 with 8 neighbors, 8.3e-3 with 12.
    truth = {"basis": "chebyshev", "graph": 12, "scale": 0.75}
    expected = spectral_truth(x, to_numpy(layer.kernel), sampling, **truth)
    assert relative_error(y, expected) < SINGLE
    assert layer.spectral_bound == ChebyshevConv(2, 3, sampling=sampling, graph=12).spectral_bound
    again = ChebyshevConv.from_config(layer.get_config())
    assert again.graph_spec == auto
    assert again.make_operator() is layer.operator


@pytest.mark.parametrize("cls", LAYERS)
@pytest.mark.parametrize("filters", [2, 5], ids=["fewer filters", "more filters"])
def test_gates(cls, filters, tmp_path):
    # Few neighbors, as XLA compiles a term for each.
    check_layer(
        lambda: cls(
            filters,
            3,
            sampling=Healpix(2),
            graph=4,
            activation="tanh",
            kernel_regularizer=None,
            name="convolution",
        ),
        data(Healpix(2)),
        tmp_path,
    )


def test_gates_with_batch_norm_on_part_of_the_sphere(tmp_path):
    part = Healpix(4, np.r_[0:16, 20:30])
    check_layer(
        lambda: ChebyshevConv(
            4, 2, sampling=part, graph=Graph(3, laplacian="random_walk"), normalization="batch"
        ),
        data(part),
        tmp_path,
    )


def test_order_of_operations():
    """Filter, then normalize, then bias, then activation."""
    layer = ChebyshevConv(4, 3, sampling=SPHERE, normalization="batch", activation="relu")
    linear = ChebyshevConv(4, 3, sampling=SPHERE, use_bias=False)
    x = data(SPHERE)
    for each in (layer, linear):
        each(x)
    bias = np.array([0.5, -0.5, 1.0, 0.0], np.float32)
    layer.bias.assign(bias)
    linear.set_weights([to_numpy(layer.kernel)])
    z = to_numpy(linear(x)).astype(float)
    normalized = (z - z.mean((0, 1))) / np.sqrt(z.var((0, 1)) + 1e-5)
    assert relative_error(layer(x, training=True), np.maximum(normalized + bias, 0)) < SINGLE
    # After one step the running statistics are those of its batch.
    assert relative_error(layer(x, training=False), np.maximum(normalized + bias, 0)) < SINGLE
    assert [v.path.split("/")[-1] for v in layer.trainable_variables] == ["kernel", "bias"]


@pytest.mark.parametrize(
    ("cls", "deviation"),
    [
        (ChebyshevConv, 1 / np.sqrt(30 * 10.5 / 2)),  # 1 / sqrt(Fin (K + 0.5) / 2), K = 10
        (MonomialConv, 0.1),
        (BernsteinConv, np.sqrt(6 / (30 + 40))),
    ],
)
def test_initial_weights(cls, deviation):
    layer = cls(40, 9, sampling=Healpix(1))
    layer.build((None, 12, 30))
    kernel = to_numpy(layer.kernel)
    assert kernel.shape == (300, 40)
    assert np.abs(kernel).max() <= 2 * deviation * (1 + 1e-6)  # cut at two standard deviations
    # The cut normal distribution has 0.8796 of the deviation; 12 000 draws know it to 1 %.
    assert kernel.std() == pytest.approx(0.8796 * deviation, rel=0.03)
    assert not to_numpy(layer.bias).any()


def test_chebyshev_keeps_the_variance():
    layer = ChebyshevConv(200, 9, sampling=Healpix(8), scale=1.0)
    x = np.random.default_rng(0).standard_normal((1, 768, 20)).astype(np.float32)
    # Of the order of one: the formula assumes a spectrum that is spread over the interval.
    assert 0.3 < to_numpy(layer(x)).var() < 3


def test_kernel_rows_are_ordered_by_channel():
    layer = MonomialConv(1, 2, sampling=Healpix(2), use_bias=False)
    x = data(Healpix(2), channels=2)
    layer(x)
    kernel = np.zeros((6, 1), np.float32)
    kernel[3] = 1  # channel 1, degree 0
    layer.set_weights([kernel])
    np.testing.assert_allclose(to_numpy(layer(x))[..., 0], x[..., 1], atol=1e-6)


def test_filters_default_to_the_channels():
    layer = ChebyshevConv(order=1, sampling=SPHERE)
    assert layer(data(SPHERE, channels=7)).shape[-1] == 7
    assert layer.compute_output_shape((None, 192, 7)) == (None, 192, 7)


def test_order_zero_is_a_pointwise_product():
    layer = ChebyshevConv(4, 0, sampling=SPHERE, use_bias=False)
    x = data(SPHERE)
    y = layer(x)
    assert relative_error(y, x.astype(float) @ to_numpy(layer.kernel)) < SINGLE


def test_regularizer_and_constraint_reach_the_kernel():
    layer = ChebyshevConv(
        4,
        2,
        sampling=SPHERE,
        kernel_regularizer=keras.regularizers.L2(0.5),
        kernel_constraint="non_neg",
    )
    layer(data(SPHERE))
    kernel = to_numpy(layer.kernel).astype(float)
    assert float(to_numpy(layer.losses[0])) == pytest.approx(0.5 * (kernel**2).sum(), rel=1e-5)
    assert isinstance(layer.kernel.constraint, keras.constraints.NonNeg)


if BACKEND == "torch":  # the other backends compile in every test

    @pytest.mark.filterwarnings("default")  # PyTorch's compiler warns about itself
    @pytest.mark.slow
    def test_torch_compile(engine):
        inputs = keras.Input((48, 3))
        model = keras.Model(inputs, ChebyshevConv(2, 3, sampling=Healpix(2), graph=8)(inputs))
        x = data(Healpix(2))
        expected = model.predict(x, verbose=0)
        model.compile("sgd", "mse", jit_compile=True)
        assert relative_error(model.predict(x, verbose=0), expected) < SINGLE
        losses = model.fit(x, np.zeros((3, 48, 2)), epochs=2, verbose=0).history["loss"]
        assert losses[1] < losses[0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"filters": 0}, ValueError, "filters must be at least 1, got 0"),
        ({"filters": 2.5}, TypeError, "filters must be an integer, got 2.5"),
        ({"order": -1}, ValueError, "order must be at least 0, got -1"),
        ({"order": "5"}, TypeError, "order must be an integer, got '5'"),
        ({"graph": 0}, ValueError, "neighbors must be at least 1, got 0"),
        ({"graph": "optimal"}, ValueError, r"use graph=Graph\(laplacian='optimal'\)"),
        ({"graph": 8.0}, TypeError, "graph must be a Graph, .* got 8.0"),
        ({"neighbors": 8}, TypeError, r"graph=Graph\(neighbors=8\)"),
        ({"scale": 0.0}, ValueError, r"scale must be in \(0, 1\], got 0.0"),
        ({"scale": 1.5}, ValueError, r"scale must be in \(0, 1\], got 1.5"),
        ({"activation": "rleu"}, ValueError, "rleu"),
        ({"sampling": 64}, TypeError, r"sampling must be a Sampling such as Healpix\(64\), got 64"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        ChebyshevConv(**{"filters": 4, **arguments})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 191, 3), r"Healpix\(nside=4\) and needs inputs of shape \(batch, 192, channels\)"),
        ((2, 192), r"needs inputs of shape \(batch, pixels, channels\), got \(2, 192\)"),
        ((2, 12, 16, 3), r"got \(2, 12, 16, 3\)"),
    ],
)
def test_bad_inputs(shape, message):
    with pytest.raises(ValueError, match=message):
        ChebyshevConv(4, sampling=SPHERE)(np.zeros(shape, np.float32))


def test_a_built_layer_checks_its_inputs_too():
    layer = ChebyshevConv(4, sampling=SPHERE)
    layer(data(SPHERE))
    with pytest.raises(ValueError, match="expected axis 1 of input shape to have value 192"):
        layer(np.zeros((2, 48, 3), np.float32))
    with pytest.raises(ValueError, match="expected axis 2 of input shape to have value 3"):
        layer(np.zeros((2, 192, 4), np.float32))


def test_a_layer_without_sampling_says_so():
    with pytest.raises(ValueError, match="does not know the sampling of its input"):
        ChebyshevConv(4)(np.zeros((2, 192, 3), np.float32))


def test_the_base_cannot_be_used():
    with pytest.raises(TypeError, match="GraphConv is a base class; use ChebyshevConv"):
        GraphConv(4)


@pytest.mark.parametrize("layer", [ChebyshevConv, MonomialConv, BernsteinConv])
def test_depthwise(layer):
    """Each channel equals the output of a one-channel layer with its rows of the kernel."""
    x = np.random.default_rng(0).standard_normal((2, 48, 3)).astype("float32")
    conv = layer(order=2, sampling=Healpix(2), depthwise=True, use_bias=False)
    y = to_numpy(conv(x))
    kernel = to_numpy(conv.kernel)
    assert kernel.shape == (9, 1)
    for channel in range(3):
        single = layer(1, order=2, sampling=Healpix(2), use_bias=False)
        single.build((None, 48, 1))
        single.kernel.assign(kernel[3 * channel : 3 * channel + 3])
        right = to_numpy(single(x[..., channel : channel + 1]))[..., 0]
        assert relative_error(y[..., channel], right) < SINGLE
    assert layer.from_config(conv.get_config()).depthwise
    with pytest.raises(ValueError, match="is depthwise, so filters must be None or the 3 channels"):
        layer(2, sampling=Healpix(2), depthwise=True)(x)


def test_activations_are_those_of_keras():
    """The operation applies all but the sigmoid, whose logits TensorFlow's losses need."""
    x = np.random.default_rng(0).standard_normal((2, 48, 3)).astype("float32")
    conv = ChebyshevConv(4, 2, sampling=Healpix(2))
    linear = to_numpy(conv(x))
    included = set()
    for name in (*ops.ACTIVATIONS, "mish"):
        same = ChebyshevConv(4, 2, sampling=Healpix(2), activation=name)
        same.build(x.shape)
        same.set_weights(conv.get_weights())
        y = same(x)
        expected = to_numpy(keras.activations.get(name)(keras.ops.convert_to_tensor(linear)))
        assert relative_error(y, expected) < SINGLE
        if same._included_activation == name:
            included.add(name)
        if name == "sigmoid" and BACKEND == "tensorflow":
            assert relative_error(y._keras_logits, linear) < SINGLE
    assert included == set(ops.ACTIVATIONS) - {"sigmoid"}
    # An activation with the name of Keras' own, but another slope.
    steep = ChebyshevConv(4, 2, sampling=Healpix(2), activation=leaky_relu)
    steep.build(x.shape)
    steep.set_weights(conv.get_weights())
    assert relative_error(steep(x), np.where(linear > 0, linear, -linear)) < SINGLE


def leaky_relu(x):
    return keras.activations.leaky_relu(x, negative_slope=-1.0)


SMALL = Healpix(2)


DROPPED = 0.4


def small_maps(channels=3, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(SMALL), channels)).astype(np.float32)


def with_dropout(cls=ChebyshevConv, rate=DROPPED, **kwargs):
    return cls(4, 2, sampling=SMALL, graph=8, use_bias=False, filter_dropout=rate, **kwargs)


def filters_of_a_step(layer, channels):
    """Return responses to an impulse per channel, (channels, pixels, filters)."""
    impulses = np.zeros((channels, len(SMALL), channels), np.float32)
    impulses[range(channels), 0, range(channels)] = 1
    return to_numpy(layer(impulses, training=True))


@pytest.mark.parametrize("cls", LAYERS)
def test_whole_filters_are_dropped_and_the_others_scaled(cls):
    layer = with_dropout(cls)
    layer(small_maps())
    plain = with_dropout(cls, rate=0)
    plain(small_maps())
    plain.set_weights(layer.get_weights())
    complete = filters_of_a_step(plain, 3)
    steps = np.stack([filters_of_a_step(layer, 3) for _ in range(40)])
    dropped = ~steps.any(axis=2)  # at all pixels, hence in all coefficients
    expected = np.where(dropped[:, :, None], 0, complete / (1 - DROPPED))
    assert relative_error(steps, expected) < SINGLE
    # Each filter by itself: 480 draws know the rate to 0.022, allowed is four times that.
    assert dropped.mean() == pytest.approx(DROPPED, abs=0.09)
    # With other filters on each side: 40 draws of one know its rate to 0.077.
    assert (abs(dropped.mean(axis=0) - DROPPED) < 0.31).all()
    assert len(np.unique(dropped.reshape(40, -1), axis=0)) > 20


def test_the_expected_output_is_that_without_dropout():
    layer, x = with_dropout(BernsteinConv, rate=0.2), small_maps(channels=20, batch=1)
    expected = to_numpy(layer(x, training=False))
    mean = np.mean([to_numpy(layer(x, training=True)) for _ in range(100)], axis=0)
    # A step is off by sqrt(0.2 / 0.8) = 0.5 of the size of the output, the mean of 100 by 0.05.
    assert np.std(mean - expected) < 0.1 * np.std(expected)


def test_nothing_changes_at_inference():
    layer, x = with_dropout(), small_maps()
    plain = with_dropout(rate=0)
    plain(x)
    layer(x)
    plain.set_weights(layer.get_weights())
    for y in (layer(x), layer(x, training=False)):
        np.testing.assert_array_equal(to_numpy(y), to_numpy(plain(x)))
    assert plain.dropout is None
    np.testing.assert_array_equal(to_numpy(plain(x, training=True)), to_numpy(plain(x)))


def test_kept_and_dropped_filters_in_half_precision():
    layer = with_dropout(dtype="mixed_bfloat16")
    y = layer(small_maps(), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert layer.dropout.compute_dtype == "float32"  # the kernel keeps its digits


def test_training_moves_the_kept_filters_only():
    layer = with_dropout(rate=0.5)
    inputs = keras.Input((len(SMALL), 3))
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=BACKEND != "torch")
    x, before = small_maps(), to_numpy(layer.kernel).copy()
    model.fit(x, np.ones((3, len(SMALL), 4)), epochs=1, batch_size=3, verbose=0)
    moved = (to_numpy(layer.kernel) != before).reshape(3, 3, 4)  # channels, terms, filters
    assert (moved == moved[:, :1]).all()
    assert 0 < np.count_nonzero(moved[:, 0]) < 12


def test_a_loaded_model_drops_as_before(tmp_path):
    inputs = keras.Input((len(SMALL), 3))
    keras.Model(inputs, with_dropout()(inputs)).save(tmp_path / "model.keras")
    layer = keras.models.load_model(tmp_path / "model.keras").layers[-1]
    assert layer.filter_dropout == layer.dropout.rate == DROPPED
    assert not np.array_equal(filters_of_a_step(layer, 3), filters_of_a_step(layer, 3))


def test_gates_of_filter_dropout(tmp_path):
    # Next to never drops a filter: the loss must fall from one epoch to the next.
    check_layer(
        lambda: MonomialConv(4, 1, sampling=SMALL, graph=3, filter_dropout=1e-6),
        small_maps(),
        tmp_path,
    )


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan")])
def test_bad_rates(rate):
    with pytest.raises(ValueError, match=rf"filter_dropout must be in \[0, 1\), got {rate}"):
        with_dropout(rate=rate)
