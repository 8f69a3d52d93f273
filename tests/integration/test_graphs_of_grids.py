"""The default graph of longitude-latitude grids is connected and uniformly accurate."""

import ducc0
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from deepsphere.graph import Graph, isotropy_error, laplacian, rescaled_laplacian
from deepsphere.sampling import Equiangular, GaussLegendre, ReducedGaussian

ERA5 = Equiangular(121, 240, "clenshaw-curtis")  # at 1.5 degrees
BANDS = ((0, 60), (60, 85), (86, 90.1))


@pytest.mark.parametrize(
    "grid",
    [
        ERA5,
        Equiangular(32, 64),
        Equiangular(64, 128, "driscoll-healy"),
        Equiangular(60, 120),
        Equiangular(9, 64),
        GaussLegendre(160),
        ReducedGaussian(20),
        ReducedGaussian(32, "classical"),
        ERA5.subset(ERA5.points[:, 2] > 0.99),
    ],
    ids=repr,
)
def test_it_is_in_one_piece(grid):
    for edges in (None, 20):
        assert connected_components(laplacian(grid, edges))[0] == 1
    matrix = laplacian(grid)
    assert np.diff(matrix.indptr).max() < 60  # rows, and so the padded form, stay short
    assert abs(matrix.sum(axis=1)).max() < 1e-12  # constants stay constant


def test_a_gaussian_graph_of_many_points_is_in_one_piece():
    assert connected_components(laplacian(ERA5, Graph(20, laplacian="normalized")))[0] == 1


@pytest.mark.parametrize(
    ("grid", "limit"),
    [
        (GaussLegendre(32), 1e-5),
        (Equiangular(32, 64), 1e-3),
        (Equiangular(33, 64, "clenshaw-curtis"), 1e-3),
        (Equiangular(32, 64, "driscoll-healy"), 1e-3),
        (ReducedGaussian(20), 1e-4),
    ],
    ids=repr,
)
def test_equivariance(grid, limit):
    """On the first, we measured at most 5.4e-6; DISCO of torch-harmonics has 9e-6 to 2e-3."""
    errors = isotropy_error(laplacian(grid), grid.points, [2, 4, 8, 12, 16], areas=grid.areas)
    assert errors.max() < limit


def smooth_fields(grid, degrees=60, fields=4):
    """Return random fields with equal power at all degrees, and the same smoothed by 6 degrees."""
    ell = np.concatenate([np.arange(m, degrees + 1) for m in range(degrees + 1)])
    rng = np.random.default_rng(0)
    colatitude = np.arccos(np.clip(grid.points[:, 2], -1, 1))
    longitude = np.arctan2(grid.points[:, 1], grid.points[:, 0]) % (2 * np.pi)
    places = np.column_stack((colatitude, longitude))
    sigma = np.radians(6) / np.sqrt(8 * np.log(2))  # 6 degrees: full width at half maximum
    beam = np.exp(-ell * (ell + 1) * sigma**2 / 2)

    def maps(coefficients):
        return np.concatenate(
            [
                ducc0.sht.synthesis_general(
                    alm=one[None], spin=0, lmax=degrees, loc=places, epsilon=1e-10
                )
                for one in coefficients
            ]
        ).T

    shape = (fields, len(ell))
    coefficients = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    coefficients[:, : degrees + 1] = np.sqrt(2) * coefficients[:, : degrees + 1].real
    return maps(coefficients), maps(coefficients * beam)


@pytest.mark.parametrize("grid", [Equiangular(120, 240), ERA5, ReducedGaussian(64)], ids=repr)
def test_smoothing_is_as_good_at_the_poles(grid):
    """The error of the best filter of order 8 beyond 86 degrees was 1.9; now at most 0.009."""
    maps, truth = smooth_fields(grid)
    operator, root = rescaled_laplacian(grid), np.sqrt(grid.areas)[:, None]
    terms = [maps, operator @ maps]
    for _ in range(7):
        terms.append(2 * (operator @ terms[-1]) - terms[-2])
    design = np.stack([(root * term).ravel() for term in terms], axis=1)
    coefficients = np.linalg.lstsq(design, (root * truth).ravel(), rcond=None)[0]
    wrong = sum(c * term for c, term in zip(coefficients, terms, strict=True)) - truth
    latitudes = np.degrees(np.arcsin(np.clip(np.abs(grid.points[:, 2]), 0, 1)))
    for low, high in BANDS:
        band = (latitudes >= low) & (latitudes < high)
        assert np.linalg.norm((root * wrong)[band]) < 0.02 * np.linalg.norm((root * truth)[band])
