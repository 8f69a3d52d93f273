"""Findings and advice of ``deepsphere doctor``."""

import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import keras
import pytest

from deepsphere import _backends as backends
from deepsphere import _compiler as compiler
from deepsphere import cli, doctor
from deepsphere._cache import DiskCache, csr_array

WELL = {
    "keras": "3.15.1",
    "backend": "jax",
    "import_seconds": 1.0,
    "error": 3e-7,
    "library": "/cache/kernels.so",
    "memory": "kept for reuse",
    "warnings": [],
}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """A separate cache, and a second process without problems."""
    monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "auto")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(doctor, "_ask_another_process", lambda: WELL)
    return tmp_path / "cache"


def the_action():
    (action,) = doctor.examine().actions
    return action


def test_all_is_well(capsys, cache):
    assert cli.main(["doctor"]) == 0
    report = capsys.readouterr().out
    for line in ("Versions", "Backends", "Kernels", "Processors", "Cache", "Extras"):
        assert f"\n{line}\n" in f"\n{report}"
    assert f"keras             {keras.__version__}" in report
    assert f"directory  {cache}" in report
    assert report.endswith("\nNothing to do.\n")


def test_for_machines(capsys, monkeypatch):
    monkeypatch.setenv("CC", "no-such-cc")
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert cli.main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["actions"] == ["OMP_NUM_THREADS='many' is not a number and is ignored"]
    assert report["sections"]["Kernels"]["in use"] == "/cache/kernels.so"
    assert "no program 'no-such-cc'" in report["sections"]["Kernels"]["compiler"]


def test_it_needs_no_keras():
    """It reports problems with Keras even if Keras cannot be imported."""
    code = """
import sys
from deepsphere import cli, doctor
doctor._ask_another_process = lambda: "it is broken"
print(cli.main(["doctor"]), "keras" in sys.modules)
"""
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.endswith("1 False\n")
    assert "it is broken" in run.stdout


def test_a_backend_that_is_missing(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    for module in (backends, doctor):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name == "torch" else name)
    assert the_action().startswith("KERAS_BACKEND asks for Keras' backend 'torch', which is not")
    monkeypatch.setenv("KERAS_BACKEND", "openvino")
    assert "does not run on the backend 'openvino', which KERAS_BACKEND selects" in the_action()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("raise SystemExit(3)", "exit status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended by signal 9"),
        ("import deepsphere.nothing", "No module named 'deepsphere.nothing'"),
        ("import time; time.sleep(60)", "it took more than 1 seconds"),
    ],
)
def test_a_backend_that_is_broken(program, message, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(doctor, "PROBE", program)
    monkeypatch.setattr(doctor, "PATIENCE", 1 if "sleep" in program else 60)
    found = doctor.Findings()
    doctor._backends(found)
    (action,) = found.actions
    assert action.startswith("a filter cannot be run on jax: ")
    assert message in action


def test_wrong_numbers(monkeypatch):
    for error in (0.3, float("nan")):
        monkeypatch.setattr(doctor, "_ask_another_process", lambda e=error: {**WELL, "error": e})
        assert "gives wrong numbers" in the_action()


def test_the_old_distribution(monkeypatch):
    real = doctor.metadata.version
    monkeypatch.setattr(
        doctor.metadata, "version", lambda name: "0.3" if name == "deepsphere" else real(name)
    )
    assert the_action().startswith("the distribution deepsphere 0.3 is installed too.")
    assert "pip uninstall deepsphere deepsphere-keras" in the_action()


def test_no_compiler(monkeypatch):
    def none():
        raise RuntimeError("there is no C compiler")

    monkeypatch.setattr(doctor, "find_compiler", none)
    warning = "running without compiled kernels: there is no C compiler"
    monkeypatch.setattr(
        doctor, "_ask_another_process", lambda: {**WELL, "library": "", "warnings": [warning]}
    )
    assert the_action() == warning  # said once
    found = doctor.examine().sections["Kernels"]
    assert found["in use"] == "none; the portable form runs instead"
    assert found["compiler"] == "none: there is no C compiler"
    monkeypatch.setenv("DEEPSPHERE_COMPILED", "off")
    assert "compiler" not in doctor.examine().sections["Kernels"]


def test_a_failure_that_is_remembered(cache):
    cache.mkdir(mode=0o700)
    log = cache / "kernels-core-0.log"
    log.write_text("error")
    assert str(log) in the_action()


def test_a_cache_that_is_damaged(cache):
    DiskCache(1).get({}, lambda: (csr_array((2, 2)), 1.0))
    (graph,) = cache.iterdir()
    assert not doctor.examine().actions
    graph.write_bytes(graph.read_bytes()[:-30])
    library = cache / f"kernels-core-{'0' * 32}-{'1' * 32}.so"
    library.write_bytes(b"")
    leftover = cache / f".graph-{'0' * 32}.npz"
    leftover.write_bytes(b"")
    os.utime(leftover, (time.time() - 7200,) * 2)
    found = doctor.examine()
    first, second = found.actions
    assert first.startswith(f"{graph} is damaged (")
    assert second.startswith(f"{library} is damaged (the file is damaged): delete it")
    assert found.sections["Cache"]["damaged"] == f"{graph.name}, {library.name}"
    assert found.sections["Cache"]["left over"].startswith("1 from killed processes")


@pytest.mark.skipif(os.name == "nt", reason="no modes there")
def test_a_cache_that_others_may_write_to(cache):
    cache.mkdir()
    cache.chmod(0o777)
    assert the_action().startswith(f"not using the cache directory {cache}: others may write to")


def test_a_cache_that_cannot_be_written(cache, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert the_action().startswith(f"{cache} is not writable")


def test_a_cache_that_is_off(monkeypatch):
    monkeypatch.setenv("DEEPSPHERE_CACHE", "off")
    found = doctor.examine()
    assert found.sections["Cache"] == {"directory": "none (DEEPSPHERE_CACHE=off)"}
    assert not found.actions


def test_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert the_action() == "OMP_NUM_THREADS='many' is not a number and is ignored"


def test_a_section_that_fails_leaves_the_others(monkeypatch):
    def fail():
        raise OSError("no processors")

    monkeypatch.setattr(doctor, "thread_count", fail)
    assert the_action() == "processors could not be examined: OSError('no processors')"
    assert "Extras" in doctor.examine().sections


def test_a_filter_in_another_process(monkeypatch):
    """Without mocks: backend, kernels and results of this installation."""
    monkeypatch.undo()
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    found = doctor._ask_another_process()
    assert found["backend"] == keras.backend.backend()
    assert found["error"] < doctor.TOLERANCE
    assert found["warnings"] == []
    assert "kernels-" in found["library"]


def test_all_extras_that_users_install_are_known():
    """The extras of the distribution, except backends and developers' extras."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    others = {*backends.BACKENDS, "demo", "bench", "notebooks", "docs", "dev"}
    assert set(doctor.EXTRAS) == set(project["optional-dependencies"]) - others


def test_compilers_are_told(monkeypatch):
    command = compiler.find_compiler()
    assert command[0] in doctor.examine().sections["Kernels"]["compiler"]
