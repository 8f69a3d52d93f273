"""Ours and its rivals as one kind of thing: a graph convolution that runs forward and backward.

Each candidate is made for a `problems.Case` in a process with its backend. Calls return when the
work is done, on a GPU too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from problems import Arrays, Case, Results, arrays

BACKEND = keras.backend.backend()


class Parts(NamedTuple):
    """A graph convolution as its backend's users write it.

    ``filter(x, weights, *constants)`` returns the output; `weights` is a list of what the kernel
    consists of, and `dkernel` brings the gradients with respect to them into the shape
    ``(terms, channels, filters)``.
    """

    filter: Callable[..., Any]
    weights: list[Any]
    dkernel: Callable[[list[np.ndarray]], np.ndarray]
    constants: tuple[Any, ...] = ()


class Runnable(NamedTuple):
    """What is timed: `forward` returns the output, `backward` also the gradients.

    `results` returns the numbers of `backward` as arrays; `compile` compiles `backward`, where
    that is needed, without running it.
    """

    forward: Callable[[], Any]
    backward: Callable[[], Any]
    results: Callable[[], Results]
    compile: Callable[[], Any]


def by_rows(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel of shape (terms, channels, filters) as (channels * terms, filters)."""
    return kernel.transpose(1, 0, 2).reshape(-1, kernel.shape[2])


def from_rows(case: Case) -> Callable[[list[np.ndarray]], np.ndarray]:
    """Return the inverse of `by_rows`, of a list with one kernel."""
    shape = (case.channels, case.terms, case.filters)
    return lambda gradients: gradients[0].reshape(shape).transpose(1, 0, 2)


def torch_device() -> str:
    """Return where Keras puts PyTorch's tensors."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def ours(case: Case, given: Arrays) -> Parts:
    """Return the layer of this package."""
    from deepsphere.layers import ChebyshevConv

    layer = ChebyshevConv(
        case.filters,
        case.terms - 1,
        sampling=case.sampling,
        graph=case.graph,
        use_bias=False,
    )
    layer.build((None, *given.x.shape[1:]))
    layer.kernel.assign(by_rows(given.kernel))
    if BACKEND == "jax":  # which knows no variables, only arguments

        def stateless(x: Any, weights: list[Any]) -> Any:
            return layer.stateless_call(weights, [], x)[0]

        return Parts(stateless, [layer.kernel.value], from_rows(case))
    return Parts(lambda x, weights: layer(x), [layer.kernel.value], from_rows(case))  # noqa: ARG005


def textbook(case: Case, given: Arrays) -> Parts:
    """Return the textbook formulation in TensorFlow."""
    import tensorflow as tf

    from rivals.tensorflow_textbook import chebyshev_filter, sparse_tensor

    laplacian = sparse_tensor(case.matrix)
    return Parts(
        lambda x, weights: chebyshev_filter(x, tf.convert_to_tensor(weights[0]), laplacian),
        [tf.Variable(by_rows(given.kernel))],
        from_rows(case),
    )


def chebconv(case: Case, given: Arrays) -> Parts:
    """Return the layer of PyTorch Geometric."""
    import torch

    from rivals import pytorch_geometric

    device = torch_device()
    graph = pytorch_geometric.graph(case.sampling, case.neighbors, device)
    layer = pytorch_geometric.conv(case.channels, case.filters, case.terms, bias=False).to(device)
    with torch.no_grad():
        for linear, matrix in zip(layer.lins, given.kernel, strict=True):
            linear.weight.copy_(torch.from_numpy(matrix.T))
    return Parts(
        lambda x, weights: layer(x, graph.edge_index, graph.edge_weight, None, graph.lambda_max),  # noqa: ARG005
        [linear.weight for linear in layer.lins],
        lambda gradients: np.stack([gradient.T for gradient in gradients]),
    )


def csr(case: Case, given: Arrays) -> Parts:
    """Return the recurrence with PyTorch's sparse matrices."""
    import torch

    from rivals.pytorch_csr import chebyshev_filter, sparse_tensor

    laplacian = sparse_tensor(case.matrix, torch_device())
    kernel = torch.from_numpy(given.kernel).to(torch_device()).requires_grad_()
    return Parts(
        lambda x, weights: chebyshev_filter(x, weights[0], laplacian),
        [kernel],
        lambda gradients: gradients[0],
    )


def bcoo(case: Case, given: Arrays) -> Parts:
    """Return the recurrence with JAX's sparse matrices."""
    import jax.numpy as jnp

    from rivals.jax_bcoo import chebyshev_filter, sparse_array

    return Parts(
        lambda x, weights, laplacian: chebyshev_filter(x, weights[0], laplacian),
        [jnp.asarray(given.kernel)],
        lambda gradients: gradients[0],
        (sparse_array(case.matrix),),
    )


MAKERS = {"ours": ours, "textbook": textbook, "ChebConv": chebconv, "CSR": csr, "BCOO": bcoo}


def on_tensorflow(parts: Parts, given: Arrays) -> Runnable:
    """Compile by `tf.function`."""
    import tensorflow as tf

    x, gradient = tf.constant(given.x), tf.constant(given.gradient)

    @tf.function
    def forward(x: tf.Tensor) -> tf.Tensor:
        return parts.filter(x, parts.weights)

    @tf.function
    def backward(x: tf.Tensor, gradient: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = parts.filter(x, parts.weights)
        return y, tape.gradient(y, [x, *parts.weights], output_gradients=gradient)

    def done(result: Any) -> Any:
        tf.test.experimental.sync_devices()
        return result

    return runnable(
        parts,
        lambda: done(forward(x)),
        lambda: done(backward(x, gradient)),
        lambda t: t.numpy(),
        lambda: backward.get_concrete_function(x, gradient),
    )


def on_jax(parts: Parts, given: Arrays) -> Runnable:
    """Compile by `jax.jit`."""
    import jax
    import jax.numpy as jnp

    x, gradient = jnp.asarray(given.x), jnp.asarray(given.gradient)
    forward = jax.jit(parts.filter)

    @jax.jit
    def backward(x: jax.Array, weights: Any, gradient: jax.Array, *constants: Any) -> Any:
        y, pull_back = jax.vjp(lambda x, w: parts.filter(x, w, *constants), x, weights)
        dx, dweights = pull_back(gradient)
        return y, [dx, *dweights]

    arguments = (x, parts.weights, gradient, *parts.constants)
    compiled = functools.cache(lambda: backward.lower(*arguments).compile())
    return runnable(
        parts,
        lambda: jax.block_until_ready(forward(x, parts.weights, *parts.constants)),
        lambda: jax.block_until_ready(compiled()(*arguments)),
        np.asarray,
        compiled,
    )


def on_torch(parts: Parts, given: Arrays) -> Runnable:
    """Run eagerly; without recording for a gradient where none is asked for."""
    import torch

    device = torch_device()
    x = torch.from_numpy(given.x).to(device)
    gradient = torch.from_numpy(given.gradient).to(device)

    def done(result: Any) -> Any:
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    def forward() -> Any:
        with torch.no_grad():
            return done(parts.filter(x, parts.weights))

    def backward() -> Any:
        variable = x.detach().requires_grad_()
        y = parts.filter(variable, parts.weights)
        return done((y.detach(), torch.autograd.grad(y, [variable, *parts.weights], gradient)))

    return runnable(parts, forward, backward, lambda t: t.detach().cpu().numpy(), lambda: None)


def runnable(
    parts: Parts,
    forward: Callable[[], Any],
    backward: Callable[[], Any],
    to_numpy: Callable[[Any], np.ndarray],
    compile_backward: Callable[[], Any],
) -> Runnable:
    """Put the calls together with one that returns their numbers."""

    def results() -> Results:
        y, (dx, *dweights) = backward()
        dkernel = parts.dkernel([to_numpy(gradient) for gradient in dweights])
        return Results(to_numpy(y), to_numpy(dx), dkernel)

    return Runnable(forward, backward, results, compile_backward)


def make(name: str, case: Case, given: Arrays | None = None) -> Runnable:
    """Make a candidate by name, on the backend of this process."""
    given = arrays(case) if given is None else given
    run = {"tensorflow": on_tensorflow, "jax": on_jax, "torch": on_torch}[BACKEND]
    return run(MAKERS[name](case, given), given)
