"""The filter and its gradients from the definition, in float64 with dense matrices."""

import numpy as np


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
