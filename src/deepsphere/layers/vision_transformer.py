"""Vision transformer on super-pixels of the sphere."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere._checks import check_count
from deepsphere.layers.attention import TransformerBlock
from deepsphere.layers.base import PACKAGE
from deepsphere.layers.patch_conv import PatchConv
from deepsphere.layers.transformer import Transformer
from deepsphere.sampling import Sampling


@keras.saving.register_keras_serializable(PACKAGE)
class VisionTransformer(Transformer):
    """Vision transformer: full attention between embedded super-pixels.

    A linear map (`PatchConv`) embeds the pixels of each super-pixel into ``key_dim * num_heads``
    channels, a learned position embedding is added, and `num_layers` blocks of full attention
    (`TransformerBlock`) follow. Input shape ``(batch, pixels, channels)``, output shape
    ``(batch, pixels / 4**levels, key_dim * num_heads)`` on HEALPix.

    Parameters
    ----------
    key_dim : int
        Number of channels per head.
    num_heads : int
        Number of attention heads.
    levels : int
        Number of resolution levels to go down. On HEALPix, a super-pixel has ``4**levels`` pixels.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    num_layers : int, default 1
        Number of blocks.
    position_embedding : bool, default True
        Whether to add a learned vector to each embedded super-pixel. Without it the blocks do not
        know the positions of the super-pixels, nor even which are neighbors.
    activation : str or callable, default "relu"
        Keras activation in the blocks; None means the identity.
    normalization : {"layer", None}, default "layer"
        Normalization in the blocks, see `TransformerBlock`.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `key_dim`, `num_heads`, `levels` or `num_layers` is not an integer, or `sampling` is not
        a `Sampling`.
    ValueError
        If `key_dim`, `num_heads`, `levels` or `num_layers` is less than 1, Keras does not know
        `activation`, or the sampling has no resolution coarser by `levels`. When the layer is
        built: if the input does not have the sampling's number of pixels.

    Notes
    -----
    Dosovitskiy et al., arXiv 2010.11929. With a mask, unobserved pixels count as 0 in their
    super-pixel, and super-pixels without observed pixels are not attended to.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> layer = VisionTransformer(key_dim=8, num_heads=4, levels=2, sampling=Healpix(8))
    >>> tuple(layer(np.zeros((2, 768, 5), "float32")).shape)
    (2, 48, 32)
    """

    def __init__(
        self,
        key_dim: int,
        num_heads: int,
        levels: int,
        *,
        sampling: Sampling | None = None,
        num_layers: int = 1,
        position_embedding: bool = True,
        activation: Any = "relu",
        normalization: str | None = "layer",
        **kwargs: Any,
    ) -> None:
        self.levels = check_count(levels, "levels")
        super().__init__(
            key_dim,
            num_heads,
            sampling=sampling,
            num_layers=num_layers,
            position_embedding=position_embedding,
            activation=activation,
            normalization=normalization,
            **kwargs,
        )

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return the sampling that is coarser by `levels`."""
        return sampling.coarsen(self.levels)

    def make_embedding(self, width: int) -> keras.layers.Layer:
        """Return the linear map of the super-pixels."""
        return PatchConv(
            width,
            self.levels,
            sampling=self.require_sampling(),
            dtype=self.dtype_policy,
            name="embedding",
        )

    def make_block(self, **kwargs: Any) -> TransformerBlock:
        """Return a block of full attention."""
        return TransformerBlock(**kwargs)

    def call(self, x: Any, mask: Any = None) -> Any:
        """Embed the super-pixels, add the position embedding and apply the blocks."""
        return self.attend(self.embedding(x, mask=mask), self.compute_mask(x, mask))

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {**super().get_config(), "levels": self.levels}
