"""Samplings as JSON-serializable data, and back."""

from __future__ import annotations

from inspect import signature
from typing import Any

from deepsphere.sampling.base import Sampling


def serialize(sampling: Sampling) -> dict[str, Any]:
    """Return a sampling as JSON-serializable data, which `deserialize` reads.

    Parameters
    ----------
    sampling : Sampling
        Any sampling of this package.

    Returns
    -------
    dict
        The ``kind`` of the sampling and its configuration.
    """
    return {"kind": sampling.kind, **sampling.get_config()}


def deserialize(config: dict[str, Any]) -> Sampling:
    """Return the sampling described by a result of `serialize`.

    Parameters
    ----------
    config : dict
        A result of `serialize`.

    Returns
    -------
    Sampling
        A sampling equal to the original.

    Raises
    ------
    TypeError
        If `config` is not a dictionary.
    ValueError
        If the ``kind`` is unknown, or a key is missing or unknown.
    """
    if not isinstance(config, dict):
        raise TypeError(f"the configuration of a sampling must be a dictionary, got {config!r:.80}")
    config = dict(config)
    kind = config.pop("kind", None)
    if not isinstance(kind, str) or kind not in Sampling.kinds:
        raise ValueError(f"unknown sampling {kind!r}; known: {', '.join(sorted(Sampling.kinds))}")
    parameters = signature(Sampling.kinds[kind]).parameters  # the keys that get_config writes
    unknown = [name for name in config if name not in parameters]
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in config
    ]
    for names, problem in ((unknown, "an unknown"), (missing, "no")):
        if names:
            raise ValueError(
                f"the configuration of a sampling {kind!r} has {problem} key {names[0]!r}; its "
                f"keys are {', '.join(parameters)}"
            )
    try:
        return Sampling.kinds[kind].from_config(config)
    except KeyError as error:
        raise ValueError(
            f"the configuration of a sampling {kind!r} has no key {error}; its keys are "
            f"{', '.join(parameters)}"
        ) from error
