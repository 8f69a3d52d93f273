"""Every operation as a function of its arguments, in NumPy, with finite differences.

Everything is float64 and tiny. Five-point differences with a step of 1e-3 are accurate to about
1e-11, and differences of differences to 1e-8, far below rounding in float32.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from scipy.sparse import csr_array

from deepsphere import ops
from deepsphere.graph import Graph, rescaled_laplacian
from deepsphere.ops import SparseOperator
from deepsphere.ops.attention import neighbor_attention
from deepsphere.ops.mapping import gathered_maximum
from deepsphere.sampling import Healpix

N, BATCH, CHANNELS, TERMS, FILTERS = 12, 2, 2, 3, 3
STEP = 1e-3
MARGIN = 4 * STEP
"""Minimum distance from kinks (of relu, of a maximum); seeds are chosen accordingly."""

OPERATOR = SparseOperator(rescaled_laplacian(Healpix(1), Graph(4, laplacian="random_walk")))
MATRIX = OPERATOR.matrix.toarray()
MAP = csr_array(np.random.default_rng(8).standard_normal((5, N)))
SETS = np.random.default_rng(9).integers(0, N, (3, 7)).astype(np.int32)
EPSILON = 1e-3
SHAPES = {"x": (BATCH, N, CHANNELS), "kernel": (TERMS, CHANNELS, FILTERS), "bias": (FILTERS,)}


def filtered(x, kernel, bias=0.0):
    basis = [np.eye(N), MATRIX, 2 * MATRIX @ MATRIX - np.eye(N)]
    return sum(t @ x @ w for t, w in zip(basis, kernel, strict=True)) + bias


def normalized(x, kernel, bias):
    y = filtered(x, kernel)
    return (y - y.mean((0, 1))) / np.sqrt(y.var((0, 1)) + EPSILON) + bias


def relu(y):
    assert np.abs(y).min() > MARGIN
    return np.maximum(y, 0)


def silu(y):
    return y / (1 + np.exp(-y))


def maximum(y, axis):
    largest = np.sort(y, axis)
    gaps = np.diff(np.take(largest, [-2, -1], axis), axis=axis)
    assert np.logical_or(gaps == 0, gaps > MARGIN).all()
    return y.max(axis)


def attention(q):
    scores = np.einsum("bnc,bmc->bnm", q, q + 1) / np.sqrt(CHANNELS)
    scores = np.where(MATRIX != 0, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ (2 * q)


def attend(x):
    y = neighbor_attention(x[:, :, None], x[:, :, None] + 1, 2 * x[:, :, None], OPERATOR)
    return y[:, :, 0]


@dataclass(frozen=True)
class Case:
    name: str
    function: object
    truth: object
    arguments: tuple = ("x",)
    seed: int = 0
    values: list = field(default_factory=list)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        for name in self.arguments:
            self.values.append(rng.standard_normal(SHAPES[name]).astype(np.float32))
        self.values.append([rng.standard_normal(v.shape).astype(np.float32) for v in self.values])

    @property
    def inputs(self):
        return self.values[:-1]

    @property
    def directions(self):
        """Return a tangent for each argument."""
        return self.values[-1]


THREE = ("x", "kernel", "bias")
CASES = {
    case.name: case
    for case in (
        Case("filter", lambda x, w, b: ops.chebyshev_filter(x, w, OPERATOR, b), filtered, THREE),
        Case(
            "filter with relu",
            lambda x, w, b: ops.chebyshev_filter(x, w, OPERATOR, b, "relu"),
            lambda x, w, b: relu(filtered(x, w, b)),
            THREE,
            seed=269,
        ),
        Case(
            "normalized with relu",
            lambda x, w, b: ops.normalized_filter(x, w, OPERATOR, b, EPSILON, "relu")[0],
            lambda x, w, b: relu(normalized(x, w, b)),
            THREE,
            seed=347,
        ),
        Case(
            "filter with tanh",
            lambda x, w, b: ops.chebyshev_filter(x, w, OPERATOR, b, "tanh"),
            lambda x, w, b: np.tanh(filtered(x, w, b)),
            THREE,
        ),
        Case(
            "normalized with silu",
            lambda x, w, b: ops.normalized_filter(x, w, OPERATOR, b, EPSILON, "silu")[0],
            lambda x, w, b: silu(normalized(x, w, b)),
            THREE,
        ),
        Case(
            "depthwise filter",
            lambda x, w: ops.chebyshev_filter(x, w[:, :1, :CHANNELS], OPERATOR),
            lambda x, w: filtered(x, w[:, :1, :CHANNELS] * np.eye(CHANNELS)),
            THREE[:2],
        ),
        Case(
            "product",
            lambda x: ops.sparse_product(x, OPERATOR, 2),
            lambda x: MATRIX @ (MATRIX @ x),
        ),
        Case("map", lambda x: ops.SparseMap(MAP)(x), lambda x: MAP.toarray() @ x),
        Case(
            "mean pooling",
            lambda x: ops.pool(x, 4, "mean"),
            lambda x: x.reshape(BATCH, -1, 4, CHANNELS).mean(2),
        ),
        Case(
            "max pooling",
            lambda x: ops.pool(x, 4, "max"),
            lambda x: maximum(x.reshape(BATCH, -1, 4, CHANNELS), 2),
        ),
        Case(
            "gathered maximum",
            lambda x: gathered_maximum(x, SETS),
            lambda x: maximum(x[:, SETS], 1),
        ),
        Case("attention", attend, attention),
    )
}


def difference(function, step=STEP):
    """Return the five-point derivative at 0 of a function of one number."""
    return (8 * (function(step) - function(-step)) - function(2 * step) + function(-2 * step)) / (
        12 * step
    )


def moved(values, directions, size):
    return [v.astype(float) + size * d for v, d in zip(values, directions, strict=True)]


@cache
def tangent(name):
    """Return the derivative along the directions of all arguments."""
    case = CASES[name]
    return difference(lambda s: case.truth(*moved(case.inputs, case.directions, s)))


@cache
def jacobian(name, argument=0):
    """Shape of the output, followed by that of the argument."""
    case = CASES[name]
    inputs = [v.astype(float) for v in case.inputs]
    columns = []
    for j in range(inputs[argument].size):

        def value(step, j=j):
            changed = inputs[argument].copy()
            changed.flat[j] += step
            return case.truth(*inputs[:argument], changed, *inputs[argument + 1 :])

        columns.append(difference(value))
    columns = np.stack(columns, -1)
    return columns.reshape(*columns.shape[:-1], *inputs[argument].shape)


def gradient(case, inputs, argument):
    """The gradient of ``sum(tanh(f))``."""

    def loss(step, j):
        changed = inputs[argument].copy()
        changed.flat[j] += step
        return np.tanh(case.truth(*inputs[:argument], changed, *inputs[argument + 1 :])).sum()

    found = [difference(lambda s, j=j: loss(s, j)) for j in range(inputs[argument].size)]
    return np.reshape(found, inputs[argument].shape)


@cache
def loss_gradient(name, argument=0):
    return gradient(CASES[name], [v.astype(float) for v in CASES[name].inputs], argument)


@cache
def hessian_product(name, argument=0):
    """The derivative of the gradient of ``sum(tanh(f))`` along the directions of all arguments."""
    case = CASES[name]
    return difference(
        lambda s: gradient(case, moved(case.inputs, case.directions, s), argument), 5 * STEP
    )
