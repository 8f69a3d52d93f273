"""Inspection of the call stack, the only way to detect that a model is traced for export."""

from __future__ import annotations

import sys


def called_from(modules: tuple[str, ...]) -> bool:
    """Whether a function of one of these modules is on the call stack.

    Neither Keras nor the backends distinguish a trace for export, which runs in other processes,
    from a trace that runs in this process.

    Parameters
    ----------
    modules : tuple of str
        Prefixes of dotted module names.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__", "").startswith(modules):
            return True
    return False
