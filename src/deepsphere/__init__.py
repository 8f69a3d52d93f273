"""DeepSphere: graph convolutional neural networks for data on the sphere, on Keras 3.

Samplings and graphs (`deepsphere.sampling`, `deepsphere.graph`) need neither Keras nor a backend.
Layers and models run on Keras' backend and are imported on first use (see `deepsphere._loading`).
``keras.models.load_model`` finds them after ``import deepsphere``, before or after
``import keras``.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from deepsphere._loading import register_with_keras

if TYPE_CHECKING:
    from deepsphere import (
        analysis,
        data,
        gnn_layers,
        gnn_transformers,
        graph,
        healpy_layers,
        layers,
        models,
        ops,
        plot,
        sampling,
        utils,
    )
    from deepsphere._cache import clear_cache
    from deepsphere.compat.healpy_networks import HealpyGCNN
    from deepsphere.graph import Graph
    from deepsphere.models import Sequential
    from deepsphere.ops.exporting import portable
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

    __version__: str

logger = logging.getLogger("deepsphere")
"""Parent of all loggers of this package, without handlers; configure it with `logging`."""

__all__ = [
    "CubedSphere",
    "Equiangular",
    "Fibonacci",
    "GaussLegendre",
    "Graph",
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
    "clear_cache",
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
    "portable",
    "sampling",
    "utils",
]


_HOMES = {
    "Graph": "graph",
    "HealpyGCNN": "compat.healpy_networks",
    "Sequential": "models",
    "clear_cache": "_cache",
    "portable": "ops.exporting",
}
_FUNCTIONS = ("clear_cache", "extend_pixels", "extend_region", "portable")
_MODULES = frozenset(
    # Not among the names that a star import brings: it would need PyTorch, and hide it.
    [*(name for name in __all__ if name.islower() and name not in _FUNCTIONS), "torch"]
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("deepsphere-keras")
    if name in _MODULES:
        return import_module(f"deepsphere.{name}")
    if name in __all__:
        value = getattr(import_module(f"deepsphere.{_HOMES.get(name, 'sampling')}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'deepsphere' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_with_keras()
