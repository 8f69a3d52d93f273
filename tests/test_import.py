"""What ``import deepsphere`` does and does not do, each in a process of its own."""

import os
import subprocess
import sys

import keras
import pytest

import deepsphere

BACKENDS = ("tensorflow", "jax", "torch")
WITHOUT = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *rest: None if name.split(".")[0] in {missing} else find(name, *rest)
)
"""


def run(code):
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_public_names():
    for name in deepsphere.__all__:
        assert getattr(deepsphere, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        deepsphere.nothing  # noqa: B018


def test_one_backend_is_enough_to_load_a_model(tmp_path):
    """With the two other backends not installed, and nothing but the package imported."""
    path = tmp_path / "model.keras"
    model = deepsphere.Sequential(deepsphere.Healpix(2), [deepsphere.layers.ChebyshevConv(2, 1)])
    model.build((None, 48, 1))
    model.save(path)
    backend = keras.backend.backend()
    others = [name for name in BACKENDS if name != backend]
    code = WITHOUT.format(missing=others) + (
        "import deepsphere, numpy\n"
        "import keras\n"
        f"model = keras.models.load_model({str(path)!r})\n"
        "assert model(numpy.ones((1, 48, 1), 'float32')).shape == (1, 48, 2)\n"
        f"import sys; assert not set(sys.modules) & set({others})\n"
    )
    run(code)


def test_missing_backend_is_named_when_it_is_needed():
    backend = keras.backend.backend()
    code = WITHOUT.format(missing=[backend]) + (
        "import deepsphere\n"
        "print(len(deepsphere.Healpix(2)), deepsphere.graph.laplacian(deepsphere.Healpix(2)).nnz)\n"
        "try:\n"
        "    deepsphere.HealpyGCNN\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    output = run(code)
    assert output.startswith("48 ")
    assert f"deepsphere-keras[{backend}]" in output
    assert "KERAS_BACKEND" in output


def test_import_changes_no_global_state():
    """Beside what Keras itself does; and optional libraries stay out until they are used."""
    code = """
import keras, logging, os, warnings, sys, numpy
def state():
    return (logging.root.level, list(logging.root.handlers), list(warnings.filters),
            dict(os.environ), numpy.get_printoptions(), numpy.random.get_state()[1].tolist())
before, modules = state(), set(sys.modules)
import deepsphere
assert state() == before
new = {name.split(".")[0] for name in set(sys.modules) - modules}
assert not new & {"healpy", "camb", "glass", "matplotlib", "sklearn", "tqdm"}, new
"""
    run(code)
