"""Down-sampling along the hierarchy of a sampling, without weights."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.layers.base import PACKAGE, SphereLayer, check_count
from deepsphere.layers.masking import hide
from deepsphere.ops import pool
from deepsphere.sampling import Sampling

MODES = ("max", "mean")


@keras.saving.register_keras_serializable(PACKAGE)
class Pool(SphereLayer):
    """Pool the pixels that share a coarser pixel.

    Input shape ``(batch, pixels, channels)``, output shape
    ``(batch, pixels / 4**p, channels)`` on HEALPix.

    Parameters
    ----------
    p : int, default 1
        Number of resolution levels to go down; on HEALPix, `nside` is divided by ``2**p``.
    mode : str, default "max"
        ``"max"`` or ``"mean"``.
    sampling : Sampling, optional
        Where the inputs are sampled. Default: given by the model.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the sampling has no such coarser resolution.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> tuple(Pool(sampling=Healpix(4))(np.zeros((2, 192, 5), "float32")).shape)
    (2, 48, 5)
    """

    def __init__(
        self, p: int = 1, mode: str = "max", sampling: Sampling | None = None, **kwargs: Any
    ) -> None:
        self.p = check_count("p", p, least=1)
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}; got {mode!r}")
        self.mode = mode
        super().__init__(sampling, **kwargs)

    def resample(self, sampling: Sampling) -> Sampling:
        """Return the sampling `p` levels coarser."""
        return sampling.coarsen(self.p)

    def call(self, x: Any, mask: Any = None) -> Any:
        """Take the maximum or mean of the observed children of each coarse pixel, or 0 of none."""
        children = self.require_sampling().branching ** self.p
        coarse = x.shape[1] // children
        # Finite: other runtimes, to which models are exported, multiply it by 0.
        lowest = (
            (-65504.0 if keras.backend.standardize_dtype(x.dtype) == "float16" else -3e38)
            if self.mode == "max"
            else 0.0
        )
        y = pool(hide(x, mask, lowest), children, self.mode)
        if mask is None:
            return y
        share = keras.ops.mean(
            keras.ops.reshape(keras.ops.cast(mask, y.dtype), (-1, coarse, children)), axis=2
        )[..., None]
        if self.mode == "max":
            return keras.ops.where(share > 0, y, keras.ops.zeros_like(y))
        return keras.ops.divide_no_nan(y, share)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape with the coarser sampling's number of pixels."""
        return (input_shape[0], len(self.output_sampling), input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments from which `from_config` makes an equal layer."""
        return {**super().get_config(), "p": self.p, "mode": self.mode}
