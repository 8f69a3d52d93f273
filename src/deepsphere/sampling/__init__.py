"""Where the sphere is sampled: points, areas and their hierarchy, as plain numpy."""

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
"""Every sampling by the name under which it is written."""


def serialize(sampling: Sampling) -> dict[str, Any]:
    """Write a sampling as plain JSON data.

    Parameters
    ----------
    sampling : Sampling
        Any sampling of this package.

    Returns
    -------
    dict
        What `deserialize` reads: the sampling's ``kind`` and its configuration.
    """
    return {"kind": sampling.kind, **sampling.get_config()}


def deserialize(config: dict[str, Any]) -> Sampling:
    """Make a sampling from what `serialize` wrote.

    Parameters
    ----------
    config : dict
        Plain JSON data.

    Returns
    -------
    Sampling
        A sampling equal to the one that was written.

    Raises
    ------
    ValueError
        If this version of the package does not know the sampling.
    """
    config = dict(config)
    kind = config.pop("kind", None)
    if kind not in SAMPLINGS:
        raise ValueError(f"unknown sampling {kind!r}; known: {', '.join(sorted(SAMPLINGS))}")
    return SAMPLINGS[kind].from_config(config)


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
