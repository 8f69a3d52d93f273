"""How much memory a training step of one graph convolution needs, against the number of terms.

Run ``python benchmarks/memory.py``; it prints a table and writes ``memory.csv``, ``memory.md``
and ``memory.png`` to ``benchmarks/results``. The convolution has 5 input and 5 output channels, on
batches of 16 maps of the sphere at nside 64 with 20 neighbors; a step computes the output and
the gradients with respect to input and kernel. Ours and its rivals are those of `layer.py`.

Each figure is from a process of its own: the largest resident size (``VmHWM``) during three steps,
less what was resident (``VmRSS``) right before the first one. By then the inputs, the kernel and
the given gradient are there; the same layer has run once on a batch of one map, so that libraries
are loaded and the graph is in the backend's form; the step is compiled, if the backend compiles;
freed memory was given back to the system; and the largest size was made to start anew. So a
figure holds output and gradients, all that is kept and computed between, and what the memory
management adds. It cannot be measured so outside Linux, nor for a GPU's own memory.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

from pictures import backend_color, plain_logarithms
from problems import Case
from processes import Worker, forget_peak, peak, resident, serve
from tables import Report, layers, options, parse, print_rows, titled

CASE = Case(64, 16, 5, 5, 10, 20)
TERMS = (5, 10, 20)
QUICK_CASE, QUICK_TERMS = Case(16, 4, 5, 5, 4, 8), (3,)
STEPS = 3


class Served:
    """One candidate in a process of its own."""

    def measure(self, name: str, case: list[int]) -> float:
        """Return the memory of a step in MB."""
        from candidates import make

        sizes = Case(*case)
        small = make(name, sizes._replace(batch=1))
        small.backward()
        candidate = make(name, sizes)
        candidate.compile()
        before = resident()
        forget_peak()
        for _ in range(STEPS):
            candidate.backward()
        return peak() - before


def measure(case: Case, terms: tuple[int, ...], backends: list[str], rounds: int) -> list[Any]:
    """Measure all candidates and return rows of the table."""
    candidates = [(name, backend) for backend in backends for name in layers(backend)]
    found: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(rounds):
        for name, backend in candidates:
            for number in terms:
                with Worker(__file__, name, backend) as worker:
                    megabytes = worker.ask(
                        "measure", name=name, case=list(case._replace(terms=number))
                    )
                found.setdefault((name, backend, number), []).append(megabytes)
    return [
        {
            "candidate": name,
            "backend": backend,
            "terms": number,
            "median_mb": median(values),
            "min_mb": min(values),
            "max_mb": max(values),
            "rounds": len(values),
        }
        for (name, backend, number), values in found.items()
    ]


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a candidate: the memory by terms, its growth, and its share of the rival's."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        key = row["candidate"], row["backend"]
        found.setdefault(key, {})[row["terms"]] = row["median_mb"]
    rival = found.get(("textbook", "tensorflow"))
    lines = []
    for key, by_terms in found.items():
        numbers = list(by_terms)
        first, middle, last = numbers[0], numbers[len(numbers) // 2], numbers[-1]
        line = {"candidate": titled(*key)}
        line |= {f"{number} terms / MB": round(value) for number, value in by_terms.items()}
        line[f"{first} to {last} terms"] = f"{100 * (by_terms[last] / by_terms[first] - 1):+.0f} %"
        line[f"share of the textbook's, {middle} terms"] = (
            f"{100 * by_terms[middle] / rival[middle]:.0f} %" if rival else ""
        )
        lines.append(line)
    return lines


def draw(rows: list[dict[str, Any]]) -> Any:
    """Draw memory against terms, a line a candidate."""
    from deepsphere.plot.style import COLUMN_WIDTH, MARKERS, new_figure

    keys = list(dict.fromkeys((row["candidate"], row["backend"]) for row in rows))
    figure = new_figure(1.5 * COLUMN_WIDTH, 2.6, layout="constrained")
    axes = figure.subplots()
    for i, (name, backend) in enumerate(keys):
        shown = [row for row in rows if (row["candidate"], row["backend"]) == (name, backend)]
        axes.plot(
            [row["terms"] for row in shown],
            [row["median_mb"] for row in shown],
            color=backend_color(backend),
            marker=MARKERS[i],
            linestyle="-" if name == "ours" else "--",
            label=titled(name, backend),
        )
    axes.set_yscale("log")
    axes.set_xticks(sorted({row["terms"] for row in rows}))
    axes.set_xlabel("number of terms")
    axes.set_ylabel("memory of a training step / MB")
    plain_logarithms(axes.yaxis)
    axes.grid(axis="y")
    figure.legend(loc="outside right center")
    return figure


def main() -> None:
    """Read the command line, measure, print, write and draw."""
    arguments = parse(options(__doc__, rounds=3))
    if arguments.serve:
        serve(Served())
        return
    case, terms = (QUICK_CASE, QUICK_TERMS) if arguments.quick else (CASE, TERMS)
    report = Report("memory", arguments.output)
    rows = measure(case, terms, arguments.backends, arguments.rounds)
    print_rows(summary(rows))
    report.write([case._asdict() | row for row in rows], summary(rows), partial(draw, rows))


if __name__ == "__main__":
    main()
