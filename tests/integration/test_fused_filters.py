"""Filter, bias, activation and normalization in one operation, compared with the parts."""

import keras
import numpy as np
import pytest

from deepsphere import ops
from deepsphere.graph import Graph, rescaled_laplacian
from deepsphere.ops import SparseOperator, chebyshev_filter, normalized_filter
from deepsphere.sampling import Healpix
from harness import (
    BACKEND,
    HALF,
    MODES,
    SINGLE,
    gradients,
    relative_error,
    second_derivatives,
    to_numpy,
)

WALK = SparseOperator(rescaled_laplacian(Healpix(2), Graph(4, laplacian="random_walk")))
SYMMETRIC = SparseOperator(rescaled_laplacian(Healpix(2), 4))
EPSILON = 1e-3
# Lanes and channels as layouts; Clenshaw's recurrence, one basis, and two walks for the gradient.
SHAPES = [(5, 3, 4), (4, 5, 2), (3, 1, 5), (3, 8, 16), (3, 16, 8), (1, 3, 2)]


def example(terms, channels, filters, batch=3, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((batch, 48, channels), (terms, channels, filters), (filters,), (batch, 48, filters))
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def by_parts(operator, activation, normalize):
    """The definition, from dense matrices and differentiable operations of Keras."""
    matrix = operator.matrix.toarray()
    terms = [np.eye(len(matrix)), matrix]
    while len(terms) < 8:
        terms.append(2 * matrix @ terms[-1] - terms[-2])

    def mixed(x, coefficients):
        depthwise = coefficients.shape[0] == 1 < x.shape[2]
        return x * coefficients if depthwise else keras.ops.matmul(x, coefficients)

    def function(x, kernel, bias):
        y = sum(
            mixed(keras.ops.matmul(keras.ops.convert_to_tensor(t, "float32"), x), kernel[k])
            for k, t in enumerate(terms[: kernel.shape[0]])
        )
        if normalize:
            mean = keras.ops.mean(y, (0, 1))
            y = (y - mean) / keras.ops.sqrt(
                keras.ops.mean(keras.ops.square(y - mean), (0, 1)) + EPSILON
            )
        return getattr(keras.activations, activation)(y + bias)

    return function


def at_once(operator, activation, normalize):
    if normalize:
        return lambda x, w, b: normalized_filter(x, w, operator, b, EPSILON, activation)[0]
    return lambda x, w, b: chebyshev_filter(x, w, operator, b, activation)


KINDS = [(activation, norm) for activation in ("linear", "relu") for norm in (False, True)]
CURVED = [
    (activation, norm)
    for activation in ops.ACTIVATIONS
    for norm in (False, True)
    if activation not in ("linear", "relu")
]
# Kernels of one term have gradients that cancel where normalized; sums of several hundred numbers
# and division by a deviation lose some more than a plain filter.
TOLERANCE = 5 * SINGLE


# The portable form is made of operations that have tests of their own.
CASES = [("compiled", shape, mode) for shape in SHAPES for mode in MODES if mode != "xla"] + [
    ("portable", shape, mode) for shape in SHAPES[:2] for mode in MODES[:2][-1:]
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(("engine", "shape", "mode"), CASES, ids=str, indirect=["engine"])
def test_value_and_gradients(shape, kind, mode, engine):
    *arguments, weights = example(*shape)
    value, found = gradients(at_once(WALK, *kind), arguments, weights, mode)
    expected, right = gradients(by_parts(WALK, *kind), arguments, weights, "eager")
    assert relative_error(value, to_numpy(expected)) < TOLERANCE
    for one, other in zip(found, right, strict=True):
        assert np.abs(one - other).max() < TOLERANCE * max(np.abs(r).max() for r in right)


@pytest.mark.parametrize("kind", CURVED, ids=str)
def test_other_activations(kind, engine):
    """The driver of the kernels tries them with other shapes."""
    *arguments, weights = example(3, 3, 4)
    mode = MODES[0] if BACKEND == "torch" else MODES[1]
    value, found = gradients(at_once(WALK, *kind), arguments, weights, mode)
    expected, right = gradients(by_parts(WALK, *kind), arguments, weights, "eager")
    assert relative_error(value, to_numpy(expected)) < TOLERANCE
    for one, other in zip(found, right, strict=True):
        assert np.abs(one - other).max() < TOLERANCE * max(np.abs(r).max() for r in right)


@pytest.mark.parametrize("kind", [("linear", False), ("elu", False), ("gelu", True)], ids=str)
@pytest.mark.parametrize("channels", [5, 16])
def test_depthwise(channels, kind, engine):
    """A kernel (terms, 1, channels) filters each channel by itself."""
    x, kernel, bias, weights = example(4, channels, channels)
    arguments = [x, kernel[:, :1], bias]
    value, found = gradients(at_once(WALK, *kind), arguments, weights, MODES[0])
    expected, right = gradients(by_parts(WALK, *kind), arguments, weights, "eager")
    assert relative_error(value, to_numpy(expected)) < TOLERANCE
    for one, other in zip(found, right, strict=True):
        assert np.abs(one - other).max() < TOLERANCE * max(np.abs(r).max() for r in right)


OPERATORS = {"symmetric": SYMMETRIC, "random walk": WALK}
# XLA on TensorFlow has the portable form only, and takes seconds to compile.
SECOND = [
    (engine, name, shape, mode)
    for engine in ("compiled", "portable")
    for name in OPERATORS
    for shape, mode in (((4, 3, 4), MODES[0]), ((3, 16, 8), MODES[-1]))
    if mode != "xla" or (engine, name) == ("portable", "random walk")
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(("engine", "name", "shape", "mode"), SECOND, ids=str, indirect=["engine"])
def test_second_derivatives(shape, kind, name, mode, engine):
    operator = OPERATORS[name]
    *arguments, _ = example(*shape)
    found = second_derivatives(at_once(operator, *kind), arguments, mode)
    expected = second_derivatives(by_parts(operator, *kind), arguments)
    for one, other in zip(found, expected, strict=True):
        # A gradient of a gradient: each of the two loses what one does.
        assert np.abs(one - other).max() < 3 * TOLERANCE * np.abs(other).max()


def test_without_bias(engine):
    x, kernel, bias, _ = example(4, 3, 5)
    zero = np.zeros_like(bias)
    for kind in KINDS:
        function = at_once(WALK, *kind)
        tensors = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(kernel)
        value = function(*tensors, None)
        assert relative_error(value, to_numpy(function(*tensors, zero))) < SINGLE


def test_statistics(engine):
    x, kernel, *_ = example(4, 3, 5)
    x += 100  # must not reach the deviation: squares of 1e4 against 1
    y = to_numpy(
        chebyshev_filter(
            keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(kernel), SYMMETRIC
        )
    )
    _, mean, variance = normalized_filter(
        keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(kernel), SYMMETRIC
    )
    assert relative_error(mean, y.astype(float).mean((0, 1))) < SINGLE
    # The filter itself is rounded relative to 100 times the deviation.
    assert relative_error(variance, y.astype(float).var((0, 1))) < 1e-3


@pytest.mark.parametrize("policy", HALF)
def test_half_precision(policy, engine):
    *arguments, _ = example(5, 3, 4)
    half = [keras.ops.cast(a, policy.removeprefix("mixed_")) for a in arguments]
    rounded = [keras.ops.cast(h, "float32") for h in half]
    for kind in KINDS:
        y = at_once(WALK, *kind)(half[0], rounded[1], half[2])
        assert y.dtype == half[0].dtype
        expected = to_numpy(by_parts(WALK, *kind)(*rounded))
        assert relative_error(keras.ops.cast(y, "float32"), expected) < HALF[policy]


def test_not_a_number_stays(engine):
    x, kernel, bias, _ = example(3, 2, 2)
    x[1, 7] = np.nan
    tensors = [keras.ops.convert_to_tensor(a) for a in (x, kernel)]
    y = to_numpy(chebyshev_filter(*tensors, SYMMETRIC, bias, "relu"))
    assert np.isnan(y[1, 7]).all()
    assert np.isfinite(y[[0, 2]]).all()


def test_unknown_activations_are_refused():
    x, kernel, bias, _ = example(3, 2, 2)
    for function in (chebyshev_filter, normalized_filter):
        with pytest.raises(ValueError, match=r"one of linear, relu, .* gelu; got 'mish'"):
            function(x, kernel, SYMMETRIC, bias, activation="mish")


def test_maxima_keep_not_a_number(engine):
    x = np.arange(16, dtype=np.float32).reshape(1, 16, 1).repeat(5, 2)
    x[0, 5] = np.nan
    y = to_numpy(ops.pool(keras.ops.convert_to_tensor(x), 4, "max"))
    np.testing.assert_array_equal(np.isnan(y[0, :, 0]), [False, True, False, False])


@pytest.mark.skipif(BACKEND != "jax", reason="jax.vmap")
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_vmap(kind, engine):
    import jax

    x, kernel, bias, _ = example(3, 2, 4)
    many = np.stack([x, 2 * x, x - 1])
    function = jax.jit(
        jax.grad(lambda x: jax.numpy.sin(at_once(WALK, *kind)(x, kernel, bias)).sum())
    )
    for one, other in zip(jax.vmap(function)(many), many, strict=True):
        assert relative_error(one, to_numpy(function(other))) < TOLERANCE


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.GradientTape")
def test_gradients_through_a_function_with_a_tape_of_its_own(engine):
    """The input seems not to be watched inside, but its gradient is requested."""
    import tensorflow as tf

    x, kernel, bias, _ = map(tf.constant, example(3, 2, 4))

    @tf.function
    def plain(x):
        return chebyshev_filter(x, kernel, WALK, bias, "relu")

    @tf.function
    def with_tape(x):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            y = normalized_filter(x, kernel, WALK, bias)[0]
        return y, tape.gradient(y, kernel)

    for function, kind in ((plain, ("relu", False)), (lambda x: with_tape(x)[0], ("linear", True))):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y, expected = function(x), by_parts(WALK, *kind)(x, kernel, bias)
            loss, right = tf.reduce_sum(tf.sin(y)), tf.reduce_sum(tf.sin(expected))
        assert tape.gradient(loss, x) is not None
        assert relative_error(tape.gradient(loss, x), to_numpy(tape.gradient(right, x))) < 2e-3


def test_penalties_on_gradients_of_a_layer(engine):
    """The layer's weights learn through the gradient of its output."""
    from deepsphere.layers import ChebyshevConv

    layer = ChebyshevConv(
        4, 2, sampling=Healpix(2), graph=4, normalization="batch", activation="relu"
    )
    x = example(1, 3, 1)[0]
    layer.build(x.shape)
    (found,) = second_derivatives(lambda x: layer(x, training=False), [x])
    assert found.shape == x.shape
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 0


def test_keras_is_told_the_shapes():
    y = keras.KerasTensor((None, 48, 3))
    from deepsphere.layers import ChebyshevConv

    assert ChebyshevConv(5, 2, sampling=Healpix(2), normalization="batch")(y).shape == (None, 48, 5)
