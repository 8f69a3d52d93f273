"""Data sets that do not say how many pixels their maps have."""

import keras
import numpy as np
import pytest

from deepsphere.layers import ChebyshevConv, GraphConvLSTM, PatchConv, Pool
from deepsphere.models import Sequential, UNet
from deepsphere.sampling import Healpix
from harness import BACKEND, to_numpy

SPHERE = Healpix(2)


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
        GraphConvLSTM(1, 1, SPHERE).build((None, 3, 48, None))


def test_unknown_pixels_are_those_of_the_sampling():
    layer = ChebyshevConv(1, 1, sampling=SPHERE)
    layer.build((None, None, 2))
    assert layer(np.zeros((1, 48, 2), "float32")).shape == (1, 48, 1)
    model = Sequential(SPHERE, [Pool(), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.build((None, None, 2))
    assert model.input_shape == (None, 48, 2)
    with pytest.raises(ValueError, match="48"):
        model(np.zeros((1, 96, 2), "float32"))
