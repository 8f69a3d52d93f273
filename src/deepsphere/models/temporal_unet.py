"""U-Net for sequences of maps."""

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
    """U-Net from sequences of maps to one map, for forecasts or segmentation of the last map.

    The encoder of a `UNet` is applied to each map. At the coarsest resolution, where the receptive
    field of one step is largest, a `GraphConvLSTM` processes the sequence. The decoder starts from
    its last state and uses the encoder's features of the last map. Input shape
    ``(batch, time, len(sampling), channels)``, output shape ``(batch, len(sampling), outputs)``.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the maps. It needs ``len(filters) - 1`` coarser levels.
    outputs : int
        Number of channels of the output.
    **options
        Other arguments of `UNet`. The LSTM uses the last entry of `filters`, and `order`. A mask
        applies to all time steps.

    Raises
    ------
    TypeError, ValueError
        Under the conditions listed at `UNet`; ValueError also if the input, when the model is
        built, does not have shape ``(batch, time, len(sampling), channels)`` with known ``time``.

    Notes
    -----
    Shi et al., arXiv 1506.04214, within Ronneberger et al., arXiv 1505.04597. The number of weights
    of the LSTM does not depend on the number of pixels; with the defaults it is 10.5 million. The
    earlier PyTorch code, with a dense LSTM over all pixels of the coarsest maps, has 302 million.

    For a fixed small number of steps, a `UNet` that takes them as channels is simpler, see
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
            sampling=resolutions(self.sampling, len(self.filters) - 1)[-1],
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
        """Encode each map, apply the LSTM and decode; `mask` has shape ``(batch, pixels)``."""
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
