"""Down-sampling without aliasing: a low-pass filter, then pooling."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from deepsphere._checks import check_count
from deepsphere.graph import GraphLike
from deepsphere.graph.low_pass import apply_series, cutoff_degree, low_pass
from deepsphere.graph.spec import as_graph, graph_config
from deepsphere.layers.base import PACKAGE
from deepsphere.layers.graph_conv import ChebyshevConv
from deepsphere.layers.masking import hide
from deepsphere.layers.pooling import Pool
from deepsphere.ops import SparseOperator, chebyshev_filter, laplacian_operator
from deepsphere.sampling import Sampling


@keras.saving.register_keras_serializable(PACKAGE)
class SmoothPool(Pool):
    """Remove the scales that the coarser points cannot resolve, then pool.

    `Pool` aliases structures finer than the coarser points onto larger scales, depending on where
    the points lie. This is where a network loses most of its rotation equivariance. The fixed
    filter, the same for every channel, is the heat kernel ``exp(-t L)`` of the graph, close to a
    Gaussian in spherical-harmonic degree. Constant features are preserved.

    Input shape ``(batch, points, channels)``, output shape
    ``(batch, len(output_sampling), channels)``.

    Parameters
    ----------
    levels : int, default 1
        Number of resolution levels to go down.
    mode : {"max", "mean", "area"}, default "max"
        How to pool, see `Pool`.
    sampling : Sampling, optional
        Sampling of the input. Default: set by the surrounding model.
    cutoff : float, default 1
        Spherical-harmonic degree that the filter halves, in (0, 3], in units of the coarser
        sampling's nside, or of ``sqrt(pi / 3 / area)`` with the mean area of its points if it has
        no nside. HEALPix resolves degrees up to 2 or 3 nside; the default leaves 10 % at 2. Lower
        values smooth more and are more equivariant.
    order : int, optional
        Degree of the polynomial of the Laplacian. Default: the smallest within 0.1 % of the heat
        kernel, which is 7 or 8 for one level at the default cutoff, and nearly doubles with each
        further level. Smaller values are faster and less accurate.
    graph : Graph, int or str, optional
        Graph on the sampling, see `deepsphere.Graph`; an integer is a number of nearest neighbors.
        Default: the model's, or else `deepsphere.Graph()`.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `levels` or `order` is not an integer, `sampling` is not a `Sampling`, or `graph` is not
        a `Graph`, an integer or a string.
    ValueError
        If `levels` or `order` is less than 1, `mode` or `graph` is an unknown name, `cutoff` is not
        in (0, 3], or the sampling has no resolution coarser by `levels`. When the layer is built:
        if the input does not have the sampling's number of points.

    Notes
    -----
    R. Zhang, "Making convolutional networks shift-invariant again", arXiv 1904.11486, takes maxima
    over all windows before the filter and subsamples after it. This layer filters first and takes
    maxima over the points of each coarser cell. See docs/equivariance.md for the effect.

    With a mask, the filter uses observed points only and is divided by its observed fraction.

    `ConvPool` has a learned filter that starts from this one and is equally isotropic.
    `GaussianSmoothing` applies a beam of a given width in degrees.

    Examples
    --------
    >>> import numpy as np
    >>> from deepsphere.sampling import Healpix
    >>> tuple(SmoothPool(sampling=Healpix(4))(np.zeros((2, 192, 5), "float32")).shape)
    (2, 48, 5)
    """

    on_graph = True

    def __init__(
        self,
        levels: int = 1,
        mode: str = "max",
        *,
        sampling: Sampling | None = None,
        cutoff: float = 1.0,
        order: int | None = None,
        graph: GraphLike | None = None,
        **kwargs: Any,
    ) -> None:
        self.cutoff = check_cutoff(cutoff)
        self.order = None if order is None else check_count(order, "order")
        self.graph_spec = None if graph is None else as_graph(graph)
        super().__init__(levels, mode, sampling=sampling, **kwargs)

    @property
    def degree(self) -> int:
        """Spherical-harmonic degree that the filter halves."""
        return cutoff_degree(self.cutoff, self.output_sampling)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Compute the polynomial."""
        super().build(input_shape)
        sampling = self.require_sampling()
        self.operator: SparseOperator = laplacian_operator(
            sampling,
            self.graph_spec,
            ChebyshevConv.default_scale,  # to share the operator of convolutions
        )
        self.coefficients = low_pass(self.operator.matrix, sampling, self.degree, self.order)
        ones = np.ones((len(sampling), 1))
        # Constants are not exactly in the null space of the normalized Laplacian.
        self._factor = 1 / apply_series(self.operator.matrix, ones, self.coefficients)

    def call(self, x: Any, mask: Any = None) -> Any:
        """Filter each channel and pool."""
        return super().call(self.smooth(x, mask), mask)

    def smooth(self, x: Any, mask: Any = None) -> Any:
        """Return the filtered features at the resolution of the input.

        Parameters
        ----------
        x : tensor, shape (batch, points, channels)
            Features.
        mask : tensor of bool, shape (batch, points), optional
            True at observed points.

        Returns
        -------
        tensor, shape (batch, points, channels)
            Filtered features in the precision of the input, computed in float32 or float64; 0 at
            unobserved points.
        """
        dtype = keras.backend.standardize_dtype(x.dtype)
        y = keras.ops.cast(hide(x, mask), dtype if dtype == "float64" else "float32")
        if mask is None:
            y = self._filter(y) * keras.ops.cast(self._factor, y.dtype)
            return keras.ops.cast(y, dtype)
        observed = keras.ops.cast(mask, y.dtype)[..., None]
        y = self._filter(keras.ops.concatenate([y, observed], axis=2))
        # Unobserved points are hidden below; 1 only avoids a division by 0.
        weights = keras.ops.where(observed > 0, y[..., -1:], keras.ops.ones_like(observed))
        return keras.ops.cast(hide(y[..., :-1] / weights, mask), dtype)

    def _filter(self, x: Any) -> Any:
        alike = np.tile(self.coefficients[:, None, None], x.shape[2])
        return chebyshev_filter(x, keras.ops.convert_to_tensor(alike, x.dtype), self.operator)

    def get_config(self) -> dict[str, Any]:
        """Return the layer's arguments, for `from_config`."""
        return {
            **super().get_config(),
            "cutoff": self.cutoff,
            "order": self.order,
            "graph": graph_config(self.graph_spec),
        }


def check_cutoff(cutoff: float) -> float:
    """Return `cutoff` as a float; raise ValueError if it is not in (0, 3]."""
    if not 0 < float(cutoff) <= 3:
        raise ValueError(f"cutoff must be in (0, 3], in units of nside, got {cutoff}")
    return float(cutoff)
