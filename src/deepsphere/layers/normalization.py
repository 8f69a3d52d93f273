"""Keras' normalization layers, mended: evaluation after few steps, and export."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.layers.base import PACKAGE
from deepsphere.layers.features import Features

SETTLING = 50.0
"""Over which part of the steps so far the moving averages go, about 2 / 50. With 2 / 10 some short
trainings still evaluate wrong; a smaller part would hold too few batches, 3 now at step 50."""

LONG = 2.0**24
"""Number of steps of averages of which it is not known: from here on single precision adds no 1."""


@keras.saving.register_keras_serializable(PACKAGE)
class BatchNormalization(Features, keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, which evaluates right from the first training steps.

    Keras starts the moving averages at mean 0 and variance 1 and moves them by ``1 - momentum`` in
    each step: for some ``3 / (1 - momentum)`` steps a model evaluates far from how it trained. Here
    step ``t`` moves them by ``max(1 - momentum, 50 / (t + 49))``, the first one all the way to the
    statistics of its batch. Until `momentum` takes over, at step ``50 / (1 - momentum)`` or so, the
    averages go over the last few percent of all steps. Arguments, shapes and weights are those of
    Keras' layer.

    Attributes
    ----------
    moving_steps : variable, shape ()
        Number of steps in the moving averages. It is among the layer's `variables` and is saved
        with them, but not among its `weights`, which are Keras' own. Averages that come without it
        (from a file of Keras' layer, or by `set_weights`) count as those of a long training.
    use_moving_statistics : bool
        Whether training normalizes by the moving averages too, and leaves them as they are; False
        at first. Set it before a training function is compiled, or use
        `deepsphere.callbacks.FreezeBatchNorm`. It is not saved.

    Notes
    -----
    A correction for the start alone, as Adam has for its moments, is not enough: in the first steps
    features move faster than an average over all of these steps. The network of the README on 3
    maps, after 10 steps of Adam: cross entropy 0.22 in training mode, 1.31 in evaluation with that
    correction, 0.3 with these steps.

    A batch in which a mask leaves nothing does not change the averages. With initializers other
    than Keras' default for the moving averages, these count as statistics that you know.

    Examples
    --------
    >>> import numpy as np
    >>> layer = BatchNormalization()
    >>> x = np.random.default_rng(0).normal(5, 2, (4, 192, 1)).astype("float32")
    >>> y = layer(x, training=True)
    >>> bool(abs(keras.ops.convert_to_numpy(layer(x) - y)).max() < 1e-5)
    True
    """

    use_moving_statistics = False
    momentum: Any

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights, and the count of what they hold."""
        super().build(input_shape)
        self.moving_steps = self.add_weight(
            shape=(),
            name="moving_steps",
            dtype="float32",  # also where the averages are in half precision, which ends at 2048
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    @property
    def weights(self) -> list[Any]:
        """The weights of Keras' layer, in its order."""
        extra = id(getattr(self, "moving_steps", None))
        return [weight for weight in super().weights if id(weight) != extra]

    def normalizes_batches(self, training: bool | None) -> bool:
        """Return whether a call uses the statistics of its batch, and updates the averages."""
        return bool(training) and self.trainable and not self.use_moving_statistics

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize by the statistics of the batch in training, or else by the averages."""
        if not self.normalizes_batches(training):
            return super().call(inputs, training=False, mask=mask)
        momentum = self.momentum
        try:
            dtype = keras.backend.result_type(inputs.dtype, "float32")
            self.momentum = 1 - keras.ops.cast(self._next_step(mask), dtype)
            return super().call(inputs, training=True, mask=mask)
        finally:
            self.momentum = momentum

    def update_statistics(self, mean: Any, variance: Any) -> None:
        """Move the averages towards the statistics of a batch, computed elsewhere.

        Parameters
        ----------
        mean, variance : tensor, shape (channels,)
            The statistics.
        """
        step = self._next_step()
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            dtype = keras.backend.result_type(moving.dtype, "float32")
            part, before = keras.ops.cast(step, dtype), keras.ops.cast(moving, dtype)
            moving.assign(before * (1 - part) + keras.ops.cast(value, dtype) * part)

    def _next_step(self, mask: Any = None) -> Any:
        """Return how far the averages move towards the batch, and count it."""
        ops = keras.ops
        steps = ops.convert_to_tensor(self.moving_steps)
        at_start = ops.logical_and(
            ops.all(ops.equal(self.moving_mean, 0)), ops.all(ops.equal(self.moving_variance, 1))
        )
        # Averages that were put there without their number.
        from_elsewhere = ops.logical_not(ops.logical_or(steps > 0, at_start))
        steps = ops.where(from_elsewhere, ops.full_like(steps, LONG), steps)
        new_steps = steps + 1  # no longer changes LONG
        part = ops.maximum(SETTLING / (SETTLING - 1 + new_steps), 1 - self.momentum)
        if mask is not None:
            seen = ops.any(ops.cast(mask, "bool"))
            new_steps = ops.where(seen, new_steps, steps)
            part = ops.where(seen, part, ops.zeros_like(part))
        self.moving_steps.assign(new_steps)
        return part

    def load_own_variables(self, store: Any) -> None:
        """Load the variables; files of Keras' layer have no count."""
        if self.built and len(store.keys()) == len(self.weights):
            self.moving_steps.assign(LONG)
            for i, weight in enumerate(self._trainable_variables + self._non_trainable_variables):
                if weight is not self.moving_steps:
                    weight.assign(store[str(i)])
            return
        super().load_own_variables(store)


@keras.saving.register_keras_serializable(PACKAGE)
class LayerNormalization(Features, keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization`, which PyTorch can write as ONNX too.

    PyTorch traces a model to write it, and then does not know the number of channels that its own
    operation asks for. Arguments, shapes and values are those of Keras' layer.

    Examples
    --------
    >>> import numpy as np
    >>> tuple(LayerNormalization()(np.zeros((2, 192, 5), "float32")).shape)
    (2, 192, 5)
    """

    def _as_feature(self, x: Any) -> Any:
        # Keras' layer does without the conversion of others, and computes in half what is in half.
        x = super()._as_feature(x)
        if not hasattr(x, "dtype"):
            return x
        dtype = keras.backend.standardize_dtype(x.dtype)
        wider = keras.backend.result_type(dtype, self.compute_dtype)
        return x if wider == dtype else keras.ops.cast(x, wider)

    def call(self, inputs: Any) -> Any:
        """Normalize, by plain operations while PyTorch traces."""
        last = self.axis in (-1, [-1], len(inputs.shape) - 1, [len(inputs.shape) - 1])
        if isinstance(inputs.shape[-1], int) or not last:
            return super().call(inputs)
        x = keras.ops.cast(inputs, "float32")
        x = x - keras.ops.mean(x, axis=-1, keepdims=True)
        variance = keras.ops.mean(keras.ops.square(x), axis=-1, keepdims=True)
        y = x * keras.ops.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            y = y * keras.ops.cast(self.gamma, y.dtype)
        if self.beta is not None:
            y = y + keras.ops.cast(self.beta, y.dtype)
        return keras.ops.cast(y, inputs.dtype)
