"""Layers with the names and signatures of deepsphere-cosmo-tf2.

`K` is the number of terms for `HealpyChebyshev` and `HealpyMonomial` and the degree for
`HealpyBernstein`. If `Fout` is None, the number of channels does not change. A model copies these
layers, as layers of `deepsphere.layers` on its own pixels. The same list of layers can therefore
be used in several independent models, and saved models contain no old names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from deepsphere._checks import check_count
from deepsphere.compat import gnn_layers
from deepsphere.compat.gnn_layers import note_ignored
from deepsphere.compat.gnn_transformers import (
    GivenPattern,
    Graph_Transformer,
    Graph_ViT,
    OldTransformer,
)
from deepsphere.compat.legacy_graph import first_neighbors_weights
from deepsphere.compat.old_constructors import AnyPixels, OldError, OldSignature, old_errors
from deepsphere.graph import laplacian, resolve_graph
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    GaussianSmoothing,
    GraphConv,
    GraphTransformer,
    MonomialConv,
    PatchConv,
    PatchConvTranspose,
    Pool,
    ResidualBlock,
    TransformerBlock,
)
from deepsphere.layers.base import PACKAGE
from deepsphere.ops import SparseOperator
from deepsphere.ops.arguments import refuse_masked
from deepsphere.sampling import Healpix
from deepsphere.sampling.encoding import decode_pixels, encode_pixels

_POOL_MODES = {"MAX": "max", "AVG": "mean"}


class _OldConv(gnn_layers.OldConv, OldSignature, GraphConv):
    """Constructor and Laplacian of the old graph convolutions."""

    on_graph_class: ClassVar[type[Any]]

    @property
    def L(self) -> csr_array:  # noqa: N802
        """The Laplacian, not rescaled; available once the layer has a sampling."""
        return laplacian(self.require_sampling(), self.graph_spec)

    def __init__(
        self,
        K: int,
        Fout: int | None = None,
        initializer: Any = None,
        activation: Any = None,
        use_bias: bool = False,
        use_bn: bool = False,
        **kwargs: Any,
    ) -> None:
        with old_errors():
            super().__init__(
                **gnn_layers.new_arguments(
                    self.basis, K, Fout, initializer, activation, use_bias, use_bn, kwargs
                )
            )
        self._old_arguments = (K, Fout, initializer, activation, use_bias, use_bn, kwargs)

    def _get_layer(self, L: Any, n_matmul_splits: int = 1) -> Any:
        """Return the layer on a Laplacian. Models of the old code called this method."""
        *arguments, kwargs = self._old_arguments
        return self.on_graph_class(L, *arguments, n_matmul_splits, **kwargs)


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyChebyshev(_OldConv, ChebyshevConv):
    """Chebyshev convolution: ``ChebyshevConv(Fout, order=K - 1, ...)``.

    Parameters
    ----------
    K : int
        Number of terms, at least 1.
    Fout : int, optional
        Number of output channels. Default: that of the input.
    initializer : str or keras.initializers.Initializer, optional
        Initializer of the kernel. Default: that of `ChebyshevConv`.
    activation : str or callable, optional
        Activation. Default: linear.
    use_bias : bool, default False
        Whether to add a bias.
    use_bn : bool, default False
        Whether to normalize the output before the bias.
    **kwargs
        Other arguments of `ChebyshevConv`, or the old ``regularizer`` and ``constraint`` of the
        kernel and ``depth_wise``.

    Raises
    ------
    TypeError
        If `K` or `Fout` is not an integer.
    OldError
        A ValueError and OSError, if `K` is out of range or `ChebyshevConv` raises ValueError.
    """

    native = ChebyshevConv
    on_graph_class = gnn_layers.Chebyshev


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyMonomial(_OldConv, MonomialConv):
    """Monomial convolution: ``MonomialConv(Fout, order=K - 1, ...)``.

    The arguments are those of `HealpyChebyshev`.
    """

    native = MonomialConv
    on_graph_class = gnn_layers.Monomial


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyBernstein(_OldConv, BernsteinConv):
    """Bernstein convolution: ``BernsteinConv(Fout, order=K, ...)``.

    The arguments are those of `HealpyChebyshev`, except that `K` is the degree.
    """

    native = BernsteinConv
    on_graph_class = gnn_layers.Bernstein


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyPool(AnyPixels, Pool):
    """Pooling: ``Pool(p, mode="max")``, or ``mode="mean"`` for `pool_type` ``"AVG"``.

    Parameters
    ----------
    p : int
        Number of levels to coarsen: ``4**p`` pixels become one.
    pool_type : {"MAX", "AVG"}, default "MAX"
        Whether to take maxima or means.
    **kwargs
        Other arguments of `Pool`.

    Raises
    ------
    OldError
        A ValueError and OSError, if `pool_type` is unknown or `p` is out of range.
    """

    native = Pool

    def __init__(self, p: int, pool_type: str = "MAX", **kwargs: Any) -> None:
        if pool_type not in _POOL_MODES:
            raise OldError(f"pool_type must be one of {', '.join(_POOL_MODES)}; got {pool_type!r}")
        with old_errors():
            check_count(p, "p")
            super().__init__(p, _POOL_MODES[pool_type], **kwargs)

    @property
    def p(self) -> int:
        """Number of levels to coarsen."""
        return self.levels

    @property
    def pool_type(self) -> str:
        """``"MAX"`` or ``"AVG"``."""
        return {mode: name for name, mode in _POOL_MODES.items()}[self.mode]

    @property
    def filter_size(self) -> int:
        """Number of pixels pooled to one."""
        return 4**self.levels


class _OldPatchLayer(AnyPixels):
    """Constructor of the learned resampling layers."""

    levels: int
    filters: int | None

    def __init__(
        self, p: int, Fout: int | None, kernel_initializer: Any = None, **kwargs: Any
    ) -> None:
        with old_errors():
            check_count(p, "p")
            super().__init__(Fout, p, kernel_initializer=kernel_initializer, **kwargs)  # type: ignore[call-arg, arg-type]

    @property
    def p(self) -> int:
        """Number of levels between fine and coarse pixels."""
        return self.levels

    @property
    def Fout(self) -> int | None:  # noqa: N802
        """Number of output channels; None to keep that of the input."""
        return self.filters

    @property
    def filter_size(self) -> int:
        """Number of fine pixels in a coarse one."""
        return 4**self.levels


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyPseudoConv(_OldPatchLayer, PatchConv):
    """Learned pooling: ``PatchConv(Fout, p, ...)``.

    Parameters
    ----------
    p : int
        Number of levels to coarsen: ``4**p`` pixels become one.
    Fout : int or None
        Number of output channels. None: that of the input.
    kernel_initializer : str or keras.initializers.Initializer, optional
        Initializer of the kernel. Default: that of `PatchConv`.
    **kwargs
        Other arguments of `PatchConv`.
    """

    native = PatchConv


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyPseudoConv_Transpose(_OldPatchLayer, PatchConvTranspose):  # noqa: N801
    """Learned unpooling: ``PatchConvTranspose(Fout, p, ...)``.

    Parameters
    ----------
    p : int
        Number of levels to refine: a pixel becomes ``4**p``.
    Fout : int or None
        Number of output channels. None: that of the input.
    kernel_initializer : str or keras.initializers.Initializer, optional
        Initializer of the kernel. Default: that of `PatchConvTranspose`.
    **kwargs
        Other arguments of `PatchConvTranspose`.
    """

    native = PatchConvTranspose


_CONVOLUTIONS = {"CHEBY": HealpyChebyshev, "MONO": HealpyMonomial, "BERN": HealpyBernstein}


@keras.saving.register_keras_serializable(PACKAGE)
class Healpy_ResidualLayer(gnn_layers.OldResidual, OldSignature, ResidualBlock):  # noqa: N801
    """`ResidualBlock` of two equal convolutions.

    Parameters
    ----------
    layer_type : {"CHEBY", "MONO", "BERN"}
        Type of the convolutions.
    layer_kwargs : mapping
        Arguments of the convolutions, see `HealpyChebyshev`.
    activation : str or callable, optional
        Activation. Default: linear.
    act_before : bool, default False
        Whether to apply the activation before adding the input instead of after.
    use_bn : bool, default False
        Whether a normalization follows each convolution.
    norm_type : {"batch_norm", "layer_norm"}, default "batch_norm"
        Type of the normalizations.
    bn_kwargs : mapping, optional
        Arguments of the normalizations.
    alpha : float, default 1
        Factor of the shortcut.
    drop_path_rate : float, default 0
        Probability that a sample skips the convolutions in training.
    **kwargs
        Other arguments of `ResidualBlock`.

    Raises
    ------
    OldError
        A ValueError and OSError, if `layer_type` or `norm_type` is unknown.
    """

    native = ResidualBlock
    on_graph_class = gnn_layers.GCNN_ResidualLayer

    def __init__(
        self,
        layer_type: str,
        layer_kwargs: Mapping[str, Any],
        activation: Any = None,
        act_before: bool = False,
        use_bn: bool = False,
        norm_type: str = "batch_norm",
        bn_kwargs: Mapping[str, Any] | None = None,
        alpha: float = 1.0,
        drop_path_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        conv = gnn_layers.named_layer(_CONVOLUTIONS, layer_type)(**layer_kwargs)
        super().__init__(
            conv,
            **gnn_layers.new_residual_arguments(
                activation, act_before, use_bn, norm_type, bn_kwargs, alpha
            ),
            drop_path=drop_path_rate,
            **kwargs,
        )
        self._old_arguments = (
            *(layer_type, layer_kwargs, activation, act_before),
            *(use_bn, norm_type, bn_kwargs, alpha, drop_path_rate),
        )

    def _get_layer(self, L: Any, n_matmul_splits: int = 1) -> gnn_layers.GCNN_ResidualLayer:
        """Return the layer on a Laplacian. Models of the old code called this method."""
        layer_type, layer_kwargs, *arguments = self._old_arguments
        splits = {"L": L, "n_matmul_splits": n_matmul_splits}
        return gnn_layers.GCNN_ResidualLayer(layer_type, {**layer_kwargs, **splits}, *arguments)


Healpy_ViT = Graph_ViT
"""`VisionTransformer` under its old name."""


@keras.saving.register_keras_serializable(PACKAGE)
class Healpy_Transformer(OldTransformer, OldSignature, GraphTransformer):  # noqa: N801
    """Transformer on the graph: ``GraphTransformer(key_dim, num_heads, ...)``.

    In a `HealpyGCNN` with the default Laplacian, pixels attend to each other along the edges of
    the old graph.

    Parameters
    ----------
    key_dim, num_heads
        As in `GraphTransformer`.
    positional_encoding : bool, default True
        Whether to add a position embedding.
    n_layers : int, default 1
        Number of transformer blocks.
    activation, layer_norm, **kwargs
        As in `GraphTransformer`.
    """

    native = GraphTransformer
    on_graph_class = Graph_Transformer
    _on_old_graph = False

    def make_block(self, **kwargs: Any) -> TransformerBlock:
        """Return a block, on the old graph if the network uses it."""
        if not self._on_old_graph:
            return super().make_block(**kwargs)
        return GivenPattern(given=SparseOperator(self.A), **kwargs)

    @property
    def A(self) -> csr_array:  # noqa: N802
        """Weights of the old graph, nonzero between pixels that attend to each other."""
        sampling = self.require_sampling()
        graph = resolve_graph(sampling, self.graph_spec)
        return first_neighbors_weights(sampling, graph.neighbor_count)

    def __init__(
        self,
        key_dim: int,
        num_heads: int,
        positional_encoding: bool = True,
        n_layers: int = 1,
        activation: Any = "relu",
        layer_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            key_dim,
            num_heads,
            num_layers=n_layers,
            position_embedding=positional_encoding,
            activation=activation,
            normalization="layer" if layer_norm else None,
            **kwargs,
        )
        self._old_arguments = (
            *(key_dim, num_heads, positional_encoding),
            *(n_layers, activation, layer_norm),
        )

    def _get_layer(self, A: Any) -> Graph_Transformer:
        """Return the layer on an adjacency matrix. Models of the old code called this method."""
        return Graph_Transformer(A, *self._old_arguments)


@keras.saving.register_keras_serializable(PACKAGE)
class HealpySmoothing(GaussianSmoothing):
    """`GaussianSmoothing` of the pixels `indices`, followed by multiplication with a mask.

    Parameters
    ----------
    nside : int
        Resolution of the input, a power of two.
    indices : array_like of int, shape (pixels,)
        Pixels of the input, strictly increasing.
    nest : bool, default True
        Whether pixels and maps are in NEST ordering. False: RING ordering.
    mask : array_like, shape (pixels,) or (pixels, channels), optional
        Factor applied to the result: boolean, or from 0 to 1 for apodized masks. Default: none.
    fwhm, sigma : float or sequence of float
        Width of the beam, as full width at half maximum or standard deviation; give one of them.
        A sequence gives an exact width for each channel. (The old code rounded widths up to
        ``min(fwhm) * sqrt(n)`` with an integer n: 300 arcmin along with 200 became 346.)
    n_sigma_support : float, default 3
        Radius of the kernel in units of sigma.
    arcmin : bool, default True
        Whether widths are in arcmin. False: rad.
    per_channel_repetitions : sequence of int, optional
        Multiplies the width of channel c by ``sqrt(repetitions[c])``, equivalent to repeated
        smoothing.
    white_noise_sigma : float or sequence of float, optional
        Standard deviation, for all channels or for each, of the Gaussian noise added in training,
        after smoothing and before masking. Default: no noise.
    data_path, max_batch_size, spmm_backend, fwhm_base
        Ignored. No files are written, large products are split automatically, there is only one
        sparse product, and widths are exact without a common base.
    **kwargs
        Arguments of `keras.layers.Layer`.

    Raises
    ------
    TypeError
        If `nside` or `indices` are not integers, or a width is not a number.
    ValueError
        If `nside` is not a power of two; if `indices` are not strictly increasing pixels of it; if
        none or both of `fwhm` and `sigma` are given, or a width is invalid; if `mask` has another
        shape, is zero everywhere, or has values outside of [0, 1]; or if `white_noise_sigma` is
        negative or not finite.
    """

    def __init__(
        self,
        nside: int,
        indices: ArrayLike | str,
        nest: bool = True,
        mask: ArrayLike | dict[str, Any] | None = None,
        fwhm: Any = None,
        sigma: Any = None,
        n_sigma_support: float = 3,
        arcmin: bool = True,
        per_channel_repetitions: Sequence[int] | None = None,
        data_path: Any = None,
        max_batch_size: int | None = None,
        white_noise_sigma: float | Sequence[float] | None = None,
        spmm_backend: str | None = None,
        fwhm_base: float | None = None,
        **kwargs: Any,
    ) -> None:
        note_ignored("HealpySmoothing", spmm_backend=spmm_backend, fwhm_base=fwhm_base)
        self.data_path, self.max_batch_size = data_path, max_batch_size
        self.per_channel_repetitions = per_channel_repetitions
        if isinstance(indices, str):  # from get_config
            indices = decode_pixels(indices)
        kwargs.pop("sampling", None)  # set by models, after bind has checked that it matches
        given = Healpix(nside, indices).pixels  # raises ValueError unless they are increasing
        self._nest = bool(nest)
        self._indices = given
        pixels = given if nest else _ring_to_nest(nside, given)
        self._to_nest = np.argsort(pixels)
        if per_channel_repetitions is not None:
            factors = np.sqrt(np.asarray(per_channel_repetitions, dtype=np.float64))
            fwhm = None if fwhm is None else (fwhm * factors).tolist()
            sigma = None if sigma is None else (sigma * factors).tolist()
        super().__init__(
            sampling=Healpix(nside, pixels[self._to_nest]),
            fwhm=fwhm,
            sigma=sigma,
            unit="arcmin" if arcmin else "rad",
            support=n_sigma_support,
            **kwargs,
        )
        self._mask = None if mask is None else _mask_array(mask, len(pixels))
        self.white_noise_sigma = white_noise_sigma
        self._noise = _noise_array(white_noise_sigma)
        self._seed = None if self._noise is None else keras.random.SeedGenerator()

    @property
    def nside(self) -> int:
        """Resolution of the input."""
        return self.require_sampling().nside  # type: ignore[attr-defined]

    @property
    def indices(self) -> NDArray[np.int64]:
        """Pixels of the input."""
        return self._indices

    @property
    def n_indices(self) -> int:
        """Number of pixels."""
        return len(self._indices)

    @property
    def nest(self) -> bool:
        """Whether the pixels are in NEST ordering."""
        return self._nest

    @property
    def mask(self) -> NDArray[Any] | None:
        """Factor applied to the result, shape (pixels, channels or 1), or None."""
        return self._mask

    @property
    def arcmin(self) -> bool:
        """Whether widths are in arcmin instead of rad."""
        return self.unit == "arcmin"

    @property
    def n_sigma_support(self) -> float:
        """Radius of the kernel in units of sigma."""
        return self.support

    @property
    def do_smoothing(self) -> bool:
        """Whether any width is nonzero."""
        return bool(np.any(self.sigmas))

    @property
    def sigma_rad(self) -> NDArray[np.float64]:
        """Standard deviation in rad, for all channels or each."""
        return self.sigmas

    @property
    def sigma_arcmin(self) -> NDArray[np.float64]:
        """Standard deviation in arcmin, for all channels or each."""
        return np.degrees(self.sigmas) * 60

    @property
    def fwhm_arcmin(self) -> NDArray[np.float64]:
        """Full width at half maximum in arcmin, for all channels or each."""
        return self.sigma_arcmin * np.sqrt(8 * np.log(2))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the layer; raise ValueError if the noise has another number of channels."""
        if self._noise is not None and self._noise.size not in (1, input_shape[-1]):
            raise ValueError(
                f"white_noise_sigma has {self._noise.size} channels, but the input has "
                f"{input_shape[-1]}"
            )
        super().build(input_shape)

    def call(self, x: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Smooth, add noise in training, and multiply by the mask from the constructor."""
        if not self._nest:
            x = keras.ops.take(x, self._to_nest, axis=1)
            mask = None if mask is None else keras.ops.take(mask, self._to_nest, axis=1)
        y = super().call(x, mask)
        if not self._nest:
            y = keras.ops.take(y, np.argsort(self._to_nest), axis=1)
        if training and self._noise is not None:
            noise = keras.random.normal(keras.ops.shape(y), dtype=y.dtype, seed=self._seed)
            y = y + noise * keras.ops.cast(self._noise, y.dtype)
        return y if self._mask is None else y * keras.ops.cast(self._mask, y.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments from which `from_config` makes an equal layer."""
        config = super().get_config()
        del config["sampling"]
        mask: dict[str, Any] | None = None
        if self._mask is not None:
            where = np.flatnonzero(self._mask)
            mask = {"channels": self._mask.shape[1], "where": encode_pixels(where)}
            if self._mask.dtype != bool:
                mask["values"] = self._mask.flat[where].tolist()
        return {
            "nside": self.require_sampling().nside,  # type: ignore[attr-defined]
            "indices": encode_pixels(self._indices),
            "nest": self._nest,
            "mask": mask,
            "n_sigma_support": config.pop("support"),
            "arcmin": config.pop("unit") == "arcmin",
            "white_noise_sigma": None if self._noise is None else self._noise.tolist(),
            **config,
        }


def _ring_to_nest(nside: int, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    from astropy_healpix.healpy import ring2nest  # imported lazily, since it adds a warning filter

    return np.asarray(ring2nest(nside, pixels), dtype=np.int64)


def _mask_array(mask: Any, pixels: int) -> NDArray[Any]:
    """Return a checked mask of shape (pixels, channels or 1)."""
    if isinstance(mask, dict):  # from get_config
        values = mask.get("values", True)
        array = np.zeros((pixels, mask["channels"]), dtype=bool if values is True else np.float32)
        array.flat[decode_pixels(mask["where"])] = values
        return array
    refuse_masked(mask, "mask")
    array = np.asarray(keras.ops.convert_to_numpy(mask))
    # Some surveys' masks have a leading batch axis of size 1.
    array = array[0] if array.ndim == 3 and len(array) == 1 else array
    array = array.reshape(*array.shape, *(1,) * (2 - array.ndim))
    if array.ndim != 2 or len(array) != pixels or not array.any():
        raise ValueError(
            f"mask must have shape ({pixels},) or ({pixels}, channels), not 0 everywhere; got "
            f"shape {np.shape(mask)}"
        )
    if array.dtype == bool or np.isin(array, (0, 1)).all():
        return array.astype(bool)
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise ValueError(
            f"mask must be boolean or from 0 to 1, got values from {array.min()} to {array.max()}"
        )
    return array.astype(np.float32)


def _noise_array(sigma: Any) -> NDArray[np.float32] | None:
    """Return checked standard deviations as an array, or None without noise."""
    if sigma is None:
        return None
    array = np.atleast_1d(np.asarray(sigma, dtype=np.float32))
    if array.ndim > 1 or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(
            "white_noise_sigma must be a nonnegative number or one such number per channel; got "
            f"{sigma!r}"
        )
    return array if array.any() else None
