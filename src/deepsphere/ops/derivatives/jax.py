"""Linear maps on JAX with an explicit transpose, for custom derivatives.

A function with `jax.custom_vjp` has no forward mode. One with `jax.custom_jvp` has both modes if
JAX can transpose its tangent map. An explicit transpose lets the reverse mode run one fused
function, and only for the arguments whose gradient is needed.
(`jax.custom_derivatives.linear_call` can neither be mapped nor differentiated with respect to its
residuals.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero, zero_from_primal
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Arrays = tuple[Any, ...]
"""Arrays, with None for missing ones."""


@dataclass(frozen=True)
class LinearMap:
    """A function that is jointly linear in some of its arguments, and its transpose.

    Parameters
    ----------
    function : callable
        ``function(residuals, tangents, *static)`` returns a tuple of arrays. `residuals` and
        `tangents` are tuples. A tangent may be None, which counts as 0, but not all of them. JAX
        must be able to differentiate the function with respect to its residuals.
    transposed : callable
        ``transposed(residuals, cotangents, wanted, *static)`` returns a gradient for each tangent.
        `cotangents` are those of the values of `function`; one may be None, which counts as 0, but
        not all of them. `wanted` has a bool per tangent; gradients that are not wanted are
        ignored. JAX must be able to differentiate the function with respect to all arrays.
    static : tuple, default ()
        Further arguments of both functions; hashable.
    """

    function: Callable[..., Arrays]
    transposed: Callable[..., Arrays]
    static: tuple[Any, ...] = ()

    def __call__(self, residuals: Arrays, tangents: Arrays, like: Any) -> Any:
        """Apply the map.

        Parameters
        ----------
        residuals : tuple of arrays or None
            Arguments in which the map need not be linear.
        tangents : tuple of arrays, None or SymbolicZero
            Arguments in which the map is linear.
        like : array or tuple of arrays
            The primal of the result, which has the same structure.
        """
        moving = tuple(None if isinstance(t, SymbolicZero) else t for t in tangents)
        if all(tangent is None for tangent in moving):
            return zero_from_primal(like, symbolic_zeros=True)
        operands, tree = jax.tree.flatten((residuals, moving))
        values, structure = jax.tree.flatten(like)
        types = tuple(map(jax.typeof, values))
        found = _linear_map.bind(*operands, linear=self, tree=tree, types=types)
        return jax.tree.unflatten(structure, found)


def _evaluate(*operands: Any, linear: LinearMap, tree: Any, **_: Any) -> list[Any]:
    return list(linear.function(*tree.unflatten(operands), *linear.static))


def _differentiate(
    operands: Any, changes: Any, *, linear: LinearMap, tree: Any, types: Any
) -> tuple[list[Any], list[Any]]:
    residuals, tangents = tree.unflatten(operands)
    residual_changes, tangent_changes = (
        tuple(None if type(c) is ad.Zero else c for c in group) for group in tree.unflatten(changes)
    )
    value = _linear_map.bind(*operands, linear=linear, tree=tree, types=types)
    parts = []
    if any(c is not None for c in tangent_changes):
        parts.append(linear(residuals, tangent_changes, value))
    if any(c is not None for c in residual_changes):

        def of_residuals(*residuals: Any) -> Arrays:
            return linear.function(residuals, tangents, *linear.static)

        parts.append(_push_forward(residuals, residual_changes, of_residuals))
    return value, [sum(part[1:], part[0]) for part in zip(*parts, strict=True)]


def _transpose(
    cotangents: Any, *operands: Any, linear: LinearMap, tree: Any, types: Any
) -> list[Any]:
    residuals, tangents = tree.unflatten(operands)
    wanted = tuple(ad.is_undefined_primal(t) for t in tangents)
    given = tuple(None if type(c) is ad.Zero else c for c in cotangents)
    found: Arrays = (None,) * len(tangents)
    if any(c is not None for c in given):
        found = linear.transposed(residuals, given, wanted, *linear.static)
    gradients = [
        gradient if w else None
        for gradient, tangent, w in zip(found, tangents, wanted, strict=True)
        if tangent is not None
    ]
    return [None] * (len(operands) - len(gradients)) + gradients


def _map(
    operands: Any, dims: Any, *, linear: LinearMap, tree: Any, types: Any
) -> tuple[Any, list[int]]:
    mapped = LinearMap(_map_function, _map_transposed, (linear, *tree.unflatten(dims)))
    evaluate = partial(_evaluate, linear=mapped, tree=tree)
    types = tuple(jax.make_jaxpr(evaluate)(*operands).out_avals)
    return _linear_map.bind(*operands, linear=mapped, tree=tree, types=types), [0] * len(types)


def _map_function(
    residuals: Arrays, tangents: Arrays, linear: LinearMap, residual_dims: Any, tangent_dims: Any
) -> Arrays:
    def function(residuals: Arrays, tangents: Arrays) -> Arrays:
        return linear.function(residuals, tangents, *linear.static)

    return jax.vmap(function, (residual_dims, tangent_dims))(residuals, tangents)


def _map_transposed(
    residuals: Arrays,
    cotangents: Arrays,
    wanted: tuple[bool, ...],
    linear: LinearMap,
    residual_dims: Any,
    tangent_dims: Any,
) -> Arrays:
    def transposed(residuals: Arrays, cotangents: Arrays) -> Arrays:
        found = linear.transposed(residuals, cotangents, wanted, *linear.static)
        return tuple(f if w else None for f, w in zip(found, wanted, strict=True))

    found = jax.vmap(transposed, (residual_dims, 0))(residuals, cotangents)
    return tuple(
        gradient
        if gradient is None
        else gradient.sum(0)
        if dim is None
        else jnp.moveaxis(gradient, 0, dim)
        for gradient, dim in zip(found, tangent_dims, strict=True)
    )


# ---- derivatives by recomputation ----


def derivative(function: Callable[..., Any], *static: Any) -> LinearMap:
    """Return the derivative of a function as a map whose only residuals are the arguments.

    Parameters
    ----------
    function : callable
        ``function(*arrays, *static)`` returns one or several arrays. Its arrays, which may be
        None, are the residuals of the map, and their tangents its tangents.
    *static : hashable
        Further arguments of `function`.
    """
    return LinearMap(_push_forward, _pull_back, (function, *static))


def _push_forward(
    arguments: Arrays, tangents: Arrays, function: Callable[..., Any], *static: Any
) -> Arrays:
    which = [t is not None for t in tangents]
    moving = tuple(t for t in tangents if t is not None)
    return jax.jvp(*_of_some(arguments, which, function, static), moving)[1]


def _pull_back(
    arguments: Arrays,
    cotangents: Arrays,
    wanted: tuple[bool, ...],
    function: Callable[..., Any],
    *static: Any,
) -> Arrays:
    of_some, some = _of_some(arguments, wanted, function, static)
    values, pull_back = jax.vjp(of_some, *some)
    found = iter(
        pull_back(
            tuple(
                jnp.zeros_like(v) if c is None else c
                for v, c in zip(values, cotangents, strict=True)
            )
        )
    )
    return tuple(next(found) if w else None for w in wanted)


def _of_some(
    arguments: Arrays, which: Sequence[bool], function: Callable[..., Any], static: Any
) -> tuple[Callable[..., Arrays], Arrays]:
    """Return `function` restricted to some of its arguments, and these arguments."""

    def of_some(*some: Any) -> Arrays:
        given = iter(some)
        every = (next(given) if w else a for a, w in zip(arguments, which, strict=True))
        return tuple(jax.tree.leaves(function(*every, *static)))

    return of_some, tuple(a for a, w in zip(arguments, which, strict=True) if w)


_linear_map = Primitive("deepsphere_linear_map")
_linear_map.multiple_results = True
_linear_map.def_impl(_evaluate)
_linear_map.def_abstract_eval(lambda *_, types, **__: types)
ad.primitive_jvps[_linear_map] = _differentiate
ad.primitive_transposes[_linear_map] = _transpose
batching.primitive_batchers[_linear_map] = _map
mlir.register_lowering(_linear_map, mlir.lower_fun(_evaluate, multiple_results=True))
