"""Compile the kernels without a warning, and run them under sanitizers: ``make sanitize``.

Every installed C compiler compiles all sources with warnings as errors. The first whose
AddressSanitizer and UndefinedBehaviorSanitizer can be linked builds ``tests/ops/compiled/driver.c``
with them, which runs the kernels over odd shapes. What is not installed is named and skipped; the
exit status is 1 if anything else is wrong.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "src/deepsphere/ops/compiled/csrc"
DRIVER = ROOT / "tests/ops/compiled/driver.c"
BINDINGS = ("jax.c", "tensorflow.c")
COMPILERS = ("gcc", "clang")
STRICT = (
    *("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-pthread", "-fvisibility=hidden"),
    f"-I{KERNELS}",
)
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def main() -> int:
    """Compile, run, and return the exit status."""
    compilers = [name for name in COMPILERS if shutil.which(name)]
    for name in set(COMPILERS) - set(compilers):
        print(f"skipped: warnings of {name}, which is not installed")
    if not compilers:
        print("skipped: the sanitizers, because no compiler can link them")
    with tempfile.TemporaryDirectory(prefix="deepsphere-") as folder:
        clean = all(_compiles(name, Path(folder)) for name in compilers)
        return 0 if clean and _runs(compilers, Path(folder)) else 1


def _compiles(compiler: str, folder: Path) -> bool:
    """Whether all sources compile without a warning, for this processor and for any of its kind."""
    sources = [path for path in sorted(KERNELS.glob("*.c")) if path.name not in BINDINGS]
    headers = _jax_headers()
    if headers is None:
        print(f"skipped: warnings of {compiler} in jax.c, since jaxlib is not installed")
    includes = () if headers is None else (f"-I{headers}",)
    bindings = [KERNELS / name for name in BINDINGS if headers or name != "jax.c"]
    for tuning in ((), ("-march=native",)):
        output = folder / "kernels.so"
        command = [compiler, "-O3", *tuning, *STRICT, *includes, "-shared", "-o", output]
        if not _run([*command, *sources, *bindings, DRIVER, "-lm"]):
            return False
    print(f"{compiler}: no warnings")
    return True


def _runs(compilers: list[str], folder: Path) -> bool:
    """Whether the driver runs to its end under the sanitizers of one of the compilers."""
    empty = folder / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    for compiler in compilers:
        link = [compiler, *SANITIZERS, "-o", folder / "empty", empty]
        if subprocess.run(link, capture_output=True, check=False).returncode:
            print(f"skipped: the sanitizers of {compiler}, which are not installed")
            continue
        sources = [p for p in sorted(KERNELS.glob("*.c")) if p.name not in BINDINGS]
        program = folder / "driver"
        command = [compiler, "-O1", "-g", "-march=native", *STRICT, *SANITIZERS]
        if compiler == "clang":
            command.append("-Wno-pass-failed")  # it does not vectorize what it checks
        print(f"{compiler}: running the driver under {SANITIZERS[0]}", flush=True)
        return _run([*command, "-o", program, *sources, DRIVER, "-lm"]) and _run([program])
    return True


def _jax_headers() -> Path | None:
    found = importlib.util.find_spec("jaxlib")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "include"


def _run(command: list[str | Path]) -> bool:
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
