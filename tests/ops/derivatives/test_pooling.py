"""Pooling as one operation: values, gradients and second derivatives."""

import keras
import numpy as np
import pytest

from deepsphere import ops
from harness import (
    MODES,
    SINGLE,
    gradients,
    relative_error,
    second_derivatives,
    to_numpy,
)


@pytest.mark.parametrize("mode", ["max", "mean"])
@pytest.mark.parametrize("channels", [1, 5, 8, 20, 33])
@pytest.mark.parametrize("children", [2, 4, 16])
def test_pooling(children, channels, mode, engine):
    rng = np.random.default_rng(channels)
    # Few values, so that maxima tie: each backend shares their gradient evenly.
    x = rng.integers(-2, 3, (3, 48, channels)).astype(np.float32)
    weights = rng.standard_normal((3, 48 // children, channels)).astype(np.float32)
    value, (dx,) = gradients(lambda x: ops.pool(x, children, mode), [x], weights, MODES[0])
    blocks = x.reshape(3, -1, children, channels)
    assert relative_error(value, blocks.max(2) if mode == "max" else blocks.mean(2)) < SINGLE
    share = (blocks == blocks.max(2, keepdims=True)) if mode == "max" else np.ones_like(blocks)
    share = share / share.sum(2, keepdims=True)
    assert relative_error(dx, (weights[:, :, None] * share).reshape(x.shape)) < SINGLE


@pytest.mark.parametrize("mode", ["max", "mean"])
def test_pooling_second_derivatives(mode, engine):
    x = np.random.default_rng(0).standard_normal((2, 48, 3)).astype(np.float32)

    def parts(x):
        y = keras.ops.reshape(x, (2, 12, 4, 3))
        return keras.ops.max(y, 2) if mode == "max" else keras.ops.mean(y, 2)

    (found,) = second_derivatives(lambda x: ops.pool(x, 4, mode), [x])
    (expected,) = second_derivatives(parts, [x])
    assert relative_error(found, expected) < SINGLE


def test_maxima_of_integers_are_exact(engine):
    x = np.array([2**24 + 1, 1, 2, 3], np.int32).reshape(1, 4, 1)  # which float32 does not hold
    np.testing.assert_array_equal(to_numpy(ops.pool(x, 2, "max")).ravel(), [2**24 + 1, 3])
