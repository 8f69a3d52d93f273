"""Blocks of vertices, which limit how many neighbors attention gathers at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.sparse import csr_array

from deepsphere.ops.dispatch import operations_of
from deepsphere.ops.operator import SparseOperator

_backend = operations_of(keras.backend.backend()).portable

GATHERED = {"cpu": 2**21, "other": 2**25}
"""Maximum number of values that a block gathers at once: few enough for a processor's cache (8 MB),
and enough to fill an accelerator (128 MB)."""

USUAL_BATCH = 16
"""Batch size assumed when cutting blocks if it is unknown."""


def count_blocks(n: int, numbers: int, device: str) -> int:
    """Return the number of blocks for `n` vertices, each of which gathers `numbers` values.

    It is a power of two, which divides the number of pixels of most maps and so avoids padding.
    """
    least = -(-n * numbers // GATHERED["cpu" if device == "cpu" else "other"])
    return min(1 << max(0, least - 1).bit_length(), n)


class Blocks:
    """Layout of tensors (batch, n, heads, depth) as blocks of vertices.

    Parameters
    ----------
    x : tensor, shape (batch, n, heads, depth)
        One of the tensors, for its shape, dtype and device.
    operator : SparseOperator of size n
        Stores an entry, of any value, for each pair of neighbors.
    """

    def __init__(self, x: Any, operator: SparseOperator) -> None:
        batch, self.n, self.heads, self.depth = x.shape
        self.like = x
        wide = keras.backend.standardize_dtype(x.dtype) == "float64"
        self.dtype = "float64" if wide else "float32"
        rows = pattern_of(operator)
        self.patterns = {"keys": rows, "queries": rows.transpose}
        slots = max(int(np.diff(p.matrix.indptr).max()) for p in self.patterns.values())
        numbers = (batch or USUAL_BATCH) * slots * self.heads * self.depth
        self.count = count_blocks(self.n, numbers, _backend.device_of(x))

    def fold(self, x: Any) -> Any:
        """Transpose (batch, n, ...) to (n, batch, ...), contiguous per vertex."""
        return self.pack(ops.transpose(ops.cast(x, self.dtype), (1, 0, *range(2, len(x.shape)))))

    def pack(self, x: Any) -> Any:
        """Make (n, batch, ...) contiguous: PyTorch would copy a view for each block."""
        return ops.reshape(ops.reshape(x, (self.n, -1)), (self.n, -1, *x.shape[2:]))

    def unfold(self, y: Any, like: Any) -> Any:
        """Transpose (n, batch, ...) to (batch, n, ...) and cast to the dtype of `like`."""
        return ops.cast(ops.transpose(y, (1, 0, 2, 3)), like.dtype)

    def hidden(self, mask: Any) -> Any:
        """Return the bias of the scores of keys, (n, batch): -inf outside the mask, else 0."""
        if mask is None:
            return None
        return self.fold(ops.where(mask, 0.0, -np.inf))

    def cut(self, x: Any) -> Any:
        """Cut (n, batch, ...) into (blocks, size, batch, ...), padded with 0."""
        missing = -self.n % self.count
        if missing:
            x = ops.pad(x, ((0, missing),) + ((0, 0),) * (len(x.shape) - 1))
        return ops.reshape(x, (self.count, -(-self.n // self.count), -1, *x.shape[2:]))

    def lists(self, which: str) -> tuple[Any, Any]:
        """Return the padded neighbor lists of each block, and a bias of -inf at the padding.

        ``"keys"`` lists the vertices that a vertex attends to, ``"queries"`` those that attend to
        it.
        """
        pattern = self.patterns[which]

        def indices() -> NDArray[np.int32]:
            return _cut(pattern.neighbor_lists.indices, self.count)

        def gaps() -> NDArray[np.floating]:
            degrees = np.diff(pattern.matrix.indptr)
            slots = np.arange(len(pattern.neighbor_lists.indices))
            full = np.where(slots[:, None] < degrees, 0, -np.inf).astype(self.dtype)
            return _cut(full, self.count, -np.inf)

        return (
            _backend.device_constant(pattern, ("indices", self.count), indices, self.like),
            _backend.device_constant(pattern, ("gaps", self.count, self.dtype), gaps, self.like),
        )

    def map(self, function: Callable[..., Any], width: int, *blocks: Any) -> Any:
        """Call a function on each block and join the results, (..., heads, width)."""
        if self.count == 1:
            return function(*(block[0] for block in blocks))
        y = _backend.map_blocks(function, *blocks)
        return ops.reshape(y, (self.count * -(-self.n // self.count), -1, self.heads, width))[
            : self.n
        ]

    def clear(self, y: Any, which: str) -> Any:
        """Set vertices of (n, ...) without neighbors to 0: the padding they read may be NaN."""
        pattern = self.patterns[which]
        rows = pattern.empty_rows
        if rows is None:
            return y
        empty = _backend.device_constant(
            pattern, "empty rows", lambda: rows[:, None, None, None], self.like
        )
        return ops.where(empty, ops.zeros_like(y), y)


def pattern_of(operator: SparseOperator) -> SparseOperator:
    """Return ones where an operator stores an entry, so that its transpose has the same places."""

    def ones() -> SparseOperator:
        matrix = operator.matrix
        data = np.ones(matrix.nnz)
        return SparseOperator(csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape))

    return operator.constant("pattern", ones)


def _cut(array: NDArray[Any], blocks: int, fill: float = 0) -> NDArray[Any]:
    """Cut (slots, n) into (blocks, slots, size), with the last block padded."""
    slots, n = array.shape
    size = -(-n // blocks)
    padded = np.pad(array, ((0, 0), (0, blocks * size - n)), constant_values=fill)
    return np.ascontiguousarray(padded.reshape(slots, blocks, size).transpose(1, 0, 2))
