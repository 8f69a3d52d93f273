"""Derivatives of activations from their output, compared with Keras' activations."""

import keras
import numpy as np
import pytest

from deepsphere.ops import ACTIVATIONS
from deepsphere.ops.derivatives.activations import is_curved, slope

# Not at 0, where relu and others have two slopes.
POINTS = np.array([-3.0, -1.2, -0.1, 0.2, 0.9, 2.5])
NEED_INPUT = ("linear", "silu", "gelu")


class Numbers:
    """NumPy under the names of the backends."""

    exp, where, zeros_like, ones_like = np.exp, np.where, np.zeros_like, np.ones_like


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name not in NEED_INPUT])
def test_slopes_are_those_of_keras(name):
    function = keras.activations.get(name)

    def value(points):
        return keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(points, "float32")))

    step = 1e-2
    numeric = (value(POINTS + step) - value(POINTS - step)).astype(float) / (2 * step)
    found = slope(name, value(POINTS).astype(float), Numbers)
    # Central differences: step^2 / 6 of truncation, 1e-7 / step of rounding.
    np.testing.assert_allclose(found, numeric, atol=5e-5)


@pytest.mark.parametrize("name", NEED_INPUT)
def test_others_need_the_input(name):
    with pytest.raises(ValueError, match=f"the derivative of {name} needs the input"):
        slope(name, POINTS, Numbers)


def test_straight_ones_have_no_second_derivative():
    assert [name for name in ACTIVATIONS if not is_curved(name)] == ["linear", "relu", "leaky_relu"]
