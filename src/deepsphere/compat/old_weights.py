"""Weights files of deepsphere-cosmo-tf2 (``*.weights.h5``), turned into those of this package.

Keras names the groups of such a file by the classes of the layers, as ``layers/chebyshev_1``, and
below by their attributes. The classes had other names then, and a bias had the shape (1, 1, Fout).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import h5py

CONVOLUTIONS = {
    "chebyshev": "chebyshev_conv",
    "monomial": "monomial_conv",
    "bernstein": "bernstein_conv",
}
OTHERS = {
    "gcnn__residual_layer": "residual_block",
    "healpy_pool": "pool",
    "healpy_pseudo_conv": "patch_conv",
    "healpy_pseudo_conv__transpose": "patch_conv_transpose",
}
NAMES = {**CONVOLUTIONS, **OTHERS}
"""Groups of layers in the old file and in a new one."""

PARTS = {"bn": "norm", "layer1": "conv1", "layer2": "conv2", "bn1": "norm1", "bn2": "norm2"}
"""Parts of these layers by their old and their new names."""


def is_old_weights_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file holds the weights of a network of deepsphere-cosmo-tf2."""
    path = Path(path)
    if not path.name.endswith(".weights.h5") or not path.is_file():
        return False
    with h5py.File(path, "r") as file:
        return any(_split(name)[0] in NAMES for name in file.get("layers", ()))


def convert_weights(old: str | os.PathLike[str], new: str | os.PathLike[str]) -> None:
    """Write the weights in an old file to a new one, as this package's models load them.

    Parameters
    ----------
    old : path
        A file for which `is_old_weights_file` is true.
    new : path
        The file to write.
    """
    with h5py.File(old, "r") as source, h5py.File(new, "w") as target:

        def copy(path: str, item: h5py.Group | h5py.Dataset) -> None:
            parts = path.split("/")
            if parts[0] != "layers" or len(parts) < 2:
                layer = ""
            else:
                layer, number = _split(parts[1])
                parts[1] = NAMES.get(layer, layer) + number
            if layer in NAMES:
                # The learned resampling layers wrapped one of Keras' own.
                parts[2:] = [PARTS.get(part, part) for part in parts[2:] if part != "filter"]
            if isinstance(item, h5py.Group):
                target.require_group("/".join(parts))
                return
            value = item[()]
            of_convolution = layer in CONVOLUTIONS or parts[2].startswith("conv")
            if of_convolution and value.ndim == 3:
                value = value.reshape(-1)  # a bias
            elif layer == "healpy_pseudo_conv__transpose" and value.ndim == 4:
                value = value[0]  # the kernel of a convolution in two dimensions
            target["/".join(parts)] = value

        source.visititems(copy)


def _split(name: str) -> tuple[str, str]:
    """Split ``chebyshev_1`` into ``chebyshev`` and ``_1``."""
    base, number = re.fullmatch(r"(.*?)((?:_\d+)?)", name).groups()  # type: ignore[union-attr]
    return base, number
