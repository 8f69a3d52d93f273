"""JAX's transformations of every operation.

XLA takes seconds to compile a program, so each test needs only one, with little optimization.
"""

import re

import numpy as np
import pytest

from derivative_truth import CASES, hessian_product, jacobian, loss_gradient, tangent
from harness import BACKEND, SINGLE, to_numpy

if BACKEND != "jax":
    pytest.skip("JAX's own transformations", allow_module_level=True)

import jax
import jax.export
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from deepsphere.ops import filters

TOLERANCE = 2 * SINGLE  # division by a deviation loses some more than a plain filter
SECOND = 5 * TOLERANCE  # each of two derivatives loses what one does, and tanh some more

QUICKLY = {"xla_backend_optimization_level": 0}
if jax.__version_info__ < (0, 11):  # a later one does not know it
    QUICKLY["xla_cpu_use_fusion_emitters"] = False
"""How XLA compiles in a third of the time."""

PORTABLE_ONLY = ("gathered maximum",)
COMPILED = [name for name in CASES if name not in PORTABLE_ONLY]


@pytest.fixture(
    params=[(name, "compiled") for name in COMPILED] + [(name, "portable") for name in CASES],
    ids="-".join,
)
def case(request, monkeypatch):
    name, engine = request.param
    if engine == "portable":
        monkeypatch.setattr(filters._operations.compiled, "available", lambda *_: False)
    return CASES[name]


def compute(function, *arguments):
    """Run a function in one program."""
    program = jax.jit(function).lower(*arguments)
    return program.compile(QUICKLY)(*arguments)


def inputs(case):
    return tuple(map(jnp.asarray, case.inputs))


def directions(case):
    return tuple(map(jnp.asarray, case.directions))


def all_arguments(case):
    return tuple(range(len(case.inputs)))


def close(found, truth, tolerance=TOLERANCE):
    found, truth = to_numpy(found), to_numpy(truth)
    assert found.shape == truth.shape
    assert np.abs(found - truth).max() < tolerance * max(1, np.abs(truth).max())


def loss(case):
    return lambda *tensors: jnp.tanh(case.function(*tensors)).sum()


# ---- first derivatives ----


def test_first_derivatives(case):
    every = all_arguments(case)

    def derive(tensors, along):
        y, push_forward = jax.linearize(case.function, *tensors)
        return {
            "value": y,
            "linearize": push_forward(*along),
            "jacfwd": jax.jacfwd(case.function, every)(*tensors),
            "jacrev": jax.jacrev(case.function, every)(*tensors),
        }

    found = compute(derive, inputs(case), directions(case))
    close(found["value"], case.truth(*(v.astype(float) for v in case.inputs)))
    close(found["linearize"], tangent(case.name))
    for i in every:
        close(found["jacfwd"][i], jacobian(case.name, i))
        close(found["jacrev"][i], jacobian(case.name, i))


def test_operation_by_operation(case):
    """Without `jax.jit` around it, along one argument and then along all."""
    tensors, along = inputs(case), directions(case)
    y, push_forward = jax.jvp(lambda x: case.function(x, *tensors[1:]), tensors[:1], along[:1])
    close(push_forward, np.tensordot(jacobian(case.name), along[0], 3))
    close(jax.jvp(case.function, tensors, along)[1], tangent(case.name))
    for i, found in enumerate(jax.vjp(case.function, *tensors)[1](y)):
        close(found, np.tensordot(to_numpy(y), jacobian(case.name, i), 3))


@pytest.mark.parametrize("name", COMPILED)
def test_each_mode_calls_what_it_needs(name):
    """Reverse mode runs each pass once and computes only the requested gradients."""
    case = CASES[name]

    def calls(function):
        text = jax.jit(function).lower(inputs(case), directions(case)).as_text()
        return re.findall(r"custom_call @deepsphere_(\w+)\(.*-> (.*)", text)

    kinds = {"product": "product", "map": "product", "max pooling": "pool", "mean pooling": "pool"}
    kinds["attention"] = "attend"
    forward = kinds.get(name, "forward_normalized" if "normalized" in name else "forward")
    backward = forward.replace("forward", "backward").replace("pool", "pool_backward")
    backward = backward.replace("attend", "attend_backward")
    every = all_arguments(case)
    rest = every[1:]

    gradient = [kind for kind, _ in calls(lambda t, _: jax.value_and_grad(loss(case), every)(*t))]
    assert gradient == [forward, backward]
    again = [kind for kind, _ in calls(lambda t, _: jax.grad(jax.checkpoint(loss(case)))(*t))]
    assert again == gradient
    assert all("backward" not in kind for kind, _ in calls(lambda *a: jax.jvp(case.function, *a)))
    if rest:
        (_, results) = calls(lambda t, _: jax.grad(loss(case), rest)(*t))[-1]
        kernel, bias = ("3x1x2", "0") if "depthwise" in name else ("3x2x3", "3")
        assert results.startswith(f"(tensor<0xf32>, tensor<{kernel}xf32>, tensor<{bias}xf32>)")


# ---- second and third derivatives ----


def test_products_with_the_hessian(case):
    every = all_arguments(case)

    def derive(tensors, along):
        gradient = jax.grad(loss(case), every)

        def slope(*tensors):
            return jax.jvp(loss(case), tensors, along)[1]

        def product(*tensors):
            return sum((g * d).sum() for g, d in zip(gradient(*tensors), along, strict=True))

        return {
            "forward over reverse": jax.jvp(gradient, tensors, along)[1],
            "reverse over forward": jax.grad(slope, every)(*tensors),
            "reverse over reverse": jax.grad(product, every)(*tensors),
        }

    for found in compute(derive, inputs(case), directions(case)).values():
        for i in every:
            close(found[i], hessian_product(case.name, i), SECOND)


def along_a_line(case):
    def value(s):
        return loss(case)(*(x + s * d for x, d in zip(inputs(case), directions(case), strict=True)))

    return value


def test_forward_over_forward(case):
    truth = sum((hessian_product(case.name, i) * d).sum() for i, d in enumerate(case.directions))
    found = compute(jax.jacfwd(jax.jacfwd(along_a_line(case))), 0.0)
    assert abs(found - truth) < SECOND * (1 + abs(truth))


@pytest.mark.parametrize("name", ["filter with relu", "normalized with relu"])
def test_hessian(name):
    """Forward over reverse, mapped over."""
    case = CASES[name]
    found = compute(jax.hessian(loss(case), (0, 1, 2)), *inputs(case))
    for i, row in enumerate(found):
        product = sum(
            np.tensordot(block, d, d.ndim) for block, d in zip(row, case.directions, strict=True)
        )
        close(product, hessian_product(name, i), SECOND)


@pytest.mark.parametrize("name", ["filter with relu", "normalized with relu"])
def test_third_derivatives(name):
    """Three modes in four orders agree, so no term is dropped."""
    case = CASES[name]

    value, f, r = along_a_line(case), jax.jacfwd, jax.grad

    def derive(s):
        orders = f(f(f(value))), f(f(r(value))), f(r(r(value))), r(f(r(value)))
        return jnp.stack([derivative(s) for derivative in orders])

    found = to_numpy(compute(derive, 0.0))
    assert np.ptp(found) < SECOND * np.abs(found).max()


# ---- vmap ----


def test_vmap(case):
    """Maps of derivatives, and derivatives of maps."""
    every = all_arguments(case)
    subsets = [[0]] if len(every) == 1 else [[0], list(every[1:])]

    def derive(tensors, along):
        def derivatives(*tensors):
            return jax.grad(loss(case), every)(*tensors), jax.jvp(case.function, tensors, along)[1]

        found = []
        for which in subsets:
            dims = [-1 if i in which else None for i in every]
            many = [
                x if d is None else jnp.stack([2 * x, x], d)
                for x, d in zip(tensors, dims, strict=True)
            ]
            found.append(jax.tree.map(lambda y: y[1], jax.vmap(derivatives, dims)(*many)))

        def mapped(x, *rest):
            return jax.vmap(case.function, (0, *[None] * len(rest)))(x[None], *rest)[0]

        gradients = jax.grad(lambda *t: jnp.tanh(mapped(*t)).sum(), every)(*tensors)
        return [*found, (gradients, jax.jvp(mapped, tensors, along)[1])]

    for gradients, pushed in compute(derive, inputs(case), directions(case)):
        close(pushed, tangent(case.name))
        for i, gradient in enumerate(gradients):
            close(gradient, loss_gradient(case.name, i))


# ---- memory, devices, files ----


def test_checkpoint_in_a_scan(case):
    def rolled(*tensors):
        step = jax.checkpoint(loss(case))
        return jax.lax.scan(lambda total, _: (total + step(*tensors), None), 0.0, length=3)[0]

    for i, found in enumerate(compute(jax.grad(rolled, all_arguments(case)), *inputs(case))):
        close(found / 3, loss_gradient(case.name, i))


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_shard_map(name, check):
    """Values and derivatives, where features are spread over devices and weights are shared.

    Within `jax.shard_map` the portable form runs, and around it the compiled one.
    """
    case = CASES[name]
    sharded = jax.shard_map(
        case.function,
        mesh=Mesh(np.array(jax.devices()[:1]), ("batch",)),
        in_specs=(P("batch"), *[P()] * (len(case.inputs) - 1)),
        out_specs=P("batch"),
        check_vma=check,
    )

    def derive(tensors, along):
        gradients = jax.grad(lambda *t: jnp.tanh(sharded(*t)).sum(), all_arguments(case))(*tensors)
        return gradients, jax.jvp(sharded, tensors, along)

    gradients, (y, pushed) = compute(derive, inputs(case), directions(case))
    close(y, case.truth(*(v.astype(float) for v in case.inputs)))
    close(pushed, tangent(name))
    for i, found in enumerate(gradients):
        close(found, loss_gradient(name, i))


def test_export():
    """Derivatives for other processes, which have only portable operations."""
    case = CASES["filter with relu"]
    tensors, along = inputs(case), directions(case)

    def derive(tensors, along):
        return jax.jvp(jax.grad(loss(case), (0, 1, 2)), tensors, along)[1]

    exported = jax.export.export(jax.jit(derive))(tensors, along)
    assert "deepsphere_" not in exported.mlir_module()
    for i, found in enumerate(exported.call(tensors, along)):
        close(found, hessian_product(case.name, i), SECOND)
