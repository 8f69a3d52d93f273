"""What JAX can do to a function, done to every operation."""

import numpy as np
import pytest
from derivative_truth import CASES, hessian_product, jacobian, tangent

from harness import BACKEND, SINGLE, to_numpy

if BACKEND != "jax":
    pytest.skip("JAX's own transformations", allow_module_level=True)

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

TOLERANCE = 2 * SINGLE  # division by a deviation loses some more than a plain filter


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return CASES[request.param]


def inputs(case):
    return [jnp.asarray(v) for v in case.inputs]


def close(found, truth, tolerance=TOLERANCE):
    found = to_numpy(found)
    assert found.shape == truth.shape
    assert np.abs(found - truth).max() < tolerance * max(1, np.abs(truth).max())


def loss(case):
    return lambda *tensors: jnp.tanh(case.function(*tensors)).sum()


def test_jacrev(case, engine):
    for i, found in enumerate(jax.jacrev(case.function, range(len(case.inputs)))(*inputs(case))):
        close(found, jacobian(case.name, i))


def test_hessian_product(case, engine):
    """Reverse over reverse, which needs no forward mode."""
    every = tuple(range(len(case.inputs)))

    def slope(*tensors):
        first = jax.grad(loss(case), every)(*tensors)
        return sum((f * d).sum() for f, d in zip(first, case.directions, strict=True))

    for i, found in enumerate(jax.grad(slope, every)(*inputs(case))):
        close(found, hessian_product(case.name, i), 5 * TOLERANCE)


def test_tangents_by_two_reverse_passes(case, engine):
    """What the documentation advises instead of `jax.jvp`."""
    y, pull_back = jax.vjp(case.function, *inputs(case))
    (found,) = jax.vjp(pull_back, jnp.zeros_like(y))[1](tuple(map(jnp.asarray, case.directions)))
    close(found, tangent(case.name))


def test_forward_mode_is_right_or_refused(case, engine):
    tensors, tangents = tuple(inputs(case)), tuple(map(jnp.asarray, case.directions))
    if case.name == "gathered maximum" or ("pooling" in case.name and engine == "portable"):
        close(jax.jvp(case.function, tensors, tangents)[1], tangent(case.name))
        return
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(case.function, tensors, tangents)


def test_vmap(case, engine):
    n = len(case.inputs)
    for which in [[0]] if n == 1 else [[0], [1], [0, 1, 2]]:
        dims = [0 if i in which else None for i in range(n)]
        many = [
            v if d is None else jnp.stack([v, 2 * v])
            for v, d in zip(inputs(case), dims, strict=True)
        ]
        found = jax.vmap(jax.grad(loss(case), tuple(range(n))), dims)(*many)
        one = [m if d is None else m[1] for m, d in zip(many, dims, strict=True)]
        right = jax.grad(loss(case), tuple(range(n)))(*one)
        for f, r in zip(found, right, strict=True):
            close(f[1], to_numpy(r))


def test_checkpoint_in_a_scan(case, engine):
    tensors = inputs(case)

    def rolled(*tensors):
        step = jax.checkpoint(loss(case))
        return jax.lax.scan(lambda total, _: (total + step(*tensors), None), 0.0, length=3)[0]

    found = jax.grad(rolled)(*tensors)
    close(found / 3, to_numpy(jax.grad(loss(case))(*tensors)))


@pytest.mark.parametrize("check", [True, False])
def test_shard_map(case, check):
    """Values and gradients, where features are spread over devices and weights are shared.

    Within `jax.shard_map` the portable form runs, whichever runs around it.
    """
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    tensors = inputs(case)
    sharded = jax.shard_map(
        case.function,
        mesh=mesh,
        in_specs=(P("batch"), *[P()] * (len(tensors) - 1)),
        out_specs=P("batch"),
        check_vma=check,
    )
    close(sharded(*tensors), to_numpy(case.function(*tensors)))
    every = tuple(range(len(tensors)))
    found = jax.grad(lambda *t: jnp.tanh(sharded(*t)).sum(), every)(*tensors)
    for f, right in zip(found, jax.grad(loss(case), every)(*tensors), strict=True):
        close(f, to_numpy(right))
