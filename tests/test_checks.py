"""Numbers and choices among arguments."""

import numpy as np
import pytest

from deepsphere._checks import check_choice, check_count


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers_become_int(value):
    count = check_count(value, "order")
    assert count == 3
    assert type(count) is int


@pytest.mark.parametrize("value", [3.0, "3", True, None, np.float32(3), np.True_])
def test_other_types_are_refused(value):
    with pytest.raises(TypeError, match="order must be an integer, got"):
        check_count(value, "order")


def test_small_numbers_are_refused():
    assert check_count(0, "levels", 0) == 0
    with pytest.raises(ValueError, match="levels must be at least 1, got 0"):
        check_count(0, "levels")


@pytest.mark.parametrize("value", ["min", "MAX", None, 1, ["max"]])
def test_other_choices_are_refused(value):
    assert check_choice("max", "mode", ("max", "mean")) == "max"
    with pytest.raises(ValueError, match="mode must be one of max, mean; got"):
        check_choice(value, "mode", ("max", "mean"))
