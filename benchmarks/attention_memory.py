"""Memory and time of a training step with attention to neighbors, next to its textbook form.

Run ``python benchmarks/attention_memory.py``; it prints a table and writes
``attention_memory.csv`` to ``benchmarks/results``. In a fresh process for each backend and form,
one `GraphTransformer` layer (4 heads of 8 channels, one block) on inputs of 32 channels is
trained with Adam on batches of 4 whole maps of nside 64 with 20 neighbors: 49 152 pixels and
993 752 directed edges. The textbook form gathers the keys and values of all edges, takes the
softmax by segment sums, and leaves the gradient to autodiff.

Memory is the largest resident size of the process (``ru_maxrss``), before the first step (with
the backend, the model and the data) and after the last one. Processor time is that of all
threads; other work on the machine disturbs it less than wall-clock time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from math import sqrt
from statistics import median
from typing import Any

from tables import Report, options, parse

FORMS = ("ours", "textbook")
COLUMNS = ("backend", "form", "before_gb", "peak_gb", "first_step_s", "step_s", "step_cpu_s")
BATCH, HEADS, DEPTH, CHANNELS = 4, 4, 8, 32


def peak() -> float:
    """Return the largest resident size of this process so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def textbook_attention(q: Any, k: Any, v: Any, operator: Any, mask: Any = None) -> Any:  # noqa: ARG001
    """Attend along the edges as written down, all of them at once."""
    import numpy as np
    from keras import ops

    n = len(operator)
    rows = np.repeat(np.arange(n), np.diff(operator.matrix.indptr))
    q, k, v = (ops.transpose(x, (1, 0, 2, 3)) for x in (q, k, v))
    gathered = ops.take(k, operator.matrix.indices, axis=0)
    scores = ops.sum(ops.take(q, rows, axis=0) * gathered, axis=-1) / sqrt(DEPTH)
    top = ops.stop_gradient(ops.segment_max(scores, rows, num_segments=n))
    exponentials = ops.exp(scores - ops.take(top, rows, axis=0))
    total = ops.segment_sum(exponentials, rows, num_segments=n)
    weighted = exponentials[..., None] * ops.take(v, operator.matrix.indices, axis=0)
    y = ops.segment_sum(weighted, rows, num_segments=n) / total[..., None]
    return ops.transpose(y, (1, 0, 2, 3))


def measure(form: str, nside: int, neighbors: int, steps: int) -> dict[str, Any]:
    """Train for some steps in this process and return a row of the table."""
    import keras
    import numpy as np

    from deepsphere.layers import graph_transformer
    from deepsphere.sampling import Healpix

    if form == "textbook":
        graph_transformer.neighbor_attention = textbook_attention
    sampling = Healpix(nside)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, len(sampling), CHANNELS)).astype("float32")
    target = np.zeros((BATCH, len(sampling), HEADS * DEPTH), "float32")
    layer = graph_transformer.GraphTransformer(DEPTH, HEADS, sampling=sampling, graph=neighbors)
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    model.compile("adam", "mse")
    before, times, processor = peak(), [], []
    for _ in range(1 + steps):
        start, used = time.perf_counter(), time.process_time()
        loss = model.train_on_batch(x, target)
        times.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    if not np.isfinite(loss):
        raise RuntimeError(f"the loss became {loss}")
    seconds = (times[0], median(times[1:]), median(processor[1:]))
    row = (keras.backend.backend(), form, before, peak(), *seconds)
    return dict(zip(COLUMNS, row, strict=True))


def main() -> None:
    """Measure each backend and form in a process of its own."""
    parser = options(__doc__, rounds=None)
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--neighbors", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3, help="steps that are timed")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--measure", choices=FORMS, help=argparse.SUPPRESS)
    given = parse(parser)
    if given.quick:
        given.nside, given.neighbors, given.steps = 4, 8, 1
    if given.measure:
        print(json.dumps(measure(given.measure, given.nside, given.neighbors, given.steps)))
        return
    report, rows = Report("attention_memory", given.output), []
    print(("{:>12}" * len(COLUMNS)).format(*COLUMNS))
    for backend in given.backends:
        for form in given.forms:
            command = [sys.executable, "-W", "ignore", __file__, "--measure", form]
            for name in ("nside", "neighbors", "steps"):
                command += [f"--{name}", str(getattr(given, name))]
            environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
            run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            row = json.loads(run.stdout.decode().splitlines()[-1])
            rows.append(row)
            print("{:>12}{:>12}".format(*row.values()), end="")
            print("".join(f"{row[name]:12.2f}" for name in COLUMNS[2:]), flush=True)
    report.write(rows)


if __name__ == "__main__":
    main()
