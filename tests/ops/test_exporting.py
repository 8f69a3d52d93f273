"""Programs traced with portable operations contain no functions of this package."""

import re

import keras
import numpy as np
import pytest

import deepsphere
from deepsphere.ops import SparseOperator, chebyshev_filter, filters, sparse_product
from deepsphere.ops.exporting import called_from, is_across_runtimes, is_portable, portable
from harness import BACKEND, SINGLE, gradients, relative_error

RNG = np.random.default_rng(0)
pytestmark = pytest.mark.filterwarnings("default")
"""PyTorch's compiler warns about itself."""

OPERATOR = SparseOperator(RNG.random((6, 6)) * (RNG.random((6, 6)) < 0.6))
X = RNG.standard_normal((2, 6, 3)).astype(np.float32)
KERNEL = RNG.standard_normal((3, 3, 4)).astype(np.float32)


def tensors():
    return [keras.ops.convert_to_tensor(a) for a in (X, KERNEL)]


def form():
    return filters._operations.form(*tensors())


def operations_in(make, arguments):
    """Trace a new function and return the names of its operations."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        graph = tf.function(lambda *a: make(*a)).get_concrete_function(*arguments).graph
        return {operation.type for operation in graph.get_operations()}
    if BACKEND == "jax":
        import jax

        text = jax.jit(lambda *a: make(*a)).lower(*arguments).as_text()
        return set(re.findall(r"custom_call @(\w+)", text))
    import torch
    from torch._dynamo.backends.common import aot_autograd

    found = set()

    def note(graph, _):
        found.update(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    make(*arguments)  # what a graph cannot make
    torch._dynamo.reset()
    torch.compile(make, backend=aot_autograd(fw_compiler=note), fullgraph=True)(*arguments)
    return found


def compute(x, kernel):
    """The filter below the checks of arguments, which PyTorch's compiler cannot trace."""
    return filters._operations.chebyshev_filter(x, kernel, OPERATOR, None, "linear")


def ours(names):
    return {name for name in names if "deepsphere" in name.lower()}


def test_portable_operations_are_those_of_the_backend():
    filters._operations.compiled.available(*tensors())  # loaded
    assert ours(operations_in(compute, tensors()))
    with deepsphere.portable():
        assert not ours(operations_in(compute, tensors()))
    assert ours(operations_in(compute, tensors()))


@pytest.mark.skipif(BACKEND == "jax", reason="its portable operations are the same everywhere")
def test_portable_operations_across_runtimes():
    name = {"tensorflow": "SparseMatrixMatMul", "torch": "embedding_bag"}[BACKEND]
    with portable():
        assert any(name in each for each in operations_in(compute, tensors()))
    with portable(across_runtimes=True):
        assert not any(name in each for each in operations_in(compute, tensors()))


@pytest.mark.parametrize("across_runtimes", [False, True])
def test_results_and_gradients_agree(across_runtimes):
    def run():
        g = np.ones((2, 6, 4), np.float32)
        return gradients(lambda x, w: chebyshev_filter(x, w, OPERATOR), [X, KERNEL], g, "eager")

    value, derivatives = run()
    product = sparse_product(X, OPERATOR, 2)
    with portable(across_runtimes=across_runtimes):
        again, others = run()
        assert relative_error(sparse_product(X, OPERATOR, 2), product) < SINGLE
    assert relative_error(again, value) < SINGLE
    for found, right in zip(others, derivatives, strict=True):
        assert relative_error(found, right) < SINGLE


def test_contexts_nest_and_end_with_errors():
    assert form() is filters._operations.compiled

    def fail():
        with portable(across_runtimes=True):
            assert is_portable()
            assert is_across_runtimes()
            raise RuntimeError("inside")

    with portable():
        with pytest.raises(RuntimeError, match="inside"):
            fail()
        assert is_portable()
        assert not is_across_runtimes()
        assert form() is filters._operations.portable
    assert not is_portable()
    assert form() is filters._operations.compiled


@pytest.mark.skipif(BACKEND != "torch", reason="the other backends are asked to trace again")
def test_compiled_functions_of_pytorch_notice():
    import torch
    from torch._dynamo.testing import CompileCounter

    compute(*tensors())
    with portable():
        compute(*tensors())
    torch._dynamo.reset()
    counter = CompileCounter()
    whole = torch.compile(compute, backend=counter, fullgraph=True)
    whole(*tensors())
    with portable():
        whole(*tensors())
        assert counter.frame_count == 2
    whole(*tensors())
    assert counter.frame_count == 2


def test_callers_are_found():
    assert called_from((__name__,))
    assert not called_from(("a_module_that_is_not_there",))
