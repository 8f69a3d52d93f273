"""Receptive fields of layers: the largest angle between a pixel and the pixels it depends on."""

from __future__ import annotations

from functools import singledispatch
from math import inf, sqrt
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere.layers import (
    ConvPool,
    GaussianSmoothing,
    GraphConv,
    PatchConv,
    PatchConvTranspose,
    Pool,
    PositionEmbedding,
    Resample,
    SmoothPool,
    Statistics,
    SurveyMask,
    TransformerBlock,
    Unpool,
)
from deepsphere.layers.beam import beam_passes
from deepsphere.layers.graph_transformer import NeighborTransformerBlock
from deepsphere.ops import SparseOperator
from deepsphere.sampling import Sampling

POINTWISE_LAYERS = (
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.AlphaDropout,
    keras.layers.Average,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.LayerNormalization,
    keras.layers.LeakyReLU,
    keras.layers.Masking,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.PReLU,
    keras.layers.ReLU,
    keras.layers.Rescaling,
    keras.layers.Softmax,
    keras.layers.SpatialDropout1D,
    keras.layers.Subtract,
    keras.layers.UnitNormalization,
)
"""Keras layers that do not mix pixels in inference, provided they act on the last axis."""

POINTWISE_OPERATIONS = [
    "abs",
    "add",
    "arctan",
    "cast",
    "clip",
    "concatenate",
    "divide",
    "exp",
    "log",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "oneslike",
    "power",
    "sign",
    "sin",
    "sqrt",
    "square",
    "subtract",
    "where",
    "zeroslike",
    "celu",
    "elu",
    "gelu",
    "hardsigmoid",
    "hardtanh",
    "leakyrelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
]
"""Operations of `keras.ops` with the same property, by the lowercase name of their class."""

ROWS = 2**16  # rows of a graph measured at once


def longest_edge(operator: SparseOperator, points: NDArray[np.float64]) -> float:
    """Return the largest angle between two vertices that an operator connects.

    Parameters
    ----------
    operator : SparseOperator of size n
        The operator, for instance that of a graph convolution.
    points : ndarray, shape (n, 3)
        Unit vectors of the vertices.

    Returns
    -------
    float
        The angle in rad; 0 if there is no edge.
    """

    def measure() -> float:
        largest = 0.0
        for start in range(0, len(operator), ROWS):
            block = operator.matrix[start : start + ROWS].tocoo()
            chords = points[start + block.row] - points[block.col]
            largest = max(largest, np.square(chords[block.data != 0]).sum(axis=1).max(initial=0))
        return _angle(largest)

    return operator.constant("longest edge", measure)


def family_radius(fine: Sampling, coarse: Sampling) -> float:
    """Return the largest angle between a point of a coarse sampling and its descendants.

    Parameters
    ----------
    fine, coarse : Sampling
        Two levels of one hierarchy.

    Returns
    -------
    float
        The angle in rad.
    """
    levels, found = 0, fine
    while found != coarse:
        levels, found = levels + 1, found.coarsen()
    rows, columns = fine.membership(levels).nonzero()
    return _angle(np.square(fine.points[columns] - coarse.points[rows]).sum(axis=1).max())


def _angle(squared_chord: float) -> float:
    return float(2 * np.arcsin(min(1.0, sqrt(squared_chord) / 2)))


@singledispatch
def spread(operation: Any, sampling: Sampling | None) -> float | None:
    """Return the radius of an operation's receptive field.

    Register other types of layers with ``@spread.register``.

    Parameters
    ----------
    operation : keras.layers.Layer or keras.Operation
        A built layer, or an operation of `keras.ops`.
    sampling : Sampling or None
        Sampling of its input; None if unknown.

    Returns
    -------
    float or None
        The largest angle in rad between a pixel of the output and a pixel of the input that it
        depends on; infinite if it may depend on any pixel. None for unknown operations.
    """
    name = type(operation).__name__.lower()
    if isinstance(operation, POINTWISE_LAYERS) or name in POINTWISE_OPERATIONS:
        axis = getattr(operation, "axis", None)
        last = axis is None or set(np.atleast_1d(axis).tolist()) <= {-1, 2}
        return 0.0 if last else inf
    if name == "repeat" and operation.axis == 1 and sampling is not None:
        return family_radius(finer(sampling, operation.repeats), sampling)
    return None


def finer(sampling: Sampling, factor: int) -> Sampling:
    """Return the finer sampling of the hierarchy with at least `factor` times as many points."""
    levels = 0
    while len(sampling.refine(levels)) < factor * len(sampling):
        levels += 1
    return sampling.refine(levels)


@spread.register(SurveyMask)
@spread.register(PositionEmbedding)
def _(operation: Any, sampling: Sampling | None) -> float:  # noqa: ARG001
    return 0.0


@spread.register(Statistics)
@spread.register(TransformerBlock)
def _(operation: Any, sampling: Sampling | None) -> float:  # noqa: ARG001
    return inf


@spread.register
def _(operation: GraphConv, sampling: Sampling | None) -> float:
    if operation.order == 0:
        return 0.0
    if sampling is None:  # the layer has a graph without positions
        return inf
    return operation.order * longest_edge(operation.operator, sampling.points)


@spread.register
def _(operation: NeighborTransformerBlock, sampling: Sampling | None) -> float:
    return inf if sampling is None else longest_edge(operation.pattern, sampling.points)


@spread.register
def _(operation: GaussianSmoothing, sampling: Sampling | None) -> float:  # noqa: ARG001
    widths = [sigma for sigma in np.unique(operation.sigmas) if sigma]
    passes = [beam_passes(operation.require_sampling(), sigma) for sigma in widths]
    # The width of each pass is smaller by the square root of their number.
    radii = [operation.support * s * sqrt(m) for s, m in zip(widths, passes, strict=True)]
    return max(radii, default=0.0)


@spread.register(Pool)
@spread.register(Unpool)
@spread.register(PatchConv)
@spread.register(PatchConvTranspose)
def _(operation: Any, sampling: Sampling | None) -> float:  # noqa: ARG001
    ends = operation.require_sampling(), operation.output_sampling
    return family_radius(max(ends, key=len), min(ends, key=len))


@spread.register
def _(operation: Resample, sampling: Sampling | None) -> float:  # noqa: ARG001
    entries = operation._map.matrix.tocoo()
    targets = operation.target.points[entries.row]
    chords = np.linalg.norm(targets - operation.require_sampling().points[entries.col], axis=1)
    return float(2 * np.arcsin(np.minimum(chords.max(initial=0) / 2, 1)))


@spread.register
def _(operation: SmoothPool, sampling: Sampling | None) -> float:  # noqa: ARG001
    return _filter_and_pool(operation, len(operation.coefficients) - 1)


@spread.register
def _(operation: ConvPool, sampling: Sampling | None) -> float:  # noqa: ARG001
    return _filter_and_pool(operation, operation.order)


def _filter_and_pool(operation: Any, order: int) -> float:
    fine, coarse = operation.require_sampling(), operation.output_sampling
    return order * longest_edge(operation.operator, fine.points) + family_radius(fine, coarse)
