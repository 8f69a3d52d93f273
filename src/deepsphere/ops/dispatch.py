"""The operations of one backend: compiled where they can be, portable everywhere else."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from deepsphere._backends import BACKENDS
from deepsphere.ops import plan
from deepsphere.ops.compiled.options import DERIVATIVE_NEEDS_INPUT
from deepsphere.ops.operator import SparseOperator


class Operations:
    """The operations of one backend, which choose between their two forms at each call.

    Arguments are floating-point tensors of the backend whose shapes have been checked.

    Parameters
    ----------
    backend : {"tensorflow", "jax", "torch"}
        The backend, which is imported.

    Attributes
    ----------
    compiled, portable : module
        The two forms, with functions of the same names and arguments as the methods below.

    Raises
    ------
    ImportError
        If DeepSphere does not run on `backend`.
    """

    def __init__(self, backend: str) -> None:
        if backend not in BACKENDS:
            raise ImportError(
                f"DeepSphere runs on the Keras backends {', '.join(BACKENDS)}, but the current "
                f"one is {backend!r}: set the environment variable KERAS_BACKEND"
            )
        self.compiled = import_module(f"deepsphere.ops.compiled.{backend}")
        self.portable = import_module(f"deepsphere.ops.portable.{backend}")

    def form(self, x: Any, kernel: Any, bias: Any = None) -> ModuleType:
        """Return the form for these tensors; few backends can multiply empty ones."""
        if not plan.is_empty(x, kernel) and self.compiled.available(x, kernel, bias):
            return self.compiled
        return self.portable

    def chebyshev_filter(
        self, x: Any, kernel: Any, operator: SparseOperator, bias: Any, activation: str
    ) -> Any:
        """Filter, add a bias, activate; see `deepsphere.ops.chebyshev_filter`."""
        form = self.form(x, kernel, bias)
        fused = "linear" if activation in DERIVATIVE_NEEDS_INPUT else activation
        y = form.chebyshev_filter(x, kernel, operator, bias, fused)
        return y if fused == activation else self.portable.activate(y, activation)

    def normalized_filter(
        self,
        x: Any,
        kernel: Any,
        operator: SparseOperator,
        bias: Any,
        epsilon: float,
        activation: str,
    ) -> tuple[Any, Any, Any]:
        """Filter, normalize, add a bias, activate; see `deepsphere.ops.normalized_filter`."""
        form = self.form(x, kernel, bias)
        return form.normalized_filter(x, kernel, operator, bias, epsilon, activation)

    def sparse_product(self, x: Any, operator: SparseOperator, power: int) -> Any:
        """Multiply features; see `deepsphere.ops.sparse_product`."""
        if plan.is_empty(x):
            return x
        return self.form(x, x).sparse_product(x, operator, power)

    def pool(self, x: Any, children: int, mode: str) -> Any:
        """Pool children; see `deepsphere.ops.pool`."""
        return self.form(x, x).pool(x, children, mode)


@cache
def operations_of(backend: str) -> Operations:
    """Return the operations of a backend, the same object at each call."""
    return Operations(backend)
