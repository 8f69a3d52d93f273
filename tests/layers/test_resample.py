"""Resampling of maps with gaps, compared with NumPy, and its gradients."""

import keras
import numpy as np
import pytest

from deepsphere.layers import Resample
from deepsphere.sampling import Equiangular, Healpix, Icosahedral
from deepsphere.sampling.missing import UNSEEN
from deepsphere.sampling.resampling import METHODS, interpolation_matrix
from harness import SINGLE, gradients, relative_error, to_numpy

GRID, SPHERE = Equiangular(8, 16), Healpix(4)


def gappy(source=GRID, value=np.nan):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, len(source), 3)).astype("float32")
    x[rng.random(x.shape) < 0.4] = value  # other gaps in each map and channel
    x[1, :40] = value
    return x


def means_of_what_is_there(matrix, x):
    there = ~(np.isnan(x) | (x < -1e30))
    values = matrix.toarray() @ np.where(there, x, 0).astype(float)
    shares = matrix.toarray() @ there
    with np.errstate(invalid="ignore"):
        return np.where(shares > 0, values / shares, np.nan)


@pytest.mark.parametrize("method", METHODS)
def test_values(method):
    x = np.random.default_rng(0).standard_normal((2, len(GRID), 3)).astype("float32")
    y = Resample(SPHERE, method, sampling=GRID)(x)
    truth = interpolation_matrix(GRID, SPHERE, method).toarray() @ x.astype(float)
    assert relative_error(y, truth) < SINGLE


@pytest.mark.parametrize("value", [np.nan, UNSEEN])
@pytest.mark.parametrize("method", ["conservative", "bilinear", "nearest"])
def test_missing_values_are_skipped(method, value, engine):
    x = gappy(value=value)
    y = to_numpy(Resample(SPHERE, method, sampling=GRID, skip_missing=True)(x))
    truth = means_of_what_is_there(interpolation_matrix(GRID, SPHERE, method), x)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(truth))
    assert 0 < np.isnan(truth).mean() < 0.6
    there = ~np.isnan(truth)
    assert relative_error(y[there], truth[there]) < SINGLE


def test_by_default_nan_spreads_as_far_as_weights_do(engine):
    x = gappy()
    y = to_numpy(Resample(SPHERE, sampling=GRID)(x))
    reach = interpolation_matrix(GRID, SPHERE).toarray() > 0
    np.testing.assert_array_equal(np.isnan(y), reach @ np.isnan(x))


def test_gradients_have_no_nan(engine):
    x = gappy()
    layer = Resample(SPHERE, sampling=GRID, skip_missing=True)
    layer.build(x.shape)
    weights = np.random.default_rng(1).standard_normal((2, len(SPHERE), 3)).astype("float32")
    matrix = interpolation_matrix(GRID, SPHERE).toarray()
    there = ~np.isnan(x)
    shares = matrix @ there
    weights[shares == 0] = 0  # a loss leaves out what is NaN

    def call(x):
        y = layer(x)
        return keras.ops.where(keras.ops.isnan(y), keras.ops.zeros_like(y), y)

    _, (dx,) = gradients(call, [x], weights, "eager")
    truth = there * (matrix.T @ np.where(shares > 0, weights / np.maximum(shares, 1e-9), 0))
    assert relative_error(dx, truth) < SINGLE


def test_masks_and_missing_values_together():
    x = gappy()
    mask = np.random.default_rng(2).random((2, len(GRID))) < 0.7
    mask[0, :70] = False
    layer = Resample(SPHERE, sampling=GRID, skip_missing=True)
    y = to_numpy(layer(x, mask=mask))
    seen = to_numpy(layer.compute_mask(x, mask))
    np.testing.assert_array_equal(seen, (interpolation_matrix(GRID, SPHERE) @ mask.T).T > 0)
    truth = means_of_what_is_there(
        interpolation_matrix(GRID, SPHERE), np.where(mask[..., None], x, np.nan)
    )
    truth[~seen] = 0
    assert (~seen).any()
    np.testing.assert_allclose(y, truth, rtol=1e-4, atol=1e-5)


def test_parts_of_the_sphere():
    part = SPHERE.subset(np.arange(80))
    with pytest.raises(ValueError, match="or skip_missing=True in the layer Resample"):
        Resample(GRID, sampling=part)(np.ones((1, 80, 1), "float32"))
    y = to_numpy(Resample(GRID, sampling=part, skip_missing=True)(np.ones((1, 80, 1), "f4")))
    covered = np.diff(interpolation_matrix(part, GRID, allow_uncovered=True).indptr) > 0
    np.testing.assert_array_equal(np.isnan(y[0, :, 0]), ~covered)
    np.testing.assert_allclose(y[0, covered, 0], 1, rtol=1e-6)


def test_half_precision_has_shares_of_its_own():
    x = gappy(Icosahedral(2)).astype("float16")
    layer = Resample(Healpix(1), sampling=Icosahedral(2), skip_missing=True, dtype="float16")
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    matrix = interpolation_matrix(Icosahedral(2), Healpix(1))
    truth = means_of_what_is_there(matrix, x.astype(float))
    np.testing.assert_allclose(to_numpy(y), truth, rtol=2e-3, atol=1e-3)


def test_configuration():
    layer = Resample(SPHERE, "bilinear", sampling=GRID, skip_missing=True)
    again = Resample.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.skip_missing is True
    del (old := layer.get_config())["skip_missing"]  # as saved before there was the argument
    assert Resample.from_config(old).skip_missing is False
