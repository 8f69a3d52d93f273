"""Cosmological models and the power spectra of their weak-lensing convergence, by CAMB."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsphere._checks import check_count
from deepsphere._extras import require

RELATIVE_SOURCE_WIDTH = (
    0.02  # of the source plane; a smaller width changes C_l by less than 0.1 % at z = 1
)
REFERENCE_AMPLITUDE = 2e-9  # any A_s works, because linear power is proportional to it
SMALLEST_CAMB_LMAX = 300  # CAMB interpolates in l, and has too few samples below this


@dataclass(frozen=True)
class Cosmology:
    """A spatially flat universe of cold matter, baryons and a cosmological constant.

    The universe is flat, with the dark energy density ``1 - omega_m``, because CAMB computes
    lensing source planes in flat models only. Neutrinos are massless, so all matter is cold matter
    and baryons, as in the N-body simulations of the papers.

    Parameters
    ----------
    omega_m : float, default 0.31
        Matter density today (cold matter and baryons) in units of the critical density, greater
        than `omega_b` and less than 1.
    sigma_8 : float, default 0.82
        Root mean square of the linear matter density contrast today in spheres of radius 8 Mpc/h.
    h : float, default 0.7
        Hubble constant in units of 100 km/s/Mpc. The default is the papers' value.
    omega_b : float, default 0.046
        Baryon density today in units of the critical density. At h = 0.7, the default is the
        physical density 0.0224 of Planck 2018 (A&A 641, A6, 2020).
    n_s : float, default 0.965
        Spectral index of the primordial fluctuations. The default is from Planck 2018.

    Raises
    ------
    TypeError
        If a value is not a number.
    ValueError
        If a value is not positive and finite, or not ``omega_b < omega_m < 1``.

    Examples
    --------
    >>> Cosmology(omega_m=0.26, sigma_8=0.91).h
    0.7
    """

    omega_m: float = 0.31
    sigma_8: float = 0.82
    h: float = 0.7
    omega_b: float = 0.046
    n_s: float = 0.965

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
                raise TypeError(f"{field.name} must be a number, got {value!r}")
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{field.name} must be positive and finite, got {value!r}")
            object.__setattr__(self, field.name, float(value))  # so that 1 and 1.0 are equal
        if not self.omega_b < self.omega_m < 1:
            raise ValueError(
                "a flat universe needs omega_b < omega_m < 1, "
                f"got omega_m={self.omega_m}, omega_b={self.omega_b}"
            )


LCDM_HIGH_MATTER = Cosmology(omega_m=0.31, sigma_8=0.82)
"""First class of the DeepSphere papers: more matter, weaker clustering."""

LCDM_LOW_MATTER = Cosmology(omega_m=0.26, sigma_8=0.91)
"""Second class of the DeepSphere papers: less matter, stronger clustering."""

PAPER_COSMOLOGIES = (LCDM_HIGH_MATTER, LCDM_LOW_MATTER)
"""The two classes of Perraudin et al., Astronomy and Computing 27 (2019)."""


def convergence_spectrum(
    cosmology: Cosmology, lmax: int, source_redshift: float = 1.0
) -> NDArray[np.float64]:
    """Compute the angular power spectrum of weak-lensing convergence with CAMB.

    All sources lie on one plane, a Gaussian in redshift of width ``0.02 * source_redshift``. The
    matter power is nonlinear (CAMB's HMCode). The primordial amplitude is scaled so that the linear
    power gives `Cosmology.sigma_8`, to 1e-4, the accuracy of CAMB's integral.

    Parameters
    ----------
    cosmology : Cosmology
        The cosmological model.
    lmax : int
        Largest multipole, at least 2.
    source_redshift : float, default 1.0
        Redshift of the source plane, from 0.1 to 10. The default is near the median of deep lensing
        surveys.

    Returns
    -------
    ndarray of float64, shape (lmax + 1,)
        C_l, dimensionless, from l = 0. C_0 and C_1 are zero, because CAMB starts at l = 2.

    Raises
    ------
    TypeError
        If `cosmology` is not a `Cosmology`, or `lmax` is not an integer.
    ValueError
        If `lmax` is less than 2, or `source_redshift` is not from 0.1 to 10.
    ImportError
        If camb is not installed (extra ``cosmology``).

    Notes
    -----
    For a lensing window, CAMB returns the spectrum of the convergence, not of the potential, so no
    factor of l(l + 1)/2 is needed (Challinor & Lewis, Phys. Rev. D 84, 043516, 2011). A Limber
    integral agrees within 0.5 % at l = 10 to 1535 in the tests.
    """
    if not isinstance(cosmology, Cosmology):
        raise TypeError(f"cosmology must be a Cosmology, got {cosmology!r}")
    check_count(lmax, "lmax", least=2)
    check_redshift(source_redshift)

    camb = require("camb", "cosmology")
    amplitude = _primordial_amplitude(camb, cosmology)
    parameters = _camb_parameters(camb, cosmology, amplitude)
    parameters.set_for_lmax(max(int(lmax), SMALLEST_CAMB_LMAX), lens_potential_accuracy=1)
    parameters.NonLinear = camb.model.NonLinear_both
    parameters.Want_CMB = False
    parameters.SourceWindows = [
        camb.sources.GaussianSourceWindow(
            redshift=source_redshift,
            sigma=RELATIVE_SOURCE_WIDTH * source_redshift,
            source_type="lensing",
        )
    ]
    results = camb.get_results(parameters)
    spectra = results.get_source_cls_dict(lmax=int(lmax), raw_cl=True)
    spectrum = np.array(spectra["W1xW1"], dtype=np.float64)
    spectrum[:2] = 0.0
    return spectrum


def check_redshift(source_redshift: float) -> None:
    """Raise ValueError if a source redshift is not from 0.1 to 10."""
    if not 0.1 <= source_redshift <= 10:
        raise ValueError(f"source_redshift must be from 0.1 to 10, got {source_redshift!r}")


def _camb_parameters(camb: Any, cosmology: Cosmology, amplitude: float) -> Any:
    """Return the CAMB parameters of a cosmology with a primordial amplitude A_s."""
    parameters = camb.CAMBparams()
    parameters.set_cosmology(
        H0=100 * cosmology.h,
        ombh2=cosmology.omega_b * cosmology.h**2,
        omch2=(cosmology.omega_m - cosmology.omega_b) * cosmology.h**2,
        omk=0.0,
        mnu=0.0,
    )
    parameters.InitPower.set_params(As=amplitude, ns=cosmology.n_s)
    return parameters


def _primordial_amplitude(camb: Any, cosmology: Cosmology) -> float:
    """Return the A_s for which the linear matter power has the cosmology's sigma_8."""
    parameters = _camb_parameters(camb, cosmology, REFERENCE_AMPLITUDE)
    # This cutoff (in 1/Mpc) gives sigma_8 to 1e-4 without computing angular spectra.
    parameters.set_matter_power(redshifts=[0.0], kmax=5.0)
    parameters.NonLinear = camb.model.NonLinear_none
    parameters.WantCls = False
    sigma_8 = float(camb.get_results(parameters).get_sigma8_0())
    return REFERENCE_AMPLITUDE * (cosmology.sigma_8 / sigma_8) ** 2
