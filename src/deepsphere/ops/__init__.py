"""Operations on features on a graph: filters, sparse products, pooling.

Each backend has a file here with the same functions; only these files name a backend. `reference`
is the same in scipy. The functions below run on the backend of Keras and are imported on first use,
so that `deepsphere.torch` can use its backend's files without Keras.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepsphere.ops.filters import (
        ACTIVATIONS,
        BACKENDS,
        chebyshev_filter,
        normalized_filter,
        pool,
    )
    from deepsphere.ops.mapping import SparseMap, gathered_maximum
    from deepsphere.ops.operator import SparseOperator, laplacian_operator
    from deepsphere.ops.polynomials import BASES, evaluate_basis, to_chebyshev
    from deepsphere.ops.products import sparse_product

_HOMES = {
    "ACTIVATIONS": "filters",
    "BACKENDS": "filters",
    "BASES": "polynomials",
    "SparseMap": "mapping",
    "SparseOperator": "operator",
    "chebyshev_filter": "filters",
    "evaluate_basis": "polynomials",
    "gathered_maximum": "mapping",
    "laplacian_operator": "operator",
    "normalized_filter": "filters",
    "pool": "filters",
    "sparse_product": "products",
    "to_chebyshev": "polynomials",
}

__all__ = [
    "ACTIVATIONS",
    "BACKENDS",
    "BASES",
    "SparseMap",
    "SparseOperator",
    "chebyshev_filter",
    "evaluate_basis",
    "gathered_maximum",
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
