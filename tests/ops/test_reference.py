"""The filter in NumPy, which the others are compared with."""

import numpy as np

from deepsphere.graph import Graph, rescaled_laplacian
from deepsphere.ops import SparseOperator, reference
from deepsphere.sampling import Healpix
from harness import relative_error

SYMMETRIC = SparseOperator(rescaled_laplacian(Healpix(2), 8))


RANDOM_WALK = SparseOperator(rescaled_laplacian(Healpix(2), Graph(8, laplacian="random_walk")))


def example(terms, channels, filters, dtype=np.float32, n=48, batch=3):
    rng = np.random.default_rng(terms + channels)
    shapes = ((batch, n, channels), (terms, channels, filters), (batch, n, filters))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def truth(x, kernel, weights, operator):
    """Value and gradients, term by term from the definition with dense matrices."""
    matrix = operator.matrix.toarray()
    basis = [np.eye(len(operator)), matrix]
    while len(basis) < len(kernel):
        basis.append(2 * matrix @ basis[-1] - basis[-2])
    x, kernel, weights = (a.astype(float) for a in (x, kernel, weights))
    pairs = list(zip(basis, kernel, strict=False))
    return (
        sum(t @ x @ w for t, w in pairs),
        sum(t.T @ weights @ w.T for t, w in pairs),
        np.stack([np.einsum("bni,bno->io", t @ x, weights) for t, _ in pairs]),
    )


def test_reference_agrees_with_the_definition():
    x, kernel, weights = example(6, 3, 2, np.float64)
    for operator in (SYMMETRIC, RANDOM_WALK):
        expected = truth(x, kernel, weights, operator)[0]
        # 1e-13: a few dozen roundings of 1e-16
        assert relative_error(reference.chebyshev_filter(x, kernel, operator), expected) < 1e-13
