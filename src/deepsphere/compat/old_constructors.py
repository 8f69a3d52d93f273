"""What layers with old constructors share."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from deepsphere.layers import SphereLayer
from deepsphere.sampling import Healpix, Sampling


class OldConstructor(SphereLayer):
    """Mixin of layers of this package whose constructor takes old arguments.

    They write the configuration of the new layer, `native`.
    """

    native: ClassVar[type[SphereLayer]]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make an equal layer from what `get_config` returned."""
        layer = cls.native.from_config(config)
        layer.__class__ = cls  # the name under which Keras finds its weights
        return layer

    def _given_arguments(self) -> dict[str, Any]:
        return {}  # the old ones, which `native` does not take


class OldSignature(OldConstructor):
    """What layers with old constructors share: models use the layers of this package instead."""

    def bind(self, sampling: Sampling, **graph: Any) -> Any:
        """Return a layer of `deepsphere.layers` on a sampling."""
        return self.native.from_config(self._arguments()).bind(sampling, **graph)


class AnyPixels(OldSignature):
    """For layers that need to know no more than that their pixels come four by four."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Take the pixels for those with the lowest numbers, if nothing was said of them."""
        if self.sampling is None and len(input_shape) == 3 and input_shape[1] is not None:
            self.sampling = first_pixels(input_shape[1])
            self.resample(self.sampling)  # raises if they cannot be grouped
        super().build(input_shape)


def first_pixels(count: int) -> Healpix:
    """Return a sampling with so many pixels, for layers that need to know only their number."""
    nside = 1
    while 12 * nside**2 < count:
        nside *= 2
    # Two levels more where they are no full sphere: then p is wrong only if they cannot be grouped.
    return Healpix(nside) if 12 * nside**2 == count else Healpix(4 * nside, np.arange(count))
