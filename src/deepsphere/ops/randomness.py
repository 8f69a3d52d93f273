"""Random states used in training."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import global_seed_generator
from keras.src.utils.rng_utils import GLOBAL_RANDOM_SEED


def seed_shuffling(seed: int) -> None:
    """Seed the generators that `keras.Model.fit` shuffles with.

    These are the global generators of NumPy (JAX), PyTorch, and Python's `random`, which shuffles
    the batches of a `keras.utils.PyDataset`. TensorFlow's data sets are seeded on creation.

    Parameters
    ----------
    seed : int
        Seed from 0 to 2**32 - 1.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (the state that Keras draws from)
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed)


def random_variables(model: keras.Model) -> list[Any]:
    """Return the variables that hold the random states of a model, and Keras' global one.

    Parameters
    ----------
    model : keras.Model
        A built model.

    Returns
    -------
    list of keras.Variable
        States of all seed generators, such as those of dropout layers.
    """
    weights = {id(variable) for variable in (*model.weights, *model.metrics_variables)}
    own = [variable for variable in model.variables if id(variable) not in weights]
    return [*own, global_seed_generator().state]


def shuffles_without_seed() -> bool:
    """Whether the order of examples differs between processes even after `seed_shuffling`.

    TensorFlow's data sets draw a random seed unless `keras.utils.set_random_seed` was called.
    """
    return (
        keras.backend.backend() == "tensorflow"
        and global_state.get_global_attribute(GLOBAL_RANDOM_SEED) is None
    )
