"""The report page of the demonstration, with metrics, plots and next steps."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from scipy.stats import binomtest

from deepsphere._extras import require
from deepsphere._files import replacing

ACCURACIES = {
    "test_accuracy": "DeepSphere network",
    "baseline_accuracy": "Linear SVM on the power spectrum",
    "variance_accuracy": "Linear SVM on the variance",
}
"""Metrics that the page compares, with their labels."""

LABELS = {
    "train_seconds": "Training time",
    "build_seconds": "Time to build the network",
    "simulation_seconds": "Time to simulate the maps",
    "total_seconds": "Total time",
    "parameters": "Trainable parameters",
    "train_maps": "Maps for training",
    "test_maps": "Maps for testing",
    "epochs": "Epochs",
    "batch_size": "Batch size",
    "nside": "Resolution (nside)",
    "signal_to_noise": "Signal to noise (ratio of powers)",
    "lognormal": "Log-normal maps",
    "backend": "Keras backend",
    "seed": "Seed",
}
"""Labels of further metrics, in the order of the page. Other metrics follow, without labels."""


def write_report(
    directory: str | os.PathLike[str],
    metrics: Mapping[str, Any],
    pictures: Sequence[tuple[str, str, str]],
    *,
    title: str = "Telling two universes apart",
    introduction: str = (
        "A graph convolutional network on the sphere learned to distinguish maps of two "
        "cosmologies. These are its results on maps that it never saw."
    ),
    model_file: str = "model.keras",
) -> Path:
    """Write ``index.html``, a page of results that depends only on the pictures in its directory.

    All texts are escaped. The page is written under a temporary name and renamed, so it is never
    incomplete.

    Parameters
    ----------
    directory : path
        Directory of the page and the pictures. It is created if it does not exist.
    metrics : mapping
        Results. The fractions ``test_accuracy``, ``baseline_accuracy`` (linear SVM on the power
        spectrum) and ``variance_accuracy`` (linear SVM on the variance) are compared in the
        headline and as bars, with 95 % confidence intervals (Wilson 1927) if ``test_maps``, the
        number of test maps, is given. ``versions`` maps libraries to versions. All other metrics
        are listed in a table, with labels from `LABELS`; those ending in ``_seconds`` are shown as
        times. Missing metrics and None are omitted.
    pictures : sequence of (file name, title, caption)
        Pictures to show. File names are relative to `directory` and may contain ``/``.
    title : str, optional
        Title of the page.
    introduction : str, optional
        Paragraph below the headline.
    model_file : str, default "model.keras"
        File name of the saved model, for the code that shows how to load it.

    Returns
    -------
    pathlib.Path
        Path of the page.

    Raises
    ------
    ValueError
        If an accuracy is not from 0 to 1, or a picture is not a file in `directory`.
    ImportError
        If Jinja2 is not installed.
    """
    jinja2 = require("jinja2", "demo")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    accuracies = _accuracies(metrics)
    for name, _, _ in pictures:
        _check_picture(directory, name)
    maps = metrics.get("test_maps")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["percent"] = _percent
    page = environment.from_string(
        files("deepsphere.demo").joinpath("report.html").read_text(encoding="utf-8")
    ).render(
        title=title,
        introduction=introduction,
        headline=_headline(accuracies),
        network=ACCURACIES["test_accuracy"],
        bars=[
            (ACCURACIES[name], value, _interval(value, maps)) for name, value in accuracies.items()
        ],
        test_maps=maps and int(maps),
        pictures=pictures,
        rows=_rows(metrics),
        versions=list((metrics.get("versions") or {}).items()),
        model_file=model_file,
    )
    path = directory / "index.html"
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _accuracies(metrics: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name in ACCURACIES:
        if metrics.get(name) is not None:
            value = float(metrics[name])
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be a fraction from 0 to 1, got {value}")
            found[name] = value
    return found


def _check_picture(directory: Path, name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise ValueError(f"pictures must be named relative to the page's directory, got {name!r}")
    if not (directory / path).is_file():
        raise ValueError(f"there is no picture {name!r} in {directory}; save it before the report")


def _headline(accuracies: Mapping[str, float]) -> str:
    """Return a headline that compares the network with the better baseline."""
    baselines = {name: value for name, value in accuracies.items() if name != "test_accuracy"}
    if "test_accuracy" not in accuracies:
        return "The accuracy of the network was not measured."
    text = (
        f"The network classifies {_percent(accuracies['test_accuracy'])} of the test maps correctly"
    )
    if not baselines:
        return f"{text}."
    best = max(baselines, key=lambda name: baselines[name])
    points = 100 * (accuracies["test_accuracy"] - baselines[best])
    how = f"{abs(points):.1f} points {'more' if points > 0 else 'less'} than"
    if abs(points) < 0.05:
        how = "the same as"
    of_several = " the better baseline," if len(baselines) > 1 else ""
    return f"{text}, {how}{of_several} a {_lower(ACCURACIES[best])} ({_percent(baselines[best])})."


def _interval(share: float, maps: int | None) -> Any:
    """Return Wilson's 95 % confidence interval of a share of the test maps."""
    if not maps:
        return None
    return binomtest(round(share * int(maps)), int(maps)).proportion_ci(method="wilson")


def _rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    shown = {
        name: value
        for name, value in metrics.items()
        if name not in ACCURACIES and name != "versions" and value is not None
    }
    names = [name for name in LABELS if name in shown]
    names += [name for name in shown if name not in LABELS]
    labels = {name: LABELS.get(name, str(name).replace("_", " ").capitalize()) for name in names}
    return [(labels[name], _text(name, shown[name])) for name in names]


def _text(name: str, value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text("", item) for item in value)
    if isinstance(value, str):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if not math.isfinite(number):
        return "unknown" if math.isnan(number) else "infinite"
    if str(name).endswith("_seconds"):
        return _duration(number)
    if number == round(number) and abs(number) < 1e15:
        # Group digits from five digits on, so that years remain unchanged.
        return f"{number:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}" if number >= 1e4 else "")
    return f"{number:.4g}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}%"


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
