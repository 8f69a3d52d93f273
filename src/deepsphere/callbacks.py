"""Callbacks for training."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.layers import BatchNormalization


class FreezeBatchNorm(keras.callbacks.Callback):
    """Let training go on with the moving averages of batch normalization, after a part of it.

    The statistics of a batch vary from batch to batch, which is noise in every step. It helps at
    first; where labels hardly depend on noise of their own it limits the accuracy later. From the
    point given on, batch normalization works as in evaluation: it normalizes by its moving averages
    and no longer changes them. Its other weights go on training.

    Works with all models that use `deepsphere.layers.BatchNormalization`, as
    ``ChebyshevConv(batch_norm=True)`` and the models of this package do. The training function is
    compiled a second time at that point. When `fit` ends, the layers are as they were before, so
    that nothing of this is saved; training that is resumed with ``initial_epoch``, or by
    `keras.callbacks.BackupAndRestore`, freezes them again at the same point.

    Parameters
    ----------
    after : float, default 0.4
        Part of all steps of `fit` after which the statistics are kept, from 0 to below 1. Where the
        number of steps in an epoch is not known, as in the first one of a generator, whole epochs
        count.

    Raises
    ------
    TypeError, ValueError
        If `after` is not a number in that range; or, when training starts, if the model has no
        layer to freeze, or has Keras' own `BatchNormalization`, which cannot be.

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
        """Find the layers."""
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
                "before fit if its layers are made on the way"
            )
        self._norms = found
        self._before = [layer.use_moving_statistics for layer in found]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Freeze them if it is time."""
        self._epoch = epoch
        self._freeze_from(0)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Freeze them if it is time."""
        self._freeze_from(batch)

    def _freeze_from(self, batch: int) -> None:
        epochs, steps = self.params["epochs"], self.params.get("steps")
        done = self._epoch + (batch / steps if steps else 0)
        if done >= self.after * epochs:
            self._set([True] * len(self._norms))

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Leave the layers as they were."""
        self._set(self._before)

    def _set(self, values: list[bool]) -> None:
        if [layer.use_moving_statistics for layer in self._norms] == values:
            return
        for layer, value in zip(self._norms, values, strict=True):
            layer.use_moving_statistics = value
        self.model.make_train_function(force=True)  # the compiled one has the old way in it
