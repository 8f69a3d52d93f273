"""The layer that tells a network which pixels were observed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.layers.base import PACKAGE, SphereLayer
from deepsphere.layers.masking import hide
from deepsphere.sampling import Sampling
from deepsphere.sampling.pixel_codec import decode_pixels, encode_pixels


@keras.saving.register_keras_serializable(PACKAGE)
class SurveyMask(SphereLayer):
    """Mark which pixels were observed, for all layers that follow.

    Pixels outside become 0 here, and the mask goes along with the features as Keras masks do:
    convolutions take unobserved pixels as 0, pooling, statistics and batch normalization leave
    them out, and so does `keras.layers.GlobalAveragePooling1D`. What the unobserved pixels of the
    input hold, also NaN, never changes the output. Put the layer first in a model.

    Input and output shape ``(batch, pixels, channels)``.

    Parameters
    ----------
    mask : array_like of bool, shape (pixels,)
        True at observed pixels, such as `deepsphere.sampling.Footprint.observed`.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    ValueError
        If the mask is not one bool per pixel, or False everywhere.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Footprint, Healpix, regions
    >>> mask = regions.disc(Healpix(8), lon=0, lat=0, radius=40)
    >>> footprint = Footprint.from_mask(mask, coarse_nside=4, nest=True)
    >>> layer = SurveyMask(footprint.observed, footprint.sampling)
    >>> x = np.full((1, len(footprint.sampling), 1), np.nan, "float32")
    >>> x[:, footprint.observed] = 1
    >>> bool(np.isfinite(np.asarray(layer(x))).all())
    True
    """

    def __init__(
        self, mask: ArrayLike | str, sampling: Sampling | None = None, **kwargs: Any
    ) -> None:
        if isinstance(mask, str):  # as written by get_config
            length, _, pixels = mask.partition(":")
            observed = np.zeros(int(length), dtype=bool)
            observed[decode_pixels(pixels)] = True
        else:
            observed = np.asarray(mask)
            if observed.dtype == bool:
                observed = observed & ~np.ma.getmaskarray(np.ma.asarray(mask))
        if observed.dtype != bool or observed.ndim != 1 or not observed.any():
            raise ValueError(
                "mask must hold one bool per pixel, some of them True; "
                f"got {observed.dtype} of shape {observed.shape}"
            )
        self._observed = observed
        super().__init__(sampling, **kwargs)

    @property
    def observed(self) -> NDArray[np.bool_]:
        """True at observed pixels, shape (pixels,)."""
        return self._observed

    def resample(self, sampling: Sampling) -> Sampling:
        """Return the same sampling, or raise if the mask is that of another."""
        if len(sampling) != len(self._observed):
            raise ValueError(
                f"mask has {len(self._observed)} pixels, but the sampling {sampling} has "
                f"{len(sampling)}"
            )
        return sampling

    def call(self, x: Any, mask: Any = None) -> Any:
        """Put 0 where nothing was observed."""
        return hide(x, self.compute_mask(x, mask))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask for every map of the batch; one that came before holds as well."""
        if previous_mask is None:
            previous_mask = keras.ops.ones_like(inputs[..., 0], dtype="bool")
        return keras.ops.logical_and(previous_mask, self._observed)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        pixels = encode_pixels(np.flatnonzero(self._observed))
        return {**super().get_config(), "mask": f"{len(self._observed)}:{pixels}"}
