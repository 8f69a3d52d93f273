"""Down-sampling along the hierarchy of a sampling, without weights."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.layers.base import PACKAGE, SphereLayer, check_count
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

    def call(self, x: Any) -> Any:
        """Take the maximum or mean of the children of each coarse pixel."""
        children = self.require_sampling().branching ** self.p
        x = keras.ops.reshape(x, (-1, x.shape[1] // children, children, x.shape[2]))
        return keras.ops.max(x, axis=2) if self.mode == "max" else keras.ops.mean(x, axis=2)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape with the coarser sampling's number of pixels."""
        return (input_shape[0], len(self.output_sampling), input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments from which `from_config` makes an equal layer."""
        return {**super().get_config(), "p": self.p, "mode": self.mode}
