"""The options of the compiled functions, field by field as in call.h."""

from __future__ import annotations

from typing import NamedTuple

from deepsphere.ops.compiled import build

ACTIVATIONS = {"linear": 0, "relu": 1}
"""Activations that the filters can apply themselves, and their numbers in rows.h."""

POOLINGS = {"max": 0, "mean": 1}
"""What can be pooled, and its numbers in pool.h."""


class FilterOptions(NamedTuple):
    """Options of the filters and their gradients."""

    activation: float
    threads: float
    epsilon: float


class ProductOptions(NamedTuple):
    """Options of the sparse product."""

    power: float
    threads: float


class PoolOptions(NamedTuple):
    """Options of pooling and its gradient."""

    mode: float
    threads: float
    children: float


def filter_options(activation: str, epsilon: float = 0.0) -> FilterOptions:
    """Return the options of a filter with one of `ACTIVATIONS`; `epsilon` is for normalizing."""
    return FilterOptions(
        activation=ACTIVATIONS[activation], threads=build.threads(), epsilon=epsilon
    )


def product_options(power: int) -> ProductOptions:
    """Return the options of a sparse product."""
    return ProductOptions(power=power, threads=build.threads())


def pool_options(mode: str, children: int) -> PoolOptions:
    """Return the options of pooling by one of `POOLINGS`."""
    return PoolOptions(mode=POOLINGS[mode], threads=build.threads(), children=children)
