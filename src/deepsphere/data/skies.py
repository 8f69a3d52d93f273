"""Simulated weak-lensing skies of several cosmologies: labeled maps to classify."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepsphere.data.cosmology import (
    PAPER_COSMOLOGIES,
    Cosmology,
    check_redshift,
    convergence_spectrum,
)
from deepsphere.extras import require
from deepsphere.files import replacing
from deepsphere.sampling.healpix import check_nside

FORMAT_VERSION = 2  # raise it when the same parameters no longer give the same maps

Draw = Callable[[np.random.Generator], NDArray[np.float64]]
Maps = NDArray[np.float32]
Labels = NDArray[np.int32]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SkySimulation:
    """Everything that determines a set of simulated skies.

    Parameters
    ----------
    cosmologies : tuple of Cosmology, default PAPER_COSMOLOGIES
        One class of maps each; its label is its position here.
    maps_per_class : int, default 100
        Number of maps of each class; 100 and 100 make the demonstration of some minutes.
    nside : int, default 64
        Resolution, a power of two; pixels are 55 arc minutes wide at 64. The signal holds
        multipoles up to ``lmax = 2 * nside``: beyond, HEALPix pixels alias them.
    source_redshift : float, default 1.2
        Redshift of the lensed sources, from 0.1 to 10. At 1.2, with as much noise as signal at
        nside 64, the likelihoods of the papers' two cosmologies differ by 6.6 standard deviations:
        the best possible classifier errs on one map in 2000. At 1.0 these are 5.4 and one in 300.
    signal_to_noise : float, default 1.0
        Ratio of powers: the variance of the signal over the variance of the noise, in a pixel.
        The signal's variance is its expectation ``sum((2l + 1) C_l) / 4 pi`` up to lmax, averaged
        over the classes, so all maps have noise of one absolute level. ``numpy.inf`` means none.
    lognormal : bool, default False
        Whether the convergence is lognormal, which resembles the true one and tells more about
        cosmology than its power spectrum does, or Gaussian, which does not.
    seed : int, default 0
        Seed of all random numbers. Map ``i`` of class ``c`` depends on `seed`, ``i`` and ``c``
        alone, not on how many maps or classes there are (the noise level does depend on the
        classes, through their mean variance).

    Raises
    ------
    TypeError
        If a value is of another type than given here.
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> SkySimulation(maps_per_class=10, nside=32).lmax
    64
    """

    cosmologies: tuple[Cosmology, ...] = PAPER_COSMOLOGIES
    maps_per_class: int = 100
    nside: int = 64
    source_redshift: float = 1.2
    signal_to_noise: float = 1.0
    lognormal: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        cosmologies = tuple(self.cosmologies)
        for cosmology in cosmologies:
            if not isinstance(cosmology, Cosmology):
                raise TypeError(f"cosmologies must hold Cosmology objects, got {cosmology!r}")
        if not cosmologies:
            raise ValueError("cosmologies must hold at least one Cosmology, got none")
        for name, least in (("maps_per_class", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"{name} must be an integer, got {value!r}")
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if not isinstance(self.lognormal, (bool, np.bool_)):
            raise TypeError(f"lognormal must be True or False, got {self.lognormal!r}")
        for name in ("source_redshift", "signal_to_noise"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
                raise TypeError(f"{name} must be a number, got {value!r}")
        check_redshift(self.source_redshift)
        _check_ratio(self.signal_to_noise)
        # plain Python numbers, so that equal simulations have equal cache names
        plain = {
            "cosmologies": cosmologies,
            "maps_per_class": int(self.maps_per_class),
            "nside": check_nside(self.nside),
            "source_redshift": float(self.source_redshift),
            "signal_to_noise": float(self.signal_to_noise),
            "lognormal": bool(self.lognormal),
            "seed": int(self.seed),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def lmax(self) -> int:
        """Largest multipole of the maps."""
        return 2 * self.nside

    @property
    def parameters(self) -> str:
        """All parameters and the format version as JSON text."""
        return json.dumps({"format": FORMAT_VERSION, **asdict(self)}, sort_keys=True)

    @property
    def file_name(self) -> str:
        """Name of the cache file, made from a hash of `parameters`."""
        return f"skies-{hashlib.sha256(self.parameters.encode()).hexdigest()[:16]}.npz"


def simulate(
    simulation: SkySimulation,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> tuple[Maps, Labels]:
    """Draw the maps of a simulation, or load them if they were drawn before.

    Parameters
    ----------
    simulation : SkySimulation
        What to draw.
    cache : path, optional
        Directory for the maps; made if it does not exist. Each simulation has its own file, named
        after its parameters. A file that cannot be read is drawn anew and replaced. Default:
        keep nothing.
    progress : bool, default True
        Whether to show a progress bar, with rate and time left, on standard error.

    Returns
    -------
    maps : ndarray of float32, shape (classes * maps_per_class, 12 * nside**2, 1)
        Convergence with noise, dimensionless, in NEST ordering, class after class.
    labels : ndarray of int32, shape (classes * maps_per_class,)
        Position of each map's cosmology in ``simulation.cosmologies``.

    Raises
    ------
    TypeError, ValueError
        If `simulation` is of another type, or its source redshift is out of range.
    ImportError
        If camb, healpy, glass (for lognormal maps) or tqdm (for progress) is missing.

    Notes
    -----
    Pixels hold the value of the band-limited field at their center: there is no pixel window, so
    the spectrum of the maps is C_l plus the noise's ``4 pi variance / pixels``. (A window would
    take power from both classes and the tables it needs are not shipped with healpy.)

    Lognormal maps are made by GLASS (Tessore et al., Open J. Astrophys. 6, 2023), which finds the
    Gaussian field whose transform has the spectrum C_l at l = 2 to lmax. The shift, minus the
    lowest convergence possible, is that of Hilbert, Hartlap & Schneider, A&A 536, A85 (2011),
    0.02975 at redshift 1, for all cosmologies. The transform is local, so these maps also have a
    little power above lmax (0.3 % of the variance at nside 64) and at l = 0 and 1 (about a
    hundredth of C_2).
    """
    if not isinstance(simulation, SkySimulation):
        raise TypeError(f"simulation must be a SkySimulation, got {simulation!r}")
    path = None if cache is None else Path(cache) / simulation.file_name
    if path is not None and path.exists():
        loaded = _load(path, simulation)
        if loaded is not None:
            return loaded
    maps, labels = _draw_all(simulation, progress)
    if path is not None:
        _save(path, simulation, maps, labels)
    return maps, labels


def noise_variance(spectra: NDArray[np.float64], signal_to_noise: float) -> float:
    """Return the variance of the noise in a pixel, as `SkySimulation` defines it.

    Parameters
    ----------
    spectra : ndarray, shape (classes, lmax + 1)
        Signal spectra C_l of the classes, from l = 0.
    signal_to_noise : float
        Mean variance of the signal over variance of the noise.

    Returns
    -------
    float
        Variance in the squared units of the map; zero for an infinite `signal_to_noise`.

    Raises
    ------
    ValueError
        If `spectra` has another shape, or a power is negative or not finite, or if
        `signal_to_noise` is not positive.
    """
    spectra = np.asarray(spectra, dtype=np.float64)
    if spectra.ndim != 2 or not spectra.size:
        raise ValueError(f"spectra must have shape (classes, lmax + 1), got {spectra.shape}")
    wrong = np.argwhere(~(np.isfinite(spectra) & (spectra >= 0)))
    if len(wrong):
        raise ValueError(
            f"spectra must be finite and not negative, got {spectra[tuple(wrong[0])]} at class "
            f"{wrong[0][0]}, multipole {wrong[0][1]}"
        )
    _check_ratio(signal_to_noise)
    ell = np.arange(spectra.shape[1])
    signal = np.mean(spectra @ (2 * ell + 1)) / (4 * np.pi)
    return float(signal / signal_to_noise)


def _check_ratio(signal_to_noise: float) -> None:
    if not signal_to_noise > 0:
        raise ValueError(
            f"signal_to_noise must be positive (numpy.inf for no noise), got {signal_to_noise!r}"
        )


def _draw_all(simulation: SkySimulation, progress: bool) -> tuple[Maps, Labels]:
    healpy = require("healpy", "cosmology")
    classes, per_class = len(simulation.cosmologies), simulation.maps_per_class
    tqdm = require("tqdm", "cosmology").tqdm if progress else None  # missing: say so at once

    spectra = np.stack(
        [
            convergence_spectrum(cosmology, simulation.lmax, simulation.source_redshift)
            for cosmology in simulation.cosmologies
        ]
    )
    noise = math.sqrt(noise_variance(spectra, simulation.signal_to_noise))
    make_drawer = _lognormal_drawer if simulation.lognormal else _gaussian_drawer
    drawers = [make_drawer(spectrum, simulation) for spectrum in spectra]
    # a stream for each class, and from it one for each map: none depends on how many there are
    streams = [
        stream.spawn(per_class) for stream in np.random.SeedSequence(simulation.seed).spawn(classes)
    ]

    pixels = 12 * simulation.nside**2
    ring_of_nest = healpy.nest2ring(simulation.nside, np.arange(pixels))
    maps = np.empty((classes * per_class, pixels, 1), dtype=np.float32)
    indices = range(classes * per_class)
    for index in tqdm(indices, desc="simulated skies", unit="map") if tqdm else indices:
        label, number = divmod(index, per_class)
        generator = np.random.default_rng(streams[label][number])
        sky = drawers[label](generator)[ring_of_nest]
        if noise > 0:
            sky = sky + noise * generator.standard_normal(pixels)
        maps[index, :, 0] = sky
    return maps, np.repeat(np.arange(classes, dtype=np.int32), per_class)


def _gaussian_drawer(spectrum: NDArray[np.float64], simulation: SkySimulation) -> Draw:
    """Return a function that draws Gaussian RING maps from the harmonic coefficients."""
    healpy = require("healpy", "cosmology")
    ell, m = healpy.Alm.getlm(simulation.lmax)
    # a real field has real a_l0; elsewhere the two parts share the variance C_l
    real = np.sqrt(spectrum[ell] / np.where(m == 0, 1.0, 2.0))
    imaginary = np.where(m == 0, 0.0, real)

    def draw(generator: np.random.Generator) -> NDArray[np.float64]:
        parts = generator.standard_normal((2, len(ell)))
        alm = real * parts[0] + 1j * (imaginary * parts[1])
        sky: NDArray[np.float64] = healpy.alm2map(alm, simulation.nside, lmax=simulation.lmax)
        return sky

    return draw


def _lognormal_drawer(spectrum: NDArray[np.float64], simulation: SkySimulation) -> Draw:
    """Return a function that draws lognormal RING maps with GLASS."""
    glass = require("glass", "cosmology")
    shift = glass.lognormal_shift_hilbert2011(simulation.source_redshift)
    fields = [glass.grf.Lognormal(shift)]
    target = spectrum.copy()
    # GLASS divides by its target, and no lognormal field lacks a dipole altogether
    target[1] = 0.01 * target[2]
    gaussian = glass.solve_gaussian_spectra(fields, [target])[0]
    gaussian[:2] = np.maximum(gaussian[:2], 0.0)  # a small negative dipole would be refused

    def draw(generator: np.random.Generator) -> NDArray[np.float64]:
        sky: NDArray[np.float64] = next(
            iter(glass.generate(fields, [gaussian], simulation.nside, rng=generator))
        )
        return sky

    return draw


def _load(path: Path, simulation: SkySimulation) -> tuple[Maps, Labels] | None:
    """Return the maps in a cache file, or None (and say so) if it does not hold them whole."""
    try:
        # opened here because numpy leaves a damaged file open
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            parameters, maps, labels = str(file["parameters"]), file["maps"], file["labels"]
    except Exception as error:  # a damaged file can make zipfile and numpy raise nearly anything
        logger.warning("cannot read %s (%s); the skies are drawn anew", path, error)
        return None
    count = len(simulation.cosmologies) * simulation.maps_per_class
    if (
        parameters != simulation.parameters
        or (maps.dtype, maps.shape) != (np.float32, (count, 12 * simulation.nside**2, 1))
        or (labels.dtype, labels.shape) != (np.int32, (count,))
    ):
        logger.warning("%s holds other maps than its name says; they are drawn anew", path)
        return None
    return maps, labels


def _save(path: Path, simulation: SkySimulation, maps: Maps, labels: Labels) -> None:
    with replacing(path) as temporary:
        np.savez(temporary, parameters=np.array(simulation.parameters), maps=maps, labels=labels)
