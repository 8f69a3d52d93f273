"""The command ``deepsphere``.

Exit status: 0 on success; 1 on failure, or if ``doctor`` found a problem; 2 if the command line is
invalid; 130 if interrupted; 141 if the reader of the output closes it (``deepsphere ... | head``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deepsphere
from deepsphere._backends import BACKENDS, configured_backend, installed_backends, missing_backend
from deepsphere._files import check_directory, replacing

if TYPE_CHECKING:
    from deepsphere.analysis import LayerDescription
    from deepsphere.graph import Graph
    from deepsphere.sampling import Sampling

STYLES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""Escape sequences for bold and color."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments without the command's name. Default: ``sys.argv[1:]``.

    Returns
    -------
    int
        The exit status, as listed at the top of this module.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # show "?" for characters a terminal lacks
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # Python flushes again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("deepsphere: interrupted", file=sys.stderr)
        return 130


def _run(arguments: list[str]) -> int:
    options = _parser(arguments).parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # hide TensorFlow's startup messages
    try:
        if options.needs_keras and not _choose_backend(options.backend):
            environment = {**os.environ, "KERAS_BACKEND": options.backend}
            command = [sys.executable, "-m", "deepsphere", *arguments]
            return subprocess.run(command, env=environment, check=False).returncode
        if sys.stdout.isatty():
            return options.run(options)
        with contextlib.redirect_stdout(_PlainText(sys.stdout)):
            return options.run(options)
    except BrokenPipeError:
        raise
    except (ImportError, ValueError, OSError) as error:
        print(f"deepsphere: {_first_line(error)}", file=sys.stderr)
        return 1


class _PlainText:
    """Standard output without styles, for files and pipes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(STYLES.sub("", text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _choose_backend(wanted: str | None) -> bool:
    """Select Keras' backend; return False if Keras is already imported with another one.

    If the user chose no backend and a single one is installed that Keras would not use, select it
    and print a line about it.

    Raises
    ------
    ImportError
        If the backend is not installed.
    """
    if "keras" in sys.modules:
        import keras

        return wanted in (None, keras.backend.backend())
    installed = installed_backends()
    backend, source = (wanted, "--backend") if wanted else configured_backend()
    if backend in BACKENDS and backend not in installed:
        if len(installed) != 1 or source in ("--backend", "KERAS_BACKEND"):
            raise ImportError(f"this command needs {missing_backend(backend)}")
        print(
            f"deepsphere: using Keras' backend {installed[0]}, the only one installed ({source} "
            f"is {backend}); to choose it explicitly, set KERAS_BACKEND={installed[0]}",
            file=sys.stderr,
        )
        backend = installed[0]
    if wanted or backend != configured_backend()[0]:
        os.environ["KERAS_BACKEND"] = backend
    return True


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser; options of ``equivariance`` are added only for that command."""
    parser = argparse.ArgumentParser(
        prog="deepsphere",
        description="Graph convolutional neural networks for the sphere.",
        epilog=(
            "Exit status: 0 on success; 1 on failure, or if doctor found a problem; 2 if the "
            "command line is invalid."
        ),
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="show program's version number and exit"
    )
    commands = parser.add_subparsers(title="commands", required=True)
    demo = commands.add_parser(
        "demo",
        help="train a network on simulated skies and show what it learned",
        description=(
            "Simulate weak-lensing skies of two cosmologies, train the quick-start network to "
            "distinguish them, compare it with two baselines, and write a report with plots, and "
            "the network. Takes a few minutes."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.set_defaults(run=_demo, needs_keras=True)
    demo.add_argument("--output", type=Path, default=Path("demo"), help="directory for the results")
    demo.add_argument("--backend", choices=BACKENDS, help="Keras backend (default: Keras' own)")
    demo.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    demo.add_argument(
        "--lognormal", action="store_true", help="simulate lognormal instead of Gaussian maps"
    )
    demo.add_argument(
        "--signal-to-noise", type=float, default=1.0, help="ratio of the powers of signal and noise"
    )
    demo.add_argument("--nside", type=int, default=64, help="resolution of the maps")
    demo.add_argument("--maps", type=int, default=100, help="number of maps of each class")
    demo.add_argument("--epochs", type=int, default=25, help="passes over the training maps")
    demo.add_argument(
        "--cache",
        type=Path,
        help="directory for simulated maps (default: in the output directory)",
    )
    info = commands.add_parser(
        "info",
        help="describe a saved network",
        description=(
            "Describe the layers of a saved Keras network: resolution, channels, receptive field "
            "(an upper bound of the radius around a pixel within which inputs affect it), "
            "parameters, and multiply-adds for one map."
        ),
    )
    info.set_defaults(run=_info, needs_keras=True)
    info.add_argument("model", type=Path, help="the .keras file")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.add_argument("--backend", choices=BACKENDS, help="Keras backend (default: Keras' own)")
    equivariance = commands.add_parser(
        "equivariance",
        help="measure the equivariance of graph Laplacians to rotations",
        description=(
            "Measure the equivariance error of graph Laplacians for each spherical-harmonic "
            "degree (its exact expectation), and compare it with the combinatorial Laplacian on "
            "the same edges."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    equivariance.set_defaults(run=_equivariance, backend=None, needs_keras=True)
    if "equivariance" in arguments:
        _add_equivariance(equivariance)
    doctor = commands.add_parser(
        "doctor",
        help="examine this installation and suggest remedies",
        description=(
            "Print versions, backends, processors and threads, the C compiler, the compiled "
            "kernels, the cache and optional libraries, and a remedy for each problem. Exit "
            "status 0 if there is no problem, otherwise 1."
        ),
    )
    doctor.set_defaults(run=_doctor, needs_keras=False)
    doctor.add_argument("--json", action="store_true", help="print JSON")
    return parser


class _Version(argparse.Action):
    """Look up the version only when it is requested."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(deepsphere.__version__)
        parser.exit()


def _add_equivariance(equivariance: argparse.ArgumentParser) -> None:
    from deepsphere.graph.spec import EDGES, LAPLACIANS

    equivariance.add_argument(
        "--nside",
        type=int,
        default=32,
        help="HEALPix resolution; about sqrt(n / 12) for other samplings",
    )
    equivariance.add_argument(
        "--sampling", choices=SIZES, default="healpix", help="sampling of the sphere"
    )
    equivariance.add_argument(
        "--neighbors",
        type=_graph,
        nargs="+",
        default=[_graph(number) for number in ("8", "20", "40")],
        metavar="NUMBER",
        help=(
            "numbers of nearest neighbors; auto:1e-4 for the smallest number with an error of "
            "1e-4 or less; spread:20 or spread:auto:1e-4 to spread them where points are crowded; "
            f"or the name of a set of edges: {', '.join(EDGES[1:])}"
        ),
    )
    equivariance.add_argument(
        "--laplacian",
        nargs="+",
        choices=LAPLACIANS,
        default=["combinatorial"],
        help="Laplacians to measure",
    )
    equivariance.add_argument(
        "--degrees", type=int, nargs="+", help="degrees (default: nside / 16 to 3/2 nside)"
    )
    equivariance.add_argument(
        "--output", type=Path, help="directory for equivariance.csv and equivariance.png"
    )


SIZES: dict[str, Callable[[int], Any]] = {
    "healpix": lambda nside: nside,
    "equiangular": lambda nside: (round(2.45 * nside), 2 * round(2.45 * nside)),
    "gauss-legendre": lambda nside: round(2.45 * nside),
    "reduced-gaussian": lambda nside: round(1.6 * nside),
    "icosahedral": lambda nside: max(0, round(math.log2(1.1 * nside))),
    "icosahedral-faces": lambda nside: max(0, round(math.log2(0.77 * nside))),
    "cubed-sphere": lambda nside: round(1.41 * nside),
    "fibonacci": lambda nside: 12 * nside**2,
    "random-uniform": lambda nside: 12 * nside**2,
}
"""Samplings of ``equivariance``, with the size that gives each about ``12 nside**2`` points."""


def _sampling(kind: str, nside: int) -> Sampling:
    from deepsphere.sampling import Sampling

    size = SIZES[kind](nside)
    make: Callable[..., Sampling] = Sampling.kinds[kind]
    return make(*size) if isinstance(size, tuple) else make(size)


def _graph(text: str) -> Graph:
    from deepsphere.graph import Graph
    from deepsphere.graph.spec import as_graph

    number = text.removeprefix("spread:")
    spread = number != text
    try:
        if number.startswith("auto:"):
            return Graph(spread=spread, max_error=float(number[5:]))
        if number.isdecimal():
            return Graph(int(number), spread=spread)
        return as_graph(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text}: {error}; use, for instance, 20 or auto:1e-4"
        ) from error


def _demo(options: argparse.Namespace) -> int:
    from deepsphere.data.skies import SkySimulation
    from deepsphere.demo.run import Demo, run_demo

    simulation = SkySimulation(
        maps_per_class=options.maps,
        nside=options.nside,
        signal_to_noise=options.signal_to_noise,
        lognormal=options.lognormal,
        seed=options.seed,
    )
    for directory in filter(None, (options.output, options.cache)):
        check_directory(directory)
    run_demo(Demo(simulation, epochs=options.epochs), options.output, options.cache)
    return 0


def _equivariance(options: argparse.Namespace) -> int:
    from deepsphere.analysis import equivariance_table as table
    from deepsphere.graph.isotropy import table_degrees

    sampling = _sampling(options.sampling, options.nside)
    shown = options.degrees or table_degrees(sampling)
    degrees = shown
    if options.output:
        from deepsphere._extras import require
        from deepsphere.plot import plot_laplacian_errors

        require("matplotlib", "plot")  # fail before the computation, not after
        check_directory(options.output)
        degrees = options.degrees or table.curve_degrees(sampling)
    rows = table.laplacian_errors(
        sampling,
        [replace(one, laplacian=name) for one in options.neighbors for name in options.laplacian],
        degrees,
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(table.format_table(rows, sorted(set(shown))))
    if options.output:
        table.write_csv(rows, options.output / "equivariance.csv")
        figure = plot_laplacian_errors(rows, title=f"Graph Laplacians on {sampling!r}")
        with replacing(options.output / "equivariance.png") as temporary:
            figure.savefig(temporary)
        print(f"wrote equivariance.csv and equivariance.png to {options.output}", file=sys.stderr)
    return 0


def _info(options: argparse.Namespace) -> int:
    report = _report(options.model)
    print(json.dumps(report, indent=2) if options.json else _readable(report))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from deepsphere.doctor import examine

    findings = examine()
    print(findings.as_json() if options.json else findings.as_text())
    return 1 if findings.actions else 0


def _report(path: Path) -> dict[str, Any]:
    """Return a description of a saved model as plain JSON data."""
    import keras

    from deepsphere.analysis.description import describe, describe_inputs

    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is not a model saved with model.save('....keras')")
    try:
        with zipfile.ZipFile(path) as archive:
            saved = json.loads(archive.read("metadata.json"))
        model = keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded: {_first_line(error)}") from error
    layers = [_json_row(row) for row in describe(model)]
    inputs = describe_inputs(model)
    shapes = [tuple(tensor.shape) for tensor, _ in inputs]
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "saved": {"keras": saved.get("keras_version"), "date": saved.get("date_saved")},
        "name": model.name,
        "type": type(model).__name__,
        "inputs": [
            {"shape": shape, "sampling": repr(sampling) if sampling else None}
            for shape, (_, sampling) in zip(shapes, inputs, strict=True)
        ],
        "output_shape": model.compute_output_shape(shapes if len(shapes) > 1 else shapes[0]),
        "layers": layers,
        "parameters": model.count_params(),
        "multiply_adds": sum(layer["multiply_adds"] for layer in layers),
    }


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _json_row(row: LayerDescription) -> dict[str, Any]:
    field = row.receptive_field
    return {
        "name": row.name,
        "type": row.type,
        "nside": row.nside,
        "pixels": row.pixels,
        "channels": row.channels,
        "receptive_field": round(field, 4) if math.isfinite(field) else "all",
        "parameters": row.parameters,
        "multiply_adds": row.multiply_adds,
    }


COLUMNS = {
    "name": "layer",
    "type": "type",
    "nside": "nside",
    "pixels": "pixels",
    "channels": "channels",
    "receptive_field": "receptive field",
    "parameters": "parameters",
    "multiply_adds": "multiply-adds",
}


def _readable(report: dict[str, Any]) -> str:
    lines = [
        f"{report['file']}: {report['name']} ({report['type']})",
        f"{report['bytes']:,} bytes, saved by Keras {report['saved']['keras']} on "
        f"{report['saved']['date']}",
        *(
            f"input {_shape(entry['shape'])}"
            + (f" on {entry['sampling']}" * bool(entry["sampling"]))
            for entry in report["inputs"]
        ),
        f"output {_shape(report['output_shape'])}",
        "",
    ]
    total = {"name": "total", **{key: report[key] for key in ("parameters", "multiply_adds")}}
    rows = [
        list(COLUMNS.values()),
        *([_cell(key, row.get(key)) for key in COLUMNS] for row in [*report["layers"], total]),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if i < 2 else cell.rjust(width)  # right-align numbers
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _shape(shape: Any) -> str:
    return str(tuple(shape)).replace("None", "batch")


def _cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.1f} deg"
    return f"{value:,}" if isinstance(value, int) and key != "nside" else str(value)


if __name__ == "__main__":
    sys.exit(main())
