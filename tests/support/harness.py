"""Checks that every layer must pass, on the backend that Keras runs on.

The truth is computed in float64, independently of the package: with eigenvectors of the dense
Laplacian and polynomials evaluated by NumPy and SciPy.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from scipy.interpolate import BPoly

from deepsphere.graph import laplacian, spectral

BACKEND = keras.backend.backend()

OTHERS = [
    name
    for name in ("tensorflow", "jax", "torch")
    if name != BACKEND and importlib.util.find_spec(name)
]
"""The other installed backends; the environment of the lowest versions has only one."""

SINGLE = 2e-5
"""Relative tolerance in float32: the longest chain here, 10 terms of sums over 40 neighbors and
20 channels, accumulates about sqrt(10 * 40 * 20) = 90 roundings of 6e-8, and a few more in
products."""

HALF = {"mixed_bfloat16": 2e-2, "mixed_float16": 3e-3}
"""Relative tolerances of half precision: a few units in the last place (8e-3 and 1e-3), because
inputs and outputs are rounded to half precision but sums are in float32."""

MODES = {"tensorflow": ["eager", "graph", "xla"], "jax": ["eager", "jit"], "torch": ["eager"]}[
    BACKEND
]
"""Ways in which the backend can run a function."""


QUICK = {"jit_compile": BACKEND == "jax"}
"""How to compile a model in the least time. XLA takes seconds, so TensorFlow uses it only where
models learn and in a few other tests. Without it, JAX compiles every operation separately."""


def to_numpy(x) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(x))


def relative_error(value, truth) -> float:
    value, truth = to_numpy(value).astype(float), np.asarray(truth, dtype=float)
    assert value.shape == truth.shape
    return float(np.abs(value - truth).max() / np.abs(truth).max())


def basis_function(basis: str, order: int, k: int, s: np.ndarray) -> np.ndarray:
    """Return one polynomial on [-1, 1], evaluated by NumPy or SciPy."""
    if basis == "chebyshev":
        return np.cos(k * np.arccos(np.clip(s, -1, 1)))
    if basis == "monomial":
        return np.power(s, k)
    coefficients = np.zeros((order + 1, 1))
    coefficients[k] = 1
    return BPoly(coefficients, [-1, 1])(s)


def spectral_truth(x, kernel, sampling, *, basis, graph, scale) -> np.ndarray:
    """Filter by the definition: ``sum_k U P_k(Lambda~) U^-1 x W_k``.

    `kernel` has the layer's layout, rows ordered by channel and then by degree.
    """
    dense = laplacian(sampling, graph).toarray()
    symmetric = np.allclose(dense, dense.T, rtol=0, atol=1e-14)  # roundings of entries below 30
    values, vectors = np.linalg.eigh(dense) if symmetric else np.linalg.eig(dense)
    values, vectors = values.real, vectors.real
    s = 2 * scale * values / (1.02 * spectral(sampling, graph).eigenvalue) - 1
    batch, n, channels = x.shape
    terms = kernel.shape[0] // channels
    spectrum = np.linalg.solve(vectors, x.transpose(1, 0, 2).reshape(n, -1).astype(float))
    result = np.zeros((batch, n, kernel.shape[1]))
    for k in range(terms):
        response = basis_function(basis, terms - 1, k, s)
        filtered = vectors @ (response[:, None] * spectrum)
        result += filtered.reshape(n, batch, channels).transpose(1, 0, 2) @ kernel[k::terms]
    return result


def gradients(function: Callable, arguments: list[np.ndarray], weights: np.ndarray, mode: str):
    """Value of ``function(*arguments)`` and gradients of ``sum(weights * value)``."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def compute(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                value = function(*tensors)
                loss = tf.reduce_sum(tf.cast(value, weights.dtype) * weights)
            return value, tape.gradient(loss, tensors)

        if mode != "eager":  # unknown first axis, as in a data set with a short last batch
            unknown_batch = [tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in arguments[:1]]
            known = [tf.TensorSpec(a.shape, a.dtype) for a in arguments[1:]]
            compute = tf.function(
                compute, jit_compile=mode == "xla", input_signature=unknown_batch + known
            )
        value, found = compute(*map(tf.constant, arguments))
    elif BACKEND == "jax":
        import jax

        def loss(*tensors):
            value = function(*tensors)
            return (value * weights).sum(), value

        compute = jax.value_and_grad(loss, argnums=tuple(range(len(arguments))), has_aux=True)
        (_, value), found = (jax.jit(compute) if mode == "jit" else compute)(*arguments)
    else:
        import torch

        tensors = [torch.tensor(a, requires_grad=True) for a in arguments]
        value = function(*tensors)
        found = torch.autograd.grad((value * torch.tensor(weights)).sum(), tensors)
    return to_numpy(value), [to_numpy(g) for g in found]


def push_forward(function: Callable, arguments: list, tangents: list) -> np.ndarray:
    """Derivative of a function along tangents of all arguments, in forward mode."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(a) for a in arguments]
        along = [tf.constant(t) for t in tangents]
        with tf.autodiff.ForwardAccumulator(tensors, along) as forward:
            return to_numpy(forward.jvp(function(*tensors)))
    if BACKEND == "jax":
        import jax

        pushed = jax.jvp(function, tuple(arguments), tuple(tangents))[1]
    else:
        import torch

        pairs = (tuple(map(torch.tensor, each)) for each in (arguments, tangents))
        pushed = torch.func.jvp(function, *pairs)[1]
    return to_numpy(pushed)


def second_derivatives(
    function: Callable, arguments: list[np.ndarray], mode: str = "eager"
) -> list[np.ndarray]:
    """Gradients of a gradient penalty, ``sum((d sum(tanh(f)) / d first argument)^2)``."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def compute(*tensors):
            with tf.GradientTape() as outer:
                outer.watch(tensors)
                with tf.GradientTape() as inner:
                    inner.watch(tensors[0])
                    total = tf.reduce_sum(tf.tanh(function(*tensors)))
                penalty = tf.reduce_sum(tf.square(inner.gradient(total, tensors[0])))
            return outer.gradient(penalty, tensors, unconnected_gradients="zero")

        if mode != "eager":
            compute = tf.function(compute, jit_compile=mode == "xla")
        found = compute(*map(tf.constant, arguments))
    elif BACKEND == "jax":
        import jax
        import jax.numpy as jnp

        first = jax.grad(lambda *tensors: jnp.tanh(function(*tensors)).sum())
        every = tuple(range(len(arguments)))
        compute = jax.grad(lambda *tensors: jnp.square(first(*tensors)).sum(), every)
        found = (jax.jit(compute) if mode == "jit" else compute)(*map(jnp.asarray, arguments))
    else:
        import torch

        tensors = [torch.tensor(a, requires_grad=True) for a in arguments]
        total = torch.tanh(function(*tensors)).sum()
        (gradient,) = torch.autograd.grad(total, tensors[:1], create_graph=True)
        found = torch.autograd.grad(gradient.square().sum(), tensors, materialize_grads=True)
    return [to_numpy(g) for g in found]


def finite_difference(function: Callable, argument: np.ndarray, direction: np.ndarray) -> float:
    """Central difference of a scalar function along a direction, in float64."""
    step = 1e-3
    forward = function((argument + step * direction).astype(argument.dtype))
    backward = function((argument - step * direction).astype(argument.dtype))
    return (forward - backward) / (2 * step)


def check_layer(make: Callable[[], keras.layers.Layer], x: np.ndarray, folder: Path) -> None:
    """Run all checks of a layer that need no truth specific to it.

    These are: every way of running it, with gradients compared with finite differences; a training
    step (compiled and not); mixed precision; and saving and loading a model.
    """
    check_modes(make, x)
    check_fit(make, x)
    _check_half_precision(make, x)
    check_saving(make, x, folder)


def check_modes(make: Callable, x: np.ndarray) -> None:
    """Compare values with those of eager calls, and gradients with finite differences."""
    layer = make()
    expected = to_numpy(layer(x))
    assert layer.compute_output_shape(x.shape) == expected.shape
    rng = np.random.default_rng(1)
    weights = rng.standard_normal(expected.shape).astype(np.float32)

    def loss(values: np.ndarray) -> float:
        return float(np.sum(weights * to_numpy(layer(values)).astype(np.float64)))

    # Values in float32 have relative errors of about 1e-7, which over a step of 1e-3 is 1e-4 of the
    # derivative. A kink or a change of maximum within the step adds some more; 1e-2 is safe.
    direction = rng.standard_normal(x.shape)
    numeric = finite_difference(loss, x, direction)
    for mode in MODES:
        value, (dx,) = gradients(layer, [x], weights, mode)
        assert relative_error(value, expected) < SINGLE, mode
        assert abs(np.sum(dx * direction) - numeric) < 1e-2 * np.linalg.norm(dx), mode
    for batch in (1, 2):  # another batch size on the same layer
        assert relative_error(layer(x[:batch]), expected[:batch]) < SINGLE
    found = _weight_gradients(layer, x, weights)
    for variable, analytic in zip(layer.trainable_variables, found, strict=True):
        start = np.array(to_numpy(variable))  # PyTorch would show later assignments
        step = rng.standard_normal(start.shape)

        def loss_of_weight(values: np.ndarray, variable=variable) -> float:
            variable.assign(values)
            return loss(x)

        numeric = finite_difference(loss_of_weight, start, step)
        variable.assign(start)
        assert abs(np.sum(analytic * step) - numeric) < 1e-2 * np.linalg.norm(analytic)


def _weight_gradients(layer, x: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
    """Gradients of ``sum(weights * layer(x))`` with respect to the trainable variables."""
    variables = layer.trainable_variables
    if not variables:
        return []
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x) * weights)
        found = tape.gradient(loss, [v.value for v in variables])
    elif BACKEND == "jax":
        import jax

        constant = [v.value for v in layer.non_trainable_variables]
        found = jax.grad(
            lambda values: (layer.stateless_call(values, constant, x)[0] * weights).sum()
        )([v.value for v in variables])
    else:
        import torch

        loss = (layer(x) * keras.ops.convert_to_tensor(weights)).sum()
        found = torch.autograd.grad(loss, [v.value for v in variables])
    return [to_numpy(gradient) for gradient in found]


def check_fit(make: Callable, x: np.ndarray) -> None:
    """Train two epochs, with and without XLA, and check that the loss falls."""
    # torch.compile takes half a minute per layer, so a separate test covers it. JAX without XLA is
    # slow, and `check_modes` covers it.
    for jit in {"tensorflow": (False, True), "jax": (True,), "torch": (False,)}[BACKEND]:
        layer = make()
        inputs = keras.Input(x.shape[1:])
        model = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
        model.compile(keras.optimizers.SGD(1e-2), "mse", jit_compile=jit)
        target = np.zeros((*layer.compute_output_shape(x.shape)[:2], 1), np.float32)
        # XLA recompiles for each size, so only the run without it has a short last batch.
        size = len(x) if jit else 2
        losses = model.fit(x, target, batch_size=size, epochs=2, verbose=0).history["loss"]
        assert losses[1] < losses[0]


def trainings(model: keras.Model, maps: list[np.ndarray], target, **options) -> list[tuple]:
    """Train one compiled model on each of some maps, from the same start.

    Return the measures, predictions and weights for each. The optimizer must have no memory.
    """
    start = [np.array(to_numpy(variable)) for variable in model.variables]
    results = []
    for x in maps:
        for variable, value in zip(model.variables, start, strict=True):
            variable.assign(value)
        options = {"epochs": 2, "shuffle": False, "verbose": 0, **options}
        history = model.fit(x, target(x), **options).history
        weights = [np.array(value) for value in model.get_weights()]
        results.append((*history.values(), model.predict(x, verbose=0), *weights))
    return results


def _check_half_precision(make: Callable, x: np.ndarray) -> None:
    layer = make()
    expected = to_numpy(layer(x))
    for policy, tolerance in HALF.items():
        config = {**layer.get_config(), "dtype": policy}
        half = type(layer).from_config(config)
        half.build(x.shape)
        half.set_weights(layer.get_weights())
        y = half(x)
        assert keras.backend.standardize_dtype(y.dtype) == policy.removeprefix("mixed_")
        assert relative_error(keras.ops.cast(y, "float32"), expected) < tolerance, policy


def check_saving(make: Callable, x: np.ndarray, folder: Path) -> None:
    """Save and load a model of one layer, and compare numbers and configuration."""
    layer = make()
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    for variable in model.variables:  # not the initial values
        variable.assign(to_numpy(variable) + 0.1)
    expected = to_numpy(model(x))  # without compiling, which `check_fit` does
    path = folder / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(to_numpy(loaded(x)), expected)
    assert loaded.layers[-1].get_config() == layer.get_config()
