"""Smoothing with a Gaussian beam, without weights."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import isfinite, log, pi, sqrt
from typing import Any
from weakref import WeakValueDictionary

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere.layers.base import PACKAGE, SphereLayer
from deepsphere.layers.beam import SUPPORT, beam_passes, check_beam, gaussian_beam, surroundings
from deepsphere.layers.masking import hide
from deepsphere.ops import SparseOperator
from deepsphere.ops.products import sparse_product
from deepsphere.sampling import Sampling

UNITS = {"arcmin": pi / 180 / 60, "degree": pi / 180, "rad": 1.0}
"""Units of widths, in rad."""


MARGIN = 2.0
"""Margin around a part of the sphere, in standard deviations, on which the passes of wide kernels
also run. The error on white noise is 4 to 23 % with 0, and at most 0.6 % with 2 or 4."""


@dataclass(frozen=True, eq=False)
class Beam:
    """Smoothing with a Gaussian as an operator: ``y = after * B^passes (before * x)``.

    The matrix of `deepsphere.layers.beam.gaussian_beam` is ``A = D^-1 B D`` with a diagonal ``D``
    and a symmetric ``B``, which serves as its own operator in the gradient.

    Attributes
    ----------
    operator : SparseOperator of size N >= n
        ``B``, on the n pixels of a sampling and on the pixels around them.
    passes : int
        Number of times that `operator` is applied.
    before, after : ndarray of float64, shape (n, 1)
        ``D``, and its inverse corrected for what spreads to the pixels around the sampling.
    """

    operator: SparseOperator
    passes: int
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    def __deepcopy__(self, memo: dict[int, Any]) -> Beam:
        return self  # immutable, shared and large


_beams: WeakValueDictionary[Hashable, Beam] = WeakValueDictionary()


def gaussian_operator(sampling: Sampling, sigma: float, support: float = SUPPORT) -> Beam:
    """Return the operator that smooths with a Gaussian; equal arguments share one operator.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the maps.
    sigma : float
        Standard deviation in rad.
    support : float, default 4
        Radius of the kernel of each pass, in units of its standard deviation.

    Returns
    -------
    Beam
        The operator. The cache holds it weakly.
    """
    key = (sampling, sigma, support)
    beam = _beams.get(key)
    if beam is None:
        beam = _beams[key] = _make_beam(*key)
    return beam


def _make_beam(sampling: Sampling, sigma: float, support: float) -> Beam:
    n, passes = len(sampling), beam_passes(sampling, sigma)
    around = surroundings(sampling, MARGIN * sigma) if passes > 1 else None
    matrix = gaussian_beam(sampling, sigma / sqrt(passes), support, around)
    areas = sampling.areas if around is None else np.append(sampling.areas, around.areas)
    # A_ij = a_j K_ij / d_i with K_ii = 1, so that D = sqrt(a d) = a / sqrt(A_ii).
    scale = areas / np.sqrt(matrix.diagonal())
    scale /= scale.mean()
    matrix.data *= np.repeat(scale, np.diff(matrix.indptr))
    matrix.data /= scale[matrix.indices]
    operator = SparseOperator(matrix)
    operator.transpose = operator
    left = scale * (np.arange(len(scale)) < n)  # response to 1 on the sampling and 0 around it
    for _ in range(passes if around is not None else 0):
        left = matrix @ left
    return Beam(operator, passes, scale[:n, None], 1 / left[:n, None])


@keras.saving.register_keras_serializable(PACKAGE)
class GaussianSmoothing(SphereLayer):
    """Smooth each channel with a Gaussian beam.

    Computes ``y_i = sum_j w_ij a_j x_j / sum_j w_ij a_j`` with ``w_ij = exp(-r_ij^2 / 2 sigma^2)``,
    the great-circle distance ``r`` and the pixel areas ``a``. Both sums are over the observed
    pixels of the sampling, so a constant map stays constant, even at edges. Unobserved pixels of
    the output are 0. Input and output have shape ``(batch, pixels, channels)``.

    Parameters
    ----------
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    fwhm : float or sequence of float
        Full width at half maximum of the beam, ``sigma sqrt(8 ln 2)``, one value for all channels
        or one per channel. 0 leaves a channel unchanged.
    sigma : float or sequence of float
        Standard deviation along either axis. Give either `sigma` or `fwhm`.
    unit : {"arcmin", "degree", "rad"}, default "arcmin"
        Unit of the width.
    support : float, default 4
        Cutoff radius of the kernel in standard deviations. At 4 the kernel loses 0.03 % of its mass
        and 0.3 % of its variance, mostly less than the effect of pixelization (see below); 5 takes
        1.6 times as long. At 3 it loses 1.1 % and 5 %.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `sampling` is not a `Sampling`, or `fwhm` or `sigma` is not numeric.
    ValueError
        If both or neither of `fwhm` and `sigma` are given, widths are neither a number nor a
        sequence of numbers, a width is negative, infinite or more than pi rad, `unit` is unknown,
        or `support` is not positive and finite. When the layer is built: if the number of widths
        differs from the number of channels, or the input does not have the sampling's number of
        pixels.

    Notes
    -----
    Kernels wider than 1.5 pixel spacings (square root of the mean area) are applied in several
    passes, because variances add. Together the passes take as many multiplications as a single one,
    so time grows with ``sigma^2``. Smooth very wide beams on a coarser sampling.

    On the whole sphere, the layer approximates a multiplication of the spherical harmonics by
    ``exp(-l (l + 1) sigma^2 / 2)``. The table shows the root mean square difference from
    `healpy.smoothing` at nside 32, relative to the standard deviation of healpy's maps, for white
    noise, which has most of its power at the pixel scale, and for a map with
    ``C_l = 1 / (l + 10)^2``:

    ===================== ====== ====== ====== ====== ====== ====== ======
    sigma / pixel spacing    0.5   0.75      1    1.5      2      3      8
    ===================== ====== ====== ====== ====== ====== ====== ======
    white noise             44 %   10 %  2.1 %  0.6 %  0.5 %  0.5 %  0.7 %
    falling spectrum        11 %  3.0 %  0.8 %  0.2 %  0.2 %  0.2 %  0.3 %
    ===================== ====== ====== ====== ====== ====== ====== ======

    At nside 64 the last four columns are half as large. With a support of 3 they are 1 to 4 %. With
    5, those of the falling spectrum at 3 and 8 spacings are lower by factors of 1.4 and 2.7, and
    the others hardly change. A beam narrower than one pixel spacing is undersampled: it smooths too
    little, and below 0.3 spacings hardly at all.

    The total of a map on the whole sphere is preserved to 0.2 % of its root mean square, and the
    contribution of a single pixel to 2.2 %, because HEALPix is not perfectly regular.

    At edges and under masks, both sums run through all passes before they are divided. On part of a
    HEALPix sphere, the passes also run on the surrounding pixels up to 2 sigma away. The result
    thus equals that of a single wide kernel, to 0.6 % on white noise up to ``sigma`` = 15 degrees.
    Beyond that, the passes follow the harmonics, and the formula above departs from them. On other
    samplings with edges, each pass of a wide kernel is normalized separately.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> layer = GaussianSmoothing(sampling=Healpix(8), fwhm=[20, 0], unit="degree")
    >>> y = layer(np.ones((2, 768, 2), "float32"))
    >>> bool(abs(keras.ops.convert_to_numpy(y) - 1).max() < 1e-5)
    True
    """

    def __init__(
        self,
        *,
        sampling: Sampling | None = None,
        fwhm: float | Sequence[float] | None = None,
        sigma: float | Sequence[float] | None = None,
        unit: str = "arcmin",
        support: float = SUPPORT,
        **kwargs: Any,
    ) -> None:
        super().__init__(sampling=sampling, **kwargs)
        if (fwhm is None) == (sigma is None):
            raise ValueError(f"give either fwhm or sigma, got fwhm={fwhm!r}, sigma={sigma!r}")
        if unit not in UNITS:
            raise ValueError(f"unit must be one of {', '.join(UNITS)}; got {unit!r}")
        self.fwhm = None if fwhm is None else _check_widths("fwhm", fwhm)
        self.sigma = None if sigma is None else _check_widths("sigma", sigma)
        self.unit = unit
        self.support = float(support)
        for width in np.unique(self.sigmas):
            check_beam(width or 1.0, self.support)

    @property
    def sigmas(self) -> NDArray[np.float64]:
        """Standard deviation in rad, of shape () for all channels or (channels,) for each."""
        if self.sigma is not None:
            return np.multiply(self.sigma, UNITS[self.unit])
        return np.multiply(self.fwhm, UNITS[self.unit] / sqrt(8 * log(2)))  # type: ignore[arg-type]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Get one operator per distinct width."""
        super().build(input_shape)
        sigmas, channels = self.sigmas, int(input_shape[2])  # type: ignore[arg-type]
        if sigmas.ndim and len(sigmas) != channels:
            raise ValueError(
                f"{type(self).__name__} {self.name!r} has widths for {len(sigmas)} channels, got "
                f"an input with {channels}"
            )
        widths, group = np.unique(np.broadcast_to(sigmas, channels), return_inverse=True)
        sampling = self.require_sampling()
        self._beams = [gaussian_operator(sampling, w, self.support) if w else None for w in widths]
        self._channels = [np.flatnonzero(group == i) for i in range(len(widths))]
        self._order = np.argsort(np.concatenate(self._channels))

    def call(self, x: Any, mask: Any = None) -> Any:
        """Smooth the observed pixels of each channel."""
        # Half precision cannot represent the weights of single pixels.
        dtype = x.dtype if keras.backend.standardize_dtype(x.dtype) == "float64" else "float32"
        y = keras.ops.cast(hide(x, mask), dtype)
        parts = [y]
        if len(self._beams) > 1:
            parts = [keras.ops.take(y, channels, axis=2) for channels in self._channels]
        parts = [
            part if beam is None else self._smooth(part, mask, beam)
            for part, beam in zip(parts, self._beams, strict=True)
        ]
        y = parts[0]
        if len(parts) > 1:
            y = keras.ops.take(keras.ops.concatenate(parts, axis=2), self._order, axis=2)
        return keras.ops.cast(y, x.dtype)

    def _smooth(self, x: Any, mask: Any, beam: Beam) -> Any:
        if mask is None:
            return self._apply(x, beam) * keras.ops.cast(beam.after, x.dtype)
        observed = keras.ops.cast(mask, x.dtype)[..., None]
        y = self._apply(keras.ops.concatenate([x, observed], axis=2), beam)
        # Unobserved pixels are hidden below; 1 only avoids a division by 0.
        weights = keras.ops.where(observed > 0, y[..., -1:], keras.ops.ones_like(observed))
        return hide(y[..., :-1] / weights, mask)

    def _apply(self, x: Any, beam: Beam) -> Any:
        n = x.shape[1]
        x = x * keras.ops.cast(beam.before, x.dtype)
        if len(beam.operator) > n:
            x = keras.ops.pad(x, ((0, 0), (0, len(beam.operator) - n), (0, 0)))
        return sparse_product(x, beam.operator, beam.passes)[:, :n]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "fwhm": self.fwhm,
            "sigma": self.sigma,
            "unit": self.unit,
            "support": self.support,
        }


def _check_widths(name: str, widths: Any) -> float | list[float]:
    """Return one width or a list of widths as plain numbers; raise for anything else."""
    try:
        values = np.asarray(widths, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must be a number, or one number per channel; got {widths!r}"
        ) from None
    if values.ndim > 1 or values.size == 0:
        raise ValueError(f"{name} must be a number, or one number per channel; got {widths!r}")
    if not all(isfinite(value) and value >= 0 for value in values.flat):
        raise ValueError(f"{name} must not be negative or infinite, got {widths!r}")
    return values.tolist()
