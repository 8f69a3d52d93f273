"""A square sparse operator: a host matrix and the constants that the backends derive from it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from deepsphere.graph import GraphLike, rescaled_laplacian, resolve_graph
from deepsphere.ops.matrices import to_csr
from deepsphere.sampling import Sampling


class NeighborLists(NamedTuple):
    """Rows of a sparse matrix, padded to one length, as arrays of shape (length, n).

    ``(A x)[i] = sum_j values[j, i] * x[indices[j, i]]``. Padding has the value 0 and repeats the
    first index of its row: since ``0 * NaN`` is NaN, a row must not read vertices it does not
    depend on. Rows without entries have index ``i``; see `SparseOperator.empty_rows`.
    """

    indices: NDArray[np.int32]
    values: NDArray[np.float64]


class SparseOperator:
    """A square sparse matrix that is applied to features on the vertices of a graph.

    Parameters
    ----------
    matrix : sparse array, sparse matrix or array_like, shape (n, n)
        The operator, in any format of `scipy.sparse` or dense. It is stored as a `csr_array` of
        float64, which shares memory with `matrix` if that is one already; do not modify it
        afterwards.

    Attributes
    ----------
    nnz : int
        Number of stored entries.

    Raises
    ------
    TypeError
        If the entries are not real numbers, or `matrix` is a masked array.
    ValueError
        If `matrix` is not square or has no rows, an index lies outside it, or an entry is NaN or
        infinite.
    """

    def __init__(self, matrix: Any) -> None:
        # Later reads are unchecked.
        matrix = to_csr(matrix, "operator")
        if matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"an operator must be a square matrix, got shape {matrix.shape}")
        self.matrix = matrix
        # Plain integers, because PyTorch's compiler treats NumPy integers as dependent on data.
        self._size, self.nnz = int(matrix.shape[0]), int(matrix.nnz)
        self._constants: dict[str, dict[Hashable, Any]] = {}

    def __len__(self) -> int:
        return self._size

    @cached_property
    def transpose(self) -> SparseOperator:
        """The transposed operator; the operator itself if it is symmetric up to rounding."""
        transposed = self.matrix.T.tocsr()
        difference = abs(transposed - self.matrix)
        if difference.nnz == 0 or difference.max() <= 1e-12 * abs(self.matrix).max():
            return self
        result = SparseOperator(transposed)
        result.__dict__["transpose"] = self
        return result

    @cached_property
    def neighbor_lists(self) -> NeighborLists:
        """The rows, padded to one length."""
        matrix, n = self.matrix, len(self)
        degrees = np.diff(matrix.indptr)
        width = int(degrees.max(initial=1))
        first = np.arange(n, dtype=np.int32)
        first[degrees > 0] = matrix.indices[matrix.indptr[:-1][degrees > 0]]
        indices = np.tile(first, (width, 1))
        values = np.zeros((width, n))
        rows = np.repeat(np.arange(n), degrees)
        slots = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], degrees)
        indices[slots, rows] = matrix.indices
        values[slots, rows] = matrix.data
        return NeighborLists(indices, values)

    @cached_property
    def empty_rows(self) -> NDArray[np.bool_] | None:
        """Mask of rows without entries, whose products are 0; None if all rows have entries."""
        empty = np.diff(self.matrix.indptr) == 0
        return empty if empty.any() else None

    @cached_property
    def compressed(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
        """CSR row starts, column indices and entries, for compiled functions.

        Raises
        ------
        ValueError
            If there are more than 2**31 - 1 entries, or one is out of the range of float32.
        """
        matrix = self.matrix
        if matrix.nnz >= 2**31:
            raise ValueError(f"an operator may have at most 2**31 - 1 entries, got {matrix.nnz}")
        with np.errstate(over="ignore"):
            values = matrix.data.astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError(
                "an operator's entries must be within the range of float32, "
                f"got one of magnitude {np.abs(matrix.data).max():g}"
            )
        return matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), values

    def constant(self, key: Hashable, make: Callable[[], Any], group: str = "") -> Any:
        """Return what a backend stores under `key`, computed by `make` on first use.

        Backends with their own `group` do not see the keys of others: PyTorch's compiler cannot
        hash those of TensorFlow.
        """
        table = self._constants.setdefault(group, {})
        if key not in table:
            table[key] = make()
        return table[key]

    def known_constant(self, key: Hashable, group: str) -> Any:
        """Return what `constant` has stored, or None."""
        return self._constants.get(group, {}).get(key)

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the constants, which are tensors of a device and of a backend.
        return SparseOperator, (self.matrix,)

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseOperator:
        return self  # immutable, shared and large


_laplacians: WeakValueDictionary[Hashable, SparseOperator] = WeakValueDictionary()


def laplacian_operator(sampling: Sampling, graph: GraphLike | None, scale: float) -> SparseOperator:
    """Return the rescaled Laplacian of a sampling as an operator that layers share.

    Parameters
    ----------
    sampling, graph, scale
        As in `deepsphere.graph.rescaled_laplacian`.

    Returns
    -------
    SparseOperator
        Calls with equal arguments return the same object while it is referenced.
    """
    graph = resolve_graph(sampling, graph)
    key = (sampling, graph, scale)
    operator = _laplacians.get(key)
    if operator is None:
        operator = SparseOperator(rescaled_laplacian(sampling, graph, scale))
        _laplacians[key] = operator
    return operator
