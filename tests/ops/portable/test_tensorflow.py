"""TensorFlow's transformations of every operation."""

import numpy as np
import pytest

from derivative_truth import CASES, jacobian, tangent
from harness import BACKEND, SINGLE, relative_error, to_numpy

if BACKEND != "tensorflow":
    pytest.skip("TensorFlow's own transformations", allow_module_level=True)

import tensorflow as tf

TOLERANCE = 2 * SINGLE  # division by a deviation loses some more than a plain filter


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return CASES[request.param]


@pytest.fixture(params=[False, True], ids=["eager", "graph"])
def run(request):
    return tf.function(autograph=False) if request.param else lambda function: function


def inputs(case):
    return [tf.constant(v) for v in case.inputs]


def close(found, truth):
    assert np.abs(to_numpy(found) - truth).max() < TOLERANCE * max(1, np.abs(truth).max())


def total_gradient(case):
    """The gradient of the sum of the output with respect to the first argument."""
    full = jacobian(case.name)
    return full.reshape(-1, *full.shape[-3:]).sum(0)


def test_forward_accumulator(case, run, engine):
    x = inputs(case)

    @run
    def compute():
        with tf.autodiff.ForwardAccumulator(x, [tf.constant(d) for d in case.directions]) as found:
            y = case.function(*x)
        return found.jvp(y)

    assert relative_error(compute(), tangent(case.name)) < TOLERANCE


def test_forward_accumulator_along_one_argument(case, engine):
    for i, direction in enumerate(case.directions):
        x = inputs(case)
        with tf.autodiff.ForwardAccumulator(x[i], tf.constant(direction)) as found:
            y = case.function(*x)
        truth = np.tensordot(jacobian(case.name, i), direction, direction.ndim)
        close(found.jvp(y), truth)


def test_reverse_over_forward(case, engine):
    """The gradient, by a tape that watches the last argument, of a derivative along the first."""
    x = inputs(case)
    with tf.GradientTape() as tape:
        tape.watch(x[-1])
        with tf.autodiff.ForwardAccumulator(x[0], tf.constant(case.directions[0])) as found:
            y = tf.tanh(case.function(*x))
        slope = tf.reduce_sum(found.jvp(y))
    backward = tape.gradient(slope, x[-1], unconnected_gradients="zero")
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x[0])
            loss = tf.reduce_sum(tf.tanh(case.function(*x)))
        slope = tf.reduce_sum(inner.gradient(loss, x[0]) * case.directions[0])
    close(backward, to_numpy(outer.gradient(slope, x[-1], unconnected_gradients="zero")))


def test_jacobian(case, engine):
    x = inputs(case)

    @tf.function(autograph=False)
    def compute():
        with tf.GradientTape() as tape:
            tape.watch(x[0])
            y = case.function(*x)
        return tape.jacobian(y, x[0])

    close(compute(), jacobian(case.name))


def test_vectorized_map(case, engine):
    first, *rest = inputs(case)
    found = tf.vectorized_map(
        lambda x: case.function(x, *rest), tf.stack([first, 2 * first]), warn=False
    )
    close(found[1], to_numpy(case.function(2 * first, *rest)))


def test_gradient_through_a_loop(case, engine):
    """The operator's constants enter the gradient of a loop, which captures no eager tensors."""
    first, *rest = inputs(case)

    @tf.function(autograph=False)
    def compute():
        with tf.GradientTape() as tape:
            tape.watch(first)
            _, total = tf.while_loop(
                lambda i, _: i < 3,
                lambda i, total: (i + 1, total + tf.reduce_sum(case.function(first, *rest))),
                (tf.constant(0), tf.constant(0.0)),
            )
        return tape.gradient(total, first) / 3

    close(compute(), total_gradient(case))


def test_gradient_through_a_compiled_loop(case):
    """XLA turns constants that a gradient captures into symbols."""
    first, *rest = inputs(case)

    @tf.function(autograph=False, jit_compile=True)
    def compute():
        with tf.GradientTape() as tape:
            tape.watch(first)
            _, total = tf.while_loop(
                lambda i, _: i < 3,
                lambda i, total: (i + 1, total + tf.reduce_sum(case.function(first, *rest))),
                (tf.constant(0), tf.constant(0.0)),
                maximum_iterations=3,  # which XLA asks for
            )
        return tape.gradient(total, first) / 3

    close(compute(), total_gradient(case))


def test_gradient_through_loops_in_loops(case, engine):
    first, *rest = inputs(case)

    @tf.function(autograph=False)
    def compute():
        def inside(x):
            return tf.map_fn(
                lambda one: case.function(one, *rest), tf.stack([x, x]), parallel_iterations=1
            )

        with tf.GradientTape() as tape:
            tape.watch(first)
            y = tf.map_fn(inside, tf.stack([first, first]), parallel_iterations=1)
        return tape.gradient(y, first) / 4

    close(compute(), total_gradient(case))


def test_recomputed_gradients(case, engine):
    first, *rest = inputs(case)

    @tf.function(autograph=False)
    def compute():
        with tf.GradientTape() as tape:
            tape.watch(first)
            y = tf.recompute_grad(lambda x: case.function(x, *rest))(first)
        return tape.gradient(y, first)

    close(compute(), total_gradient(case))


def test_a_forecast_is_rolled_out(engine):
    """A layer called in a ``tf.range`` loop, as TensorFlow users write it."""
    from deepsphere.layers import ChebyshevConv
    from deepsphere.sampling import Healpix

    layer = ChebyshevConv(1, 2, sampling=Healpix(2))
    x = tf.random.normal((1, 48, 1), seed=0)
    layer(x)

    @tf.function
    def compute(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for _ in tf.range(3):
                y += layer(y)
        return tape.gradient(y, [x, layer.kernel.value])

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x
        for _ in range(3):
            y += layer(y)
    for found, right in zip(compute(x), tape.gradient(y, [x, layer.kernel.value]), strict=True):
        assert relative_error(found, to_numpy(right)) < TOLERANCE
