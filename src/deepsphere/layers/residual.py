"""Residual blocks: two convolutions and a shortcut."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from math import isfinite
from typing import Any

import keras

from deepsphere.graph import GraphLike
from deepsphere.graph.spec import as_graph, graph_config
from deepsphere.layers.base import PACKAGE, SphereLayer
from deepsphere.layers.masking import hide
from deepsphere.layers.normalization import (
    BatchNormalization,
    LayerNormalization,
    check_normalization,
)
from deepsphere.layers.protocol import require_same_sampling
from deepsphere.sampling import Sampling

NORMS = {"batch": BatchNormalization, "layer": LayerNormalization}


@keras.saving.register_keras_serializable(PACKAGE)
class ResidualBlock(SphereLayer):
    """Add the result of two equal convolutions to their input.

    Computes ``y = activation(F(x) + alpha x)`` with ``F = conv -> [norm] -> conv -> [norm]``. Input
    and output have shape ``(batch, pixels, channels)``.

    Parameters
    ----------
    conv : SphereLayer
        Template of both convolutions, for example ``ChebyshevConv(order=4, activation="relu")``.
        It must preserve pixels and channels (`filters` is None or the number of input channels).
        The block makes two copies with separate weights.
    sampling : Sampling, optional
        Sampling of the input. Default: that of `conv`, or set by the surrounding model.
    activation : str or callable, optional
        Keras activation of the block. Default: the identity. Within ``F``, `conv` applies its own.
    activation_first : bool, default False
        Whether to activate before the sum: ``y = activation(F(x)) + alpha x``.
    normalization : {"batch", "layer"}, optional
        Normalization after each convolution: `BatchNormalization` over batch and pixels, or
        `LayerNormalization` over the channels of each pixel. Default: none.
    normalization_config : mapping, optional
        Further arguments of the normalization, for example ``{"momentum": 0.9}``.
    alpha : float, default 1
        Factor of the shortcut. 1 gives the residual block of the paper.
    drop_path : float, default 0
        Probability, in [0, 1), that a sample skips ``F`` in a training step (stochastic depth:
        Huang et al., arXiv 1603.09382). For the other samples, ``F`` is scaled by
        ``1 / (1 - drop_path)``, which keeps the expected output.
    graph : Graph, int or str, optional
        Graph of `conv`, if it runs on one and has none of its own, see `deepsphere.Graph`. Default:
        the model's, or else `deepsphere.Graph()`.
    **kwargs
        Arguments of `keras.layers.Layer`. The convolutions use the same ``dtype``.

    Attributes
    ----------
    conv1, conv2 : SphereLayer
        The convolutions.
    norm1, norm2 : keras.layers.Layer or None
        The normalizations.

    Raises
    ------
    TypeError
        If `conv` is not a layer of this package, `sampling` is not a `Sampling`, or `graph` is not
        a `Graph`, an integer or a string.
    ValueError
        If `normalization` or `graph` is an unknown name, `normalization_config` is given without
        `normalization`, `alpha` is not finite, `drop_path` is not in [0, 1), or `conv` is on
        another sampling or changes the resolution. When the layer is built: if `conv` changes the
        number of channels, or the input does not have the sampling's number of pixels.

    Notes
    -----
    He, Zhang, Ren & Sun, "Deep residual learning for image recognition", arXiv 1512.03385,
    figure 2. Pixels outside a mask count as 0.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.layers import ChebyshevConv
    >>> from deepsphere.sampling import Healpix
    >>> block = ResidualBlock(
    ...     ChebyshevConv(order=3, activation="relu"),
    ...     sampling=Healpix(4),
    ...     activation="relu",
    ...     normalization="layer",
    ... )
    >>> tuple(block(np.zeros((2, 192, 5), "float32")).shape)
    (2, 192, 5)
    """

    on_graph = True

    def __init__(
        self,
        conv: SphereLayer,
        *,
        sampling: Sampling | None = None,
        activation: Any = None,
        activation_first: bool = False,
        normalization: str | None = None,
        normalization_config: Mapping[str, Any] | None = None,
        alpha: float = 1.0,
        drop_path: float = 0.0,
        graph: GraphLike | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(conv, dict):  # as written by get_config
            conv = keras.saving.deserialize_keras_object(conv)
        if not isinstance(conv, SphereLayer):
            raise TypeError(
                f"conv must be a layer of this package such as ChebyshevConv(), got {conv!r}"
            )
        check_normalization(normalization, *NORMS)
        if normalization is None and normalization_config:
            raise ValueError(
                "normalization_config requires normalization='batch' or 'layer', got "
                f"{normalization_config!r}"
            )
        super().__init__(sampling=conv.sampling if sampling is None else sampling, **kwargs)
        self.activation = keras.activations.get(activation)
        self.activation_first = bool(activation_first)
        self.normalization = normalization
        self.normalization_config = {
            name: keras.saving.deserialize_keras_object(value) if isinstance(value, dict) else value
            for name, value in (
                normalization_config or {}
            ).items()  # dicts: as written by get_config
        }
        self.alpha = float(alpha)
        if not isfinite(self.alpha):
            raise ValueError(f"alpha must be finite, got {alpha}")
        self.drop_path = float(drop_path)
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"drop_path must be in [0, 1), got {drop_path}")
        self.skip = None
        if self.drop_path > 0:
            self.skip = keras.layers.Dropout(
                self.drop_path,
                noise_shape=(None, 1, 1),  # of (batch, pixels, channels)
                dtype=self.dtype_policy,
                name="drop_path",
            )
        self.graph_spec = None if graph is None else as_graph(graph)
        self.conv1, self.conv2 = self._copy(conv, "conv1"), self._copy(conv, "conv2")
        self.norm1, self.norm2 = self._make_norm("norm1"), self._make_norm("norm2")
        self._conv_takes_mask = "mask" in signature(conv.call).parameters
        if self.sampling is not None:
            self.compute_output_sampling(self.sampling)  # raises if `conv` changes it

    def _copy(self, conv: SphereLayer, name: str) -> SphereLayer:
        changes = {"name": name, "dtype": self.dtype_policy}
        if self.sampling is not None:
            require_same_sampling(conv, self.sampling)
            changes["sampling"] = self.sampling
        if conv.on_graph and conv.graph_spec is None:
            changes["graph"] = self.graph_spec
        return conv._copy_with(**changes)

    def _make_norm(self, name: str) -> keras.layers.Layer | None:
        if self.normalization is None:
            return None
        return NORMS[self.normalization](
            **{"name": name, "dtype": self.dtype_policy, **self.normalization_config}
        )

    def _arguments(self) -> dict[str, Any]:
        return {
            **super()._arguments(),
            "conv": self.conv1,
            "normalization_config": self.normalization_config,
        }

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return the same sampling; raise ValueError if the convolutions change it."""
        conv = getattr(self, "conv1", None)  # missing while the base's constructor runs
        output = sampling if conv is None else conv.compute_output_sampling(sampling)
        if output != sampling:
            raise ValueError(
                f"conv must preserve the sampling, but {type(conv).__name__} maps {sampling} to "
                f"{output}"
            )
        return sampling

    @property
    def input_points(self) -> int:
        """Number of pixels of the input."""
        return self.conv1.input_points  # known even without a sampling if it was given its graph

    @property
    def output_points(self) -> int:
        """Number of pixels of the output."""
        return self.input_points

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Check that the convolutions preserve the shape, and build the sublayers."""
        super().build(input_shape)
        shape = tuple(input_shape)
        new_shape = tuple(self.conv1.compute_output_shape(shape))
        if new_shape[1:] != shape[1:]:
            raise ValueError(
                f"conv must preserve pixels and channels, but turns inputs of shape {shape} into "
                f"{new_shape}; leave its filters at None, or set them to {shape[2]}"
            )
        for layer in (self.conv1, self.norm1, self.conv2, self.norm2):
            if layer is not None:
                layer.build(shape)

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return the sum of convolutions and shortcut; pixels outside `mask` count as 0."""
        x = hide(x, mask)
        y = self._convolve(x, self.conv1, self.norm1, training, mask)
        y = self._convolve(y, self.conv2, self.norm2, training, mask)
        if self.activation_first:
            y = self.activation(y)
        if self.skip is not None:
            y = self.skip(y, training=training)
        if self.activation_first:
            return y + self.alpha * x
        return self.activation(y + self.alpha * x)

    def _convolve(self, x: Any, conv: Any, norm: Any, training: bool | None, mask: Any) -> Any:
        x = conv(x, mask=mask) if self._conv_takes_mask else conv(x)  # Keras passes `training` on
        if self.normalization == "batch":
            return norm(x, training=training, mask=mask)
        return x if norm is None else norm(x)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        conv = keras.saving.serialize_keras_object(self.conv1)
        if "sampling" in conv["config"]:
            conv["config"]["sampling"] = None  # saved with the block
        conv.pop("build_config", None)  # built by the block
        # The template applies to both convolutions; `frozen` holds the flags of each.
        conv["config"]["trainable"] = True
        for name in ("frozen", "quantized"):
            conv["config"].pop(name, None)
        return {
            **super().get_config(),
            "conv": conv,
            "activation": keras.activations.serialize(self.activation),
            "activation_first": self.activation_first,
            "normalization": self.normalization,
            "normalization_config": keras.saving.serialize_keras_object(
                dict(self.normalization_config)
            ),
            "alpha": self.alpha,
            "drop_path": self.drop_path,
            "graph": graph_config(self.graph_spec),
        }
