"""Samplings of the sphere: points, areas and hierarchies, in NumPy."""

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
from deepsphere.sampling.quality import hierarchy_quality
from deepsphere.sampling.scattered import RandomUniform, Scattered
from deepsphere.sampling.serialization import deserialize, serialize
from deepsphere.sampling.subset import Subset, extend_region

__all__ = [
    "CubedSphere",
    "Equiangular",
    "Fibonacci",
    "Footprint",
    "GaussLegendre",
    "Healpix",
    "Icosahedral",
    "IcosahedralFaces",
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
