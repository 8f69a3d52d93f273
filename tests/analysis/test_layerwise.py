import keras
import numpy as np
import pytest

from deepsphere.analysis import equivariance_error, layerwise, layerwise_equivariance
from deepsphere.analysis.harmonics import random_coefficients, synthesize
from deepsphere.layers import ChebyshevConv, Pool, SurveyMask
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix
from harness import SINGLE, relative_error, to_numpy

SPHERE = Healpix(8)


def smooth_maps(count, degree=4, channels=1):
    fields = random_coefficients(degree, count * channels, np.random.default_rng(0))
    return synthesize(fields, SPHERE.points).reshape(count, channels, -1).transpose(0, 2, 1)


def network(*layers):
    model = Sequential(SPHERE, layers, graph=8)
    model.build((None, len(SPHERE), 1))
    return model


def test_every_layer_is_listed_in_order():
    model = network(
        ChebyshevConv(3, 3, activation="relu"),
        Pool(),
        keras.layers.AveragePooling1D(4),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(2),
    )
    rows = layerwise_equivariance(model, smooth_maps(3), rotations=2)
    assert [row.name for row in rows] == [layer.name for layer in model.layers]
    assert [row.type for row in rows][1:4] == ["Pool", "AveragePooling1D", "GlobalAveragePooling1D"]
    assert [row.sampling for row in rows] == [SPHERE, Healpix(4), Healpix(2), None, None]
    assert all(0 < row.mean < 0.5 and row.deviation > 0 for row in rows)


def test_the_last_layer_has_the_error_of_the_whole():
    """On fields of one degree: both are means over random fields and rotations."""
    model = network(ChebyshevConv(3, 3, activation="relu"), Pool())
    last = layerwise_equivariance(model, smooth_maps(40), rotations=1)[-1]
    whole = equivariance_error(model, SPHERE, [4], 40, "rotation")
    spread = np.hypot(last.deviation, whole.deviation[0]) / np.sqrt(40)
    assert spread < 0.1 * last.mean
    assert abs(last.mean - whole.mean[0]) < 5 * spread


def test_what_is_equivariant_has_no_error():
    # Mixes channels in each pixel alike.
    mixing = keras.layers.Dense(3, use_bias=False)
    model = network(mixing, keras.layers.GlobalMaxPooling1D())
    mixed, largest = layerwise_equivariance(model, smooth_maps(2))
    assert mixed.mean < 1e-12  # single precision squared
    assert 1e-6 < largest.mean < 0.01  # the largest value lies between pixels


def test_maps_are_limited_to_the_band_first():
    model = network(keras.layers.Dense(1))
    noise = np.random.default_rng(0).normal(size=(2, len(SPHERE), 1))
    assert layerwise_equivariance(model, noise)[0].mean < 1e-12


def test_fixed_positions_are_found_out():
    """A layer that flattens depends on positions, so nothing after it is equivariant."""
    model = network(ChebyshevConv(1, 3), keras.layers.Flatten(), keras.layers.Dense(4))
    conv, flat, dense = layerwise_equivariance(model, smooth_maps(4))
    assert conv.mean < 0.05
    # Two maps of the same power that have nothing in common differ by twice their power.
    assert flat.mean == pytest.approx(2, abs=0.5)
    assert dense.mean > 0.5


def test_masks_are_passed_on():
    """The last output is the model's, whose mask hides some pixels from all layers."""
    observed = np.arange(len(SPHERE)) % 5 > 0
    model = network(SurveyMask(observed), ChebyshevConv(2, 3), Pool())
    maps = smooth_maps(2)
    *_, last = layerwise._outputs(model, maps)
    assert relative_error(model(maps.astype("float32")), last) < SINGLE
    forgetful = maps
    for layer in model.layers:
        forgetful = to_numpy(layer(forgetful.astype("float32")))
    assert relative_error(forgetful, last) > 0.01


def test_batches_and_the_seed(monkeypatch):
    model = network(ChebyshevConv(2, 3))
    maps = smooth_maps(3)
    whole = layerwise_equivariance(model, maps)
    monkeypatch.setattr(layerwise, "BATCH", 2)
    np.testing.assert_allclose(layerwise_equivariance(model, maps)[0].mean, whole[0].mean, 1e-4)
    assert layerwise_equivariance(model, maps, seed=1)[0].mean != whole[0].mean


def test_errors():
    model = network(ChebyshevConv(2, 3))
    with pytest.raises(TypeError, match=r"must be a stack of layers.* got ChebyshevConv"):
        layerwise_equivariance(model.layers[0], smooth_maps(1))
    with pytest.raises(ValueError, match=r"shape \(batch, 768, channels\).* got shape \(768,\)"):
        layerwise_equivariance(model, smooth_maps(1)[0, :, 0])
    with pytest.raises(ValueError, match="rotations must be at least 1"):
        layerwise_equivariance(model, smooth_maps(1), rotations=0)
    with pytest.raises(ValueError, match="is not built"):
        layerwise_equivariance(Sequential(SPHERE, [ChebyshevConv(2, 3)]), smooth_maps(1))
    plain = keras.Sequential([keras.Input((768, 1)), keras.layers.Dense(2)])
    with pytest.raises(TypeError, match="sampling must be the sampling of the maps"):
        layerwise_equivariance(plain, smooth_maps(1))
    assert len(layerwise_equivariance(plain, smooth_maps(1), SPHERE)) == 1
    cut = network(keras.layers.Cropping1D((0, 4)))
    with pytest.raises(ValueError, match=r"returns 764 pixels for Healpix.nside=8."):
        layerwise_equivariance(cut, smooth_maps(1))
