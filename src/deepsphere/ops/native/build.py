"""Compile the C sources for this machine, once."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from deepsphere.files import replacing
from deepsphere.graph.cache import cache_directory

logger = logging.getLogger(__name__)

SOURCES = ("threads.c", "tile.c", "rows.c", "walk.c", "api.c", "pool.c", "call.c")
HEADERS = ("threads.h", "vectors.h", "tile.h", "rows.h", "walk.h", "api.h", "pool.h", "call.h")
FLAGS = ("-O3", "-std=gnu11", "-ffp-contract=fast", "-fPIC", "-shared", "-pthread")
TUNING: tuple[tuple[str, ...], ...] = (("-march=native",), ("-mcpu=native",), ())
"""How compilers are told to use all that the processor has; the first that one takes."""

CHOICES = ("auto", "on", "off")


def choice() -> str:
    """Return what the environment variable ``DEEPSPHERE_COMPILED`` says.

    ``auto``, the default, compiles where it can; ``on`` raises where it cannot; ``off`` never
    does.
    """
    value = os.environ.get("DEEPSPHERE_COMPILED", "auto").lower()
    if value not in CHOICES:
        raise ValueError(f"DEEPSPHERE_COMPILED must be {', '.join(CHOICES)}; got {value!r}")
    return value


def threads() -> int:
    """Return how many threads to use: ``OMP_NUM_THREADS``, or all processors there are."""
    try:
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    except (KeyError, ValueError):
        pass
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def library(
    binding: str | None = None, options: tuple[str, ...] = (), version: str = ""
) -> Path | None:
    """Return the compiled library, or None where there is none.

    Parameters
    ----------
    binding : str, optional
        A further source file, which connects the functions with a backend.
    options : tuple of str
        Options of the compiler that it needs.
    version : str
        Version of the backend: another one has a library of its own.

    Returns
    -------
    Path or None
        The file. It is kept in the directory of `deepsphere.graph.cache.cache_directory`, under a
        name that tells sources, compiler, processor and version apart.

    Raises
    ------
    RuntimeError
        If it cannot be compiled and ``DEEPSPHERE_COMPILED`` is ``on``.
    """
    if choice() == "off":
        return None
    try:
        return _find_or_compile(binding, options, version)
    except (OSError, RuntimeError) as error:
        if choice() == "on":
            raise RuntimeError(f"DEEPSPHERE_COMPILED is on, but {error}") from error
        logger.warning("running without compiled kernels, several times slower: %s", error)
        return None


def _find_or_compile(binding: str | None, options: Sequence[str], version: str) -> Path:
    if os.name == "nt":
        raise RuntimeError("they are not made for Windows yet")
    compiler = _compiler()
    folder = Path(__file__).parent
    names = [*SOURCES, *([binding] if binding else [])]
    digest = hashlib.sha256()
    for name in (*names, *HEADERS):
        digest.update((folder / name).read_bytes())
    for text in (*compiler, _version(compiler), *FLAGS, *options, version, _processor()):
        digest.update(text.encode() + b"\0")
    stem = Path(binding or "core").stem
    path = _directory() / f"kernels-{stem}-{digest.hexdigest()[:32]}.so"
    if not path.exists():
        with replacing(path) as temporary:
            _compile([*compiler, *FLAGS], [folder / name for name in names], options, temporary)
    return path


def _directory() -> Path:
    """Return where libraries are kept, or a directory of this process if they cannot be."""
    directory = cache_directory()
    if directory is not None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            logger.warning("keeping no compiled kernels in %s (%s)", directory, error)
        else:
            if os.access(directory, os.W_OK):
                return directory
    return Path(_of_this_process().name)


def _compile(
    command: Sequence[str], sources: Sequence[Path], options: Sequence[str], output: Path
) -> None:
    messages = ""
    for tuning in TUNING:
        run = subprocess.run(
            [*command, *tuning, "-o", str(output), *map(str, sources), *options, "-lm"],
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode == 0:
            return
        messages = messages or run.stderr.strip()
    raise RuntimeError(f"the C compiler {command[0]} failed: {messages[-2000:]}")


def _compiler() -> list[str]:
    """Return the command of a C compiler: ``CC``, one on the path, or the one in ``ziglang``."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return [found]
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise RuntimeError(
        "there is no C compiler (cc, gcc, clang, or what the environment variable CC names); "
        "install one, or: pip install 'deepsphere-keras[compiled]'"
    )


def _version(compiler: Sequence[str]) -> str:
    run = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    return run.stdout


def _processor() -> str:
    """Return what tells processors apart that the same code does not run on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    flags = sorted({line for line in lines if line.startswith(("flags", "Features"))})
    return "\n".join([platform.system(), platform.machine(), platform.processor(), *flags])


@cache
def _of_this_process() -> tempfile.TemporaryDirectory[str]:
    """Return a directory that goes with this process."""
    return tempfile.TemporaryDirectory(prefix="deepsphere-", ignore_cleanup_errors=True)
