"""Operations on the devices of a mesh, by `jax.shard_map`."""

import numpy as np
import pytest
from derivative_truth import CASES

from harness import BACKEND, SINGLE, to_numpy

if BACKEND != "jax":
    pytest.skip("a transformation of JAX", allow_module_level=True)

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

TOLERANCE = 2 * SINGLE  # division by a deviation loses some more than a plain filter


@pytest.fixture(params=["filter", "product", "max pooling"])
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


@pytest.mark.parametrize("check", [True, False])
def test_shard_map(case, check, engine):
    """Values and gradients, where features are spread over devices and weights are shared."""
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
