"""The classical reduced Gaussian grids of ECMWF."""

import numpy as np
import pytest

from deepsphere.sampling import ReducedGaussian
from deepsphere.sampling.classical_rings import NUMBERS, classical_rings

# Points of whole grids, as GRIB files of these resolutions have them (numberOfDataPoints).
POINTS = {
    32: 6_114,
    48: 13_280,
    80: 35_718,
    128: 88_838,
    160: 138_346,
    320: 542_080,
    640: 2_140_702,
}


@pytest.mark.parametrize("number", NUMBERS)
def test_rings_grow_toward_the_equator(number):
    rings = classical_rings(number)
    assert len(rings) == number
    assert (np.diff(rings) >= 0).all()
    assert rings[-1] == 4 * number
    for size in np.unique(rings):  # fast Fourier transforms need small factors
        for factor in (2, 3, 5):
            while size % factor == 0:
                size //= factor
        assert size in (1, 7)


@pytest.mark.parametrize("number", sorted(POINTS.keys() & set(NUMBERS)))
def test_number_of_points(number):
    assert 2 * classical_rings(number).sum() == POINTS[number]
    if number <= 48:
        assert len(ReducedGaussian(number, "classical")) == POINTS[number]
