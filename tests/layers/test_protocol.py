"""A copy of a layer in a model keeps the arguments of the original."""

import keras
import numpy as np
import pytest

from deepsphere.compat import healpy_layers as hp
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    ConvPool,
    GraphTransformer,
    MonomialConv,
    NeighborTransformerBlock,
    PatchConv,
    PatchConvTranspose,
    PositionEmbedding,
    ResidualBlock,
    TransformerBlock,
    VisionTransformer,
)
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix
from harness import to_numpy

SAMPLING = Healpix(2)
X = np.random.default_rng(0).standard_normal((2, 48, 4)).astype(np.float32)


def scaled(x):
    """A function that is not registered with Keras."""
    return 3 * keras.ops.tanh(x)


def halves(shape, dtype=None):
    return keras.ops.full(shape, 0.5, dtype)


class Bounded(keras.constraints.Constraint):
    def __call__(self, w):
        return keras.ops.clip(w, -1, 1)


def layers():
    """Layers that take functions, without a sampling."""
    kernel = {"kernel_initializer": halves, "kernel_regularizer": keras.ops.sum}
    for conv in (ChebyshevConv, MonomialConv, BernsteinConv, ConvPool):
        yield conv(4, order=1, activation=scaled, kernel_constraint=Bounded(), **kernel)
    for patch in (PatchConv, PatchConvTranspose):
        yield patch(3, activation=lambda x: x - 1, **kernel)
    for block in (TransformerBlock, NeighborTransformerBlock, GraphTransformer):
        yield block(2, 2, activation=scaled)
    yield VisionTransformer(2, 2, levels=1, activation=scaled)
    yield PositionEmbedding(embeddings_initializer=halves)
    norm = {"gamma_initializer": halves, "gamma_regularizer": keras.ops.sum}
    conv = ChebyshevConv(order=1, activation=scaled, **kernel)
    yield ResidualBlock(conv, activation=scaled, normalization="batch", normalization_config=norm)


def old_layers():
    yield hp.HealpyChebyshev(2, 4, halves, scaled)
    yield hp.HealpyMonomial(2, 4, halves, scaled)
    yield hp.HealpyBernstein(1, 4, halves, scaled)
    yield hp.HealpyPseudoConv(1, 3, kernel_initializer=halves, activation=scaled)
    yield hp.HealpyPseudoConv_Transpose(1, 3, kernel_initializer=halves, activation=scaled)
    residual = {"K": 2, "initializer": halves, "activation": scaled}
    yield hp.Healpy_ResidualLayer("CHEBY", residual, activation=scaled)
    yield hp.Healpy_ViT(1, 2, 2, activation=scaled)
    yield hp.Healpy_Transformer(2, 2, activation=scaled)


@pytest.mark.parametrize("layer", [*layers(), *old_layers()], ids=lambda layer: layer.name)
def test_functions_need_no_name(layer):
    """A layer gives the same result in a model as on its own."""
    model = Sequential(SAMPLING, [keras.Input((48, 4)), layer])
    (bound,) = model.layers
    assert (bound is layer) == (type(layer) is type(bound))  # others replace old layers
    alone = layer._copy_with(sampling=SAMPLING)
    assert bound.name == alone.name == layer.name
    alone.build(X.shape)
    alone.set_weights(bound.get_weights())
    np.testing.assert_array_equal(to_numpy(model(X)), to_numpy(alone(X)))
    for attribute in (
        *("activation", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
        "embeddings_initializer",
    ):
        assert getattr(bound, attribute, None) is getattr(layer, attribute, None)
    assert len(bound.losses) == len(alone.losses)


def test_functions_are_those_that_run():
    layer = ChebyshevConv(2, 0, activation=scaled, kernel_initializer=halves)
    model = Sequential(SAMPLING, [layer])
    truth = 3 * np.tanh(0.5 * X.sum(axis=2, keepdims=True).repeat(2, axis=2))
    np.testing.assert_allclose(to_numpy(model(X)), truth, rtol=1e-5, atol=1e-6)


class Louder(ChebyshevConv):
    """A subclass whose configuration omits its argument."""

    def __init__(self, filters, gain=1.0, **kwargs):
        super().__init__(filters, **kwargs)
        self.gain = gain

    def call(self, x, training=None, mask=None):
        return self.gain * super().call(x, training, mask)


def test_arguments_of_subclasses_stay():
    for layer in (Louder(2, 5.0, order=1), Louder(filters=2, gain=5.0, order=1)):
        layer.trainable = False  # set later than the arguments
        (bound,) = Sequential(SAMPLING, [layer]).layers
        assert type(bound) is Louder
        assert (bound.gain, bound.filters, bound.order, bound.trainable) == (5.0, 2, 1, False)
        block = ResidualBlock(Louder(gain=5.0, filters=None, order=1))
        (bound,) = Sequential(SAMPLING, [block]).layers
        assert bound.conv1.gain == bound.conv2.gain == 5.0


def test_what_was_changed_after_construction_stays():
    layer = ChebyshevConv(2, 1, activation="relu", autocast=False)
    layer.activation = scaled
    (bound,) = Sequential(SAMPLING, [layer]).layers
    assert bound.activation is scaled
    assert not bound.autocast


def test_precision_is_kept_as_an_object():
    class Policy(keras.dtype_policies.DTypePolicy):
        """Not registered with Keras."""

    (bound,) = Sequential(SAMPLING, [ChebyshevConv(2, 1, dtype=Policy("float64"))]).layers
    assert type(bound.dtype_policy) is Policy
