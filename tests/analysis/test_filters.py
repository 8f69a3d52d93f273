import numpy as np
import pytest

from deepsphere.analysis import (
    filter_coefficients,
    filter_response,
    localized_filters,
    spectral_bound,
)
from deepsphere.graph import laplacian
from deepsphere.layers import BernsteinConv, ChebyshevConv, MonomialConv, Pool
from deepsphere.sampling import Healpix
from harness import SINGLE, relative_error, to_numpy

PART = Healpix(4, np.r_[0:16, 32:64])


def built(cls, **arguments):
    layer = cls(3, 4, PART, neighbors=8, use_bias=False, **arguments)
    layer.build((None, len(PART), 2))
    return layer


@pytest.mark.parametrize("cls", [ChebyshevConv, MonomialConv, BernsteinConv])
@pytest.mark.parametrize("scale", [0.75, 1.0])
def test_response_multiplies_eigenvectors(cls, scale):
    layer = built(cls, scale=scale)
    values, vectors = np.linalg.eigh(laplacian(PART, 8).toarray())
    assert spectral_bound(layer) == pytest.approx(values[-1], rel=1e-6)
    response = filter_response(layer, values)
    for i in (0, 20, len(values) - 1):
        x = np.zeros((1, len(PART), 2), np.float32)
        x[0, :, 1] = vectors[:, i]
        expected = vectors[:, i, None] * response[i, 1]
        assert relative_error(layer(x)[0], expected) < SINGLE


@pytest.mark.parametrize("cls", [ChebyshevConv, MonomialConv, BernsteinConv])
def test_localized_filters_are_responses_to_impulses(cls):
    layer = built(cls)
    filters = localized_filters(layer, 7)
    assert filters.shape == (len(PART), 2, 3)
    for channel in range(2):
        x = np.zeros((1, len(PART), 2), np.float32)
        x[0, 7, channel] = 1
        assert relative_error(layer(x)[0], filters[:, channel]) < SINGLE


def test_coefficients():
    layer = built(MonomialConv)
    kernel = to_numpy(layer.kernel)
    coefficients = filter_coefficients(layer)
    assert coefficients.shape == (5, 2, 3)
    for channel in range(2):
        for k in range(5):
            np.testing.assert_array_equal(coefficients[k, channel], kernel[channel * 5 + k])


def test_errors():
    with pytest.raises(TypeError, match="must be a graph convolution, got Pool"):
        filter_coefficients(Pool(sampling=PART))
    with pytest.raises(ValueError, match="has no weights yet"):
        filter_coefficients(ChebyshevConv(3, sampling=PART))
    with pytest.raises(ValueError, match="position must be from 0 to 47, got 48"):
        localized_filters(built(ChebyshevConv), 48)
