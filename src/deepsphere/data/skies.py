"""Simulated weak-lensing maps of several cosmologies, labeled for classification."""

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

from deepsphere._checks import check_count
from deepsphere._extras import require
from deepsphere._files import replacing
from deepsphere.data.cosmology import (
    PAPER_COSMOLOGIES,
    Cosmology,
    check_redshift,
    convergence_spectrum,
)
from deepsphere.sampling.healpix import check_nside

FORMAT_VERSION = 2  # increase it when the same parameters no longer give the same maps

Draw = Callable[[np.random.Generator], NDArray[np.float64]]
Maps = NDArray[np.float32]
Labels = NDArray[np.int32]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SkySimulation:
    """The parameters of a set of simulated skies.

    Parameters
    ----------
    cosmologies : tuple of Cosmology, default PAPER_COSMOLOGIES
        The cosmologies, one per class. The label of a class is its position.
    maps_per_class : int, default 100
        Number of maps of each class. With the default, the demonstration takes a few minutes.
    nside : int, default 64
        Resolution, a power of two. Pixels are 55 arcminutes wide at 64. The signal has multipoles
        up to ``lmax = 2 * nside``, above which HEALPix maps alias.
    source_redshift : float, default 1.2
        Redshift of the lensed sources, from 0.1 to 10. At 1.2, with as much noise as signal at
        nside 64, the likelihoods of the papers' two cosmologies differ by 6.6 standard deviations:
        the best possible classifier errs on one map in 2000. At 1.0 these are 5.4 and one in 300.
    signal_to_noise : float, default 1.0
        Ratio of the variances of signal and noise in a pixel, greater than 0. The variance of the
        signal is its expectation ``sum((2l + 1) C_l) / 4 pi`` up to lmax, averaged over the
        classes, so all maps have the same noise level. ``numpy.inf`` means no noise.
    lognormal : bool, default False
        Whether the convergence is lognormal instead of Gaussian. A lognormal field is closer to the
        true one, and contains information on cosmology beyond its power spectrum.
    seed : int, default 0
        Seed of all random numbers. The random numbers of map ``i`` of class ``c`` depend on `seed`,
        ``i`` and ``c`` only, not on the numbers of maps and classes. (The noise level depends on
        the classes, through their mean variance.)

    Raises
    ------
    TypeError
        If `cosmologies` holds something other than `Cosmology`, `maps_per_class`, `nside` or `seed`
        is not an integer, `source_redshift` or `signal_to_noise` is not a number, or `lognormal` is
        not a bool.
    ValueError
        If `cosmologies` is empty, `maps_per_class` is less than 1, `nside` is not a power of two,
        `source_redshift` is not from 0.1 to 10, `signal_to_noise` is not positive, or `seed` is
        negative.

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
                raise TypeError(f"cosmologies must contain Cosmology objects, got {cosmology!r}")
        if not cosmologies:
            raise ValueError("cosmologies must contain at least one Cosmology, got none")
        for name, least in (("maps_per_class", 1), ("seed", 0)):
            check_count(getattr(self, name), name, least)
        if not isinstance(self.lognormal, (bool, np.bool_)):
            raise TypeError(f"lognormal must be True or False, got {self.lognormal!r}")
        for name in ("source_redshift", "signal_to_noise"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
                raise TypeError(f"{name} must be a number, got {value!r}")
        check_redshift(self.source_redshift)
        _check_ratio(self.signal_to_noise)
        # Python numbers, so that equal simulations have equal cache names
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
        """All parameters and the format version, as JSON."""
        return json.dumps({"format": FORMAT_VERSION, **asdict(self)}, sort_keys=True)

    @property
    def file_name(self) -> str:
        """Name of the cache file, which contains a hash of `parameters`."""
        return f"skies-{hashlib.sha256(self.parameters.encode()).hexdigest()[:16]}.npz"


def simulate(
    simulation: SkySimulation,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> tuple[Maps, Labels]:
    """Simulate sky maps, or load them if they are cached.

    Parameters
    ----------
    simulation : SkySimulation
        The parameters of the simulation.
    cache : path, optional
        Directory in which to cache the maps, created if it does not exist. Each simulation has its
        own file, named after its parameters. A file that cannot be read is simulated again and
        replaced. Defaults to no cache.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    maps : ndarray of float32, shape (classes * maps_per_class, 12 * nside**2, 1)
        Convergence with noise, dimensionless, in NEST ordering, class after class.
    labels : ndarray of int32, shape (classes * maps_per_class,)
        Position of each map's cosmology in ``simulation.cosmologies``.

    Raises
    ------
    TypeError
        If `simulation` is not a `SkySimulation`.
    ImportError
        If camb, healpy, glass (for lognormal maps) or tqdm (for `progress`) is not installed (extra
        ``cosmology``).

    Notes
    -----
    Pixels hold the value of the band-limited field at their center. There is no pixel window, so
    the spectrum of the maps is C_l plus ``4 pi variance / pixels`` of the noise. (A window would
    remove power from all classes, and healpy does not ship the tables that it needs.)

    GLASS (Tessore et al., Open J. Astrophys. 6, 2023) makes lognormal maps. It finds the Gaussian
    field whose transform has the spectrum C_l at l = 2 to lmax. The shift, which is minus the
    lowest possible convergence, is that of Hilbert, Hartlap & Schneider, A&A 536, A85 (2011), for
    all cosmologies: 0.02975 at redshift 1. The transform is local, so these maps also have a little
    power above lmax (0.3 % of the variance at nside 64) and at l = 0 and 1 (about a hundredth of
    C_2).
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
    """Return the variance of the noise in a pixel, as defined by `SkySimulation`.

    Parameters
    ----------
    spectra : ndarray, shape (classes, lmax + 1)
        Signal spectra C_l of the classes, from l = 0.
    signal_to_noise : float
        Mean variance of the signal, divided by the variance of the noise.

    Returns
    -------
    float
        Variance in squared units of the map; 0 if `signal_to_noise` is infinite.

    Raises
    ------
    ValueError
        If `spectra` has another shape or is empty, a power is negative or not finite, or
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
    tqdm = require("tqdm", "cosmology").tqdm if progress else None  # raise before the slow part

    spectra = np.stack(
        [
            convergence_spectrum(cosmology, simulation.lmax, simulation.source_redshift)
            for cosmology in simulation.cosmologies
        ]
    )
    noise = math.sqrt(noise_variance(spectra, simulation.signal_to_noise))
    make_drawer = _lognormal_drawer if simulation.lognormal else _gaussian_drawer
    drawers = [make_drawer(spectrum, simulation) for spectrum in spectra]
    # one stream per class, and from it one per map, whatever the numbers of classes and maps
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
    """Return a function that draws Gaussian maps in RING ordering."""
    healpy = require("healpy", "cosmology")
    ell, m = healpy.Alm.getlm(simulation.lmax)
    # a_l0 of a real field is real; for m > 0, the two parts share the variance C_l
    real = np.sqrt(spectrum[ell] / np.where(m == 0, 1.0, 2.0))
    imaginary = np.where(m == 0, 0.0, real)

    def draw(generator: np.random.Generator) -> NDArray[np.float64]:
        parts = generator.standard_normal((2, len(ell)))
        alm = real * parts[0] + 1j * (imaginary * parts[1])
        sky: NDArray[np.float64] = healpy.alm2map(alm, simulation.nside, lmax=simulation.lmax)
        return sky

    return draw


def _lognormal_drawer(spectrum: NDArray[np.float64], simulation: SkySimulation) -> Draw:
    """Return a function that draws lognormal maps in RING ordering, with GLASS."""
    glass = require("glass", "cosmology")
    shift = glass.lognormal_shift_hilbert2011(simulation.source_redshift)
    fields = [glass.grf.Lognormal(shift)]
    target = spectrum.copy()
    # GLASS divides by its target, and every lognormal field has some dipole
    target[1] = 0.01 * target[2]
    gaussian = glass.solve_gaussian_spectra(fields, [target])[0]
    gaussian[:2] = np.maximum(gaussian[:2], 0.0)  # GLASS rejects a small negative dipole

    def draw(generator: np.random.Generator) -> NDArray[np.float64]:
        sky: NDArray[np.float64] = next(
            iter(glass.generate(fields, [gaussian], simulation.nside, rng=generator))
        )
        return sky

    return draw


def _load(path: Path, simulation: SkySimulation) -> tuple[Maps, Labels] | None:
    """Return the maps in a cache file, or warn and return None if the file is not valid."""
    try:
        # given a path, np.load leaves a damaged file open
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            parameters, maps, labels = str(file["parameters"]), file["maps"], file["labels"]
    except Exception as error:  # zipfile and NumPy raise almost anything on damaged files
        logger.warning("cannot read %s (%s); simulating the skies again", path, error)
        return None
    count = len(simulation.cosmologies) * simulation.maps_per_class
    if (
        parameters != simulation.parameters
        or (maps.dtype, maps.shape) != (np.float32, (count, 12 * simulation.nside**2, 1))
        or (labels.dtype, labels.shape) != (np.int32, (count,))
    ):
        logger.warning("%s contains maps that do not match its name; simulating them again", path)
        return None
    return maps, labels


def _save(path: Path, simulation: SkySimulation, maps: Maps, labels: Labels) -> None:
    with replacing(path) as temporary:
        np.savez(temporary, parameters=np.array(simulation.parameters), maps=maps, labels=labels)
