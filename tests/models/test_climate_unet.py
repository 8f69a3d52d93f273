"""The papers' U-Net: its size, its gates, and masks."""

import numpy as np
import pytest

from deepsphere.models import ClimateUNet
from deepsphere.sampling import Healpix, Icosahedral
from harness import SINGLE, check_fit, check_saving, relative_error, to_numpy


def data(pixels, channels=2):
    return np.random.default_rng(0).standard_normal((3, pixels, channels)).astype(np.float32)


def small(mask=None):
    return ClimateUNet(Healpix(4), filters=(4, 5), order=1, graph=3, mask=mask)


def test_has_the_weights_of_the_papers_code():
    """SphericalUNet has 5 763 491 weights, including 2 without effect per normalized channel."""
    model = ClimateUNet(Icosahedral(5))
    model.build((None, 10242, 16))
    normalized = 32 + 64 + 128 + 256 + 512 + 512 + 2 * (512 + 256 + 128 + 64) + 32
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trained == 5_763_491 - 2 * normalized
    shapes = [tuple(layer.kernel.shape) for layer in (model.first, *model.down, model.bottom)]
    assert shapes == [
        *((48, 32), (96, 64), (192, 128), (384, 256), (768, 512), (1536, 512), (1536, 512))
    ]
    assert len(model.bottom.sampling) == 12
    assert model.bottom.normalization is None
    assert [layer.filters for layer in model.after] == [512, 256, 128, 64]
    assert [int(layer.kernel.shape[0]) // 3 for layer in model.after] == [1024, 768, 384, 192]
    assert tuple(model.up.kernel.shape) == (192, 32)
    assert tuple(model.last.kernel.shape) == (96, 3)


def test_gates(tmp_path):
    x = data(192)
    check_fit(small, x)
    check_saving(small, x, tmp_path)


def test_probabilities():
    y = to_numpy(small()(data(192)))
    np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-6)  # float32
    assert y.min() > 0


def test_what_was_not_observed_changes_nothing():
    mask = np.arange(192) < 96
    model, x = small(mask), data(192)
    y = to_numpy(model(x))
    x[:, 96:] = np.nan
    assert relative_error(model(x), y) < SINGLE
    assert not y[:, 96:].any()


def test_errors():
    with pytest.raises(ValueError, match="the first of filters must be even, got 3"):
        ClimateUNet(Healpix(4), filters=(3, 4))
    with pytest.raises(ValueError, match="goes down 5 levels"):
        ClimateUNet(Healpix(4))
