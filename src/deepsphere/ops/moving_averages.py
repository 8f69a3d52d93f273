"""Weights of batches in the moving averages of batch normalization, for Keras and PyTorch."""

from __future__ import annotations

from typing import Any

SETTLING = 50.0
"""Speed of the early moving averages, which cover about 2 / 50 of the steps so far. With 2 / 10
some short trainings still evaluate poorly. A smaller fraction would cover too few batches: with
2 / 50 there are 3 at step 50."""

MANY_STEPS = 2**24
"""Step count assumed for averages loaded without one. In float32, adding 1 no longer changes it."""


def weight_of_batch(step: Any) -> Any:
    """Return the weight of a batch in the averages, before the momentum takes over.

    Parameters
    ----------
    step : tensor or float
        Number of the step, from 1: the first batch has the weight 1.
    """
    return SETTLING / (SETTLING - 1 + step)
