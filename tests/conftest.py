"""Every test starts from the same seed, and large graphs are kept in a directory of the run."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(autouse=True, scope="session")
def _own_graph_cache(tmp_path_factory: pytest.TempPathFactory):
    os.environ["DEEPSPHERE_CACHE"] = str(tmp_path_factory.mktemp("graphs"))


@pytest.fixture
def seeded():
    """Seed whatever backend Keras runs on."""
    import keras

    keras.utils.set_random_seed(0)
