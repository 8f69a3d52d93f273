"""Quality of hierarchies: draw docs/images/coarsening.png, print the table of docs/samplings.md.

Stations are those of a file: either a list like ghcnd-stations.txt of the Global Historical
Climatology Network daily (NOAA; M. J. Menne et al., J. Atmos. Oceanic Technol. 29 (2012)), or an
npz file with the arrays ``lat`` and ``lon`` in degrees. Without a file, points crowd around random
centers, as stations do.
"""

import argparse
from pathlib import Path

import numpy as np

from deepsphere.plot import plot_hierarchy
from deepsphere.sampling import (
    Fibonacci,
    Healpix,
    Icosahedral,
    RandomUniform,
    Sampling,
    Scattered,
    hierarchy_quality,
)
from deepsphere.sampling.lonlat import to_vectors
from deepsphere.sampling.quality import LevelQuality

LEVELS = 3


def read_stations(path: Path) -> Scattered:
    """Return the stations of a file, each place once."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            lonlat = np.column_stack((arrays["lon"], arrays["lat"]))
    else:  # number, latitude, longitude, ...
        lines = path.read_text(encoding="utf-8").splitlines()
        lonlat = np.array([line.split()[2:0:-1] for line in lines], dtype=np.float64)
    lonlat[:, 0] %= 360
    return Scattered(np.unique(to_vectors(np.unique(lonlat, axis=0)), axis=0))


def crowded_points(n: int, seed: int = 0) -> Scattered:
    """Return points that crowd around 40 centers, most of them closely."""
    rng = np.random.default_rng(seed)
    centers = RandomUniform(40, seed).points
    widths = rng.lognormal(np.log(0.12), 0.6, 40)
    which = rng.choice(40, n, p=rng.dirichlet(np.ones(40)))
    return Scattered(centers[which] + widths[which, None] * rng.standard_normal((n, 3)))


COLUMNS = (
    "", "level", "points", "separation", "covering radius", "mesh ratio", "variation of areas",
    "of parts", "children", "farthest child / spacing", "mesh ratio among the points",
)  # fmt: skip


def table(samplings: dict[str, Sampling]) -> str:
    """Return the figures of all levels as a Markdown table."""
    rows = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for name, sampling in samplings.items():
        for one in hierarchy_quality(sampling, LEVELS):
            rows.append(f"| {' | '.join(('' if one.level else name, *_cells(one)))} |")
    return "\n".join(rows)


def _cells(one: LevelQuality) -> list[str]:
    cells = [
        f"{one.level}",
        f"{one.points}",
        f"{one.separation:.1f}°" if one.separation > 1 else f"{one.separation:.1g}°",
        f"{one.covering:.1f}°",
        f"{one.mesh_ratio:.2f}" if one.mesh_ratio < 10 else f"{float(f'{one.mesh_ratio:.2g}'):.0f}",
        f"{one.area_variation:.2f}",
    ]
    if one.children is None:
        return [*cells, "", "", "", ""]
    least, median, most = one.children
    return [
        *cells,
        f"{one.part_variation:.2f}",
        f"{least:g}, {median:g}, {most:g}",
        f"{one.reach:.2f}",
        f"{one.child_ratio:.2f}",
    ]


def main() -> None:
    """Write the picture, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stations", type=Path, help="file of stations")
    parser.add_argument("--points", type=int, default=4000, help="draw as many of the stations")
    parser.add_argument("--output", type=Path, default=Path("docs/images/coarsening.png"))
    arguments = parser.parse_args()
    if arguments.stations:
        name, points = "stations", read_stations(arguments.stations)
        if arguments.points < len(points):
            drawn = np.random.default_rng(0).choice(len(points), arguments.points, replace=False)
            points = Scattered(points.points[np.sort(drawn)])
    else:
        name, points = "crowded", crowded_points(arguments.points)
    samplings = {
        name: points,
        "random": RandomUniform(4000),
        "HEALPix": Healpix(16),
        "icosahedral": Icosahedral(4),
        "Fibonacci": Fibonacci(4000),
    }
    print(table(samplings))
    plot_hierarchy(samplings, LEVELS).savefig(arguments.output, dpi=200)


if __name__ == "__main__":
    main()
