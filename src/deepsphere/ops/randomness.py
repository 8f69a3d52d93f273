"""The random states that training draws from."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import global_seed_generator
from keras.src.utils.rng_utils import GLOBAL_RANDOM_SEED


def seed_shuffling(seed: int) -> None:
    """Seed what `keras.Model.fit` shuffles by: numpy's (JAX) and PyTorch's global generators.

    Python's own generator, which shuffles the batches of a `keras.utils.PyDataset`, is seeded too.
    TensorFlow's data sets take their seed when they are made.

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (the state that Keras draws from)
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed)


def random_variables(model: keras.Model) -> list[Any]:
    """Return the variables that hold random states: the model's, and Keras' global one.

    Parameters
    ----------
    model : keras.Model
        A built model.

    Returns
    -------
    list of keras.Variable
        States of all seed generators, such as those of dropout.
    """
    weights = {id(variable) for variable in (*model.weights, *model.metrics_variables)}
    own = [variable for variable in model.variables if id(variable) not in weights]
    return [*own, global_seed_generator().state]


def shuffles_without_seed() -> bool:
    """Return whether the order of examples is another one in each process, whatever is seeded.

    TensorFlow's data sets draw a seed of their own when none was set for the whole program.
    """
    return (
        keras.backend.backend() == "tensorflow"
        and global_state.get_global_attribute(GLOBAL_RANDOM_SEED) is None
    )
