"""The Fibonacci lattice: its formula and its uniformity."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from deepsphere.sampling import Fibonacci


def test_formula():
    points = Fibonacci(7).points
    np.testing.assert_allclose(points[:, 2], np.array([6, 4, 2, 0, -2, -4, -6]) / 7, atol=1e-15)
    longitudes = np.unwrap(np.arctan2(points[:, 1], points[:, 0]))
    # Either way round: a golden ratio less than one turn forwards is one turn less the other.
    step = np.diff(longitudes) / (2 * np.pi) % 1
    np.testing.assert_allclose(step, (np.sqrt(5) - 1) / 2, rtol=1e-13)


@pytest.mark.parametrize("n", [1000, 4321])
def test_evenness(n):
    sampling = Fibonacci(n)
    # Swinbank and Purser: areas within a few percent except at the poles, and no close pairs.
    relative = sampling.areas * n / (4 * np.pi)
    assert np.abs(relative - 1).max() < 0.1
    assert np.abs(relative - 1).mean() < 0.01
    distances, _ = cKDTree(sampling.points).query(sampling.points, 2)
    assert distances[:, 1].min() > 3 / np.sqrt(n)


def test_coarsen():
    assert Fibonacci(1000).coarsen(2) == Fibonacci(62)
    assert Fibonacci(1003).coarsen() == Fibonacci(250)
    assert Fibonacci(250).refine() == Fibonacci(1000)
    with pytest.raises(ValueError, match="60 points cannot be divided by 4 3 times"):
        Fibonacci(60).coarsen(3)


@pytest.mark.parametrize("n", [16, 500, 20_000])
def test_points_belong_to_the_nearest_coarse_point(n):
    fine = Fibonacci(n)
    shares = fine.membership().tocsc()
    parents = shares.indices
    np.testing.assert_array_equal(shares.data, 1)
    some = slice(0, n, max(1, n // 50))
    distances = np.linalg.norm(fine.points[some, None] - fine.coarsen().points, axis=2)
    np.testing.assert_array_equal(parents[some], distances.argmin(axis=1))
    # Parts are of two to six points.
    counts = np.bincount(parents)
    assert counts.min() >= 2
    assert counts.max() <= 6


def test_errors():
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        Fibonacci(0)
    with pytest.raises(TypeError, match="n must be an integer, got '7'"):
        Fibonacci("7")
