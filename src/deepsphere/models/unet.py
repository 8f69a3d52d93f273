"""U-Net for maps on the sphere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from numpy.typing import ArrayLike

from deepsphere._checks import check_choice, check_count
from deepsphere.graph import GraphLike
from deepsphere.layers import ChebyshevConv, PatchConvTranspose, Unpool
from deepsphere.layers.base import PACKAGE
from deepsphere.layers.masking import hide
from deepsphere.layers.normalization import check_normalization
from deepsphere.models.base import POOLINGS, SphereModel, check_widths, make_pool, resolutions
from deepsphere.sampling import Sampling

BLOCKS = ("plain", "residual")
SKIPS = ("concatenate", "add")
UNPOOLINGS = ("patch", "repeat")


@keras.saving.register_keras_serializable(PACKAGE)
class UNet(SphereModel):
    """U-Net from maps to maps at the same resolution: segmentation, denoising, forecasts.

    The encoder applies two graph convolutions and a pooling at each resolution. The decoder goes
    back up and combines them with the encoder's features at each resolution. Input shape
    ``(batch, len(sampling), channels)`` with any number of channels, output shape
    ``(batch, len(sampling), outputs)``.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the maps. It needs ``len(filters) - 1`` coarser levels.
    outputs : int
        Number of channels of the output: the number of classes, or the number of input channels for
        denoising.
    filters : sequence of int, default (64, 128, 256, 512)
        Number of channels at each resolution, from fine to coarse. The default is that of the paper
        with one level fewer, because coarse maps of the sphere have few pixels.
    order : int, default 4
        Degree of the polynomials of the graph convolutions.
    block : {"plain", "residual"}, default "plain"
        ``"plain"``: two convolutions. ``"residual"``: two convolutions added to their input (He et
        al., arXiv 1512.03385); where the number of channels changes, a linear map per pixel adapts
        the input.
    skip : {"concatenate", "add"}, default "concatenate"
        How the decoder combines its features with the encoder's. The default is that of the paper;
        ``"add"`` halves the input channels of the following convolution.
    pooling : str, default "max"
        ``"max"``, ``"mean"`` or ``"area"`` for `deepsphere.layers.Pool`; ``"smooth_max"``,
        ``"smooth_mean"`` or ``"smooth_area"`` for `deepsphere.layers.SmoothPool`, which applies a
        low-pass filter first and is more equivariant to rotations; ``"conv"`` for the learned
        `deepsphere.layers.ConvPool`; ``"patch"`` for the learned `deepsphere.layers.PatchConv`.
    unpooling : {"patch", "repeat"}, optional
        ``"patch"`` for the learned `deepsphere.layers.PatchConvTranspose`. ``"repeat"`` for a
        linear map per pixel followed by `deepsphere.layers.Unpool`, which gives all children the
        same value and so commutes with rotations that preserve the hierarchy. Default: ``"patch"``
        where children are adjacent in memory, as on HEALPix (a requirement of ``"patch"``), else
        ``"repeat"``.
    normalization : {"batch", None}, default "batch"
        Normalization of each convolution's channels (the paper predates it).
    activation : str or callable, default "relu"
        Keras activation of the convolutions.
    output_activation : str or callable, optional
        Keras activation of the output, computed in single precision, for example ``"softmax"`` for
        classes. Default: the identity, for logits and regression.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: `deepsphere.Graph()`.
    mask : array_like of bool, shape (len(sampling),), optional
        True at observed pixels. The others never affect the result, may be NaN (also in targets),
        are 0 in the output, and do not count in the loss.
    **kwargs
        Arguments of `keras.Model`: ``name``, ``dtype``, ``trainable``.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, `outputs`, `order` or an entry of `filters` is not an
        integer, or `graph` is not a `Graph`, an integer or a string.
    ValueError
        If one of these integers is less than 1 (`order`: less than 0), `filters` is empty, `block`,
        `skip`, `pooling`, `unpooling`, `normalization` or `graph` is an unknown name, `mask` does
        not hold one bool per pixel or is False everywhere, or the sampling has too few coarser
        levels.

    Notes
    -----
    Ronneberger, Fischer & Brox, "U-Net", arXiv 1505.04597; on the sphere, Defferrard et al.,
    "DeepSphere: a graph-based spherical CNN", arXiv 2012.15000. Encoder and decoder have one block
    per resolution, and the network ends with a linear map per pixel.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> model = UNet(Healpix(8), outputs=3, filters=(8, 16, 32), output_activation="softmax")
    >>> model.build((None, 768, 2))
    >>> model.compute_output_shape((None, 768, 2))
    (None, 768, 3)
    """

    def __init__(
        self,
        sampling: Sampling,
        outputs: int,
        *,
        filters: Sequence[int] = (64, 128, 256, 512),
        order: int = 4,
        block: str = "plain",
        skip: str = "concatenate",
        pooling: str = "max",
        unpooling: str | None = None,
        normalization: str | None = "batch",
        activation: Any = "relu",
        output_activation: Any = None,
        graph: GraphLike | None = None,
        mask: ArrayLike | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(sampling, mask=mask, graph=graph, **kwargs)
        self.output_channels = check_count(outputs, "outputs")
        self.filters = check_widths("filters", filters)
        self.order = check_count(order, "order", least=0)
        self.block = check_choice(block, "block", BLOCKS)
        self.skip = check_choice(skip, "skip", SKIPS)
        self.pooling = check_choice(pooling, "pooling", POOLINGS)
        if unpooling is None:
            unpooling = "patch" if self.sampling.branching else "repeat"
        self.unpooling = check_choice(unpooling, "unpooling", UNPOOLINGS)
        self.normalization = check_normalization(normalization, "batch")
        self.activation = keras.activations.get(activation)
        self.output_activation = keras.activations.get(output_activation)
        samplings = resolutions(self.sampling, len(self.filters) - 1)
        levels = list(zip(self.filters, samplings, strict=True))
        self.down_blocks: list[UNetBlock] = []
        self.pools: list[keras.layers.Layer] = []
        self.unpools: list[keras.layers.Layer] = []
        self.up_blocks: list[UNetBlock] = []
        self.spreads: list[Unpool] = []
        for i, level in enumerate(levels):
            if i > 0:
                self.pools.append(self._make_pool(*levels[i - 1], f"pool_{i}"))
            self.down_blocks.append(self._make_block(*level, f"down_{i}"))
        for i, level in reversed(list(enumerate(levels[:-1]))):
            self.unpools.append(self._make_unpool(level[0], samplings[i + 1], f"unpool_{i + 1}"))
            self.up_blocks.append(self._make_block(*level, f"up_{i}"))
            if self.unpooling == "repeat":
                self.spreads.append(
                    Unpool(1, sampling=samplings[i + 1], finer=level[1], dtype=self.dtype_policy)
                )
        self.last = keras.layers.Dense(self.output_channels, dtype=self.dtype_policy, name="last")
        self.last_activate = keras.layers.Activation(
            self.output_activation, dtype=self.variable_dtype, name="last_activate"
        )

    def _make_block(self, filters: int, sampling: Sampling, name: str) -> UNetBlock:
        conv = partial(
            ChebyshevConv,
            filters,
            self.order,
            sampling=sampling,
            graph=self.graph_spec,
            normalization=self.normalization,
            dtype=self.dtype_policy,
        )
        return UNetBlock(
            conv, self.activation, self.block == "residual", dtype=self.dtype_policy, name=name
        )

    def _make_pool(self, filters: int, fine: Sampling, name: str) -> keras.layers.Layer:
        pool = make_pool(self.pooling, filters, dtype=self.dtype_policy, name=name)
        return pool.bind(fine, self.graph_spec)

    def _make_unpool(self, filters: int, coarse: Sampling, name: str) -> keras.layers.Layer:
        if self.unpooling == "patch":
            return PatchConvTranspose(filters, sampling=coarse, dtype=self.dtype_policy, name=name)
        return keras.layers.Dense(filters, dtype=self.dtype_policy, name=name)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build all layers for inputs of shape ``(batch, len(sampling), channels)``."""
        super().build(input_shape)
        shapes: list[Any] = [(None, *input_shape[1:])]
        for i, down in enumerate(self.down_blocks):
            if i > 0:
                self.pools[i - 1].build(shapes[-1])
                shapes.append(self.pools[i - 1].compute_output_shape(shapes[-1]))
            down.build(shapes[-1])
            shapes[-1] = down.compute_output_shape(shapes[-1])
        shape = shapes.pop()
        for i, (unpool, up) in enumerate(zip(self.unpools, self.up_blocks, strict=True)):
            unpool.build(shape)
            if self.spreads:
                self.spreads[i].build(unpool.compute_output_shape(shape))
            shape = shapes.pop()
            factor = 2 if self.skip == "concatenate" else 1
            up.build((*shape[:2], factor * shape[2]))
        self.last.build(shape)
        self.last_activate.build((*shape[:2], self.output_channels))

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Apply encoder and decoder."""
        mask = self.compute_mask(x, mask)
        x, _, kept = self._go_down(x, mask, training)
        return self._come_up(x, kept, mask, training)

    def _go_down(self, x: Any, mask: Any, training: bool | None) -> tuple[Any, Any, list[Any]]:
        """Return features and mask of the coarsest resolution, and a list of the finer ones."""
        x = self.down_blocks[0](hide(x, mask), training=training, mask=mask)
        kept = []
        for pool, down in zip(self.pools, self.down_blocks[1:], strict=True):
            kept.append((x, mask))
            x = pool(x, mask=mask)
            mask = pool.compute_mask(kept[-1][0], mask)
            x = down(x, training=training, mask=mask)
        return x, mask, kept

    def _come_up(self, x: Any, kept: list[Any], mask: Any, training: bool | None) -> Any:
        """Return the output, given the results of `_go_down` and the mask of the input."""
        for i, (unpool, up) in enumerate(zip(self.unpools, self.up_blocks, strict=True)):
            x = unpool(x)
            before, mask = kept.pop()
            if self.spreads:
                x = self.spreads[i](x)
            x = x + before if self.skip == "add" else keras.ops.concatenate([x, before], axis=-1)
            x = up(x, training=training, mask=mask)
        x = self.last_activate(self.last(x))
        return hide(x, mask) if self.survey is None else self.survey(x, mask=mask)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape with `outputs` channels."""
        return (*input_shape[:2], self.output_channels)

    def get_config(self) -> dict[str, Any]:
        """Return the model's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "outputs": self.output_channels,
            "filters": list(self.filters),
            "order": self.order,
            "block": self.block,
            "skip": self.skip,
            "pooling": self.pooling,
            "unpooling": self.unpooling,
            "normalization": self.normalization,
            "activation": keras.activations.serialize(self.activation),
            "output_activation": keras.activations.serialize(self.output_activation),
        }


class UNetBlock(keras.layers.Layer):
    """Two convolutions, with a shortcut if `residual`.

    Parameters
    ----------
    conv : callable
        Returns a convolution, given ``activation`` and ``name``.
    activation : callable
        Activation of both convolutions, or of the first one and of the sum if `residual`.
    residual : bool
        Whether to add the input, mapped linearly if the number of channels changes.
    **kwargs
        Arguments of `keras.layers.Layer`.
    """

    def __init__(self, conv: Any, activation: Any, residual: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.residual = residual
        self.conv1 = conv(activation=activation, name="conv1")
        self.conv2 = conv(activation=None if residual else activation, name="conv2")
        self.activation = activation
        self.shortcut: keras.layers.Layer | None = None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build both convolutions, and a linear shortcut if the number of channels changes."""
        shape = self.compute_output_shape(input_shape)
        self.conv1.build(input_shape)
        self.conv2.build(shape)
        if self.residual and input_shape[2] != shape[2]:
            self.shortcut = keras.layers.Dense(
                shape[2], use_bias=False, dtype=self.dtype_policy, name="shortcut"
            )
            self.shortcut.build(input_shape)

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Convolve twice; add the input if the block is residual."""
        y = self.conv1(x, training=training, mask=mask)
        y = self.conv2(y, training=training, mask=mask)
        if not self.residual:
            return y
        return self.activation(y + (x if self.shortcut is None else self.shortcut(x)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape with the convolutions' number of channels."""
        return (*input_shape[:2], self.conv1.filters)
