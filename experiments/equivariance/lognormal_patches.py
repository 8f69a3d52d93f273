"""Two cosmologies on lognormal patches of the sky under noise: how much the graph matters.

Run ``python experiments/equivariance/lognormal_patches.py``. It simulates lognormal convergence
maps of the papers' two cosmologies at nside 64 with noise, cuts the four patches around the north
pole (base pixels, a twelfth of the sphere each; the grid is the same on all four) out of each, and
trains one network for each graph, pooling and seed. Each row is written to
``lognormal_patches.csv`` when it is known, and an interrupted run resumes from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from classifier import Case, network
from deepsphere.data.skies import SkySimulation, simulate
from deepsphere.models.base import POOLINGS
from deepsphere.sampling import Healpix
from trials import Row, run_trials, summary, write_text

NSIDE = 64
PATCHES = 4
PATCH = Healpix(NSIDE, pixels=np.arange(NSIDE**2))
FILTERS = (16, 32, 64)
ORDER = 4
SKIES = 500
"""Of each cosmology; the patches of the last quarter are for testing."""

GRAPHS = (
    "normalized-8",
    "normalized-20",
    "normalized-40",
    "optimal-8",
    "optimal-20",
    "optimal-40",
    "optimal-20-as-normalized-8",
    "normalized-8-as-optimal-20",
)


def patches(
    signal_to_noise: float, directory: Path
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """Return patches and labels for training and testing, scaled to a variance of 1."""
    simulation = SkySimulation(
        maps_per_class=SKIES, nside=NSIDE, signal_to_noise=signal_to_noise, lognormal=True
    )
    maps, labels = simulate(simulation, directory)
    test = np.arange(len(maps)) % SKIES >= SKIES * 3 // 4
    cut = maps[:, : PATCHES * NSIDE**2].reshape(-1, NSIDE**2, 1) / maps.std()
    test, labels = np.repeat(test, PATCHES), np.repeat(labels, PATCHES)
    return {"train": (cut[~test], labels[~test]), "test": (cut[test], labels[test])}


def main() -> None:
    """Read the command line, train what is missing, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--cache", type=Path, default=Path("build/experiments"))
    parser.add_argument("--graphs", nargs="+", default=GRAPHS)
    parser.add_argument("--poolings", nargs="+", default=["max"], choices=POOLINGS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--signal-to-noise", type=float, default=0.3)
    arguments = parser.parse_args()
    sets = patches(arguments.signal_to_noise, arguments.cache)

    def trial(graph: str, pooling: str, seed: int) -> Row:
        keras.utils.set_random_seed(seed)
        model = network(PATCH, Case.named(graph), pooling, FILTERS, ORDER, classes=2)
        steps = arguments.epochs * -(-len(sets["train"][0]) // 32)
        model.compile(
            keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(4e-3, steps)),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        history = model.fit(*sets["train"], batch_size=32, epochs=arguments.epochs, verbose=0)
        loss, accuracy = model.evaluate(*sets["test"], batch_size=100, verbose=0)
        return {
            "accuracy": float(accuracy),
            "test_loss": float(loss),
            "training_loss": float(history.history["loss"][-1]),
        }

    path = arguments.output / "lognormal_patches.csv"
    rows = run_trials(path, arguments.graphs, arguments.poolings, arguments.seeds, trial)
    columns = {
        "accuracy": lambda row: float(row["accuracy"]),
        "loss on test patches": lambda row: float(row["test_loss"]),
        "in training": lambda row: float(row["training_loss"]),
    }
    write_text(summary(rows, columns), path.with_suffix(".md"))


if __name__ == "__main__":
    main()
