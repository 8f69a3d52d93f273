"""Run a part of the suite on the newest Python and backends: ``make test-newest``.

    python tools/test_newest.py FOLDER BACKEND [BACKEND ...]

Each backend runs on the newest installed Python that it supports, in a virtual environment in
FOLDER with the newest releases of all dependencies. A Python or a backend that is not available is
named and skipped; the exit status is 1 if a test fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("python3.14", "python3.13", "python3.12", "python3")
TESTS = (
    "tests/ops/compiled",  # what is compiled against a backend
    "tests/ops/test_arguments.py",
    "tests/ops/test_mapping.py",
    "tests/ops/test_matrices.py",
    "tests/ops/test_operator.py",
    "tests/ops/test_products.py",
    "tests/models/test_sequential.py",  # building, training, saving
)


def main(folder: Path, backends: list[str]) -> int:
    """Install, test, and return the exit status."""
    missing, failed = list(backends), False
    for python in _interpreters():
        if not missing:
            break
        version = _version(python)
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        for backend in missing.copy():
            if _install(folder, backend, version):
                missing.remove(backend)
                failed |= not _test(folder, backend, version)
    for backend in missing:
        print(f"skipped: {backend}, which no installed Python supports")
    return int(failed)


def _interpreters() -> list[str]:
    """Return the installed Pythons, the newest first; those of pyenv need not be on the path."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = []
    for name in PYTHONS:
        others = sorted(pyenv.glob(f"{name.removeprefix('python')}.*/bin/{name}"), reverse=True)
        here = shutil.which(name)
        # A command that pyenv puts on the path runs only where its version has been chosen.
        for candidate in (*others, *([here] if here else [])):
            if _version(str(candidate)):
                found.append(str(candidate))
                break
        else:
            print(f"skipped: {name}, which is not installed")
    return found


def _version(python: str) -> str:
    """Return the version of an interpreter, or "" if it does not run."""
    command = [python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.stdout.strip() if run.returncode == 0 else ""


def _install(folder: Path, backend: str, version: str) -> bool:
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    tools = ["pytest", "pytest-timeout", "pytest-xdist"]
    command = [*pip, "--no-compile", "-e", f"{ROOT}[{backend}]", *tools]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        reason = run.stderr.strip().splitlines()[-1:] or ["pip failed"]
        print(f"skipped: {backend} on Python {version}: {reason[0]}")
    return run.returncode == 0


def _test(folder: Path, backend: str, version: str) -> bool:
    """Whether the tests pass with a backend."""
    show = (
        "import importlib.metadata as m, sys; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    )
    print(f"Python {version}:", end=" ", flush=True)
    subprocess.run([folder / "bin/python", "-c", show, "keras", backend], check=True)
    command = [
        folder / "bin/python",
        "-m",
        "pytest",
        "--numprocesses=auto",
        "--dist=worksteal",
        "-W",
        "default",
        *TESTS,
    ]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute(), sys.argv[2:]))
