"""From one sampling to any other, by interpolation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from deepsphere.layers.base import PACKAGE, SphereLayer, check_count, check_sampling
from deepsphere.layers.masking import hide
from deepsphere.ops import SparseMap
from deepsphere.sampling import UNSEEN, Sampling, serialize
from deepsphere.sampling.resampling import METHODS, interpolation_matrix


@keras.saving.register_keras_serializable(PACKAGE)
class Resample(SphereLayer):
    """Bring features from one sampling to any other.

    Input shape ``(batch, points, channels)``, output shape ``(batch, len(target), channels)``.

    Parameters
    ----------
    target : Sampling
        Where the outputs are sampled.
    method : {"conservative", "bilinear", "inverse_distance", "nearest"}, default "conservative"
        How, see `deepsphere.sampling.resampling.interpolation_matrix`. The default keeps the
        integral over the sphere; ``"bilinear"`` has the smallest errors on smooth fields, and
        ``"nearest"`` keeps values such as classes.
    neighbors : int, default 4
        How many points ``"inverse_distance"`` takes.
    skip_missing : bool, default False
        Whether values that are NaN or healpy's ``UNSEEN`` count as missing, in each map and
        channel by itself: an output is then the mean of what is there, by the same weights, and
        NaN where nothing is. By default NaN spreads to every output that it has a weight in, so
        that no mean pretends to have seen what it has not.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described. When it is built: if points of the target lie where
        ``"conservative"`` has no cells of the input's sampling; with `skip_missing` they are NaN.

    Notes
    -----
    A Keras mask, which says what was observed of whole pixels, is always heeded: outputs are
    means of what was observed, and 0 and masked where nothing was. With a mask and
    `skip_missing`, what counts has to be both within the mask and not missing.

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
        sampling: Sampling | None = None,
        skip_missing: bool = False,
        **kwargs: Any,
    ) -> None:
        self.target = check_sampling(target, "target")
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
        self.method = method
        self.neighbors = check_count("neighbors", neighbors, least=1)
        self.skip_missing = bool(skip_missing)
        super().__init__(sampling, **kwargs)

    def resample(self, sampling: Sampling) -> Sampling:  # noqa: ARG002
        """Return the target."""
        return self.target

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Find the weights."""
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
        """Interpolate what was observed; where nothing near was, 0 or, if skipped, NaN."""
        if self.skip_missing:
            return self._skip_missing(x, mask)
        y = self._map(hide(x, mask))
        if mask is None:
            return y
        return keras.ops.divide_no_nan(y, self._map(keras.ops.cast(mask, y.dtype)[..., None]))

    def _skip_missing(self, x: Any, mask: Any) -> Any:
        """Take the means of what is there, in at least single precision."""
        dtype = keras.backend.standardize_dtype(x.dtype)
        wide = "float64" if dtype == "float64" else "float32"
        x = keras.ops.cast(x, wide)
        missing = keras.ops.isnan(x) | (keras.ops.abs(x - UNSEEN) <= 1e-5 * abs(UNSEEN))
        if mask is not None:
            missing = missing | ~keras.ops.cast(mask, "bool")[..., None]
        # NaN must not enter a product, nor the division a gradient, where nothing is there.
        y = self._map(keras.ops.where(missing, 0.0, x))
        share = self._map(keras.ops.cast(~missing, wide))
        y = y / keras.ops.where(share > 0, share, 1.0)
        y = keras.ops.where(share > 0, y, np.nan)
        return keras.ops.cast(hide(y, self.compute_mask(x, mask)), dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:  # noqa: ARG002
        """Return which points of the target have anything observed near."""
        if previous_mask is None:
            return None
        if isinstance(previous_mask, keras.KerasTensor):  # while a model is put together
            return keras.KerasTensor((previous_mask.shape[0], len(self.target)), "bool")
        seen = self._map(keras.ops.cast(previous_mask, "float32")[..., None])[..., 0]
        return seen > 0

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape with the target's number of points."""
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
