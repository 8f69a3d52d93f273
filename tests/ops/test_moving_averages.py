"""Weights of batches in moving averages."""

import numpy as np
import pytest

from deepsphere.ops.moving_averages import MANY_STEPS, weight_of_batch


def test_the_first_batch_sets_the_averages():
    assert weight_of_batch(1) == 1
    assert 0 < weight_of_batch(MANY_STEPS) < 1e-5
    assert np.float32(MANY_STEPS) + np.float32(1) == MANY_STEPS


def test_early_averages_cover_a_share_of_the_steps():
    """An average with weight w per step covers about 2 / w - 1 steps: here 2 / 50 of them."""
    for step in (500, 5000):
        assert 2 / weight_of_batch(step) - 1 == pytest.approx(step * 2 / 50, rel=0.1)
