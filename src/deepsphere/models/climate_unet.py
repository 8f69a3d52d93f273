"""U-Net of the papers for the segmentation of extreme climate events."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from numpy.typing import ArrayLike

from deepsphere._checks import check_count
from deepsphere.graph import Graph, GraphLike
from deepsphere.layers import ChebyshevConv, Pool, Unpool
from deepsphere.layers.base import PACKAGE
from deepsphere.layers.masking import hide
from deepsphere.models.base import SphereModel, check_widths, resolutions
from deepsphere.sampling import Sampling

PAPER_GRAPH = Graph(20, laplacian="combinatorial")


@keras.saving.register_keras_serializable(PACKAGE)
class ClimateUNet(SphereModel):
    """U-Net of the papers for extreme climate events, layer for layer.

    The encoder has two convolutions at the finest resolution and one after each pooling, the last
    of them without normalization and activation. At each resolution, the decoder unpools the
    features of the coarser one, convolves, concatenates the features of the encoder and convolves
    again; the finest resolution has no such skip connection. The output is the probabilities of the
    classes: background, tropical cyclones and atmospheric rivers. Input shape
    ``(batch, len(sampling), channels)``, output shape ``(batch, len(sampling), outputs)``.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the maps, with ``len(filters) - 1`` coarser levels. The papers use
        ``Icosahedral(5)``.
    outputs : int, default 3
        Number of classes.
    filters : sequence of int, default (64, 128, 256, 512, 512, 512)
        Number of channels at each resolution, from fine to coarse. The first must be even.
    order : int, default 2
        Degree of the polynomials. The default has three terms, the ``kernel_size=3`` of the papers'
        code.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: ``Graph(20, laplacian="combinatorial")``, as in the papers' code.
    mask : array_like of bool, shape (len(sampling),), optional
        True at observed pixels, see `UNet`.
    **kwargs
        Arguments of `keras.Model`: ``name``, ``dtype``, ``trainable``.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, `outputs`, `order` or an entry of `filters` is not an
        integer, or `graph` is not a `Graph`, an integer or a string.
    ValueError
        If one of these integers is less than 1 (`order`: less than 0), `filters` is empty or its
        first entry is odd, `graph` is an unknown name, `mask` does not hold one bool per pixel or
        is False everywhere, or the sampling has too few coarser levels.

    Notes
    -----
    Defferrard et al., arXiv 2012.15000, section 4.3, and ``SphericalUNet`` of the PyTorch code,
    which has 5 763 491 trainable weights for 16 input channels. This class omits 6 912 redundant
    ones: offsets and factors of batch normalization, which duplicate bias and kernel of the
    convolution.

    Examples
    --------
    >>> from deepsphere.sampling import Icosahedral
    >>> model = ClimateUNet(Icosahedral(3), filters=(8, 16, 16, 32))
    >>> model.build((None, 642, 16))
    >>> model.compute_output_shape((None, 642, 16))
    (None, 642, 3)
    """

    def __init__(
        self,
        sampling: Sampling,
        outputs: int = 3,
        *,
        filters: Sequence[int] = (64, 128, 256, 512, 512, 512),
        order: int = 2,
        graph: GraphLike | None = None,
        mask: ArrayLike | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            sampling, mask=mask, graph=PAPER_GRAPH if graph is None else graph, **kwargs
        )
        self.output_channels = check_count(outputs, "outputs")
        self.filters = check_widths("filters", filters)
        self.order = check_count(order, "order", least=0)
        if self.filters[0] % 2:
            raise ValueError(f"the first of filters must be even, got {self.filters[0]}")
        levels = resolutions(self.sampling, len(self.filters) - 1)
        fine, half, shared = levels[0], self.filters[0] // 2, {"dtype": self.dtype_policy}
        conv = partial(ChebyshevConv, order=self.order, graph=self.graph_spec, **shared)
        norm = partial(conv, normalization="batch", activation="relu")
        self.first = norm(filters=half, sampling=fine, name="first")
        *inner, last = list(zip(self.filters, levels, strict=True))
        self.down = [
            norm(filters=width, sampling=level, name=f"down_{i}")
            for i, (width, level) in enumerate(inner)
        ]
        self.pools = [
            Pool(mode="mean", sampling=level, name=f"pool_{i}", **shared)
            for i, (_, level) in enumerate(inner)
        ]
        self.bottom = conv(filters=last[0], sampling=last[1], name="bottom")
        # From coarse to fine; the finest resolution has no skip connection.
        self.unpools = [
            Unpool(1, sampling=levels[i + 1], finer=levels[i], name=f"unpool_{i}", **shared)
            for i in reversed(range(len(inner)))
        ]
        self.before, self.after = [], []
        for i in reversed(range(1, len(inner))):
            place = {"filters": self.filters[i - 1], "sampling": levels[i]}
            self.before.append(norm(**place, name=f"before_{i}"))
            self.after.append(norm(**place, name=f"after_{i}"))
        self.up = norm(filters=half, sampling=fine, name="up")
        self.last = conv(filters=self.output_channels, sampling=fine, name="last")
        self.last_activate = keras.layers.Activation(
            "softmax", dtype=self.variable_dtype, name="last_activate"
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build all layers for inputs of shape ``(batch, len(sampling), channels)``."""
        super().build(input_shape)
        shape: tuple[int | None, ...] = (None, *input_shape[1:])
        shape = _build(self.first, shape)
        kept = []
        for down, pool in zip(self.down, self.pools, strict=True):
            kept.append(_build(down, shape))
            shape = _build(pool, kept[-1])
        shape = _build(self.bottom, shape)
        for unpool, before, after in zip(self.unpools, self.before, self.after, strict=False):
            shape = _build(before, _build(unpool, shape))
            joined = kept.pop()
            shape = _build(after, (*shape[:2], shape[2] + joined[2]))  # type: ignore[operator]
        shape = _build(self.up, _build(self.unpools[-1], shape))
        self.last_activate.build(_build(self.last, shape))

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Apply encoder and decoder."""
        mask = self.compute_mask(x, mask)
        x = self.first(hide(x, mask), training=training, mask=mask)
        kept = []
        for down, pool in zip(self.down, self.pools, strict=True):
            x = down(x, training=training, mask=mask)
            kept.append((x, mask))
            fine = x
            x = pool(fine, mask=mask)
            mask = pool.compute_mask(fine, mask)
        x = self.bottom(x, mask=mask)
        for unpool, before, after in zip(self.unpools, self.before, self.after, strict=False):
            joined, mask = kept.pop()
            x = before(unpool(x), training=training, mask=mask)
            x = keras.ops.concatenate([x, joined], axis=-1)
            x = after(x, training=training, mask=mask)
        _, mask = kept.pop()
        x = self.up(self.unpools[-1](x), training=training, mask=mask)
        x = self.last_activate(self.last(x, mask=mask))
        return hide(x, mask) if self.survey is None else self.survey(x, mask=mask)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape with `outputs` channels."""
        return (*input_shape[:2], self.output_channels)

    def get_config(self) -> dict[str, Any]:
        """Return the model's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "outputs": self.output_channels,
            "filters": self.filters,
            "order": self.order,
        }


def _build(layer: keras.layers.Layer, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Build a layer and return the shape of its output."""
    layer.build(shape)
    return tuple(layer.compute_output_shape(shape))
