"""Base classes of the layers: `SphereLayer` and, for layers with a kernel, `SphereConv`."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any, ClassVar, Self, cast
from warnings import catch_warnings, simplefilter

import keras

from deepsphere._checks import check_count
from deepsphere.graph import Graph, resolve_graph
from deepsphere.graph.spec import refuse_parts, with_graph
from deepsphere.layers import protocol
from deepsphere.layers.features import Features
from deepsphere.layers.masking import resample_mask
from deepsphere.layers.renamed import RENAMED_IN_LAYERS, refuse_old_names, with_new_names
from deepsphere.layers.sublayers import SublayerState
from deepsphere.ops.arguments import refuse_masked
from deepsphere.ops.shapes import ensure_shape
from deepsphere.sampling import Sampling, deserialize, serialize
from deepsphere.sampling.base import check_sampling

PACKAGE = "deepsphere"
"""Package name under which classes are registered with Keras."""


def as_sampling(sampling: Any, name: str = "sampling") -> Sampling:
    """Return a `Sampling`, deserialized if it is a dict; raise TypeError for anything else.

    Equal samplings are returned as one object.
    """
    if isinstance(sampling, dict):  # as written by get_config
        sampling = deserialize(sampling)
    return protocol.share(check_sampling(sampling, name))


class SphereLayer(SublayerState, Features, keras.layers.Layer):
    """Base class of layers that work on the points of a sampling.

    The sampling comes from the constructor, later from the surrounding model (`bind`), or in the
    functional API from the previous layer. The input has shape
    ``(batch, len(sampling), channels)``. Integers and booleans are cast to the layer's precision;
    complex numbers raise TypeError.

    To write a subclass:

    - add its own arguments to `get_config`;
    - override `compute_output_sampling` if it changes the resolution;
    - call ``super().build`` first if it has weights or sublayers, to check the input;
    - override `bind` if the constructor makes sublayers at another resolution than the input's;
    - if it mixes pixels, take ``mask`` in `call` and leave out unobserved pixels (see
      `deepsphere.layers.masking`).

    Parameters
    ----------
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    **kwargs
        Arguments of `keras.layers.Layer`: ``name``, ``dtype``, ``trainable``.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`.
    """

    on_graph: ClassVar[bool] = False
    """Whether the layer runs on a graph and takes the argument ``graph``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show the arguments of the constructor in `help`, which those of `__new__` would hide."""
        super().__init_subclass__(**kwargs)
        shown = signature(cls.__init__)
        cls.__signature__ = shown.replace(parameters=list(shown.parameters.values())[1:])

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Store the constructor's arguments for copies; refuse those that have other names now."""
        refuse_old_names(cls.__name__, kwargs, cls._renamed())
        layer = super().__new__(cls, *args, **kwargs)
        kept = {name: value for name, value in kwargs.items() if name != "sampling"}
        # Keras' `__setattr__` would track layers among the arguments.
        object.__setattr__(layer, "_given", (args, kept))
        return layer

    def __init__(self, *, sampling: Sampling | None = None, **kwargs: Any) -> None:
        if self.on_graph:
            refuse_parts(kwargs)
        super().__init__(**kwargs)
        self.sampling = None if sampling is None else as_sampling(sampling)
        self.supports_masking = True
        if self.sampling is not None:
            self.output_sampling  # noqa: B018  raises now if the resolution does not exist

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer; refuse NumPy masked arrays, whose mask would be lost.

        In the functional API, a layer without sampling takes that of its input.
        """
        for value in (*args, *kwargs.values()):
            refuse_masked(value, "the input")
        if args:
            protocol.bind_to_input(self, args[0])
        return super().__call__(*args, **kwargs)

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return the sampling of the output for a sampling of the input: by default the same."""
        return sampling

    _levels: tuple[Sampling | None, Sampling] | None = None  # samplings of input and output

    @property
    def output_sampling(self) -> Sampling:
        """Sampling of the output; raises ValueError while `sampling` is None."""
        if self._levels is None or self._levels[0] is not self.sampling:
            self._set_levels(self.require_sampling())
        return cast(tuple[Sampling | None, Sampling], self._levels)[1]

    def _set_levels(self, sampling: Sampling) -> None:
        levels = sampling, protocol.share(self.compute_output_sampling(sampling))
        object.__setattr__(self, "_levels", levels)  # some backends would wrap the tuple

    def require_sampling(self) -> Sampling:
        """Return the sampling of the input; raise ValueError if none was set."""
        if self.sampling is None:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} does not know the sampling of its input: "
                "pass sampling=..., add it to a deepsphere.models.Sequential, or call it on the "
                "output of another layer in the functional API"
            )
        return self.sampling

    @property
    def input_points(self) -> int:
        """Number of pixels of the input."""
        return len(self.require_sampling())

    @property
    def output_points(self) -> int:
        """Number of pixels of the output."""
        return len(self.output_sampling)

    _graph_is_of_model = False  # whether `bind` has set the graph

    def bind(self, sampling: Sampling, graph: Graph | None = None) -> Self:
        """Put this layer on a sampling.

        Models call it when a layer is added. Sublayers are bound too, if they follow the protocol
        and are not on another sampling.

        Parameters
        ----------
        sampling : Sampling
            Sampling of the input.
        graph : Graph, optional
            The model's graph, used by graph layers without a graph of their own.

        Returns
        -------
        SphereLayer
            This layer. It may be bound again, also once it is built, to an equal sampling and
            graph.

        Raises
        ------
        ValueError
            If the layer is already on another sampling or on the graph of another model, or
            `sampling` lacks the resolution of the layer's output.
        """
        sampling = as_sampling(sampling)
        protocol.require_same_sampling(self, sampling)
        if self.sampling is None:
            self._set_levels(sampling)  # raises before anything changes
        if self.on_graph:
            self._take_graph(sampling, graph)
        self.sampling = sampling
        if not self.built:
            graph = self.graph_spec if self.on_graph else graph
            for layer in self._flatten_layers(include_self=False, recursive=False):
                if getattr(layer, "sampling", None) in (None, sampling):
                    protocol.bind(layer, sampling, graph)
        return self

    graph_spec: Graph | None  # of layers on a graph

    def _take_graph(self, sampling: Sampling, graph: Graph | None) -> None:
        """Use a model's graph, unless the layer has its own."""
        if not (self.graph_spec is None or self._graph_is_of_model):
            return
        if not (self.built or self._graph_is_of_model):
            self.graph_spec = graph
        elif self.graph_spec != graph:
            own, new = (resolve_graph(sampling, each) for each in (self.graph_spec, graph))
            if own != new:
                raise ValueError(
                    f"{type(self).__name__} {self.name!r} runs on {own}, but its model runs on "
                    f"{new}. Make a new layer for each model, or pass the same graph=... to both "
                    "models or to the layer"
                )
        self._graph_is_of_model = True

    @classmethod
    def _renamed(cls) -> dict[str, str]:
        """Return the new names of arguments, except those that the class itself has."""
        own = signature(cls).parameters
        return {old: new for old, new in RENAMED_IN_LAYERS.items() if old not in own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a layer from what `get_config` returned."""
        config = with_new_names(config, cls._renamed())
        if cls.on_graph:
            config = with_graph(config)
        if isinstance(config.get("sampling"), dict):  # Keras keeps the arguments of constructors
            config = {**config, "sampling": as_sampling(config["sampling"])}
        layer: Self = super().from_config(config)
        return layer

    def _copy_with(self, **changes: Any) -> Self:
        """Return an unbuilt copy with some arguments changed."""
        return type(self).from_config({**self._arguments(), **changes})

    def _arguments(self) -> dict[str, Any]:
        """Return the configuration with the objects themselves instead of serialized ones.

        Only objects registered with Keras can be deserialized. Arguments of a subclass that are
        missing from its configuration keep the values that the constructor got.
        """
        with catch_warnings():
            simplefilter("ignore")  # about lambdas that cannot be saved: nothing is saved here
            config = self.get_config()
        for name in config:
            value = getattr(self, name, None)
            if callable(value) and not isinstance(value, keras.layers.Layer):
                config[name] = value
        config["dtype"] = self.dtype_policy
        if self.sampling is not None:
            config["sampling"] = self.sampling
        return {**self._given_arguments(), **config}

    def _given_arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        args, kwargs = self._given
        bound = signature(type(self)).bind_partial(*args, **kwargs)
        given: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = bound.signature.parameters[name].kind
            given.update(value if kind is Parameter.VAR_KEYWORD else {name: value})
        return given

    def _as_features(self, inputs: Any) -> Any:
        # Replace an unknown number of pixels by that of the sampling.
        inputs = super()._as_features(inputs)
        shape = tuple(getattr(inputs, "shape", None) or ())
        if len(shape) == 3 and shape[1] is None:
            inputs = ensure_shape(inputs, (None, self.input_points, None))
        return inputs

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Check the shape of the input; raise ValueError if it does not match the sampling."""
        points = self.input_points
        if len(input_shape) != 3:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} needs inputs of shape (batch, pixels, "
                f"channels), got {tuple(input_shape)}"
            )
        # An unknown number of pixels is checked at run time, by `__call__`.
        if input_shape[1] not in (points, None) or input_shape[2] is None:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} is on {self.sampling or 'a graph'} and needs "
                f"inputs of shape (batch, {points}, channels), got {tuple(input_shape)}; the "
                "number of channels must be known"
            )
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={1: points, 2: int(input_shape[2])})

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:  # noqa: ARG002
        """Return the mask of the output for a mask of the input."""
        if previous_mask is None:
            return None
        return resample_mask(previous_mask, self.input_points, self.output_points)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        sampling = None if self.sampling is None else serialize(self.sampling)
        return {**super().get_config(), "sampling": sampling}


class SphereConv(SphereLayer):
    """Base class of layers with a kernel and an optional bias and activation.

    Parameters
    ----------
    filters : int or None
        Number of output channels; None means the number of input channels.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    use_bias : bool, default True
        Whether to add a bias to each output channel.
    activation : str or callable, optional
        Keras activation. Default: the identity.
    kernel_initializer : str or keras.Initializer, optional
        Initial kernel. Default: the layer's own.
    bias_initializer : str or keras.Initializer, default "zeros"
        Initial bias.
    kernel_regularizer, bias_regularizer : str or keras.Regularizer, optional
        Penalties on kernel and bias. Default: none.
    kernel_constraint, bias_constraint : str or keras.Constraint, optional
        Constraints on kernel and bias. Default: none.
    **kwargs
        Arguments of `SphereLayer`.

    Raises
    ------
    TypeError
        If `filters` is not an integer or `sampling` is not a `Sampling`.
    ValueError
        If `filters` is less than 1, or Keras does not know an activation, initializer, regularizer
        or constraint.
    """

    def __init__(
        self,
        filters: int | None,
        *,
        sampling: Sampling | None = None,
        use_bias: bool = True,
        activation: Any = None,
        kernel_initializer: Any = None,
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(sampling=sampling, **kwargs)
        self.filters = None if filters is None else check_count(filters, "filters")
        self.use_bias = bool(use_bias)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)

    def _add_weights(
        self, kernel_shape: tuple[int, ...], default_initializer: Any, filters: int
    ) -> None:
        # Products are computed in single precision, so casting the kernel to half precision
        # would only lose digits.
        self.kernel = self.add_weight(
            name="kernel",
            shape=kernel_shape,
            initializer=self.kernel_initializer or default_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            autocast=False,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def _add_bias_and_activate(self, y: Any) -> Any:
        if self.bias is not None:
            y = y + self.bias
        return self.activation(y)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "use_bias": self.use_bias,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }
