"""The heat kernel as a polynomial of the Laplacian."""

import numpy as np
import pytest
from numpy.polynomial.chebyshev import chebval
from scipy.linalg import expm

from deepsphere.graph import rescaled_laplacian
from deepsphere.graph.low_pass import (
    TRUNCATION,
    apply_series,
    cutoff_degree,
    heat_kernel,
    low_pass,
)
from deepsphere.sampling import Healpix
from harmonics_truth import harmonics

SPHERE = Healpix(8)
MATRIX = rescaled_laplacian(SPHERE, 20, scale=1.0)


@pytest.mark.parametrize("time", [0.1, 1.0, 7.0, 40.0])
def test_the_default_order_truncates_below_the_bound(time):
    points = np.linspace(-1, 1, 1001)
    coefficients = heat_kernel(time)
    error = np.abs(chebval(points, coefficients) - np.exp(-time * (1 + points))).max()
    # Once for the terms that are left out, once for the normalization that makes up for them.
    assert error < 2 * TRUNCATION
    assert chebval(-1, coefficients) == pytest.approx(1, abs=1e-12)


def test_a_series_is_the_function_of_the_matrix():
    x = np.random.default_rng(0).standard_normal((len(SPHERE), 2))
    found = apply_series(MATRIX, x, heat_kernel(3.0, order=40))
    expected = expm(-3 * (np.eye(len(SPHERE)) + MATRIX.toarray())) @ x
    np.testing.assert_allclose(found, expected, atol=1e-12)  # rounding: the series has converged


@pytest.mark.parametrize("degree", [4, 8])
def test_the_degree_is_halved(degree):
    coefficients = low_pass(MATRIX, SPHERE, degree)
    modes = harmonics(SPHERE.points, degree)
    filtered = apply_series(MATRIX, modes, coefficients)
    gain = (modes * filtered).sum() / (modes**2).sum()
    assert gain == pytest.approx(0.5, abs=0.02)  # eigenvalues are measured to about 1 %


def test_degrees_scale_with_nside():
    assert [cutoff_degree(1.5, Healpix(nside)) for nside in (4, 16, 64)] == [6, 24, 96]
    assert cutoff_degree(0.1, Healpix(1)) == 1
