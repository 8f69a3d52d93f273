"""Batch normalization evaluates as it trained, from the first step."""

from inspect import signature

import keras
import numpy as np
import pytest

from deepsphere.layers import BatchNormalization, ChebyshevConv, Pool, ResidualBlock
from deepsphere.models import Sequential, UNet
from deepsphere.ops.moving_averages import MANY_STEPS
from deepsphere.sampling import Healpix
from harness import BACKEND, QUICK, relative_error, to_numpy

SPHERE = Healpix(4)
RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, (6, len(SPHERE), 2)).astype(np.float32)
MASK = RNG.random(len(SPHERE)) < 0.5


def truth(y, observed=None):
    """Normalize over batch and pixels in double precision."""
    y = np.asarray(to_numpy(y), float)
    seen = y if observed is None else y[observed]
    axes = tuple(range(seen.ndim - 1))
    return (y - seen.mean(axes)) / np.sqrt(seen.var(axes) + 1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("masked", [False, True])
def test_one_step_is_enough(masked, scale):
    """Evaluation uses the statistics of the batch, in the filter's kernel and in Keras'."""
    mask = np.broadcast_to(MASK, X.shape[:2]) if masked else None
    layer = ChebyshevConv(3, 2, sampling=SPHERE, normalization="batch")
    plain = ChebyshevConv(3, 2, sampling=SPHERE)
    x = scale * X
    layer.build(x.shape)
    plain.build(x.shape)
    plain.set_weights([to_numpy(layer.kernel), to_numpy(layer.bias)])
    layer(x, training=True, mask=mask)
    y = to_numpy(layer(x, mask=mask))
    expected = truth(plain(x, mask=mask), mask)
    observed = slice(None) if mask is None else mask
    assert relative_error(y[observed], expected[observed]) < 1e-4  # 1e-7 on means of 3 deviations
    block = ResidualBlock(ChebyshevConv(order=1), sampling=SPHERE, normalization="batch", alpha=0.0)
    trained = to_numpy(block(x, training=True, mask=mask))
    assert relative_error(to_numpy(block(x, mask=mask))[observed], trained[observed]) < 1e-3


def test_steps_that_average():
    """After t steps the averages have the weights of the recursion, in double precision."""
    layer = BatchNormalization(momentum=0.5)
    batches = RNG.normal(2, 3, (120, 8, 2)).astype(np.float32)
    mean, variance = np.zeros(2), np.ones(2)
    for t, batch in enumerate(batches, 1):
        layer(batch, training=True)
        part = max(0.5, 50 / (t + 49))
        mean += part * (batch.mean(0, dtype=float) - mean)
        variance += part * (batch.var(0, dtype=float) - variance)
        if t in (1, 2, 10, 60, 120):
            np.testing.assert_allclose(to_numpy(layer.moving_mean), mean, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(to_numpy(layer.moving_variance), variance, rtol=1e-5)
    assert float(layer.moving_steps) == 120


def readme(sampling):
    model = Sequential(sampling)
    for filters in (16, 32):
        model.add(ChebyshevConv(filters, order=4, normalization="batch", activation="relu"))
        model.add(Pool())
    model.add(ChebyshevConv(2, order=4))
    model.add(keras.layers.GlobalAveragePooling1D())
    model.add(keras.layers.Softmax())
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **QUICK)
    return model


def test_the_recipe_of_the_readme_on_three_maps():
    sampling = Healpix(8)
    labels = np.array([0, 1, 0])
    maps = RNG.standard_normal((3, len(sampling), 1)).astype(np.float32)
    maps *= np.where(labels, 1.3, 1)[:, None, None]
    model = readme(sampling)
    history = model.fit(maps, labels, epochs=10, verbose=0).history
    loss, accuracy = model.evaluate(maps, labels, verbose=0)
    assert history["accuracy"][-1] == accuracy == 1
    assert loss < 2 * history["loss"][-1]


def test_models_evaluate_as_they_train():
    """With small training steps, the two modes differ only in their statistics."""
    model = UNet(SPHERE, 2, filters=(4, 8), order=1)
    model.compile(keras.optimizers.SGD(0.0), "mse", **QUICK)
    model.fit(X, X, batch_size=6, epochs=2, verbose=0)
    assert relative_error(model(X), to_numpy(model(X, training=True))) < 1e-3


def test_weights_are_those_of_keras():
    """Old weight lists keep their length, and loaded averages count as settled."""
    layer, keras_layer = BatchNormalization(), keras.layers.BatchNormalization()
    for each in (layer, keras_layer):
        each.build((None, 5, 2))
    assert [w.name for w in layer.weights] == [w.name for w in keras_layer.weights]
    assert layer.count_params() == keras_layer.count_params() == 8
    assert len(layer.variables) == 5
    layer.set_weights([np.full(2, value, np.float32) for value in (1, 0, 2, 3)])
    layer(X, training=True)  # moves as Keras' does
    expected = 0.99 * 2 + 0.01 * X.mean((0, 1), dtype=float)
    np.testing.assert_allclose(to_numpy(layer.moving_mean), expected, rtol=1e-5)


def test_files_of_keras_and_ours(tmp_path):
    path = tmp_path / "model.weights.h5"

    def make(cls):
        return keras.Sequential([keras.Input((192, 2)), cls(momentum=0.9, name="norm")])

    old = make(keras.layers.BatchNormalization)
    old.layers[0].moving_mean.assign([1.0, 2.0])
    old.layers[0].moving_variance.assign([3.0, 4.0])
    old.save_weights(path)
    new = make(BatchNormalization)
    new.layers[0](X, training=True)  # something else before
    new.load_weights(path)
    np.testing.assert_allclose(to_numpy(new(X)), to_numpy(old(X)), rtol=1e-6)
    assert float(new.layers[0].moving_steps) == MANY_STEPS
    for model in (old, new):
        model.compile(keras.optimizers.SGD(1e-3), "mse", **QUICK)
        model.fit(X, X, epochs=1, batch_size=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(to_numpy(new(X)), to_numpy(old(X)), rtol=1e-5, atol=1e-5)

    fresh = make(BatchNormalization)  # and its own file, in the middle of the first steps
    for _ in range(3):
        fresh.layers[0](X, training=True)
    fresh.save(tmp_path / "fresh.keras")
    loaded = keras.models.load_model(tmp_path / "fresh.keras")
    assert float(loaded.layers[0].moving_steps) == 3
    np.testing.assert_array_equal(to_numpy(loaded(X)), to_numpy(fresh(X)))


def test_frozen_layers_do_not_move():
    layer = ChebyshevConv(3, 2, sampling=SPHERE, normalization="batch")
    layer(X, training=True)
    before = [to_numpy(v).copy() for v in layer.norm.variables]
    layer.trainable = False
    frozen = to_numpy(layer(2 * X, training=True))
    np.testing.assert_array_equal(frozen, to_numpy(layer(2 * X)))
    for value, variable in zip(before, layer.norm.variables, strict=True):
        np.testing.assert_array_equal(value, to_numpy(variable))


def test_batches_without_observed_pixels_do_not_count():
    layer = BatchNormalization()
    layer(X, training=True, mask=np.zeros(X.shape[:2], bool))
    assert (to_numpy(layer.moving_mean) == 0).all()
    assert (to_numpy(layer.moving_variance) == 1).all()
    layer(X, training=True, mask=np.ones(X.shape[:2], bool))
    np.testing.assert_allclose(to_numpy(layer.moving_mean), X.mean((0, 1)), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "mixed_bfloat16", "float64"])
def test_precisions(dtype):
    layer = BatchNormalization(dtype=dtype)
    layer(X, training=True)
    np.testing.assert_allclose(to_numpy(layer.moving_mean), X.mean((0, 1)), rtol=2e-3)
    assert layer.moving_steps.dtype == "float32"


@pytest.mark.skipif(
    "renorm" not in signature(keras.layers.BatchNormalization).parameters,
    reason="this version of Keras has no batch renormalization",
)
def test_renormalization():
    clipping = {"rmin": 1.0, "rmax": 1.0, "dmax": 0.0}
    layer = BatchNormalization(renorm=True, renorm_clipping=clipping)
    y = to_numpy(layer(X, training=True))
    assert relative_error(layer(X), y) < 1e-2


@pytest.mark.skipif(BACKEND != "torch", reason="Keras' own layers fail on other backends")
def test_recomputed_activations():
    """`keras.RematScope` changes no gradient: the same weights after training."""
    weights = []
    for mode in (None, "full"):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((len(SPHERE), 2))
        with keras.RematScope(mode=mode):
            y = ChebyshevConv(3, 1, sampling=SPHERE, normalization="batch", activation="relu")(
                inputs
            )
            y = Pool(sampling=SPHERE)(y)
        model = keras.Model(inputs, y)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(X, np.zeros((6, 48, 3), np.float32), epochs=2, verbose=0)
        weights.append([to_numpy(v) for v in model.trainable_variables])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
