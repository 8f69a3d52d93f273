"""Trials whose results are saved one by one, so that an interrupted study resumes."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tqdm import tqdm

from deepsphere._files import replacing

Row = dict[str, Any]
KEYS = ("graph", "pooling", "seed")


def run_trials(
    path: Path,
    graphs: Sequence[str],
    poolings: Sequence[str],
    seeds: Sequence[int],
    trial: Callable[[str, str, int], Row],
) -> list[Row]:
    """Run what `path` (CSV) does not hold yet, write each row to it, and return all rows."""
    rows = read(path)
    known = {(row["graph"], row["pooling"], int(row["seed"])) for row in rows}
    wanted = [
        (graph, pooling, seed)
        for seed, graph, pooling in product(seeds, graphs, poolings)
        if (graph, pooling, seed) not in known
    ]
    with tqdm(wanted, desc=path.stem, unit="network") as bar:
        for key in bar:
            row = {**dict(zip(KEYS, key, strict=True)), **trial(*key)}
            rows.append(row)
            write(rows, path)
            values = ", ".join(f"{k} {v:.3f}" for k, v in row.items() if isinstance(v, float))
            bar.write(f"{' '.join(map(str, key))}: {values}")
    return rows


def read(path: Path) -> list[Row]:
    """Return the rows of an earlier run."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(rows: Sequence[Row], path: Path) -> None:
    """Write all rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def summary(rows: Sequence[Row], columns: dict[str, Callable[[Row], float]]) -> str:
    """Return a Markdown table of means and standard deviations over the seeds."""
    lines = [
        f"| graph | pooling | {' | '.join(columns)} | seeds |",
        "|---|---|" + "--:|" * (len(columns) + 1),
    ]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["graph"], row["pooling"]), []).append(row)
    for key, found in sorted(groups.items()):
        cells = []
        for pick in columns.values():
            values = [pick(row) for row in found]
            spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.3f}{spread}")
        lines.append("| " + " | ".join([*key, *cells, str(len(found))]) + " |")
    return "\n".join(lines) + "\n"


def write_text(text: str, path: Path) -> None:
    """Print a table, and write it."""
    with replacing(path) as temporary:
        temporary.write_text(text)
    print(text)
