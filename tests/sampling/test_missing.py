"""Missing values: masked, NaN, or UNSEEN."""

import healpy
import ml_dtypes
import numpy as np
import pytest
from astropy.utils.masked import Masked

from deepsphere.sampling.missing import UNSEEN, check_fill, check_real, is_marked, split_mask


@pytest.mark.parametrize("dtype", [np.float64, np.float32, ">f4"])
def test_the_marks_of_healpy(dtype):
    values = np.array([0, UNSEEN, np.nan, 1e30, np.inf, -1.63e30], dtype)
    np.testing.assert_array_equal(is_marked(values), [False, True, True, False, False, False])
    np.testing.assert_array_equal(
        is_marked(values) | np.isnan(values), healpy.mask_bad(values) | np.isnan(values)
    )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_nan_in_half_precision(dtype):
    np.testing.assert_array_equal(is_marked(np.array([1, np.nan], dtype)), [False, True])


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_integers_have_no_marks(dtype):
    assert not is_marked(np.array([0, 1], dtype)).any()


MASKED = np.ma.array([1.0, 2.0], mask=[False, True])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (MASKED, [False, True]),
        ([MASKED, MASKED], [[False, True], [False, True]]),
        (Masked([1.0, 2.0], mask=[False, True]), [False, True]),
        (np.ma.array([1.0, 2.0]), [False, False]),
        ([1.0, np.nan], [False, False]),  # a mark, not a mask
    ],
    ids=["masked", "list of masked", "astropy", "nothing masked", "list"],
)
def test_masks(values, expected):
    array, masked = split_mask(values, "maps")
    assert type(array) is np.ndarray
    np.testing.assert_array_equal(masked, expected)
    np.testing.assert_array_equal(array[..., 0], 1)


def test_what_is_no_real_number():
    with pytest.raises(TypeError, match="maps must be real, got complex128"):
        split_mask([1j], "maps")
    for values in (["a"], [None], np.array(["2020-01-01"], "M8[D]")):
        with pytest.raises(TypeError, match="maps must be numbers or booleans, got an array of"):
            split_mask(values, "maps")
    assert check_real(np.ones(2, ml_dtypes.bfloat16), "maps").dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize(
    ("fill", "dtype"),
    [
        (UNSEEN, np.float32),
        (np.nan, np.float16),
        (-np.inf, float),
        (255, np.uint8),
        (True, int),
        (2.0, int),
    ],
)
def test_fills(fill, dtype):
    cast = check_fill(fill, dtype)
    assert cast.dtype == dtype
    np.testing.assert_allclose(cast, fill, rtol=1e-6)


@pytest.mark.parametrize(
    ("fill", "dtype"),
    [
        (np.nan, int),
        (np.inf, int),
        (0.5, np.int64),
        (-1, np.uint8),
        (256, np.uint8),
        (2, bool),
        (UNSEEN, np.float16),
        (2**53 + 1.0, np.int32),
    ],
)
def test_fills_that_do_not_fit(fill, dtype):
    with pytest.raises(ValueError, match=f"a value that {np.dtype(dtype)} can represent"):
        check_fill(fill, dtype)


@pytest.mark.parametrize("fill", ["0", None, [1.0], 1j])
def test_fills_that_are_no_numbers(fill):
    with pytest.raises(TypeError, match="fill must be a number"):
        check_fill(fill, float)
