"""Building blocks of transformers: position embedding and attention block."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere._checks import check_count
from deepsphere.layers.base import PACKAGE, SphereLayer
from deepsphere.layers.masking import hide
from deepsphere.layers.normalization import LayerNormalization, check_normalization
from deepsphere.sampling import Sampling


@keras.saving.register_keras_serializable(PACKAGE)
class PositionEmbedding(SphereLayer):
    """Add a learned vector to the features of each pixel.

    Attention alone does not depend on positions. Input and output shape
    ``(batch, pixels, channels)``.

    Parameters
    ----------
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    embeddings_initializer : str or keras.Initializer, optional
        Initial vectors. Default: normal with standard deviation 0.02, as in the vision
        transformer, small compared with features of order one.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Attributes
    ----------
    embeddings : variable, shape (1, pixels, channels)
        The vectors.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`.
    ValueError
        If Keras does not know `embeddings_initializer`. When the layer is built: if the input does
        not have the sampling's number of pixels.

    Notes
    -----
    Dosovitskiy et al., arXiv 2010.11929, section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> tuple(PositionEmbedding(sampling=Healpix(4))(np.zeros((2, 192, 5), "float32")).shape)
    (2, 192, 5)
    """

    def __init__(
        self,
        *,
        sampling: Sampling | None = None,
        embeddings_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(sampling=sampling, **kwargs)
        if embeddings_initializer is None:
            embeddings_initializer = keras.initializers.RandomNormal(stddev=0.02)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the vectors."""
        super().build(input_shape)
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(1, *input_shape[1:]),
            initializer=self.embeddings_initializer,
        )

    def call(self, x: Any) -> Any:
        """Add the vectors."""
        return keras.ops.add(x, self.embeddings)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        initializer = keras.initializers.serialize(self.embeddings_initializer)
        return {**super().get_config(), "embeddings_initializer": initializer}


@keras.saving.register_keras_serializable(PACKAGE)
class TransformerBlock(SphereLayer):
    """Attention between all pixels, followed by a dense layer on each pixel's channels.

    With ``x~ = norm1(x)`` and ``y = x~ + attention(query(x~), key(x~), value(x~))``, the output is
    ``y + activation(dense(norm2(y)))``. As in the earlier TensorFlow implementation, attention has
    no output projection and the residuals start from the normalized input. Input and output shape
    ``(batch, pixels, key_dim * num_heads)``.

    Time grows with the square of the number of pixels, and so does memory where Keras has no flash
    attention for the device. Use it on super-pixels or coarse maps.

    Parameters
    ----------
    key_dim : int
        Number of channels per head.
    num_heads : int
        Number of attention heads.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    activation : str or callable, default "relu"
        Keras activation of the dense layer; None means the identity.
    normalization : {"layer", None}, default "layer"
        ``"layer"`` normalizes the channels of each pixel (mean and variance, with learned factor
        and offset) before the attention and before the dense layer. Deep stacks train poorly
        without it.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `key_dim` or `num_heads` is not an integer, or `sampling` is not a `Sampling`.
    ValueError
        If `key_dim` or `num_heads` is less than 1, or Keras does not know `activation`. When the
        layer is built: if the input does not have the sampling's number of pixels and
        ``key_dim * num_heads`` channels.

    Notes
    -----
    Vaswani et al., arXiv 1706.03762, equation 1. With a mask, no pixel attends to unobserved
    pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> block = TransformerBlock(key_dim=8, num_heads=4, sampling=Healpix(2))
    >>> tuple(block(np.zeros((2, 48, 32), "float32")).shape)
    (2, 48, 32)
    """

    def __init__(
        self,
        key_dim: int,
        num_heads: int,
        *,
        sampling: Sampling | None = None,
        activation: Any = "relu",
        normalization: str | None = "layer",
        **kwargs: Any,
    ) -> None:
        super().__init__(sampling=sampling, **kwargs)
        self.key_dim = check_count(key_dim, "key_dim")
        self.num_heads = check_count(num_heads, "num_heads")
        self.activation = keras.activations.get(activation)
        self.normalization = check_normalization(normalization, "layer")
        self.query, self.key, self.value = (self._dense(n) for n in ("query", "key", "value"))
        self.dense = self._dense("dense", self.activation)
        self.norm1, self.norm2 = (self._norm(n) for n in ("norm1", "norm2"))

    def _dense(self, name: str, activation: Any = None) -> keras.layers.Dense:
        width = self.key_dim * self.num_heads
        return keras.layers.Dense(width, activation, dtype=self.dtype_policy, name=name)

    def _norm(self, name: str) -> LayerNormalization | None:
        if self.normalization is None:
            return None
        return LayerNormalization(dtype=self.dtype_policy, name=name)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights."""
        super().build(input_shape)
        if input_shape[2] != self.key_dim * self.num_heads:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} needs key_dim * num_heads = "
                f"{self.key_dim * self.num_heads} channels, got {input_shape[2]}: put a Dense "
                "layer of that width before it"
            )
        for layer in (self.norm1, self.query, self.key, self.value, self.norm2, self.dense):
            if layer is not None:
                layer.build(input_shape)

    def attend(self, q: Any, k: Any, v: Any, mask: Any) -> Any:
        """Return the attention; all shapes are (batch, pixels, num_heads, key_dim)."""
        if mask is not None:
            mask = keras.ops.cast(mask, "bool")[:, None, None, :]
        return keras.ops.dot_product_attention(q, k, v, mask=mask)

    def call(self, x: Any, mask: Any = None) -> Any:
        """Apply attention and the dense layer, each with normalization and residual."""
        x = hide(x, mask)
        if self.norm1 is not None:
            x = self.norm1(x)
        heads = (-1, x.shape[1], self.num_heads, self.key_dim)
        q, k, v = (
            keras.ops.reshape(layer(x), heads) for layer in (self.query, self.key, self.value)
        )
        y = x + keras.ops.reshape(self.attend(q, k, v, mask), (-1, *x.shape[1:]))
        return y + self.dense(y if self.norm2 is None else self.norm2(y))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "key_dim": self.key_dim,
            "num_heads": self.num_heads,
            "activation": keras.activations.serialize(self.activation),
            "normalization": self.normalization,
        }
