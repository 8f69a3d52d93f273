"""The plain product, compared with dense float64 matrices, in every mode of a backend."""

import keras
import numpy as np
import pytest
from scipy.sparse import csr_array

from deepsphere.graph import rescaled_laplacian
from deepsphere.ops import SparseOperator, plan
from deepsphere.ops.products import sparse_product
from deepsphere.sampling import Healpix
from harness import HALF, MODES, SINGLE, gradients, relative_error, to_numpy


def irregular(n=40):
    """Rows of different lengths, one of them empty."""
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((n, n)) * (rng.random((n, n)) < 0.4)
    dense[7] = 0
    return SparseOperator(csr_array(dense))


SYMMETRIC = SparseOperator(rescaled_laplacian(Healpix(2), 8))
OPERATORS = {"symmetric": SYMMETRIC, "irregular": irregular()}


def example(operator, channels=3, dtype=np.float32):
    rng = np.random.default_rng(1)
    shape = (3, len(operator), channels)
    return [rng.standard_normal(shape).astype(dtype) for _ in range(2)]


# The portable form alone splits its columns, and runs in XLA on TensorFlow.
WAYS = [
    (engine, mode, columns)
    for engine in ("compiled", "portable")
    for mode in MODES
    for columns in (None, 2)
    if engine == "portable" or (columns is None and mode != "xla")
]


@pytest.mark.parametrize(("engine", "mode", "columns"), WAYS, ids=str, indirect=["engine"])
@pytest.mark.parametrize("power", [1, 2, 5])
@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_value_and_gradient(columns, operator, power, mode, monkeypatch, engine):
    if columns is not None:
        monkeypatch.setattr(plan, "MAX_PRODUCT", columns * operator.nnz)
    x, weights = example(operator)
    value, (dx,) = gradients(lambda x: sparse_product(x, operator, power), [x], weights, mode)
    matrix = np.linalg.matrix_power(operator.matrix.toarray(), power)
    assert relative_error(value, matrix @ x.astype(float)) < SINGLE
    assert relative_error(dx, matrix.T @ weights.astype(float)) < SINGLE


def test_the_default_is_one_product(engine):
    x, _ = example(SYMMETRIC)
    y = sparse_product(keras.ops.convert_to_tensor(x), SYMMETRIC)
    assert relative_error(y, SYMMETRIC.matrix.toarray() @ x) < SINGLE


@pytest.mark.parametrize("policy", HALF)
def test_half_precision_rounds_only_in_and_out(policy, engine):
    operator = OPERATORS["irregular"]
    x = keras.ops.cast(example(operator)[0], policy.removeprefix("mixed_"))
    y = sparse_product(x, operator, 3)
    assert y.dtype == x.dtype
    matrix = np.linalg.matrix_power(operator.matrix.toarray(), 3)
    expected = matrix @ to_numpy(keras.ops.cast(x, "float32")).astype(float)
    assert relative_error(keras.ops.cast(y, "float32"), expected) < HALF[policy]


@pytest.mark.parametrize(
    ("shape", "power", "message"),
    [
        ((2, 48), 1, r"x must have shape \(batch, n, channels\), got \(2, 48\)"),
        ((2, 47, 1), 1, "x has 47 vertices, but the operator has 48"),
        ((2, 48, 1), 0, "power must be at least 1 and at most 65536, got 0"),
    ],
)
def test_bad_arguments(shape, power, message):
    with pytest.raises(ValueError, match=message):
        sparse_product(np.zeros(shape, np.float32), SYMMETRIC, power)
