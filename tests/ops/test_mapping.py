"""Sparse maps, and maxima over sets of vertices."""

import keras
import numpy as np
import pytest

from deepsphere.ops import SparseMap
from deepsphere.ops.mapping import gathered_maximum
from harness import MODES, SINGLE, gradients, relative_error, to_numpy

RNG = np.random.default_rng(0)


X = RNG.standard_normal((2, 6, 1)).astype(np.float32)


@pytest.mark.parametrize("rows", [3, 6, 8])
def test_maps(rows, engine):
    matrix = RNG.standard_normal((rows, 6)) * (RNG.random((rows, 6)) < 0.5)
    x, weights = (RNG.standard_normal((2, n, 5)).astype(np.float32) for n in (6, rows))
    value, (dx,) = gradients(SparseMap(matrix), [x], weights, MODES[0])
    assert relative_error(value, matrix @ x) < SINGLE
    assert relative_error(dx, matrix.T @ weights) < SINGLE


def test_maxima_over_sets():
    x = RNG.standard_normal((2, 6, 3)).astype(np.float32)
    indices = np.array([[0, 3, 5, 2], [1, 3, 0, 4]])
    found = to_numpy(gathered_maximum(keras.ops.convert_to_tensor(x), indices))
    np.testing.assert_array_equal(found, x[:, indices].max(axis=1))


@pytest.mark.parametrize("rows", [3, 6, 8])
def test_maps_of_other_features_are_refused(rows):
    with pytest.raises(ValueError, match="x has 5 vertices, but the map has 6"):
        SparseMap(np.ones((rows, 6)))(X[:, :5])


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([[0, 6]], ValueError, "from 0 to 6 - 1, got 0 to 6"),
        ([[-1, 2]], ValueError, "from 0 to 6 - 1, got -1 to 2"),
        ([[0.5, 1]], TypeError, "must be integers, got dtype float64"),
        ([0, 1], ValueError, r"must have shape \(width, m\) with width >= 1, got \(2,\)"),
        (np.zeros((0, 3), int), ValueError, r"with width >= 1, got \(0, 3\)"),
    ],
    ids=str,
)
def test_bad_sets_of_vertices(indices, error, message):
    with pytest.raises(error, match=message):
        gathered_maximum(X, np.array(indices))
