"""What the benchmarks share around their measurements: options, tables, and the machine."""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deepsphere._files import replacing
from processes import BACKENDS

PACKAGES = (
    *(
        "numpy",
        "scipy",
        "keras",
        "tensorflow",
        "jax",
        "torch",
        "torch_geometric",
        "torch_harmonics",
    ),
    "healpy",
)
TITLES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
LAYERS = {
    "tensorflow": ("ours", "textbook"),
    "jax": ("ours", "BCOO"),
    "torch": ("ours", "ChebConv", "CSR"),
}
"""Ours and the rivals, for a single layer, by backend; see `candidates`."""

RESULTS = Path(__file__).parent / "results"
QUICK_RESULTS = Path(__file__).parents[1] / "build" / "quick-benchmarks"

Row = Mapping[str, Any]


def options(description: str, rounds: int | None = 7) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have.

    Parameters
    ----------
    description : str
        The script's docstring, whose first line is shown.
    rounds : int, optional
        Default number of rounds; None if the script has none.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    parser.add_argument("--output", type=Path, help="directory of the tables and pictures")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    return parser


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Read the command line: check it, and fill in what depends on ``--quick``.

    Backends that are not installed are left out. Without ``--output``, quick results go to
    ``build/quick-benchmarks``, so that they never replace real ones.
    """
    parsed = parser.parse_args(arguments)
    if getattr(parsed, "rounds", 1) < 1:
        parser.error(f"rounds must be at least 1, got {parsed.rounds}")
    if parsed.quick and hasattr(parsed, "rounds"):
        parsed.rounds = 1
    if parsed.output is None:
        parsed.output = QUICK_RESULTS if parsed.quick else RESULTS
    parsed.backends = [backend for backend in parsed.backends if find_spec(backend)]
    if not parsed.backends:
        parser.error("none of these backends is installed")
    return parsed


def available(candidate: str) -> bool:
    """Return whether a candidate's own dependencies are installed."""
    return candidate != "ChebConv" or find_spec("torch_geometric") is not None


def layers(backend: str) -> list[str]:
    """Return the names of the single layers that can run on a backend."""
    return [name for name in LAYERS[backend] if available(name)]


def titled(candidate: str, backend: str) -> str:
    """Return a candidate's name for readers."""
    return f"{candidate}, {TITLES[backend]}"


def installed(package: str) -> str | None:
    """Return the version of a package, or None if it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Return the name of the processor."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def accelerator() -> str | None:
    """Return the name of the first NVIDIA GPU, or None."""
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in path.read_text().splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return None


def machine() -> dict[str, Any]:
    """Return what the times depend on: processor, cores, memory, versions, other load."""
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
    cores = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    return {
        "processor": processor(),
        "cores": cores,
        "memory_gib": memory,
        "gpu": accelerator(),
        "system": platform.system(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "load_before": [round(load, 2) for load in os.getloadavg()]
        if hasattr(os, "getloadavg")
        else None,
        "niceness": os.nice(0) if hasattr(os, "nice") else None,
        "python": sys.version.split()[0],
        "versions": {name: installed(name) for name in PACKAGES},
    }


def plain(value: Any) -> Any:
    """Return a value as the table shows it: numbers with four digits."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write rows as CSV, with a column for every name that occurs."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, columns, restval="")
        table.writeheader()
        table.writerows({name: plain(value) for name, value in row.items()} for row in rows)


def write_markdown(rows: Sequence[Row], path: Path, note: str = "") -> None:
    """Write rows with the same names as a Markdown table, with a note below it."""
    columns = list(rows[0])
    cells = [columns, ["---"] * len(columns)]
    cells += [[str(plain(row.get(name, ""))) for name in columns] for row in rows]
    lines = ["| " + " | ".join(line) + " |" for line in cells]
    with replacing(path) as temporary:
        temporary.write_text("\n".join([*lines, *(["", note] if note else [])]) + "\n")


def on_machine(described: Mapping[str, Any]) -> str:
    """Return a sentence on the machine for below a table."""
    versions = ", ".join(f"{k} {v}" for k, v in described["versions"].items() if v)
    gpu = f", {described['gpu']}" if described["gpu"] else ""
    load = f"; load before {described['load_before'][0]}" if described["load_before"] else ""
    return (
        f"{described['processor']}, {described['cores']} cores, {described['memory_gib']} GiB"
        f"{gpu}; Python {described['python']}, {versions}; {described['date']}{load}."
    )


def print_rows(rows: Sequence[Row]) -> None:
    """Print rows with the same names in aligned columns."""
    columns = list(rows[0])
    cells = [columns, *([str(plain(row.get(name, ""))) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(map(str.ljust, line, widths)), flush=True)


class Report:
    """The files of a benchmark in its output directory.

    It describes the machine when it is created: create it before the benchmark loads the machine.

    Parameters
    ----------
    name : str
        File name without suffix.
    directory : Path
        Output directory.
    """

    def __init__(self, name: str, directory: Path) -> None:
        self._path = directory / name
        self._machine = machine()

    def write(
        self,
        rows: Sequence[Row],
        table: Sequence[Row] | None = None,
        draw: Callable[[], Any] | None = None,
    ) -> None:
        """Write or replace the files: after each case, so that an interrupted run keeps them.

        Parameters
        ----------
        rows : sequence of mapping
            All figures, for the CSV file.
        table : sequence of mapping, optional
            The figures that readers want, for the Markdown file.
        draw : callable, optional
            Returns a figure, for the PNG file.
        """
        write_csv(rows, self._path.with_suffix(".csv"))
        if table is not None:
            write_markdown(table, self._path.with_suffix(".md"), on_machine(self._machine))
        if draw is not None:
            from deepsphere.plot.style import house_style

            with house_style(), replacing(self._path.with_suffix(".png")) as temporary:
                draw().savefig(temporary)
        path = self._path.with_name("machine.json")
        known = json.loads(path.read_text()) if path.exists() else {}
        known[self._path.name] = self._machine
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
