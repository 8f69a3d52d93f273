"""Compared with healpy's quadrature and Wigner matrices."""

import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deepsphere.analysis.harmonics import (
    analyze,
    band_limit,
    random_coefficients,
    random_rotations,
    synthesize,
)
from deepsphere.sampling import (
    CubedSphere,
    Equiangular,
    Fibonacci,
    GaussLegendre,
    Healpix,
    Icosahedral,
    IcosahedralFaces,
    ReducedGaussian,
)
from harness import relative_error

ROUNDING = 1e-9
"""Synthesis is asked for 1e-10, of the sum of some hundreds of terms of about 1."""


def noise(limit, seed=0):
    """Coefficients up to a degree, in the order of healpy: shape (1, m)."""
    rng = np.random.default_rng(seed)
    count = (limit + 1) * (limit + 2) // 2
    coefficients = rng.normal(size=(1, count)) + 1j * rng.normal(size=(1, count))
    coefficients[:, : limit + 1].imag = 0  # order 0
    return coefficients


def test_synthesis_agrees_with_healpy():
    healpy = pytest.importorskip("healpy")
    coefficients = noise(20)
    truth = healpy.reorder(healpy.alm2map(coefficients[0], 8, lmax=20), r2n=True)
    assert relative_error(synthesize(coefficients, Healpix(8).points)[0], truth) < ROUNDING


def test_rotation_agrees_with_wigner_matrices():
    healpy = pytest.importorskip("healpy")
    coefficients = noise(20)
    rotation = Rotation.from_euler("ZYZ", [0.4, 1.1, -0.7])
    turned = coefficients[0].copy()
    # healpy's angles turn the axes, in the other order.
    healpy.rotate_alm(turned, -0.7, 1.1, 0.4)
    truth = healpy.reorder(healpy.alm2map(turned, 8, lmax=20), r2n=True)
    found = synthesize(coefficients, Healpix(8).points @ rotation.as_matrix())
    assert relative_error(found[0], truth) < ROUNDING


@pytest.mark.parametrize("nside", [1, 2, 16])
def test_band_limit_of_healpix(nside):
    assert band_limit(Healpix(nside)) == int(2.5 * nside)


@pytest.mark.parametrize(
    "sampling",
    [
        Healpix(1),
        Healpix(2),
        Healpix(16),
        Equiangular(16, 32),
        Equiangular(16, 32, "driscoll-healy"),
        Equiangular(17, 32, "clenshaw-curtis"),
        Equiangular(32, 16),
        GaussLegendre(16),
        ReducedGaussian(16),
        Fibonacci(800),
        Icosahedral(3),
        IcosahedralFaces(2),
        CubedSphere(8),
    ],
    ids=repr,
)
def test_analysis_inverts_synthesis(sampling):
    coefficients = np.stack([noise(band_limit(sampling), seed) for seed in range(2)])
    maps = synthesize(coefficients, sampling.points)
    assert maps.shape == (2, 1, len(sampling))
    found = analyze(maps, sampling)
    # The least squares stop at a relative error of 1e-8, times a condition number of about 2.
    np.testing.assert_allclose(found, coefficients, atol=1e-7)


def test_analysis_is_the_nearest_field():
    sampling = Healpix(4)
    maps = np.random.default_rng(0).normal(size=(1, len(sampling)))
    nearest = synthesize(analyze(maps, sampling), sampling.points)
    left = maps - nearest
    # What is left is orthogonal to all fields of the band, up to the tolerance.
    field = synthesize(noise(10), sampling.points)
    assert abs(left @ field.T).max() < 1e-6 * np.linalg.norm(maps) * np.linalg.norm(field)
    assert not analyze(np.zeros_like(maps), sampling).any()


def test_random_fields_have_one_degree_and_unit_variance():
    fields = random_coefficients(5, 400, np.random.default_rng(0))
    values = synthesize(fields, Healpix(4).points)
    # 400 fields of 11 coefficients: the variance is known to sqrt(2 / 4400) = 2 %.
    assert abs(values.var() - 1) < 0.06
    assert not analyze(values[:1], Healpix(4))[0, : 5 - 1].round(7).any()


def test_rotations_are_proper_and_uniform():
    turns = random_rotations(2000, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    # A uniform rotation takes any point anywhere: mean 0 and variance 1 / 3, to 1 / sqrt(2000).
    assert abs(turns.mean(axis=0)).max() < 4 * np.sqrt(1 / 3 / 2000)
    assert abs(turns.var(axis=0) - 1 / 3).max() < 0.03


def test_only_the_whole_sphere_can_be_rotated():
    part = Healpix(4, np.arange(96))
    with pytest.raises(ValueError, match=r"whole sphere can be rotated.* covers 50\.0% of it"):
        analyze(np.ones((1, 96)), part)


class Clustered(Healpix):
    """Points that pretend to be on the whole sphere."""

    kind = "clustered"

    @property
    def points(self):
        points = super().points
        return np.abs(points)


def test_points_that_do_not_determine_fields_are_refused():
    with pytest.raises(ValueError, match="do not determine fields up to degree 10"):
        analyze(np.ones((1, 192)), Clustered(4))


def test_maps_with_gaps_are_refused():
    complete = np.zeros(48)
    for value in (np.nan, -1.6375e30, np.inf):
        maps = complete.copy()
        maps[[3, 5]] = value
        with pytest.raises(ValueError, match="2 of 48 values are missing"):
            analyze(maps, Healpix(2))
    with pytest.raises(ValueError, match="48 of 48 values are missing"):
        analyze(np.ma.masked_array(complete, mask=True), Healpix(2))
    with pytest.raises(TypeError, match="maps must be real"):
        analyze(complete + 0j, Healpix(2))


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ducc0", None)
    with pytest.raises(ImportError, match=r"deepsphere-keras\[harmonics\]"):
        synthesize(noise(2), Healpix(1).points)
