"""What the README tells a new user to do works."""

import re
from pathlib import Path

import healpy
import keras
import numpy as np

README = Path(__file__).parents[1] / "README.md"


def code_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_all_examples_are_tested():
    assert len(code_blocks()) == 2


def test_maps_to_a_footprint_and_back():
    maps = np.random.default_rng(0).standard_normal((2, 12 * 64**2))
    names: dict = {"maps": maps}
    exec(code_blocks()[1], names)
    observed = healpy.reorder(names["observed"].astype(float), n2r=True) > 0.5
    np.testing.assert_array_equal(names["full"][:, observed], maps[:, observed])
    assert (names["full"][:, ~observed] == healpy.UNSEEN).all()
    assert names["values"].shape == (2, len(names["footprint"].sampling))


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
