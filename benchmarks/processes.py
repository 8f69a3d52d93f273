"""Processes that hold candidates ready and are asked for one measurement at a time.

A process has one Keras backend, so candidates on different backends need different processes.
`Worker` starts a script again with a backend and a role; there `serve` waits for questions, one
JSON line each, and answers. Only the process that was asked works; the others wait for input.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

BACKENDS = ("tensorflow", "jax", "torch")

ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # On a GPU several processes share the memory: none may take all of it.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


class Worker:
    """A process that runs a benchmark script in a role, and answers questions.

    Parameters
    ----------
    script : str
        File to run as ``python script --serve role``; it must come to call `serve`.
    role : str
        What the script is to hold ready.
    backend : str
        Keras backend of the process.
    environment : mapping, optional
        Further environment variables.

    Raises
    ------
    RuntimeError
        When a question is answered by an error, or the process ends.
    """

    def __init__(
        self, script: str, role: str, backend: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.role = role
        # Libraries say much that is of no interest unless the process ends.
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", script, "--serve", role],
            env={**os.environ, **ENVIRONMENT, "KERAS_BACKEND": backend, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def ask(self, method: str, **arguments: Any) -> Any:
        """Call a method of the object that the process serves, and return its result."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps([method, arguments]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            status = self._process.wait()
            self._said.seek(0)
            raise RuntimeError(
                f"the process for {self.role} ended with status {status}\n"
                + self._said.read()[-2000:]
            )
        result, error = json.loads(answer)
        if error is not None:
            raise RuntimeError(f"{self.role}: {method} failed\n{error}")
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()  # the process ends when it has no more to read
            self._process.wait(30)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._said.close()


def serve(served: Any) -> None:
    """Answer questions about an object until there are no more.

    What libraries print goes to the standard error: the standard output is for answers.

    Parameters
    ----------
    served : object
        Its methods take and return plain JSON data.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            method, arguments = json.loads(line)
            try:
                answer = [getattr(served, method)(**arguments), None]
            except Exception:
                answer = [None, traceback.format_exc()]
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def status(name: str) -> float:
    """Return an entry of ``/proc/self/status`` in MB; 0 where there is no such file."""
    path = Path("/proc/self/status")
    if not path.exists():
        return 0.0
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def resident() -> float:
    """Return the resident memory of this process in MB, freed memory given back."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return status("VmRSS")


def peak() -> float:
    """Return the largest resident memory of this process since `forget_peak`, in MB."""
    return status("VmHWM")


def forget_peak() -> None:
    """Let the largest resident memory start anew from what is resident now."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")
