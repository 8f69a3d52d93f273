"""Training the quick-start network, so that it ends well and can be taken up again."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere.files import replacing
from deepsphere.resume import Resume

Examples = tuple[NDArray[np.float32], NDArray[np.int32]]
History = dict[str, list[float]]

LEARNING_RATE = 0.02
"""Where the learning rate starts. It falls to zero along a cosine: at a constant rate the
accuracy jumps from epoch to epoch, as the batch statistics do."""


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
    """Train a classifier, or go on where an earlier call was cut off.

    Parameters
    ----------
    model : keras.Model
        Gives class probabilities; it is compiled here.
    training, validation : tuple of ndarray
        Maps, shape ``(n, pixels, channels)``, and labels, shape ``(n,)``. The validation maps
        are only measured after each epoch: nothing is chosen by them.
    epochs : int
        Passes over the training maps.
    batch_size : int
        Maps per step.
    history_file : Path
        CSV file for the measures of each epoch, written at the end.
    backup : Path
        Directory for the state after each epoch and the measures until then. It must belong to
        this training alone; delete it when the model is saved.

    Returns
    -------
    dict of str to list of float
        Measures of each epoch by name, those of before an interruption included.
    """
    steps = epochs * math.ceil(len(training[0]) / batch_size)
    model.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
        ),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    # State and measures lie together: another training may have written to history_file since.
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
    """Read the measures of each epoch from a file that `train` wrote.

    Parameters
    ----------
    path : Path
        The CSV file.

    Returns
    -------
    dict of str to list of float
        One list per measure, in the order of the epochs.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    names = [name for name in next(iter(rows.values())) if name != "epoch"]
    return {name: [float(rows[epoch][name]) for epoch in sorted(rows)] for name in names}
