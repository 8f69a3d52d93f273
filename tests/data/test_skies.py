"""Simulated skies: their spectrum, noise, ordering, seeds, and the cache."""

import dataclasses
import logging

import healpy
import numpy as np
import pytest
from astropy_healpix.healpy import pix2vec
from numpy.polynomial.legendre import legval

from deepsphere.data import skies
from deepsphere.data.cosmology import LCDM_HIGH_MATTER, LCDM_LOW_MATTER, convergence_spectrum
from deepsphere.data.skies import SkySimulation, noise_variance, simulate

NSIDE = 32
MAPS = 20


@pytest.fixture(scope="module")
def spectra():
    """Spectra of the two classes up to the lmax of `NSIDE`."""
    pair = (LCDM_HIGH_MATTER, LCDM_LOW_MATTER)
    return np.stack([convergence_spectrum(cosmology, 2 * NSIDE) for cosmology in pair])


@pytest.fixture
def quick(monkeypatch, spectra):
    """Replace CAMB by the spectra computed once; returns the list of calls."""
    calls = []

    def stored(cosmology, lmax, source_redshift):
        calls.append((cosmology, lmax, source_redshift))
        return spectra[int(cosmology == LCDM_LOW_MATTER), : lmax + 1]

    monkeypatch.setattr(skies, "convergence_spectrum", stored)
    return calls


def mean_spectrum(maps):
    """Mean measured spectrum of NEST maps (maps, pixels, 1)."""
    rings = (healpy.reorder(sky.astype(np.float64), n2r=True) for sky in maps[:, :, 0])
    return np.mean([healpy.anafast(ring, iter=1) for ring in rings], axis=0)


def assert_spectrum(measured, expected, count, above_variance=0.0):
    """Compare spectra at l = 2 to 2 nside within cosmic variance.

    Of `count` independent full-sky maps the mean C_l has the relative variance
    2 / ((2l + 1) count). A deviation of five standard deviations at one l, or of the sum of
    squares, has a probability below 1e-4 here. Above 2 nside the quadrature of anafast errs.
    """
    ell = np.arange(2, 2 * NSIDE + 1)
    error = expected[ell] * np.sqrt(2 / ((2 * ell + 1) * count))
    deviation = (measured[ell] - expected[ell]) / error
    assert np.abs(deviation).max() < 5
    # Gaussian squares have variance 2; the skewness of the power at low l and `above_variance`
    # (for fields that are not Gaussian) widen it
    spread = np.sqrt(2 * len(ell)) * (1 + above_variance)
    assert abs(np.sum(deviation**2) - len(ell)) < 5 * spread
    # an error of a constant factor shows in the weighted mean: 1 / sqrt(sum of (2l + 1) n / 2)
    weight = (2 * ell + 1) * count / 2
    factor = np.sum(weight * measured[ell] / expected[ell]) / weight.sum()
    assert abs(factor - 1) < 5 * (1 + above_variance) / np.sqrt(weight.sum())


@pytest.mark.parametrize("signal_to_noise", [np.inf, 1.0, 0.25])
def test_gaussian_spectrum(quick, spectra, signal_to_noise):
    simulation = SkySimulation(
        maps_per_class=MAPS, nside=NSIDE, signal_to_noise=signal_to_noise, seed=1
    )
    maps, labels = simulate(simulation, progress=False)
    assert maps.shape == (2 * MAPS, 12 * NSIDE**2, 1)
    assert (maps.dtype, labels.dtype) == (np.float32, np.int32)
    assert labels.tolist() == [0] * MAPS + [1] * MAPS
    # white noise of variance v in pixels of solid angle a has the spectrum v a
    white = noise_variance(spectra, signal_to_noise) * 4 * np.pi / (12 * NSIDE**2)
    for label in (0, 1):
        assert_spectrum(mean_spectrum(maps[labels == label]), spectra[label] + white, MAPS)
    # and the classes are the right way round: they differ by 30 % at low l
    low = [mean_spectrum(maps[labels == label])[2:20].sum() for label in (0, 1)]
    assert low[0] < low[1]
    assert [call[0] for call in quick] == [LCDM_HIGH_MATTER, LCDM_LOW_MATTER]


@pytest.mark.usefixtures("quick")
def test_zonal_modes_have_full_variance(spectra):
    """Coefficients of m = 0 are real and have variance C_l; half of it is the usual mistake.

    20 maps with 62 multipoles give 1240 squares of relative variance 2: 4 % accuracy.
    """
    simulation = SkySimulation(maps_per_class=MAPS, nside=NSIDE, signal_to_noise=np.inf, seed=2)
    maps, _ = simulate(simulation, progress=False)
    ell = np.arange(2, 64)
    zonal = []
    for sky in maps[:MAPS, :, 0]:
        alm = healpy.map2alm(healpy.reorder(sky.astype(np.float64), n2r=True), iter=1)
        zonal.append(alm[healpy.Alm.getidx(3 * NSIDE - 1, ell, 0)])
    assert np.mean(np.abs(zonal) ** 2 / spectra[0][ell]) == pytest.approx(1, abs=0.2)


@pytest.mark.usefixtures("quick")
def test_order_is_nest(spectra):
    """Correlation between pixels, by positions from astropy-healpix and a Legendre sum.

    NEST siblings 4i and 4i + 1 are neighbors; under any other ordering they would be far apart
    and their differences much larger.
    """
    simulation = SkySimulation(maps_per_class=MAPS, nside=NSIDE, signal_to_noise=np.inf, seed=3)
    maps, _ = simulate(simulation, progress=False)
    first = np.arange(0, 12 * NSIDE**2, 4)
    x, y = (np.array(pix2vec(NSIDE, pixels, nest=True)) for pixels in (first, first + 1))
    coefficients = (2 * np.arange(2 * NSIDE + 1) + 1) * spectra[0] / (4 * np.pi)
    expected = 2 * (coefficients.sum() - legval(np.sum(x * y, axis=0), coefficients)).mean()
    measured = np.mean((maps[:MAPS, first, 0] - maps[:MAPS, first + 1, 0]) ** 2)
    # some 1e5 squares; neighbors are correlated: about 1 %
    assert measured == pytest.approx(expected, rel=0.05)
    assert expected < 0.8 * 2 * coefficients.sum()  # what pixels far apart would give


@pytest.mark.usefixtures("quick")
def test_lognormal_spectrum_and_skewness(spectra):
    simulation = SkySimulation(
        maps_per_class=MAPS,
        nside=NSIDE,
        source_redshift=1.0,
        signal_to_noise=np.inf,
        lognormal=True,
        seed=4,
    )
    maps, labels = simulate(simulation, progress=False)
    for label in (0, 1):
        # power is a little more scattered than for Gaussian fields
        assert_spectrum(mean_spectrum(maps[labels == label]), spectra[label], MAPS, 0.5)
    # lognormal with shift s and variance v: skewness 3 q + q**3 with q**2 = v / s**2
    q = np.sqrt(noise_variance(spectra, 1.0)) / 0.02975
    values = maps.astype(np.float64)
    skewness = np.mean(values**3) / np.mean(values**2) ** 1.5
    assert skewness == pytest.approx(3 * q + q**3, rel=0.1)  # maps scatter by about 2 %
    assert maps.min() > -0.02975

    gaussian = dataclasses.replace(simulation, lognormal=False)
    values = simulate(gaussian, progress=False)[0].astype(np.float64)
    assert abs(np.mean(values**3) / np.mean(values**2) ** 1.5) < 0.02


@pytest.mark.usefixtures("quick")
def test_signal_to_noise_is_a_ratio_of_variances(spectra):
    """The same seed draws the same signal, so the difference of two sets is the noise alone."""
    clean = SkySimulation(maps_per_class=10, nside=NSIDE, signal_to_noise=np.inf)
    signal, labels = simulate(clean, progress=False)
    maps, _ = simulate(dataclasses.replace(clean, signal_to_noise=0.5), progress=False)
    noise = maps - signal
    ell = np.arange(2 * NSIDE + 1)
    expected = np.mean([np.sum((2 * ell + 1) * cl) for cl in spectra]) / (4 * np.pi)
    assert noise.var() == pytest.approx(expected / 0.5, rel=0.02)  # 2.5e5 samples: 0.3 %
    # the signal has few modes at low l: about 4 % for 20 maps
    assert signal.var() / noise.var() == pytest.approx(0.5, rel=0.15)
    levels = [noise[labels == label].var() for label in (0, 1)]
    assert levels[0] == pytest.approx(levels[1], rel=0.03)
    assert abs(np.corrcoef(noise[0, :, 0], noise[1, :, 0])[0, 1]) < 5 / np.sqrt(noise.shape[1])


@pytest.mark.parametrize("lognormal", [False, True])
@pytest.mark.usefixtures("quick")
def test_maps_depend_on_seed_and_position_alone(lognormal):
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - that global state is left alone
    many = SkySimulation(maps_per_class=5, nside=8, lognormal=lognormal, seed=7)
    maps, _ = simulate(many, progress=False)
    again, _ = simulate(many, progress=False)
    np.testing.assert_array_equal(maps, again)

    few, _ = simulate(dataclasses.replace(many, maps_per_class=2), progress=False)
    np.testing.assert_array_equal(few[:2], maps[:2])
    np.testing.assert_array_equal(few[2:], maps[5:7])
    # without noise, whose level is common, a class does not depend on the others either
    clean = dataclasses.replace(many, signal_to_noise=np.inf)
    one = dataclasses.replace(clean, cosmologies=(LCDM_HIGH_MATTER,))
    np.testing.assert_array_equal(
        simulate(one, progress=False)[0], simulate(clean, progress=False)[0][:5]
    )

    other, _ = simulate(dataclasses.replace(many, seed=8), progress=False)
    assert not np.any(np.all(other == maps, axis=(1, 2)))
    # all maps differ from one another, across classes too
    correlation = np.corrcoef(maps[:, :, 0])
    assert np.abs(correlation - np.eye(10)).max() < 0.6
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_cache_is_used(quick, tmp_path):
    simulation = SkySimulation(maps_per_class=2, nside=8)
    folder = tmp_path / "deep" / "cache"
    maps, labels = simulate(simulation, cache=folder, progress=False)
    (file,) = folder.iterdir()  # and no temporary file is left
    assert file.name == simulation.file_name
    written = file.stat().st_mtime_ns
    assert len(quick) == 2

    loaded, loaded_labels = simulate(simulation, cache=str(folder), progress=False)
    assert len(quick) == 2  # nothing was simulated
    assert file.stat().st_mtime_ns == written
    np.testing.assert_array_equal(loaded, maps)
    np.testing.assert_array_equal(loaded_labels, labels)
    assert (loaded.dtype, loaded_labels.dtype) == (np.float32, np.int32)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "flipped", "other"])
def test_damaged_cache_is_drawn_anew(quick, tmp_path, caplog, damage):
    simulation = SkySimulation(maps_per_class=2, nside=8)
    maps, _ = simulate(simulation, cache=tmp_path, progress=False)
    path = tmp_path / simulation.file_name
    content = bytearray(path.read_bytes())
    if damage == "other":
        other = dataclasses.replace(simulation, seed=5)
        simulate(other, cache=tmp_path, progress=False)
        content = (tmp_path / other.file_name).read_bytes()
    elif damage == "flipped":
        content[len(content) // 2] ^= 255
    else:
        content = {"empty": b"", "cut": content[: len(content) // 2], "text": b"not maps"}[damage]
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="deepsphere.data.skies"):
        rebuilt, _ = simulate(simulation, cache=tmp_path, progress=False)
    assert "simulating" in caplog.text
    np.testing.assert_array_equal(rebuilt, maps)
    calls = len(quick)
    simulate(simulation, cache=tmp_path, progress=False)
    assert len(quick) == calls  # the file was replaced by a good one


@pytest.mark.usefixtures("quick")
def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        simulate(SkySimulation(maps_per_class=1, nside=4), cache=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_file_name_tells_simulations_apart():
    base = SkySimulation()
    names = {
        dataclasses.replace(base, **change).file_name
        for change in (
            {},
            {"cosmologies": (LCDM_HIGH_MATTER,)},
            {"cosmologies": (LCDM_LOW_MATTER, LCDM_HIGH_MATTER)},
            {"maps_per_class": 101},
            {"nside": 32},
            {"source_redshift": 0.9},
            {"signal_to_noise": np.inf},
            {"lognormal": True},
            {"seed": 1},
        )
    }
    assert len(names) == 9
    same = SkySimulation(signal_to_noise=1, seed=np.int64(0), cosmologies=list(base.cosmologies))
    assert same == base
    assert same.file_name == base.file_name


@pytest.mark.usefixtures("quick")
def test_progress_bar(capsys):
    simulate(SkySimulation(maps_per_class=2, nside=4), progress=True)
    error = capsys.readouterr().err
    assert "4/4" in error
    assert "map/s" in error or "s/map" in error
    simulate(SkySimulation(maps_per_class=2, nside=4), progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"nside": 48}, ValueError, "power of two.*got 48"),
        ({"maps_per_class": 0}, ValueError, "maps_per_class must be at least 1, got 0"),
        ({"maps_per_class": 2.5}, TypeError, "maps_per_class must be an integer, got 2.5"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"signal_to_noise": 0}, ValueError, "signal_to_noise must be positive.*got 0"),
        ({"signal_to_noise": np.nan}, ValueError, "signal_to_noise must be positive.*got nan"),
        ({"lognormal": "yes"}, TypeError, "lognormal must be True or False, got 'yes'"),
        ({"cosmologies": ()}, ValueError, "at least one Cosmology"),
        ({"cosmologies": (0.31,)}, TypeError, "must contain Cosmology objects, got 0.31"),
    ],
)
def test_bad_simulation(arguments, error, message):
    with pytest.raises(error, match=message):
        SkySimulation(**arguments)


@pytest.mark.parametrize(
    ("spectra", "ratio", "message"),
    [
        ([[0, 1, -2]], 1, "got -2.0 at class 0, multipole 2"),
        ([[0, 1, 2], [0, np.nan, 2]], 1, "got nan at class 1, multipole 1"),
        ([0, 1, 2], 1, r"shape \(classes, lmax \+ 1\), got \(3,\)"),
        ([[0, 1, 2]], 0, "signal_to_noise must be positive"),
    ],
)
def test_noise_of_nonsense(spectra, ratio, message):
    with pytest.raises(ValueError, match=message):
        noise_variance(spectra, ratio)


def test_simulate_wants_a_simulation():
    with pytest.raises(TypeError, match="must be a SkySimulation, got 64"):
        simulate(64)


def test_bad_redshift_is_refused_early():
    with pytest.raises(TypeError, match="source_redshift must be a number, got '1'"):
        SkySimulation(source_redshift="1")
    with pytest.raises(ValueError, match=r"source_redshift must be from 0.1 to 10, got 20"):
        SkySimulation(source_redshift=20)
