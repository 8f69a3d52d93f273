from itertools import pairwise

import keras
import numpy as np
import pytest

from deepsphere.callbacks import FreezeBatchNorm
from deepsphere.layers import BatchNormalization, ChebyshevConv, ResidualBlock
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix

SPHERE = Healpix(2)
X = np.random.default_rng(0).normal(1, 2, (8, 48, 1)).astype(np.float32)


def make(jit):
    block = ResidualBlock(
        ChebyshevConv(order=1), normalization="batch", normalization_config={"momentum": 0.9}
    )
    layers = [ChebyshevConv(3, 1, normalization="batch"), block, keras.layers.Dense(1)]
    model = Sequential(SPHERE, [keras.Input((48, 1)), *layers], graph=3)
    model.compile(keras.optimizers.SGD(1e-2), "mse", jit_compile=jit)
    return model


class Record(keras.callbacks.Callback):
    """All variables of a layer after each step."""

    def __init__(self, layers):
        super().__init__()
        self.layers, self.steps = layers, []

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        copy = [[np.array(w) for w in layer.get_weights()] for layer in self.layers]
        self.steps.append(copy)


@pytest.mark.parametrize("jit", [True, False])
def test_statistics_stay_from_that_step_on(jit):
    if jit and keras.backend.backend() == "torch":
        jit = False  # half a minute of torch.compile: a graph is no different here
    model = make(jit)
    conv, block = model.layers[0], model.layers[1]
    record = Record([conv.norm, block.norm1])
    model.fit(
        *(X, X), batch_size=2, epochs=3, verbose=0, callbacks=[record, FreezeBatchNorm(after=0.5)]
    )
    assert len(record.steps) == 12
    for layer, statistics in ((0, (0, 1)), (1, (2, 3))):
        for which in statistics:
            values = [step[layer][which] for step in record.steps]
            changes = [(a != b).any() for a, b in pairwise(values)]
            assert changes == [True] * 5 + [False] * 6
    gammas = [step[1][0] for step in record.steps]
    assert all((a != b).any() for a, b in pairwise(gammas))  # learned
    assert not conv.norm.use_moving_statistics
    before = conv.norm.get_weights()
    model.fit(X, X, epochs=1, verbose=0)  # and without the callback all is as ever
    assert (conv.norm.get_weights()[0] != before[0]).any()


def test_frozen_training_normalizes_as_evaluation():
    model = make(keras.backend.backend() == "jax")
    model.fit(X, X, epochs=2, verbose=0)
    expected = model.evaluate(X, X, verbose=0)
    model.optimizer.learning_rate = 0.0
    losses = model.fit(X, X, verbose=0, callbacks=[FreezeBatchNorm(0)]).history["loss"]
    assert losses[0] == pytest.approx(expected, rel=1e-5)


def test_training_that_is_resumed_is_frozen_at_once():
    model = make(keras.backend.backend() == "jax")
    before = [np.array(w) for w in model.layers[0].norm.get_weights()]
    model.fit(X, X, initial_epoch=2, epochs=4, verbose=0, callbacks=[FreezeBatchNorm(0.5)])
    for a, b in zip(before, model.layers[0].norm.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_cannot_be_frozen():
    for after in (1, -0.1):
        with pytest.raises(ValueError, match=r"after must be in \[0, 1\)"):
            FreezeBatchNorm(after)
    with pytest.raises(TypeError, match="number"):
        FreezeBatchNorm("half")
    for layer, message in (
        (keras.layers.BatchNormalization(), "use deepsphere.layers.BatchNormalization"),
        (keras.layers.Dense(1), "no batch normalization"),
    ):
        model = keras.Sequential([keras.Input((48, 1)), layer])
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match=message):
            model.fit(X, X, verbose=0, callbacks=[FreezeBatchNorm()])
    model = keras.Sequential([keras.Input((48, 1)), BatchNormalization()])
    model.compile("sgd", "mse")
    model.fit(X, X, verbose=0, callbacks=[FreezeBatchNorm()])
