import numpy as np
import pytest
from numpy.polynomial import chebyshev

from deepsphere.ops import BASES, evaluate_basis, to_chebyshev
from harness import basis_function

POINTS = np.linspace(-1, 1, 41)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("order", [0, 1, 5, 20])
def test_bases_and_their_chebyshev_coefficients(basis, order):
    expected = np.stack([basis_function(basis, order, k, POINTS) for k in range(order + 1)], axis=1)
    # 1e-12: up to 20 roundings of values that stay below 1
    np.testing.assert_allclose(evaluate_basis(basis, order, POINTS), expected, atol=1e-12)
    matrix = to_chebyshev(basis, order)
    np.testing.assert_allclose(chebyshev.chebval(POINTS, matrix).T, expected, atol=1e-12)
    assert np.abs(matrix).max() <= 1 + 1e-12  # no digits are lost


def test_bernstein_polynomials_are_a_partition_of_unity():
    values = evaluate_basis("bernstein", 9, POINTS)
    np.testing.assert_allclose(values.sum(axis=1), 1)
    assert values.min() >= 0
    # The last one is (L / 2)^order: what the earlier implementation left out.
    np.testing.assert_allclose(values[:, -1], ((POINTS + 1) / 2) ** 9, atol=1e-15)


def test_unknown_basis():
    with pytest.raises(ValueError, match="basis must be one of chebyshev, monomial, bernstein"):
        evaluate_basis("legendre", 2, POINTS)
