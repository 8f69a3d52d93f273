"""The options of the compiled functions, field by field as in call.h."""

from __future__ import annotations

from typing import NamedTuple

from deepsphere.ops.compiled import build

ACTIVATIONS = {
    "linear": 0,
    "relu": 1,
    "elu": 2,
    "selu": 3,
    "leaky_relu": 4,
    "tanh": 5,
    "sigmoid": 6,
    "softplus": 7,
    "silu": 8,
    "gelu": 9,
}
"""Activations that the filters can apply themselves, and their numbers in activations.h.

Each is the function of this name in `keras.activations` with its default arguments."""

DERIVATIVE_NEEDS_INPUT = ("silu", "gelu")
"""Activations whose derivative cannot be computed from their output.

A filter keeps its output for the backward pass, so it leaves these to the backend; a normalized
filter, which keeps the input of its normalization, applies them, too."""

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


class AttentionOptions(NamedTuple):
    """Options of attention and its gradients."""

    heads: float
    threads: float


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


def attention_options(heads: int) -> AttentionOptions:
    """Return the options of attention."""
    return AttentionOptions(heads=heads, threads=build.threads())
