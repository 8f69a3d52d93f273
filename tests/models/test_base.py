"""Checks of arguments and inputs that all ready-made models share."""

import keras
import numpy as np
import pytest

from deepsphere.layers import ChebyshevConv, ConvPool, GraphConvLSTM, PatchConv, Pool, SmoothPool
from deepsphere.models import Sequential, UNet
from deepsphere.models.base import check_widths, make_pool, resolutions
from deepsphere.sampling import Healpix, extend_pixels
from harness import BACKEND, to_numpy

SPHERE = Healpix(2)


def test_resolutions_go_from_fine_to_coarse():
    assert resolutions(Healpix(4), 2) == [Healpix(4), Healpix(2), Healpix(1)]
    assert resolutions(Healpix(4), 0) == [Healpix(4)]
    assert resolutions(Healpix(4), 1)[1] is resolutions(Healpix(4), 2)[1]


@pytest.mark.parametrize(
    ("sampling", "error", "message"),
    [
        (64, TypeError, r"sampling must be a Sampling such as Healpix\(64\), got 64"),
        (Healpix(4), ValueError, r"goes down 3 levels, but Healpix\(nside=4\) has 2 complete"),
        (
            Healpix(8, extend_pixels([0], 8, 2, nest=True)),
            ValueError,
            r"goes down 3 levels, but .* has 2 .* Use fewer filters or a finer sampling",
        ),
    ],
)
def test_too_few_resolutions(sampling, error, message):
    with pytest.raises(error, match=message):
        resolutions(sampling, 3)


@pytest.mark.parametrize(
    ("widths", "error", "message"),
    [
        ((), ValueError, r"filters must have a length of at least 1, got \(\)"),
        (8, TypeError, "filters must be a sequence of integers, got 8"),
        ("88", TypeError, "filters must be a sequence of integers, got '88'"),
        ((8, 0), ValueError, "each of filters must be at least 1, got 0"),
        ((8, 1.5), TypeError, "each of filters must be an integer, got 1.5"),
    ],
)
def test_wrong_numbers_of_channels(widths, error, message):
    with pytest.raises(error, match=message):
        check_widths("filters", widths)


@pytest.mark.parametrize(
    ("pooling", "kind", "mode"),
    [
        ("max", Pool, "max"),
        ("area", Pool, "area"),
        ("smooth_mean", SmoothPool, "mean"),
        ("patch", PatchConv, None),
        ("conv", ConvPool, None),
    ],
)
def test_poolings_by_name(pooling, kind, mode):
    layer = make_pool(pooling, 3)
    assert type(layer) is kind
    assert getattr(layer, "mode", None) == mode
    assert getattr(layer, "filters", 3) == 3
    with pytest.raises(ValueError, match=r"pooling must be one of max, mean, .*got 'min'"):
        make_pool("min", 3)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="other backends know all shapes")
@pytest.mark.parametrize("kind", ["sequential", "unbuilt", "unet", "functional"])
def test_tensorflow_data_sets(kind):
    import tensorflow as tf

    layers = [ChebyshevConv(2, 1), PatchConv(2), keras.layers.Dense(1)]
    if kind == "unet":
        model = UNet(SPHERE, 1, filters=(2, 3), order=1)
    elif kind == "functional":
        inputs = keras.Input((None, 1))
        model = keras.Model(inputs, ChebyshevConv(1, 1, sampling=SPHERE)(inputs))
    else:
        model = Sequential(SPHERE, layers)
    if kind == "sequential":
        model.build((None, 48, 1))
    model.compile("sgd", "mse", jit_compile=False)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 48, 1)).astype("float32")
    y = np.zeros((4, 12 if kind in ("sequential", "unbuilt") else 48, 1), "float32")
    signature = (tf.TensorSpec((None, 1)), tf.TensorSpec((None, 1)))

    def data(maps):
        pairs = tf.data.Dataset.from_generator(
            lambda: zip(maps, y, strict=True), output_signature=signature
        )
        return pairs.batch(2).apply(tf.data.experimental.assert_cardinality(2))

    model.fit(data(x), shuffle=False, verbose=0)
    found = model.predict(data(x).map(lambda maps, _: maps), verbose=0)
    np.testing.assert_allclose(found, to_numpy(model(x)), rtol=1e-4, atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not compatible with expected shape"):
        model.predict(data(np.zeros((4, 96, 1), "float32")).map(lambda maps, _: maps), verbose=0)


def test_unknown_channels_are_refused():
    for layer in (ChebyshevConv(1, 1, sampling=SPHERE), UNet(SPHERE, 1, filters=(2, 3))):
        with pytest.raises(ValueError, match=r"number of\s+channels must be known"):
            layer.build((None, 48, None))
    with pytest.raises(ValueError, match="with a known number of channels"):
        GraphConvLSTM(1, 1, sampling=SPHERE).build((None, 3, 48, None))


def test_unknown_pixels_are_those_of_the_sampling():
    layer = ChebyshevConv(1, 1, sampling=SPHERE)
    layer.build((None, None, 2))
    assert layer(np.zeros((1, 48, 2), "float32")).shape == (1, 48, 1)
    model = Sequential(SPHERE, [Pool(), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.build((None, None, 2))
    assert model.input_shape == (None, 48, 2)
    with pytest.raises(ValueError, match="48"):
        model(np.zeros((1, 96, 2), "float32"))
