"""A vision transformer that classifies maps."""

from __future__ import annotations

from typing import Any

import keras
from numpy.typing import ArrayLike

from deepsphere.layers import Statistics, VisionTransformer
from deepsphere.layers.base import check_count
from deepsphere.models.base import resolutions
from deepsphere.models.classifiers import dropout_layers, finish, survey_layers
from deepsphere.models.sequential import Sequential
from deepsphere.sampling import Sampling


def vit_classifier(
    sampling: Sampling,
    classes: int,
    *,
    channels: int | None = 1,
    key_dim: int = 16,
    num_heads: int = 4,
    p: int = 3,
    num_layers: int = 4,
    position_embedding: bool = True,
    activation: Any = "relu",
    layer_norm: bool = True,
    statistics: str = "mean",
    dropout: float = 0.0,
    classifier_activation: Any = "softmax",
    mask: ArrayLike | None = None,
    name: str | None = None,
) -> Sequential:
    """Return a vision transformer: coarse pixels as the words of a sentence.

    All pixels within a coarse pixel become one vector, each such vector attends to all others in
    every layer, and statistics over the coarse pixels and a dense layer give the classes. The
    cost grows with the square of the number of coarse pixels, ``(pixels / 4**p)**2`` on HEALPix.

    Parameters
    ----------
    sampling : Sampling
        Where the maps are sampled, with at least `p` coarser levels.
    classes : int
        Number of classes, or of values to regress.
    channels : int, optional
        Number of channels of the maps, for which the model is built. With None, it is built when
        it meets its first maps. Default: 1.
    key_dim : int, default 16
        Size of each head; a coarse pixel is a vector of ``key_dim * num_heads`` numbers.
    num_heads : int, default 4
        Number of heads.
    p : int, default 3
        Number of levels from the pixels to the coarse pixels: patches of 64 pixels on HEALPix.
    num_layers : int, default 4
        Number of layers of attention.
    position_embedding : bool, default True
        Whether a learned vector for each coarse pixel tells where it is.
    activation : str or callable, default "relu"
        Keras activation inside of the transformer.
    layer_norm : bool, default True
        Whether the transformer normalizes its features.
    statistics : str, default "mean"
        Kind of statistics over the coarse pixels, see `deepsphere.layers.Statistics`.
    dropout : float, default 0
        Share of its inputs that the dense layer loses in training.
    classifier_activation : str or callable, default "softmax"
        Keras activation of the output, in single precision. Give None for logits, or to regress.
    mask : array_like of bool, shape (len(sampling),), optional
        True at the pixels that a survey observed. The others never change the result, and may
        hold NaN.
    name : str, optional
        Name of the model.

    Returns
    -------
    Sequential
        Input shape ``(batch, len(sampling), channels)``, output shape ``(batch, classes)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the sampling has too few coarser levels.

    Notes
    -----
    Dosovitskiy et al., "An image is worth 16x16 words", arXiv 2010.11929; the mean over the
    patches in place of a class token is the variant of its appendix D.3.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> vit_classifier(Healpix(16), classes=3, num_layers=2).output_shape
    (None, 3)
    """
    classes = check_count("classes", classes, least=1)
    resolutions(sampling, check_count("p", p, least=1))
    layers = [
        *survey_layers(mask),
        VisionTransformer(
            key_dim,
            num_heads,
            p,
            num_layers=num_layers,
            position_embedding=position_embedding,
            activation=activation,
            layer_norm=layer_norm,
        ),
        Statistics(statistics),
        *dropout_layers(dropout),
        keras.layers.Dense(classes),
    ]
    return finish(sampling, layers, classifier_activation, channels, name=name)
