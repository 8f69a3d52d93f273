"""NaN reaches only what depends on it, so padding must not read other vertices."""

import keras
import numpy as np
import pytest
from scipy.sparse import csr_array

from deepsphere import layers
from deepsphere.ops import SparseMap, SparseOperator, chebyshev_filter
from deepsphere.ops.attention import neighbor_attention
from deepsphere.ops.mapping import gathered_maximum
from deepsphere.ops.products import sparse_product
from deepsphere.sampling import Equiangular, Healpix, Icosahedral
from deepsphere.sampling.resampling import padded
from harness import MODES, gradients, push_forward, to_numpy

N = 24


def pattern(rows=N, columns=N):
    """Rows of different lengths, with and without a diagonal entry, two of them empty."""
    rng = np.random.default_rng(0)
    dense = rng.random((rows, columns)) * (rng.random((rows, columns)) < 0.12)
    dense[[3, 11]] = 0
    return dense


def nan_at(shape, vertex):
    x = np.random.default_rng(1).standard_normal(shape).astype("float32")
    x[0, vertex] = np.nan
    return x


def nan_vertices(y):
    """Return where the first map is NaN; the second must have none."""
    wrong = np.isnan(to_numpy(y)).any(axis=tuple(range(2, len(y.shape))))
    assert not wrong[1].any()
    return np.flatnonzero(wrong[0]).tolist()


def mode_of(engine):
    """Return how to run: compiled by XLA where that has lists that are padded."""
    return "eager" if engine == "compiled" else MODES[-1]


@pytest.mark.parametrize("vertex", [0, 3])
def test_products(vertex, engine):
    operator = SparseOperator(csr_array(pattern()))
    x = nan_at((2, N, 3), vertex)
    weights = np.ones((2, N, 3), "float32")
    reach = (pattern() > 0).astype(int)
    y, _ = gradients(lambda x: sparse_product(x, operator, 3), [x], weights, mode_of(engine))
    assert nan_vertices(y) == np.flatnonzero((reach @ reach @ reach)[:, vertex]).tolist()
    # The gradient goes the other way.
    _, (dx,) = gradients(
        lambda x: sparse_product(x, operator), [np.ones_like(x)], x, mode_of(engine)
    )
    assert nan_vertices(dx) == np.flatnonzero(reach[vertex]).tolist()


@pytest.mark.parametrize("filters", [2, 5])  # Clenshaw's recurrence, and the basis
def test_filters(filters, engine):
    operator = SparseOperator(csr_array(pattern()))
    x = nan_at((2, N, 3), 5)
    kernel = np.random.default_rng(2).standard_normal((3, 3, filters)).astype("float32")
    weights = np.ones((2, N, filters), "float32")
    reach = np.eye(N, dtype=int) + (pattern() > 0)
    y, _ = gradients(
        lambda x, k: chebyshev_filter(x, k, operator), [x, kernel], weights, mode_of(engine)
    )
    assert nan_vertices(y) == np.flatnonzero((reach @ reach)[:, 5]).tolist()
    weights[0, 5] = np.nan
    _, (dx, _) = gradients(
        lambda x, k: chebyshev_filter(x, k, operator),
        [np.ones_like(x), kernel],
        weights,
        mode_of(engine),
    )
    assert nan_vertices(dx) == np.flatnonzero((reach @ reach)[5]).tolist()


@pytest.mark.parametrize("shape", [(30, 16), (16, 30)])
@pytest.mark.parametrize("vertex", [0, 4])
def test_maps(shape, vertex, engine):
    dense = pattern(*shape)
    y = SparseMap(csr_array(dense))(keras.ops.convert_to_tensor(nan_at((2, shape[1], 1), vertex)))
    assert nan_vertices(y) == np.flatnonzero(dense[:, vertex]).tolist()


def test_maxima():
    dense = pattern()
    dense[[3, 11], 2] = 1
    x = keras.ops.convert_to_tensor(nan_at((2, N, 1), 5))
    y = gathered_maximum(x, padded(csr_array(dense))[0])
    assert nan_vertices(y) == np.flatnonzero(dense[:, 5]).tolist()


@pytest.mark.parametrize("which", [0, 1, 2], ids=["queries", "keys", "values"])
def test_attention(which):
    dense = pattern()
    dense[:, 7] = 0  # nothing attends to it
    operator = SparseOperator(csr_array(dense))
    shape = (2, N, 2, 4)
    for vertex in (3, 5, 7):
        arguments = [nan_at(shape, []) for _ in range(3)]
        arguments[which][0, vertex] = np.nan
        y, _ = gradients(
            lambda *qkv: neighbor_attention(*qkv, operator),
            arguments,
            np.ones(shape, "f4"),
            "eager",
        )
        reached = [vertex] if which == 0 else np.flatnonzero(dense[:, vertex]).tolist()
        assert nan_vertices(y) == [i for i in reached if dense[i].any()]


def test_tangents_of_attention():
    """Padding reads the vertex itself, even if it has no neighbors, like vertex 3 here."""
    shape = (2, N, 2, 4)
    primals, tangents = ([nan_at(shape, v) for v in where] for where in ([[]] * 3, [[], [], 3]))
    y = push_forward(
        lambda *qkv: neighbor_attention(*qkv, SparseOperator(csr_array(pattern()))),
        primals,
        tangents,
    )
    assert nan_vertices(y) == np.flatnonzero(pattern()[:, 3]).tolist()


GRID = Equiangular(8, 16)
LAYERS = {
    "chebyshev": lambda: layers.ChebyshevConv(3, 2, graph=6, sampling=GRID),
    "bernstein": lambda: layers.BernsteinConv(3, 2, graph=6, sampling=GRID),
    "pool mean": lambda: layers.Pool(mode="mean", sampling=Icosahedral(1)),
    "pool max": lambda: layers.Pool(mode="max", sampling=GRID),
    "unpool": lambda: layers.Unpool(sampling=Icosahedral(1)),
    "resample": lambda: layers.Resample(Healpix(4), sampling=GRID),
    "resample near": lambda: layers.Resample(Healpix(2), "inverse_distance", sampling=GRID),
    "attention": lambda: layers.NeighborTransformerBlock(2, 4, graph=6, sampling=GRID),
    "smooth pool": lambda: layers.SmoothPool(sampling=Healpix(2)),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_layers(make, engine):
    """NaN comes out where another number at the same place would change the result."""
    layer = make()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, len(layer.sampling), 8)).astype("float32")
    for vertex in (0, 20):
        other, nan = x.copy(), x.copy()
        other[0, vertex], nan[0, vertex] = 1e3, np.nan
        changed = (to_numpy(layer(other)) != to_numpy(layer(x))).any(axis=2)
        assert nan_vertices(layer(nan)) == np.flatnonzero(changed[0]).tolist()
