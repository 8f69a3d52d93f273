"""Checks of arguments that many parts of the package share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def check_count(value: Any, name: str, least: int = 1) -> int:
    """Return `value` as an int, or raise if it is not an integer of at least `least`.

    Parameters
    ----------
    value : int
        The value of an argument.
    name : str
        Name of the argument.
    least : int, default 1
        Smallest valid value.

    Returns
    -------
    int
        The same number.

    Raises
    ------
    TypeError
        If `value` is not an integer of Python or NumPy.
    ValueError
        If `value` is less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def check_choice(value: Any, name: str, choices: Sequence[str]) -> str:
    """Return `value`, or raise ValueError if it is not one of the choices.

    Parameters
    ----------
    value : str
        The value of an argument.
    name : str
        Name of the argument.
    choices : sequence of str
        Valid values.

    Returns
    -------
    str
        The same value.

    Raises
    ------
    ValueError
        If `value` is not one of the choices.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
    return value
