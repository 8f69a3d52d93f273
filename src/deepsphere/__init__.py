"""DeepSphere: graph convolutional neural networks for data on the sphere, on Keras 3.

Samplings and graphs (`deepsphere.sampling`, `deepsphere.graph`) need no backend. Layers and
models run on the backend that Keras is set to; importing this package registers them with Keras,
so that ``keras.models.load_model`` finds them.
"""

import logging
from importlib import import_module
from importlib.metadata import version
from typing import Any

from deepsphere import graph, sampling
from deepsphere.sampling import (
    CubedSphere,
    Equiangular,
    Fibonacci,
    GaussLegendre,
    Healpix,
    Icosahedral,
    IcosahedralFaces,
    RandomUniform,
    ReducedGaussian,
    Scattered,
    Subset,
    extend_pixels,
    extend_region,
)

try:
    from deepsphere import (
        analysis,
        gnn_layers,
        gnn_transformers,
        healpy_layers,
        layers,
        models,
        ops,
    )
    from deepsphere.compat.healpy_networks import HealpyGCNN
    from deepsphere.models import Sequential
except ModuleNotFoundError as error:
    # Keras is set to a backend that is not installed. What needs none still works.
    if error.name not in ("tensorflow", "jax", "torch"):
        raise
    _missing_backend = error.name

__version__ = version("deepsphere-keras")

logger = logging.getLogger("deepsphere")
"""The parent of all loggers of this package: nothing is set up, see the standard library."""

__all__ = [
    "CubedSphere",
    "Equiangular",
    "Fibonacci",
    "GaussLegendre",
    "Healpix",
    "HealpyGCNN",
    "Icosahedral",
    "IcosahedralFaces",
    "RandomUniform",
    "ReducedGaussian",
    "Scattered",
    "Sequential",
    "Subset",
    "analysis",
    "data",
    "extend_pixels",
    "extend_region",
    "gnn_layers",
    "gnn_transformers",
    "graph",
    "healpy_layers",
    "layers",
    "logger",
    "models",
    "ops",
    "plot",
    "sampling",
    "utils",
]


def __getattr__(name: str) -> Any:
    if name in ("data", "plot", "utils"):  # on first use: they need no backend
        return import_module(f"deepsphere.{name}")
    if name in __all__:
        raise ImportError(
            f"deepsphere.{name} needs Keras' backend {_missing_backend!r}, which is not "
            "installed. Either install it (pip install "
            f"'deepsphere-keras[{_missing_backend}]'), or set the environment variable "
            "KERAS_BACKEND to a backend that is: tensorflow, jax or torch"
        )
    raise AttributeError(f"module 'deepsphere' has no attribute {name!r}")
