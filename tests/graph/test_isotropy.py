"""The exact isotropy error, compared with random fields of spherical harmonics."""

import numpy as np
import pytest
from scipy.sparse import csr_array, diags_array

from deepsphere.graph import Graph, isotropy_error, laplacian
from deepsphere.graph.isotropy import spectrum
from deepsphere.sampling import Healpix
from harmonics_truth import harmonics

SPHERE = Healpix(8)
DEGREES = [1, 2, 4, 8, 12]


def error_by_harmonics(matrix: csr_array, points: np.ndarray, ell: int, rows=slice(None)) -> float:
    """E_l by its definition: random coefficients are independent, so degree by degree a sum."""
    f = harmonics(points, ell)
    y, f = (matrix @ f)[rows], f[rows]
    h = np.vdot(f, y) / np.vdot(f, f)
    return 2 * np.linalg.norm(y - h * f) ** 2 / np.linalg.norm(y) ** 2


@pytest.mark.parametrize("kind", ["normalized", "combinatorial", "optimal"])
@pytest.mark.parametrize("k", [8, 20])
def test_against_harmonics(k, kind):
    matrix = laplacian(SPHERE, Graph(k, laplacian=kind))
    # The normalized Laplacian has rows that do not sum to 0.
    expected = [error_by_harmonics(matrix, SPHERE.points, ell) for ell in DEGREES]
    # The sum over harmonics loses the digits that 1 - P_l keeps.
    np.testing.assert_allclose(
        isotropy_error(matrix, SPHERE.points, DEGREES), expected, rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize("kind", ["normalized", "optimal"])
@pytest.mark.parametrize("rows", [slice(None), slice(100, 200)])
def test_spectrum_against_harmonics(kind, rows):
    matrix, expected = laplacian(SPHERE, Graph(8, laplacian=kind)), []
    for ell in DEGREES:
        f = harmonics(SPHERE.points, ell)
        expected.append(np.vdot(f[rows], (matrix @ f)[rows]).real / np.vdot(f[rows], f[rows]).real)
    found = spectrum(matrix, SPHERE.points, DEGREES, rows=np.arange(len(SPHERE))[rows])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_on_some_rows():
    matrix = laplacian(SPHERE, 8)
    rows = np.arange(100, 200)
    expected = [error_by_harmonics(matrix, SPHERE.points, ell, rows) for ell in DEGREES]
    found = isotropy_error(matrix, SPHERE.points, DEGREES, rows=rows)
    # Not alike: on a part of the sphere the harmonics have unequal norms, but in the mean over
    # fields of unit variance they are what the addition theorem says.
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_areas_weigh_the_points():
    matrix = laplacian(SPHERE, 8)
    areas = np.zeros(len(SPHERE))
    areas[:100] = 2.0
    np.testing.assert_allclose(
        isotropy_error(matrix, SPHERE.points, DEGREES, areas=areas),
        isotropy_error(matrix, SPHERE.points, DEGREES, rows=np.arange(100)),
        rtol=1e-12,
    )


def test_extremes():
    """A multiple of the identity is isotropic; a diagonal has the error of its variance."""
    n = len(SPHERE)
    numbers = np.random.default_rng(0).standard_normal(n)
    exact = isotropy_error(csr_array(diags_array(np.full(n, 3.0))), SPHERE.points, DEGREES)
    np.testing.assert_allclose(exact, 0, atol=1e-13)
    found = isotropy_error(csr_array(diags_array(numbers)), SPHERE.points, DEGREES)
    np.testing.assert_allclose(found, 2 * numbers.var() / (numbers**2).mean(), rtol=1e-12)


@pytest.mark.parametrize(
    ("degrees", "error", "match"),
    [
        ([0, 2], ValueError, "degrees must be at least 1, got 0"),
        ([1.5], TypeError, r"degrees must be integers, got \[1.5\]"),
        ([], TypeError, "degrees must be integers"),
    ],
)
def test_errors(degrees, error, match):
    with pytest.raises(error, match=match):
        isotropy_error(laplacian(SPHERE, 8), SPHERE.points, degrees)
