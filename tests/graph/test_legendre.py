"""Legendre polynomials."""

import numpy as np
import pytest

from deepsphere.graph.legendre import legendre_gaps


def test_legendre():
    t = np.linspace(0, 2, 50)
    for ell, gap in enumerate(legendre_gaps(t, 30), start=1):
        expected = 1 - np.polynomial.legendre.Legendre.basis(ell)(1 - t)
        np.testing.assert_allclose(t * gap, expected, atol=1e-13)  # rounding of the series
        assert gap[0] == pytest.approx(ell * (ell + 1) / 2, rel=1e-12)
