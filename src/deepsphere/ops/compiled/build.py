"""Compile the C sources for this machine, cache the library, and load it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from deepsphere import _compiler as compiler
from deepsphere._cache import cache_directory
from deepsphere._compiler import choice
from deepsphere._files import remove_leftovers, replacing
from deepsphere._locks import exclusive
from deepsphere._processors import thread_count
from deepsphere._trust import (
    OTHERS_MAY_WRITE,
    contents_hash,
    distrust,
    find_damage,
    make_private_directory,
)

logger = logging.getLogger(__name__)
Loaded = TypeVar("Loaded")

SOURCES = ("threads.c", "tile.c", "rows.c", "walk.c", "api.c", "pool.c", "attention.c", "call.c")
HEADERS = (
    *("threads.h", "vectors.h", "activations.h", "tile.h", "rows.h", "walk.h", "api.h", "pool.h"),
    *("attention.h", "call.h"),
)

_in_use: list[Path] = []

NOT_EXECUTABLE = "failed to map segment|Operation not permitted|Permission denied"
"""Error messages of loading from a file system that is mounted with ``noexec``."""

FAILURE_LASTS = 7 * 24 * 3600.0
"""Seconds after which a failed compiler is tried again even without a visible change."""


def threads() -> int:
    """Return `deepsphere._processors.thread_count`, cached while its inputs do not change."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return _threads(os.environ.get("OMP_NUM_THREADS"), affinity)


@cache
def _threads(wanted: str | None, affinity: int | None) -> int:
    return thread_count()  # reads files, too slow for every operation


def load(
    open_library: Callable[[str], Loaded],
    binding: str | None = None,
    options: tuple[str, ...] = (),
    version: str = "",
) -> Loaded | None:
    """Compile the library if needed and load it, or return None if that fails.

    Parameters
    ----------
    open_library : callable
        Loads the library from a path. Its exceptions are logged as warnings.
    binding, options, version
        As in `library`.

    Raises
    ------
    RuntimeError
        If the library cannot be compiled or loaded and ``DEEPSPHERE_COMPILED`` is ``on``.
    """
    path = library(binding, options, version)
    if path is None:
        return None
    try:
        path, loaded = _open(open_library, path)
    except Exception as error:  # its type depends on the backend
        _do_without(_one_line(error), error)
        return None
    _in_use.append(path)
    return loaded


def _open(open_library: Callable[[str], Loaded], path: Path) -> tuple[Path, Loaded]:
    """Load a library, from a temporary copy if its file system is mounted with ``noexec``."""
    try:
        return path, open_library(str(path))
    except Exception as error:
        text = f"{path} cannot be loaded ({_one_line(error)})"
        if not re.search(NOT_EXECUTABLE, str(error)):
            raise RuntimeError(text) from error
        try:
            copy = _of_this_process() / path.name
            if copy != path:
                if find_damage(copy) is not None:  # never write over a file that is loaded
                    with replacing(copy) as temporary:
                        shutil.copyfile(path, temporary)
                return copy, open_library(str(copy))
        except Exception as second:
            text += f", nor can {copy} ({_one_line(second)})"
        raise RuntimeError(
            f"{text}: set DEEPSPHERE_CACHE to a directory that allows running programs"
        ) from error


def in_use() -> Path | None:
    """Return the path of the library that this process loaded last, or None."""
    return _in_use[-1] if _in_use else None


@cache
def library(
    binding: str | None = None, options: tuple[str, ...] = (), version: str = ""
) -> Path | None:
    """Return the path of the compiled library, or None if it cannot be compiled or is turned off.

    Parameters
    ----------
    binding : str, optional
        Additional source file, which binds the functions to a backend. Default: none.
    options : tuple of str, default ()
        Compiler options that `binding` needs.
    version : str, default ""
        Version of the backend. Each version has its own library.

    Returns
    -------
    Path or None
        The file, whose contents have been verified. It is in the directory
        `deepsphere._cache.cache_directory`, or in a temporary directory of this process if that is
        not possible.

    Raises
    ------
    RuntimeError
        If the library cannot be compiled and ``DEEPSPHERE_COMPILED`` is ``on``.
    """
    if choice() == "off":
        return None
    try:
        return _find_or_compile(Build.of(binding, options, version))
    except (OSError, RuntimeError) as error:
        _do_without(_one_line(error), error)
        return None


def _do_without(reason: str, error: Exception) -> None:
    if choice() == "on":
        raise RuntimeError(f"DEEPSPHERE_COMPILED is on, but {reason}") from error
    logger.warning("running without compiled kernels, several times slower: %s", reason)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:1000] or type(error).__name__


@dataclass(frozen=True)
class Build:
    """The inputs and the name of a compiled library.

    Its file is ``{name}-{contents}.so``. `name` contains a hash of the sources, compiler, processor
    and versions; `contents` is a hash of the file, which reveals damage.
    """

    command: tuple[str, ...]
    sources: tuple[Path, ...]
    options: tuple[str, ...]
    name: str

    @classmethod
    def of(cls, binding: str | None, options: Sequence[str], version: str) -> Build:
        """Describe a library for the compiler and the processor of this machine.

        Raises
        ------
        RuntimeError
            If there is no compiler, or the operating system is Windows.
        """
        if os.name == "nt":
            raise RuntimeError("they are not available on Windows yet")
        command = compiler.find_compiler()
        folder = Path(__file__).parent / "csrc"
        sources = tuple(folder / name for name in (*SOURCES, *([binding] if binding else [])))
        digest = hashlib.sha256()
        for path in (*sources, *(folder / name for name in HEADERS)):
            digest.update(path.read_bytes())
        for text in (
            *command,
            compiler.compiler_version(command),
            *compiler.FLAGS,
            *options,
            version,
            compiler.processor(),
        ):
            digest.update(text.encode() + b"\0")
        name = f"kernels-{Path(binding or 'core').stem}-{digest.hexdigest()[:32]}"
        return cls(tuple(command), sources, tuple(options), name)

    def files(self, directory: Path) -> list[Path]:
        """Return the files of this library in a directory, normally at most one."""
        return sorted(directory.glob(f"{self.name}-*.so"))

    def log(self, directory: Path) -> Path:
        """Return the path of the log that a failed compilation leaves."""
        return directory / f"{self.name}.log"


def _find_or_compile(build: Build) -> Path:
    directory = cache_directory()
    if directory is None:
        return _compile(build, None)
    found = _find(build, directory)
    if found is not None:
        return found
    with _only_one(build, directory):
        # Another process may have compiled it, or failed, while this one waited.
        return _find(build, directory, tell=False) or _compile(build, directory)


def _find(build: Build, directory: Path, tell: bool = True) -> Path | None:
    """Return the cached library or None, or raise RuntimeError if compiling it failed recently."""
    for path in build.files(directory):
        damage = find_damage(path)
        if damage is None:
            return path
        if tell:
            logger.warning("compiling kernels again, because %s: %s", path, damage)
    before = build.log(directory)
    if choice() != "on" and _is_fresh(before):
        raise RuntimeError(f"{_failed(build, before)}, delete that file to try again")
    return None


@contextmanager
def _only_one(build: Build, directory: Path) -> Iterator[None]:
    """Let one process compile a library while others wait, if `directory` can be written."""
    try:
        make_private_directory(directory)
    except OSError:  # logged when the library cannot be kept there
        yield
        return
    path = directory / f"{build.name}.lock"

    def tell() -> None:
        logger.warning("waiting for another process that is compiling kernels (%s)", path)

    with exclusive(path, compiler.PATIENCE, tell):
        yield


def _compile(build: Build, directory: Path | None) -> Path:
    own = _of_this_process() / f"{build.name}.so"
    try:
        compiler.compile_library(build.command, build.sources, build.options, own)
    except compiler.CompilationError as error:
        log = _write_log(build, error, directory)
        raise RuntimeError(_failed(build, log) if log else str(error)) from error
    return _keep(build, own, directory)


def _keep(build: Build, own: Path, directory: Path | None) -> Path:
    """Move a new library to the cache if possible, and return its path."""
    name = f"{build.name}-{contents_hash(own)}.so"
    if directory is not None:
        try:
            make_private_directory(directory)
            with replacing(directory / name) as temporary:
                shutil.copyfile(own, temporary)
                temporary.chmod(0o755)
            for other in (*build.files(directory), build.log(directory)):
                if other.name != name:
                    other.unlink(missing_ok=True)
            remove_leftovers(directory)
        except OSError as error:
            logger.warning("cannot keep compiled kernels in %s (%s)", directory, error)
        else:
            own.unlink()
            return directory / name
    return own.rename(own.with_name(name))


def _is_fresh(log: Path) -> bool:
    try:
        return time.time() - log.stat().st_mtime < FAILURE_LASTS and distrust(log) is None
    except OSError:
        return False


def _failed(build: Build, log: Path) -> str:
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(log.stat().st_mtime))
    return f"the C compiler {build.command[0]} failed on {day}; its messages are in {log}"


def _write_log(
    build: Build, error: compiler.CompilationError, directory: Path | None
) -> Path | None:
    """Write the compiler's messages to a log: in the cache if the failure is lasting."""
    text = f"{error}\n\n{error.log}"
    if directory is not None and error.lasting:
        try:
            make_private_directory(directory)
            with replacing(build.log(directory)) as temporary:
                temporary.write_text(text, encoding="utf-8")
                temporary.chmod(temporary.stat().st_mode & ~OTHERS_MAY_WRITE)
            return build.log(directory)
        except OSError:
            pass
    try:
        number, name = tempfile.mkstemp(prefix="deepsphere-kernels-", suffix=".log")
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return None
    return Path(name)


def _of_this_process() -> Path:
    """Return a temporary directory that is deleted with this process."""
    fault = distrust(Path(tempfile.gettempdir()) / "any")
    if fault is not None:
        raise RuntimeError(f"there is no safe place for temporary files: {fault}")
    return Path(_temporary_directory().name)


@cache
def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="deepsphere-", ignore_cleanup_errors=True)
