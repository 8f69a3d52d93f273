"""Diagnosis of an installation, for the command ``deepsphere doctor``.

Keras and its backend are tested in a separate process, which may fail or crash.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deepsphere._backends import BACKENDS, configured_backend, installed_backends, missing_backend
from deepsphere._cache import cache_directory, read_matrix
from deepsphere._compiler import choice, compiler_version, find_compiler
from deepsphere._files import is_leftover
from deepsphere._processors import available_processors, thread_count
from deepsphere._trust import find_damage

LIBRARIES = ("deepsphere-keras", "keras", "numpy", "scipy", "astropy-healpix")
"""Required distributions."""

EXTRAS = {
    "healpy": ("healpy",),
    "cosmology": ("camb", "glass", "healpy", "tqdm"),
    "plot": ("matplotlib",),
    "baselines": ("sklearn",),
    "harmonics": ("ducc0",),
    "export": ("onnx", "onnxruntime", "onnxscript", "tf2onnx"),
    "weather": ("xarray", "netCDF4", "zarr"),
    "shapes": ("trimesh", "embreex"),
    "tensorboard": ("tensorboard", "tensorflow"),
    "compiled": ("ziglang",),
}
"""Modules that each optional extra installs."""

PATIENCE = 300
"""Time limit for importing a backend and compiling the kernels, in seconds."""

PROBE = """
import json, logging, sys, time
start = time.perf_counter()
import keras, numpy
found = {"keras": keras.__version__, "backend": keras.backend.backend(), "warnings": []}
handler = logging.Handler(logging.WARNING)
handler.emit = lambda record: found["warnings"].append(record.getMessage())
logging.getLogger("deepsphere").addHandler(handler)
from deepsphere._allocator import keep_freed_memory
from deepsphere.graph import rescaled_laplacian
from deepsphere.ops import SparseOperator, chebyshev_filter, reference
from deepsphere.ops.compiled.build import in_use
from deepsphere.sampling import Healpix
found["import_seconds"] = round(time.perf_counter() - start, 1)
rng = numpy.random.default_rng(0)
operator = SparseOperator(rescaled_laplacian(Healpix(4), 8))
x = rng.standard_normal((2, 192, 3)).astype("float32")
kernel = rng.standard_normal((5, 3, 4)).astype("float32")
tensors = map(keras.ops.convert_to_tensor, (x, kernel))
y = keras.ops.convert_to_numpy(chebyshev_filter(*tensors, operator))
truth = reference.chebyshev_filter(x, kernel, operator)
found["error"] = float(abs(y - truth).max() / abs(truth).max())
found["library"] = str(in_use() or "")
kept = in_use() and found["backend"] != "tensorflow"
found["memory"] = keep_freed_memory() if kept else "left to the backend and the C library"
print("\\n" + json.dumps(found))
"""
"""Program of the separate process: compare a filter with the same filter in SciPy."""

TOLERANCE = 1e-4
"""Largest error of the filter due to rounding, in single precision on inaccurate devices."""


@dataclass
class Findings:
    """Result of an examination.

    Parameters
    ----------
    sections : dict of str to dict of str to str
        Properties of the installation, by subject.
    actions : list of str
        Problems, each with its remedy.
    """

    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    actions: list[str] = field(default_factory=list)

    def as_text(self) -> str:
        """Return a human-readable report."""
        lines = []
        for title, rows in self.sections.items():
            lines.append(title)
            width = max(map(len, rows), default=0)
            lines.extend(f"  {name.ljust(width)}  {value}" for name, value in rows.items())
            lines.append("")
        if not self.actions:
            return "\n".join([*lines, "Nothing to do."])
        lines.append("To do")
        lines.extend(f"  {number}. {action}" for number, action in enumerate(self.actions, 1))
        return "\n".join(lines)

    def as_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps({"sections": self.sections, "actions": self.actions}, indent=2)


def examine() -> Findings:
    """Examine this installation.

    Returns
    -------
    Findings
        Properties and problems. Missing or broken parts are reported as problems and do not raise.
    """
    findings = Findings()
    for look in (_versions, _backends, _processors, _kernels, _cache, _extras):
        try:
            look(findings)
        except Exception as error:  # other sections are still useful
            findings.actions.append(f"{look.__name__[1:]} could not be examined: {error!r}")
    return findings


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _versions(findings: Findings) -> None:
    rows = {"python": f"{platform.python_version()} ({sys.executable})"}
    for name in LIBRARIES:
        found = _version(name)
        rows[name] = found or "not installed"
        if found is None:
            findings.actions.append(f"{name} is not installed: pip install {name}")
    rows["imported from"] = str(Path(__file__).parent)
    findings.sections["Versions"] = rows
    old = _version("deepsphere")
    if old is not None:
        findings.actions.append(
            f"the distribution deepsphere {old} is installed too. It has the same import name, "
            "and the files of the two distributions overwrite each other: pip uninstall "
            "deepsphere deepsphere-keras, then install deepsphere-keras again"
        )


def _backends(findings: Findings) -> None:
    installed = installed_backends()
    chosen, source = configured_backend()
    rows = {name: _version(name) or "installed" for name in installed}
    rows["chosen"] = f"{chosen} ({source})"
    findings.sections["Backends"] = rows
    if chosen not in BACKENDS:
        findings.actions.append(
            f"DeepSphere does not run on the backend {chosen!r}, which {source} selects: set "
            f"KERAS_BACKEND to {', '.join(BACKENDS)}"
        )
        return
    if chosen not in installed:
        findings.actions.append(f"{source} asks for {missing_backend(chosen)}")
        return
    found = _ask_another_process()
    if isinstance(found, str):
        findings.actions.append(
            f"a filter cannot be run on {chosen}: {found}. To see more: {sys.executable} -c "
            "'import deepsphere.layers'"
        )
        return
    rows["keras"] = f"{found['keras']}, imported in {found['import_seconds']} s"
    rows["a filter"] = f"differs from SciPy's by {found['error']:.1e} (relative)"
    if not found["error"] < TOLERANCE:
        findings.actions.append(
            f"a filter gives wrong numbers on {chosen} (relative error {found['error']:.1e}): "
            "please report it with this output; DEEPSPHERE_COMPILED=off may help until then"
        )
    findings.sections["Kernels"] = {
        "in use": found["library"] or "none; the portable form runs instead",
        "freed memory": found["memory"],
    }
    findings.actions.extend(found["warnings"])


def _ask_another_process() -> dict[str, Any] | str:
    """Run `PROBE` and return its results, or an error in one line."""
    try:
        run = subprocess.run(
            [sys.executable, "-c", PROBE],
            env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {PATIENCE} seconds"
    if run.returncode < 0:
        return f"the process was ended by signal {-run.returncode}"
    try:
        return json.loads(run.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return (run.stderr.strip() or f"exit status {run.returncode}").splitlines()[-1]


def _processors(findings: Findings) -> None:
    threads, available, there = thread_count(), available_processors(), os.cpu_count()
    wanted = os.environ.get("OMP_NUM_THREADS")
    findings.sections["Processors"] = {
        "machine": f"{platform.system()} {platform.machine()}, {there} processors",
        "available": f"{available} (affinity and quota of the container)",
        "threads": f"{threads} (OMP_NUM_THREADS {'is not set' if wanted is None else wanted})",
    }
    if wanted is not None and not wanted.split(",")[0].strip().isdecimal():
        findings.actions.append(f"OMP_NUM_THREADS={wanted!r} is not a number and is ignored")


def _kernels(findings: Findings) -> None:
    rows = findings.sections.setdefault("Kernels", {})
    rows["DEEPSPHERE_COMPILED"] = choice()
    if choice() == "off":
        return
    try:
        command = find_compiler()
        version = (compiler_version(command).splitlines() or ["version unknown"])[0]
        rows["compiler"] = f"{shlex.join(command)} ({version})"
    except (RuntimeError, OSError) as error:
        rows["compiler"] = f"none: {error}"
        if "in use" not in rows:  # otherwise the separate process has reported it
            findings.actions.append(f"the portable form will run, several times slower: {error}")
    directory = cache_directory()
    for log in sorted(directory.glob("kernels-*.log")) if directory else []:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(log.stat().st_mtime))
        rows["failed"] = f"{day}, see {log}"
        if str(log) not in " ".join(findings.actions):
            findings.actions.append(
                f"compiling kernels failed on {day}: the compiler's messages are in {log}; delete "
                "that file to try again"
            )


def _cache(findings: Findings) -> None:
    messages: list[str] = []
    directory = cache_directory(messages.append)
    off = os.environ.get("DEEPSPHERE_CACHE", "").lower() == "off"
    rows = {"directory": str(directory or ("none (DEEPSPHERE_CACHE=off)" if off else "none"))}
    findings.sections["Cache"] = rows
    findings.actions.extend(text for text in messages if text not in findings.actions)
    if directory is None:
        return
    if not os.access(next(p for p in (directory, *directory.parents) if p.exists()), os.W_OK):
        rows["writable"] = "no"
        findings.actions.append(
            f"{directory} is not writable: make it writable, or choose another directory with "
            "DEEPSPHERE_CACHE"
        )
    if not directory.is_dir():
        rows["size"] = "not made yet"
        return
    status = directory.stat()
    rows["owner"] = f"user {status.st_uid}, mode {status.st_mode & 0o777:o}"
    files = sorted(path for path in directory.iterdir() if path.is_file())
    size = sum(path.stat().st_size for path in files)
    rows["size"] = f"{len(files)} files, {size / 2**20:.1f} MiB"
    damaged = {path: damage for path in files if (damage := _damage(path))}
    rows["damaged"] = ", ".join(path.name for path in damaged) or "none"
    findings.actions.extend(
        f"{path} is damaged ({damage}): delete it; it is rebuilt when it is needed"
        for path, damage in damaged.items()
    )
    leftovers = sum(map(is_leftover, files))
    if leftovers:
        rows["left over"] = (
            f"{leftovers} from killed processes; removed when the cache is next written"
        )


def _damage(path: Path) -> str | None:
    if path.name.startswith("kernels-") and path.suffix == ".so":
        return find_damage(path)
    if path.name.startswith("graph-") and path.suffix == ".npz":
        try:
            read_matrix(path)
        except Exception as error:
            return str(error) or repr(error)
    return None


def _extras(findings: Findings) -> None:
    findings.sections["Extras"] = {
        extra: "installed"
        if not (missing := [name for name in modules if find_spec(name) is None])
        else f"without {', '.join(missing)}: pip install 'deepsphere-keras[{extra}]'"
        for extra, modules in EXTRAS.items()
    }
