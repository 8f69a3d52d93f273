"""Base class of the transformers."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere._checks import check_count
from deepsphere.layers.attention import PositionEmbedding, TransformerBlock
from deepsphere.layers.base import SphereLayer
from deepsphere.layers.normalization import check_normalization
from deepsphere.sampling import Sampling


class Transformer(SphereLayer):
    """Base class of the transformers: embedding, position embedding and attention blocks.

    Subclasses define `make_embedding` and `make_block`.

    Parameters
    ----------
    key_dim : int
        Number of channels per head.
    num_heads : int
        Number of attention heads; the output has ``key_dim * num_heads`` channels.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    num_layers : int, default 1
        Number of blocks, see `TransformerBlock`.
    position_embedding : bool, default True
        Whether to add a learned vector to each embedded pixel, see `PositionEmbedding`. Without it
        the layer does not distinguish directions, and its weights do not depend on the sampling.
    activation : str or callable, default "relu"
        Keras activation in the blocks; None means the identity.
    normalization : {"layer", None}, default "layer"
        Normalization in the blocks, see `TransformerBlock`.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `key_dim`, `num_heads` or `num_layers` is not an integer, or `sampling` is not a
        `Sampling`.
    ValueError
        If `key_dim`, `num_heads` or `num_layers` is less than 1, or Keras does not know
        `activation`. When the layer is built: if the input does not have the sampling's number of
        pixels.
    """

    def __init__(
        self,
        key_dim: int,
        num_heads: int,
        *,
        sampling: Sampling | None = None,
        num_layers: int = 1,
        position_embedding: bool = True,
        activation: Any = "relu",
        normalization: str | None = "layer",
        **kwargs: Any,
    ) -> None:
        super().__init__(sampling=sampling, **kwargs)
        self.key_dim = check_count(key_dim, "key_dim")
        self.num_heads = check_count(num_heads, "num_heads")
        self.num_layers = check_count(num_layers, "num_layers")
        self.position_embedding = bool(position_embedding)
        self.activation = keras.activations.get(activation)
        self.normalization = check_normalization(normalization, "layer")

    def make_embedding(self, width: int) -> keras.layers.Layer:
        """Return the layer that embeds the input into `width` channels."""
        raise NotImplementedError

    def make_block(self, **kwargs: Any) -> TransformerBlock:
        """Return a block with the given arguments of `TransformerBlock`."""
        raise NotImplementedError

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the sublayers and their weights."""
        super().build(input_shape)
        inner = self.compute_output_shape(input_shape)
        self.embedding = self.make_embedding(self.key_dim * self.num_heads)
        self.embedding.build(input_shape)
        shared = {"sampling": self.output_sampling, "dtype": self.dtype_policy}
        self.position = None
        if self.position_embedding:
            self.position = PositionEmbedding(**shared, name="position_embedding")
            self.position.build(inner)
        self.blocks = [
            self.make_block(
                key_dim=self.key_dim,
                num_heads=self.num_heads,
                activation=self.activation,
                normalization=self.normalization,
                name=f"block_{i}",
                **shared,
            )
            for i in range(self.num_layers)
        ]
        for block in self.blocks:
            block.build(inner)

    def attend(self, x: Any, mask: Any) -> Any:
        """Add the position embedding and apply the blocks."""
        if self.position is not None:
            x = self.position(x)
        for block in self.blocks:
            x = block(x, mask=mask)
        return x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return ``(batch, len(output_sampling), key_dim * num_heads)``."""
        return (input_shape[0], len(self.output_sampling), self.key_dim * self.num_heads)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "key_dim": self.key_dim,
            "num_heads": self.num_heads,
            "num_layers": self.num_layers,
            "position_embedding": self.position_embedding,
            "activation": keras.activations.serialize(self.activation),
            "normalization": self.normalization,
        }
