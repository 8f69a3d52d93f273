"""Which backend Keras will use, determined without importing it."""

import json
import os
import subprocess
import sys

import pytest

from deepsphere import _backends as backends
from deepsphere._backends import configured_backend, installed_backends, missing_backend


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path


def pretend(monkeypatch, *installed):
    monkeypatch.setattr(backends, "find_spec", lambda name: name if name in installed else None)


def test_configured(home, monkeypatch):
    assert configured_backend() == ("tensorflow", "Keras' default")
    (home / "keras.json").write_text(json.dumps({"backend": "jax"}))
    assert configured_backend() == ("jax", str(home / "keras.json"))
    for text in ("{}", "[]", "", '{"backend": ""}', "\\x00"):
        (home / "keras.json").write_text(text)
        assert configured_backend()[0] == "tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert configured_backend() == ("torch", "KERAS_BACKEND")


def test_keras_agrees(home):
    """Compared with the backend that Keras chooses."""
    (home / "keras.json").write_text(json.dumps({"backend": "jax"}))
    code = "import keras.src.backend.config as config; print(config.backend())"
    environment = {**os.environ, "KERAS_HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == configured_backend()[0]


def test_installed(monkeypatch):
    pretend(monkeypatch, "jax", "numpy", "tensorflow")
    assert installed_backends() == ["tensorflow", "jax"]


def test_what_to_do(monkeypatch):
    pretend(monkeypatch, "jax")
    assert missing_backend("torch") == (
        "Keras' backend 'torch', which is not installed. Either install it (pip install "
        "'deepsphere-keras[torch]'), or set the environment variable KERAS_BACKEND=jax before "
        "Keras is imported"
    )
    pretend(monkeypatch, "jax", "tensorflow")
    assert "KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax" in missing_backend("torch")
    pretend(monkeypatch)
    assert missing_backend("torch").endswith(", or another one: tensorflow, jax")
