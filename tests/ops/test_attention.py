"""Attention to neighbors, compared with dense softmax attention in float64."""

from contextlib import nullcontext
from functools import cache

import keras
import numpy as np
import pytest
from scipy.sparse import csr_array

from deepsphere.graph import gaussian_weights
from deepsphere.ops import SparseOperator, blockwise
from deepsphere.ops.attention import neighbor_attention, neighbor_pattern
from deepsphere.ops.compiled import build
from deepsphere.sampling import Healpix
from harness import BACKEND, MODES, SINGLE, gradients, relative_error, to_numpy

BATCH, N, HEADS, DEPTH = 2, 48, 2, 3


def matrix(kind):
    """Which vertex attends to which: a new matrix each time, as JAX compiles once for each."""
    if kind == "asymmetric":
        dense = np.random.default_rng(3).random((N, N)) < 0.1
        dense[[0, 7]] = False  # these attend to nothing
        dense[:, [1, 9]] = False  # nothing attends to these
        return csr_array(dense.astype(float))
    return neighbor_pattern(Healpix(2), 4, kind == "self loops").matrix.copy()


@cache
def example(masked=False, n=N):
    rng = np.random.default_rng(n)
    q, k, v, weights = rng.standard_normal((4, BATCH, n, HEADS, DEPTH)).astype(np.float32)
    mask = None
    if masked:
        mask = rng.random((BATCH, n)) < 0.6
        weights[~mask] = 0  # what comes out there means nothing
    return q, k, v, weights, mask


def dense_attention(q, k, v, pattern, mask=None):
    """The definition, in float64 with a matrix of all pairs."""
    q, k, v = (np.moveaxis(np.asarray(a, float), 2, 1) for a in (q, k, v))
    scores = q @ np.swapaxes(k, 2, 3) / np.sqrt(q.shape[-1])
    allowed = np.broadcast_to(pattern.toarray() != 0, scores.shape)
    if mask is not None:
        allowed = allowed & mask[:, None, None, :]
    scores = np.where(allowed, scores, -np.inf)
    some = allowed.any(axis=-1, keepdims=True)
    top = np.where(some, scores.max(axis=-1, keepdims=True), 0)
    weights = np.exp(scores - top)
    weights = weights / np.where(some, weights.sum(axis=-1, keepdims=True), 1)
    return np.moveaxis(weights @ v, 1, 2)


@cache
def truth(kind, masked):
    """Value, and every derivative of ``sum(weights * value)`` by central differences."""
    *arguments, weights, mask = example(masked)
    pattern = matrix(kind)
    found = []
    for i, argument in enumerate(arguments):
        derivative = np.zeros(argument.size)
        for j in range(argument.size):
            sums = []
            for step in (1e-5, -1e-5):  # in float64: good to 1e-10 of the derivative
                moved = argument.astype(float)
                moved.flat[j] += step
                changed = [*arguments[:i], moved, *arguments[i + 1 :]]
                sums.append((weights * dense_attention(*changed, pattern, mask)).sum())
            derivative[j] = (sums[0] - sums[1]) / 2e-5
        found.append(derivative.reshape(argument.shape))
    return [dense_attention(*arguments, pattern, mask), *found]


def cut_small(monkeypatch, blocks):
    """Make a graph of 48 vertices fall into about so many blocks."""
    monkeypatch.setattr(blockwise, "count_blocks", lambda n, numbers, device: blocks)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("engine", "kind", "blocks", "masked"),
    [  # not all combinations: XLA takes a second or two to compile each
        ("portable", "symmetric", 1, False),
        ("portable", "symmetric", 7, True),
        ("portable", "self loops", 8, False),
        ("portable", "asymmetric", 1, True),
        ("portable", "asymmetric", 7, False),
        ("compiled", "symmetric", 1, True),
        ("compiled", "self loops", 1, False),
        ("compiled", "asymmetric", 1, True),
        ("compiled", "asymmetric", 1, False),
    ],
    indirect=["engine"],
)
def test_value_and_gradients(monkeypatch, engine, kind, blocks, masked, mode):
    cut_small(monkeypatch, blocks)
    operator = SparseOperator(matrix(kind))
    q, k, v, weights, mask = example(masked)
    if mask is not None and mode != "eager":
        # A compiled function is given the batch size with the mask.
        mask = keras.ops.convert_to_tensor(mask)
    value, found = gradients(
        lambda q, k, v: neighbor_attention(q, k, v, operator, mask), [q, k, v], weights, mode
    )
    expected, *derivatives = truth(kind, masked)
    seen = slice(None) if mask is None else to_numpy(mask)
    assert relative_error(value[seen], expected[seen]) < SINGLE
    for result, right in zip(found, derivatives, strict=True):
        assert relative_error(result, right) < SINGLE


def test_isolated_vertices_get_zero(engine):
    operator = SparseOperator(matrix("asymmetric"))
    q, k, v, weights, _ = example()
    y, found = gradients(
        lambda q, k, v: neighbor_attention(q, k, v, operator), [q, k, v], weights, MODES[0]
    )
    assert not y[:, [0, 7]].any()
    assert y[:, 2:7].all()
    assert not found[0][:, [0, 7]].any()
    assert not found[1][:, [1, 9]].any()
    assert not found[2][:, [1, 9]].any()


@pytest.mark.parametrize("n", [1, 5])
def test_a_graph_without_edges(n, engine):
    operator = SparseOperator(csr_array((n, n)))
    x = np.ones((BATCH, n, HEADS, DEPTH), np.float32)
    value, found = gradients(
        lambda q, k, v: neighbor_attention(q, k, v, operator), [x, x, x], x, MODES[-1]
    )
    assert not any(a.any() for a in (value, *found))


def test_large_scores_do_not_overflow(engine):
    q, k, v, weights, _ = example()
    operator = SparseOperator(matrix("symmetric"))
    q, k = 100 * q, 100 * k
    value, found = gradients(
        lambda q, k, v: neighbor_attention(q, k, v, operator), [q, k, v], weights, MODES[0]
    )
    scores = np.einsum("bnhd,bmhd->bhnm", q, k) / np.sqrt(DEPTH)
    assert np.abs(scores).max() > 1e4
    assert all(np.isfinite(a).all() for a in found)
    # A score of s is off by some 6e-8 s, and with it the weights.
    tolerance = 4 * 6e-8 * np.abs(scores).max()
    assert relative_error(value, dense_attention(q, k, v, matrix("symmetric"))) < tolerance


@pytest.mark.parametrize("mode", MODES)
def test_nan_outside_the_mask_goes_nowhere(mode, engine):
    *arguments, weights, mask = example(masked=True)
    operator = SparseOperator(matrix("self loops"))
    weights = np.where(mask[..., None, None], weights, 0).astype(np.float32)

    def run(fill):
        filled = [np.where(mask[..., None, None], a, np.float32(fill)) for a in arguments]
        observed = keras.ops.convert_to_tensor(mask)
        return gradients(
            lambda q, k, v: neighbor_attention(q, k, v, operator, observed), filled, weights, mode
        )

    (y, found), (expected, right) = run(np.nan), run(0)
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(y[mask], expected[mask])
    for gradient, other in zip(found, right, strict=True):
        np.testing.assert_array_equal(gradient, other)
        assert not gradient[~mask].any()
    assert found[2][mask].any(axis=(1, 2)).mean() > 0.5


def test_a_sample_without_observations(engine):
    q, k, v, weights, _ = example()
    operator = SparseOperator(matrix("symmetric"))
    mask = np.array([[False] * N, [True] * N])
    y, found = gradients(
        lambda q, k, v: neighbor_attention(q, k, v, operator, mask), [q, k, v], weights, MODES[0]
    )
    assert not y[0].any()
    assert not any(gradient[0].any() for gradient in found)
    alone = neighbor_attention(q, k, v, operator)
    assert relative_error(y[1], to_numpy(alone)[1]) < SINGLE


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_computed_in_single(dtype, engine):
    *arguments, _, _ = example()
    half = [keras.ops.cast(a, dtype) for a in arguments]
    y = neighbor_attention(*half, SparseOperator(matrix("symmetric")))
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    rounded = [to_numpy(keras.ops.cast(a, "float32")) for a in half]
    expected = dense_attention(*rounded, matrix("symmetric"))
    # Only the result is rounded: by half a unit in its last place, of 8 or 11 bits.
    rounding = {"bfloat16": 2**-8, "float16": 2**-11}[dtype]
    assert relative_error(keras.ops.cast(y, "float32"), expected) < 1.01 * rounding


def test_double_precision():
    *arguments, weights, _ = example()
    arguments = [a.astype(float) for a in arguments]
    context = nullcontext()
    if BACKEND == "jax":  # needs float64 turned on
        import jax

        context = jax.enable_x64(True)
    operator = SparseOperator(matrix("asymmetric"))
    with context:
        value, found = gradients(
            lambda q, k, v: neighbor_attention(q, k, v, operator),
            arguments,
            weights.astype(float),
            MODES[0],
        )
    for result, expected in zip([value, *found], truth("asymmetric", False), strict=True):
        assert relative_error(result, expected) < 1e-9  # that of the central differences


if BACKEND != "tensorflow":  # the benchmark measures it there

    def test_only_the_arguments_are_kept_between_the_passes(engine):
        *arguments, _, _ = example()
        operator = SparseOperator(matrix("symmetric"))
        if BACKEND == "torch":
            import torch

            kept = []
            with torch.autograd.graph.saved_tensors_hooks(
                lambda t: kept.append(t) or t, lambda t: t
            ):
                tensors = [torch.tensor(a, requires_grad=True) for a in arguments]
                neighbor_attention(*tensors, operator)
            numbers = sum(t.numel() for t in kept)
        else:
            import jax

            _, backward = jax.vjp(lambda *a: neighbor_attention(*a, operator), *arguments)
            numbers = sum(leaf.size for leaf in jax.tree.leaves(backward))
        assert numbers == sum(a.size for a in arguments)


@pytest.mark.parametrize("depth", [1, 8, 12])
def test_threads_and_depths(depth, monkeypatch):
    """Rows that fill vectors and others, on more threads than there are vertices, too."""
    operator = SparseOperator(matrix("asymmetric"))
    rng = np.random.default_rng(depth)
    q, k, v, weights = rng.standard_normal((4, BATCH, N, HEADS, depth)).astype(np.float32)
    expected = dense_attention(q, k, v, operator.matrix)
    found = []
    for threads in (1, 3, 100):
        monkeypatch.setattr(build, "threads", lambda threads=threads: threads)
        value, gradient = gradients(
            lambda q, k, v: neighbor_attention(q, k, v, operator), [q, k, v], weights, MODES[0]
        )
        assert relative_error(value, expected) < SINGLE
        found.append([value, *gradient])
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("batch", [1, 4, 64])
@pytest.mark.parametrize("nside", [1, 16, 64, 256])
def test_blocks_gather_a_bounded_number(nside, batch):
    n, each = 12 * nside**2, batch * 23 * 32
    blocks = blockwise.count_blocks(n, each, "cpu")
    assert -(-n // blocks) * each <= max(blockwise.GATHERED["cpu"], each)
    assert blocks == 1 or -(-n // blocks) * each > blockwise.GATHERED["cpu"] / 3
    assert blockwise.count_blocks(n, each, "cuda") <= blocks


@pytest.mark.parametrize("neighbors", [4, 8, 20])
@pytest.mark.parametrize("sampling", [Healpix(4), Healpix(4, range(7, 60))], ids=repr)
def test_the_pattern_is_that_of_the_graph(sampling, neighbors):
    pattern = neighbor_pattern(sampling, neighbors)
    expected = gaussian_weights(sampling, neighbors).toarray() != 0
    np.testing.assert_array_equal(pattern.matrix.toarray(), expected)
    assert neighbor_pattern(sampling, neighbors) is pattern
    loops = neighbor_pattern(sampling, neighbors, self_loops=True)
    np.testing.assert_array_equal(
        loops.matrix.toarray(), expected | np.eye(len(sampling), dtype=bool)
    )


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            [(2, 48, 3)] * 3,
            r"must have the same shape \(batch, n, heads, depth\), got \(2, 48, 3\)",
        ),
        ([(2, 48, 2, 3), (2, 48, 2, 3), (2, 48, 2, 4)], r"got .*\(2, 48, 2, 4\)"),
        ([(2, 47, 2, 3)] * 3, "q has 47 vertices, but the operator has 48"),
    ],
)
def test_shapes_are_checked(shapes, message):
    operator = SparseOperator(matrix("symmetric"))
    with pytest.raises(ValueError, match=message):
        neighbor_attention(*(np.zeros(shape, np.float32) for shape in shapes), operator)


@pytest.mark.parametrize(("neighbors", "error"), [(0, ValueError), (2.5, TypeError)])
def test_bad_numbers_of_neighbors(neighbors, error):
    with pytest.raises(error, match=str(neighbors)):
        neighbor_pattern(Healpix(1), neighbors)
