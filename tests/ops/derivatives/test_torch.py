"""PyTorch's transformations of every operation."""

import numpy as np
import pytest

from derivative_truth import CASES, hessian_product, jacobian, tangent
from harness import BACKEND, SINGLE, relative_error, to_numpy

if BACKEND != "torch":
    pytest.skip("PyTorch's own transformations", allow_module_level=True)

import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

INDEPENDENT = ("product", "map", "mean pooling", "gathered maximum")
"""What keeps nothing of its argument between the passes, or copies."""
TOLERANCE = 2 * SINGLE  # division by a deviation loses some more than a plain filter
SECOND = 5 * TOLERANCE  # each of two derivatives loses what one does, and tanh some more


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return CASES[request.param]


def inputs(case, **options):
    return tuple(torch.tensor(v, **options) for v in case.inputs)


def directions(case):
    return tuple(map(torch.tensor, case.directions))


def close(found, truth, tolerance=TOLERANCE):
    assert relative_error(found, truth) < tolerance


def loss(case):
    return lambda *tensors: torch.tanh(case.function(*tensors)).sum()


# ---- forward mode ----


def test_jvp(case, engine):
    y, found = jvp(case.function, inputs(case), directions(case))
    close(y, case.truth(*(v.astype(float) for v in case.inputs)))
    close(found, tangent(case.name))


def test_dual_tensors(case, engine):
    with forward_ad.dual_level():
        duals = map(forward_ad.make_dual, inputs(case), directions(case))
        found = forward_ad.unpack_dual(case.function(*duals)).tangent
    close(found, tangent(case.name))


def test_jacfwd(case, engine):
    for i in range(len(case.inputs)):
        close(jacfwd(case.function, argnums=i)(*inputs(case)), jacobian(case.name, i))


# ---- reverse mode ----


def test_jacrev(case, engine):
    for i in range(len(case.inputs)):
        close(jacrev(case.function, argnums=i)(*inputs(case)), jacobian(case.name, i))


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_vectorized_jacobian(case, strategy, engine):
    found = torch.autograd.functional.jacobian(
        case.function, inputs(case), vectorize=True, strategy=strategy
    )
    for i, each in enumerate(found):
        close(each, jacobian(case.name, i))


def test_batched_gradients(case, engine):
    """One pass backward for many gradients: only that pass is mapped over."""
    tensors = inputs(case, requires_grad=True)
    y = case.function(*tensors)
    each = torch.eye(y.numel()).reshape(-1, *y.shape)
    found = torch.autograd.grad(y, tensors, each, is_grads_batched=True)
    for i, rows in enumerate(found):
        truth = jacobian(case.name, i)
        close(rows.reshape(truth.shape), truth)


# ---- second derivatives ----


def test_hessian(case, engine):
    """Forward over reverse, in all combinations of arguments."""
    blocks = hessian(loss(case), argnums=tuple(range(len(case.inputs))))(*inputs(case))
    for i, row in enumerate(blocks):
        found = sum(
            torch.tensordot(block, d, d.dim())
            for block, d in zip(row, directions(case), strict=True)
        )
        truth = hessian_product(case.name, i)
        assert np.abs(to_numpy(found) - truth).max() < SECOND * (1 + np.abs(truth).max())


def reverse_over_forward(case):
    def slope(*tensors):
        return jvp(loss(case), tensors, directions(case))[1]

    return grad(slope, tuple(range(len(case.inputs))))(*inputs(case))


def reverse_over_reverse(case):
    tensors = inputs(case, requires_grad=True)
    first = torch.autograd.grad(loss(case)(*tensors), tensors, create_graph=True)
    total = sum((f * d).sum() for f, d in zip(first, directions(case), strict=True))
    return torch.autograd.grad(total, tensors, materialize_grads=True)


def dual_over_reverse(case):
    with forward_ad.dual_level():
        leaves = inputs(case, requires_grad=True)
        duals = [forward_ad.make_dual(a, d) for a, d in zip(leaves, directions(case), strict=True)]
        found = torch.autograd.grad(loss(case)(*duals), duals)
        return [forward_ad.unpack_dual(f).tangent for f in found]


def forward_over_forward(case):
    def slope(t):
        moved = [a + t * d for a, d in zip(inputs(case), directions(case), strict=True)]
        return jvp(loss(case), tuple(moved), directions(case))[1]

    return jvp(slope, (torch.zeros(()),), (torch.ones(()),))[1]


@pytest.mark.parametrize(
    "way", [reverse_over_forward, reverse_over_reverse, dual_over_reverse], ids=lambda w: w.__name__
)
def test_hessian_product(case, way, engine):
    for i, found in enumerate(way(case)):
        truth = hessian_product(case.name, i)
        assert np.abs(to_numpy(found) - truth).max() < SECOND * (1 + np.abs(truth).max())


def test_second_derivative_along_a_line(case, engine):
    truth = sum((hessian_product(case.name, i) * d).sum() for i, d in enumerate(case.directions))
    assert abs(float(forward_over_forward(case)) - truth) < SECOND * (1 + abs(truth))


def test_third_derivative(case, engine):
    """Third derivatives in reverse mode match differences, so no term is dropped."""

    def second(*tensors):
        first = grad(loss(case), tuple(range(len(tensors))))(*tensors)
        return sum((f.square()).sum() for f in first)

    third = grad(lambda *t: sum(g.square().sum() for g in grad(second)(*t)[None]))
    tensors = inputs(case)
    found = third(*tensors)
    step = 1e-2

    def value(s):
        moved = [a + s * d for a, d in zip(tensors[:1], directions(case)[:1], strict=True)]
        return float(grad(second)(*moved, *tensors[1:]).double().square().sum())

    slope = (8 * (value(step) - value(-step)) - value(2 * step) + value(-2 * step)) / (12 * step)
    exact = float((found * directions(case)[0]).sum())
    # Differences in float32: 1e-6 of the value over a step of 1e-2.
    assert abs(slope - exact) < 2e-2 * max(1, abs(exact))


# ---- vmap ----


def stacked(case, which):
    many = []
    for i, v in enumerate(inputs(case)):
        many.append(torch.stack([v, 2 * v, v - 0.5]) if i in which else v)
    return many, [0 if i in which else None for i in range(len(many))]


def subsets(case):
    n = len(case.inputs)
    return [w for w in ([0], [1], [2], [0, 1], [1, 2], [0, 1, 2]) if max(w) < n]


def test_vmap(case, engine):
    for which in subsets(case):
        many, dims = stacked(case, which)
        found = vmap(case.function, tuple(dims))(*many)
        for i in range(3):
            one = [m if d is None else m[i] for m, d in zip(many, dims, strict=True)]
            close(found[i], to_numpy(case.function(*one)))


def test_vmap_over_another_axis(case, engine):
    many, _ = stacked(case, [0])
    found = vmap(case.function, (2, *[None] * (len(many) - 1)), out_dims=1)(
        many[0].movedim(0, 2), *many[1:]
    )
    close(
        found[:, 1], to_numpy(case.function(*(m[1] if i == 0 else m for i, m in enumerate(many))))
    )


def test_vmap_of_gradients(case, engine):
    for which in subsets(case):
        many, dims = stacked(case, which)
        every = tuple(range(len(many)))
        found = vmap(grad(loss(case), every), tuple(dims))(*many)
        for i in range(3):
            one = [m if d is None else m[i] for m, d in zip(many, dims, strict=True)]
            for f, right in zip(found, grad(loss(case), every)(*one), strict=True):
                assert np.abs(to_numpy(f[i] - right)).max() < TOLERANCE * (1 + right.abs().max())


def test_vmap_of_vmap_of_jvp(case, engine):
    many, _ = stacked(case, [0])
    twice = torch.stack([many[0], many[0] + 1])
    tangents = directions(case)
    rest = tuple(many[1:])

    def slope(x):
        return jvp(case.function, (x, *rest), tangents)[1]

    found = vmap(vmap(slope))(twice)
    close(found[1, 2], to_numpy(slope(twice[1, 2])))


# ---- memory ----


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoint(case, reentrant, engine):
    from torch.utils.checkpoint import checkpoint

    expected = torch.autograd.grad(loss(case)(*(t := inputs(case, requires_grad=True))), t)
    tensors = inputs(case, requires_grad=True)
    checkpoint(loss(case), *tensors, use_reentrant=reentrant).backward()
    for tensor, right in zip(tensors, expected, strict=True):
        np.testing.assert_array_equal(to_numpy(tensor.grad), to_numpy(right))


@pytest.mark.parametrize(
    "case", [c for c in CASES.values() if c.name not in INDEPENDENT], ids=lambda c: c.name
)
def test_what_is_changed_in_place_is_noticed(case, engine):
    tensors = [t + 0 for t in inputs(case, requires_grad=True)]
    y = case.function(*tensors)
    tensors[0].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
