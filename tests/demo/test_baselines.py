"""Baseline classifiers: their features against known spectra, and their accuracy."""

import numpy as np
import pytest

from deepsphere.demo.baselines import (
    linear_svm_accuracy,
    power_spectrum_features,
    variance_features,
)

NSIDE = 16
PIXELS = 12 * NSIDE**2


@pytest.fixture
def spherical_harmonics():
    """Return NEST maps (1, pixels, 1) of zonal harmonics, by Legendre polynomials."""
    import astropy_healpix.healpy as positions
    from numpy.polynomial.legendre import legval

    z = positions.pix2vec(NSIDE, np.arange(PIXELS), nest=True)[2]

    def make(amplitudes):
        """Sum ``amplitude * Y_l0``; Y_l0 is sqrt((2l + 1) / 4 pi) times Legendre's P_l."""
        ell = np.arange(len(amplitudes))
        return legval(z, np.asarray(amplitudes) * np.sqrt((2 * ell + 1) / (4 * np.pi)))[
            None, :, None
        ]

    return make


def test_spectrum_of_known_coefficients(spherical_harmonics):
    """C_l of one coefficient a_l0 is its square over 2l + 1; the rest is quadrature error.

    Quadrature with one iteration errs by some 0.1 % at nside 16 for l up to 7.
    """
    amplitudes = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 2.0, 3.0, 1.5])
    features = power_spectrum_features(spherical_harmonics(amplitudes), lmax=7)
    ell = np.arange(2, 8)
    assert features.shape == (1, 6)
    np.testing.assert_allclose(np.exp(features[0]), amplitudes[2:] ** 2 / (2 * ell + 1), rtol=0.005)


def test_channels_follow_one_another():
    maps = np.random.default_rng(0).standard_normal((3, PIXELS, 2)).astype(np.float32)
    both = power_spectrum_features(maps)
    width = 3 * NSIDE - 2
    assert both.shape == (3, 2 * width)
    np.testing.assert_array_equal(both[:, width:], power_spectrum_features(maps[:, :, 1:]))
    # white noise of variance one: 4 pi / pixels at every l, 3 * 2 * 2300 modes, 1 %
    ell = np.arange(2, 3 * NSIDE)
    weight = np.tile(2 * ell + 1, 2)
    mean = np.sum(weight * np.exp(both).mean(axis=0)) / weight.sum()
    assert mean == pytest.approx(4 * np.pi / PIXELS, rel=0.05)


def test_variance():
    maps = np.random.default_rng(1).standard_normal((4, 50, 3)).astype(np.float32) + 1000
    features = variance_features(maps)
    assert features.shape == (4, 3)
    exact = maps.astype(np.float64)
    expected = (exact**2).mean(axis=1) - exact.mean(axis=1) ** 2
    np.testing.assert_allclose(features, expected, rtol=1e-6)  # cancellation of 1e6 in float64


def two_classes(shift, seed, count=60, features=5):
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    rows = generator.standard_normal((count, features))
    rows[:, 0] += shift * labels
    # offset and scale that only standardizing removes
    return rows * [1, 1e-6, 1e6, 1, 1] + 100, labels


def test_accuracy_of_separable_and_equal_classes():
    """The best accuracy for a shift of d standard deviations is Phi(d / 2)."""
    train, test = two_classes(8.0, 0), two_classes(8.0, 1)
    assert linear_svm_accuracy(*train, *test, seed=0) == 1.0
    # labels the wrong way round: the accuracy is that of the labels given
    assert linear_svm_accuracy(*train, test[0], 1 - test[1], seed=0) == 0.0

    train, test = two_classes(0.0, 2, 200), two_classes(0.0, 3, 2000)
    # chance: 2000 maps scatter by 1.1 %
    assert linear_svm_accuracy(*train, *test, seed=0) == pytest.approx(0.5, abs=0.05)

    train, test = two_classes(2.0, 4, 500), two_classes(2.0, 5, 2000)
    # Phi(1) = 0.841; 0.8 % scatter, and a little is lost to the finite training set
    assert linear_svm_accuracy(*train, *test, seed=0) == pytest.approx(0.841, abs=0.03)


def test_accuracy_repeats_and_takes_small_sets():
    train, test = two_classes(1.0, 6, count=6), two_classes(1.0, 7)
    accuracies = {linear_svm_accuracy(*train, *test, seed=3) for _ in range(3)}
    assert len(accuracies) == 1


@pytest.mark.filterwarnings("error")
def test_more_features_than_maps_converges():
    """Some regularizations need more than the solver's default number of iterations."""
    generator = np.random.default_rng(8)
    labels = np.arange(150) % 2
    rows = generator.standard_normal((150, 190)) + 0.3 * labels[:, None]
    assert linear_svm_accuracy(rows[:100], labels[:100], rows[100:], labels[100:], seed=0) > 0.8


def test_baselines_tell_amplitudes_apart():
    """A 20 % larger amplitude is 44 % more variance; 3072 pixels measure it to 2.6 %."""
    generator = np.random.default_rng(9)
    labels = np.arange(60) % 2
    maps = generator.standard_normal((60, PIXELS, 1)) * (1 + 0.2 * labels[:, None, None])
    for features in (power_spectrum_features(maps), variance_features(maps)):
        accuracy = linear_svm_accuracy(
            features[:40], labels[:40], features[40:], labels[40:], seed=0
        )
        assert accuracy >= 0.95


@pytest.mark.parametrize(
    ("maps", "lmax", "message"),
    [
        (np.ones((2, PIXELS)), None, r"shape \(maps, pixels, channels\), got \(2, 3072\)"),
        (np.ones((2, 100, 1)), None, "full sphere.*got 100 pixels"),
        (np.ones((2, 12 * 9, 1)), None, "nside a power of two; got 108 pixels"),
        (np.full((1, PIXELS, 1), np.nan), None, "must be finite, got 3072 values"),
        (np.ones((1, PIXELS, 1)), 48, "lmax must be from 2 to 47 for nside 16, got 48"),
        (np.zeros((1, PIXELS, 1)), None, "zero power at some multipoles"),
    ],
)
def test_bad_maps(maps, lmax, message):
    with pytest.raises(ValueError, match=message):
        power_spectrum_features(maps, lmax=lmax)


@pytest.mark.parametrize(
    ("train_labels", "test_width", "message"),
    [
        (np.zeros(10), 3, r"at least two classes.*got \{0.0: 10\}"),
        (np.arange(10) == 0, 3, "at least two maps each"),
        (np.arange(9) % 2, 3, r"inconsistent numbers of samples: \[10, 9\]"),
        (np.arange(10) % 2, 4, "X has 4 features, but .* is expecting 3"),
    ],
)
def test_bad_sets(train_labels, test_width, message):
    with pytest.raises(ValueError, match=message):
        linear_svm_accuracy(
            np.ones((10, 3)), train_labels, np.ones((4, test_width)), np.zeros(4), seed=0
        )
