"""What the guides tell to do works."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"


def run(page: str, section: str) -> dict:
    """Return what the code of a section defines."""
    text = (DOCS / page).read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    exec(code, names)
    return names


def test_each_way_to_say_which_graph():
    run("samplings.md", "Which graph")


def test_the_number_of_neighbors_for_an_error():
    names = run("equivariance.md", "How many neighbors")
    assert names["model"].graph_spec == names["graph"]
    assert names["choose_neighbors"](names["sphere"], names["graph"]) == 16  # as it says there


def test_maps_from_and_to_xarray():
    pytest.importorskip("xarray")
    names = run("samplings.md", "From and to xarray")
    assert repr(names["grid"]) == "Equiangular(nlat=36, nlon=72, grid='soft')"
    result, grid = names["result"], names["grid"]
    assert dict(result.sizes) == {"cells": 3072, "time": 2}
    # The integral is kept, to single precision.
    integral = grid.areas @ names["values"][0]
    maps = keras.ops.convert_to_numpy(names["maps"])[0, :, 0]
    np.testing.assert_allclose(maps.sum() * 4 * np.pi / 3072, integral, rtol=1e-6)


def test_pictures_are_there():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} points to {target}"
