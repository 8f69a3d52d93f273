"""Operations on features on a graph: filters, sparse products, pooling.

The functions below check their arguments and run on the backend of Keras. They are imported on
first use, so that `deepsphere.torch` can do without Keras. Behind them, `dispatch` chooses between
two forms of each operation: `compiled` holds those in C, `portable` those made of the backend's own
operations. `derivatives` is what both forms share. Each of the three has a module per backend.
`plan` and `operator` serve all of them, and `reference` is a filter in SciPy, for tests.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepsphere.ops.filters import (
        ACTIVATIONS,
        chebyshev_filter,
        normalized_filter,
        pool,
    )
    from deepsphere.ops.mapping import SparseMap
    from deepsphere.ops.operator import SparseOperator, laplacian_operator
    from deepsphere.ops.polynomials import BASES, evaluate_basis, to_chebyshev
    from deepsphere.ops.products import sparse_product

_HOMES = {
    "ACTIVATIONS": "filters",
    "BASES": "polynomials",
    "SparseMap": "mapping",
    "SparseOperator": "operator",
    "chebyshev_filter": "filters",
    "evaluate_basis": "polynomials",
    "laplacian_operator": "operator",
    "normalized_filter": "filters",
    "pool": "filters",
    "sparse_product": "products",
    "to_chebyshev": "polynomials",
}

__all__ = [
    "ACTIVATIONS",
    "BASES",
    "SparseMap",
    "SparseOperator",
    "chebyshev_filter",
    "evaluate_basis",
    "laplacian_operator",
    "normalized_filter",
    "pool",
    "sparse_product",
    "to_chebyshev",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepsphere.ops' has no attribute {name!r}")
    value = getattr(import_module(f"deepsphere.ops.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
