"""Arguments of layers and models that had other names in files written before version 0.1.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED_IN_LAYERS = {
    "batch_norm": "normalization",
    "kind": "statistic",
    "layer_norm": "normalization",
    "norm": "normalization",
    "norm_config": "normalization_config",
    "p": "levels",
}
"""New names of arguments of layers by their old names."""

RENAMED = {
    "batch_norm": "normalization",
    "classes": "outputs",
    "classifier_activation": "output_activation",
    "last_activation": "output_activation",
    "layer_norm": "normalization",
    "p": "levels",
}
"""New names of arguments of models by their old names."""


def with_new_names(config: dict[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Return the configuration of a layer or model with the new names of its arguments.

    Parameters
    ----------
    config : dict
        What `get_config` of this or an earlier version returned.
    renamed : mapping of str to str
        New names by old names.

    Returns
    -------
    dict
        The configuration that the constructor takes. Flags become the names of normalizations.
    """
    new: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, bool) and renamed.get(name) == "normalization":
            value = name.removesuffix("_norm") if value else None
        new[renamed.get(name, name)] = value
    return new


def refuse_old_names(owner: str, arguments: Mapping[str, Any], renamed: Mapping[str, str]) -> None:
    """Raise TypeError if a keyword argument of a constructor has an old name."""
    for name, value in arguments.items():
        if name in renamed:
            raise TypeError(f"{owner} takes {renamed[name]}=..., not {name}={value!r}")
