import numpy as np
import pytest

from deepsphere.layers import Pool
from deepsphere.layers.vision_transformer import VisionTransformer
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix
from harness import SINGLE, check_layer, relative_error, to_numpy
from transformer_truth import block_truth, freeze_key_biases, move_weights, weights_of

PART = Healpix(4, np.r_[0:64, 96:112])


def data(sampling, channels=3, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(sampling), channels)).astype(np.float32)


def built(sampling=PART, levels=1, **arguments):
    layer = VisionTransformer(
        3, 2, levels, sampling=sampling, **{"activation": "tanh", "num_layers": 2, **arguments}
    )
    layer.build((None, len(sampling), 3))
    return move_weights(layer)


def truth(layer, x, mask=None):
    x = x.astype(float)
    if mask is not None:
        x = np.where(mask[..., None], x, 0)
        mask = mask.reshape(len(x), -1, 4**layer.levels).any(axis=2)
    kernel, bias = weights_of(layer.embedding)
    patches = x.reshape(len(x), -1, 4**layer.levels, x.shape[2])
    x = np.einsum("bnkc,kcf->bnf", patches, kernel) + bias
    if layer.position is not None:
        x = x + weights_of(layer.position)[0]
    for block in layer.blocks:
        x = block_truth(x, block, np.tanh, mask=mask)
    return x


def some_mask(x, p):
    """A mask with partly observed, fully observed and unobserved super-pixels."""
    rng = np.random.default_rng(1)
    coarse = rng.random((len(x), x.shape[1] // 4**p)) < 0.6
    return np.repeat(coarse, 4**p, axis=1) & (rng.random(x.shape[:2]) < 0.6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize(
    "arguments", [{}, {"normalization": None}, {"position_embedding": False}], ids=str
)
def test_output_is_that_of_the_definition(arguments, p, masked):
    layer, x = built(levels=p, **arguments), data(PART)
    mask = some_mask(x, p) if masked else None
    y, expected = to_numpy(layer(x, mask=mask)), truth(layer, x, mask)
    seen = slice(None) if mask is None else to_numpy(layer.compute_mask(x, mask))
    assert relative_error(y[seen], expected[seen]) < SINGLE


@pytest.mark.slow  # JAX compiles each operation of each precision
def test_gates(tmp_path):
    def make():
        layer = VisionTransformer(3, 2, 1, sampling=PART, activation="tanh", name="vit")
        layer.build((None, len(PART), 3))
        return freeze_key_biases(layer)

    check_layer(make, data(PART), tmp_path)


def test_nan_outside_the_mask_goes_nowhere():
    layer, x = built(), data(PART)
    mask = some_mask(x, 1)
    mask[2] = False  # nothing observed at all
    hidden = np.where(mask[..., None], x, np.float32(np.nan))
    y, expected = to_numpy(layer(hidden, mask=mask)), to_numpy(layer(x, mask=mask))
    assert np.isfinite(y).all()
    coarse = to_numpy(layer.compute_mask(x, mask))
    assert coarse.shape == (3, 20)
    np.testing.assert_array_equal(y[coarse], expected[coarse])
    assert np.abs(to_numpy(layer(x))[coarse] - y[coarse]).max() > 1e-3


def test_output_sampling_in_a_model():
    model = Sequential(Healpix(8), [VisionTransformer(3, 2, 2), Pool()])
    model.build((None, 768, 2))
    assert model.output_shape == (None, 12, 6)
    assert built(levels=2).output_sampling == PART.coarsen(2)
    assert VisionTransformer(3, 2, 2, sampling=Healpix(8)).compute_output_shape((None, 768, 2)) == (
        None,
        48,
        6,
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"levels": 0}, ValueError, "levels must be at least 1, got 0"),
        ({"levels": 1.5}, TypeError, "levels must be an integer, got 1.5"),
        ({"levels": 3, "sampling": Healpix(4)}, ValueError, "has 2 coarser levels, got levels=3"),
        ({"key_dim": 0}, ValueError, "key_dim must be at least 1, got 0"),
        ({"num_heads": 0}, ValueError, "num_heads must be at least 1, got 0"),
        ({"num_layers": 0}, ValueError, "num_layers must be at least 1, got 0"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        VisionTransformer(**{"key_dim": 3, "num_heads": 2, "levels": 1, **arguments})


def test_bad_inputs():
    with pytest.raises(ValueError, match=r"needs inputs of shape \(batch, 80, channels\)"):
        VisionTransformer(3, 2, 1, sampling=PART)(np.zeros((2, 12, 3), np.float32))
