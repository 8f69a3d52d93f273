"""The compiled functions with every layout, batch size and number of threads."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from scipy.sparse import coo_array

from deepsphere import ops
from deepsphere.graph import Graph, rescaled_laplacian
from deepsphere.ops import SparseOperator, chebyshev_filter, filters, normalized_filter, reference
from deepsphere.ops.compiled import build
from deepsphere.sampling import Healpix
from harness import BACKEND, SINGLE, gradients, relative_error, to_numpy

WALK = SparseOperator(rescaled_laplacian(Healpix(2), Graph(8, laplacian="random_walk")))
TRANSPOSED = WALK.transpose
KERNEL = np.random.default_rng(2).standard_normal((3, 2, 4)).astype(np.float32)


def kernel():
    return keras.ops.convert_to_tensor(KERNEL)


def compute(x, kernel, operator=WALK):
    """Filter arrays."""
    y = chebyshev_filter(*map(keras.ops.convert_to_tensor, (x, kernel)), operator)
    return keras.ops.convert_to_numpy(y)


def example(batch, channels, filters, terms=4, n=48):
    rng = np.random.default_rng(batch + channels)
    shapes = ((batch, n, channels), (terms, channels, filters), (batch, n, filters))
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


WIDTHS = [(5, 5), (1, 7), (9, 2), (8, 24), (24, 8), (64, 64)]
BATCHES = [(batch, 3) for batch in (1, 2, 3, 4, 5, 7, 9, 16, 19)] + [
    (batch, threads) for batch in (1, 9) for threads in (1, 64)
]
"""Samples and threads; 64 are more threads than a tile has rows."""
LAYOUTS = [
    (widths, *batch)
    for i, widths in enumerate(WIDTHS)
    for j, batch in enumerate(BATCHES)
    # The library is the same on all backends. JAX compiles every shape.
    if BACKEND == "torch" or i % 3 == j % 3
]


@pytest.mark.parametrize(("widths", "batch", "threads"), LAYOUTS, ids=str)
def test_layouts(batch, widths, threads, monkeypatch):
    monkeypatch.setattr(build, "threads", lambda: threads)  # also more than there are processors
    x, kernel, g = example(batch, *widths)
    value, (dx, dkernel) = gradients(
        lambda x, w: chebyshev_filter(x, w, WALK), [x, kernel], g, "eager"
    )
    assert relative_error(value, reference.chebyshev_filter(x, kernel, WALK)) < SINGLE
    turned = kernel.transpose(0, 2, 1)
    assert relative_error(dx, reference.chebyshev_filter(g, turned, TRANSPOSED)) < SINGLE
    identity = np.eye(widths[0])[None] * np.ones((1, 1, 1))
    for k in range(len(kernel)):  # the terms one by one
        one = np.zeros((len(kernel), widths[0], widths[0]))
        one[k] = identity[0]
        term = reference.chebyshev_filter(x, one, WALK)
        expected = np.einsum("bni,bno->io", term, g.astype(float))
        assert np.abs(dkernel[k] - expected).max() < SINGLE * np.abs(dkernel).max()


def scattered(n, entries=6):
    """Return an operator with about that many entries per row, some rows empty."""
    rng = np.random.default_rng(n)
    degrees = rng.integers(0, 2 * entries, n)
    rows = np.repeat(np.arange(n), degrees)
    columns = rng.integers(0, n, len(rows))
    values = rng.uniform(-1, 1, len(rows)) / entries
    return SparseOperator(coo_array((values, (rows, columns)), shape=(n, n)))


LONG = scattered(701)
"""Tiles are of 8 to 256 rows, the fewer the more channels: the last one is not full in any."""


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize(
    ("batch", "widths"),
    [(1, (1, 1)), (3, (2, 1)), (5, (3, 4)), (2, (8, 8)), (1, (64, 40)), (9, (7, 5))],
    ids=str,
)
def test_the_last_rows_of_long_tiles_count(batch, widths, activation, threads, monkeypatch):
    """They count in the moments of a batch and in each gradient."""
    monkeypatch.setattr(build, "threads", lambda: threads)
    x, kernel, g = example(batch, *widths, terms=3, n=len(LONG))
    bias = np.random.default_rng(0).standard_normal(widths[1]).astype(np.float32)
    raw = reference.chebyshev_filter(x, kernel, LONG)
    mean, variance = raw.mean((0, 1)), raw.var((0, 1))
    found = normalized_filter(*map(keras.ops.convert_to_tensor, (x, kernel)), LONG, bias, 1e-3)
    # One row in 701 changes a moment by about 1e-3; sums of thousands of numbers lose 1e-6.
    assert np.abs(to_numpy(found[1]) - mean).max() < 1e-5 * np.sqrt(variance.max())
    assert relative_error(found[2], variance) < 1e-5

    def function(x, kernel, bias):
        return normalized_filter(x, kernel, LONG, bias, 1e-3, activation)[0]

    value, (dx, dkernel, dbias) = gradients(function, [x, kernel, bias], g, "eager")
    scale = 1 / np.sqrt(variance + 1e-3)
    normal = (raw - mean) * scale
    expected = normal + bias
    passed = g.astype(float)
    if activation == "relu":
        expected = np.maximum(expected, 0)
        passed = passed * (value > 0)  # as it was decided where rounding decides
    assert relative_error(value, expected) < SINGLE
    assert relative_error(dbias, passed.sum((0, 1))) < SINGLE
    inner = scale * (passed - passed.mean((0, 1)) - normal * (passed * normal).mean((0, 1)))
    turned = kernel.transpose(0, 2, 1)
    assert relative_error(dx, reference.chebyshev_filter(inner, turned, LONG.transpose)) < SINGLE

    def product(maps):
        return np.stack([LONG.matrix @ sample for sample in maps])

    terms = [x.astype(float), product(x.astype(float))]
    terms.append(2 * product(terms[1]) - x)
    right = np.stack([np.einsum("bni,bno->io", t, inner) for t in terms])
    # What is left after the subtraction of means is small next to what was added up.
    size = np.abs(inner).sum((0, 1)).max() * np.abs(x).max()
    assert np.abs(dkernel - right).max() < SINGLE * max(np.abs(right).max(), 0.1 * size)


def test_results_do_not_depend_on_what_ran_before():
    """Reusing the workspace for larger and smaller calls does not change results."""
    sizes = [(3, 5, 5), (19, 64, 64), (1, 1, 3), (3, 5, 5)]
    results = []
    for size in sizes * 2:
        x, kernel, _ = example(*size)
        tensors = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(kernel)
        results.append(keras.ops.convert_to_numpy(normalized_filter(*tensors, WALK)[0]))
    for first, second in zip(results[:4], results[4:], strict=True):
        np.testing.assert_array_equal(first, second)


def test_wide_workspaces_are_given_back():
    """A call that needs more than is kept for the next one."""
    sampling = Healpix(64)
    operator = SparseOperator(rescaled_laplacian(sampling, 8))
    x, kernel, _ = example(16, 6, 7, terms=3, n=len(sampling))
    y = chebyshev_filter(
        keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(kernel), operator
    )
    part = reference.chebyshev_filter(x[:1], kernel, operator)
    assert relative_error(keras.ops.convert_to_numpy(y)[:1], part) < SINGLE


def test_calls_at_the_same_time(monkeypatch):
    """Concurrent calls wait for each other and do not interfere."""
    monkeypatch.setattr(build, "threads", lambda: 4)
    sampling = Healpix(8)
    operator = SparseOperator(rescaled_laplacian(sampling, Graph(8, laplacian="random_walk")))
    examples = [example(batch, 5, 7, n=len(sampling)) for batch in (3, 17, 20, 33)] * 3

    def run(arrays):
        x, kernel, g = arrays
        return gradients(lambda x, w: chebyshev_filter(x, w, operator), [x, kernel], g, "eager")

    expected = [run(arrays) for arrays in examples]
    with ThreadPoolExecutor(6) as pool:
        for (y, found), (right, one_by_one) in zip(pool.map(run, examples), expected, strict=True):
            np.testing.assert_array_equal(y, right)
            for a, b in zip(found, one_by_one, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(BACKEND != "torch", reason="the other backends do not survive a fork")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork(monkeypatch):
    """A forked child has no threads of its parent and must not wait for them."""
    monkeypatch.setattr(build, "threads", lambda: 3)
    x, kernel, _ = example(3, 5, 5)
    expected = compute(x, kernel)
    child = os.fork()
    if not child:
        signal.alarm(30)  # ends the child: waiting for ever must not stop the whole suite
        try:
            os._exit(0 if np.array_equal(compute(x, kernel), expected) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "function",
    [
        lambda x: chebyshev_filter(x, kernel(), WALK, activation="relu"),
        lambda x: normalized_filter(x, kernel(), WALK)[0],
        lambda x: ops.sparse_product(x, WALK, 2),
        lambda x: ops.pool(x, 4, "max"),
    ],
)
def test_inputs_in_any_order_of_memory(function):
    """PyTorch's "like" functions keep the memory order of their argument."""
    x = np.random.default_rng(0).standard_normal((5, 48, 2)).astype(np.float32)
    across = keras.ops.transpose(
        keras.ops.convert_to_tensor(x.transpose(1, 0, 2).copy()), (1, 0, 2)
    )

    def turned(x):  # and so are the gradients
        return keras.ops.transpose(function(keras.ops.transpose(x, (1, 0, 2))), (1, 0, 2))

    expected = keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(x)))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(function(across)), expected)
    g = np.random.default_rng(1).standard_normal(expected.shape).astype(np.float32)
    _, (dx,) = gradients(function, [x], g, "eager")
    _, (other,) = gradients(
        turned, [x.transpose(1, 0, 2).copy()], g.transpose(1, 0, 2).copy(), "eager"
    )
    np.testing.assert_array_equal(other.transpose(1, 0, 2), dx)


def test_other_precisions_take_the_portable_form():
    available = filters._operations.compiled.available
    assert available(*map(keras.ops.convert_to_tensor, example(1, 2, 3)[:2]))
    if BACKEND != "jax":  # which needs double precision turned on
        x, kernel, _ = (keras.ops.convert_to_tensor(a.astype(np.float64)) for a in example(1, 2, 3))
        assert not available(x, kernel)


def test_operators_that_are_too_large():
    class Huge:
        nnz = 2**31

    operator = SparseOperator(WALK.matrix)
    operator.matrix = Huge()
    with pytest.raises(ValueError, match="may have"):
        _ = operator.compressed


@pytest.mark.parametrize(("batch", "channels"), [(1, 96), (16, 5)])
def test_features_beyond_the_cache(batch, channels):
    """Prefetching rows does not change results."""
    sampling = Healpix(64)
    operator = SparseOperator(rescaled_laplacian(sampling, 8))
    x, kernel, _ = example(batch, channels, 8, terms=3, n=len(sampling))
    part = reference.chebyshev_filter(x[:1], kernel, operator)
    assert relative_error(compute(x, kernel, operator)[:1], part) < SINGLE
