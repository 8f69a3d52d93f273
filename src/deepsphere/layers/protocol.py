"""The protocol by which layers and models pass on their sampling.

Classes with ``bind`` and ``output_sampling`` follow it: `deepsphere.layers.SphereLayer`,
`deepsphere.layers.GraphConvLSTM` and the models. The functions of this module apply it to any Keras
layer, including those that contain or wrap such a layer.
"""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.graph import Graph
from deepsphere.sampling import Sampling


def follows_protocol(layer: Any) -> bool:
    """Return whether a layer has ``bind`` and ``output_sampling``."""
    kind = type(layer)  # the property of an instance raises before a sampling is set
    return hasattr(kind, "bind") and hasattr(kind, "output_sampling")


def is_bound_by_copy(layer: Any) -> bool:
    """Return whether `bind` copies the layer, whose sampling then need not be saved with it."""
    return follows_protocol(layer) and not isinstance(layer, keras.Model)


def bind(layer: Any, sampling: Sampling, graph: Graph | None = None) -> Any:
    """Put any Keras layer on a sampling.

    Parameters
    ----------
    layer : keras.layers.Layer
        Layers of this package and wrappers around them, such as `keras.layers.TimeDistributed`, are
        copied. Models, which must already be on the sampling, and all other layers are returned
        unchanged.
    sampling : Sampling
        Sampling of the input.
    graph : Graph, optional
        The model's graph, see `deepsphere.layers.SphereLayer.bind`.

    Returns
    -------
    keras.layers.Layer
        The layer on the sampling.

    Raises
    ------
    ValueError
        If the layer is on another sampling, or `sampling` lacks the resolution of its output.
    """
    if follows_protocol(layer):
        return layer.bind(sampling, graph)
    inner = _wrapped(layer)
    bound = None if inner is None else bind(inner, sampling, graph)
    if bound is inner:
        return layer
    config = layer.get_config()
    del config["layer"]
    if "backward_layer" in config:  # of `keras.layers.Bidirectional`
        config["backward_layer"] = bind(layer.backward_layer, sampling, graph)
    return type(layer)(bound, **config)


def _wrapped(layer: Any) -> Any:
    if isinstance(layer, keras.layers.Bidirectional):  # not a subclass of `Wrapper`
        return layer.forward_layer
    return layer.layer if isinstance(layer, keras.layers.Wrapper) else None


def find_output_sampling(layer: Any) -> Sampling | None:
    """Return the sampling of the output of any Keras layer, or None if it is unknown.

    Parameters
    ----------
    layer : keras.layers.Layer
        A layer or model of this package, a wrapper around one, or a functional model that contains
        some, the last of which counts.

    Returns
    -------
    Sampling or None
        The sampling of the output.
    """
    if follows_protocol(layer):
        return layer.output_sampling
    inner = _wrapped(layer)
    if inner is not None:
        return find_output_sampling(inner)
    if isinstance(layer, keras.Sequential):
        found = (find_output_sampling(inner) for inner in reversed(layer.layers))
        return next((sampling for sampling in found if sampling is not None), None)
    if isinstance(layer, keras.Model) and hasattr(layer, "operations"):
        return _of_functional(layer)
    return None


def _of_functional(model: Any) -> Sampling | None:
    # Search backward from the output, breadth first, for the nearest layer with a sampling.
    queue, seen = list(keras.tree.flatten(model.outputs)), set()
    while queue:
        history = queue.pop(0)._keras_history
        step = (id(history.operation), history.node_index)
        if step in seen:
            continue
        seen.add(step)
        sampling = find_output_sampling(history.operation)
        if sampling is not None:
            return sampling
        queue += history.operation._inbound_nodes[history.node_index].input_tensors
    return None
