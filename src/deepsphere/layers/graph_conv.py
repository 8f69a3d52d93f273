"""Graph convolutions: learned polynomials of the graph Laplacian."""

from __future__ import annotations

from math import sqrt
from typing import Any, ClassVar

import keras

from deepsphere.graph import Graph, GraphLike, as_graph, graph_config, resolve_graph, spectral
from deepsphere.layers.base import PACKAGE, SphereConv, check_count
from deepsphere.layers.masking import hide
from deepsphere.layers.normalization import BatchNormalization
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
"""Largest order of the polynomials; the papers' networks use 4 to 20."""


class GraphConv(SphereConv):
    """Base of the graph convolutions: ``y = activation(norm(sum_k P_k(L~) x W_k) + bias)``.

    ``L~`` is the Laplacian of the sampling's graph with its spectrum mapped into [-1, 1], and
    ``P_k`` the polynomials of a basis. The cost is linear in the number of pixels, and the
    output at a pixel depends on the input up to `order` edges away. A subclass names its basis
    and gives its initial kernel.

    Parameters
    ----------
    filters : int, optional
        Number of output channels. Default: that of the input.
    order : int, default 4
        Degree of the polynomials: ``order + 1`` terms.
    sampling : Sampling, optional
        Where the inputs are sampled. Default: given by the model.
    graph : Graph, int or str, optional
        The graph, see `deepsphere.Graph`; a number means that many nearest neighbors. Default: the
        model's, or the one that suits the sampling.
    scale : float, optional
        Part of the interval [-1, 1] that the spectrum fills, see `deepsphere.graph.rescale`.
        Default: that of the subclass.
    batch_norm : bool, default False
        Whether to normalize the channels over batch and pixels, before the bias (momentum 0.9,
        epsilon 1e-5, no offset and no factor: bias and kernel have these roles), see
        `deepsphere.layers.BatchNormalization`.
    filter_dropout : float, default 0
        Probability, from 0 to below 1, with which each filter (all coefficients between an input
        and an output channel) is left out of a training step. The others are scaled by
        ``1 / (1 - filter_dropout)``, which keeps the expected output. It is ``dropFilt`` in the
        code of Defferrard et al., arXiv 2012.15000, but for two things: that was the probability
        to keep a filter, and nothing was scaled.
    depthwise : bool, default False
        Whether each channel is filtered by itself, by one polynomial of its own, as in
        `keras.layers.DepthwiseConv1D`. It needs `filters` None or the number of channels, and
        ``order + 1`` weights a channel. Channels are mixed by a `keras.layers.Dense` after it.
    use_bias, activation, kernel_initializer, ...
        As for every convolution of this package, see `SphereConv`.

    Attributes
    ----------
    kernel : variable, shape ((order + 1) * channels, filters)
        Row ``channel * (order + 1) + k`` holds the coefficient of ``P_k`` on a channel, the
        layout of the earlier TensorFlow implementations. A depthwise kernel has one column.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; or, when the layer meets its input, if that has
        another number of pixels than the sampling.
    """

    on_graph = True
    basis: ClassVar[str]
    default_scale: ClassVar[float] = 1.0

    def __init__(
        self,
        filters: int | None = None,
        order: int = 4,
        sampling: Sampling | None = None,
        *,
        graph: GraphLike | None = None,
        scale: float | None = None,
        batch_norm: bool = False,
        filter_dropout: float = 0.0,
        depthwise: bool = False,
        **kwargs: Any,
    ) -> None:
        if not hasattr(type(self), "basis"):
            raise TypeError(
                f"{type(self).__name__} is a base class; use ChebyshevConv, MonomialConv or "
                "BernsteinConv"
            )
        super().__init__(filters, sampling, **kwargs)
        self.order = check_count("order", order, least=0)
        if self.order > MOST_ORDER:
            raise ValueError(
                f"order must be at most {MOST_ORDER}, got {order}: each order costs a product with "
                "the Laplacian, and a filter reaches as many edges far"
            )
        self.depthwise = bool(depthwise)
        self.graph_spec = None if graph is None else as_graph(graph)
        self.scale = self.default_scale if scale is None else float(scale)
        if not 0 < self.scale <= 1:
            raise ValueError(f"scale must be in (0, 1], got {scale}")
        self.batch_norm = bool(batch_norm)
        self.norm = None
        if self.batch_norm:
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
        """Return the initial kernel's distribution for a number of channels and filters."""
        raise NotImplementedError

    @property
    def resolved_graph(self) -> Graph:
        """The graph that the layer runs on, with the defaults of its sampling filled in."""
        return resolve_graph(self.require_sampling(), self.graph_spec)

    @property
    def spectral_bound(self) -> float:
        """Largest eigenvalue of the graph's Laplacian, where its spectrum ends."""
        return spectral(self.require_sampling(), self.graph_spec).eigenvalue

    def make_operator(self) -> SparseOperator:
        """Return the rescaled Laplacian, shared with all layers on the same graph."""
        return laplacian_operator(self.require_sampling(), self.graph_spec, self.scale)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Get the operator and make the weights."""
        super().build(input_shape)
        channels = int(input_shape[2])  # type: ignore[arg-type]
        filters = self.filters or channels
        self.operator = self.make_operator()
        self._to_chebyshev = to_chebyshev(self.basis, self.order)
        self._activation_name = getattr(self.activation, "__name__", "")
        if getattr(keras.activations, self._activation_name, None) is not self.activation:
            self._activation_name = ""  # somebody's own of the same name
        included = self._activation_name in ACTIVATIONS
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
        """Filter, normalize, add the bias, activate; pixels outside `mask` count as 0."""
        x = hide(x, mask)
        kernel = self._chebyshev_kernel(training)
        # Where they are among those that the operation includes: it goes over its output once.
        activation = self._included_activation
        if self.norm is None:
            y = chebyshev_filter(x, kernel, self.operator, self.bias, activation)
        elif mask is not None:  # statistics of what was observed
            y = self.norm(chebyshev_filter(x, kernel, self.operator), training=training, mask=mask)
            return self._add_bias_and_activate(y)
        elif self.norm.normalizes_batches(training):
            y = self._filter_and_normalize(x, kernel, activation)
        else:
            kernel, bias = self._normalized_weights(kernel)
            y = chebyshev_filter(x, kernel, self.operator, bias, activation)
        return y if activation == self._activation_name else self.activation(y)

    def _chebyshev_kernel(self, training: bool | None) -> Any:
        """Return the coefficients in Chebyshev's basis, shape (terms, channels, filters)."""
        rows, filters = self.kernel.shape
        terms = self.order + 1
        kernel = keras.ops.reshape(self.kernel, (rows // terms, terms, filters))
        if self.dropout is not None:
            kernel = self.dropout(kernel, training=training)
        if self.depthwise:
            identity = keras.ops.eye(rows // terms, dtype=kernel.dtype)
            kernel = kernel * keras.ops.expand_dims(identity, 1)
        if self.basis == "chebyshev":
            return keras.ops.transpose(kernel, (1, 0, 2))
        turn = keras.ops.convert_to_tensor(self._to_chebyshev, dtype=self.variable_dtype)
        return keras.ops.einsum("kj,cjf->kcf", turn, kernel)

    def _filter_and_normalize(self, x: Any, kernel: Any, activation: str) -> Any:
        norm: Any = self.norm
        y, mean, variance = normalized_filter(
            x, kernel, self.operator, self.bias, norm.epsilon, activation
        )
        norm.update_statistics(mean, variance)
        return y

    def _normalized_weights(self, kernel: Any) -> tuple[Any, Any]:
        """Put the normalization by moving averages into kernel and bias."""
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
        """Return the arguments from which `from_config` makes an equal layer."""
        return {
            **super().get_config(),
            "order": self.order,
            "graph": graph_config(self.graph_spec),
            "scale": self.scale,
            "batch_norm": self.batch_norm,
            "filter_dropout": self.filter_dropout,
            "depthwise": self.depthwise,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class ChebyshevConv(GraphConv):
    """Graph convolution with Chebyshev polynomials, ``P_k = T_k``.

    Input shape ``(batch, pixels, channels)``, output shape ``(batch, pixels, filters)``.
    The arguments are those of `GraphConv`; `scale` is 0.75 by default, which keeps the
    highest frequencies away from the end of the interval and is what earlier DeepSphere weights
    were trained with; 1 uses the whole interval.

    Notes
    -----
    Defferrard, Bresson & Vandergheynst, arXiv 1606.09375, equation 5; on the sphere Perraudin
    et al., arXiv 1810.12186. The kernel starts from a truncated normal distribution of standard
    deviation ``1 / sqrt(channels (order + 1.5) / 2)``: with that the output has about the
    variance of the input, as ``sum_{k <= order} T_k(s)^2`` is about ``(order + 1.5) / 2``.

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
        """Return a distribution that keeps the variance of the input."""
        deviation = 1 / sqrt(channels * (self.order + 1.5) / 2)
        return keras.initializers.TruncatedNormal(stddev=deviation)


@keras.saving.register_keras_serializable(PACKAGE)
class MonomialConv(GraphConv):
    """Graph convolution with powers of the rescaled Laplacian, ``P_k(s) = s^k``.

    Input shape ``(batch, pixels, channels)``, output shape ``(batch, pixels, filters)``.
    The arguments are those of `GraphConv`. The kernel starts from a truncated normal
    distribution of standard deviation 0.1, as in the earlier implementations.

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
        """Return the distribution of the earlier implementations."""
        return keras.initializers.TruncatedNormal(stddev=0.1)


@keras.saving.register_keras_serializable(PACKAGE)
class BernsteinConv(GraphConv):
    """Graph convolution with Bernstein polynomials of the Laplacian's interval.

    ``P_k(s) = C(K, k) / 2^K (1 - s)^(K - k) (1 + s)^k`` with ``K = order``: all of them are
    positive and sum to 1, so that the coefficients are samples of the frequency response, from
    low to high. Input shape ``(batch, pixels, channels)``, output shape
    ``(batch, pixels, filters)``. The arguments are those of `GraphConv`.

    Notes
    -----
    He, Wei, Huang & Xu, "BernNet", arXiv 2106.10994, equation 2, with ``L = s + 1`` in [0, 2].
    The kernel starts from a truncated normal distribution of standard deviation
    ``sqrt(6 / (channels + filters))``, as in the earlier implementation.

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
        """Return the distribution of the earlier implementation."""
        return keras.initializers.TruncatedNormal(stddev=sqrt(6 / (channels + filters)))
