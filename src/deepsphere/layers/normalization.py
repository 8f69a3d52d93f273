"""Layer normalisation that every backend can export."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.layers.base import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class LayerNormalization(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization`, which PyTorch can write as ONNX too.

    PyTorch traces a model to write it, and then does not know the number of channels that its own
    operation asks for. Arguments, shapes and values are those of Keras' layer.

    Examples
    --------
    >>> import numpy as np
    >>> tuple(LayerNormalization()(np.zeros((2, 192, 5), "float32")).shape)
    (2, 192, 5)
    """

    def call(self, inputs: Any) -> Any:
        """Normalise, by plain operations while PyTorch traces."""
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
