"""The filter, compared with SciPy in float64, in every mode of a backend."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
from scipy.sparse import csr_array

from deepsphere.graph import Graph, rescaled_laplacian
from deepsphere.ops import SparseOperator, chebyshev_filter, filters, plan
from deepsphere.sampling import Healpix
from filter_truth import example, truth
from harness import BACKEND, HALF, MODES, SINGLE, gradients, relative_error, to_numpy

SYMMETRIC = SparseOperator(rescaled_laplacian(Healpix(2), 8))
RANDOM_WALK = SparseOperator(rescaled_laplacian(Healpix(2), Graph(8, laplacian="random_walk")))
FEW_NEIGHBORS = {
    name: SparseOperator(rescaled_laplacian(Healpix(2), Graph(4, laplacian=name)))
    for name in ("normalized", "random_walk")
}
"""Symmetric, and not. XLA compiles a term for each neighbor."""
SHAPES = [(terms, i, o) for terms in (1, 2, 3, 10) for i, o in ((1, 5), (3, 4), (4, 4), (5, 2))]
SHAPES += [(4, 8, 16), (4, 16, 8)]  # in which the compiled functions do not rearrange


# Where it is compiled, always on JAX, a symmetric operator is tried with the longest sums only: one
# that is not has a transpose of its own, and covers all that the other does.
# XLA on TensorFlow has the portable form only.
CASES = [
    (engine, shape, kind, mode)
    for engine in ("compiled", "portable")
    for shape in SHAPES
    for kind in FEW_NEIGHBORS
    for mode in MODES
    if (mode == "eager" and BACKEND != "jax") or shape[0] == 10 or kind == "random_walk"
    if mode != "xla" or (engine == "portable" and shape[0] in (1, 3, 10))
]


@pytest.mark.parametrize(("engine", "shape", "kind", "mode"), CASES, ids=str, indirect=["engine"])
def test_value_and_gradients(shape, kind, mode, engine):
    operator = FEW_NEIGHBORS[kind]
    x, kernel, weights = example(*shape)
    value, found = gradients(
        lambda x, kernel: chebyshev_filter(x, kernel, operator), [x, kernel], weights, mode
    )
    for result, expected in zip([value, *found], truth(x, kernel, weights, operator), strict=True):
        assert relative_error(result, expected) < SINGLE


def double_precision():
    """Enable float64, which JAX needs."""
    if BACKEND == "jax":
        import jax

        return jax.enable_x64(True)
    return nullcontext()


def test_double_precision():
    x, kernel, weights = example(10, 3, 4, np.float64)
    with double_precision():
        value, found = gradients(
            lambda x, kernel: chebyshev_filter(x, kernel, RANDOM_WALK),
            [x, kernel],
            weights,
            MODES[0],
        )
    expected = truth(x, kernel, weights, RANDOM_WALK)
    for result, right in zip([value, *found], expected, strict=True):
        assert relative_error(result, right) < 1e-12  # thousands of roundings of 1e-16


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_sums_in_single(dtype, engine):
    x, kernel, weights = example(10, 3, 4)
    half = keras.ops.cast(x, dtype)
    rounded = to_numpy(keras.ops.cast(half, "float32"))
    y = chebyshev_filter(half, keras.ops.convert_to_tensor(kernel), SYMMETRIC)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    expected = truth(rounded, kernel, weights, SYMMETRIC)[0]
    # Only the result is rounded: half a unit in its last place.
    unit = {"bfloat16": 2**-8, "float16": 2**-11}[dtype]
    assert relative_error(keras.ops.cast(y, "float32"), expected) < 0.51 * unit
    assert unit < HALF[f"mixed_{dtype}"]


@pytest.mark.parametrize("mode", [m for m in MODES if m != "xla"])
@pytest.mark.parametrize("columns", [1, 4, 6])
def test_wide_products_are_split(monkeypatch, mode, columns):
    monkeypatch.setattr(plan, "MAX_PRODUCT", columns * RANDOM_WALK.nnz + 1)
    x, kernel, weights = example(4, 3, 4)
    monkeypatch.setattr(filters._operations.compiled, "available", lambda *_: False)
    widths = count_product_widths(monkeypatch)
    value, found = gradients(
        lambda x, kernel: chebyshev_filter(x, kernel, RANDOM_WALK), [x, kernel], weights, mode
    )
    for result, right in zip([value, *found], truth(x, kernel, weights, RANDOM_WALK), strict=True):
        assert relative_error(result, right) < SINGLE
    if mode == "eager":
        assert max(widths) <= columns


def count_product_widths(monkeypatch):
    """Record how many columns each product of the backend has."""
    widths = []
    if BACKEND == "tensorflow":
        import tensorflow as tf

        original = tf.raw_ops.SparseMatrixMatMul

        def product(a, b):
            if b.shape[1] is not None:
                widths.append(b.shape[1])
            return original(a=a, b=b)

        monkeypatch.setattr(tf.raw_ops, "SparseMatrixMatMul", product)
    elif BACKEND == "torch":
        import torch

        original = torch.nn.functional.embedding_bag

        def bag(indices, columns, *args, **kwargs):
            widths.append(columns.shape[1])
            return original(indices, columns, *args, **kwargs)

        monkeypatch.setattr(torch.nn.functional, "embedding_bag", bag)
    else:
        from deepsphere.ops.portable import jax as ours

        original = ours._unrolled_neighbor_sum

        def neighbor_sum(operator, columns):
            widths.append(columns.shape[1])
            return original(operator, columns)

        ours._forward_pass.clear_cache()
        ours._backward_pass.clear_cache()
        monkeypatch.setattr(ours, "_unrolled_neighbor_sum", neighbor_sum)
    return widths


@pytest.mark.slow
# The portable form splits wide products on JAX too, which test_wide_products_are_split shows.
@pytest.mark.parametrize(
    "engine", ["compiled", "portable"][: 1 + (BACKEND != "jax")], indirect=True
)
def test_product_of_more_than_2_to_the_31(engine):
    """A product with 2.5e9 multiply-adds equals narrow products, column by column."""
    n, per_row, width = 32768, 32, 2400  # XLA compiles a term for each entry of a row
    rng = np.random.default_rng(0)
    columns = np.sort((np.arange(n)[:, None] + rng.choice(n, per_row, replace=False)) % n, axis=1)
    data = rng.standard_normal(n * per_row) / per_row
    matrix = csr_array(
        (data, columns.ravel(), np.arange(0, n * per_row + 1, per_row)), shape=(n, n)
    )
    operator = SparseOperator(matrix)
    assert operator.nnz * width > 2**31
    x = rng.standard_normal((width, n, 1)).astype(np.float32)
    kernel = np.array([0.5, 2.0], np.float32).reshape(2, 1, 1)
    y = to_numpy(chebyshev_filter(*map(keras.ops.convert_to_tensor, (x, kernel)), operator))
    for sample in (0, 1, width // 2, 2047, 2048, width - 1):
        expected = 0.5 * x[sample] + 2 * (matrix @ x[sample].astype(float))
        assert relative_error(y[sample], expected) < SINGLE


@pytest.mark.parametrize("shape", [(10, 3, 4), (10, 1, 5), (10, 5, 2)], ids=str)
def test_forward_keeps_no_basis(shape, engine):
    """What is kept for the backward pass does not grow with the order."""
    x, kernel, _ = example(*shape)
    saved = saved_numbers(lambda x, kernel: chebyshev_filter(x, kernel, SYMMETRIC), x, kernel)
    assert saved == x.size + kernel.size


def saved_numbers(function, x, kernel):
    """How many numbers a function keeps for its backward pass."""
    if BACKEND == "torch":
        import torch

        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.numel()) or t, lambda t: t
        ):
            function(*(torch.tensor(a, requires_grad=True) for a in (x, kernel)))
        return sum(sizes)
    if BACKEND == "jax":
        import jax

        _, backward = jax.vjp(function, x, kernel)
        return sum(leaf.size for leaf in jax.tree.leaves(backward))
    import tensorflow as tf

    used = {}

    @tf.function
    def trace(*inputs):
        graph = tf.compat.v1.get_default_graph()
        y = function(*inputs)
        forward = set(graph.get_operations())
        tf.gradients(y, inputs)
        operator = {t.name for t in graph.internal_captures}
        for op in set(graph.get_operations()) - forward:
            for t in op.inputs:
                while t.op.type in ("Identity", "IdentityN"):  # the same memory
                    t = t.op.inputs[t.value_index]
                if t.op in forward and t.dtype == tf.float32 and t.name not in operator:
                    used[t.name] = t.shape.num_elements()

    trace.get_concrete_function(tf.constant(x), tf.constant(kernel))
    return sum(size for size in used.values() if size > 1)


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "message"),
    [
        ((2, 48), (3, 1, 1), "x must have shape"),
        ((2, 48, 2), (3, 1, 1), "x must have shape"),
        ((2, 48, 1), (3, 1), "kernel"),
        ((2, 47, 1), (3, 1, 1), "x has 47 vertices, but the operator has 48"),
    ],
)
def test_shapes_are_checked(x_shape, kernel_shape, message):
    with pytest.raises(ValueError, match=message):
        chebyshev_filter(np.zeros(x_shape), np.zeros(kernel_shape), SYMMETRIC)
