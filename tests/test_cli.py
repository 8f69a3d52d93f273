import json
import os
import subprocess
import sys

import keras
import pytest

import deepsphere
from deepsphere import cli
from harness import OTHERS


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == deepsphere.__version__


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nside", "12"], "nside must be a power of two"),
        (["--signal-to-noise", "-1"], "signal_to_noise must be positive"),
        (["--epochs", "0"], "epochs must be at least 1"),
    ],
)
def test_errors_are_one_line(capsys, tmp_path, arguments, message):
    assert cli.main(["demo", "--output", str(tmp_path), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("deepsphere: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_backend_starts_no_process_after_process(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(cli, "_current_backend", lambda: None)
    monkeypatch.setattr(subprocess, "run", None)  # cannot be called
    monkeypatch.delattr(deepsphere, "models")
    monkeypatch.setattr(deepsphere, "_missing_backend", "jax", raising=False)
    assert cli.main(["demo", "--backend", "jax", "--output", str(tmp_path)]) == 1
    assert "Keras' backend 'jax', which is not installed" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("other", OTHERS[-1:])
def test_demo_on_another_backend(other, tmp_path):
    """The command starts anew where Keras has already taken another backend."""
    command = [sys.executable, "-m", "deepsphere.cli", "demo", "--output", str(tmp_path)]
    small = ["--nside", "8", "--maps", "4", "--epochs", "1", "--backend", other]
    subprocess.run(
        [*command, *small],
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        check=True,
        capture_output=True,
    )
    assert json.loads((tmp_path / "metrics.json").read_text())["backend"] == other
