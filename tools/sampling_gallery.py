"""Draw docs/images/samplings.png: every sampling at low resolution."""

import sys
from pathlib import Path

from deepsphere.plot import plot_sampling_gallery
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
    extend_region,
    regions,
)


def main(path: Path) -> None:
    """Write the picture."""
    sphere = Icosahedral(3)
    cap = regions.disc(sphere, lon=25, lat=40, radius=40)
    samplings = [
        Healpix(8),
        Equiangular(16, 32),
        GaussLegendre(16),
        ReducedGaussian(8),
        Icosahedral(3),
        IcosahedralFaces(2),
        CubedSphere(10),
        Fibonacci(600),
        RandomUniform(600),
        sphere.subset(extend_region(sphere, cap)),
    ]
    plot_sampling_gallery(samplings).savefig(path, dpi=150)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/samplings.png"))
