"""Execution of the demonstration: simulate, train, compare, plot, save."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere._checks import check_count
from deepsphere._extras import require
from deepsphere._files import replacing
from deepsphere.data.skies import SkySimulation, simulate
from deepsphere.demo.baselines import (
    linear_svm_accuracy,
    power_spectrum_features,
    variance_features,
)
from deepsphere.demo.network import quick_start_network
from deepsphere.demo.pictures import class_name, draw_pictures
from deepsphere.demo.report import write_report
from deepsphere.demo.training import train

TEST_SHARE = 0.25
"""Share of maps reserved for testing: 50 of 200."""

OPTIONAL = (
    ("camb", "cosmology"),
    ("healpy", "cosmology"),
    ("tqdm", "cosmology"),
    ("sklearn.model_selection", "baselines"),
    ("matplotlib.figure", "plot"),
    ("jinja2", "demo"),
)
"""Optional modules that the demonstration needs, with the extras that install them."""

LIBRARIES = (
    "deepsphere-keras",
    "keras",
    "numpy",
    "scipy",
    "astropy-healpix",
    "healpy",
    "camb",
    "scikit-learn",
)
"""Distributions whose versions are recorded, in addition to the backend's."""


@dataclass(frozen=True)
class Demo:
    """Settings of a demonstration.

    Parameters
    ----------
    simulation : SkySimulation
        Simulation of the maps. Its seed is used for the whole demonstration.
    epochs : int, default 25
        Number of passes over the training maps.
    batch_size : int, default 16
        Number of maps per training step.

    Raises
    ------
    ValueError
        If `epochs` or `batch_size` is less than 1.
    """

    simulation: SkySimulation = field(default_factory=SkySimulation)
    epochs: int = 25
    batch_size: int = 16

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            check_count(getattr(self, name), name)

    @property
    def training_name(self) -> str:
        """Name of the training state, which identifies all settings that affect training."""
        backend = keras.backend.backend()
        text = f"{self.simulation.parameters} {self.epochs} {self.batch_size} {backend}"
        return f"training-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def run_demo(
    demo: Demo, output: str | os.PathLike[str], cache: str | os.PathLike[str] | None = None
) -> dict[str, Any]:
    """Simulate skies of two cosmologies, train a network to classify them, and write a report.

    All results are written to `output`: ``metrics.json``, ``history.csv``, ``model.keras``, the
    pictures and ``index.html``. A second run reads the maps from the cache, and resumes an
    interrupted training after the last complete epoch.

    Parameters
    ----------
    demo : Demo
        Settings of the demonstration.
    output : path
        Directory for the results. It is created if it does not exist.
    cache : path, optional
        Directory for the simulated maps. Default: ``cache`` in `output`.

    Returns
    -------
    dict
        Contents of ``metrics.json``.

    Raises
    ------
    ImportError
        If an optional library is missing; this is checked first.
    """
    for module, extra in OPTIONAL:
        require(module, extra)
    output = Path(output)
    cache = output / "cache" if cache is None else Path(cache)
    simulation, seed = demo.simulation, demo.simulation.seed
    begin = time.perf_counter()

    _say("Simulating weak-lensing skies of two cosmologies")
    maps, labels = simulate(simulation, cache)
    simulation_seconds = time.perf_counter() - begin
    train_rows, test_rows = split(labels, seed)
    scaled = maps / maps[train_rows].std()

    _say("Building the network and its graphs")
    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    model = quick_start_network(simulation.nside, len(simulation.cosmologies))
    build_seconds = time.perf_counter() - start
    model.summary()

    _say(f"Training on {len(train_rows)} maps with {keras.backend.backend()}")
    start = time.perf_counter()
    backup = Path(cache) / demo.training_name
    history = train(
        model,
        (scaled[train_rows], labels[train_rows]),
        (scaled[test_rows], labels[test_rows]),
        epochs=demo.epochs,
        batch_size=demo.batch_size,
        history_file=output / "history.csv",
        backup=backup,
    )
    train_seconds = time.perf_counter() - start
    model.save(output / "model.keras")
    shutil.rmtree(backup, ignore_errors=True)  # all results are saved now
    predicted = model.predict(scaled[test_rows], batch_size=demo.batch_size, verbose=0).argmax(1)

    _say("Comparing with linear support vector machines")
    accuracies = {"test_accuracy": float(np.mean(predicted == labels[test_rows]))}
    for name, features in (
        ("baseline_accuracy", power_spectrum_features(maps, simulation.lmax)),
        ("variance_accuracy", variance_features(maps)),
    ):
        accuracies[name] = linear_svm_accuracy(
            features[train_rows], labels[train_rows], features[test_rows], labels[test_rows], seed
        )

    _say("Drawing")
    classes = range(len(simulation.cosmologies))
    pictures = draw_pictures(
        output,
        model,
        [maps[np.argmax(labels == label), :, 0] for label in classes],
        [class_name(cosmology) for cosmology in simulation.cosmologies],
        history,
        np.array(
            [
                [np.sum((labels[test_rows] == true) & (predicted == guess)) for guess in classes]
                for true in classes
            ]
        ),
    )
    metrics = {
        **accuracies,
        "train_seconds": round(train_seconds, 2),
        "build_seconds": round(build_seconds, 2),
        "simulation_seconds": round(simulation_seconds, 2),
        "total_seconds": round(time.perf_counter() - begin, 2),
        "parameters": model.count_params(),
        "train_maps": len(train_rows),
        "test_maps": len(test_rows),
        "epochs": demo.epochs,
        "batch_size": demo.batch_size,
        "nside": simulation.nside,
        "signal_to_noise": simulation.signal_to_noise,
        "lognormal": simulation.lognormal,
        "backend": keras.backend.backend(),
        "seed": seed,
        "versions": _versions(),
    }
    with replacing(output / "metrics.json") as path:
        path.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    page = write_report(output, metrics, pictures)

    _say(f"Done in {metrics['total_seconds']:.0f} s: accuracy on {len(test_rows)} test maps")
    print(f"  DeepSphere network                {metrics['test_accuracy']:6.1%}")
    print(f"  linear SVM on the power spectrum  {metrics['baseline_accuracy']:6.1%}")
    print(f"  linear SVM on the variance        {metrics['variance_accuracy']:6.1%}")
    print(f"\nThe full report is {page}; the network is {output / 'model.keras'}.")
    return metrics


def split(labels: NDArray[np.integer], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split maps into a training and a test set, stratified by class.

    Parameters
    ----------
    labels : ndarray of int, shape (maps,)
        Class of each map.
    seed : int
        Seed of the split.

    Returns
    -------
    tuple of ndarray of int64
        Indices of the maps for training (three quarters) and for testing.
    """
    train_test_split = require("sklearn.model_selection", "baselines").train_test_split
    train_rows, test_rows = train_test_split(
        np.arange(len(labels)), test_size=TEST_SHARE, stratify=labels, random_state=seed
    )
    return train_rows, test_rows


def _say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _versions() -> dict[str, str]:
    names = (*LIBRARIES, keras.backend.backend())
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
