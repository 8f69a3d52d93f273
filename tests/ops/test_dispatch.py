"""The choice between the forms of an operation is made in one place."""

import inspect

import keras
import numpy as np
import pytest

from deepsphere.ops.dispatch import Operations, operations_of
from harness import BACKEND

OPERATIONS = ("chebyshev_filter", "normalized_filter", "sparse_product", "pool")


def test_operations_of_a_backend_are_shared():
    assert operations_of(BACKEND) is operations_of(BACKEND)


def test_other_backends_are_refused():
    with pytest.raises(ImportError, match=r"'numpy': set the environment variable KERAS_BACKEND"):
        Operations("numpy")


@pytest.mark.parametrize("name", OPERATIONS)
def test_both_forms_take_the_same_arguments(name):
    operations = operations_of(BACKEND)
    expected = list(inspect.signature(getattr(operations, name)).parameters)
    for form in (operations.compiled, operations.portable):
        assert list(inspect.signature(getattr(form, name)).parameters) == expected


def test_empty_tensors_take_the_portable_form():
    operations = operations_of(BACKEND)
    x, kernel, none = (
        keras.ops.convert_to_tensor(np.zeros(shape, np.float32))
        for shape in ((1, 4, 2), (3, 2, 5), (0, 4, 2))
    )
    assert operations.form(x, kernel) is operations.compiled
    assert operations.form(none, kernel) is operations.portable
