"""Networks that classify maps or regress parameters from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from numpy.typing import ArrayLike

from deepsphere._checks import check_count
from deepsphere.graph import GraphLike
from deepsphere.layers import ChebyshevConv, Statistics, SurveyMask, VisionTransformer
from deepsphere.layers.base import PACKAGE
from deepsphere.layers.masking import hide
from deepsphere.layers.renamed import RENAMED, refuse_old_names
from deepsphere.models.base import (
    check_widths,
    make_pool,
    resolutions,
)
from deepsphere.models.sequential import Sequential
from deepsphere.sampling import Sampling


def fcn_classifier(
    sampling: Sampling,
    outputs: int,
    *,
    channels: int | None = 1,
    filters: Sequence[int] = (16, 32, 64, 64, 64),
    order: int = 4,
    graph: GraphLike | None = None,
    normalization: str | None = "batch",
    activation: Any = "relu",
    pooling: str = "max",
    statistics: str = "mean",
    output_bias: bool = False,
    output_activation: Any = "softmax",
    mask: ArrayLike | None = None,
    name: str | None = None,
    **conv: Any,
) -> Sequential:
    """Return the fully convolutional network of the cosmology paper.

    Each entry of `filters` adds a graph convolution with batch normalization and activation,
    followed by a pooling. A linear graph convolution to one channel per class, statistics over the
    pixels and a softmax follow. No weight depends on the position: the output is invariant to
    rotations as far as the layers are equivariant, and the weights fit any part of the sphere.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the maps, on the whole sphere or a part of it, with at least ``len(filters)``
        coarser levels.
    outputs : int
        Number of classes, or of values to regress.
    channels : int or None, default 1
        Number of channels of the maps, for which the model is built. With None, it is built on
        its first call.
    filters : sequence of int, default (16, 32, 64, 64, 64)
        Number of channels of each convolution that is followed by a pooling. The default is that of
        the paper.
    order : int, default 4
        Degree of the polynomials of all convolutions. 4 is ``K = 5`` in the paper.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: `deepsphere.Graph()`, with 20 neighbors as in arXiv 2012.15000 (this paper used 8).
    normalization : {"batch", None}, default "batch"
        Normalization of the channels of all convolutions except the last.
    activation : str or callable, default "relu"
        Keras activation of all convolutions except the last.
    pooling : str, default "max"
        ``"max"``, ``"mean"`` or ``"area"`` for `deepsphere.layers.Pool`; ``"smooth_max"``,
        ``"smooth_mean"`` or ``"smooth_area"`` for `deepsphere.layers.SmoothPool`, which applies a
        low-pass filter first and is more equivariant to rotations; ``"conv"`` for the learned
        `deepsphere.layers.ConvPool`; ``"patch"`` for the learned `deepsphere.layers.PatchConv`.
        Learned poolings keep the number of channels.
    statistics : str, default "mean"
        Statistics over the pixels, see `deepsphere.layers.Statistics`. If there are several values
        per channel, a dense layer with one unit per class follows.
    output_bias : bool, default False
        Whether the last layer has a bias. The default is that of the paper. Use a bias to regress
        values whose mean is not 0.
    output_activation : str or callable, default "softmax"
        Keras activation of the output, computed in single precision. Use None for logits or
        regression.
    mask : array_like of bool, shape (len(sampling),), optional
        True at observed pixels. The others never affect the result and may be NaN.
    name : str, optional
        Name of the model.
    **conv
        Further arguments of every `deepsphere.layers.ChebyshevConv` (not of the poolings), such as
        `filter_dropout`, `kernel_regularizer` or `scale`.

    Returns
    -------
    Sequential
        Input shape ``(batch, len(sampling), channels)``, output shape ``(batch, outputs)``.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, `outputs`, `channels`, `order` or an entry of `filters`
        is not an integer, or `graph` is not a `Graph`, an integer or a string.
    ValueError
        If one of these integers is less than 1 (`order`: less than 0), `filters` is empty,
        `pooling`, `statistics`, `normalization` or `graph` is an unknown name, `mask` does not hold
        one bool per pixel or is False everywhere, or the sampling has too few coarser levels.

    Notes
    -----
    Perraudin, Defferrard, Kacprzak & Sgier, "DeepSphere: efficient spherical convolutional neural
    network with HEALPix sampling for cosmological applications", arXiv 1810.12186: network FCN,
    with 54 720 trainable weights for 2 classes and maps with 1 channel. The authors trained it on
    parts of the sphere at nside 1024. An order-2 part, for example, consists of all pixels within
    one of the 48 pixels of nside 2.

    Examples
    --------
    On a 48th of the sphere, at nside 64 to be fast:

    >>> from deepsphere.sampling import Healpix
    >>> part = Healpix(2, [7]).refine(5)
    >>> part, part.coarsen(5)
    (Healpix(nside=64, pixels=<1024 of 49152>), Healpix(nside=2, pixels=<1 of 48>))
    >>> model = fcn_classifier(part, outputs=2)
    >>> model.output_shape
    (None, 2)
    >>> model.count_params() - 2 * 240  # less the means and variances of batch norm
    54720
    """
    widths = check_widths("filters", filters)
    outputs = check_count(outputs, "outputs")
    layers = _survey_layers(mask) + _pooled_convs(
        sampling, widths, pooling, order, activation, normalization, conv
    )
    layers += [
        ChebyshevConv(outputs, order, **{"use_bias": output_bias, **conv}),
        Statistics(statistics),
    ]
    if statistics in ("mean_variance", "histogram"):
        layers.append(keras.layers.Dense(outputs, use_bias=output_bias))
    return _make_classifier(sampling, layers, output_activation, channels, name=name, graph=graph)


def cnn_classifier(
    sampling: Sampling,
    outputs: int,
    *,
    channels: int | None = 1,
    filters: Sequence[int] = (16, 32, 64, 64, 64),
    order: int = 4,
    graph: GraphLike | None = None,
    normalization: str | None = "batch",
    activation: Any = "relu",
    pooling: str = "max",
    statistics: str | None = None,
    hidden: Sequence[int] = (),
    dropout: float = 0.0,
    output_bias: bool = False,
    output_activation: Any = "softmax",
    mask: ArrayLike | None = None,
    name: str | None = None,
    **conv: Any,
) -> Sequential:
    """Return the convolutional network with dense layers of the cosmology paper.

    The convolutions and poolings of `fcn_classifier`, followed by dense layers on the remaining
    pixels. The dense layers depend on the position: the network suits tasks where the position
    matters, and needs more data where it does not. With `statistics`, the dense layers see only
    the statistics.

    Parameters
    ----------
    sampling, outputs, channels, filters, order, graph, normalization, activation, \
pooling, output_bias, output_activation, mask, name, **conv
        See `fcn_classifier`.
    statistics : str, optional
        Statistics over the pixels, see `deepsphere.layers.Statistics`. Default: none; all pixels
        and channels are flattened.
    hidden : sequence of int, default ()
        Number of units of each hidden dense layer, with bias and `activation`.
    dropout : float, default 0
        Fraction of the inputs of each dense layer that is dropped in training.

    Returns
    -------
    Sequential
        Input shape ``(batch, len(sampling), channels)``, output shape ``(batch, outputs)``.

    Raises
    ------
    TypeError, ValueError
        Under the conditions listed at `fcn_classifier`; TypeError also if an entry of `hidden` is
        not an integer, and ValueError if it is less than 1.

    Notes
    -----
    Perraudin et al., arXiv 1810.12186, network CNN. On a 12th of the sphere at nside 1024, the last
    layer has 131 072 weights for 2 classes.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> model = cnn_classifier(Healpix(1, [4]).refine(5), outputs=2, filters=(8, 8), hidden=(16,))
    >>> model.output_shape
    (None, 2)
    """
    widths = check_widths("filters", filters)
    units = check_widths("hidden", hidden, least=0)
    outputs = check_count(outputs, "outputs")
    layers = _survey_layers(mask) + _pooled_convs(
        sampling, widths, pooling, order, activation, normalization, conv
    )
    layers.append(FlattenMap() if statistics is None else Statistics(statistics))
    for width in units:
        layers += [*_dropout_layers(dropout), keras.layers.Dense(width, activation)]
    layers += [*_dropout_layers(dropout), keras.layers.Dense(outputs, use_bias=output_bias)]
    return _make_classifier(sampling, layers, output_activation, channels, name=name, graph=graph)


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
        Statistics over the coarse pixels, see `deepsphere.layers.Statistics`.
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
    outputs = check_count(outputs, "outputs")
    resolutions(sampling, check_count(levels, "levels"))
    layers = [
        *_survey_layers(mask),
        VisionTransformer(
            key_dim,
            num_heads,
            levels,
            num_layers=num_layers,
            position_embedding=position_embedding,
            activation=activation,
            normalization=normalization,
        ),
        Statistics(statistics),
        *_dropout_layers(dropout),
        keras.layers.Dense(outputs),
    ]
    return _make_classifier(sampling, layers, output_activation, channels, name=name)


@keras.saving.register_keras_serializable(PACKAGE)
class FlattenMap(keras.layers.Flatten):
    """`keras.layers.Flatten` that sets unobserved pixels to 0 and drops the mask."""

    def call(self, x: Any, mask: Any = None) -> Any:
        """Flatten pixels and channels into one axis."""
        return super().call(hide(x, mask))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return None, because the output has no pixels to mask."""

    def compute_output_spec(self, x: Any, mask: Any = None) -> Any:  # noqa: ARG002
        """Return shape and dtype of the output."""
        return super().compute_output_spec(x)


def _survey_layers(mask: ArrayLike | None) -> list[keras.layers.Layer]:
    """Return the first layers of a network: a `SurveyMask` if there is a mask."""
    return [] if mask is None else [SurveyMask(mask)]


def _dropout_layers(rate: float) -> list[keras.layers.Layer]:
    """Return the layers before a dense layer: a `Dropout` if `rate` is not 0."""
    return [keras.layers.Dropout(rate)] if rate else []


def _make_classifier(
    sampling: Sampling,
    layers: list[keras.layers.Layer],
    activation: Any,
    channels: int | None,
    **kwargs: Any,
) -> Sequential:
    """Return the model of the layers and a final activation, built if `channels` is given."""
    # In single precision even if other layers are not, because losses need the digits.
    layers.append(
        keras.layers.Activation(activation, dtype=keras.config.floatx(), name="predictions")
    )
    model = Sequential(sampling, layers, **kwargs)
    if channels is not None:
        model.build((None, len(sampling), check_count(channels, "channels")))
    return model


def _pooled_convs(
    sampling: Sampling,
    widths: tuple[int, ...],
    pooling: str,
    order: int,
    activation: Any,
    normalization: str | None,
    conv: dict[str, Any],
) -> list[keras.layers.Layer]:
    refuse_old_names("the classifier", conv, RENAMED)
    resolutions(sampling, len(widths))
    layers: list[keras.layers.Layer] = []
    for width in widths:
        layers += [
            ChebyshevConv(width, order, normalization=normalization, activation=activation, **conv),
            make_pool(pooling, width),
        ]
    return layers
