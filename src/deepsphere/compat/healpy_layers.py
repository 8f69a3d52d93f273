"""Layer names and signatures of deepsphere-cosmo-tf2, made of the layers of this package.

`K` counts terms for `HealpyChebyshev` and `HealpyMonomial` and is the degree for
`HealpyBernstein`; `Fout` None keeps the number of channels. A model that is given one of these
layers makes itself a copy on its own pixels, which is a layer of `deepsphere.layers`: the same
list of layers makes several independent models, and what is saved needs no old names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.compat import gnn_layers
from deepsphere.compat.gnn_transformers import Graph_Transformer, Graph_ViT
from deepsphere.compat.old_constructors import AnyPixels, OldSignature
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
)
from deepsphere.layers.base import PACKAGE
from deepsphere.sampling import Healpix
from deepsphere.sampling.pixel_codec import decode_pixels, encode_pixels

_POOL_MODES = {"MAX": "max", "AVG": "mean"}


class _OldConv(OldSignature, GraphConv):
    """Constructor of the old graph convolutions, and their way to the graph."""

    on_laplacian: ClassVar[type[Any]]

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
        super().__init__(
            **gnn_layers.new_arguments(
                self.basis, K, Fout, initializer, activation, use_bias, use_bn, kwargs
            )
        )
        self._old_arguments = (K, Fout, initializer, activation, use_bias, use_bn, kwargs)

    def _get_layer(self, L: Any, n_matmul_splits: int = 1) -> Any:
        """Return the layer on a Laplacian, as old models called it."""
        *arguments, kwargs = self._old_arguments
        return self.on_laplacian(L, *arguments, n_matmul_splits, **kwargs)


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyChebyshev(_OldConv, ChebyshevConv):
    """``ChebyshevConv(Fout, order=K - 1, ...)``."""

    native = ChebyshevConv
    on_laplacian = gnn_layers.Chebyshev


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyMonomial(_OldConv, MonomialConv):
    """``MonomialConv(Fout, order=K - 1, ...)``."""

    native = MonomialConv
    on_laplacian = gnn_layers.Monomial


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyBernstein(_OldConv, BernsteinConv):
    """``BernsteinConv(Fout, order=K, ...)``."""

    native = BernsteinConv
    on_laplacian = gnn_layers.Bernstein


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyPool(AnyPixels, Pool):
    """``Pool(p, mode="max")``, or ``mode="mean"`` for `pool_type` ``"AVG"``."""

    native = Pool

    def __init__(self, p: int, pool_type: str = "MAX", **kwargs: Any) -> None:
        if pool_type not in _POOL_MODES:
            raise ValueError(
                f"pool_type must be one of {', '.join(_POOL_MODES)}; got {pool_type!r}"
            )
        super().__init__(p, _POOL_MODES[pool_type], **kwargs)


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyPseudoConv(AnyPixels, PatchConv):
    """``PatchConv(Fout, p, ...)``."""

    native = PatchConv

    def __init__(
        self, p: int, Fout: int | None, kernel_initializer: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(Fout, p, kernel_initializer=kernel_initializer, **kwargs)


@keras.saving.register_keras_serializable(PACKAGE)
class HealpyPseudoConv_Transpose(AnyPixels, PatchConvTranspose):  # noqa: N801
    """``PatchConvTranspose(Fout, p, ...)``."""

    native = PatchConvTranspose

    def __init__(
        self, p: int, Fout: int | None, kernel_initializer: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(Fout, p, kernel_initializer=kernel_initializer, **kwargs)


_CONVOLUTIONS = {"CHEBY": HealpyChebyshev, "MONO": HealpyMonomial, "BERN": HealpyBernstein}


@keras.saving.register_keras_serializable(PACKAGE)
class Healpy_ResidualLayer(OldSignature, ResidualBlock):  # noqa: N801
    """`ResidualBlock` of two equal convolutions, ``"CHEBY"``, ``"MONO"`` or ``"BERN"``."""

    native = ResidualBlock

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
        **kwargs: Any,
    ) -> None:
        conv = gnn_layers.choose(_CONVOLUTIONS, layer_type)(**layer_kwargs)
        super().__init__(
            conv,
            **gnn_layers.new_residual_arguments(
                activation, act_before, use_bn, norm_type, bn_kwargs, alpha
            ),
            **kwargs,
        )
        self._old_arguments = (
            *(layer_type, layer_kwargs, activation, act_before),
            *(use_bn, norm_type, bn_kwargs, alpha),
        )

    def _get_layer(self, L: Any, n_matmul_splits: int = 1) -> gnn_layers.GCNN_ResidualLayer:
        """Return the layer on a Laplacian, as old models called it."""
        layer_type, layer_kwargs, *arguments = self._old_arguments
        splits = {"L": L, "n_matmul_splits": n_matmul_splits}
        return gnn_layers.GCNN_ResidualLayer(layer_type, {**layer_kwargs, **splits}, *arguments)


Healpy_ViT = Graph_ViT
"""`VisionTransformer` under its old name."""


@keras.saving.register_keras_serializable(PACKAGE)
class Healpy_Transformer(OldSignature, GraphTransformer):  # noqa: N801
    """``GraphTransformer(key_dim, num_heads, ...)``."""

    native = GraphTransformer

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
            layer_norm=layer_norm,
            **kwargs,
        )
        self._old_arguments = (
            *(key_dim, num_heads, positional_encoding),
            *(n_layers, activation, layer_norm),
        )

    def _get_layer(self, A: Any) -> Graph_Transformer:
        """Return the layer on an adjacency matrix, as old models called it."""
        return Graph_Transformer(A, *self._old_arguments)


@keras.saving.register_keras_serializable(PACKAGE)
class HealpySmoothing(GaussianSmoothing):
    """`GaussianSmoothing` on the pixels `indices`, the result multiplied by a mask.

    `indices` are strictly increasing. With ``nest=False`` they and the maps are in RING ordering.
    `fwhm` and `sigma` are in arcmin, or in rad with ``arcmin=False``; `mask` is boolean, of shape
    (pixels,) or (pixels, channels). `per_channel_repetitions` gives channel c the width of so
    many passes, ``sigma * sqrt(repetitions[c])``. `data_path` and `max_batch_size` are no longer
    needed.
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
        data_path: Any = None,  # noqa: ARG002
        max_batch_size: int | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> None:
        if isinstance(indices, str):  # as written by get_config
            indices = decode_pixels(indices)
        kwargs.pop("sampling", None)  # as a model gives it: bind has checked that it is this one
        given = Healpix(nside, indices).pixels  # raises if they are not increasing
        self._nest = bool(nest)
        self._indices = given
        pixels = given if nest else _ring_to_nest(nside, given)
        self._to_nest = np.argsort(pixels)
        if per_channel_repetitions is not None:
            factors = np.sqrt(np.asarray(per_channel_repetitions, dtype=np.float64))
            fwhm = None if fwhm is None else (fwhm * factors).tolist()
            sigma = None if sigma is None else (sigma * factors).tolist()
        super().__init__(
            Healpix(nside, pixels[self._to_nest]),
            fwhm=fwhm,
            sigma=sigma,
            unit="arcmin" if arcmin else "rad",
            support=n_sigma_support,
            **kwargs,
        )
        self._mask = None if mask is None else _mask_array(mask, len(pixels))

    def call(self, x: Any, mask: Any = None) -> Any:
        """Smooth, and multiply by the mask that the layer was made with."""
        if not self._nest:
            x = keras.ops.take(x, self._to_nest, axis=1)
            mask = None if mask is None else keras.ops.take(mask, self._to_nest, axis=1)
        y = super().call(x, mask)
        if not self._nest:
            y = keras.ops.take(y, np.argsort(self._to_nest), axis=1)
        return y if self._mask is None else y * keras.ops.cast(self._mask, y.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments from which `from_config` makes an equal layer."""
        config = super().get_config()
        del config["sampling"]
        mask = None
        if self._mask is not None:
            where = encode_pixels(np.flatnonzero(self._mask))
            mask = {"channels": self._mask.shape[1], "where": where}
        return {
            "nside": self.require_sampling().nside,  # type: ignore[attr-defined]
            "indices": encode_pixels(self._indices),
            "nest": self._nest,
            "mask": mask,
            "n_sigma_support": config.pop("support"),
            "arcmin": config.pop("unit") == "arcmin",
            **config,
        }


def _ring_to_nest(nside: int, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    from astropy_healpix.healpy import ring2nest  # not on import: it adds a filter of warnings

    return np.asarray(ring2nest(nside, pixels), dtype=np.int64)


def _mask_array(mask: Any, pixels: int) -> NDArray[np.bool_]:
    """Return a mask of shape (pixels, channels or 1), or raise if it has another."""
    if isinstance(mask, dict):  # as written by get_config
        array = np.zeros((pixels, mask["channels"]), dtype=bool)
        array.flat[decode_pixels(mask["where"])] = True
        return array
    array = np.asarray(mask).astype(bool)
    array = array.reshape(*array.shape, *(1,) * (2 - array.ndim))
    if array.ndim != 2 or len(array) != pixels or not array.any():
        raise ValueError(
            f"mask must have shape ({pixels},) or ({pixels}, channels), some of it True; "
            f"got shape {np.shape(mask)}"
        )
    return array
