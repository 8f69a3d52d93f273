"""Cosmologies and convergence spectra, compared with Limber and top-hat integrals."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from scipy.integrate import trapezoid

from deepsphere.data.cosmology import (
    LCDM_HIGH_MATTER,
    LCDM_LOW_MATTER,
    PAPER_COSMOLOGIES,
    Cosmology,
    convergence_spectrum,
)

SPEED_OF_LIGHT = 299792.458  # km/s


def camb_parameters(cosmology, amplitude):
    import camb

    parameters = camb.CAMBparams()
    h2 = cosmology.h**2
    parameters.set_cosmology(
        H0=100 * cosmology.h,
        ombh2=cosmology.omega_b * h2,
        omch2=(cosmology.omega_m - cosmology.omega_b) * h2,
        mnu=0,
    )
    parameters.InitPower.set_params(As=amplitude, ns=cosmology.n_s)
    return parameters


@cache
def tophat_sigma_8(cosmology, amplitude):
    """Root mean square of the linear density in spheres of 8 Mpc/h, integrated here."""
    import camb

    parameters = camb_parameters(cosmology, amplitude)
    parameters.set_matter_power(redshifts=[0.0], kmax=20.0)
    parameters.NonLinear = camb.model.NonLinear_none
    parameters.WantCls = False
    results = camb.get_results(parameters)
    k, _, power = results.get_matter_power_spectrum(minkh=1e-4, maxkh=20, npoints=3000)
    x = 8 * k
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    return np.sqrt(trapezoid(k**3 * power[0] * window**2 / (2 * np.pi**2), np.log(k)))


def limber_spectrum(cosmology, ells, redshift):
    """Convergence spectrum of a source plane in the extended Limber approximation."""
    import camb

    amplitude = 2e-9 * (cosmology.sigma_8 / tophat_sigma_8(cosmology, 2e-9)) ** 2
    parameters = camb_parameters(cosmology, amplitude)
    interpolator = camb.get_matter_power_interpolator(
        parameters,
        zmax=redshift + 0.1,
        kmax=20,
        nonlinear=True,
        hubble_units=False,
        k_hunit=False,
    )
    background = camb.get_background(parameters)
    source = background.comoving_radial_distance(redshift)
    chi = np.linspace(0, source, 402)[1:-1]
    z = background.redshift_at_comoving_radial_distance(chi)
    hubble = 100 * cosmology.h / SPEED_OF_LIGHT
    kernel = 1.5 * cosmology.omega_m * hubble**2 * (1 + z) * (source - chi) / source
    spectrum = []
    for ell in ells:
        k = (ell + 0.5) / chi
        power = np.array(
            [float(interpolator.P(*zk)) if zk[1] < 20 else 0.0 for zk in zip(z, k, strict=True)]
        )
        spectrum.append(trapezoid(kernel**2 * power, chi))
    return np.array(spectrum)


@cache
def spectrum_to_191(cosmology):
    return convergence_spectrum(cosmology, 191, source_redshift=1.0)


@pytest.fixture(scope="module", params=PAPER_COSMOLOGIES, ids=["high", "low"])
def cosmology(request):
    return request.param


def test_spectrum_is_that_of_convergence():
    """The Limber integral of the same matter power.

    Its error is below l**-2 (0.1 % at l = 30); the width of the plane, CAMB's line-of-sight
    spline and the redshift interpolation add up to 0.5 %. The bound of 2 % is far below the
    factors a wrong normalization makes: l(l + 1)/2 for the potential, 2 pi for a D_l, and 6 %
    for a matter density that is 3 % wrong.
    """
    ells = np.array([30, 60, 100, 150, 190])
    spectrum, expected = (
        spectrum_to_191(LCDM_HIGH_MATTER),
        limber_spectrum(LCDM_HIGH_MATTER, ells, 1.0),
    )
    np.testing.assert_allclose(spectrum[ells], expected, rtol=0.02)


def test_spectrum_follows_source_redshift():
    cosmology = Cosmology(omega_m=0.28, sigma_8=0.8, h=0.68, omega_b=0.05, n_s=0.95)
    ells = np.array([30, 100])
    spectrum = convergence_spectrum(cosmology, 100, source_redshift=0.5)
    np.testing.assert_allclose(spectrum[ells], limber_spectrum(cosmology, ells, 0.5), rtol=0.02)


def test_amplitude_gives_sigma_8(cosmology):
    """Compared with our own top-hat integral: 3000 trapezoids are accurate to 1e-3."""
    import camb

    from deepsphere.data.cosmology import _primordial_amplitude

    # The linear power is proportional to the amplitude.
    factor = np.sqrt(_primordial_amplitude(camb, cosmology) / 2e-9)
    sigma_8 = factor * tophat_sigma_8(cosmology, 2e-9)
    assert sigma_8 == pytest.approx(cosmology.sigma_8, rel=1e-3)


def test_spectrum_shape_and_cut():
    long = spectrum_to_191(LCDM_HIGH_MATTER)
    short = convergence_spectrum(LCDM_HIGH_MATTER, 11)
    assert long.shape == (192,)
    assert long.dtype == np.float64
    assert np.all(long[:2] == 0)
    assert np.all(long[2:] > 0)
    # lmax below 300 only cuts; parallel sums may differ in the last digits
    np.testing.assert_allclose(short, long[:12], rtol=1e-6)


def test_paper_cosmologies():
    assert PAPER_COSMOLOGIES == (LCDM_HIGH_MATTER, LCDM_LOW_MATTER)
    assert [(c.omega_m, c.sigma_8, c.h) for c in PAPER_COSMOLOGIES] == [
        (0.31, 0.82, 0.7),
        (0.26, 0.91, 0.7),
    ]


def test_cosmology_is_frozen_and_canonical():
    assert Cosmology(h=1) == Cosmology(h=1.0)
    assert isinstance(Cosmology(h=1).h, float)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Cosmology().h = 0.5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"omega_m": 0.0}, ValueError, "omega_m must be positive and finite, got 0.0"),
        ({"sigma_8": float("nan")}, ValueError, "sigma_8 must be positive and finite, got nan"),
        ({"h": "0.7"}, TypeError, "h must be a number, got '0.7'"),
        ({"omega_m": 1.2}, ValueError, "omega_m=1.2, omega_b=0.046"),
        ({"omega_m": 0.04}, ValueError, "omega_b < omega_m"),
    ],
)
def test_bad_cosmology(arguments, error, message):
    with pytest.raises(error, match=message):
        Cosmology(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.31, 100), TypeError, "must be a Cosmology, got 0.31"),
        ((LCDM_HIGH_MATTER, 1), ValueError, "lmax must be at least 2, got 1"),
        ((LCDM_HIGH_MATTER, 10.0), TypeError, "lmax must be an integer, got 10.0"),
        ((LCDM_HIGH_MATTER, 10, 0.0), ValueError, "source_redshift must be from 0.1 to 10, got 0"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        convergence_spectrum(*arguments)
