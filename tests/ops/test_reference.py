"""The filter in NumPy, which the others are compared with."""

import numpy as np

from deepsphere.graph import Graph, rescaled_laplacian
from deepsphere.ops import SparseOperator, reference
from deepsphere.sampling import Healpix
from filter_truth import example, truth
from harness import relative_error

SYMMETRIC = SparseOperator(rescaled_laplacian(Healpix(2), 8))


RANDOM_WALK = SparseOperator(rescaled_laplacian(Healpix(2), Graph(8, laplacian="random_walk")))


def test_reference_agrees_with_the_definition():
    x, kernel, weights = example(6, 3, 2, np.float64)
    for operator in (SYMMETRIC, RANDOM_WALK):
        expected = truth(x, kernel, weights, operator)[0]
        # 1e-13: a few dozen roundings of 1e-16
        assert relative_error(reference.chebyshev_filter(x, kernel, operator), expected) < 1e-13
