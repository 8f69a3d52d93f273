"""What ``import deepsphere`` does and does not do, each in a process of its own."""

import os
import subprocess
import sys

import pytest

import deepsphere
from deepsphere._backends import installed_backends

BACKENDS = ("tensorflow", "jax", "torch")
INSTALLED = installed_backends()
QUICK = "jax" if "jax" in INSTALLED else INSTALLED[-1]  # Keras imports twice as fast with it
WITHOUT = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *rest: None if name.split(".")[0] in {missing} else find(name, *rest)
)
"""


def run(code, backend=QUICK):
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": backend},
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


@pytest.mark.parametrize("backend", INSTALLED)
def test_one_backend_is_enough_to_load_a_model(backend, tmp_path):
    """The two other backends are not installed, and only the package is imported."""
    path = tmp_path / "model.keras"
    model = deepsphere.Sequential(deepsphere.Healpix(2), [deepsphere.layers.ChebyshevConv(2, 1)])
    model.build((None, 48, 1))
    model.save(path)
    others = [name for name in BACKENDS if name != backend]
    code = WITHOUT.format(missing=others) + (
        "import deepsphere, numpy\n"
        "import keras\n"
        f"model = keras.models.load_model({str(path)!r})\n"
        "assert model(numpy.ones((1, 48, 1), 'float32')).shape == (1, 48, 2)\n"
        f"import sys; assert not set(sys.modules) & set({others})\n"
    )
    run(code, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_missing_backend_is_named_when_it_is_needed(backend):
    code = WITHOUT.format(missing=[backend]) + (
        "import deepsphere\n"
        "print(len(deepsphere.Healpix(2)), deepsphere.graph.laplacian(deepsphere.Healpix(2)).nnz)\n"
        "for name in ('HealpyGCNN', 'layers', 'HealpyGCNN'):\n"
        "    try:\n"
        "        getattr(deepsphere, name)\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
        "try:\n"
        "    import keras\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error.__notes__)\n"
    )
    first, *messages = run(code, backend).splitlines()
    assert first.startswith("48 ")
    assert len(messages) == 4
    for message in messages:
        assert f"deepsphere-keras[{backend}]" in message
        assert all(f"KERAS_BACKEND={name}" in message for name in set(INSTALLED) - {backend})
        assert f"KERAS_BACKEND={backend}" not in message


@pytest.mark.parametrize(
    "code",
    [
        "import deepsphere\nimport keras",
        "import deepsphere.layers",
        "from deepsphere.plot import plot_map",
    ],
)
def test_keras_knows_all_our_classes(code):
    """Whichever part is imported first."""
    code += """
import sys
from keras.saving import get_registered_object
names = ["ChebyshevConv", "Sequential", "HealpyGCNN", "HealpyChebyshev", "Chebyshev", "Graph_ViT"]
missing = [name for name in names if get_registered_object(f"deepsphere>{name}") is None]
assert not missing, missing
assert not [finder for finder in sys.meta_path if type(finder).__module__ == "deepsphere._loading"]
assert sys.modules["keras"].__loader__.get_source("keras")
"""
    run(code)


def test_samplings_and_graphs_need_no_keras():
    """Importing the package itself does not even import NumPy."""
    code = """
import sys
import deepsphere
assert "numpy" not in sys.modules
assert {"Healpix", "layers", "__version__"} <= {*dir(deepsphere), "__version__"}
from deepsphere import Healpix, graph
import deepsphere.data
graph.laplacian(Healpix(2))
heavy = {"keras", "tensorflow", "jax", "torch", "matplotlib", "astropy"} & set(sys.modules)
assert not heavy - {"astropy"}, heavy
"""
    run(code)


def test_a_part_that_is_not_there():
    code = """
import deepsphere
try:
    import deepsphere.nothing
except ModuleNotFoundError as error:
    assert error.name == "deepsphere.nothing"
import keras  # the finder still waits
from keras.saving import get_registered_object
assert get_registered_object("deepsphere>ChebyshevConv")
"""
    run(code)


def test_what_fails_with_us_does_not_stop_keras():
    code = """
import sys
import deepsphere
sys.modules["deepsphere.ops"] = None
import keras
try:
    deepsphere.layers
except ImportError as error:
    print(error)
"""
    assert "deepsphere.ops" in run(code)


def test_import_changes_no_global_state():
    """Apart from what Keras changes; optional libraries are imported on first use."""
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
