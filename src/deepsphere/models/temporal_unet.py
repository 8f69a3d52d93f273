"""U-Net with a memory: a map from the maps before it."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.layers import GraphConvLSTM
from deepsphere.layers.base import PACKAGE
from deepsphere.layers.masking import hide
from deepsphere.models.base import resolutions
from deepsphere.models.unet import UNet
from deepsphere.sampling import Sampling


@keras.saving.register_keras_serializable(PACKAGE)
class TemporalUNet(UNet):
    """A network from sequences of maps to a map: what comes next, or what the last one shows.

    Each map goes down the same `UNet`. At its coarsest resolution, where one step looks far, a
    `GraphConvLSTM` remembers them; from there the last state comes up, joined by what the last map
    left at each resolution. Input shape ``(batch, time, len(sampling), channels)``, output shape
    ``(batch, len(sampling), outputs)``.

    Parameters
    ----------
    sampling : Sampling
        Where the maps are sampled.
    outputs : int
        Number of channels of the output.
    **options
        Other arguments of `UNet`; the memory has the last of `filters`, and `order`. With a mask,
        the same pixels are observed at all times.

    Raises
    ------
    TypeError, ValueError
        As for `UNet`; or, when the model meets its input, if that is not a sequence of maps of
        known length.

    Notes
    -----
    Shi et al., arXiv 1506.04214, inside of Ronneberger et al., arXiv 1505.04597. The memory's
    weights do not depend on the number of pixels: at the defaults they are 10.5 million. The
    earlier PyTorch code, with a dense LSTM over all pixels of the coarsest maps, has 302 million.

    For a few steps that matter as such, a `UNet` that takes them as channels is simpler, see
    `deepsphere.layers.GraphConvLSTM`.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> model = TemporalUNet(Healpix(8), outputs=1, filters=(8, 16), order=2)
    >>> model.build((None, 5, 768, 2))
    >>> model.compute_output_shape((None, 5, 768, 2))
    (None, 768, 1)
    """

    def __init__(self, sampling: Sampling, outputs: int, **options: Any) -> None:
        super().__init__(sampling, outputs, **options)
        self.memory = GraphConvLSTM(
            self.filters[-1],
            self.order,
            resolutions(self.sampling, len(self.filters) - 1)[-1],
            graph=self.graph_spec,
            dtype=self.dtype_policy,
            name="memory",
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build all layers for inputs of shape ``(batch, time, len(sampling), channels)``."""
        if len(input_shape) != 4 or not input_shape[1]:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} needs inputs of shape (batch, time, "
                f"{len(self.sampling)}, channels) with a known time, got {tuple(input_shape)}"
            )
        self.steps = int(input_shape[1])
        super().build((input_shape[0], *input_shape[2:]))
        coarse = self.memory.cell.input_points
        self.memory.build((None, self.steps, coarse, self.filters[-1]))
        points, channels = input_shape[2:]
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={2: points, 3: channels})

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Take each map down, remember, and come up from there; `mask` is that of the pixels."""
        steps = x.shape[1]
        mask = self.compute_mask(x[:, -1], mask)
        masks = None if mask is None else keras.ops.repeat(mask, steps, axis=0)
        maps = keras.ops.reshape(x, (-1, *x.shape[2:]))

        def in_time(y: Any) -> Any:
            return keras.ops.reshape(y, (-1, steps, *y.shape[1:]))

        y, seen, kept = self._go_down(maps, masks, training)
        y = self.memory(in_time(hide(y, seen)), training=training)
        last = [tuple(None if z is None else in_time(z)[:, -1] for z in pair) for pair in kept]
        return self._come_up(y, last, mask, training)

    @property
    def _map_shape(self) -> tuple[int, ...]:
        return self.steps, len(self.sampling), self.input_spec.axes[3]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of one map with `outputs` channels."""
        return (input_shape[0], len(self.sampling), self.output_channels)
