"""Digits on the sphere, trained in one orientation and tested in any: what equivariance gains.

Run ``python experiments/equivariance/rotated_digits.py``. It trains networks on scikit-learn's
8 x 8 digits, stretched over a cap of 60 degrees around the north pole at nside 16, and tests them
on other digits, at the pole and under random rotations, which are the same for all networks.
Each row is written to ``rotated_digits.csv`` when it is known, and an interrupted run resumes from
there.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from sklearn.datasets import load_digits

from classifier import Case, network
from deepsphere.models.base import POOLINGS
from deepsphere.sampling import Healpix
from trials import Row, run_trials, summary, write_text

SPHERE = Healpix(16)
CAP = np.radians(60)
"""Angle from the middle of an image to the middle of its sides."""

FILTERS = (16, 32, 64)
ORDER = 4
TRAINED = 1297
"""Of the 1797 digits; the other 500 are for testing."""

GRAPHS = ("normalized-20", "optimal-20")
COMPARED = ("max", "smooth_mean")


def on_sphere(images: NDArray[np.float64], turns: NDArray[np.float64]) -> NDArray[np.float32]:
    """Put images on the sphere, each rotated by its own matrix.

    Parameters
    ----------
    images : ndarray, shape (count, 8, 8)
        Gray values from 0 to 1.
    turns : ndarray, shape (count, 3, 3)
        Rotation matrices.

    Returns
    -------
    ndarray of float32, shape (count, 3072, 1)
        Azimuthal equidistant around the turned north pole, linear between the image's pixels, 0
        outside.
    """
    maps = np.empty((len(images), len(SPHERE), 1), np.float32)
    for i, (image, turn) in enumerate(zip(images, turns, strict=True)):
        x, y, z = (SPHERE.points @ turn).T
        radius = np.arccos(np.clip(z, -1, 1)) / CAP
        azimuth = np.arctan2(y, x)
        place = 3.5 + 4 * radius * np.array([-np.sin(azimuth), np.cos(azimuth)])
        maps[i, :, 0] = map_coordinates(image, place, order=1, cval=0.0)
    return maps


@cache
def data(seed: int) -> dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Return maps and labels for training, and for testing as trained and rotated."""
    digits = load_digits()
    images = digits.images / 16.0
    order = np.random.default_rng(seed).permutation(len(images))
    train, test = order[:TRAINED], order[TRAINED:]
    turned = Rotation.random(len(test), random_state=seed).as_matrix()
    upright = np.broadcast_to(np.eye(3), (TRAINED, 3, 3))
    return {
        "train": (on_sphere(images[train], upright), digits.target[train]),
        "unrotated": (on_sphere(images[test], upright[: len(test)]), digits.target[test]),
        "rotated": (on_sphere(images[test], turned), digits.target[test]),
    }


def main() -> None:
    """Read the command line, train what is missing, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--graphs", nargs="+", default=GRAPHS)
    parser.add_argument("--poolings", nargs="+", default=COMPARED, choices=POOLINGS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=60)
    arguments = parser.parse_args()

    def trial(graph: str, pooling: str, seed: int) -> Row:
        sets = data(seed)
        keras.utils.set_random_seed(seed)
        model = network(SPHERE, Case.named(graph), pooling, FILTERS, ORDER, classes=10)
        steps = arguments.epochs * -(-TRAINED // 32)
        model.compile(
            keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(4e-3, steps)),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        model.fit(*sets["train"], batch_size=32, epochs=arguments.epochs, verbose=0)
        return {
            name: float(model.evaluate(*maps, batch_size=100, verbose=0)[1])
            for name, maps in sets.items()
        }

    path = arguments.output / "rotated_digits.csv"
    rows = run_trials(path, arguments.graphs, arguments.poolings, arguments.seeds, trial)
    columns = {
        "training": lambda row: float(row["train"]),
        "as trained": lambda row: float(row["unrotated"]),
        "rotated": lambda row: float(row["rotated"]),
        "lost": lambda row: float(row["unrotated"]) - float(row["rotated"]),
    }
    write_text(summary(rows, columns), path.with_suffix(".md"))


if __name__ == "__main__":
    main()
