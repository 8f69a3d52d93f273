"""Every operation checks every array, whichever form computes it."""

import keras
import numpy as np
import pytest

from deepsphere import layers, ops
from deepsphere.ops import SparseMap, SparseOperator
from deepsphere.ops.attention import neighbor_attention
from deepsphere.ops.mapping import gathered_maximum
from deepsphere.sampling import Healpix
from harness import BACKEND, SINGLE, gradients, relative_error, to_numpy

RNG = np.random.default_rng(0)
DENSE = RNG.random((6, 6)) * (RNG.random((6, 6)) < 0.6)
OPERATOR = SparseOperator(DENSE)
X = RNG.standard_normal((2, 6, 1)).astype(np.float32)
KERNEL = RNG.standard_normal((2, 1, 4)).astype(np.float32)
FILTERS = (ops.chebyshev_filter, ops.normalized_filter)


def value(result):
    return to_numpy(result[0] if isinstance(result, tuple) else result)


@pytest.mark.parametrize("function", FILTERS)
@pytest.mark.parametrize("shape", [(1,), (0,), (5,), (1, 4), ()], ids=str)
def test_a_bias_of_another_shape_is_refused(shape, function, engine):
    """The compiled function used to read beyond the end of a shorter one."""
    with pytest.raises(ValueError, match=r"bias must have shape \(filters,\) = \(4,\), got"):
        function(X, KERNEL, OPERATOR, np.ones(shape, np.float32))


@pytest.mark.parametrize("function", FILTERS)
@pytest.mark.parametrize("shape", [(0, 1, 4), (1, 4), (2, 2, 4), (2, 1, 4, 1)], ids=str)
def test_a_kernel_of_another_shape_is_refused(shape, function, engine):
    with pytest.raises(ValueError, match=r"kernel \(order \+ 1, channels, filters\)|kernel must"):
        function(X, np.ones(shape, np.float32), OPERATOR)


@pytest.mark.parametrize("epsilon", [-1e-3, np.nan, np.inf])
def test_an_epsilon_that_is_none(epsilon):
    with pytest.raises(ValueError, match="epsilon must be a nonnegative finite number, got"):
        ops.normalized_filter(X, KERNEL, OPERATOR, epsilon=epsilon)


def test_no_channels_give_the_bias(engine):
    """The sum over no channels is 0, as in a Dense layer."""
    x, kernel = np.ones((2, 6, 0), np.float32), np.ones((2, 0, 3), np.float32)
    bias = np.array([-1.0, 0, 2], np.float32)
    for activation, expected in (("linear", bias), ("relu", [0, 0, 2])):
        for function in FILTERS:
            y = value(function(x, kernel, OPERATOR, bias, activation=activation))
            np.testing.assert_array_equal(y, np.broadcast_to(expected, (2, 6, 3)))
    _, mean, variance = ops.normalized_filter(x, kernel, OPERATOR)
    assert not to_numpy(mean).any()
    assert not to_numpy(variance).any()


SIZES = {"no samples": (0, 2, 3), "no filters": (2, 2, 0), "neither": (0, 0, 3)}


@pytest.mark.parametrize(("batch", "channels", "filters"), SIZES.values(), ids=SIZES)
def test_of_nothing_comes_nothing(batch, channels, filters, engine):
    x, kernel = np.ones((batch, 6, channels), np.float32), np.ones((2, channels, filters), "f")
    for function in FILTERS:
        assert value(function(x, kernel, OPERATOR)).shape == (batch, 6, filters)
    assert to_numpy(ops.sparse_product(x, OPERATOR, 2)).shape == x.shape
    assert to_numpy(SparseMap(np.ones((8, 6)))(x)).shape == (batch, 8, channels)
    for mode in ("max", "mean"):
        assert to_numpy(ops.pool(x, 3, mode)).shape == (batch, 2, channels)
    q = np.ones((batch, 6, 2, 3), np.float32)
    assert to_numpy(neighbor_attention(q, q, q, OPERATOR)).shape == q.shape


def test_gradients_without_samples(engine):
    x = np.ones((0, 6, 1), np.float32)
    _, found = gradients(
        lambda x, w: ops.chebyshev_filter(x, w, OPERATOR),
        [x, KERNEL],
        np.ones((0, 6, 4), np.float32),
        "eager",
    )
    assert found[0].shape == x.shape
    np.testing.assert_array_equal(found[1], np.zeros_like(KERNEL))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "bool"])
def test_integers_are_computed_as_floats(dtype, engine):
    x = RNG.integers(0, 2, (2, 6, 1)).astype(dtype)
    for function in (
        lambda x: ops.chebyshev_filter(x, KERNEL, OPERATOR),
        lambda x: ops.normalized_filter(x, KERNEL, OPERATOR)[0],
        lambda x: ops.sparse_product(x, OPERATOR),
        lambda x: ops.pool(x, 2, "mean"),
        SparseMap(DENSE[:4]),
    ):
        result = function(x)
        assert keras.backend.standardize_dtype(result.dtype) == "float32"
        np.testing.assert_array_equal(to_numpy(result), to_numpy(function(x.astype(np.float32))))
    q = x[..., None] * np.ones((1, 1, 2, 3), dtype)
    y = neighbor_attention(q, q, q, OPERATOR)
    expected = neighbor_attention(*[q.astype(np.float32)] * 3, OPERATOR)
    np.testing.assert_array_equal(to_numpy(y), to_numpy(expected))


def test_complex_numbers_are_refused(engine):
    z = X.astype(np.complex64)
    calls = [
        lambda: ops.chebyshev_filter(z, KERNEL, OPERATOR),
        lambda: ops.chebyshev_filter(X, KERNEL.astype(np.complex64), OPERATOR),
        lambda: ops.chebyshev_filter(X, KERNEL, OPERATOR, np.ones(4, np.complex64)),
        lambda: ops.sparse_product(z, OPERATOR),
        lambda: SparseMap(DENSE)(z),
        lambda: ops.pool(z, 2, "max"),
        lambda: ops.pool(z, 2, "mean"),
        lambda: gathered_maximum(z, np.zeros((1, 2), int)),
        lambda: neighbor_attention(z[..., None], X[..., None], X[..., None], OPERATOR),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="must be real, got dtype"):
            call()


@pytest.mark.parametrize(
    ("children", "mode", "error", "message"),
    [
        (4, "mean", ValueError, "divides the 6 vertices of x, got 4"),
        (4, "max", ValueError, "divides the 6 vertices of x, got 4"),
        (0, "max", ValueError, "positive number"),
        (-2, "max", ValueError, "positive number"),
        (2.0, "max", TypeError, "float"),
        (2, "min", ValueError, "mode must be one of max, mean; got 'min'"),
    ],
)
def test_bad_pooling(children, mode, error, message, engine):
    with pytest.raises(error, match=message):
        ops.pool(X, children, mode)


def test_pooling_of_another_rank():
    with pytest.raises(ValueError, match=r"x must have shape \(batch, n, channels\), got \(6, 1\)"):
        ops.pool(X[0], 2, "max")


NO_NUMBERS = [
    np.full((2, 6, 1), "1.5"),
    np.full((2, 6, 1), None),
    np.zeros((2, 6, 1), "datetime64[s]"),
    np.zeros((2, 6, 1), [("flux", "f4")]),
]


@pytest.mark.parametrize("x", NO_NUMBERS, ids=lambda x: str(x.dtype))
def test_what_holds_no_numbers_is_refused(x):
    """JAX would convert text and dates to numbers, and records to 0."""
    for call in (
        lambda: ops.sparse_product(x, OPERATOR),
        lambda: ops.pool(x, 3, "max"),
        lambda: layers.Unpool(finer=Healpix(2), sampling=Healpix(1))(np.repeat(x, 2, axis=1)),
    ):
        with pytest.raises(TypeError, match=r"must contain numbers, got dtype .*astype"):
            call()


def test_extended_precision_is_rounded():
    expected = to_numpy(ops.pool(X.astype(np.float64), 3, "max"))
    np.testing.assert_array_equal(to_numpy(ops.pool(X.astype(np.longdouble), 3, "max")), expected)


@pytest.mark.parametrize("power", [0, -1, 2**16 + 1])
def test_bad_powers(power):
    with pytest.raises(
        ValueError, match=f"power must be at least 1 and at most 65536, got {power}"
    ):
        ops.sparse_product(X, OPERATOR, power)
    with pytest.raises(TypeError):
        ops.sparse_product(X, OPERATOR, 1.5)


Q = np.ones((2, 6, 2, 3), np.float32)


def test_attention_checks_batches_and_masks():
    with pytest.raises(ValueError, match="must have the same shape"):
        neighbor_attention(Q, Q[:1], Q, OPERATOR)
    for shape in ((6,), (2, 5), (1, 6)):
        with pytest.raises(ValueError, match=r"mask must have shape \(batch, n\) = \(2, 6\), got"):
            neighbor_attention(Q, Q, Q, OPERATOR, np.ones(shape, bool))
    for empty in (Q[:, :, :0], Q[..., :0]):
        with pytest.raises(ValueError, match="known number of heads and of channels"):
            neighbor_attention(empty, empty, empty, OPERATOR)


def test_bases():
    for order in (-1, 1.5):
        with pytest.raises((ValueError, TypeError)):
            ops.to_chebyshev("chebyshev", order)
        with pytest.raises((ValueError, TypeError)):
            ops.evaluate_basis("monomial", order, [0.0])
    with pytest.raises(TypeError, match="points must be real"):
        ops.evaluate_basis("chebyshev", 2, [0.5 + 0.5j])
    with pytest.raises(ValueError, match=r"points must have shape \(n,\), got \(1, 2\)"):
        ops.evaluate_basis("chebyshev", 2, [[0.0, 1.0]])


if BACKEND == "tensorflow":  # the one backend whose graphs may not know a shape
    import tensorflow as tf

    FUNCTIONS = {
        "filter": lambda x: ops.chebyshev_filter(x, KERNEL, OPERATOR, np.ones(4, np.float32)),
        "normalized": lambda x: ops.normalized_filter(x, KERNEL, OPERATOR)[0],
        "product": lambda x: ops.sparse_product(tf.ensure_shape(x, [None, None, 1]), OPERATOR),
        "map": lambda x: SparseMap(np.ones((8, 6)))(tf.ensure_shape(x, [None, None, 1])),
        "max": lambda x: ops.pool(tf.ensure_shape(x, [None, None, 1]), 3, "max"),
        "mean": lambda x: ops.pool(tf.ensure_shape(x, [None, None, 1]), 3, "mean"),
    }

    @pytest.mark.parametrize("shape", [[None, None, None], None], ids=str)
    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_shapes_that_only_the_run_knows(name, shape, engine):
        function = FUNCTIONS[name]

        @tf.function(input_signature=[tf.TensorSpec(shape)], autograph=False)
        def traced(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)
                loss = tf.reduce_sum(tf.square(y))
            return y, tape.gradient(loss, x)

        y, dx = traced(X)
        (expected, gradient) = gradients(
            lambda x: tf.square(function(x)), [X], np.ones_like(to_numpy(function(X))), "eager"
        )
        assert relative_error(tf.square(y), expected) < SINGLE
        assert np.abs(dx - gradient[0]).max() < SINGLE * max(1, np.abs(gradient[0]).max())
        empty, nothing = traced(X[:0])
        assert (len(empty), nothing.shape) == (0, (0, 6, 1))
        with pytest.raises(tf.errors.InvalidArgumentError):
            traced(X[:, :5])
        with pytest.raises(tf.errors.InvalidArgumentError):
            traced(np.ones((2, 6, 2), np.float32))

    def test_a_rank_that_only_the_run_knows():
        @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec(None)], autograph=False)
        def traced(q, mask):
            k = tf.ensure_shape(q, [None, None, 2, 3])
            return neighbor_attention(q, k, k, OPERATOR, mask)

        mask = np.ones((2, 6), np.float32)
        assert (
            relative_error(traced(Q, mask), to_numpy(neighbor_attention(Q, Q, Q, OPERATOR)))
            < SINGLE
        )
        for arguments in ((Q[:, :5], mask), (Q, mask[:, :5])):
            with pytest.raises(tf.errors.InvalidArgumentError):
                traced(*arguments)
