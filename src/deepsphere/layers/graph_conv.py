"""Graph convolutions: learned polynomials of the graph Laplacian."""

from __future__ import annotations

from math import sqrt
from typing import Any, ClassVar

import keras

from deepsphere._checks import check_count
from deepsphere.graph import Graph, GraphLike, resolve_graph, spectral
from deepsphere.graph.spec import as_graph, graph_config
from deepsphere.layers.base import PACKAGE, SphereConv
from deepsphere.layers.masking import hide
from deepsphere.layers.normalization import BatchNormalization, check_normalization
from deepsphere.ops import (
    ACTIVATIONS,
    SparseOperator,
    chebyshev_filter,
    laplacian_operator,
    normalized_filter,
    to_chebyshev,
)
from deepsphere.sampling import Sampling

MOST_ORDER = 1000
"""Largest polynomial order. The papers' networks use 4 to 20."""


class GraphConv(SphereConv):
    """Base class of graph convolutions: ``y = activation(norm(sum_k P_k(L~) x W_k) + bias)``.

    ``L~`` is the Laplacian of the sampling's graph, its spectrum mapped into [-1, 1], and ``P_k``
    are the polynomials of a basis. The cost is linear in the number of pixels, and the output at a
    pixel depends on input pixels up to `order` edges away. Subclasses define ``basis`` and
    `default_initializer`.

    Parameters
    ----------
    filters : int, optional
        Number of output channels. Default: the number of input channels.
    order : int, default 4
        Degree of the polynomials, at most 1000; a filter has ``order + 1`` terms.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: the model's, or else `deepsphere.Graph()`.
    scale : float, optional
        Fraction of the interval [-1, 1] that the spectrum fills, in (0, 1], see
        `deepsphere.graph.rescale`. Default: 0.75 for `ChebyshevConv`, 1 for the others.
    normalization : {None, "batch"}, optional
        ``"batch"`` normalizes each channel over batch and pixels before adding the bias, with
        `deepsphere.layers.BatchNormalization` (momentum 0.9, epsilon 1e-5). It learns no offset
        and no factor, because bias and kernel already provide them.
    filter_dropout : float, default 0
        Probability, in [0, 1), of dropping each filter (all coefficients between one input and one
        output channel) in a training step. The others are scaled by ``1 / (1 - filter_dropout)``,
        which keeps the expected output. In the code of Defferrard et al., arXiv 2012.15000,
        ``dropFilt`` is the probability of keeping a filter, and the others are not scaled.
    depthwise : bool, default False
        Whether to filter each channel by its own polynomial without mixing channels, as in
        `keras.layers.DepthwiseConv1D`. This takes ``order + 1`` weights per channel and requires
        `filters` to be None or the number of input channels. To mix channels, put a
        `keras.layers.Dense` after the layer.
    use_bias, activation
        Whether to add a bias, and the Keras activation, see `SphereConv`.
    kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer
        Initial values and penalties of the weights, see `SphereConv`.
    kernel_constraint, bias_constraint
        Constraints on the weights, see `SphereConv`.
    **kwargs
        Arguments of `keras.layers.Layer`: ``name``, ``dtype``, ``trainable``.

    Attributes
    ----------
    kernel : variable, shape ((order + 1) * channels, filters)
        Row ``channel * (order + 1) + k`` holds the coefficients of ``P_k`` for an input channel,
        the layout of the earlier TensorFlow implementations. A depthwise kernel has one column.

    Raises
    ------
    TypeError
        If `filters` or `order` is not an integer, `sampling` is not a `Sampling`, or `graph` is
        not a `Graph`, an integer or a string; if the class is `GraphConv` itself.
    ValueError
        If `filters` is less than 1, `order` is not in [0, 1000], `scale` is not in (0, 1],
        `filter_dropout` is not in [0, 1), or `graph` is an unknown name. When the layer is built:
        if the input does not have shape ``(batch, pixels, channels)`` with the sampling's number of
        pixels, no sampling was set, or `depthwise` is True and `filters` differs from the number of
        input channels.
    """

    on_graph = True
    basis: ClassVar[str]
    default_scale: ClassVar[float] = 1.0

    def __init__(
        self,
        filters: int | None = None,
        order: int = 4,
        *,
        sampling: Sampling | None = None,
        graph: GraphLike | None = None,
        scale: float | None = None,
        normalization: str | None = None,
        filter_dropout: float = 0.0,
        depthwise: bool = False,
        **kwargs: Any,
    ) -> None:
        if not hasattr(type(self), "basis"):
            raise TypeError(
                f"{type(self).__name__} is a base class; use ChebyshevConv, MonomialConv or "
                "BernsteinConv"
            )
        super().__init__(filters, sampling=sampling, **kwargs)
        self.order = check_count(order, "order", least=0)
        if self.order > MOST_ORDER:
            raise ValueError(
                f"order must be at most {MOST_ORDER}, got {order}: each order costs one product "
                "with the Laplacian and extends the filter by one edge"
            )
        self.depthwise = bool(depthwise)
        self.graph_spec = None if graph is None else as_graph(graph)
        self.scale = self.default_scale if scale is None else float(scale)
        if not 0 < self.scale <= 1:
            raise ValueError(f"scale must be in (0, 1], got {scale}")
        self.normalization = check_normalization(normalization, "batch")
        self.norm = None
        if self.normalization is not None:
            self.norm = BatchNormalization(
                axis=-1,
                momentum=0.9,
                epsilon=1e-5,
                center=False,
                scale=False,
                dtype=self.dtype_policy,
                name="batch_norm",
            )
        self.filter_dropout = float(filter_dropout)
        if not 0 <= self.filter_dropout < 1:
            raise ValueError(f"filter_dropout must be in [0, 1), got {filter_dropout}")
        self.dropout = None
        if self.filter_dropout > 0:
            self.dropout = keras.layers.Dropout(
                self.filter_dropout,
                noise_shape=(None, 1, None),  # of (channels, terms, filters)
                dtype=self.variable_dtype,  # the kernel keeps its own precision
                name="filter_dropout",
            )

    def default_initializer(self, channels: int, filters: int) -> keras.Initializer:
        """Return the default kernel initializer for a number of channels and filters."""
        raise NotImplementedError

    @property
    def resolved_graph(self) -> Graph:
        """The graph that the layer runs on, with the sampling's defaults filled in."""
        return resolve_graph(self.require_sampling(), self.graph_spec)

    @property
    def spectral_bound(self) -> float:
        """Largest eigenvalue of the graph's Laplacian."""
        return spectral(self.require_sampling(), self.graph_spec).eigenvalue

    def make_operator(self) -> SparseOperator:
        """Return the rescaled Laplacian, which all layers on the same graph share."""
        return laplacian_operator(self.require_sampling(), self.graph_spec, self.scale)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Get the operator and create the weights."""
        super().build(input_shape)
        channels = int(input_shape[2])  # type: ignore[arg-type]
        filters = self.filters or channels
        self.operator = self.make_operator()
        self._to_chebyshev = to_chebyshev(self.basis, self.order)
        self._activation_name = getattr(self.activation, "__name__", "")
        if getattr(keras.activations, self._activation_name, None) is not self.activation:
            self._activation_name = ""  # a user's function with the name of a Keras activation
        # Losses of Keras on TensorFlow take the logits from the result of Keras' own sigmoid.
        included = self._activation_name in ACTIVATIONS and self._activation_name != "sigmoid"
        self._included_activation = self._activation_name if included else "linear"
        if self.depthwise and filters != channels:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} is depthwise, so filters must be None or the "
                f"{channels} channels of the input, got {filters}"
            )
        inputs, columns = (1, 1) if self.depthwise else (channels, filters)
        self._add_weights(
            ((self.order + 1) * channels, columns),
            self.default_initializer(inputs, columns),
            filters,
        )
        if self.norm is not None:
            self.norm.build((*input_shape[:2], filters))

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Filter, normalize, add the bias and activate; pixels outside `mask` count as 0."""
        x = hide(x, mask)
        kernel = self._chebyshev_kernel(training)
        # The operation applies common activations itself, to pass over its output only once.
        activation = self._included_activation
        if self.norm is None:
            y = chebyshev_filter(x, kernel, self.operator, self.bias, activation)
        elif mask is not None:  # statistics of the observed pixels only
            y = self.norm(chebyshev_filter(x, kernel, self.operator), training=training, mask=mask)
            return self._add_bias_and_activate(y)
        elif self.norm.normalizes_batches(training):
            y = self._filter_and_normalize(x, kernel, activation)
        else:
            kernel, bias = self._normalized_weights(kernel)
            y = chebyshev_filter(x, kernel, self.operator, bias, activation)
        return y if activation == self._activation_name else self.activation(y)

    def _chebyshev_kernel(self, training: bool | None) -> Any:
        """Return the coefficients in the Chebyshev basis, as the filters take them."""
        rows, filters = self.kernel.shape
        terms = self.order + 1
        kernel = keras.ops.reshape(self.kernel, (rows // terms, terms, filters))
        if self.dropout is not None:
            kernel = self.dropout(kernel, training=training)
        if self.basis != "chebyshev":
            turn = keras.ops.convert_to_tensor(self._to_chebyshev, dtype=self.variable_dtype)
            kernel = keras.ops.einsum("kj,cjf->ckf", turn, kernel)
        return keras.ops.transpose(kernel, (1, 2, 0) if self.depthwise else (1, 0, 2))

    def _filter_and_normalize(self, x: Any, kernel: Any, activation: str) -> Any:
        norm: Any = self.norm
        y, mean, variance = normalized_filter(
            x, kernel, self.operator, self.bias, norm.epsilon, activation
        )
        norm.update_statistics(mean, variance)
        return y

    def _normalized_weights(self, kernel: Any) -> tuple[Any, Any]:
        """Return kernel and bias with the normalization by moving averages folded in."""
        norm: Any = self.norm
        factor = keras.ops.rsqrt(norm.moving_variance + norm.epsilon)
        bias = -norm.moving_mean * factor
        if self.bias is not None:
            bias = bias + keras.ops.cast(self.bias, bias.dtype)
        return kernel * keras.ops.cast(factor, kernel.dtype), bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape with `filters` channels."""
        return (*input_shape[:2], self.filters or input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "order": self.order,
            "graph": graph_config(self.graph_spec),
            "scale": self.scale,
            "normalization": self.normalization,
            "filter_dropout": self.filter_dropout,
            "depthwise": self.depthwise,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class ChebyshevConv(GraphConv):
    """Graph convolution with Chebyshev polynomials, ``P_k = T_k``.

    Computes ``y = activation(norm(sum_k T_k(L~) x W_k) + bias)``, where ``L~`` is the Laplacian of
    the sampling's graph, its spectrum mapped into [-1, 1]. Input shape
    ``(batch, pixels, channels)``, output shape ``(batch, pixels, filters)``. The cost is linear in
    the number of pixels.

    Parameters
    ----------
    filters : int, optional
        Number of output channels. Default: the number of input channels.
    order : int, default 4
        Degree of the polynomials, at most 1000. The output at a pixel depends on input pixels up
        to `order` edges away.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: the model's, or else `deepsphere.Graph()`.
    scale : float, default 0.75
        Fraction of the interval [-1, 1] that the spectrum fills, in (0, 1]. 0.75 keeps the highest
        frequencies away from the end of the interval and is what earlier DeepSphere weights were
        trained with; 1 uses the whole interval.
    normalization : {None, "batch"}, optional
        ``"batch"`` normalizes each channel over batch and pixels before adding the bias (momentum
        0.9, epsilon 1e-5, no offset and no factor).
    filter_dropout : float, default 0
        Probability, in [0, 1), of dropping each filter in a training step. The others are scaled
        by ``1 / (1 - filter_dropout)``.
    depthwise : bool, default False
        Whether to filter each channel by its own polynomial without mixing channels. `filters`
        must then be None or the number of input channels.
    use_bias : bool, default True
        Whether to add a bias to each output channel.
    activation : str or callable, optional
        Keras activation. Default: the identity.
    kernel_initializer : str or keras.Initializer, optional
        Initial kernel. Default: truncated normal with standard deviation
        ``1 / sqrt(channels (order + 1.5) / 2)``, which approximately preserves the variance of the
        input.
    bias_initializer : str or keras.Initializer, default "zeros"
        Initial bias.
    kernel_regularizer, bias_regularizer : str or keras.Regularizer, optional
        Penalties on kernel and bias. Default: none.
    kernel_constraint, bias_constraint : str or keras.Constraint, optional
        Constraints on kernel and bias. Default: none.
    **kwargs
        Arguments of `keras.layers.Layer`: ``name``, ``dtype``, ``trainable``.

    Attributes
    ----------
    kernel : variable, shape ((order + 1) * channels, filters)
        Row ``channel * (order + 1) + k`` holds the coefficients of ``T_k`` for an input channel. A
        depthwise kernel has one column.
    bias : variable, shape (filters,), or None
        The bias.

    Raises
    ------
    TypeError, ValueError
        Under the conditions listed at `GraphConv`.

    Notes
    -----
    Defferrard, Bresson & Vandergheynst, arXiv 1606.09375, equation 5; on the sphere, Perraudin et
    al., arXiv 1810.12186. The initial kernel preserves the variance because
    ``sum_{k <= order} T_k(s)^2`` is about ``(order + 1.5) / 2``.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> layer = ChebyshevConv(5, order=9, sampling=Healpix(4), activation="relu")
    >>> tuple(layer(np.zeros((2, 192, 1), "float32")).shape)
    (2, 192, 5)
    """

    basis: ClassVar[str] = "chebyshev"
    default_scale: ClassVar[float] = 0.75

    def default_initializer(self, channels: int, filters: int) -> keras.Initializer:  # noqa: ARG002
        """Return an initializer that approximately preserves the variance of the input."""
        deviation = 1 / sqrt(channels * (self.order + 1.5) / 2)
        return keras.initializers.TruncatedNormal(stddev=deviation)


@keras.saving.register_keras_serializable(PACKAGE)
class MonomialConv(GraphConv):
    """Graph convolution with powers of the rescaled Laplacian, ``P_k(s) = s^k``.

    Computes ``y = activation(norm(sum_k L~^k x W_k) + bias)``, where ``L~`` is the Laplacian of the
    sampling's graph, its spectrum mapped into [-1, 1]. Input shape ``(batch, pixels, channels)``,
    output shape ``(batch, pixels, filters)``. The cost is linear in the number of pixels.

    Parameters
    ----------
    filters : int, optional
        Number of output channels. Default: the number of input channels.
    order : int, default 4
        Highest power, at most 1000. The output at a pixel depends on input pixels up to `order`
        edges away.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: the model's, or else `deepsphere.Graph()`.
    scale : float, default 1
        Fraction of the interval [-1, 1] that the spectrum fills, in (0, 1].
    normalization : {None, "batch"}, optional
        ``"batch"`` normalizes each channel over batch and pixels before adding the bias (momentum
        0.9, epsilon 1e-5, no offset and no factor).
    filter_dropout : float, default 0
        Probability, in [0, 1), of dropping each filter in a training step. The others are scaled
        by ``1 / (1 - filter_dropout)``.
    depthwise : bool, default False
        Whether to filter each channel by its own polynomial without mixing channels. `filters`
        must then be None or the number of input channels.
    use_bias : bool, default True
        Whether to add a bias to each output channel.
    activation : str or callable, optional
        Keras activation. Default: the identity.
    kernel_initializer : str or keras.Initializer, optional
        Initial kernel. Default: truncated normal with standard deviation 0.1, as in the earlier
        implementations.
    bias_initializer : str or keras.Initializer, default "zeros"
        Initial bias.
    kernel_regularizer, bias_regularizer : str or keras.Regularizer, optional
        Penalties on kernel and bias. Default: none.
    kernel_constraint, bias_constraint : str or keras.Constraint, optional
        Constraints on kernel and bias. Default: none.
    **kwargs
        Arguments of `keras.layers.Layer`: ``name``, ``dtype``, ``trainable``.

    Attributes
    ----------
    kernel : variable, shape ((order + 1) * channels, filters)
        Row ``channel * (order + 1) + k`` holds the coefficients of ``L~^k`` for an input channel. A
        depthwise kernel has one column.
    bias : variable, shape (filters,), or None
        The bias.

    Raises
    ------
    TypeError, ValueError
        Under the conditions listed at `GraphConv`.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> layer = MonomialConv(5, order=3, sampling=Healpix(4))
    >>> tuple(layer(np.zeros((2, 192, 1), "float32")).shape)
    (2, 192, 5)
    """

    basis: ClassVar[str] = "monomial"

    def default_initializer(self, channels: int, filters: int) -> keras.Initializer:  # noqa: ARG002
        """Return the initializer of the earlier implementations."""
        return keras.initializers.TruncatedNormal(stddev=0.1)


@keras.saving.register_keras_serializable(PACKAGE)
class BernsteinConv(GraphConv):
    """Graph convolution with Bernstein polynomials on the interval of the spectrum.

    Computes ``y = activation(norm(sum_k P_k(L~) x W_k) + bias)`` with
    ``P_k(s) = C(K, k) / 2^K (1 - s)^(K - k) (1 + s)^k`` and ``K = order``, where ``L~`` is the
    Laplacian of the sampling's graph, its spectrum mapped into [-1, 1]. The polynomials are
    positive and sum to 1, so the coefficients sample the frequency response, from low to high.
    Input shape ``(batch, pixels, channels)``, output shape ``(batch, pixels, filters)``. The cost
    is linear in the number of pixels.

    Parameters
    ----------
    filters : int, optional
        Number of output channels. Default: the number of input channels.
    order : int, default 4
        Degree of the polynomials, at most 1000. The output at a pixel depends on input pixels up
        to `order` edges away.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: the model's, or else `deepsphere.Graph()`.
    scale : float, default 1
        Fraction of the interval [-1, 1] that the spectrum fills, in (0, 1].
    normalization : {None, "batch"}, optional
        ``"batch"`` normalizes each channel over batch and pixels before adding the bias (momentum
        0.9, epsilon 1e-5, no offset and no factor).
    filter_dropout : float, default 0
        Probability, in [0, 1), of dropping each filter in a training step. The others are scaled
        by ``1 / (1 - filter_dropout)``.
    depthwise : bool, default False
        Whether to filter each channel by its own polynomial without mixing channels. `filters`
        must then be None or the number of input channels.
    use_bias : bool, default True
        Whether to add a bias to each output channel.
    activation : str or callable, optional
        Keras activation. Default: the identity.
    kernel_initializer : str or keras.Initializer, optional
        Initial kernel. Default: truncated normal with standard deviation
        ``sqrt(6 / (channels + filters))``, as in the earlier implementation.
    bias_initializer : str or keras.Initializer, default "zeros"
        Initial bias.
    kernel_regularizer, bias_regularizer : str or keras.Regularizer, optional
        Penalties on kernel and bias. Default: none.
    kernel_constraint, bias_constraint : str or keras.Constraint, optional
        Constraints on kernel and bias. Default: none.
    **kwargs
        Arguments of `keras.layers.Layer`: ``name``, ``dtype``, ``trainable``.

    Attributes
    ----------
    kernel : variable, shape ((order + 1) * channels, filters)
        Row ``channel * (order + 1) + k`` holds the coefficients of ``P_k`` for an input channel. A
        depthwise kernel has one column.
    bias : variable, shape (filters,), or None
        The bias.

    Raises
    ------
    TypeError, ValueError
        Under the conditions listed at `GraphConv`.

    Notes
    -----
    He, Wei, Huang & Xu, "BernNet", arXiv 2106.10994, equation 2, with ``L = s + 1`` in [0, 2].

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> layer = BernsteinConv(5, order=3, sampling=Healpix(4))
    >>> tuple(layer(np.zeros((2, 192, 1), "float32")).shape)
    (2, 192, 5)
    """

    basis: ClassVar[str] = "bernstein"

    def default_initializer(self, channels: int, filters: int) -> keras.Initializer:
        """Return the initializer of the earlier implementation."""
        return keras.initializers.TruncatedNormal(stddev=sqrt(6 / (channels + filters)))
