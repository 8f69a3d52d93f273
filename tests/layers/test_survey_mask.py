"""Masks of surveys."""

import numpy as np
import pytest

from deepsphere.layers import (
    SurveyMask,
)
from deepsphere.sampling import Footprint, Healpix, regions
from harness import check_layer

FOOTPRINT = Footprint.from_mask(
    regions.disc(Healpix(8), lon=20, lat=35, radius=40), coarse_nside=2, nest=True
)


SAMPLING, OBSERVED = FOOTPRINT.sampling, FOOTPRINT.observed


def data(channels=2, batch=3, outside=0.0):
    x = np.random.default_rng(0).standard_normal((batch, len(SAMPLING), channels))
    x[:, ~OBSERVED] = outside
    return x.astype(np.float32)


def test_survey_mask_passes_the_gates(tmp_path):
    check_layer(lambda: SurveyMask(OBSERVED, sampling=SAMPLING), data(outside=1.0), tmp_path)


def test_survey_mask_of_a_masked_array():
    mask = np.ma.masked_array(np.ones(len(SAMPLING), bool), mask=~OBSERVED)
    layer = SurveyMask(mask, sampling=SAMPLING)
    np.testing.assert_array_equal(layer.compute_mask(data())[0], OBSERVED)


def test_survey_masks_combine():
    other = np.random.default_rng(3).random((3, len(SAMPLING))) < 0.5
    layer = SurveyMask(OBSERVED, sampling=SAMPLING)
    np.testing.assert_array_equal(layer.compute_mask(data(), other), other & OBSERVED)


def test_survey_mask_in_json_is_small():
    sampling = Healpix(256)
    mask = regions.disc(sampling, 0, 0, 60)
    assert len(SurveyMask(mask, sampling=sampling).get_config()["mask"]) < 20_000


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones(5), "must hold one bool per pixel.*got float64"),
        (np.zeros(len(SAMPLING), bool), "at least one of them True"),
        (np.ones(5, bool), "mask has 5 pixels, but the sampling"),
        ("galactic", "must be an array of bool, .* got 'galactic'"),
        ("-3:", "must be an array of bool, .* got '-3:'"),
    ],
)
def test_bad_masks(mask, message):
    with pytest.raises(ValueError, match=message):
        SurveyMask(mask, sampling=SAMPLING)
