"""Layer that masks unobserved pixels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.layers.base import PACKAGE, SphereLayer
from deepsphere.layers.masking import hide
from deepsphere.sampling import Sampling
from deepsphere.sampling.encoding import decode_pixels, encode_pixels


@keras.saving.register_keras_serializable(PACKAGE)
class SurveyMask(SphereLayer):
    """Mask unobserved pixels for all layers that follow.

    Sets unobserved pixels to 0 and attaches a Keras mask to the features. Convolutions treat
    unobserved pixels as 0; pooling, statistics, batch normalization and
    `keras.layers.GlobalAveragePooling1D` leave them out. Unobserved pixels of the input never
    affect the output, even if they are NaN. Put the layer first in a model.

    Input and output shape ``(batch, pixels, channels)``.

    Parameters
    ----------
    mask : array_like of bool, shape (pixels,)
        True at observed pixels, for example `deepsphere.sampling.Footprint.observed`.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`.
    ValueError
        If `mask` is not a one-dimensional array of bool with one value per pixel of the sampling,
        or is False everywhere.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Footprint, Healpix, regions
    >>> mask = regions.disc(Healpix(8), lon=0, lat=0, radius=40)
    >>> footprint = Footprint.from_mask(mask, coarse_nside=4, nest=True)
    >>> layer = SurveyMask(footprint.observed, sampling=footprint.sampling)
    >>> x = np.full((1, len(footprint.sampling), 1), np.nan, "float32")
    >>> x[:, footprint.observed] = 1
    >>> bool(np.isfinite(np.asarray(layer(x))).all())
    True
    """

    def __init__(
        self, mask: ArrayLike | str, *, sampling: Sampling | None = None, **kwargs: Any
    ) -> None:
        if isinstance(mask, str):  # as written by get_config
            length, _, pixels = mask.partition(":")
            if not length.isdecimal():
                raise ValueError(
                    "mask must be an array of bool, or a string written by get_config; got "
                    f"{mask!r}"
                )
            observed = np.zeros(int(length), dtype=bool)
            observed[decode_pixels(pixels)] = True
        else:
            observed = np.asarray(mask)
            if observed.dtype == bool:
                observed = observed & ~np.ma.getmaskarray(np.ma.asarray(mask))
        if observed.dtype != bool or observed.ndim != 1 or not observed.any():
            raise ValueError(
                "mask must hold one bool per pixel, at least one of them True; got "
                f"{observed.dtype} of shape {observed.shape}"
            )
        self._observed = observed
        super().__init__(sampling=sampling, **kwargs)

    @property
    def observed(self) -> NDArray[np.bool_]:
        """True at observed pixels, shape (pixels,)."""
        return self._observed

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return the same sampling; raise ValueError if the mask has another length."""
        if len(sampling) != len(self._observed):
            raise ValueError(
                f"mask has {len(self._observed)} pixels, but the sampling {sampling} has "
                f"{len(sampling)}"
            )
        return sampling

    def call(self, x: Any, mask: Any = None) -> Any:
        """Set unobserved pixels to 0."""
        return hide(x, self.compute_mask(x, mask))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of every map in the batch, combined with any previous mask."""
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
