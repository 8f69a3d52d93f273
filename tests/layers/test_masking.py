"""Values outside a mask never reach pixels inside."""

import keras
import numpy as np
import pytest

import deepsphere
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    ConvPool,
    MonomialConv,
    PatchConv,
    PatchConvTranspose,
    Pool,
    SurveyMask,
)
from deepsphere.layers.masking import hide, resample_mask
from deepsphere.sampling import Footprint, Healpix, regions
from harness import SINGLE, relative_error, to_numpy, trainings

FOOTPRINT = Footprint.from_mask(
    regions.disc(Healpix(8), lon=20, lat=35, radius=40), coarse_nside=2, nest=True
)
SAMPLING, OBSERVED = FOOTPRINT.sampling, FOOTPRINT.observed
CHILDREN = OBSERVED.reshape(-1, 4)


def data(channels=2, batch=3, outside=0.0):
    x = np.random.default_rng(0).standard_normal((batch, len(SAMPLING), channels))
    x[:, ~OBSERVED] = outside
    return x.astype(np.float32)


def batch_mask(batch=3):
    return np.repeat(OBSERVED[None], batch, axis=0)


def test_some_coarse_pixels_are_observed_in_part_and_some_not_at_all():
    shares = CHILDREN.mean(axis=1)
    assert ((shares > 0) & (shares < 1)).any()
    assert (shares == 0).any()


def test_resampled_masks():
    coarser = to_numpy(resample_mask(batch_mask(), len(SAMPLING), len(SAMPLING) // 4))
    np.testing.assert_array_equal(coarser[0], CHILDREN.any(axis=1))
    finer = to_numpy(resample_mask(batch_mask(), len(SAMPLING), len(SAMPLING) * 4))
    np.testing.assert_array_equal(finer[0], np.repeat(OBSERVED, 4))
    assert resample_mask(None, 4, 1) is None
    assert hide("anything", None) == "anything"


LAYERS = {
    "chebyshev": lambda: ChebyshevConv(
        3, 3, sampling=SAMPLING, normalization="batch", activation="relu"
    ),
    "monomial": lambda: MonomialConv(3, 3, sampling=SAMPLING),
    "bernstein": lambda: BernsteinConv(3, 3, sampling=SAMPLING),
    "max": lambda: Pool(1, "max", sampling=SAMPLING),
    "mean": lambda: Pool(1, "mean", sampling=SAMPLING),
    "conv pool": lambda: ConvPool(
        3, 3, 1, sampling=SAMPLING, normalization="batch", activation="relu"
    ),
    "patch": lambda: PatchConv(3, 1, sampling=SAMPLING),
    "transpose": lambda: PatchConvTranspose(3, 1, sampling=SAMPLING),
    "survey": lambda: SurveyMask(OBSERVED, sampling=SAMPLING),
}


@pytest.mark.parametrize("outside", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_leave_out_what_was_not_observed(name, outside):
    layer = LAYERS[name]()
    expected = to_numpy(layer(data(), mask=batch_mask()))
    y = to_numpy(layer(data(outside=outside), mask=batch_mask()))
    np.testing.assert_array_equal(y, expected)
    new_mask = to_numpy(layer.compute_mask(data(), batch_mask()))
    assert new_mask.shape == expected.shape[:2]
    assert np.isfinite(expected).all()


@pytest.mark.parametrize("name", LAYERS)
def test_a_mask_of_all_pixels_changes_nothing(name):
    layer = LAYERS[name]()
    everything = np.ones((3, len(SAMPLING)), dtype=bool)
    # A mean over all pixels divides by their number in another way.
    assert relative_error(layer(data(), mask=everything), to_numpy(layer(data()))) < SINGLE


def test_pooling_takes_the_observed_children():
    x = data(outside=np.nan)
    blocks = x.reshape(3, -1, 4, 2)
    seen = CHILDREN.any(axis=1)
    for mode, reduce in (("max", np.nanmax), ("mean", np.nanmean)):
        y = to_numpy(Pool(1, mode, sampling=SAMPLING)(x, mask=batch_mask()))
        assert relative_error(y[:, seen], reduce(blocks[:, seen], axis=2)) < SINGLE
        assert (y[:, ~seen] == 0).all()


def test_each_map_may_have_its_own_mask():
    masks = np.random.default_rng(1).random((3, len(SAMPLING))) < 0.5
    x = data()
    layer = Pool(1, "mean", sampling=SAMPLING)
    y = to_numpy(layer(x, mask=masks))
    for i in range(3):
        alone = to_numpy(layer(x[i : i + 1], mask=masks[i : i + 1]))
        np.testing.assert_array_equal(y[i], alone[0])


def test_batch_norm_counts_observed_pixels_only():
    layer = ChebyshevConv(2, 0, sampling=SAMPLING, normalization="batch", use_bias=False)
    y = to_numpy(layer(data(outside=np.nan), training=True, mask=batch_mask()))[:, OBSERVED]
    before = data()[:, OBSERVED].astype(float) @ to_numpy(layer.kernel)
    variance = before.var(axis=(0, 1))
    assert (
        relative_error(y, (before - before.mean(axis=(0, 1))) / np.sqrt(variance + 1e-5)) < SINGLE
    )


def network():
    model = deepsphere.Sequential(
        SAMPLING,
        [
            SurveyMask(OBSERVED),
            ChebyshevConv(4, order=2, normalization="batch", activation="relu"),
            Pool(mode="max"),
            MonomialConv(4, order=2, activation="elu"),
            Pool(mode="mean"),
            ChebyshevConv(2, order=2),
            keras.layers.GlobalAveragePooling1D(),
        ],
        graph=4,
    )
    model.build((None, len(SAMPLING), 2))
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model


def test_networks_never_see_what_was_not_observed(tmp_path):
    target = np.random.default_rng(2).standard_normal((3, 2)).astype(np.float32)
    model, x = network(), data(outside=np.nan)
    results = trainings(model, [data(), x], lambda _: target, epochs=3)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    losses, predicted = results[1][:2]
    assert losses[-1] < losses[0]

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))
    assert relative_error(model(x), predicted) < SINGLE


def test_the_average_is_over_observed_pixels():
    inputs = keras.Input((len(SAMPLING), 1))
    hidden = SurveyMask(OBSERVED, sampling=SAMPLING)(inputs)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(hidden))
    y = model.predict(np.ones((2, len(SAMPLING), 1), np.float32), verbose=0)
    np.testing.assert_allclose(y, 1, rtol=1e-6)


def test_masked_arrays_are_refused():
    """On TensorFlow and PyTorch, Keras' own layers use values under the mask."""
    x = np.ma.masked_array(data(outside=50.0), mask=False)
    x[:, ~OBSERVED] = np.ma.masked
    count = len(x) * np.count_nonzero(~OBSERVED) * x.shape[-1]
    with pytest.raises(ValueError, match=f"the input is masked at {count} of {x.size} values"):
        ChebyshevConv(2, 2, sampling=SAMPLING)(x)
    with pytest.raises(ValueError, match=f"x is masked at {count} of {x.size} values"):
        deepsphere.ops.pool(x, 4, "max")
    ChebyshevConv(2, 2, sampling=SAMPLING)(x.filled(0))
