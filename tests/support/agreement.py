"""Outputs and training steps of models, for comparison between backends."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from deepsphere import models
from deepsphere.sampling import Sampling


def outputs_and_step(
    model: keras.Model, folder: str | Path
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Outputs for ``x.npy``, and the weights before and after a step towards zero."""
    x = np.load(Path(folder) / "x.npy")
    outputs = model.predict(x, verbose=0)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    zeros = [np.zeros_like(output) for output in outputs]
    before = _weights(model)
    # Compiled here, because an optimizer that Keras saved under PyTorch cannot step under another
    # backend. A single step is not worth compiling, except on JAX, which is slow otherwise.
    compiled = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=compiled)
    model.train_on_batch(x, zeros if len(zeros) > 1 else zeros[0])
    return outputs, before, _weights(model)


def _weights(model: keras.Model) -> np.ndarray:
    values = [np.array(keras.ops.convert_to_numpy(v)).ravel() for v in model.trainable_variables]
    return np.concatenate(values)


def ready_made(sampling: Sampling, channels: int) -> dict[str, keras.Model]:
    """Every model of the package, small, on a sampling with two coarser levels."""
    mask = np.random.default_rng(2).random(len(sampling)) < 0.7
    small = {"filters": (3, 4), "order": 2, "graph": 8, "mask": mask}
    sizes = {"key_dim": 4, "num_heads": 2, "levels": 2, "num_layers": 2, "mask": mask}
    other = {"block": "residual", "skip": "add", "pooling": "mean", "unpooling": "repeat"}
    made = {
        "fcn": models.fcn_classifier(sampling, 2, channels=channels, **small),
        "cnn": models.cnn_classifier(sampling, 2, channels=channels, hidden=(5,), **small),
        "vit": models.vit_classifier(sampling, 2, channels=channels, **sizes),
        "autoencoder": models.Autoencoder(sampling, outputs=channels, latent=3, **small),
        "smooth fcn": models.fcn_classifier(
            sampling, 2, channels=channels, pooling="smooth_mean", **small
        ),
        "unet": models.UNet(sampling, 2, **small),
        "other unet": models.UNet(sampling, 2, **small, **other),
        "unet of convolutions": models.UNet(sampling, 2, pooling="conv", **small),
    }
    # Each backend draws different numbers, here with deviation exp(-15), which float32 hardly
    # resolves.
    variational = models.VariationalAutoencoder(sampling, outputs=channels, latent=3, **small)
    variational.encoder.layers[-1].bias.assign([0, 0, 0, -30, -30, -30])
    made["variational autoencoder"] = variational
    for model in made.values():
        model.build((None, len(sampling), channels))
    return made
