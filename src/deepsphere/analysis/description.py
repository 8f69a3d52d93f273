"""Resolution, receptive field, parameters and cost of each layer of a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import singledispatch
from math import degrees, inf, pi, prod
from typing import Any, NamedTuple

import keras

from deepsphere.analysis.receptive_field import finer, spread
from deepsphere.layers import (
    ConvPool,
    GaussianSmoothing,
    GraphConv,
    MaxUnpool,
    PatchConv,
    PatchConvTranspose,
    Pool,
    Resample,
    SmoothPool,
    TransformerBlock,
    Unpool,
)
from deepsphere.layers.graph_transformer import NeighborTransformerBlock
from deepsphere.layers.protocol import follows_protocol
from deepsphere.ops import plan
from deepsphere.sampling import Sampling

Shape = tuple[int | None, ...]


class LayerDescription(NamedTuple):
    """One layer of a model, in the order of computation.

    Attributes
    ----------
    name, type : str
        Name and class of the layer. A layer of a nested model is named ``"outer/inner"``.
    sampling : Sampling or None
        Sampling of the output; None if it has no pixels or its sampling is unknown.
    pixels, channels : int or None
        Shape of the output; `pixels` is None if it has only channels.
    receptive_field : float
        Radius in degrees around an output pixel outside of which no value of the model's input
        affects it. It is an upper bound, summed over the layers, and infinite if the pixel may
        depend on the whole sphere, as after a mean over all pixels.
    parameters : int
        Number of weights, trainable or not; 0 for a layer that is already listed.
    multiply_adds : int
        Number of multiply-adds for one map. Elementwise operations count as 0.
    """

    name: str
    type: str
    sampling: Sampling | None
    pixels: int | None
    channels: int | None
    receptive_field: float
    parameters: int
    multiply_adds: int

    @property
    def nside(self) -> int | None:
        """Nside of the output; None if it is not on HEALPix."""
        return getattr(self.sampling, "nside", None)


class _Flow(NamedTuple):
    """Receptive field, in rad, and sampling of a tensor in the network's graph."""

    radius: float
    sampling: Sampling | None


def describe(model: keras.Model) -> list[LayerDescription]:
    """Describe the layers of a model.

    The receptive field of a layer is the largest among its inputs plus a distance that depends on
    the layer (see `deepsphere.analysis.receptive_field.spread`):

    - graph convolution: `order` times the longest edge of its graph;
    - attention to neighbors: the longest edge;
    - pooling and other changes of resolution: the largest distance from the center of a coarse
      pixel to the fine pixels it contains;
    - layers that mix all pixels, and unknown layers: the whole sphere.

    Layers such as batch normalization count as in inference.

    Parameters
    ----------
    model : keras.Model
        A built model: a `deepsphere.models.Sequential`, a functional model, or a subclassed one.

    Returns
    -------
    list of LayerDescription
        One entry per layer and use of it, except for inputs.

    Raises
    ------
    TypeError
        If `model` is not a Keras model.
    ValueError
        If `model` is not built or has no DeepSphere layer.

    Examples
    --------
    >>> from deepsphere.demo.network import quick_start_network
    >>> for row in describe(quick_start_network(16))[:2]:
    ...     print(row.type, row.nside, row.channels, round(row.receptive_field), row.multiply_adds)
    ChebyshevConv 16 5 87 739032
    Pool 8 5 90 0
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a Keras model, got {type(model).__name__}")
    if not any(follows_protocol(layer) for layer in model._flatten_layers()):
        raise ValueError(f"model {model.name!r} has no DeepSphere layer")
    if not model.built:
        raise ValueError(
            f"model {model.name!r} is not built: call it once, or call build((None, pixels, "
            "channels))"
        )
    rows: list[LayerDescription] = []
    inputs = describe_inputs(model)
    _Walk(rows).inside(model, [t for t, _ in inputs], [_Flow(0.0, s) for _, s in inputs])
    return rows


def describe_inputs(model: keras.Model) -> list[tuple[keras.KerasTensor, Sampling | None]]:
    """Return the inputs of a built model and their samplings.

    Parameters
    ----------
    model : keras.Model
        A built model.

    Returns
    -------
    list of (keras.KerasTensor, Sampling or None)
        One pair per input. The sampling is None if no layer has one with that number of pixels.
    """
    tensors = getattr(model, "inputs", None)  # functional and sequential models have them
    if not tensors:
        tensors = [keras.KerasTensor((None, *model.get_build_config()["input_shape"][1:]))]
    samplings = [getattr(layer, "sampling", None) for layer in model._flatten_layers()]
    sizes = {len(s): s for s in reversed(samplings) if isinstance(s, Sampling)}
    return [(tensor, sizes.get(_points(tensor.shape) or 0)) for tensor in tensors]


def _points(shape: Shape) -> int | None:
    return shape[1] if len(shape) == 3 else None


class _Walk:
    """Traversal of a network's graph in the order of computation."""

    def __init__(self, rows: list[LayerDescription]) -> None:
        self.rows = rows
        self.seen: set[int] = set()

    def inside(
        self, layer: Any, inputs: Sequence[Any], flows: Sequence[_Flow], prefix: str = ""
    ) -> list[_Flow]:
        """Traverse the operations of a model or layer and return the flows of its outputs."""
        graph = _graph(layer, inputs)
        if graph is None:
            return [self._chain(layer, flows, prefix)]
        known = {id(t): flow for t, flow in zip(graph.inputs, flows, strict=True)}
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if not node.is_input:
                    found = self._step(node, [known[id(t)] for t in node.input_tensors], prefix)
                    known.update(zip(map(id, node.outputs), found, strict=True))
        return [known[id(t)] for t in graph.outputs]

    def _step(self, node: Any, flows: list[_Flow], prefix: str) -> list[_Flow]:
        operation = node.operation
        if isinstance(operation, keras.Model):
            inner = f"{prefix}{operation.name}/"
            return self.inside(operation, node.input_tensors, flows, inner)
        # Masks have no sampling, so prefer the features.
        widest = max(flows, key=lambda flow: (flow.radius, flow.sampling is not None))
        if isinstance(operation, keras.layers.Layer):
            flow = self._layer(operation, node.input_tensors, widest, node.outputs[0].shape, prefix)
            return [flow] * len(node.outputs)
        radius = _add(widest.radius, spread(operation, widest.sampling))
        return [
            # Masks depend on the survey, not on the measured values.
            _Flow(0.0 if t.dtype == "bool" else radius, _carried(widest.sampling, t.shape))
            for t in node.outputs
        ]

    def _layer(
        self, layer: Any, inputs: Sequence[Any], flow: _Flow, shape: Shape, prefix: str
    ) -> _Flow:
        source = layer.sampling if follows_protocol(layer) else flow.sampling
        added = spread(layer, source)
        cost = multiply_adds(layer, shape)
        if added is None or cost is None:
            within, features = _Walk([]), [t for t in inputs if t.dtype != "bool"]
            (end, *_) = within.inside(layer, features, [_Flow(0.0, source)] * len(features))
            added = end.radius if added is None and layer._layers else added
            cost = sum(row.multiply_adds for row in within.rows) if cost is None else cost
        if follows_protocol(layer):
            sampling = None if layer.sampling is None else layer.output_sampling
        else:
            sampling = flow.sampling
        result = _Flow(_add(flow.radius, added), _carried(sampling, shape))
        known = id(layer) in self.seen
        self.seen.add(id(layer))
        self.rows.append(
            LayerDescription(
                prefix + layer.name,
                type(layer).__name__,
                result.sampling,
                shape[1] if len(shape) > 2 else None,
                shape[-1],
                degrees(result.radius),
                0 if known else layer.count_params(),
                cost,
            )
        )
        return result

    def _chain(self, layer: Any, flows: Iterable[_Flow], prefix: str) -> _Flow:
        """Chain all sublayers, which bounds the receptive field of any graph of them."""
        flow = max(flows, key=lambda flow: flow.radius)
        for sublayer in layer._layers:
            source = getattr(sublayer, "sampling", None) or flow.sampling
            points = None if source is None else len(source)
            channels = getattr(sublayer, "filters", None) or getattr(sublayer, "units", None)
            shape = (None, points, channels)
            inputs = [keras.KerasTensor((None, points, None))]
            flow = self._layer(sublayer, inputs, flow, shape, prefix)
        return flow


def _graph(layer: Any, inputs: Sequence[Any]) -> Any:
    """Return the graph of operations of a model or layer, or None if it cannot be traced."""
    if getattr(layer, "inputs", None):
        return keras.Function(layer.inputs, layer.outputs)
    starts = [keras.KerasTensor(t.shape, t.dtype) for t in inputs]
    try:
        return keras.Function(starts, layer.call(*starts))
    except Exception:  # any call may fail on symbolic tensors
        return None


def _add(radius: float, added: float | None) -> float:
    total = radius + (inf if added is None else added)
    return total if total < pi else inf


def _carried(sampling: Sampling | None, shape: Shape) -> Sampling | None:
    """Return the level of a sampling's hierarchy that matches a tensor's shape, or None."""
    points = _points(shape)
    if sampling is None or points is None:
        return None
    if points > len(sampling):
        return finer(sampling, points // len(sampling))
    return sampling if points == len(sampling) else None


@singledispatch
def multiply_adds(layer: Any, output_shape: Shape) -> int | None:
    """Return the number of multiply-adds of a layer for one map.

    Register other types of layers with ``@multiply_adds.register``.

    Parameters
    ----------
    layer : keras.layers.Layer
        A built layer.
    output_shape : tuple
        Shape of its output. The batch size is ignored.

    Returns
    -------
    int or None
        Number of multiply-adds; None if it is the sum over the layer's sublayers.
    """
    if layer._layers:
        return None
    kernel = getattr(layer, "kernel", None)
    if kernel is None or len(kernel.shape) < 2:
        return 0
    return prod(kernel.shape) * prod(n or 1 for n in output_shape[1:-1])


@multiply_adds.register
def _(layer: GraphConv, output_shape: Shape) -> int:  # noqa: ARG001
    return _of_filters(layer)


def _of_filters(layer: GraphConv) -> int:
    terms, (rows, filters) = layer.order + 1, layer.kernel.shape
    channels = rows // terms
    clenshaw = not layer.depthwise and plan.clenshaw_is_narrower(channels, filters)
    columns = filters if clenshaw else channels
    sparse = layer.order * layer.operator.nnz * columns
    return sparse + len(layer.operator) * terms * channels * filters


@multiply_adds.register(PatchConv)
@multiply_adds.register(PatchConvTranspose)
def _(layer: Any, output_shape: Shape) -> int:  # noqa: ARG001
    return prod(layer.kernel.shape) * min(layer.input_points, layer.output_points)


@multiply_adds.register
def _(layer: TransformerBlock, output_shape: Shape) -> int:  # noqa: ARG001
    n, width = layer.input_points, layer.key_dim * layer.num_heads
    pairs = layer.pattern.nnz if isinstance(layer, NeighborTransformerBlock) else n**2
    return 4 * n * width**2 + 2 * pairs * width


@multiply_adds.register
def _(layer: GaussianSmoothing, output_shape: Shape) -> int:  # noqa: ARG001
    return sum(
        beam.passes * beam.operator.nnz * len(channels)
        for beam, channels in zip(layer._beams, layer._channels, strict=True)
        if beam is not None
    )


@multiply_adds.register
def _(layer: SmoothPool, output_shape: Shape) -> int:
    filtering = (len(layer.coefficients) - 1) * layer.operator.nnz
    return (filtering + _means(layer)) * int(output_shape[2] or 1)


@multiply_adds.register
def _(layer: ConvPool, output_shape: Shape) -> int:
    filtering = _of_filters(layer)
    return filtering + _means(layer._pool) * int(output_shape[2] or 1)


@multiply_adds.register
def _(layer: Pool, output_shape: Shape) -> int:
    return _means(layer) * int(output_shape[2] or 1)


def _means(pool: Pool) -> int:
    """Return the number of weights in weighted means; 0 for maxima and unweighted means."""
    return 0 if pool.mode == "max" or pool._children is not None else pool._mean.nnz


@multiply_adds.register
def _(layer: Unpool, output_shape: Shape) -> int:
    if layer._children is not None:
        return 0
    products = 2 if isinstance(layer, MaxUnpool) else 1  # of the features and of the maxima
    return products * layer._map.nnz * int(output_shape[2] or 1)


@multiply_adds.register
def _(layer: Resample, output_shape: Shape) -> int:
    products = 2 if layer.skip_missing else 1  # of the values and of the mask
    return products * layer._map.nnz * int(output_shape[2] or 1)


@multiply_adds.register
def _(layer: keras.layers.MultiHeadAttention, output_shape: Shape) -> int:
    n = prod(k or 1 for k in output_shape[1:-1])
    projections = sum(prod(v.shape) for v in layer.weights if v.name == "kernel")
    return n * projections + n**2 * layer.num_heads * (layer.key_dim + layer.value_dim)
