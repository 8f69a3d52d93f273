"""Interpolation from one sampling to any other."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from deepsphere._checks import check_count
from deepsphere.layers.base import PACKAGE, SphereLayer, as_sampling
from deepsphere.layers.masking import hide
from deepsphere.ops import SparseMap
from deepsphere.sampling import Sampling, serialize
from deepsphere.sampling.missing import UNSEEN
from deepsphere.sampling.resampling import METHODS, interpolation_matrix


@keras.saving.register_keras_serializable(PACKAGE)
class Resample(SphereLayer):
    """Interpolate features from one sampling to any other.

    Input shape ``(batch, points, channels)``, output shape ``(batch, len(target), channels)``.

    Parameters
    ----------
    target : Sampling
        Sampling of the output.
    method : {"conservative", "bilinear", "inverse_distance", "nearest"}, default "conservative"
        Method of interpolation, see `deepsphere.sampling.resampling.interpolation_matrix`. The
        default preserves the integral over the sphere; ``"bilinear"`` has the smallest errors on
        smooth fields, and ``"nearest"`` preserves categorical values such as classes.
    neighbors : int, default 4
        Number of points that ``"inverse_distance"`` averages.
    skip_missing : bool, default False
        Whether to treat NaN and healpy's ``UNSEEN`` as missing, separately in each map and channel.
        An output is then the mean of the values present, with the same weights, and NaN if all
        are missing. By default NaN spreads to every output in which it has a weight, so no mean
        hides missing data.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `target` or `sampling` is not a `Sampling`, or `neighbors` is not an integer.
    ValueError
        If `method` is unknown or `neighbors` is less than 1. When the layer is built: if the input
        does not have the sampling's number of points, or if, with ``"conservative"``, cells of the
        input's sampling do not cover some points of the target (with `skip_missing`, these points
        are NaN instead).

    Notes
    -----
    A Keras mask is always respected: outputs are means of observed pixels, and 0 and masked where
    there are none. With both a mask and `skip_missing`, only values within the mask that are not
    missing count.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Equiangular, Healpix
    >>> layer = Resample(Healpix(8), sampling=Equiangular(16, 32))
    >>> tuple(layer(np.zeros((2, 512, 5), "float32")).shape)
    (2, 768, 5)

    A map with a gap:

    >>> x = np.ones((1, 512, 1), "float32")
    >>> x[0, 100:200] = np.nan
    >>> count = lambda y: int(np.isnan(np.asarray(y)).sum())
    >>> keeping = Resample(Healpix(8), sampling=Equiangular(16, 32))
    >>> skipping = Resample(Healpix(8), sampling=Equiangular(16, 32), skip_missing=True)
    >>> count(keeping(x)) > count(skipping(x)) > 0
    True
    """

    def __init__(
        self,
        target: Sampling,
        method: str = "conservative",
        neighbors: int = 4,
        *,
        sampling: Sampling | None = None,
        skip_missing: bool = False,
        **kwargs: Any,
    ) -> None:
        self.target = as_sampling(target, "target")
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
        self.method = method
        self.neighbors = check_count(neighbors, "neighbors")
        self.skip_missing = bool(skip_missing)
        super().__init__(sampling=sampling, **kwargs)

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:  # noqa: ARG002
        """Return the target."""
        return self.target

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Compute the interpolation weights."""
        super().build(input_shape)
        self._map = SparseMap(
            interpolation_matrix(
                self.require_sampling(),
                self.target,
                self.method,
                self.neighbors,
                allow_uncovered=self.skip_missing,
            )
        )

    def call(self, x: Any, mask: Any = None) -> Any:
        """Interpolate observed pixels; where none is near, return 0, or NaN with `skip_missing`."""
        if self.skip_missing:
            return self._skip_missing(x, mask)
        y = self._map(hide(x, mask))
        if mask is None:
            return y
        return keras.ops.divide_no_nan(y, self._map(keras.ops.cast(mask, y.dtype)[..., None]))

    def _skip_missing(self, x: Any, mask: Any) -> Any:
        """Return the means of the values present, computed in at least single precision."""
        dtype = keras.backend.standardize_dtype(x.dtype)
        wide = "float64" if dtype == "float64" else "float32"
        x = keras.ops.cast(x, wide)
        missing = keras.ops.isnan(x) | (keras.ops.abs(x - UNSEEN) <= 1e-5 * abs(UNSEEN))
        if mask is not None:
            missing = missing | ~keras.ops.cast(mask, "bool")[..., None]
        # Keep NaN out of products, and divisions by 0 out of gradients.
        y = self._map(keras.ops.where(missing, 0.0, x))
        share = self._map(keras.ops.cast(~missing, wide))
        y = y / keras.ops.where(share > 0, share, 1.0)
        y = keras.ops.where(share > 0, y, np.nan)
        return keras.ops.cast(hide(y, self.compute_mask(x, mask)), dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:  # noqa: ARG002
        """Return the mask of the target: True where any weight falls on an observed pixel."""
        if previous_mask is None:
            return None
        if isinstance(previous_mask, keras.KerasTensor):  # a functional model is being built
            return keras.KerasTensor((previous_mask.shape[0], len(self.target)), "bool")
        seen = self._map(keras.ops.cast(previous_mask, "float32")[..., None])[..., 0]
        return seen > 0

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return ``(batch, len(target), channels)``."""
        return (input_shape[0], len(self.target), input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "target": serialize(self.target),
            "method": self.method,
            "neighbors": self.neighbors,
            "skip_missing": self.skip_missing,
        }
