"""The recurrent U-Net."""

import keras
import numpy as np
import pytest

from deepsphere.layers import GraphConvLSTM
from deepsphere.models import TemporalUNet, UNet
from deepsphere.sampling import Healpix, extend_pixels
from harness import QUICK, SINGLE, check_saving, relative_error, to_numpy, trainings

PART = Healpix(4, extend_pixels([0, 20, 100, 101], 4, 1, nest=True))
POINTS = len(PART)
OTHER = {"block": "residual", "skip": "add", "pooling": "mean", "unpooling": "repeat"}
OBSERVED = np.random.default_rng(2).random(POINTS) < 0.6


def data(steps=2, channels=2, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, steps, POINTS, channels)).astype(np.float32)


def small(outputs=2, channels=2, **options):
    model = TemporalUNet(PART, outputs, **{"filters": (3, 4), "order": 2, "graph": 4} | options)
    model.build((None, 2, POINTS, channels))
    return model


@pytest.mark.parametrize("options", [{}, OTHER], ids=["paper", "other"])
def test_values(options):
    """Compared with its parts: a network without memory, and the memory alone."""
    model = small(**options)
    x = data()
    plain = UNet.from_config(model.get_config())
    plain.build((None, POINTS, 2))
    pairs = zip(plain.down_blocks + plain.pools, model.down_blocks + model.pools, strict=True)
    for other, layer in pairs:
        other.set_weights(layer.get_weights())
    coarse, skips = [], None
    for t in range(2):
        y, skips = x[:, t], []
        for i, block in enumerate(plain.down_blocks):
            if i > 0:
                skips.append(y)
                y = plain.pools[i - 1](y)
            y = block(y)
        coarse.append(to_numpy(y))
    assert isinstance(model.memory, GraphConvLSTM)
    y = model.memory(np.stack(coarse, axis=1))
    for unpool, block, before in zip(model.unpools, model.up_blocks, skips, strict=True):
        y = unpool(y)
        y = model.spreads[0](y) if model.spreads else y
        join = (
            keras.ops.add if model.skip == "add" else lambda a, b: keras.ops.concatenate([a, b], 2)
        )
        y = block(join(y, before))
    assert relative_error(model(x), to_numpy(model.last(y))) < SINGLE
    assert model.compute_output_shape(x.shape) == (3, POINTS, 2)
    # The earlier map counts.
    assert relative_error(model(x[:, [1, 1]]), to_numpy(model(x))) > 1e-3


def test_size_of_the_memory():
    """It does not depend on the number of pixels."""
    memory = small().memory
    assert memory.count_params() == 4 * 4 * (3 * (4 + 4) + 1)


def test_as_a_layer_of_a_saved_model(tmp_path):
    check_saving(lambda: small(mask=OBSERVED), data(), tmp_path)


def test_what_was_not_observed_changes_nothing():
    model = small(mask=OBSERVED)
    model.compile(keras.optimizers.SGD(0.05), "mse", **QUICK)
    seen = OBSERVED[:, None]
    maps = [np.where(seen, data(), np.float32(fill)) for fill in (0, np.nan)]
    results = trainings(model, maps, lambda x: x[:, -1])
    assert not np.array_equal(results[0][0][0], results[0][0][1])  # it does learn
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()


def test_errors():
    with pytest.raises(ValueError, match=r"\(batch, time, 48, channels\) with a known time"):
        TemporalUNet(PART, 1, filters=(2, 3)).build((None, None, POINTS, 2))
    with pytest.raises(ValueError, match=r"\(batch, time, 48, channels\).*got \(3, 48, 2\)"):
        TemporalUNet(PART, 1, filters=(2, 3))(data()[:, 0])
    with pytest.raises(ValueError, match=r"needs inputs of shape \(batch, 48, channels\)"):
        TemporalUNet(PART, 1, filters=(2, 3)).build((None, 3, 100, 2))
