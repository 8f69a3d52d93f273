"""`Sequential`, a stack of layers on a sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Self

import keras
import numpy as np
from keras.src.models import cloning
from numpy.typing import NDArray

from deepsphere.graph import Graph, GraphLike
from deepsphere.graph.spec import as_graph, graph_config, refuse_parts, with_graph
from deepsphere.layers import protocol
from deepsphere.layers.base import PACKAGE, as_sampling
from deepsphere.models.observed import ObservedPixels, carry_mask, observed_after
from deepsphere.models.saving import SavedModel
from deepsphere.ops.shapes import ensure_shape
from deepsphere.sampling import Sampling, deserialize, serialize


@keras.saving.register_keras_serializable(PACKAGE)
class Sequential(SavedModel, ObservedPixels, keras.Sequential):
    """A `keras.Sequential` on a sampling of the sphere.

    The model sets the sampling of each layer of this package, and the graph of graph layers. It
    tracks the resolution through the layers and checks that the sampling allows every change. Other
    Keras layers may stand in between. Input shape ``(batch, len(sampling), channels)``.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the input, for example ``Healpix(64)``.
    layers : sequence of keras.layers.Layer, optional
        The layers, in order; `add` appends more. As in Keras, a layer that is added to two models
        shares its weights between them. Both models must then have the same sampling and graph at
        that layer.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: `deepsphere.Graph()`.
    **kwargs
        Arguments of `keras.Sequential`: ``name``, ``trainable``.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, or `graph` is not a `Graph`, an integer or a string.
    ValueError
        If `graph` is an unknown name, a layer is on another sampling or on the graph of another
        model, or the sampling lacks a resolution that a layer needs or only partly covers its
        coarse pixels.

    Examples
    --------
    >>> import keras
    >>> from deepsphere.layers import ChebyshevConv, Pool
    >>> from deepsphere.sampling import Healpix
    >>> model = Sequential(
    ...     Healpix(8),
    ...     [
    ...         ChebyshevConv(5, order=9, normalization="batch", activation="relu"),
    ...         Pool(),
    ...         ChebyshevConv(2, order=9),
    ...         keras.layers.GlobalAveragePooling1D(),
    ...     ],
    ... )
    >>> model.build((None, 768, 1))
    >>> model.output_shape
    (None, 2)
    """

    def __init__(
        self,
        sampling: Sampling,
        layers: Sequence[keras.layers.Layer] = (),
        graph: GraphLike | None = None,
        **kwargs: Any,
    ) -> None:
        sampling = as_sampling(sampling)
        refuse_parts(kwargs)
        super().__init__(**kwargs)
        self.sampling = sampling
        self.supports_masking = True
        self.graph_spec = None if graph is None else as_graph(graph)
        for layer in layers:
            self.add(layer, rebuild=False)
        if self._layers:
            self._maybe_rebuild()

    @property
    def output_sampling(self) -> Sampling:
        """Sampling of the output of the last layer that has a sampling."""
        for layer in reversed(self._layers):
            sampling = protocol.find_output_sampling(layer)
            if sampling is not None:
                return sampling
        return self.sampling

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return the sampling of the output for a sampling of the input."""
        for layer in self.layers:
            sampling = protocol.compute_output_sampling(layer, sampling)
        return sampling

    def bind(self, sampling: Sampling, graph: Graph | None = None) -> Self:  # noqa: ARG002
        """Return this model; raise ValueError if it is on another sampling."""
        protocol.require_same_sampling(self, sampling)
        return self

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Append a layer, on the current output sampling.

        Parameters
        ----------
        layer : keras.layers.Layer
            Any Keras layer. Layers of this package get the sampling and the model's graph, also
            within wrappers such as `keras.layers.TimeDistributed`.
        rebuild : bool, default True
            Whether to rebuild the model if its input shape is known.

        Raises
        ------
        ValueError
            If the layer is on another sampling or on the graph of another model, or the sampling
            lacks a resolution that it needs.
        """
        layer = protocol.bind(layer, self.output_sampling, self.graph_spec)
        super().add(layer, rebuild=rebuild)

    def _as_features(self, inputs: Any) -> Any:
        # Replace an unknown number of pixels by that of the sampling.
        inputs = super()._as_features(inputs)
        shape = tuple(getattr(inputs, "shape", None) or ())
        if len(shape) >= 2 and shape[1] is None:
            inputs = ensure_shape(inputs, (None, len(self.sampling), *[None] * (len(shape) - 2)))
        return inputs

    def build(self, input_shape: tuple[int | None, ...] | None = None) -> None:
        """Build all layers for inputs of shape ``(batch, len(sampling), channels)``."""
        if input_shape is not None and (
            len(input_shape) < 2 or input_shape[1] not in (len(self.sampling), None)
        ):
            raise ValueError(
                f"the model is on {self.sampling} and needs inputs of shape "
                f"(batch, {len(self.sampling)}, channels), got {tuple(input_shape)}"
            )
        if input_shape is not None:  # do not fix the batch size of the first batch
            input_shape = (None, len(self.sampling), *input_shape[2:])
        super().build(input_shape)

    def observed_output(self) -> NDArray[np.bool_] | None:
        """Return which pixels of the output are observed, given the layers' `SurveyMask`.

        None if all are observed or the output has no pixels.
        """
        key = tuple(map(id, self.layers))
        found = getattr(self, "_observed_output", None)
        if found is None or found[0] != key:
            found = key, observed_after(self.layers)
            object.__setattr__(self, "_observed_output", found)
        return found[1]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:  # noqa: ARG002
        """Return the mask of the output for a mask of the input."""
        return None if previous_mask is None else carry_mask(previous_mask, self.layers)

    def predicts_maps(self) -> bool:
        """Return whether the output has pixels; False before the model is built."""
        return self.built and len(self.output_shape) > 2

    def get_config(self) -> dict[str, Any]:
        """Return the model's arguments, for `from_config`."""
        config = super().get_config()
        layers = {layer.name: layer for layer in self.layers}
        config["layers"] = [
            protocol.without_sampling(layers[name], written)
            if (name := written["config"].get("name")) in layers
            else written
            for written in config["layers"]
        ]
        return {**config, **self._spherical_config()}

    def _spherical_config(self) -> dict[str, Any]:
        return {
            "sampling": serialize(self.sampling),
            "graph": graph_config(self.graph_spec),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Make a model from what `get_config` returned."""
        layers = [
            keras.saving.deserialize_keras_object(layer, custom_objects=custom_objects)
            for layer in _layers_with_whole_graphs(config, custom_objects)
        ]
        model = cls(layers=layers, **cls._arguments(config))
        shape = config.get("build_input_shape")
        if shape and not model.built:
            model.build(tuple(shape))
        return model

    @classmethod
    def _arguments(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Return the constructor's arguments in a configuration, except for the layers."""
        return {
            "name": config["name"],
            "trainable": config.get("trainable", True),
            "sampling": deserialize(config["sampling"]),
            "graph": with_graph(config)["graph"],
        }

    def clone(
        self,
        clone_function: Callable[[keras.layers.Layer], keras.layers.Layer] | None = None,
        input_tensors: Any = None,
    ) -> Self:
        """Return a model with the same layers and new weights, like `keras.models.clone_model`.

        Parameters
        ----------
        clone_function : callable, optional
            Takes a layer and returns its copy. Default: makes an equal layer.
        input_tensors : keras.KerasTensor, optional
            Input of the clone. Default: a new one.

        Returns
        -------
        Sequential
            A model of the same class on the same sampling, compiled like this one.
        """
        config = {**keras.Model.get_config(self), **self._spherical_config(), "name": self.name}
        arguments = self._arguments(config)
        model = type(self)(layers=[], **arguments)
        for layer in self.layers:
            if clone_function is None:
                written = protocol.without_sampling(layer, {"config": layer.get_config()})
                copy = type(layer).from_config(written["config"])
            else:
                copy = clone_function(layer)
            model.add(copy, rebuild=False)
        start = self._layers[0] if self._layers else None
        if input_tensors is not None:
            (tensor,) = keras.tree.flatten(input_tensors)
            model._layers.insert(0, keras.layers.InputLayer(input_tensor=tensor))
            model._maybe_rebuild()
        elif isinstance(start, keras.layers.InputLayer):
            model._layers.insert(0, type(start).from_config(start.get_config()))
            model._maybe_rebuild()
        if self.compiled:
            model.compile_from_config(self.get_compile_config())
        return model


def _layers_with_whole_graphs(
    config: dict[str, Any], custom_objects: Any = None
) -> list[dict[str, Any]]:
    """Return the layers' configurations, each with its complete graph.

    In files written before `Graph` existed, a layer could have its own number of neighbors and the
    model's Laplacian, or vice versa.
    """
    if "graph" in config:
        return list(config["layers"])

    def fill(described: dict[str, Any], outer: dict[str, Any]) -> dict[str, Any]:
        name, own = described.get("registered_name"), described["config"]
        cls = keras.saving.get_registered_object(name, custom_objects) if name else None
        if isinstance(cls, type) and issubclass(cls, keras.Model):
            return described  # has its own graph
        if getattr(cls, "on_graph", False):
            given = {part: value for part in outer if (value := own.get(part)) is not None}
            outer = {**outer, **given}
            own = {**own, **{part: outer[part] for part in outer if part in own}}
        for part in ("conv", "layer", "backward_layer"):  # of residual blocks and wrappers
            if isinstance(own.get(part), dict):
                own = {**own, part: fill(own[part], outer)}
        return {**described, "config": own}

    graph = {part: config.get(part) for part in ("neighbors", "laplacian")}
    return [fill(layer, graph) for layer in config["layers"]]


def _clone_spheres_too(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def clone(model: Any, clone_function: Any, input_tensors: Any = None) -> Any:
        if isinstance(model, Sequential):
            return model.clone(clone_function, input_tensors)
        return original(model, clone_function=clone_function, input_tensors=input_tensors)

    return clone


# `keras.models.clone_model` turns every subclass into a plain `keras.Sequential`, without its
# sampling, and offers no hook. Other models are cloned as before.
cloning._clone_sequential_model = _clone_spheres_too(cloning._clone_sequential_model)
