"""Callbacks for training."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.layers import BatchNormalization


class FreezeBatchNorm(keras.callbacks.Callback):
    """Freeze the statistics of batch normalization after a fraction of the training.

    Batch statistics vary from batch to batch, which adds noise to every step. The noise helps at
    first, but where the labels themselves are hardly noisy, it later limits the accuracy. After the
    given fraction, batch normalization works as in evaluation: it normalizes by its moving averages
    and no longer updates them. Its other weights continue to train.

    The callback works with all models that use `deepsphere.layers.BatchNormalization`, such as
    ``ChebyshevConv(normalization="batch")`` and the models of this package. Freezing compiles the
    training function a second time. When `fit` ends, the layers return to their previous state, so
    saved models are unaffected. Training resumed with ``initial_epoch`` or by
    `keras.callbacks.BackupAndRestore` freezes them again at the same point.

    Parameters
    ----------
    after : float, default 0.4
        Fraction of all steps of `fit` after which to freeze the statistics, in [0, 1). If the
        number of steps per epoch is unknown, as in the first epoch of a generator, the fraction
        counts whole epochs.

    Raises
    ------
    TypeError
        If `after` is not a number.
    ValueError
        If `after` is not in [0, 1). When training begins: if the model has no batch normalization,
        or has a `keras.layers.BatchNormalization`, which cannot be frozen.

    Examples
    --------
    >>> FreezeBatchNorm(after=0.4).after
    0.4
    """

    def __init__(self, after: float = 0.4) -> None:
        super().__init__()
        if isinstance(after, bool) or not isinstance(after, (int, float)):
            raise TypeError(f"after must be a number in [0, 1), got {after!r}")
        if not 0 <= after < 1:
            raise ValueError(f"after must be in [0, 1), got {after}")
        self.after = float(after)
        self._norms: list[BatchNormalization] = []
        self._before: list[bool] = []
        self._epoch = 0

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Find the layers to freeze."""
        layers = self.model._flatten_layers()
        found = [each for each in layers if isinstance(each, keras.layers.BatchNormalization)]
        for layer in found:
            if not isinstance(layer, BatchNormalization):
                raise ValueError(
                    f"the statistics of {layer.name!r}, a keras.layers.BatchNormalization, cannot "
                    "be frozen; use deepsphere.layers.BatchNormalization"
                )
        if not found:
            raise ValueError(
                f"the model {self.model.name!r} has no batch normalization to freeze; build it "
                "before fit if its layers are created on the first call"
            )
        self._norms = found
        self._before = [layer.use_moving_statistics for layer in found]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Freeze the layers if the fraction is reached."""
        self._epoch = epoch
        self._freeze_from(0)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Freeze the layers if the fraction is reached."""
        self._freeze_from(batch)

    def _freeze_from(self, batch: int) -> None:
        epochs, steps = self.params["epochs"], self.params.get("steps")
        done = self._epoch + (batch / steps if steps else 0)
        if done >= self.after * epochs:
            self._set([True] * len(self._norms))

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Restore the layers."""
        self._set(self._before)

    def _set(self, values: list[bool]) -> None:
        if [layer.use_moving_statistics for layer in self._norms] == values:
            return
        for layer, value in zip(self._norms, values, strict=True):
            layer.use_moving_statistics = value
        self.model.make_train_function(force=True)  # the compiled one has the old flags
