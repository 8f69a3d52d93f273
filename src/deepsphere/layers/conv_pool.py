"""Learned down-sampling by filters that know no direction."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere.layers.base import PACKAGE, check_count
from deepsphere.layers.graph_conv import ChebyshevConv
from deepsphere.layers.masking import hide
from deepsphere.layers.pooling import Pool
from deepsphere.layers.smooth_pool import check_cutoff, cutoff_degree, low_pass
from deepsphere.ops import chebyshev_filter
from deepsphere.sampling import Sampling


@keras.saving.register_keras_serializable(PACKAGE)
class ConvPool(ChebyshevConv):
    """Learned down-sampling: a graph convolution, then the mean over each coarser cell.

    ``y = activation(norm(mean(sum_k T_k(L~) x W_k)) + bias)``. `PatchConv` learns a weight for each
    place in a patch, which tells directions apart; this layer one for each power of the Laplacian,
    which does not. Before training it is ``SmoothPool(mode="area")`` followed by a linear map of
    the channels, and so takes away the scales that the coarser points cannot hold; training may
    bring them back.

    Input shape ``(batch, points, channels)``, output shape
    ``(batch, len(output_sampling), filters)``.

    Parameters
    ----------
    filters : int, optional
        Number of output channels. Default: that of the input.
    order : int, optional
        Degree of the polynomials. Default: that which `SmoothPool` has with this cutoff: 7 or 8 for
        one level at the default one.
    p : int, default 1
        Number of resolution levels to go down.
    sampling : Sampling, optional
        Where the inputs are sampled. Default: given by the model.
    cutoff : float, default 1
        Degree that the initial filter halves, as for `SmoothPool`.
    graph, scale, batch_norm, filter_dropout, use_bias, activation, ...
        As for `ChebyshevConv`; what follows the filter works on the coarser points. With
        `kernel_initializer` the kernel begins from that, not from a low-pass.

    Attributes
    ----------
    kernel : variable, shape ((order + 1) * channels, filters)
        The layout of `ChebyshevConv`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the sampling has no such coarser resolution.

    Notes
    -----
    The mean is weighted by the areas that the points stand for. The kernel begins as the product of
    the heat kernel's coefficients and a matrix of shape (channels, filters), Glorot uniform: the
    filter leaves large scales as they are, so that on these the layer begins as a
    `keras.layers.Dense` does, and as `PatchConv` does it has no activation of its own, which
    another distribution would be made for.

    With a mask, unobserved points count as 0 in the convolution, as they do in `ChebyshevConv`;
    the mean goes over the observed points of each cell. `SmoothPool` divides the filter by how much
    was observed, and the normalized Laplacian's by what it makes of constants (up to 3 %); learned
    filters need not keep constants, and are not divided.

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
        p: int = 1,
        sampling: Sampling | None = None,
        *,
        cutoff: float = 1.0,
        **kwargs: Any,
    ) -> None:
        self.p = check_count("p", p, least=1)
        self.cutoff = check_cutoff(cutoff)
        self.wanted_order = None if order is None else check_count("order", order, least=1)
        # Without a wanted order, `build` finds the one of the low-pass.
        super().__init__(filters, self.wanted_order or 1, sampling, **kwargs)

    def resample(self, sampling: Sampling) -> Sampling:
        """Return the sampling `p` levels coarser."""
        return sampling.coarsen(self.p)

    @property
    def degree(self) -> int:
        """Degree of the spherical harmonics that the initial filter halves."""
        return cutoff_degree(self.cutoff, self.output_sampling)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Work out the low-pass, and make the weights."""
        sampling = self.require_sampling()
        operator = self.make_operator()  # held, so that those who ask for it next share it
        self._low_pass = low_pass(operator, sampling, self.degree, self.wanted_order)
        self.order = len(self._low_pass) - 1
        super().build(input_shape)
        self._pool = Pool(self.p, "area", sampling, dtype=self.dtype_policy)
        self._pool.build((*input_shape[:2], self.kernel.shape[1]))

    def default_initializer(self, channels: int, filters: int) -> keras.Initializer:  # noqa: ARG002
        """Return the low-pass of every channel, times a matrix between them."""
        return LowPass(self._low_pass)

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Filter, take means, normalize, add the bias, activate."""
        y = chebyshev_filter(hide(x, mask), self._chebyshev_kernel(training), self.operator)
        y = self._pool(y, mask=mask)
        if self.norm is not None:
            y = self.norm(y, training=training, mask=self.compute_mask(x, mask))
        return self._add_bias_and_activate(y)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return which coarse points are observed: those with a part that is."""
        return self._pool.compute_mask(inputs, previous_mask)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape on the coarser sampling, with `filters` channels."""
        return (input_shape[0], len(self.output_sampling), self.filters or input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments from which `from_config` makes an equal layer."""
        return {
            **super().get_config(),
            "order": self.wanted_order,
            "p": self.p,
            "cutoff": self.cutoff,
        }


class LowPass(keras.Initializer):
    """A kernel of one polynomial, times a Glorot uniform matrix from channels to filters."""

    def __init__(self, coefficients: NDArray[np.float64]) -> None:
        self.coefficients = coefficients

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Return the kernel, of shape (terms * channels, filters) as in `ChebyshevConv`."""
        terms = len(self.coefficients)
        mixing = keras.initializers.GlorotUniform()((shape[0] // terms, shape[1]), dtype)
        series = keras.ops.convert_to_tensor(self.coefficients, mixing.dtype)
        return keras.ops.reshape(mixing[:, None] * series[:, None], shape)
