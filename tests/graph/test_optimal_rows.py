"""Optimal weights, row by row."""

import numpy as np
from scipy.optimize import minimize

from deepsphere.graph.neighbors import edges_to_nearest
from deepsphere.graph.optimal_rows import RIDGE, optimal_weights, target
from deepsphere.sampling import Healpix
from harmonics_truth import harmonics


def test_weights_minimize_the_expected_error():
    """Compared with a general minimizer on spherical harmonics."""
    sphere = Healpix(4)
    points, band = sphere.points, 8
    pattern = edges_to_nearest(points, 8)
    goal = target(8, len(sphere), band)
    weights = optimal_weights(pattern, points, goal, np.array([10])).toarray()[0]
    near = pattern[[10]].indices
    differences = []
    for ell in range(1, band + 1):
        f = harmonics(points, ell)
        scale = np.sqrt(4 * np.pi / (2 * ell + 1) * goal.weights[ell - 1])
        differences.append((f[10] - f[near]) * scale / goal.spectrum[ell - 1])
        f10 = f[10] * scale
        differences[-1] = (differences[-1], f10)
    d = np.concatenate([a for a, _ in differences], axis=1)
    wanted = np.concatenate([b for _, b in differences])

    def cost(v):
        return np.linalg.norm(v @ d - wanted) ** 2 + RIDGE * v @ v

    best = cost(weights[near])
    found = minimize(cost, weights[near], method="BFGS", options={"gtol": 1e-10})
    assert best <= found.fun * (1 + 1e-9)  # nothing better near by
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert cost(weights[near] + 1e-3 * rng.standard_normal(len(near))) > best
