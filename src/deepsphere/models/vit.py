"""Vision transformer that classifies maps."""

from __future__ import annotations

from typing import Any

import keras
from numpy.typing import ArrayLike

from deepsphere.layers import Statistics, VisionTransformer
from deepsphere.layers.base import check_count
from deepsphere.models.base import check_normalization, resolutions
from deepsphere.models.classifiers import dropout_layers, finish, survey_layers
from deepsphere.models.sequential import Sequential
from deepsphere.sampling import Sampling


def vit_classifier(
    sampling: Sampling,
    outputs: int,
    *,
    channels: int | None = 1,
    key_dim: int = 16,
    num_heads: int = 4,
    levels: int = 3,
    num_layers: int = 4,
    position_embedding: bool = True,
    activation: Any = "relu",
    normalization: str | None = "layer",
    statistics: str = "mean",
    dropout: float = 0.0,
    output_activation: Any = "softmax",
    mask: ArrayLike | None = None,
    name: str | None = None,
) -> Sequential:
    """Return a vision transformer that classifies maps, with coarse pixels as tokens.

    The pixels within each coarse pixel are embedded into one vector, the vectors attend to each
    other in every block, and statistics over the coarse pixels and a dense layer return the
    classes. The cost grows with the square of the number of coarse pixels,
    ``(pixels / 4**levels)**2`` on HEALPix.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the maps, with at least `levels` coarser levels.
    outputs : int
        Number of classes, or of values to regress.
    channels : int or None, default 1
        Number of channels of the maps, for which the model is built. With None, it is built on
        its first call.
    key_dim : int, default 16
        Number of channels per head; a coarse pixel has ``key_dim * num_heads`` channels.
    num_heads : int, default 4
        Number of attention heads.
    levels : int, default 3
        Number of levels from the pixels to the coarse pixels. The default gives patches of 64
        pixels on HEALPix.
    num_layers : int, default 4
        Number of attention blocks.
    position_embedding : bool, default True
        Whether to add a learned vector to each coarse pixel.
    activation : str or callable, default "relu"
        Keras activation in the blocks; None means the identity.
    normalization : {"layer", None}, default "layer"
        Normalization in the blocks, see `deepsphere.layers.TransformerBlock`.
    statistics : str, default "mean"
        Kind of statistics over the coarse pixels, see `deepsphere.layers.Statistics`.
    dropout : float, default 0
        Fraction of the inputs of the dense layer that is dropped in training.
    output_activation : str or callable, default "softmax"
        Keras activation of the output, computed in single precision. Use None for logits or
        regression.
    mask : array_like of bool, shape (len(sampling),), optional
        True at observed pixels. The others never affect the result and may be NaN.
    name : str, optional
        Name of the model.

    Returns
    -------
    Sequential
        Input shape ``(batch, len(sampling), channels)``, output shape ``(batch, outputs)``.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, or `outputs`, `channels`, `key_dim`, `num_heads`,
        `levels` or `num_layers` is not an integer.
    ValueError
        If one of these integers is less than 1, `statistics` or `normalization` is unknown, `mask`
        does not hold one bool per pixel or is False everywhere, or the sampling has too few coarser
        levels.

    Notes
    -----
    Dosovitskiy et al., "An image is worth 16x16 words", arXiv 2010.11929. The mean over the patches
    instead of a class token is the variant of its appendix D.3.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> vit_classifier(Healpix(16), outputs=3, num_layers=2).output_shape
    (None, 3)
    """
    outputs = check_count("outputs", outputs, least=1)
    resolutions(sampling, check_count("levels", levels, least=1))
    layers = [
        *survey_layers(mask),
        VisionTransformer(
            key_dim,
            num_heads,
            levels,
            num_layers=num_layers,
            position_embedding=position_embedding,
            activation=activation,
            layer_norm=check_normalization(normalization, "layer") is not None,
        ),
        Statistics(statistics),
        *dropout_layers(dropout),
        keras.layers.Dense(outputs),
    ]
    return finish(sampling, layers, output_activation, channels, name=name)
