"""Variational autoencoders; see test_autoencoder.py for what they share."""

import keras
import numpy as np
import pytest

from deepsphere.layers.masking import resample_mask
from deepsphere.models import VariationalAutoencoder
from deepsphere.sampling import Footprint, Healpix, extend_pixels, regions
from harness import QUICK, SINGLE, relative_error, to_numpy

PART = Healpix(4, extend_pixels([0, 20, 100, 101], 4, 1, nest=True))
FOOTPRINT = Footprint.from_mask(
    regions.disc(Healpix(8), lon=20, lat=35, radius=40), coarse_nside=2, nest=True
)
SURVEY, OBSERVED = FOOTPRINT.sampling, FOOTPRINT.observed
COARSE = OBSERVED.reshape(-1, 16).any(axis=1)


def data(sampling=PART, channels=2, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(sampling), channels)).astype(np.float32)


def small(sampling=PART, **options):
    options = {"filters": (3, 4), "latent": 2, "order": 2, **options}
    return VariationalAutoencoder(sampling, 2, graph=4, **options)


def kl_per_value(mean, log_variance, pixels, channels=2):
    mean, log_variance = mean.astype(float), log_variance.astype(float)
    total = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum()
    return total / (pixels * channels)


@pytest.mark.parametrize("mask", [None, OBSERVED])
def test_the_loss_is_the_evidence_lower_bound(mask):
    sampling = PART if mask is None else SURVEY
    model = small(sampling, beta=0.3, mask=mask)
    x = data(sampling)
    mean, log_variance = (to_numpy(z) for z in model.encode(x))
    if mask is None:
        pixels, seen, coarse = 48, slice(None), slice(None)
    else:
        pixels, seen, coarse = OBSERVED.sum(), OBSERVED, COARSE
    divergence = kl_per_value(mean[:, coarse], log_variance[:, coarse], 3 * pixels)
    y = to_numpy(model(x))
    np.testing.assert_allclose(to_numpy(model.losses[0]), 0.3 * divergence, rtol=1e-5)
    model.compile("sgd", "mse", metrics=["mse"], **QUICK)
    error = np.mean((y - x)[:, seen] ** 2)
    expected = error + 0.3 * divergence, error
    assert model.evaluate(x, x, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_draws_follow_the_posterior_in_training():
    model = small(filters=(3,), latent=1, seed=1)
    x = data(batch=1)
    still = to_numpy(model(x))
    np.testing.assert_array_equal(to_numpy(model(x)), still)
    mean, log_variance = (to_numpy(z)[0] for z in model.encode(x))
    # The decoder of one step is linear in z, so that the outputs show its distribution.
    many = to_numpy(model(np.repeat(x, 4000, axis=0), training=True)).reshape(4000, 12, 8)
    assert relative_error(model.decode(mean[None]), still) < SINGLE
    response = to_numpy(model.decoder.trainable_weights[0])[:, :, 0].ravel()  # (child, channel)
    z = (many - still.reshape(12, 8)) @ response / (response @ response)
    # Of 4000 draws, mean and deviation are known to 1/63 and 1/90 of the deviation: five of it.
    deviation = np.exp(0.5 * log_variance[:, 0])
    assert np.abs(z.mean(axis=0) / deviation).max() < 5 / 63
    np.testing.assert_allclose(z.std(axis=0), deviation, rtol=5 / 90)
    correlation = np.corrcoef(z.T)
    assert np.abs(correlation - np.eye(12)).max() < 5 / 63


def test_samples_from_the_prior():
    model = small(seed=3)
    first, second = (to_numpy(model.sample(4)) for _ in range(2))
    assert first.shape == (4, 48, 2)
    assert not np.array_equal(first, second)
    again = [to_numpy(model.sample(4, seed=7)) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    z = to_numpy(keras.random.normal((4, len(model.latent_sampling), 2), seed=7))
    assert relative_error(again[0], to_numpy(model.decode(z))) < SINGLE
    other = small(seed=3)
    other.set_weights(model.get_weights())
    np.testing.assert_array_equal(to_numpy(other.sample(4)), first)


def test_the_divergence_counts_the_features_of_observed_pixels():
    masks = np.random.default_rng(1).random((3, len(SURVEY))) < 0.1
    model, x = small(SURVEY), data(SURVEY)
    coarse = to_numpy(resample_mask(masks, len(SURVEY), len(model.latent_sampling)))
    assert not coarse.all()
    mean, log_variance = (to_numpy(z)[coarse] for z in model.encode(x, mask=masks))
    model(x, mask=masks)
    expected = kl_per_value(mean, log_variance, masks.sum())
    np.testing.assert_allclose(to_numpy(model.losses[0]), expected, rtol=1e-5)


def test_samples_are_0_outside_the_mask():
    drawn = to_numpy(small(SURVEY, mask=OBSERVED).sample(2))
    assert (drawn[:, ~OBSERVED] == 0).all()
    assert (drawn[:, OBSERVED] != 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small(beta=-1), "beta must be finite and at least 0, got -1"),
        (lambda: small(beta=float("inf")), "beta must be finite and at least 0, got inf"),
        (lambda: small(seed=-1), "seed must be at least 0, got -1"),
        (lambda: small().sample(0), "n must be at least 1"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
