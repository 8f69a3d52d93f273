"""Kill a training at random moments, resume it, and compare it with an uninterrupted one.

``python tests/support/killed_training.py --kills 20`` runs it on the current backend; the suite
kills fewer. Each run is a fork of this process, which has already imported everything, because
importing takes longer than training. JAX cannot be forked, so it starts new processes.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np

from deepsphere.layers import ChebyshevConv, Pool
from deepsphere.models import Sequential
from deepsphere.resume import Resume
from deepsphere.sampling import Healpix


def train(folder: Path, epochs: int, started: Path) -> None:
    """Train a small network that draws random numbers in every way, and write its weights."""
    keras.utils.set_random_seed(1)
    layers = [
        ChebyshevConv(4, order=2, normalization="batch", activation="relu"),
        Pool(),
        keras.layers.Dropout(0.5),
        keras.layers.GaussianNoise(0.1),
        keras.layers.Flatten(),
        keras.layers.Dense(2),
    ]
    model = Sequential(Healpix(2), layers)
    model.build((None, 48, 1))
    model.compile(keras.optimizers.Adam(1e-2), "mse", jit_compile=keras.backend.backend() == "jax")
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype("float32") for shape in ((12, 48, 1), (12, 2)))
    others = [
        keras.callbacks.CSVLogger(str(folder / "history.csv")),
        keras.callbacks.ReduceLROnPlateau("loss", patience=2, min_lr=1e-5),
        keras.callbacks.EarlyStopping("loss", patience=epochs, restore_best_weights=True),
    ]
    tell = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: started.touch())
    history = model.fit(
        x,
        y,
        batch_size=4,
        epochs=epochs,
        callbacks=[Resume(folder / "states", others), tell],
        verbose=0,
    )
    weights = [*model.get_weights(), *(np.asarray(v) for v in history.history["loss"])]
    with (folder / "result.part").open("wb") as file:
        np.savez(file, *weights)
    (folder / "result.part").rename(folder / "result.npz")


def start(folder: Path, epochs: int) -> tuple[int, Path]:
    """Fork a process that trains; return its id and the file that signals its start."""
    folder.mkdir(exist_ok=True)
    started = folder / "started"
    started.unlink(missing_ok=True)
    if keras.backend.backend() == "jax":
        command = [sys.executable, __file__, "--train", str(folder), "--epochs", str(epochs)]
        return subprocess.Popen(command).pid, started
    child = os.fork()
    if child == 0:
        code = 1
        try:
            train(folder, epochs, started)
            code = 0
        finally:
            os._exit(code)
    return child, started


def main() -> None:
    """Train twice, once with kills, and print whether the results are equal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=Path)
    options = parser.parse_args()
    if options.train is not None:
        train(options.train, options.epochs, options.train / "started")
        return
    moments = random.Random(options.seed)
    with TemporaryDirectory() as name:
        whole, cut = Path(name) / "whole", Path(name) / "cut"
        child, started = start(whole, options.epochs)
        while not started.exists():
            time.sleep(0.005)
        begin = time.perf_counter()
        assert os.waitpid(child, 0)[1] == 0, "the uninterrupted training failed"
        seconds = time.perf_counter() - begin
        kills = writing = 0
        while not (cut / "result.npz").exists():
            child, started = start(cut, options.epochs)
            alive = True
            while alive and not started.exists():
                alive = os.waitpid(child, os.WNOHANG) == (0, 0)
                time.sleep(0.002)
            if alive and kills < options.kills:
                time.sleep(moments.uniform(0, seconds / options.kills))
                os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1] if alive else 0
            if os.WIFSIGNALED(status):
                kills += 1
                writing += any((cut / "states").glob(".epoch-*"))
            elif not (cut / "result.npz").exists():
                raise AssertionError("a resumed training failed")
        with np.load(whole / "result.npz") as a, np.load(cut / "result.npz") as b:
            same = a.files == b.files and all(np.array_equal(a[n], b[n]) for n in a.files)
        rows = [(folder / "history.csv").read_text() for folder in (whole, cut)]
    print(
        f"{keras.backend.backend()}: {kills} kills, {writing} of them while a state was written; "
        f"weights and losses {'equal' if same else 'DIFFER'}; "
        f"logs {'equal' if rows[0] == rows[1] else 'DIFFER'}"
    )
    raise SystemExit(0 if same and rows[0] == rows[1] else 1)


if __name__ == "__main__":
    main()
