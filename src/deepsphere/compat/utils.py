"""Functions of deepsphere-cosmo-tf2's `utils` under their old names."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.sampling import extend_pixels


def extend_indices(
    indices: ArrayLike, nside_in: int, nside_out: int, nest: bool = True
) -> NDArray[np.int64]:
    """Return `deepsphere.sampling.extend_pixels` of the same arguments."""
    return extend_pixels(indices, nside_in, nside_out, nest=nest)
