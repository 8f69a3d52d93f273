"""Finding and running the C compiler, and identifying the processor."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

FLAGS = (
    *("-O3", "-std=gnu11", "-ffp-contract=fast", "-fPIC", "-shared", "-pthread"),
    "-fvisibility=hidden",
)
TUNING: tuple[tuple[str, ...], ...] = (("-march=native",), ("-mcpu=native",))
"""Flags that enable all instructions of the processor; the first that the compiler accepts."""

PATIENCE = 600
"""Time limit for the compiler in seconds. It takes about ten, or minutes on a busy machine."""

CHOICES = ("auto", "on", "off")

IDENTITY = re.compile(
    r"(flags|features|facilities|isa|hart isa|uarch|mmu|m(vendor|arch|imp)id|cpu|cpu family"
    r"|cpu (implementer|architecture|variant|part)|model|model name|vendor_id|machine|platform"
    r"|firmware|isas implemented|ases implemented|cpu model|processor \d+)\s*:"
)
"""Lines of ``/proc/cpuinfo`` that identify a processor: ``flags`` on x86 and ``Features`` on Arm,
``cpu`` on POWER, ``isa`` and ``uarch`` on RISC-V, ``features`` and the ``machine`` of each
``processor`` on s390x. Other lines give the current frequency or the number of the core.
"""

HARDWARE_CAPABILITIES = (16, 26, 29, 30)
"""Entries AT_HWCAP to AT_HWCAP4 of the auxiliary vector: instructions that Linux enables."""


class CompilationError(RuntimeError):
    """Failure of the compiler.

    Parameters
    ----------
    message : str
        The failure in one line.
    log : str
        The command and the compiler's output.
    lasting : bool
        Whether it would fail again. False if the disk was full or the process was killed.
    """

    def __init__(self, message: str, log: str, lasting: bool) -> None:
        super().__init__(message)
        self.log, self.lasting = log, lasting


def choice() -> str:
    """Return the value of the environment variable ``DEEPSPHERE_COMPILED``.

    ``auto``, the default, compiles if possible; ``on`` raises an error if it is not; ``off`` never
    compiles.

    Raises
    ------
    ValueError
        If the variable has another value.
    """
    value = (os.environ.get("DEEPSPHERE_COMPILED") or "auto").lower()
    if value not in CHOICES:
        raise ValueError(f"DEEPSPHERE_COMPILED must be {', '.join(CHOICES)}; got {value!r}")
    return value


def find_compiler() -> list[str]:
    """Return the command of a C compiler: ``CC``, else one on the path, else that of ``ziglang``.

    Raises
    ------
    RuntimeError
        If no compiler is found, or ``CC`` is not a valid command.
    """
    named = os.environ.get("CC", "")
    try:
        command = shlex.split(named)
    except ValueError as error:
        raise RuntimeError(f"CC={named!r} is not a command ({error})") from error
    if command:
        if shutil.which(command[0]) is None:
            raise RuntimeError(
                f"CC={named!r}, but there is no program {command[0]!r}; correct or unset CC"
            )
        return command
    for name in ("cc", "gcc", "clang"):
        found = shutil.which(name)
        if found:
            return [found]
    if find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise RuntimeError(
        "there is no C compiler (cc, gcc, clang, or the one that the environment variable CC "
        "names); install one, or run: pip install 'deepsphere-keras[compiled]'"
    )


def compiler_version(command: Sequence[str]) -> str:
    """Return the output of the compiler's ``--version``."""
    return _run([*command, "--version"]).stdout


def compile_library(
    command: Sequence[str], sources: Sequence[Path], options: Sequence[str], output: Path
) -> None:
    """Compile C sources to a library, tuned for this processor if the compiler supports it.

    Raises
    ------
    CompilationError
        If the compiler fails or takes longer than `PATIENCE`.
    """
    tuning = next(([*flags] for flags in TUNING if _accepts(command, flags)), [])
    log = ""
    # Retry untuned: an assembler older than the compiler may lack some instructions.
    for flags in (tuning, []) if tuning else ([],):
        full = [*command, *FLAGS, *flags, "-o", str(output), *map(str, sources), *options, "-lm"]
        run = _run(full)
        if run.returncode == 0:
            return
        log += f"$ {shlex.join(full)}\n{run.stdout}{run.stderr}exit status {run.returncode}\n\n"
        lasting = run.returncode > 0 and not re.search(
            r"No space left|quota exceeded|Killed|memory exhausted|Cannot allocate", run.stderr
        )
        if not lasting:
            break
    reason = next((line for line in log.splitlines() if "error" in line), "")
    message = f"the C compiler {shlex.join(command)} failed" + f" ({reason:.200})" * bool(reason)
    raise CompilationError(message, log, lasting)


def _accepts(command: Sequence[str], flags: Sequence[str]) -> bool:
    return _run([*command, *flags, "-x", "c", "-fsyntax-only", os.devnull]).returncode == 0


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=PATIENCE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        text = f"stopped after {PATIENCE} seconds"
        raise CompilationError(f"the C compiler {command[0]} was {text}", text, True) from error


def processor() -> str:
    """Return a string that differs between processors that should not share compiled code."""
    system = [platform.system(), platform.machine(), platform.processor()]
    if platform.system() == "Darwin":
        system.append(_run(["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]).stdout)
    return "\n".join([*system, *_libc(), *_capabilities(), *processor_lines(_cpuinfo())])


def processor_lines(cpuinfo: Iterable[str]) -> list[str]:
    """Return the distinct properties in ``/proc/cpuinfo`` that identify the processor."""
    found = set()
    for line in cpuinfo:
        if IDENTITY.match(line.lower()):
            name, _, value = line.partition(":")
            # "processor 0: version = FF,  identification = 12345,  machine = 8561" on s390x
            machine = re.search(r"machine = (\w+)", value)
            name = re.sub(r"\d+", "", name).strip()
            found.add(f"{name}: {machine[1] if machine else value.strip()}")
    return sorted(found)


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _capabilities() -> list[str]:
    try:
        raw = Path("/proc/self/auxv").read_bytes()
    except OSError:
        return []
    size = struct.calcsize("LL")
    entries = struct.iter_unpack("LL", raw[: len(raw) // size * size])
    return [f"{kind}: {value:x}" for kind, value in entries if kind in HARDWARE_CAPABILITIES]


def _libc() -> list[str]:
    try:
        return [os.confstr("CS_GNU_LIBC_VERSION") or ""]
    except (AttributeError, ValueError, OSError):  # no glibc
        return []
