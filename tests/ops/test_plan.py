"""Decisions that depend only on sizes."""

import numpy as np
import pytest

from deepsphere.ops import plan


def test_a_kernel_of_one_row_is_depthwise_unless_there_is_one_channel():
    assert plan.is_depthwise((2, 48, 3), (4, 1, 3))
    assert plan.is_depthwise((None, None, 3), (4, 1, 3))
    for features, weights in (
        ((2, 48, 3), (4, 3, 3)),  # mixes channels
        ((2, 48, 1), (4, 1, 3)),
        ((2, 48, 1), (4, 1, 1)),
        ((2, 48, 3), (4, 1, 2)),  # fits neither way
        ((2, 48, None), (4, 1, 3)),
    ):
        assert not plan.is_depthwise(features, weights)


def test_wider_products_are_split():
    assert plan.max_columns(0) == plan.MAX_PRODUCT
    assert (
        plan.max_columns(2**20) * 2**20 <= plan.MAX_PRODUCT < (plan.max_columns(2**20) + 1) * 2**20
    )
    assert plan.max_columns(2**40) == 1


@pytest.mark.parametrize("needs_dx", [False, True])
def test_gradients_take_the_narrower_recurrences(needs_dx):
    for channels, filters in np.ndindex(20, 20):
        separate = plan.separate_gradients(channels, filters, needs_dx)
        assert separate == (channels * (1 + needs_dx) < filters)


def test_empty_tensors():
    x, none = np.zeros((2, 3)), np.zeros((2, 0))
    assert not plan.is_empty(x)
    assert plan.is_empty(x, none)
