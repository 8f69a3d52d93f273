"""Keras' normalization layers, improved for evaluation after few training steps and for export."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.layers.base import PACKAGE
from deepsphere.layers.features import Features
from deepsphere.ops.moving_averages import MANY_STEPS, weight_of_batch


@keras.saving.register_keras_serializable(PACKAGE)
class BatchNormalization(Features, keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with moving averages that are accurate from the first step.

    Keras starts the moving averages at mean 0 and variance 1 and moves them by ``1 - momentum`` per
    step. For about ``3 / (1 - momentum)`` steps, evaluation thus differs considerably from
    training. This layer moves them by ``max(1 - momentum, 50 / (t + 49))`` in step ``t``, so the
    first step sets them to the statistics of its batch. Until `momentum` takes over, around step
    ``50 / (1 - momentum)``, the averages cover the last few percent of all steps. Arguments, shapes
    and weights are those of `keras.layers.BatchNormalization`.

    Attributes
    ----------
    moving_steps : variable, shape ()
        Number of steps in the moving averages. It belongs to the layer's `variables` and is saved
        with them, but not to its `weights`, which match Keras' layer. Averages without a count
        (from a file of Keras' layer, or set by `set_weights`) are treated as those of a long
        training.
    use_moving_statistics : bool
        Whether training also normalizes by the moving averages, without updating them. Initially
        False. Set it before a training function is compiled, or use
        `deepsphere.callbacks.FreezeBatchNorm`. It is not saved.

    Notes
    -----
    A bias correction as in Adam is not enough: in the first steps, features change faster than an
    average over all steps can follow. For the network of the README on 3 maps, after 10 steps of
    Adam, the cross entropy is 0.22 in training mode, 1.31 in evaluation with that correction, and
    0.3 in evaluation with this layer.

    A fully masked batch does not change the averages. Moving averages initialized to other values
    than Keras' defaults are treated as known statistics.

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
        """Create the weights and the step count."""
        super().build(input_shape)
        self.moving_steps = self.add_weight(
            shape=(),
            name="moving_steps",
            dtype="float32",  # half precision counts to 2048 only
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    @property
    def weights(self) -> list[Any]:
        """The weights of Keras' layer, in its order, without `moving_steps`."""
        extra = id(getattr(self, "moving_steps", None))
        return [weight for weight in super().weights if id(weight) != extra]

    def normalizes_batches(self, training: bool | None) -> bool:
        """Return whether a call uses the statistics of its batch and updates the averages."""
        return bool(training) and self.trainable and not self.use_moving_statistics

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize by the statistics of the batch in training, else by the moving averages."""
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
        """Update the moving averages with statistics computed elsewhere.

        Parameters
        ----------
        mean, variance : tensor, shape (channels,)
            Statistics of a batch.
        """
        step = self._next_step()
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            dtype = keras.backend.result_type(moving.dtype, "float32")
            part, before = keras.ops.cast(step, dtype), keras.ops.cast(moving, dtype)
            moving.assign(before * (1 - part) + keras.ops.cast(value, dtype) * part)

    def _next_step(self, mask: Any = None) -> Any:
        """Count a step and return the weight of its batch in the moving averages."""
        ops = keras.ops
        steps = ops.convert_to_tensor(self.moving_steps)
        at_start = ops.logical_and(
            ops.all(ops.equal(self.moving_mean, 0)), ops.all(ops.equal(self.moving_variance, 1))
        )
        # Averages that were loaded or set without a count.
        from_elsewhere = ops.logical_not(ops.logical_or(steps > 0, at_start))
        steps = ops.where(from_elsewhere, ops.full_like(steps, MANY_STEPS), steps)
        new_steps = steps + 1  # leaves MANY_STEPS unchanged
        part = ops.maximum(weight_of_batch(new_steps), 1 - self.momentum)
        if mask is not None:
            seen = ops.any(ops.cast(mask, "bool"))
            new_steps = ops.where(seen, new_steps, steps)
            part = ops.where(seen, part, ops.zeros_like(part))
        self.moving_steps.assign(new_steps)
        return part

    def load_own_variables(self, store: Any) -> None:
        """Load the variables, also from files of Keras' layer, which have no step count."""
        if self.built and len(store.keys()) == len(self.weights):
            self.moving_steps.assign(MANY_STEPS)
            for i, weight in enumerate(self._trainable_variables + self._non_trainable_variables):
                if weight is not self.moving_steps:
                    weight.assign(store[str(i)])
            return
        super().load_own_variables(store)


@keras.saving.register_keras_serializable(PACKAGE)
class LayerNormalization(Features, keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` that PyTorch can export to ONNX.

    To export a model, PyTorch traces it, and then does not know the number of channels that its
    own operation requires. Arguments, shapes and values are those of
    `keras.layers.LayerNormalization`.

    Examples
    --------
    >>> import numpy as np
    >>> tuple(LayerNormalization()(np.zeros((2, 192, 5), "float32")).shape)
    (2, 192, 5)
    """

    def _as_feature(self, x: Any) -> Any:
        # Unlike other layers, Keras' layer does not cast inputs to its precision.
        x = super()._as_feature(x)
        if not hasattr(x, "dtype"):
            return x
        dtype = keras.backend.standardize_dtype(x.dtype)
        wider = keras.backend.result_type(dtype, self.compute_dtype)
        return x if wider == dtype else keras.ops.cast(x, wider)

    def call(self, inputs: Any) -> Any:
        """Normalize, with elementary operations while PyTorch traces."""
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


def check_normalization(value: str | None, *known: str) -> str | None:
    """Return `value`; raise ValueError if it is neither None nor a known normalization."""
    if value is not None and value not in known:
        names = " or ".join(repr(name) for name in (None, *known))
        raise ValueError(f"normalization must be {names}, got {value!r}")
    return value
