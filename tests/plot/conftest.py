import sys

import matplotlib
import pytest


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
