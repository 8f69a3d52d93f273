import keras
import numpy as np
import pytest

from deepsphere.layers import BernsteinConv, ChebyshevConv, MonomialConv
from deepsphere.sampling import Healpix
from harness import BACKEND, SINGLE, check_layer, relative_error, to_numpy

SPHERE = Healpix(2)
RATE = 0.4
LAYERS = [ChebyshevConv, MonomialConv, BernsteinConv]


def data(channels=3, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(SPHERE), channels)).astype(np.float32)


def make(cls=ChebyshevConv, rate=RATE, **kwargs):
    return cls(4, 2, sampling=SPHERE, graph=8, use_bias=False, filter_dropout=rate, **kwargs)


def filters_of_a_step(layer, channels):
    """Return responses to an impulse per channel, (channels, pixels, filters)."""
    impulses = np.zeros((channels, len(SPHERE), channels), np.float32)
    impulses[range(channels), 0, range(channels)] = 1
    return to_numpy(layer(impulses, training=True))


@pytest.mark.parametrize("cls", LAYERS)
def test_whole_filters_are_dropped_and_the_others_scaled(cls):
    layer = make(cls)
    layer(data())
    plain = make(cls, rate=0)
    plain(data())
    plain.set_weights(layer.get_weights())
    complete = filters_of_a_step(plain, 3)
    steps = np.stack([filters_of_a_step(layer, 3) for _ in range(40)])
    dropped = ~steps.any(axis=2)  # at all pixels, hence in all coefficients
    expected = np.where(dropped[:, :, None], 0, complete / (1 - RATE))
    assert relative_error(steps, expected) < SINGLE
    # Each filter by itself: 480 draws know the rate to 0.022, allowed is four times that.
    assert dropped.mean() == pytest.approx(RATE, abs=0.09)
    # With other filters on each side: 40 draws of one know its rate to 0.077.
    assert (abs(dropped.mean(axis=0) - RATE) < 0.31).all()
    assert len(np.unique(dropped.reshape(40, -1), axis=0)) > 20


def test_the_expected_output_is_that_without_dropout():
    layer, x = make(BernsteinConv, rate=0.2), data(channels=20, batch=1)
    expected = to_numpy(layer(x, training=False))
    mean = np.mean([to_numpy(layer(x, training=True)) for _ in range(100)], axis=0)
    # A step is off by sqrt(0.2 / 0.8) = 0.5 of the size of the output, the mean of 100 by 0.05.
    assert np.std(mean - expected) < 0.1 * np.std(expected)


def test_nothing_changes_at_inference():
    layer, x = make(), data()
    plain = make(rate=0)
    plain(x)
    layer(x)
    plain.set_weights(layer.get_weights())
    for y in (layer(x), layer(x, training=False)):
        np.testing.assert_array_equal(to_numpy(y), to_numpy(plain(x)))
    assert plain.dropout is None
    np.testing.assert_array_equal(to_numpy(plain(x, training=True)), to_numpy(plain(x)))


def test_kept_and_dropped_filters_in_half_precision():
    layer = make(dtype="mixed_bfloat16")
    y = layer(data(), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert layer.dropout.compute_dtype == "float32"  # the kernel keeps its digits


def test_training_moves_the_kept_filters_only():
    layer = make(rate=0.5)
    inputs = keras.Input((len(SPHERE), 3))
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=BACKEND != "torch")
    x, before = data(), to_numpy(layer.kernel).copy()
    model.fit(x, np.ones((3, len(SPHERE), 4)), epochs=1, batch_size=3, verbose=0)
    moved = (to_numpy(layer.kernel) != before).reshape(3, 3, 4)  # channels, terms, filters
    assert (moved == moved[:, :1]).all()
    assert 0 < np.count_nonzero(moved[:, 0]) < 12


def test_a_loaded_model_drops_as_before(tmp_path):
    inputs = keras.Input((len(SPHERE), 3))
    keras.Model(inputs, make()(inputs)).save(tmp_path / "model.keras")
    layer = keras.models.load_model(tmp_path / "model.keras").layers[-1]
    assert layer.filter_dropout == layer.dropout.rate == RATE
    assert not np.array_equal(filters_of_a_step(layer, 3), filters_of_a_step(layer, 3))


def test_gates(tmp_path):
    # Next to never drops a filter: the loss must fall from one epoch to the next.
    check_layer(
        lambda: MonomialConv(4, 1, sampling=SPHERE, graph=3, filter_dropout=1e-6), data(), tmp_path
    )


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan")])
def test_bad_rates(rate):
    with pytest.raises(ValueError, match=rf"filter_dropout must be in \[0, 1\), got {rate}"):
        make(rate=rate)
