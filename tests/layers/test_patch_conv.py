import keras
import numpy as np
import pytest

from deepsphere.layers import PatchConv, PatchConvTranspose
from deepsphere.sampling import Healpix
from harness import SINGLE, check_layer, relative_error, to_numpy

PART = Healpix(4, np.r_[0:16, 32:48])


def data(sampling, channels=3, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(sampling), channels)).astype(np.float32)


@pytest.mark.parametrize("p", [1, 2])
def test_patch_conv_is_a_strided_convolution(p):
    layer = PatchConv(5, p, sampling=PART)
    x = data(PART)
    y = layer(x)
    layer.bias.assign(np.arange(5.0))
    y = layer(x)
    kernel = to_numpy(layer.kernel).astype(float)
    assert kernel.shape == (4**p, 3, 5)
    assert y.shape == (3, 32 // 4**p, 5)
    expected = np.arange(5.0) + sum(x[:, j :: 4**p] @ kernel[j] for j in range(4**p))
    assert relative_error(y, expected) < SINGLE
    conv = keras.layers.Conv1D(5, 4**p, 4**p)
    conv.build(x.shape)
    conv.set_weights(layer.get_weights())
    assert relative_error(conv(x), to_numpy(y)) < SINGLE


@pytest.mark.parametrize("p", [1, 2])
def test_patch_conv_transpose_is_a_strided_transposed_convolution(p):
    layer = PatchConvTranspose(5, p, sampling=PART)
    x = data(PART)
    layer(x)
    layer.bias.assign(np.arange(5.0))
    y = layer(x)
    kernel = to_numpy(layer.kernel).astype(float)
    assert kernel.shape == (4**p, 5, 3)
    assert y.shape == (3, 32 * 4**p, 5)
    for j in range(4**p):
        assert relative_error(y[:, j :: 4**p], np.arange(5.0) + x @ kernel[j].T) < SINGLE
    conv = keras.layers.Conv1DTranspose(5, 4**p, 4**p)
    conv.build(x.shape)
    conv.set_weights(layer.get_weights())
    assert relative_error(conv(x), to_numpy(y)) < SINGLE


def test_one_is_the_transpose_of_the_other():
    down, up = (
        PatchConv(5, 1, sampling=PART, use_bias=False),
        PatchConvTranspose(3, 1, sampling=PART.coarsen()),
    )
    x, z = data(PART), data(PART.coarsen(), channels=5)
    y, _ = to_numpy(down(x)), up(z)
    up.set_weights([to_numpy(down.kernel), np.zeros(3)])
    assert np.sum(y * z) == pytest.approx(np.sum(x * to_numpy(up(z))), rel=1e-4)


@pytest.mark.parametrize("cls", [PatchConv, PatchConvTranspose])
def test_gates(cls, tmp_path):
    check_layer(lambda: cls(5, 1, sampling=PART, activation="tanh"), data(PART), tmp_path)


@pytest.mark.parametrize("cls", [PatchConv, PatchConvTranspose])
def test_filters_default_to_the_channels(cls):
    assert cls(sampling=PART)(data(PART)).shape[-1] == 3


def test_output_sampling():
    assert PatchConv(5, 2, sampling=PART).output_sampling == PART.coarsen(2)
    assert PatchConvTranspose(5, 2, sampling=PART).output_sampling == PART.refine(2)


@pytest.mark.parametrize("cls", [PatchConv, PatchConvTranspose])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"levels": 0}, ValueError, "levels must be at least 1, got 0"),
        ({"filters": -1}, ValueError, "filters must be at least 1, got -1"),
        ({"activation": "rleu"}, ValueError, "rleu"),
    ],
    ids=str,
)
def test_bad_arguments(cls, arguments, error, message):
    with pytest.raises(error, match=message):
        cls(**{"filters": 5, **arguments})


def test_resolution_must_exist():
    with pytest.raises(ValueError, match="has 2 coarser levels, got levels=3"):
        PatchConv(5, 3, sampling=Healpix(4))
    with pytest.raises(ValueError, match="not closed"):
        PatchConv(5, 1, sampling=Healpix(4, range(6)))


@pytest.mark.parametrize("cls", [PatchConv, PatchConvTranspose])
def test_bad_inputs(cls):
    with pytest.raises(ValueError, match=r"needs inputs of shape \(batch, 32, channels\)"):
        cls(5, sampling=PART)(np.zeros((2, 48, 3), np.float32))
