"""Whether the papers' experiment fits into memory: nside 1024, a twelfth of the sphere.

Run ``python benchmarks/full_size.py``; it prints a table and writes ``full_size.csv`` and
``full_size.md`` to ``benchmarks/results``. It trains the FCN of `network.py` (channels 16, 32, 64,
64, 64; 5 terms, 20 neighbors) on 16 maps of 1 048 576 pixels, ours on each backend, each in a
process of its own: time to build (graphs from scratch), to the first step, and of a later one, and
the largest resident size of the process (``VmHWM``), with everything in it.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

from networks import Network, data, ours
from processes import Worker, peak, serve
from tables import TITLES, Report, options, parse, print_rows

NETWORK = Network("FCN", "classifier", 1024, 12, 16, 1, (16, 32, 64, 64, 64), 2, 5, 20)
QUICK = Network("FCN", "classifier", 16, 12, 2, 1, (4, 8), 2, 3, 20)


class Served:
    """The network in a process of its own."""

    def measure(self, quick: bool, steps: int) -> dict[str, float]:
        """Train on one batch after another; return seconds and GB."""
        network = QUICK if quick else NETWORK
        x, y = data(network, 1)
        start = time.perf_counter()
        model = ours(network)
        model.compile("adam", "sparse_categorical_crossentropy")
        built = time.perf_counter()
        seconds = []
        for _ in range(1 + steps):
            began = time.perf_counter()
            model.train_on_batch(x, y)
            seconds.append(time.perf_counter() - began)
        return {
            "build_s": built - start,
            "first_step_s": seconds[0],
            "step_s": min(seconds[1:]),
            "peak_gb": peak() / 1e3,
        }


def main() -> None:
    """Read the command line, measure, print and write."""
    arguments = parse(options(__doc__, rounds=2))
    if arguments.serve:
        serve(Served())
        return
    report, rows = Report("full_size", arguments.output), []
    for backend in arguments.backends:
        with tempfile.TemporaryDirectory() as cache:
            environment = {"DEEPSPHERE_CACHE": cache}
            with Worker(__file__, "ours", backend, environment) as worker:
                figures: dict[str, Any] = worker.ask(
                    "measure", quick=arguments.quick, steps=arguments.rounds
                )
        rows.append({"backend": TITLES[backend], **figures})
        print_rows(rows[-1:])
    named = [
        {
            "backend": row["backend"],
            "build / s": row["build_s"],
            "first step / s": row["first_step_s"],
            "step / s": row["step_s"],
            "peak memory / GB": row["peak_gb"],
        }
        for row in rows
    ]
    report.write(rows, named)


if __name__ == "__main__":
    main()
