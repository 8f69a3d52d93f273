"""Kernel widths match the published table, and weights a dense formula."""

import numpy as np
import pytest

from deepsphere.graph import gaussian_weights, kernel_width, nearest_neighbors
from deepsphere.sampling import Healpix, Sampling

# Copied by hand from PyGSP's table for HEALPix (rows nside, columns k = 8, 20, 40, 60).
PUBLISHED = {
    1: (0.8, 1.0192, 1.357824, 1.65504),
    2: (0.4, 0.5096, 0.678912, 0.82752),
    4: (0.2, 0.2548, 0.339456, 0.41376),
    8: (0.1, 0.1274, 0.169728, 0.20688),
    16: (0.05, 0.0637, 0.084864, 0.10344),
    32: (0.025, 0.03185, 0.042432, 0.05172),
    64: (0.01228, 0.01564, 0.021354, 0.025403),
    128: (0.00614, 0.00782, 0.010595, 0.012695),
    256: (0.00307, 0.00391, 0.005551, 0.006351),
    512: (0.00154, 0.00196, 0.0027755, 0.0031755),
    1024: (0.00077, 0.00098, 0.00138775, 0.00158775),
    2048: (0.000385, 0.00049, 0.000693875, 0.000793875),
}


@pytest.mark.parametrize("nside", PUBLISHED)
def test_published_widths(nside):
    widths = [kernel_width(nside, k) for k in (8, 20, 40, 60)]
    np.testing.assert_allclose(widths, PUBLISHED[nside], rtol=1e-12)


@pytest.mark.parametrize("k", [1, 8, 15, 20, 100])
def test_beyond_the_table_widths_follow_the_pixel_size(k):
    for fine in (2, 4, 8, 16, 32):
        assert kernel_width(fine // 2, k) == pytest.approx(2 * kernel_width(fine, k), rel=1e-12)
    for coarse in (1024, 2048, 2**28):
        assert kernel_width(2 * coarse, k) == pytest.approx(kernel_width(coarse, k) / 2, rel=1e-12)


@pytest.mark.parametrize("nside", [1, 32, 64, 128, 256, 512, 1024, 4096])
def test_width_grows_with_the_number_of_neighbors(nside):
    widths = np.array([kernel_width(nside, k) for k in range(1, 200)])
    ratios = widths[1:] / widths[:-1]
    assert np.all(ratios > 1)
    # No jump at a table entry: a step is at most that of a width proportional to the number.
    numbers = np.arange(1, 200)
    assert np.all(ratios < numbers[1:] / numbers[:-1])


def test_interpolation():
    """Halfway between logarithms of k, the width is the geometric mean."""
    np.testing.assert_allclose(
        [kernel_width(64, 40), kernel_width(64, 240), kernel_width(64, 6_000)],
        [0.021354, 0.025403 * 2, 0.025403 * 10],  # beyond 60 like the radius of a disc
        rtol=1e-12,
    )
    low, high = kernel_width(32, 8), kernel_width(32, 20)
    slope = np.log(high / low) / np.log(20 / 8)
    for k in (1, 3, 10, 13, 19):
        assert kernel_width(32, k) == pytest.approx(low * (k / 8) ** slope, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((64, 0), ValueError, "neighbors must be at least 1, got 0"),
        ((64, 8.0), TypeError, r"neighbors must be an integer, got 8\.0"),
        ((48, 8), ValueError, "power of two.*got 48"),
        ((0, 8), ValueError, "power of two.*got 0"),
    ],
)
def test_width_errors(arguments, error, match):
    with pytest.raises(error, match=match):
        kernel_width(*arguments)


def dense_weights(sampling: Healpix, k: int) -> np.ndarray:
    """Weights by definition: Gaussians of pairs where either is among the other's k nearest."""
    points = sampling.points
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    off_diagonal = distances + np.diag(np.full(len(points), np.inf))
    limit = np.sort(off_diagonal, axis=1)[:, min(k, len(points) - 1) - 1]
    chosen = off_diagonal <= limit[:, None] * (1 + 1e-8)
    sigma = PUBLISHED[sampling.nside][(8, 20, 40, 60).index(k)]
    return np.where(chosen | chosen.T, 2.0 ** -((distances / sigma) ** 2), 0)


@pytest.mark.parametrize("k", [8, 20, 40, 60])
@pytest.mark.parametrize(
    "sampling",
    [
        Healpix(1),
        Healpix(2),
        Healpix(8),
        Healpix(8, np.arange(100, 230)),
        Healpix(8, np.flatnonzero(np.random.default_rng(0).random(768) < 0.3)),
        Healpix(4, [17]),
    ],
)
def test_formula(sampling, k):
    expected = np.zeros((1, 1)) if len(sampling) == 1 else dense_weights(sampling, k)
    weights = gaussian_weights(sampling, k)
    assert weights.shape == (len(sampling), len(sampling))
    assert weights.dtype == np.float64
    # The exponents reach -ln 2 * 40**2 where a part has far pixels: absolute for those.
    np.testing.assert_allclose(weights.toarray(), expected, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("k", [1, 5, 20, 767, 5000])
def test_symmetric_with_an_empty_diagonal(k):
    weights = gaussian_weights(Healpix(8), k)
    dense = weights.toarray()
    np.testing.assert_allclose(dense, dense.T, rtol=1e-12)
    assert not np.any(np.diag(dense))
    assert weights.has_sorted_indices
    coordinates = weights.tocoo().coords
    assert not np.any(coordinates[0] == coordinates[1])
    assert dense.max() <= 1
    assert dense.min() >= 0


def test_one_sided_choices_become_edges():
    """A pixel far from a cluster chooses it, but no pixel of the cluster chooses it."""
    sampling = Healpix(8, [0, 1, 2, 3, 300])
    rows, columns, _ = nearest_neighbors(sampling.points, 2)
    assert 4 not in columns
    pattern = gaussian_weights(sampling, 2)
    stored = set(zip(*(c.tolist() for c in pattern.tocoo().coords), strict=True))
    assert {(j, 4) for i, j in zip(rows, columns, strict=True) if i == 4} <= stored
    assert stored == {(j, i) for i, j in stored}


def test_other_samplings_have_the_average_distance():
    class Poles(Sampling):
        kind = "poles"
        branching = 2
        points = np.array([[0, 0, 1.0], [0, 0, -1.0]])
        areas = np.full(2, 2 * np.pi)

        def __len__(self):
            return 2

        def coarsen(self, levels=1):
            raise NotImplementedError

        refine = coarsen

        def get_config(self):
            return {}

        def _identity(self):
            return ()

    # At the average distance, here the only one, a weight is 1/2.
    np.testing.assert_allclose(
        gaussian_weights(Poles(), 1).toarray(), [[0, 0.5], [0.5, 0]], rtol=1e-12
    )


@pytest.mark.parametrize(("k", "error"), [(0, ValueError), (2.5, TypeError)])
def test_errors(k, error):
    with pytest.raises(error, match="neighbors must be"):
        gaussian_weights(Healpix(1), k)
