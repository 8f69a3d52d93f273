"""Fixtures: every test starts from the same seed, and graphs are cached for the run."""

import gc
import os
import sys

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("DEEPSPHERE_COMPILED", "on")  # no test may pass by falling back


def pytest_collection_finish() -> None:
    """Let the garbage collector skip the libraries: Keras and some tests call it explicitly."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _own_graph_cache(tmp_path_factory: pytest.TempPathFactory):
    os.environ["DEEPSPHERE_CACHE"] = str(tmp_path_factory.mktemp("graphs"))


@pytest.fixture(autouse=True)
def _own_random_numbers():
    """Seed the backend that Keras runs on, so that a test that passes once passes again."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)
    else:
        np.random.seed(0)  # noqa: NPY002


@pytest.fixture(params=["compiled", "portable"])
def engine(request, monkeypatch):
    """Run a test with the compiled functions, and with the portable ones that replace them."""
    from deepsphere.ops import filters

    if request.param == "portable":
        monkeypatch.setattr(filters._operations.compiled, "available", lambda *_: False)
    return request.param
