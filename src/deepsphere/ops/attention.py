"""Attention of each vertex to its neighbors in a graph, in memory linear in the number of vertices.

With ``s_ij = q_i . k_j / sqrt(depth)`` over the neighbors j of i, ``p_ij = softmax_j(s_ij)`` and
``y_i = sum_j p_ij v_j``. Given ``g_i``, the gradient of the loss with respect to ``y_i``,

    dp_ij = g_i . v_j,    delta_i = sum_j p_ij dp_ij,    ds_ij = p_ij (dp_ij - delta_i),
    dq_i = sum_j ds_ij k_j / sqrt(depth),
    dk_j = sum_i ds_ij q_i / sqrt(depth),    dv_j = sum_i p_ij g_i.

Forward-mode derivatives, along tangents tq, tk and tv, are

    ts_ij = (tq_i . k_j + q_i . tk_j) / sqrt(depth),
    ty_i = sum_j p_ij (ts_ij - sum_k p_ik ts_ik) v_j + p_ij tv_j.

The sums over j gather from the neighbors of i. The sums over i gather from the vertices that have
j as a neighbor; automatic differentiation would scatter instead, which is slow. The compiled form
runs vertex by vertex, the portable one block by block. The backward pass recomputes the scores (as
Dao et al., arXiv 2205.14135, do for dense attention): only q, k and v are kept between the passes,
never values per edge.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any
from weakref import WeakValueDictionary

import keras
import numpy as np
from keras import ops
from scipy.sparse import csr_array, eye_array

from deepsphere.graph import Graph, GraphLike, edge_pattern, resolve_graph
from deepsphere.ops.arguments import as_floats, complete_shape, known_shape
from deepsphere.ops.blockwise import Blocks, pattern_of
from deepsphere.ops.dispatch import operations_of
from deepsphere.ops.operator import SparseOperator
from deepsphere.ops.plan import is_empty
from deepsphere.sampling import Sampling

_operations = operations_of(keras.backend.backend())
_compiled, _backend = _operations.compiled, _operations.portable

_patterns: WeakValueDictionary[tuple[Sampling, Graph, bool], SparseOperator] = WeakValueDictionary()


def neighbor_pattern(
    sampling: Sampling, graph: GraphLike | None = None, self_loops: bool = False
) -> SparseOperator:
    """Return which points of a sampling attend to which, as a pattern that layers share.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the sphere.
    graph : Graph, int or str, optional
        Graph of the sampling, see `deepsphere.Graph`. Two points attend to each other if either
        is a neighbor of the other; weights are ignored. Default: the recommended graph of the
        sampling.
    self_loops : bool, default False
        Whether each point also attends to itself.

    Returns
    -------
    SparseOperator
        Ones where a point (row) attends to another (column). Calls with equal arguments return
        the same object while it is referenced.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, or `graph` is not a `Graph`, an integer or a string.
    ValueError
        If `graph` is invalid, or no number of neighbors reaches its ``max_error``.

    Warns
    -----
    DisconnectedGraphWarning
        If the graph has more connected components than the sampled part of the sphere.

    Notes
    -----
    All pixels of a row at a pole are the same point. Each of them attends to the neighbors of that
    point, but a neighbor attends only to the one at its own longitude.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> neighbor_pattern(Healpix(1), 4).nnz
    48
    """
    # Weights and Laplacian do not affect the pattern.
    resolved = resolve_graph(sampling, graph)
    resolved = replace(resolved, laplacian=None, width="tuned")
    key = (sampling, resolved, self_loops)
    pattern = _patterns.get(key)
    if pattern is None:
        matrix = edge_pattern(sampling, resolved)
        if self_loops:
            matrix = matrix + eye_array(len(sampling), format="csr")
        pattern = SparseOperator(csr_array(matrix))
        _patterns[key] = pattern
    return pattern


def neighbor_attention(q: Any, k: Any, v: Any, operator: SparseOperator, mask: Any = None) -> Any:
    """Let each vertex attend to its neighbors: ``y_i = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j``.

    Half-precision inputs are computed in float32 and returned in half precision. Only `q`, `k` and
    `v` are kept between the passes, and each pass needs a few tensors of their size.

    Parameters
    ----------
    q, k, v : tensor, shape (batch, n, heads, depth)
        Queries, keys and values on the vertices. The batch size may be unknown.
    operator : SparseOperator of size n
        Vertex i attends to j if entry (i, j) is stored, whatever its value. The pattern need not
        be symmetric.
    mask : tensor of bool, shape (batch, n), optional
        False at vertices that no vertex attends to, whose values may be NaN. Default: all True.

    Returns
    -------
    tensor, shape (batch, n, heads, depth)
        The output of the attention. It is 0 at vertices without neighbors in `mask`, and finite
        but meaningless at vertices outside `mask`.

    Raises
    ------
    TypeError
        If `q`, `k` or `v` is complex.
    ValueError
        If `q`, `k` and `v` do not have the same shape (batch, n, heads, depth), `heads` or `depth`
        is 0 or unknown, or `mask` does not have shape (batch, n).

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> q, k, v = np.random.default_rng(0).standard_normal((3, 2, 192, 4, 8)).astype("float32")
    >>> tuple(neighbor_attention(q, k, v, neighbor_pattern(Healpix(4), 8)).shape)
    (2, 192, 4, 8)
    """
    q, k, v = _check(q, k, v, operator)
    if mask is not None:
        mask = _check_mask(mask, q)
        # A weight of 0 is not enough: 0 * NaN = NaN.
        q, k, v = (ops.where(mask[..., None, None], x, ops.zeros_like(x)) for x in (q, k, v))

    if is_empty(v):
        return v
    return _attend(q, k, v, mask, operator)


def _check(q: Any, k: Any, v: Any, operator: SparseOperator) -> tuple[Any, Any, Any]:
    """Return queries, keys and values as floating-point tensors of one known shape."""
    q, k, v = (as_floats(x, name) for x, name in ((q, "q"), (k, "k"), (v, "v")))
    shapes = [known_shape(x) for x in (q, k, v)]
    ranks = {len(shape) for shape in shapes if shape is not None}
    sizes = [{s[d] for s in shapes if s} - {None} for d in range(4)] if ranks == {4} else []
    if ranks != {4} or any(len(size) > 1 for size in sizes):
        raise ValueError(
            "q, k and v must have the same shape (batch, n, heads, depth), got "
            + ", ".join(map(str, shapes))
        )
    batch, n, heads, depth = (next(iter(size), None) for size in sizes)
    if n not in (None, len(operator)):
        raise ValueError(f"q has {n} vertices, but the operator has {len(operator)}")
    if not heads or not depth:
        raise ValueError(f"q must have a known number of heads and of channels, got {shapes[0]}")
    shape = (batch, len(operator), heads, depth)
    return tuple(complete_shape(x, shape) for x in (q, k, v))


def _check_mask(mask: Any, q: Any) -> Any:
    """Return a mask as a boolean tensor whose shape matches `q`."""
    mask, (batch, n, *_) = ops.cast(mask, "bool"), q.shape
    known = known_shape(mask)
    if known is not None and (
        len(known) != 2 or known[1] not in (None, n) or len({*known[:1], batch} - {None}) > 1
    ):
        raise ValueError(f"mask must have shape (batch, n) = ({batch}, {n}), got {known}")
    return complete_shape(mask, (batch, n))


def _forward(q: Any, k: Any, v: Any, mask: Any, *, operator: SparseOperator) -> Any:
    if _compiled.available(q, k, v):
        return _compiled.attend(q, k, v, mask, pattern_of(operator))
    return _forward_by_blocks(q, k, v, mask, operator=operator)


@_backend.jitted
def _forward_by_blocks(q: Any, k: Any, v: Any, mask: Any, *, operator: SparseOperator) -> Any:
    blocks = Blocks(q, operator)
    keys, values, hidden = blocks.fold(k), blocks.fold(v), blocks.hidden(mask)

    def attend(q: Any, indices: Any, gaps: Any) -> Any:
        scores = _dot(q, _backend.gather_rows(keys, indices)) + _bias(gaps, hidden, indices)
        _, inverse, exponentials = _softmax(scores)
        return _mix(exponentials, _backend.gather_rows(values, indices)) * inverse[..., None]

    y = blocks.map(
        attend, blocks.depth, blocks.cut(blocks.fold(q) / sqrt(blocks.depth)), *blocks.lists("keys")
    )
    return blocks.unfold(blocks.clear(y, "keys"), q)


@_backend.jitted
def _tangent(
    q: Any, k: Any, v: Any, tq: Any, tk: Any, tv: Any, mask: Any, *, operator: SparseOperator
) -> Any:
    """Return the derivative along tangents of q, k and v."""
    blocks = Blocks(q, operator)
    keys, values, hidden = blocks.fold(k), blocks.fold(v), blocks.hidden(mask)
    moving_keys, moving_values = blocks.fold(tk), blocks.fold(tv)

    def attend(q: Any, tq: Any, indices: Any, gaps: Any) -> Any:
        near_keys = _backend.gather_rows(keys, indices)
        _, inverse, p = _softmax(_dot(q, near_keys) + _bias(gaps, hidden, indices))
        p = p * inverse
        scores = _dot(tq, near_keys) + _dot(q, _backend.gather_rows(moving_keys, indices))
        change = p * (scores - ops.sum(p * scores, axis=0))
        return _mix(change, _backend.gather_rows(values, indices)) + _mix(
            p, _backend.gather_rows(moving_values, indices)
        )

    y = blocks.map(
        attend,
        blocks.depth,
        blocks.cut(blocks.fold(q) / sqrt(blocks.depth)),
        blocks.cut(blocks.fold(tq) / sqrt(blocks.depth)),
        *blocks.lists("keys"),
    )
    return blocks.unfold(blocks.clear(y, "keys"), q)


def _backward(
    q: Any, k: Any, v: Any, g: Any, mask: Any, *, operator: SparseOperator
) -> tuple[Any, Any, Any]:
    def by_blocks(q: Any, k: Any, v: Any, g: Any) -> tuple[Any, Any, Any]:
        return _backward_by_blocks(q, k, v, g, mask, operator=operator)

    if _compiled.available(q, k, v):
        return _compiled.attend_gradients(q, k, v, g, mask, pattern_of(operator), by_blocks)
    return by_blocks(q, k, v, g)


@_backend.jitted
def _backward_by_blocks(
    q: Any, k: Any, v: Any, g: Any, mask: Any, *, operator: SparseOperator
) -> tuple[Any, Any, Any]:
    blocks = Blocks(q, operator)
    queries, keys = blocks.fold(q) / sqrt(blocks.depth), blocks.fold(k)
    values, upstream = blocks.fold(v), blocks.fold(g)
    hidden = blocks.hidden(mask)

    def of_queries(q: Any, g: Any, indices: Any, gaps: Any) -> Any:
        near_keys = _backend.gather_rows(keys, indices)
        top, inverse, p = _softmax(_dot(q, near_keys) + _bias(gaps, hidden, indices))
        p = p * inverse
        dp = _dot(g, _backend.gather_rows(values, indices))
        delta = ops.sum(p * dp, axis=0)
        dq = _mix(p * (dp - delta), near_keys) / sqrt(blocks.depth)
        return ops.concatenate([dq, ops.stack([top, inverse, delta], axis=-1)], axis=-1)

    found = blocks.map(
        of_queries,
        blocks.depth + 3,
        blocks.cut(queries),
        blocks.cut(upstream),
        *blocks.lists("keys"),
    )
    found = blocks.clear(found, "keys")
    dq, sums = found[..., : blocks.depth], blocks.pack(found[..., blocks.depth :])

    def of_keys(k: Any, v: Any, indices: Any, gaps: Any, hidden: Any = 0.0) -> Any:
        near_queries = _backend.gather_rows(queries, indices)
        near_g = _backend.gather_rows(upstream, indices)
        near = _slots(_backend.gather_rows(sums, indices))
        top, inverse, delta = near[..., 0], near[..., 1], near[..., 2]
        p = ops.exp(_dot(k, near_queries) + (gaps[..., None] + hidden)[..., None] - top) * inverse
        dk = _mix(p * (_dot(v, near_g) - delta), near_queries)
        return ops.concatenate([dk, _mix(p, near_g)], axis=-1)

    own = () if hidden is None else (blocks.cut(hidden),)
    found = blocks.map(
        of_keys,
        2 * blocks.depth,
        blocks.cut(keys),
        blocks.cut(values),
        *blocks.lists("queries"),
        *own,
    )
    found = blocks.clear(found, "queries")
    dk, dv = found[..., : blocks.depth], found[..., blocks.depth :]
    return blocks.unfold(dq, q), blocks.unfold(dk, k), blocks.unfold(dv, v)


_attend = _backend.differentiable_attention(_forward, _backward, _tangent)


def _dot(x: Any, neighbors: Any) -> Any:
    """Return dot products of (size, batch, heads, depth) with the values gathered for each slot."""
    if isinstance(neighbors, list):
        return ops.stack([ops.sum(x * each, axis=-1) for each in neighbors])
    return ops.sum(x * neighbors, axis=-1)


def _mix(weights: Any, neighbors: Any) -> Any:
    """Sum the gathered values over slots, with weights (slots, size, batch, heads)."""
    if isinstance(neighbors, list):
        return sum(w[..., None] * each for w, each in zip(weights, neighbors, strict=True))
    return ops.sum(weights[..., None] * neighbors, axis=0)


def _slots(gathered: Any) -> Any:
    return ops.stack(gathered) if isinstance(gathered, list) else gathered


def _bias(gaps: Any, hidden: Any, indices: Any) -> Any:
    """Return the bias of scores (slots, size, batch, heads): -inf where there is no key."""
    bias = gaps[..., None]
    if hidden is not None:
        bias = bias + _slots(_backend.gather_rows(hidden, indices))
    return bias[..., None]


def _softmax(scores: Any) -> tuple[Any, Any, Any]:
    """Return the maximum, 1 / sum and exponentials of scores over the slots."""
    top = ops.max(scores, axis=0)
    top = ops.where(top == -np.inf, ops.zeros_like(top), top)  # no key: avoid -inf - -inf
    exponentials = ops.exp(scores - top)
    total = ops.sum(exponentials, axis=0)
    without = ops.cast(total < 0.5, total.dtype)  # with a key, the sum is at least exp(0)
    return top, 1 / (total + without), exponentials
