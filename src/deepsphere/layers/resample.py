"""From one sampling to any other, by interpolation."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.layers.base import PACKAGE, SphereLayer, check_count, check_sampling
from deepsphere.layers.masking import hide
from deepsphere.ops import SparseMap
from deepsphere.sampling import Sampling, serialize
from deepsphere.sampling.resampling import METHODS, interpolation_matrix


@keras.saving.register_keras_serializable(PACKAGE)
class Resample(SphereLayer):
    """Bring features from one sampling to any other.

    Input shape ``(batch, points, channels)``, output shape ``(batch, len(target), channels)``.

    Parameters
    ----------
    target : Sampling
        Where the outputs are sampled.
    method : {"nearest", "inverse_distance", "conservative"}, default "conservative"
        How, see `deepsphere.sampling.resampling.interpolation_matrix`. The default keeps the
        integral over the sphere exactly.
    neighbors : int, default 4
        How many points ``"inverse_distance"`` takes.
    sampling : Sampling, optional
        Where the inputs are sampled. Default: given by the model.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Equiangular, Healpix
    >>> layer = Resample(Healpix(8), sampling=Equiangular(16, 32))
    >>> tuple(layer(np.zeros((2, 512, 5), "float32")).shape)
    (2, 768, 5)
    """

    def __init__(
        self,
        target: Sampling,
        method: str = "conservative",
        neighbors: int = 4,
        sampling: Sampling | None = None,
        **kwargs: Any,
    ) -> None:
        self.target = check_sampling(target, "target")
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
        self.method = method
        self.neighbors = check_count("neighbors", neighbors, least=1)
        super().__init__(sampling, **kwargs)

    def resample(self, sampling: Sampling) -> Sampling:  # noqa: ARG002
        """Return the target."""
        return self.target

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Find the weights."""
        super().build(input_shape)
        self._map = SparseMap(
            interpolation_matrix(self.require_sampling(), self.target, self.method, self.neighbors)
        )

    def call(self, x: Any, mask: Any = None) -> Any:
        """Interpolate what was observed; 0 where nothing near was."""
        y = self._map(hide(x, mask))
        if mask is None:
            return y
        return keras.ops.divide_no_nan(y, self._map(keras.ops.cast(mask, y.dtype)[..., None]))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:  # noqa: ARG002
        """Return which points of the target have anything observed near."""
        if previous_mask is None:
            return None
        seen = self._map(keras.ops.cast(previous_mask, "float32")[..., None])[..., 0]
        return seen > 0

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape with the target's number of points."""
        return (input_shape[0], len(self.target), input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments from which `from_config` makes an equal layer."""
        return {
            **super().get_config(),
            "target": serialize(self.target),
            "method": self.method,
            "neighbors": self.neighbors,
        }
