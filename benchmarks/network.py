"""How fast whole networks train and predict, and what memory they take, next to their rivals.

Run ``python benchmarks/network.py``; it prints a table and writes ``network.csv``,
``network.md`` and ``network.png`` to ``benchmarks/results``. Three networks (`networks.NETWORKS`):

- quick-start: three blocks of 5 channels and 10 terms, the sphere at nside 64, batch 16;
- FCN: the papers' network, channels 16, 32, 64, 64, 64, 5 terms, a twelfth of the sphere at nside
  256 (65 536 pixels), batch 8;
- U-Net: channels 32, 64, 128, 5 terms, the sphere at nside 32, batch 4.

Ours on each backend, and the rivals: the textbook formulation in TensorFlow with Keras' own batch
norm and pooling, and PyTorch Geometric's `ChebConv` with PyTorch's own. Weights are as many, but
for `BatchNorm1d`, which also has a factor per channel. All are trained with Adam, in single
precision, with default settings.

Each candidate has a process of its own, in which these are measured:

- build: making the network, with its graphs;
- first step: from the start of building to the end of the first training step, with all that is
  compiled. Importing the libraries counts in neither;
- training: seconds per step of `Model.fit` over a few steps, from the beginning of the first to the
  end of the epoch; in PyTorch, of the usual loop;
- prediction: seconds per `Model.predict_on_batch`; in PyTorch, of the module without gradients;
- memory: the largest resident size of the process (``VmHWM``) after all training steps of the
  first round, and what was resident once everything was imported.

Times of training and prediction are medians over rounds in which all candidates of a network take
turns, and ratios are medians of the ratios within a round.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from interleaved import Timings, interleave, speedup
from networks import NETWORKS, QUICK_NETWORKS, Network
from networks import data as make_data
from pictures import few_ticks
from processes import Worker, peak, resident, serve
from tables import Report, available, options, parse, print_rows, titled

CANDIDATES = (
    ("ours", "tensorflow"),
    ("ours", "jax"),
    ("ours", "torch"),
    ("textbook", "tensorflow"),
    ("ChebConv", "torch"),
)
RIVALS = ("textbook", "ChebConv")
STEPS = 3
"""Training steps in a turn."""


class KerasServed:
    """Ours, or the textbook formulation, as a Keras model."""

    def __init__(self, role: str) -> None:
        import keras

        import deepsphere.models

        self._role, self._keras = role, keras
        if role == "textbook":
            import rivals.tensorflow_networks  # noqa: F401
        assert deepsphere.models  # imported, as a user of ours has it

    def build(self, network: list[Any]) -> dict[str, float]:
        """Make the network; return the seconds that takes, its weights, and the memory before."""
        keras, before = self._keras, resident()
        self._network = Network(*network)
        start = time.perf_counter()
        if self._role == "textbook":
            from rivals.tensorflow_networks import build
        else:
            from networks import ours as build
        self._model = build(self._network)
        seconds = time.perf_counter() - start
        loss = "mse" if self._network.kind == "unet" else "sparse_categorical_crossentropy"
        # Keras tries XLA unless told otherwise, which knows no products with sparse tensors.
        jit = False if self._role == "textbook" else "auto"
        self._model.compile(keras.optimizers.Adam(), loss, jit_compile=jit)
        self._data = make_data(self._network, STEPS)
        return {
            "build_s": seconds,
            "weights": int(sum(np.prod(v.shape) for v in self._model.trainable_variables)),
            "imported_mb": before,
        }

    def first_step(self) -> float:
        """Train for one step and return the seconds."""
        x, y = (array[: self._network.batch] for array in self._data)
        start = time.perf_counter()
        self._model.fit(x, y, batch_size=self._network.batch, verbose=0)
        return time.perf_counter() - start

    def train(self) -> float:
        """Train for some steps and return the seconds per step."""
        clock = _clock(self._keras)
        x, y = self._data
        self._model.fit(x, y, batch_size=self._network.batch, verbose=0, callbacks=[clock])
        return clock.seconds / STEPS

    def predict(self) -> float:
        """Predict for some batches and return the seconds per batch."""
        x = self._data[0][: self._network.batch]
        start = time.perf_counter()
        for _ in range(STEPS):
            self._model.predict_on_batch(x)
        return (time.perf_counter() - start) / STEPS

    def peak(self) -> float:
        """Return the largest resident memory so far in MB."""
        return peak()


def _clock(keras: Any) -> Any:
    class Clock(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
            if batch == 0:
                self.start = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            float(logs["loss"])  # until it is there
            self.seconds = time.perf_counter() - self.start

    return Clock()


class TorchServed:
    """PyTorch Geometric's layer in a plain PyTorch module and training loop."""

    def __init__(self) -> None:
        import torch

        import rivals.pytorch_networks

        self._torch, self._networks = torch, rivals.pytorch_networks
        self._device = "cuda" if torch.cuda.is_available() else "cpu"

    def build(self, network: list[Any]) -> dict[str, float]:
        """Make the network; return the seconds that takes, its weights, and the memory before."""
        torch, before = self._torch, resident()
        self._network = Network(*network)
        start = time.perf_counter()
        self._model = self._networks.build(self._network, self._device)
        seconds = time.perf_counter() - start
        self._optimizer = torch.optim.Adam(self._model.parameters())
        unet = self._network.kind == "unet"
        self._loss = torch.nn.MSELoss() if unet else torch.nn.CrossEntropyLoss()
        x, y = make_data(self._network, STEPS)
        target = torch.from_numpy(y if unet else y.astype(np.int64))
        batch = self._network.batch
        self._batches = list(
            zip(torch.from_numpy(x).split(batch), target.split(batch), strict=True)
        )
        return {
            "build_s": seconds,
            "weights": sum(parameter.numel() for parameter in self._model.parameters()),
            "imported_mb": before,
        }

    def first_step(self) -> float:
        """Train for one step and return the seconds."""
        return self._train(1)

    def train(self) -> float:
        """Train for some steps and return the seconds per step."""
        return self._train(STEPS) / STEPS

    def _train(self, steps: int) -> float:
        self._model.train()
        start = time.perf_counter()
        for x, target in self._batches[:steps]:
            self._optimizer.zero_grad()
            loss = self._loss(self._model(x.to(self._device)), target.to(self._device))
            loss.backward()
            self._optimizer.step()
        loss.item()
        return time.perf_counter() - start

    def predict(self) -> float:
        """Predict for some batches and return the seconds per batch."""
        self._model.eval()
        x = self._batches[0][0]
        start = time.perf_counter()
        with self._torch.no_grad():
            for _ in range(STEPS):
                self._model(x.to(self._device)).cpu()
        return (time.perf_counter() - start) / STEPS

    def peak(self) -> float:
        """Return the largest resident memory so far in MB."""
        return peak()


def measure(
    network: Network, candidates: list[tuple[str, str]], rounds: int
) -> list[dict[str, Any]]:
    """Measure all candidates of a network and return rows of the table."""
    rows, timings = [], {}
    with ExitStack() as stack:
        workers = {
            (name, backend): stack.enter_context(Worker(__file__, name, backend))
            for name, backend in candidates
        }
        once: dict[tuple[str, str], dict[str, float]] = {}
        for key, worker in workers.items():
            built = worker.ask("build", network=list(network))
            built["first_step_s"] = built["build_s"] + worker.ask("first_step")
            worker.ask("train")
            built["peak_mb"] = worker.ask("peak")
            worker.ask("predict")
            once[key] = built
        for what in ("train", "predict"):
            turns = {
                f"{name} {backend}": lambda w=worker, q=what: w.ask(q)
                for (name, backend), worker in workers.items()
            }
            timings[what] = interleave(turns, rounds)
    for name, backend in candidates:
        rows.append(row_of(network, name, backend, once[name, backend], timings))
    return rows


def row_of(
    network: Network, name: str, backend: str, once: dict[str, float], timings: dict[str, Timings]
) -> dict[str, Any]:
    """Return the figures of a candidate, and how many times faster it is than the rivals."""
    row: dict[str, Any] = {"network": network.name, "candidate": name, "backend": backend, **once}
    for what, turns in timings.items():
        key = f"{name} {backend}"
        row |= {f"{what}_{f.__name__}_s": f(turns[key]) for f in (median, min, max)}
        for rival in ("textbook tensorflow", "ChebConv torch"):
            column = f"{what}_times_faster_than_{rival.split()[0]}"
            row[column] = speedup(turns, key, rival) if rival in turns else ""
    return row


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the table for readers."""
    lines = []
    for row in rows:
        line = {
            "network": row["network"],
            "candidate": titled(row["candidate"], row["backend"]),
            "training step / s": row["train_median_s"],
            "prediction / s": row["predict_median_s"],
        }
        for rival in RIVALS:
            values = [row[f"{what}_times_faster_than_{rival}"] for what in ("train", "predict")]
            line[f"training, prediction / {rival}"] = ", ".join(f"{v:.1f}×" for v in values if v)
        line |= {
            "build / s": row["build_s"],
            "to the first step / s": row["first_step_s"],
            "peak memory / MB": round(row["peak_mb"]),
            "of that imports / MB": round(row["imported_mb"]),
        }
        lines.append(line)
    return lines


def draw(rows: list[dict[str, Any]]) -> Any:
    """Draw times and memory, a row of panels a network."""
    from deepsphere.plot.style import COLORS, PAGE_WIDTH, new_figure

    networks = list(dict.fromkeys(row["network"] for row in rows))
    panels = (
        ("training step / s", "train_median_s", 1.0),
        ("prediction / s", "predict_median_s", 1.0),
        ("to the first step / s", "first_step_s", 1.0),
        ("peak memory / GB", "peak_mb", 1e-3),
    )
    figure = new_figure(PAGE_WIDTH, 0.5 + 1.1 * len(networks), layout="constrained")
    grid = figure.subplots(len(networks), len(panels), squeeze=False, sharey=True)
    for line, network in zip(grid, networks, strict=True):
        shown = [row for row in rows if row["network"] == network]
        for axes, (title, column, factor) in zip(line, panels, strict=True):
            values = [factor * row[column] for row in shown]
            colors = [COLORS[0 if row["candidate"] == "ours" else 1] for row in shown]
            bars = axes.barh(range(len(shown)), values, 0.75, color=colors)
            if column == "peak_mb":
                imports = [factor * row["imported_mb"] for row in shown]
                axes.barh(range(len(shown)), imports, 0.75, color="black", alpha=0.35)
            axes.bar_label(bars, [f"{value:.2g}" for value in values], padding=2, fontsize=6.5)
            axes.set_xlim(0, 1.25 * max(values))
            few_ticks(axes.xaxis)
            if axes in grid[0]:
                axes.set_title(title)
        names = [titled(row["candidate"], row["backend"]) for row in shown]
        line[0].set_yticks(range(len(shown)), names)
        line[0].set_ylabel(network)
    grid[0, 0].invert_yaxis()
    grid[-1, -1].set_xlabel("dark: libraries alone")
    return figure


def main() -> None:
    """Read the command line, measure, print, write and draw."""
    parser = options(__doc__)
    parser.add_argument("--networks", nargs="+", choices=[n.name for n in NETWORKS])
    parser.add_argument("--candidates", nargs="+", choices=("ours", *RIVALS))
    arguments = parse(parser)
    if arguments.serve:
        role = arguments.serve
        serve(TorchServed() if role == "ChebConv" else KerasServed(role))
        return
    networks = QUICK_NETWORKS if arguments.quick else NETWORKS
    wanted = arguments.networks or [network.name for network in networks]
    candidates = [
        (name, backend)
        for name, backend in CANDIDATES
        if backend in arguments.backends
        and available(name)
        and (not arguments.candidates or name in arguments.candidates)
    ]
    report, rows = Report("network", arguments.output), []
    for network in networks:
        if network.name not in wanted:
            continue
        rows += measure(network, candidates, arguments.rounds)
        print_rows(summary(rows)[-len(candidates) :])
        report.write(rows, summary(rows), partial(draw, rows))


if __name__ == "__main__":
    main()
