"""Who is calling: the only way to know that a model is being traced for a file."""

from __future__ import annotations

import sys


def called_from(modules: tuple[str, ...]) -> bool:
    """Whether a function of one of these modules is being run further up.

    Exporters of models trace them like anybody else, and neither Keras nor a backend says which
    trace is for a file, where other processes run it, and which is for running it here.

    Parameters
    ----------
    modules : tuple of str
        Beginnings of dotted names.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__", "").startswith(modules):
            return True
    return False
