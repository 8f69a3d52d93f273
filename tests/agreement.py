"""What a model computes and how it learns, in numbers that two backends can compare."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np


def outputs_and_step(
    model: keras.Model, folder: str | Path
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Outputs for ``x.npy``, and the weights before and after a step towards zero."""
    x = np.load(Path(folder) / "x.npy")
    outputs = model.predict(x, verbose=0)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    zeros = [np.zeros_like(output) for output in outputs]
    before = _weights(model)
    # Compiled here: an optimizer that Keras saved under PyTorch cannot step under another backend.
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.train_on_batch(x, zeros if len(zeros) > 1 else zeros[0])
    return outputs, before, _weights(model)


def _weights(model: keras.Model) -> np.ndarray:
    values = [np.array(keras.ops.convert_to_numpy(v)).ravel() for v in model.trainable_variables]
    return np.concatenate(values)
