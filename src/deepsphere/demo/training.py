"""Training of the quick-start network, with a learning-rate schedule and resumption."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere._files import replacing
from deepsphere.resume import Resume

Examples = tuple[NDArray[np.float32], NDArray[np.int32]]
History = dict[str, list[float]]

LEARNING_RATE = 0.02
"""Initial learning rate. It decays to zero along a cosine: at a constant rate the accuracy
fluctuates from epoch to epoch, like the batch statistics."""


def train(
    model: keras.Model,
    training: Examples,
    validation: Examples,
    *,
    epochs: int,
    batch_size: int,
    history_file: Path,
    backup: Path,
) -> History:
    """Train a classifier, or resume an interrupted training.

    Parameters
    ----------
    model : keras.Model
        Model that returns class probabilities. It is compiled by this function.
    training, validation : tuple of ndarray
        Maps, shape ``(n, pixels, channels)``, and labels, shape ``(n,)``. The validation maps
        are evaluated after each epoch and not used for any choice.
    epochs : int
        Number of passes over the training maps.
    batch_size : int
        Number of maps per step.
    history_file : Path
        CSV file for the loss and metrics of each epoch, written at the end.
    backup : Path
        Directory for the state and the history after each epoch. It must be used for this
        training only; delete it after saving the model.

    Returns
    -------
    dict of str to list of float
        Loss and metrics of each epoch by name, including epochs before an interruption.
    """
    steps = epochs * math.ceil(len(training[0]) / batch_size)
    model.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
        ),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    # Keep the history with the state: another training may have overwritten history_file.
    log = backup / "history.csv"
    log.parent.mkdir(parents=True, exist_ok=True)
    model.fit(
        *training,
        batch_size=batch_size,
        epochs=epochs,
        validation_data=validation,
        callbacks=[Resume(backup / "state", [keras.callbacks.CSVLogger(str(log))])],
    )
    with replacing(history_file) as path:
        shutil.copyfile(log, path)
    return read_history(history_file)


def read_history(path: Path) -> History:
    """Read the history from a CSV file written by `train`.

    Parameters
    ----------
    path : Path
        Path of the CSV file.

    Returns
    -------
    dict of str to list of float
        Values of each loss or metric, in order of epochs.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    names = [name for name in next(iter(rows.values())) if name != "epoch"]
    return {name: [float(rows[epoch][name]) for epoch in sorted(rows)] for name in names}
