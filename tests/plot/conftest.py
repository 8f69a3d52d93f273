import sys

import matplotlib
import numpy as np
import pytest

from deepsphere.plot import filters
from deepsphere.sampling import Healpix
from numpy_filters import NumpyFilters


def parameters():
    # Past the mapping's own access, which would choose a backend and import pyplot.
    return dict(dict.items(matplotlib.rcParams))


@pytest.fixture(autouse=True)
def global_state_is_left_alone():
    before = parameters()
    yield
    assert parameters() == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


@pytest.fixture
def numpy_analysis(monkeypatch):
    """The analysis of layers, replaced by what `NumpyFilters` know of themselves."""
    fakes = {
        "graph_convolutions": lambda layer, model: {layer.name: layer},
        "filter_coefficients": lambda layer: layer.coefficients,
        "response_of": lambda coefficients, layer, values: layer.response(values, coefficients),
        "localize": lambda coefficients, layer, position: layer.localized(position, coefficients),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(filters, name, fake)


@pytest.fixture(scope="module")
def layer():
    return NumpyFilters(Healpix(8))


@pytest.fixture(scope="module")
def partial():
    full = Healpix(8)
    pixels = np.flatnonzero(full.points @ [0.48, -0.36, 0.8] > 0.8)
    return NumpyFilters(Healpix(8, pixels))
