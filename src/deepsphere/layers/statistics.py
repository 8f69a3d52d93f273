"""Statistics over all pixels: rotation-invariant features."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from deepsphere._checks import check_count
from deepsphere.layers.base import PACKAGE, SphereLayer
from deepsphere.layers.masking import hide
from deepsphere.sampling import Sampling

STATISTICS = ("mean", "variance", "mean_variance", "max", "histogram")
RANGE = 2.0  # 95 % of standardized, normally distributed features lie within it


@keras.saving.register_keras_serializable(PACKAGE)
class Statistics(SphereLayer):
    """Summarize each map by statistics over its pixels.

    Input shape ``(batch, pixels, channels)``, output shape ``(batch, features)``. The result does
    not depend on the order of the pixels, so it makes a network of equivariant layers invariant to
    rotations. Pixels are weighted by their area, and those outside the mask are left out. All
    statistics of a map without observed pixels are 0.

    Parameters
    ----------
    statistic : {"mean", "variance", "mean_variance", "max", "histogram"}, default "mean"
        ``"mean"``: mean of each channel. ``"variance"``: mean squared deviation from the mean.
        ``"mean_variance"``: all means, then all variances. ``"max"``: largest value of each
        channel. ``"histogram"``: learned histogram of each channel, see below.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    bins : int, default 20
        Number of bins of each histogram, at least 2. The default is that of the earlier
        implementation.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Attributes
    ----------
    centers, widths : variable, shape (channels, bins)
        Learned bins, only with ``statistic="histogram"``. The value of a bin is the mean over the
        pixels of the triangle ``max(0, 1 - |x - center| / |width|)``. The centers start evenly
        spaced from -2 to 2, which suits standardized features, and the widths start at their
        spacing: neighboring bins overlap by half, and within this range the bins of a channel
        sum to 1.

    Raises
    ------
    TypeError
        If `bins` is not an integer or `sampling` is not a `Sampling`.
    ValueError
        If `statistic` is unknown or `bins` is less than 2. When the layer is built: if the input
        does not have the sampling's number of pixels.

    Notes
    -----
    The mean is the layer AV of the fully convolutional networks of Perraudin et al., arXiv
    1810.12186. The other kinds are in the code of that paper and of Defferrard et al., arXiv
    2012.15000. Learned histograms are due to Wang et al., "Learnable histogram", arXiv 1804.09398;
    the earlier implementation multiplied the distance by the width instead of dividing by it. The
    output lists all bins of the first channel, then those of the second, and so on.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> x = np.zeros((2, 192, 3), "float32")
    >>> tuple(Statistics("mean_variance", sampling=Healpix(4))(x).shape)
    (2, 6)
    >>> tuple(Statistics("histogram", sampling=Healpix(4), bins=10)(x).shape)
    (2, 30)
    """

    def __init__(
        self,
        statistic: str = "mean",
        *,
        sampling: Sampling | None = None,
        bins: int = 20,
        **kwargs: Any,
    ) -> None:
        if statistic not in STATISTICS:
            raise ValueError(f"statistic must be one of {', '.join(STATISTICS)}; got {statistic!r}")
        self.statistic = statistic
        self.bins = check_count(bins, "bins", least=2)
        super().__init__(sampling=sampling, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Look up the areas and create the weights of the histogram."""
        super().build(input_shape)
        areas = self.require_sampling().areas
        self._areas = None
        if not np.allclose(areas, areas[0], rtol=1e-6, atol=0):
            self._areas = (areas / areas.sum())[None, :, None]
        if self.statistic == "histogram":
            shape = (int(input_shape[2]), self.bins)  # type: ignore[arg-type]
            self.centers = self.add_weight(
                name="centers", shape=shape, initializer=_evenly_spaced, autocast=False
            )
            self.widths = self.add_weight(
                name="widths",
                shape=shape,
                initializer=keras.initializers.Constant(2 * RANGE / (self.bins - 1)),
                autocast=False,
            )

    def call(self, x: Any, mask: Any = None) -> Any:
        """Compute the statistics over the pixels within `mask`, in single precision."""
        x = keras.ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
        return keras.ops.cast(self._statistics(x, mask), self.compute_dtype)

    def _statistics(self, x: Any, mask: Any) -> Any:
        if self.statistic == "max":
            return _largest(x, mask)
        x, shares = hide(x, mask), self._shares(mask, x.dtype)
        if self.statistic == "histogram":
            return self._histogram(x, shares)
        mean = _average(x, shares)
        if self.statistic == "mean":
            return mean
        variance = _average(keras.ops.square(x - mean[:, None]), shares)
        if self.statistic == "variance":
            return variance
        return keras.ops.concatenate([mean, variance], axis=1)

    def _shares(self, mask: Any, dtype: Any) -> Any:
        # Weight of each pixel in an average, (batch or 1, pixels, 1); None if all are equal.
        areas = self._areas if self._areas is None else keras.ops.cast(self._areas, dtype)
        if mask is None:
            return areas
        weights = keras.ops.cast(mask, dtype)[..., None]
        if areas is not None:
            weights = weights * areas
        return keras.ops.divide_no_nan(weights, keras.ops.sum(weights, axis=1, keepdims=True))

    def _histogram(self, x: Any, shares: Any) -> Any:
        centers = keras.ops.cast(self.centers, x.dtype)
        widths = keras.ops.abs(keras.ops.cast(self.widths, x.dtype))
        widths = keras.ops.maximum(widths, keras.config.epsilon())

        @keras.remat  # otherwise training keeps several arrays of the size of x per bin
        def value(x: Any, center: Any, width: Any) -> Any:
            triangle = keras.ops.relu(1 - keras.ops.abs(x - center) / width)
            return _average(triangle, shares)

        values = [value(x, centers[:, k], widths[:, k]) for k in range(self.bins)]
        bins_last = keras.ops.stack(values, axis=2)
        return keras.ops.reshape(bins_last, (-1, x.shape[2] * self.bins))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return ``(batch, features)``."""
        factor = {"mean_variance": 2, "histogram": self.bins}.get(self.statistic, 1)
        return (input_shape[0], factor * input_shape[2])  # type: ignore[operator]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return None, because the output has no pixels to mask."""

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {**super().get_config(), "statistic": self.statistic, "bins": self.bins}


def _average(x: Any, shares: Any) -> Any:
    if shares is None:
        return keras.ops.mean(x, axis=1)
    return keras.ops.sum(x * shares, axis=1)


def _largest(x: Any, mask: Any) -> Any:
    y = keras.ops.max(hide(x, mask, float("-inf")), axis=1)
    if mask is None:
        return y
    any_observed = keras.ops.any(keras.ops.cast(mask, "bool"), axis=1)
    return hide(y[:, None], any_observed[:, None])[:, 0]


def _evenly_spaced(shape: tuple[int, int], dtype: Any = None) -> Any:
    row = keras.ops.linspace(-RANGE, RANGE, shape[1], dtype=dtype)
    return keras.ops.tile(row[None], (shape[0], 1))
