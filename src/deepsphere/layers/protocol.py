"""The protocol by which layers and models pass on their sampling.

A layer or model follows it if its class has

- ``sampling``: the sampling of the input, or None until it is known;
- ``output_sampling``: the sampling of the output; raises ValueError while ``sampling`` is None;
- ``compute_output_sampling(sampling)``: the sampling of the output for a sampling of the input;
- ``bind(sampling, graph=None)``: puts the layer on a sampling and returns it.

`deepsphere.layers.SphereLayer`, `deepsphere.layers.GraphConvLSTM` and the models do. The functions
of this module apply the protocol to any Keras layer, including those that contain or wrap such a
layer.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, ref

import keras

from deepsphere.graph import Graph
from deepsphere.sampling import Sampling

_shared: WeakKeyDictionary[Sampling, ref[Sampling]] = WeakKeyDictionary()


def share(sampling: Sampling) -> Sampling:
    """Return the sampling in use that equals `sampling`, or `sampling` itself if it is the first.

    Layers on equal samplings thus hold the same object, which stores its points, areas and coarser
    levels once.
    """
    known = _shared.get(sampling)
    first = None if known is None else known()
    if first is None:
        _shared[sampling] = ref(sampling)
        return sampling
    return first


def follows_protocol(layer: Any) -> bool:
    """Return whether a layer has ``bind`` and ``compute_output_sampling``."""
    return hasattr(type(layer), "bind") and hasattr(type(layer), "compute_output_sampling")


def require_same_sampling(layer: Any, sampling: Sampling) -> None:
    """Raise ValueError if a layer or model is on another sampling."""
    if layer.sampling is None or layer.sampling == sampling:
        return
    remedy = (
        "Build the model for that sampling"
        if isinstance(layer, keras.Model)
        else "Leave out its sampling=..., and make a new layer for each model"
    )
    raise ValueError(
        f"{type(layer).__name__} {layer.name!r} is on {layer.sampling}, but the model puts it on "
        f"{sampling}. {remedy}"
    )


def bind(layer: Any, sampling: Sampling, graph: Graph | None = None) -> Any:
    """Put any Keras layer on a sampling.

    Parameters
    ----------
    layer : keras.layers.Layer
        A layer or model that follows the protocol, a wrapper around one, such as
        `keras.layers.TimeDistributed`, or any other layer, which is left unchanged.
    sampling : Sampling
        Sampling of the input.
    graph : Graph, optional
        The model's graph, see `deepsphere.layers.SphereLayer.bind`.

    Returns
    -------
    keras.layers.Layer
        The same layer, or a replacement for layers of the earlier TensorFlow implementation.

    Raises
    ------
    ValueError
        If the layer is on another sampling or graph, or `sampling` lacks the resolution of its
        output.
    """
    if follows_protocol(layer):
        return layer.bind(sampling, graph)
    inner = _wrapped(layer)
    if not inner:
        return layer
    bound = {name: bind(part, sampling, graph) for name, part in inner.items()}
    if all(bound[name] is part for name, part in inner.items()):
        return layer
    return type(layer)(**{**layer.get_config(), **bound})


def _wrapped(layer: Any) -> dict[str, Any]:
    """Return the layers inside a wrapper, by their names in its configuration."""
    if isinstance(layer, keras.layers.Bidirectional):  # not a subclass of `Wrapper`
        return {"layer": layer.forward_layer, "backward_layer": layer.backward_layer}
    return {"layer": layer.layer} if isinstance(layer, keras.layers.Wrapper) else {}


def without_sampling(layer: Any, written: dict[str, Any]) -> dict[str, Any]:
    """Return a layer as Keras writes it, without the sampling that `bind` sets again on loading.

    Parameters
    ----------
    layer : keras.layers.Layer
        The layer.
    written : dict
        A result of `keras.saving.serialize_keras_object`.

    Returns
    -------
    dict
        The same dict for models, which need their sampling, and for layers that do not follow the
        protocol. If the sampling is left out, so are the shapes that the layer was built for,
        because Keras would otherwise build the layer before it is bound.
    """
    config = dict(written["config"])
    if follows_protocol(layer):
        if isinstance(layer, keras.Model) or config.get("sampling") is None:
            return written
        config["sampling"] = None
    else:
        for name, part in _wrapped(layer).items():
            if name in config:
                config[name] = without_sampling(part, config[name])
        if all(config[name] is value for name, value in written["config"].items()):
            return written
    written = {**written, "config": config}
    written.pop("build_config", None)
    return written


def find_output_sampling(layer: Any) -> Sampling | None:
    """Return the sampling of the output of any Keras layer, or None if it is unknown.

    Parameters
    ----------
    layer : keras.layers.Layer
        A layer or model of this package, a wrapper around one, or a functional model that contains
        some; the last of them counts.

    Returns
    -------
    Sampling or None
        The sampling of the output.
    """
    if follows_protocol(layer):
        # A model can know where its output is but not its input. A layer on a matrix knows neither.
        known = layer.sampling is not None or isinstance(layer, keras.Model)
        return layer.output_sampling if known else None
    for inner in _wrapped(layer).values():
        return find_output_sampling(inner)
    if isinstance(layer, keras.Sequential):
        found = (find_output_sampling(inner) for inner in reversed(layer.layers))
        return next((sampling for sampling in found if sampling is not None), None)
    if isinstance(layer, keras.Model) and hasattr(layer, "operations"):
        return last_sampling(layer)
    return None


def compute_output_sampling(layer: Any, sampling: Sampling) -> Sampling:
    """Return the sampling of the output of any Keras layer for a sampling of its input.

    Parameters
    ----------
    layer : keras.layers.Layer
        Any layer. Layers without a sampling are assumed to preserve it.
    sampling : Sampling
        Sampling of the input.

    Returns
    -------
    Sampling
        The sampling of the output.

    Raises
    ------
    ValueError
        If the layer does not fit the sampling.
    """
    if follows_protocol(layer):
        return share(layer.compute_output_sampling(sampling))
    for inner in _wrapped(layer).values():
        return compute_output_sampling(inner, sampling)
    if isinstance(layer, keras.Sequential):
        for inner in layer.layers:
            sampling = compute_output_sampling(inner, sampling)
        return sampling
    return find_output_sampling(layer) or sampling


def first_sampling(model: Any) -> Sampling | None:
    """Return the sampling of the single input of a functional model, or None if it is unknown."""
    if len(model.inputs) != 1:
        return None
    points = model.inputs[0].shape[1:2]
    for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            layer = node.operation
            for inner in _wrapped(layer).values() or [layer]:
                sampling = inner.sampling if follows_protocol(inner) else None
                if sampling is not None:
                    known = points in ((None,), (len(sampling),))  # else pixels changed before it
                    return sampling if known else None
    return None


def last_sampling(model: Any) -> Sampling | None:
    """Return the sampling of the last layer of a functional model that has one, or None."""
    return sampling_of_tensors(model.outputs)


def bind_to_input(layer: Any, inputs: Any) -> None:
    """Put a layer without sampling on that of its input, if this is a tensor of the functional API.

    Parameters
    ----------
    layer : keras.layers.Layer
        A layer that follows the protocol.
    inputs : Any
        First argument of its call.
    """
    tensors = keras.tree.flatten(inputs)[:1]
    if layer.sampling is None and not layer.built and isinstance(tensors[0], keras.KerasTensor):
        sampling = sampling_of_tensors(tensors)
        if sampling is not None:
            layer.bind(sampling)


def sampling_of_tensors(tensors: Any) -> Sampling | None:
    """Return the sampling of tensors of the functional API, or None if no layer has set one."""
    # Search backward, breadth first, for the nearest layer with a sampling.
    queue, seen = list(keras.tree.flatten(tensors)), set()
    while queue:
        history = getattr(queue.pop(0), "_keras_history", None)
        if history is None:
            continue
        step = (id(history.operation), history.node_index)
        if step in seen:
            continue
        seen.add(step)
        sampling = find_output_sampling(history.operation)
        if sampling is not None:
            return sampling
        queue += history.operation._inbound_nodes[history.node_index].input_tensors
    return None
