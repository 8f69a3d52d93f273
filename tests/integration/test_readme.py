"""The instructions in the README work."""

import re
from pathlib import Path

import healpy
import keras
import numpy as np
import pytest

README = Path(__file__).parents[2] / "README.md"


BASE = r"https://(?:github\.com|raw\.githubusercontent\.com)/deepsphere/deepsphere-keras/(?:blob/)?main/"
MOST_WORDS = 700


def code_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_all_examples_are_tested():
    assert len(code_blocks()) == 3


def test_short_and_with_links_that_work_elsewhere():
    text = README.read_text()
    prose = re.sub(r"^\[[a-z]+\]: .*$", "", text, flags=re.MULTILINE)
    assert len(prose.split()) <= MOST_WORDS
    targets = re.findall(r"\]\(([^)]+)\)|^\[[a-z]+\]: (.*)$", text, flags=re.MULTILINE)
    for target in map("".join, targets):
        assert target.startswith("https://"), target
        path = re.sub(BASE, "", target)
        assert path.startswith("https://arxiv.org/") or (README.parent / path).exists(), target
    used = set(re.findall(r"\]\[([a-z]+)\]|\n\[installation guide\]\[([a-z]+)\]", text))
    defined = re.findall(r"^\[([a-z]+)\]:", text, flags=re.MULTILINE)
    assert {"".join(names) for names in used} == set(defined)


def test_weather(monkeypatch):
    xarray = pytest.importorskip("xarray")
    rng = np.random.default_rng(0)
    coordinates = {"latitude": np.linspace(87.5, -87.5, 36), "longitude": np.arange(0, 360, 5.0)}
    dimensions = ("time", *coordinates)
    data = xarray.Dataset({"t2m": (dimensions, rng.normal(280, 10, (3, 36, 72)))}, coordinates)
    monkeypatch.setattr(xarray, "open_dataset", lambda _: data)
    names: dict = {}
    exec(code_blocks()[1].replace("epochs=10", "epochs=1, verbose=0"), names)
    assert names["model"].predict(names["x"], verbose=0).shape == (3, 36 * 72, 1)


def test_pytorch():
    pytest.importorskip("torch")
    names: dict = {}
    exec(code_blocks()[2], names)
    assert tuple(names["y"].shape) == (8, 3072, 2)


def test_example_trains_on_survey_maps(tmp_path, monkeypatch):
    code = code_blocks()[0]
    rng = np.random.default_rng(0)
    longitude, latitude = healpy.pix2ang(64, np.arange(12 * 64**2), lonlat=True)
    for i in range(3):
        sky = rng.standard_normal(12 * 64**2)
        sky[(latitude < 60) | (longitude > 180)] = healpy.UNSEEN  # a survey, RING
        healpy.write_map(tmp_path / f"sky{i}.fits", sky, dtype=np.float32)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code.replace("epochs=10", "epochs=1, verbose=0"), names)
    data, model = names["data"], names["model"]
    assert data.values.shape == (3, len(data.sampling), 1)
    assert 0.02 < data.observed.sum() / (12 * 64**2) < 0.05
    assert np.abs(data.values).max() < 10  # no UNSEEN reached the network
    loaded = keras.models.load_model("model.keras")
    assert loaded.sampling == data.sampling
    assert model.predict(data.values, verbose=0).shape == (3, 2)
