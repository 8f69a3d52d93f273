"""Layer names and signatures of deepsphere-cosmo-tf2, made with the layers of this package.

`K` counts terms for `HealpyChebyshev` and `HealpyMonomial` and is the degree for
`HealpyBernstein`; `Fout` None keeps the number of channels.
"""

from __future__ import annotations

from typing import Any

from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    MonomialConv,
    PatchConv,
    PatchConvTranspose,
    Pool,
)
from deepsphere.layers.base import check_count

_POOL_MODES = {"MAX": "max", "AVG": "mean"}


def _graph_conv(
    cls: type,
    order: int,
    Fout: int | None,
    initializer: Any,
    activation: Any,
    use_bias: bool,
    use_bn: bool,
    **kwargs: Any,
) -> Any:
    # The old layers handed further keywords to the kernel's add_weight.
    for old, new in (("regularizer", "kernel_regularizer"), ("constraint", "kernel_constraint")):
        if old in kwargs:
            kwargs[new] = kwargs.pop(old)
    return cls(
        Fout,
        order,
        kernel_initializer=initializer,
        activation=activation,
        use_bias=use_bias,
        batch_norm=use_bn,
        **kwargs,
    )


def HealpyChebyshev(  # noqa: N802
    K: int,
    Fout: int | None = None,
    initializer: Any = None,
    activation: Any = None,
    use_bias: bool = False,
    use_bn: bool = False,
    **kwargs: Any,
) -> ChebyshevConv:
    """Return ``ChebyshevConv(Fout, order=K - 1, ...)``."""
    order = check_count("K", K, least=1) - 1
    return _graph_conv(
        ChebyshevConv, order, Fout, initializer, activation, use_bias, use_bn, **kwargs
    )


def HealpyMonomial(  # noqa: N802
    K: int,
    Fout: int | None = None,
    initializer: Any = None,
    activation: Any = None,
    use_bias: bool = False,
    use_bn: bool = False,
    **kwargs: Any,
) -> MonomialConv:
    """Return ``MonomialConv(Fout, order=K - 1, ...)``."""
    order = check_count("K", K, least=1) - 1
    return _graph_conv(
        MonomialConv, order, Fout, initializer, activation, use_bias, use_bn, **kwargs
    )


def HealpyBernstein(  # noqa: N802
    K: int,
    Fout: int | None = None,
    initializer: Any = None,
    activation: Any = None,
    use_bias: bool = False,
    use_bn: bool = False,
    **kwargs: Any,
) -> BernsteinConv:
    """Return ``BernsteinConv(Fout, order=K, ...)``."""
    order = check_count("K", K, least=0)
    return _graph_conv(
        BernsteinConv, order, Fout, initializer, activation, use_bias, use_bn, **kwargs
    )


def HealpyPool(p: int, pool_type: str = "MAX", **kwargs: Any) -> Pool:  # noqa: N802
    """Return ``Pool(p, mode="max")``, or ``mode="mean"`` for `pool_type` ``"AVG"``."""
    if pool_type not in _POOL_MODES:
        raise ValueError(f"pool_type must be one of {', '.join(_POOL_MODES)}; got {pool_type!r}")
    return Pool(p, _POOL_MODES[pool_type], **kwargs)


def HealpyPseudoConv(  # noqa: N802
    p: int, Fout: int, kernel_initializer: Any = None, **kwargs: Any
) -> PatchConv:
    """Return ``PatchConv(Fout, p, ...)``."""
    return PatchConv(Fout, p, kernel_initializer=kernel_initializer, **kwargs)


def HealpyPseudoConv_Transpose(  # noqa: N802
    p: int, Fout: int, kernel_initializer: Any = None, **kwargs: Any
) -> PatchConvTranspose:
    """Return ``PatchConvTranspose(Fout, p, ...)``."""
    return PatchConvTranspose(Fout, p, kernel_initializer=kernel_initializer, **kwargs)
