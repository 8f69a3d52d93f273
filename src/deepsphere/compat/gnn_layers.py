"""Graph layers of deepsphere-cosmo-tf2, which take any Laplacian instead of a sampling.

`K` is the number of terms for `Chebyshev` and `Monomial` and the degree for `Bernstein`. If `Fout`
is None, the number of channels does not change. The Laplacian is copied and saved with the layer.
"""

from __future__ import annotations

import base64
import io
import logging
from abc import ABCMeta
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import keras
import numpy as np
from scipy.sparse import csr_array, load_npz, save_npz
from scipy.sparse.linalg import eigs, eigsh

from deepsphere._checks import check_count
from deepsphere.compat.old_constructors import (
    OldAttributes,
    OldConstructor,
    OldError,
    old_errors,
)
from deepsphere.graph import rescale
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    GraphConv,
    MonomialConv,
    ResidualBlock,
)
from deepsphere.layers.base import PACKAGE
from deepsphere.ops import SparseOperator
from deepsphere.ops.matrices import to_csr

logger = logging.getLogger(__name__)

LAYER_TYPES = {"chebyshev": "CHEBY", "monomial": "MONO", "bernstein": "BERN"}
"""Old names of the convolutions, by basis."""


def new_arguments(
    basis: str,
    K: int,
    Fout: int | None,
    initializer: Any,
    activation: Any,
    use_bias: bool,
    use_bn: bool,
    kwargs: Mapping[str, Any],
) -> dict[str, Any]:
    """Convert arguments of the old layers to those of `deepsphere.layers.GraphConv`."""
    order = check_count(K, "K", 0) if basis == "bernstein" else check_count(K, "K") - 1
    kwargs = dict(kwargs)
    note_ignored("a graph convolution", spmm_backend=kwargs.pop("spmm_backend", None))
    if "depth_wise" in kwargs:
        kwargs["depthwise"] = kwargs.pop("depth_wise")
    # The old layers passed further keywords to the kernel's add_weight.
    for old in ("regularizer", "constraint"):
        if old in kwargs:
            kwargs[f"kernel_{old}"] = kwargs.pop(old)
    return {
        "filters": Fout,
        "order": order,
        "kernel_initializer": initializer,
        "activation": activation,
        "use_bias": use_bias,
        "normalization": "batch" if use_bn else None,
        **kwargs,
    }


def note_ignored(where: str, **arguments: Any) -> None:
    """Log which arguments of the old code no longer have an effect."""
    for name, value in arguments.items():
        if value is not None:
            logger.info("%s: ignoring %s=%r, which is no longer needed", where, name, value)


def new_residual_arguments(
    activation: Any,
    act_before: bool,
    use_bn: bool,
    norm_type: str,
    bn_kwargs: Mapping[str, Any] | None,
    alpha: float,
) -> dict[str, Any]:
    """Convert arguments of the old layers to those of `deepsphere.layers.ResidualBlock`.

    Raises
    ------
    OldError
        If `norm_type` is unknown.
    """
    norms = {"batch_norm": "batch", "layer_norm": "layer"}
    if norm_type not in norms:
        raise OldError(f"norm_type must be one of {', '.join(norms)}; got {norm_type!r}")
    return {
        "activation": activation,
        "activation_first": act_before,
        "normalization": norms[norm_type] if use_bn else None,
        "normalization_config": dict(bn_kwargs or {}) if use_bn else None,
        "alpha": alpha,
    }


def named_layer(layers: Mapping[str, Any], layer_type: str) -> Any:
    """Return the layer with an old name such as ``"CHEBY"``; raise OldError if there is none."""
    if layer_type not in layers:
        raise OldError(f"layer_type must be one of {', '.join(layers)}; got {layer_type!r}")
    return layers[layer_type]


class OldConv(OldAttributes, GraphConv):
    """Attributes of the old graph convolutions."""

    old_parts = ("bn", "L")

    @property
    def K(self) -> int:  # noqa: N802
        """Number of terms, or the degree for Bernstein polynomials."""
        return self.order + (self.basis != "bernstein")

    @property
    def Fout(self) -> int | None:  # noqa: N802
        """Number of output channels; None to keep that of the input."""
        return self.filters

    @property
    def initializer(self) -> Any:
        """The kernel's initializer."""
        return self.kernel_initializer

    @property
    def use_bn(self) -> bool:
        """Whether the layer normalizes its output."""
        return self.normalization is not None

    @property
    def bn(self) -> Any:
        """The batch normalization, or None."""
        return self.norm


class OldResidual(OldAttributes, ResidualBlock):
    """Attributes of the old residual layers."""

    old_parts = ("layer1", "layer2", "bn1", "bn2")

    @property
    def layer_type(self) -> str:
        """``"CHEBY"``, ``"MONO"`` or ``"BERN"``."""
        return LAYER_TYPES[self.layer1.basis]

    @property
    def layer_kwargs(self) -> dict[str, Any]:
        """Arguments of the convolutions."""
        conv = self.layer1
        return {
            "K": conv.order + (conv.basis != "bernstein"),
            "Fout": conv.filters,
            "initializer": conv.kernel_initializer,
            "activation": conv.activation,
            "use_bias": conv.use_bias,
            "use_bn": conv.normalization is not None,
        }

    @property
    def layer1(self) -> Any:
        """The first convolution."""
        return self.conv1

    @property
    def layer2(self) -> Any:
        """The second convolution."""
        return self.conv2

    @property
    def act_before(self) -> bool:
        """Whether the activation comes before the sum."""
        return self.activation_first

    @property
    def use_bn(self) -> bool:
        """Whether a normalization follows each convolution."""
        return self.normalization is not None

    @property
    def norm_type(self) -> str:
        """``"batch_norm"`` or ``"layer_norm"``."""
        return "layer_norm" if self.normalization == "layer" else "batch_norm"

    @property
    def bn_kwargs(self) -> dict[str, Any]:
        """Arguments of the normalizations."""
        return dict(self.normalization_config)

    @property
    def bn1(self) -> Any:
        """The first normalization, or None."""
        return self.norm1

    @property
    def bn2(self) -> Any:
        """The second normalization, or None."""
        return self.norm2

    @property
    def drop_path_rate(self) -> float:
        """Probability that a sample skips the convolutions in training."""
        return self.drop_path


class _OnLaplacian(OldConv, metaclass=ABCMeta):
    """Base of the old graph convolutions, whose operator is made from a given Laplacian.

    The convolutions of a `HealpyGCNN` count as instances, see `old_face`.
    """

    def __init__(
        self,
        L: Any,
        K: int,
        Fout: int | None = None,
        initializer: Any = None,
        activation: Any = None,
        use_bias: bool = False,
        use_bn: bool = False,
        n_matmul_splits: int = 1,
        **kwargs: Any,
    ) -> None:
        self._matrix = decode_matrix(L) if isinstance(L, str) else check_matrix("L", L)
        with old_errors():
            super().__init__(
                **new_arguments(
                    self.basis, K, Fout, initializer, activation, use_bias, use_bn, kwargs
                )
            )
        self.n_matmul_splits = n_matmul_splits

    @property
    def L(self) -> csr_array:  # noqa: N802
        """The Laplacian."""
        return self._matrix

    @property
    def input_points(self) -> int:
        """Number of vertices."""
        return int(self._matrix.shape[0])

    @property
    def output_points(self) -> int:
        """Number of vertices."""
        return self.input_points

    @cached_property
    def spectral_bound(self) -> float:
        """Largest absolute eigenvalue of the Laplacian."""
        return largest_magnitude(self._matrix)

    def make_operator(self) -> SparseOperator:
        """Return the rescaled Laplacian."""
        return SparseOperator(rescale(self._matrix, self.spectral_bound, self.scale))

    def get_config(self) -> dict[str, Any]:
        """Return the configuration for `from_config`."""
        config = super().get_config()
        for name in ("sampling", "graph"):
            config.pop(name)
        return {
            "L": encode_matrix(self._matrix),
            "K": config.pop("order") + (self.basis != "bernstein"),
            "Fout": config.pop("filters"),
            "initializer": config.pop("kernel_initializer"),
            "use_bn": config.pop("normalization") is not None,
            **config,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class Chebyshev(_OnLaplacian, ChebyshevConv):
    """`ChebyshevConv` of order ``K - 1`` on a Laplacian `L`.

    Parameters
    ----------
    L : matrix, shape (n, n)
        Laplacian, dense or sparse. The layer rescales it.
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
    n_matmul_splits : int, default 1
        Ignored: large products are split automatically.
    **kwargs
        Other arguments of `ChebyshevConv`, or the old ``regularizer`` and ``constraint`` of the
        kernel and ``depth_wise``.

    Raises
    ------
    TypeError
        If the entries of `L` are not real numbers, or `K` or `Fout` is not an integer.
    ValueError
        If `L` is not square, has invalid indices, or has entries that are NaN or infinite; or as
        an `OldError`, if `K` is out of range or `ChebyshevConv` raises ValueError.
    """


@keras.saving.register_keras_serializable(PACKAGE)
class Monomial(_OnLaplacian, MonomialConv):
    """`MonomialConv` of order ``K - 1`` on a Laplacian `L`.

    The arguments are those of `Chebyshev`.
    """


@keras.saving.register_keras_serializable(PACKAGE)
class Bernstein(_OnLaplacian, BernsteinConv):
    """`BernsteinConv` of order `K` on a Laplacian `L`.

    The arguments are those of `Chebyshev`, except that `K` is the degree.
    """


_CONVOLUTIONS = {"CHEBY": Chebyshev, "MONO": Monomial, "BERN": Bernstein}


@keras.saving.register_keras_serializable(PACKAGE)
class GCNN_ResidualLayer(  # noqa: N801
    OldResidual, OldConstructor, ResidualBlock, metaclass=ABCMeta
):
    """`ResidualBlock` of two equal convolutions on a Laplacian.

    Parameters
    ----------
    layer_type : {"CHEBY", "MONO", "BERN"}
        Type of the convolutions.
    layer_kwargs : mapping
        Arguments of the convolutions, including their Laplacian `L`; see `Chebyshev`.
    activation, act_before, use_bn, norm_type, bn_kwargs, alpha, drop_path_rate, **kwargs
        As in `deepsphere.healpy_layers.Healpy_ResidualLayer`.

    Raises
    ------
    OldError
        A ValueError and OSError, if `layer_type` or `norm_type` is unknown.
    """

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
        drop_path_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        arguments = new_residual_arguments(
            activation, act_before, use_bn, norm_type, bn_kwargs, alpha
        )
        conv = named_layer(_CONVOLUTIONS, layer_type)(**layer_kwargs)
        super().__init__(conv, drop_path=drop_path_rate, **arguments, **kwargs)


def check_matrix(name: str, matrix: Any) -> csr_array:
    """Return a copy of a square matrix, dense or sparse.

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If `matrix` is not square, has invalid indices, or has entries that are NaN or infinite.
    """
    matrix = to_csr(matrix, name).copy()
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name} must be a square matrix, got shape {matrix.shape}")
    return matrix


def largest_magnitude(matrix: csr_array) -> float:
    """Return the largest absolute eigenvalue of a square matrix."""
    if matrix.shape[0] <= 64:
        return float(np.abs(np.linalg.eigvals(matrix.toarray())).max())
    start = np.random.default_rng(0).standard_normal(matrix.shape[0])  # reproducible
    solve = eigsh if (matrix != matrix.T).nnz == 0 else eigs
    return float(np.abs(solve(matrix, 1, which="LM", v0=start, return_eigenvectors=False))[0])


def encode_matrix(matrix: csr_array) -> str:
    """Encode a matrix as text, for `decode_matrix`."""
    file = io.BytesIO()
    save_npz(file, matrix, compressed=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def decode_matrix(text: str) -> csr_array:
    """Decode a matrix from the text of `encode_matrix`."""
    return csr_array(load_npz(io.BytesIO(base64.b64decode(text))))
