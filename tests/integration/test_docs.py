"""The code in the guides works."""

import re
from pathlib import Path

import healpy
import keras
import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"


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


def code_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_maps_to_a_footprint_and_back():
    maps = np.random.default_rng(0).standard_normal((2, 12 * 64**2))
    names: dict = {"maps": maps}
    exec(code_of("maps.md")[1], names)  # the first reads files, as in the README
    observed = healpy.reorder(names["observed"].astype(float), n2r=True) > 0.5
    np.testing.assert_array_equal(names["full"][:, observed], maps[:, observed])
    assert (names["full"][:, ~observed] == healpy.UNSEEN).all()
    assert names["values"].shape == (2, len(names["footprint"].sampling))


def test_the_functional_api(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code in code_of("functional.md"):
        exec(code.replace("np.zeros((4, 1))])", "np.zeros((4, 1))], verbose=0)"), names)
    sphere, loaded = names["sphere"], keras.models.load_model("two_outputs.keras")
    expected = [keras.ops.convert_to_numpy(y) for y in names["model"](names["x"])]
    for found, y in zip(loaded(names["x"]), expected, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), y)
    samplings = {id(layer.sampling) for layer in loaded.layers if hasattr(layer, "sampling")}
    assert len(samplings) == 2  # two resolutions
    assert names["stack"].output_sampling == sphere.coarsen()
    assert [int(mask.sum()) for mask in names["survey"].observed_outputs()] == [1000, 250]
    assert names["wide"].layers[2].far.sampling == sphere.coarsen()


def test_plain_pytorch():
    torch = pytest.importorskip("torch")
    names: dict = {}
    for code in code_of("pytorch.md"):
        exec(code, names)
    weight = np.asarray(keras.ops.convert_to_numpy(names["layer"].kernel)).reshape(1, 5, 16)
    found = names["model"][0].weight.detach().numpy()
    np.testing.assert_array_equal(found, weight.transpose(1, 0, 2))
    assert isinstance(names["model"], torch.nn.Module)


def test_pictures_are_there():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith(("http", "reference/")):  # the reference is generated
                assert (page.parent / target).exists(), f"{page.name} points to {target}"
