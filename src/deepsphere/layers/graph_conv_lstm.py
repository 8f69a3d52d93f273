"""A recurrent layer for sequences of maps: an LSTM with graph convolutions."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import keras

from deepsphere._checks import check_count
from deepsphere.graph import Graph, GraphLike
from deepsphere.graph.spec import graph_config, refuse_parts, with_graph
from deepsphere.layers.base import PACKAGE, SphereLayer
from deepsphere.layers.features import Features
from deepsphere.layers.graph_conv import ChebyshevConv
from deepsphere.layers.protocol import bind_to_input, require_same_sampling
from deepsphere.layers.sublayers import SublayerState
from deepsphere.ops.shapes import ensure_shape
from deepsphere.sampling import Sampling


@keras.saving.register_keras_serializable(PACKAGE)
class GraphConvLSTMCell(SphereLayer):
    """One step of `GraphConvLSTM`, for `keras.layers.RNN`.

    Call it on ``(inputs, [h, c])``, with inputs of shape ``(batch, points, channels)`` and states
    of shape ``(batch, points, filters)``. It returns ``(h, [h, c])``.

    Parameters
    ----------
    filters, order, sampling, graph, activation, recurrent_activation, use_bias, kernel_initializer
        See `GraphConvLSTM`.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Attributes
    ----------
    conv : ChebyshevConv
        Convolution of the concatenated channels of input and hidden state to ``4 * filters``
        channels: input gate, forget gate, candidate and output gate, in the order of Keras' LSTM.

    Raises
    ------
    TypeError, ValueError
        Under the conditions listed at `GraphConvLSTM`.
    """

    on_graph = True

    def __init__(
        self,
        filters: int,
        order: int = 4,
        *,
        sampling: Sampling | None = None,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = None,
        graph: GraphLike | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(sampling=sampling, **kwargs)
        self.filters = check_count(filters, "filters")
        self.activation = keras.activations.get(activation)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.conv = ChebyshevConv(
            4 * self.filters,
            order,
            sampling=self.sampling,
            graph=graph,
            use_bias=use_bias,
            bias_initializer=open_forget_gates,
            kernel_initializer=kernel_initializer,
            dtype=self.dtype_policy,
            name="conv",
        )

    @property
    def graph_spec(self) -> Graph | None:
        """The graph that was given, or None."""
        return self.conv.graph_spec

    @graph_spec.setter
    def graph_spec(self, graph: Graph | None) -> None:
        self.conv.graph_spec = graph

    @property
    def state_size(self) -> list[tuple[int | None, int]]:
        """Shapes of hidden state and cell state, without the batch."""
        points = None if self.sampling is None else self.input_points  # Keras asks before `bind`
        return 2 * [(points, self.filters)]

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Return states of zeros."""
        return [
            keras.ops.zeros((batch_size, *size), dtype=self.compute_dtype)
            for size in self.state_size
        ]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the convolution."""
        super().build(input_shape)
        channels = int(input_shape[2]) + self.filters  # type: ignore[arg-type]
        self.conv.build((*input_shape[:2], channels))

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        """Compute one time step."""
        hidden, cell = states
        gates = self.conv(keras.ops.concatenate([inputs, hidden], axis=-1))
        into, keep, candidate, out = keras.ops.split(gates, 4, axis=-1)
        cell = self.recurrent_activation(keep) * cell + (
            self.recurrent_activation(into) * self.activation(candidate)
        )
        hidden = self.recurrent_activation(out) * self.activation(cell)
        return hidden, [hidden, cell]

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "order": self.conv.order,
            "activation": keras.activations.serialize(self.activation),
            "recurrent_activation": keras.activations.serialize(self.recurrent_activation),
            "use_bias": self.conv.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.conv.kernel_initializer),
            "graph": graph_config(self.graph_spec),
        }


@keras.saving.register_keras_serializable(PACKAGE, name="remember")  # in saved models
def open_forget_gates(shape: Any, dtype: Any = None) -> Any:
    """Return the initial bias of the four gates: 1 for the forget gates, 0 for the others."""
    filters = shape[0] // 4
    one = keras.ops.ones((filters,), dtype)
    return keras.ops.pad(one, (filters, 2 * filters))


@keras.saving.register_keras_serializable(PACKAGE)
class GraphConvLSTM(SublayerState, Features, keras.layers.RNN):
    """Convolutional LSTM on the sphere, for sequences of maps.

    An LSTM with graph convolutions instead of matrix products: ``[i, f, g, o] = [x, h] * W + b``,
    with ``c = sigmoid(f) c + sigmoid(i) tanh(g)`` and ``h = sigmoid(o) tanh(c)``. Its kernel has
    ``4 (order + 1) (channels + filters) filters`` weights, whatever the number of points.

    Input shape ``(batch, time, points, channels)``. Output shape ``(batch, points, filters)``, or
    ``(batch, time, points, filters)`` with `return_sequences`.

    Parameters
    ----------
    filters : int
        Number of channels of the output and of each of the two states.
    order : int, default 4
        Degree of the polynomials of the graph convolution. Each time step extends the receptive
        field by `order` edges.
    sampling : Sampling, optional
        Sampling of the maps. Default: set by the surrounding model.
    activation : str or callable, default "tanh"
        Keras activation of the candidate and of the cell state in the output.
    recurrent_activation : str or callable, default "sigmoid"
        Keras activation of the gates.
    use_bias : bool, default True
        Whether to add a bias. The bias of the forget gates starts at 1, so that gradients pass from
        the start (Jozefowicz et al., ICML 2015); the others start at 0.
    kernel_initializer : str or keras.Initializer, optional
        Initial kernel. Default: that of `ChebyshevConv`.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: the model's, or else `deepsphere.Graph()`.
    unroll : bool, default True
        Whether to unroll the time steps in compiled programs. With False the program loops over
        them: its size does not grow with the number of steps, which may be unknown. Training on
        TensorFlow always unrolls, because the convolution has no gradient in a TensorFlow loop; the
        number of steps must then be known.
    **kwargs
        Arguments of `keras.layers.RNN` (``return_sequences``, ``return_state``, ``go_backwards``,
        ``stateful``, ``zero_output_for_mask``) and of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `filters` or `order` is not an integer, `sampling` is not a `Sampling`, or `graph` is
        not a `Graph`, an integer or a string.
    ValueError
        If `filters` is less than 1, `order` is not in [0, 1000], or `graph` is an unknown name.
        When the layer is built: if the input does not have shape
        ``(batch, time, points, channels)`` with the sampling's number of points. When it trains on
        TensorFlow with ``unroll=False``: if the number of steps is unknown.

    Notes
    -----
    On the TensorFlow backend the layer requires TensorFlow 2.21: with 2.18, training crashes in one
    run of four; 2.19 and 2.20 were not tried.

    Shi et al., "Convolutional LSTM network", arXiv 1506.04214, without the peephole connections
    (pointwise products of gates with the cell state); with graph convolutions, Seo et al., arXiv
    1612.07659. The mask is Keras' mask for sequences, of shape ``(batch, time)``, and marks the
    steps to use.

    To use a fixed number of steps as channels of a network without memory, put the Keras layers
    ``Permute((2, 1, 3))`` and ``Reshape((points, time * channels))`` before it.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> layer = GraphConvLSTM(5, order=2, sampling=Healpix(4))
    >>> tuple(layer(np.zeros((2, 3, 192, 1), "float32")).shape)
    (2, 192, 5)
    """

    on_graph: ClassVar[bool] = True
    unroll: Any

    def __init__(
        self,
        filters: int,
        order: int = 4,
        *,
        sampling: Sampling | None = None,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = None,
        graph: GraphLike | None = None,
        unroll: bool = True,
        **kwargs: Any,
    ) -> None:
        refuse_parts(kwargs)
        cell = GraphConvLSTMCell(
            filters,
            order,
            sampling=sampling,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            graph=graph,
            dtype=kwargs.get("dtype"),
            name="cell",
        )
        super().__init__(cell, unroll=unroll, **kwargs)

    @property
    def sampling(self) -> Sampling | None:
        """Sampling of the maps; None until a model sets it."""
        return self.cell.sampling

    @property
    def graph_spec(self) -> Graph | None:
        """The graph that was given, or None."""
        return self.cell.graph_spec

    @property
    def output_sampling(self) -> Sampling:
        """Sampling of the output, the same as that of the input."""
        return self.cell.output_sampling

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return the sampling of the output for a sampling of the input, which is the same."""
        return self.cell.compute_output_sampling(sampling)

    def bind(self, sampling: Sampling, graph: Graph | None = None) -> Self:
        """Put this layer on a sampling and return it, see `SphereLayer.bind`."""
        require_same_sampling(self, sampling)
        self.cell.bind(sampling, graph)
        self.state_size = list(self.cell.state_size)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer; in the functional API, take the sampling of the input if it has none."""
        if args:
            bind_to_input(self, args[0])
        return super().__call__(*args, **kwargs)

    def _as_features(self, inputs: Any) -> Any:
        inputs = super()._as_features(inputs)
        shape = tuple(getattr(inputs, "shape", None) or ())
        if len(shape) == 4 and shape[2] is None:
            inputs = ensure_shape(inputs, (None, None, self.cell.input_points, None))
        return inputs

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Build the cell."""
        points = self.cell.input_points
        if len(sequences_shape) != 4 or sequences_shape[3] is None:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} needs inputs of shape (batch, time, "
                f"{points}, channels) with a known number of channels, got "
                f"{tuple(sequences_shape)}"
            )
        super().build(sequences_shape, initial_state_shape)
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={2: points, 3: sequences_shape[3]})

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = False,
    ) -> Any:
        """Loop over the time steps."""
        if mask is not None and len(mask.shape) != 2:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} needs a mask of shape (batch, time), which "
                f"marks the time steps to use, got {tuple(mask.shape)}: to leave out pixels, use "
                "deepsphere.models.TemporalUNet(mask=...)"
            )
        unroll = self.unroll
        if training and keras.backend.backend() == "tensorflow" and not unroll:
            if sequences.shape[1] is None:
                raise ValueError(
                    f"{type(self).__name__} {self.name!r} needs a known number of steps to train "
                    f"on TensorFlow, got inputs of shape {tuple(sequences.shape)}: pass the "
                    "number to keras.Input, or train on another backend"
                )
            self.unroll = True
        try:
            return super().call(sequences, initial_state, mask, training)
        finally:
            self.unroll = unroll

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:  # noqa: ARG002
        """Return the shape of the output and, with `return_state`, of the states."""
        state = (sequences_shape[0], self.cell.output_points, self.cell.filters)
        output = (*state[:1], sequences_shape[1], *state[1:]) if self.return_sequences else state
        return (output, state, state) if self.return_state else output

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        cell = self.cell.get_config()
        for name in ("frozen", "quantized"):  # the layer's own entries cover all sublayers
            cell.pop(name, None)
        config = {**cell, **super().get_config()}  # the layer's name wins
        del config["cell"]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> GraphConvLSTM:  # noqa: ARG003
        """Make a layer from what `get_config` returned."""
        return cls(**with_graph(config))
