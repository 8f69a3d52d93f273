"""Results do not depend on memory layout or on where a layer is called."""

import threading

import keras
import numpy as np
import pytest

from deepsphere.layers import (
    ChebyshevConv,
    GraphTransformer,
    PatchConv,
    Pool,
    Resample,
    ResidualBlock,
    Statistics,
)
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix
from harness import BACKEND, QUICK, SINGLE, relative_error, to_numpy

SPHERE = Healpix(2)
X = np.random.default_rng(0).standard_normal((3, 48, 2)).astype("float32")
LAYERS = {
    "filter": lambda: ChebyshevConv(
        3, 2, sampling=SPHERE, normalization="batch", activation="relu"
    ),
    "residual": lambda: ResidualBlock(
        ChebyshevConv(order=1), normalization="batch", sampling=SPHERE
    ),
    "pool": lambda: Pool(sampling=SPHERE),
    "patch": lambda: PatchConv(3, sampling=SPHERE),
    "attention": lambda: GraphTransformer(2, 2, num_layers=1, sampling=SPHERE),
    "resample": lambda: Resample(Healpix(1), "inverse_distance", sampling=SPHERE),
    "statistics": lambda: Statistics("mean_variance", sampling=SPHERE),
}
needs_torch = pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's own")
needs_jax = pytest.mark.skipif(BACKEND != "jax", reason="JAX's own")
needs_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own")


@pytest.fixture(scope="module", params=LAYERS)
def layer(request):
    layer = LAYERS[request.param]()
    layer(X)
    return layer


@pytest.fixture
def expected(layer):
    return to_numpy(layer(X))


def strided(x):
    room = np.full((2 * x.shape[0], 3 * x.shape[1], x.shape[2] + 2), np.nan, x.dtype)
    view = room[::2, ::3, 1:-1]
    view[...] = x
    return view


def reversed_in_memory(x):
    return x[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


FORMS = {
    "strided": strided,
    "reversed": reversed_in_memory,
    "fortran": np.asfortranarray,
    "read-only": read_only,
    "double": lambda x: x.astype("float64"),
    "big-endian": lambda x: x.astype(">f4"),  # as in FITS files
    "unmasked masked array": np.ma.masked_array,
}


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")  # PyTorch's own
@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_every_form(form, layer, expected):
    x = FORMS[form](X)
    np.testing.assert_array_equal(to_numpy(layer(x)), expected)


@pytest.fixture(scope="module")
def model():
    model = Sequential(SPHERE, [LAYERS["filter"](), Pool(), keras.layers.Dense(1)])
    model.build((None, 48, 2))
    model.compile(keras.optimizers.SGD(0.0), "mse", **QUICK)
    return model


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize("form", FORMS)
def test_predictions_from_arrays_of_every_form(form, model):
    expected = model.predict(X, verbose=0)
    np.testing.assert_array_equal(model.predict(FORMS[form](X), verbose=0), expected)


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_losses_of_arrays_of_every_form(model):
    y = X[:, :12, :1]
    options = {"verbose": 0, "shuffle": False}
    for form in FORMS.values():
        x, target = form(X), form(y)
        truth = model.evaluate(X, y, verbose=0)
        assert model.evaluate(x, target, verbose=0) == truth
        assert model.test_on_batch(x, target) == pytest.approx(truth, rel=1e-6)
        history = model.fit(x, target, validation_data=(x, target), **options).history
        assert history["val_loss"] == [model.evaluate(X, y, verbose=0)]
        assert model.train_on_batch(x, target) == pytest.approx(history["loss"][0], rel=1e-6)


def test_masked_arrays_are_refused_before_keras_drops_the_mask(model):
    masked = np.ma.masked_array(X, np.arange(48)[:, None] + 0 * X < 2)
    y = np.zeros((3, 12, 1), "float32")
    hidden = np.ma.masked_array(y, np.ones_like(y))
    calls = {
        "predict": lambda: model.predict(masked),
        "predict_on_batch": lambda: model.predict_on_batch(masked),
        "evaluate": lambda: model.evaluate(masked, y),
        "fit": lambda: model.fit(masked, y),
        "fit y": lambda: model.fit(X, hidden),
        "fit weights": lambda: model.fit(X, y, sample_weight=hidden[..., 0]),
        "validation": lambda: model.fit(X, y, validation_data=(masked, y)),
        "train": lambda: model.train_on_batch(X, y=hidden),
        "test": lambda: model.test_on_batch(masked, y),
    }
    for call in calls.values():
        with pytest.raises(ValueError, match=r"is masked at .* values.*SurveyMask"):
            call()


def test_complex_targets_are_refused(model):
    y = np.zeros((3, 12, 1), np.complex64)
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(TypeError, match="needs real numbers, got complex64"):
            call(X, y)


# ---- PyTorch ----


def gradients(layer, x):
    """Return the output and all gradients of a call."""
    import torch

    x = x.detach().clone().requires_grad_()
    y = layer(x)
    weights = [variable.value for variable in layer.trainable_variables]
    found = torch.autograd.grad(y.float().square().sum(), [x, *weights], allow_unused=True)
    return [to_numpy(t) for t in (y, *found) if t is not None]


@needs_torch
def test_tensors_of_every_form(layer, expected):
    import torch

    x = torch.from_numpy(X)
    room = torch.full((6, 96, 4), torch.nan)
    room[::2, ::2, 1:3] = x
    forms = [x.permute(2, 1, 0).contiguous().permute(2, 1, 0), room[::2, ::2, 1:3]]
    weights = [variable.value for variable in layer.trainable_variables]
    truth = gradients(layer, x)[1:]
    for form in forms:
        form.requires_grad_()
        y = layer(form)
        np.testing.assert_array_equal(to_numpy(y), expected)
        found = torch.autograd.grad(y.square().sum(), [form, *weights], allow_unused=True)
        for a, b in zip([t for t in found if t is not None], truth, strict=True):
            np.testing.assert_array_equal(to_numpy(a), b)
    one = x[:1]
    many = to_numpy(layer(one.expand(3, 48, 2)))
    np.testing.assert_array_equal(many, to_numpy(layer(one.repeat(3, 1, 1))))


@needs_torch
def test_inference_mode(layer, expected):
    import torch

    with torch.inference_mode():
        x = torch.from_numpy(X).clone()
        y = layer(x)
    assert y.is_inference()
    np.testing.assert_array_equal(to_numpy(y), expected)
    with torch.no_grad():
        np.testing.assert_array_equal(to_numpy(layer(x)), expected)


@needs_torch
def test_autocast(layer, expected):
    """Within the precision of bfloat16, 2⁻⁸, forward and backward."""
    import torch

    x = torch.from_numpy(X)
    truth = gradients(layer, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(layer, x)
        half = layer(x.bfloat16())
    assert relative_error(found[0], expected) < 4 * 2**-8  # of a few products in a row
    scale = max(np.abs(gradient).max() for gradient in truth[1:])  # some are 0
    for a, b in zip(found[1:], truth[1:], strict=True):
        assert np.abs(a - b).max() < 8 * 2**-8 * scale
    assert relative_error(to_numpy(half.float()), expected) < 8 * 2**-8


@needs_torch
def test_tensors_without_numbers_are_refused(layer, model):
    """Keras would misread such memory as the values."""
    import torch

    x = torch.empty((3, 48, 2), device="meta")
    for function in (layer, model):
        with pytest.raises(ValueError, match=r"meta device, which holds no numbers.*output_shape"):
            function(x)
    assert layer.compute_output_shape(x.shape) == layer(X).shape


@needs_torch
def test_threads(layer):
    """Eight concurrent calls give the same results as sequential ones."""
    import torch

    inputs = [torch.from_numpy(X + i) for i in range(8)]
    truth = [gradients(layer, x) for x in inputs]
    found = [None] * len(inputs)

    def work(i):
        for _ in range(3):
            found[i] = gradients(layer, inputs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for those, these in zip(truth, found, strict=True):
        for a, b in zip(those, these, strict=True):
            np.testing.assert_array_equal(a, b)


@needs_torch
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_workers_of_a_data_loader():
    """The workers are forks of a process whose threads have already been used."""
    import torch

    layer = LAYERS["filter"]()
    expected = to_numpy(layer(X))

    class Filtered(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            with torch.no_grad():
                return layer(torch.from_numpy(X[i : i + 1]))[0]

    loader = torch.utils.data.DataLoader(
        Filtered(), batch_size=3, num_workers=2, multiprocessing_context="fork", timeout=60
    )
    (found,) = loader
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(to_numpy(layer(X)), expected)


# ---- JAX ----


@needs_jax
@pytest.mark.parametrize("kind", ["scan", "fori_loop", "while_loop", "cond"])
def test_control_flow_of_jax(kind, layer, expected):
    import jax
    import jax.numpy as jnp

    def run(x):
        like = jnp.zeros(expected.shape)
        if kind == "scan":
            return jax.lax.scan(lambda y, part: (y + layer(part), None), like, x[None])[0]
        if kind == "fori_loop":
            return jax.lax.fori_loop(0, 1, lambda _, y: y + layer(x), like)
        if kind == "while_loop":
            step = lambda state: (state[0] + 1, state[1] + layer(x))  # noqa: E731
            return jax.lax.while_loop(lambda state: state[0] < 1, step, (0, like))[1]
        return jax.lax.cond(x[0, 0, 0] < 1e9, layer, lambda _: like, x)

    x = jnp.asarray(X)
    assert relative_error(to_numpy(jax.jit(run)(x)), expected) < SINGLE
    if kind != "while_loop":  # which JAX does not differentiate
        found, truth = (
            to_numpy(jax.jit(jax.grad(lambda x, f=f: (f(x) ** 2).sum()))(x)) for f in (run, layer)
        )
        assert relative_error(found, truth) < SINGLE


# ---- TensorFlow ----


@needs_tensorflow
def test_compiled_loops_of_tensorflow(layer, expected):
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def run(x):
        like = tf.zeros(expected.shape)
        return tf.while_loop(lambda i, _: i < 1, lambda i, y: (i + 1, y + layer(x)), (0, like))[1]

    assert relative_error(to_numpy(run(tf.constant(X))), expected) < SINGLE
