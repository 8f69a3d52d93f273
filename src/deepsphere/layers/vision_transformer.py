"""Vision transformer on super-pixels of the sphere."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.layers.attention import TransformerBlock
from deepsphere.layers.base import PACKAGE, check_count
from deepsphere.layers.patch_conv import PatchConv
from deepsphere.layers.transformer import Transformer
from deepsphere.sampling import Sampling


@keras.saving.register_keras_serializable(PACKAGE)
class VisionTransformer(Transformer):
    """Vision transformer: full attention between embedded super-pixels.

    A linear map (`PatchConv`) embeds the pixels of each super-pixel into ``key_dim * num_heads``
    channels, a learned position embedding is added, and `num_layers` blocks of full attention
    (`TransformerBlock`) follow. Input shape ``(batch, pixels, channels)``, output shape
    ``(batch, pixels / 4**p, key_dim * num_heads)`` on HEALPix.

    Parameters
    ----------
    key_dim : int
        Number of channels per head.
    num_heads : int
        Number of attention heads.
    p : int
        Number of resolution levels to go down. On HEALPix, a super-pixel has ``4**p`` pixels.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    num_layers : int, default 1
        Number of blocks.
    position_embedding : bool, default True
        Whether to add a learned vector to each embedded super-pixel. Without it the blocks do not
        know the positions of the super-pixels, nor even which are neighbors.
    activation : str or callable, default "relu"
        Keras activation in the blocks; None means the identity.
    layer_norm : bool, default True
        Whether the blocks normalize, see `TransformerBlock`.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `key_dim`, `num_heads`, `p` or `num_layers` is not an integer, or `sampling` is not a
        `Sampling`.
    ValueError
        If `key_dim`, `num_heads`, `p` or `num_layers` is less than 1, Keras does not know
        `activation`, or the sampling has no resolution `p` levels coarser. When the layer is built:
        if the input does not have the sampling's number of pixels.

    Notes
    -----
    Dosovitskiy et al., arXiv 2010.11929. With a mask, unobserved pixels count as 0 in their
    super-pixel, and super-pixels without observed pixels are not attended to.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> layer = VisionTransformer(key_dim=8, num_heads=4, p=2, sampling=Healpix(8))
    >>> tuple(layer(np.zeros((2, 768, 5), "float32")).shape)
    (2, 48, 32)
    """

    def __init__(
        self,
        key_dim: int,
        num_heads: int,
        p: int,
        sampling: Sampling | None = None,
        *,
        num_layers: int = 1,
        position_embedding: bool = True,
        activation: Any = "relu",
        layer_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        self.p = check_count("p", p, least=1)
        super().__init__(
            key_dim,
            num_heads,
            sampling,
            num_layers=num_layers,
            position_embedding=position_embedding,
            activation=activation,
            layer_norm=layer_norm,
            **kwargs,
        )

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return the sampling `p` levels coarser."""
        return sampling.coarsen(self.p)

    def make_embedding(self, width: int) -> keras.layers.Layer:
        """Return the linear map of the super-pixels."""
        return PatchConv(
            width, self.p, self.require_sampling(), dtype=self.dtype_policy, name="embedding"
        )

    def make_block(self, **kwargs: Any) -> TransformerBlock:
        """Return a block of full attention."""
        return TransformerBlock(**kwargs)

    def call(self, x: Any, mask: Any = None) -> Any:
        """Embed the super-pixels, add the position embedding and apply the blocks."""
        return self.attend(self.embedding(x, mask=mask), self.compute_mask(x, mask))

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {**super().get_config(), "p": self.p}
