"""Samplings of the sphere: points, areas and hierarchies, in NumPy."""

from inspect import signature
from typing import Any

from deepsphere.sampling import regions
from deepsphere.sampling.base import Sampling
from deepsphere.sampling.coordinates import from_coordinates, from_dataarray, to_coordinates
from deepsphere.sampling.cubed_sphere import CubedSphere
from deepsphere.sampling.equiangular import Equiangular
from deepsphere.sampling.fibonacci import Fibonacci
from deepsphere.sampling.footprint import Footprint
from deepsphere.sampling.gaussian import GaussLegendre, ReducedGaussian
from deepsphere.sampling.healpix import Healpix, extend_pixels
from deepsphere.sampling.icosahedral import Icosahedral, IcosahedralFaces
from deepsphere.sampling.missing import UNSEEN
from deepsphere.sampling.quality import LevelQuality, hierarchy_quality
from deepsphere.sampling.scattered import RandomUniform, Scattered
from deepsphere.sampling.subset import Subset, extend_region

SAMPLINGS: dict[str, type[Sampling]] = {
    cls.kind: cls
    for cls in (
        Healpix,
        Equiangular,
        GaussLegendre,
        ReducedGaussian,
        Icosahedral,
        IcosahedralFaces,
        CubedSphere,
        Fibonacci,
        Scattered,
        RandomUniform,
        Subset,
    )
}
"""All samplings by their `kind`."""


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
        raise TypeError(f"a sampling is written as a dictionary, got {config!r:.80}")
    config = dict(config)
    kind = config.pop("kind", None)
    if not isinstance(kind, str) or kind not in SAMPLINGS:
        raise ValueError(f"unknown sampling {kind!r}; known: {', '.join(sorted(SAMPLINGS))}")
    parameters = signature(SAMPLINGS[kind]).parameters  # the keys that get_config writes
    unknown = [name for name in config if name not in parameters]
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in config
    ]
    for names, problem in ((unknown, "an unknown"), (missing, "no")):
        if names:
            raise ValueError(
                f"the written sampling {kind!r} has {problem} key {names[0]!r}; its keys are "
                f"{', '.join(parameters)}"
            )
    try:
        return SAMPLINGS[kind].from_config(config)
    except KeyError as error:
        raise ValueError(
            f"the written sampling {kind!r} has no key {error}; its keys are "
            f"{', '.join(parameters)}"
        ) from error


__all__ = [
    "SAMPLINGS",
    "UNSEEN",
    "CubedSphere",
    "Equiangular",
    "Fibonacci",
    "Footprint",
    "GaussLegendre",
    "Healpix",
    "Icosahedral",
    "IcosahedralFaces",
    "LevelQuality",
    "RandomUniform",
    "ReducedGaussian",
    "Sampling",
    "Scattered",
    "Subset",
    "deserialize",
    "extend_pixels",
    "extend_region",
    "from_coordinates",
    "from_dataarray",
    "hierarchy_quality",
    "regions",
    "serialize",
    "to_coordinates",
]
