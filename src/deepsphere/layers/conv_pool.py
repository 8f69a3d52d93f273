"""Learned down-sampling with isotropic filters."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere._checks import check_count
from deepsphere.graph.low_pass import cutoff_degree, low_pass
from deepsphere.layers.base import PACKAGE
from deepsphere.layers.graph_conv import ChebyshevConv
from deepsphere.layers.masking import hide
from deepsphere.layers.pooling import Pool
from deepsphere.layers.smooth_pool import check_cutoff
from deepsphere.ops import chebyshev_filter
from deepsphere.sampling import Sampling


@keras.saving.register_keras_serializable(PACKAGE)
class ConvPool(ChebyshevConv):
    """Learned down-sampling: a graph convolution, then the mean over each coarser cell.

    Computes ``y = activation(norm(mean(sum_k T_k(L~) x W_k)) + bias)``. `PatchConv` learns one
    weight per place in a patch, which depends on direction; this layer learns one per polynomial
    of the Laplacian, which does not. Before training it equals ``SmoothPool(mode="area")`` followed
    by a linear map of the channels. It thus removes the scales that the coarser points cannot
    resolve; training may bring them back.

    Input shape ``(batch, points, channels)``, output shape
    ``(batch, len(output_sampling), filters)``.

    Parameters
    ----------
    filters : int, optional
        Number of output channels. Default: the number of input channels.
    order : int, optional
        Degree of the polynomials, from 1 to 1000. Default: as `SmoothPool` chooses it for `cutoff`;
        7 or 8 for one level at the default cutoff.
    levels : int, default 1
        Number of resolution levels to go down.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    cutoff : float, default 1
        Spherical-harmonic degree that the initial filter halves, in the units of `SmoothPool`.
    graph, scale, normalization, filter_dropout, depthwise, use_bias, activation
        See `ChebyshevConv`. Normalization, bias and activation act on the coarser points.
    kernel_initializer : str or keras.Initializer, optional
        Initial kernel. Default: a low-pass filter, see the notes.
    bias_initializer, kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint
        See `ChebyshevConv`.
    **kwargs
        Arguments of `keras.layers.Layer`: ``name``, ``dtype``, ``trainable``.

    Attributes
    ----------
    kernel : variable, shape ((order + 1) * channels, filters)
        The layout of `ChebyshevConv`.

    Raises
    ------
    TypeError, ValueError
        Under the conditions listed at `GraphConv`. TypeError also if `levels` is not an integer;
        ValueError also if `levels` or `order` is less than 1, `cutoff` is not in (0, 3], or the
        sampling has no resolution coarser by `levels`.

    Notes
    -----
    The mean is weighted by the areas of the points. The initial kernel is the product of the heat
    kernel's coefficients and a Glorot uniform matrix of shape (channels, filters). The filter
    leaves large scales unchanged, so on these the layer starts like a `keras.layers.Dense`. Glorot
    suits it because, like `PatchConv`, it has no activation by default.

    With a mask, unobserved points count as 0 in the convolution, as in `ChebyshevConv`, and the
    mean is taken over the observed points of each cell. `SmoothPool` divides the filtered features
    by the observed fraction and, with the normalized Laplacian, by the response to constants (up to
    3 % off). This layer does not, because learned filters need not preserve constants.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> tuple(ConvPool(8, sampling=Healpix(4))(np.zeros((2, 192, 5), "float32")).shape)
    (2, 48, 8)
    """

    def __init__(
        self,
        filters: int | None = None,
        order: int | None = None,
        levels: int = 1,
        *,
        sampling: Sampling | None = None,
        cutoff: float = 1.0,
        **kwargs: Any,
    ) -> None:
        self.levels = check_count(levels, "levels")
        self.cutoff = check_cutoff(cutoff)
        self.wanted_order = None if order is None else check_count(order, "order")
        # Without one given, `build` takes the order of the low-pass.
        super().__init__(filters, self.wanted_order or 1, sampling=sampling, **kwargs)

    def compute_output_sampling(self, sampling: Sampling) -> Sampling:
        """Return the sampling that is coarser by `levels`."""
        return sampling.coarsen(self.levels)

    @property
    def degree(self) -> int:
        """Spherical-harmonic degree that the initial filter halves."""
        return cutoff_degree(self.cutoff, self.output_sampling)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Compute the low-pass and create the weights."""
        sampling = self.require_sampling()
        operator = self.make_operator()  # kept alive so that `super().build` shares it
        self._low_pass = low_pass(operator.matrix, sampling, self.degree, self.wanted_order)
        self.order = len(self._low_pass) - 1
        super().build(input_shape)
        self._pool = Pool(self.levels, "area", sampling=sampling, dtype=self.dtype_policy)
        self._pool.build((*input_shape[:2], self.filters or input_shape[2]))

    def default_initializer(self, channels: int, filters: int) -> keras.Initializer:  # noqa: ARG002
        """Return the low-pass times a random matrix between the channels."""
        return LowPass(self._low_pass)

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Filter, average, normalize, add the bias and activate."""
        y = chebyshev_filter(hide(x, mask), self._chebyshev_kernel(training), self.operator)
        y = self._pool(y, mask=mask)
        if self.norm is not None:
            y = self.norm(y, training=training, mask=self.compute_mask(x, mask))
        return self._add_bias_and_activate(y)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of coarse points: True where at least one of their points is observed."""
        return self._pool.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return ``(batch, len(output_sampling), filters)``."""
        return (input_shape[0], len(self.output_sampling), self.filters or input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "order": self.wanted_order,
            "levels": self.levels,
            "cutoff": self.cutoff,
        }


class LowPass(keras.Initializer):
    """Initialize a kernel with one polynomial times a Glorot uniform (channels, filters) matrix.

    Parameters
    ----------
    coefficients : ndarray of float64, shape (order + 1,)
        Coefficients of the polynomial in the Chebyshev basis.
    """

    def __init__(self, coefficients: NDArray[np.float64]) -> None:
        self.coefficients = coefficients

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Return the kernel, of shape (terms * channels, filters) as in `ChebyshevConv`."""
        terms = len(self.coefficients)
        mixing = keras.initializers.GlorotUniform()((shape[0] // terms, shape[1]), dtype)
        series = keras.ops.convert_to_tensor(self.coefficients, mixing.dtype)
        return keras.ops.reshape(mixing[:, None] * series[:, None], shape)
