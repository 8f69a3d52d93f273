"""Derivatives of a filter and of its gradients, which are filters and gradients again.

The filter ``y = sum_k T_k(A) x W_k`` is linear in x and in W, and its gradients dx and dW are
linear in each of x, W and g, the gradient of y. The rules below hold for every backend and for both
forms. Bias and activation are left to the callers. See docs/performance.md, "Second derivatives".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Filter = Callable[[Any, Any], Any]
"""``filtered(x, kernel)`` returns the filtered features."""

Gradients = Callable[[Any, Any, Any, tuple[bool, bool, bool]], Any]
"""``gradients(x, kernel, g, wanted)`` returns dx, dkernel and possibly more, for example dbias.

Those that are not wanted are arbitrary."""

ONLY_DX, ONLY_DKERNEL = (True, False, False), (False, True, False)


def filter_tangent(filtered: Filter, x: Any, kernel: Any, tx: Any, tkernel: Any) -> Any:
    """Return the derivative of a filter along tangents, or None if both are None."""
    parts = []
    if tx is not None:
        parts.append(filtered(tx, kernel))
    if tkernel is not None:
        parts.append(filtered(x, tkernel))
    return total(parts)


def gradients_tangent(
    gradients: Gradients,
    x: Any,
    kernel: Any,
    g: Any,
    tangents: tuple[Any, Any, Any],
    wanted: tuple[bool, bool, bool],
) -> list[Any]:
    """Return the derivatives of the gradients along tangents of x, kernel and g.

    Each is None if it is not wanted or no tangent contributes to it.
    """
    tx, tkernel, tg = tangents
    parts: list[list[Any]] = [[], [], []]
    if tg is not None:
        found = gradients(x, kernel, tg, wanted)
        parts = [[f] if w else [] for f, w in zip(found, wanted, strict=True)]
    if tkernel is not None and wanted[0]:
        parts[0].append(gradients(x, tkernel, g, ONLY_DX)[0])
    if tx is not None and wanted[1]:
        parts[1].append(gradients(tx, kernel, g, ONLY_DKERNEL)[1])
    return [total(each) for each in parts]


def gradients_cotangents(
    filtered: Filter,
    gradients: Gradients,
    x: Any,
    kernel: Any,
    g: Any,
    cotangents: tuple[Any, Any],
    needed: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[Any, Any, Any]:
    """Pull cotangents of dx and dkernel back to x, kernel and g.

    A result is None if it is not needed, or if no cotangent contributes to it.
    """
    vx, vkernel = cotangents
    to_x = to_kernel = to_g = None
    if needed[0] and vkernel is not None:
        to_x = gradients(x, vkernel, g, ONLY_DX)[0]
    if needed[1] and vx is not None:
        to_kernel = gradients(vx, kernel, g, ONLY_DKERNEL)[1]
    if needed[2]:
        to_g = filter_tangent(filtered, x, kernel, vx, vkernel)
    return to_x, to_kernel, to_g


def total(parts: list[Any]) -> Any:
    """Return the sum of tensors, or None if there are none."""
    return sum(parts[1:], parts[0]) if parts else None
