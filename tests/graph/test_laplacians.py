"""Laplacians, compared with dense formulas and with deepsphere-cosmo-tf2."""

from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from deepsphere._cache import clear_cache
from deepsphere.graph import (
    DisconnectedGraphWarning,
    Graph,
    gaussian_weights,
    kernel_width,
    laplacian,
    laplacian_of_weights,
    nearest_neighbors,
    rescaled_laplacian,
    spectral,
)
from deepsphere.graph.spec import LAPLACIANS, WEIGHTED_LAPLACIANS
from deepsphere.sampling import Healpix

GOLDEN = Path(__file__).parents[1] / "golden" / "layers.npz"
PART = Healpix(8, np.flatnonzero(np.random.default_rng(0).random(768) < 0.3))
LONELY = Healpix(1024, [0, 1, 2, 3, 7_000_000])  # one far from all others: its weights underflow


def dense_laplacian(weights: np.ndarray, kind: str) -> np.ndarray:
    """Laplacian by its formula, row by row; points without edges have zeros."""
    degrees = weights.sum(axis=1)
    result = np.zeros_like(weights)
    for i, degree in enumerate(degrees):
        if degree == 0:
            continue
        for j, other in enumerate(degrees):
            if kind == "combinatorial":
                result[i, j] = (i == j) * degree - weights[i, j]
            elif kind == "random_walk":
                result[i, j] = (i == j) - weights[i, j] / degree
            elif weights[i, j]:
                result[i, j] = -weights[i, j] / (np.sqrt(degree) * np.sqrt(other))
        if kind == "normalized":
            result[i, i] = 1
    return result


@pytest.mark.parametrize("kind", WEIGHTED_LAPLACIANS)
@pytest.mark.parametrize("k", [4, 20])
@pytest.mark.parametrize("sampling", [Healpix(1), Healpix(4), PART, LONELY], ids=str)
def test_formula(sampling, k, kind):
    expected = dense_laplacian(gaussian_weights(sampling, k).toarray(), kind)
    result = laplacian(sampling, Graph(k, laplacian=kind))
    assert isinstance(result, csr_array)
    assert result.dtype == np.float64
    assert result.has_sorted_indices
    # Sums of up to 30 terms below 10, in another order.
    np.testing.assert_allclose(result.toarray(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", WEIGHTED_LAPLACIANS)
def test_formula_for_any_weights(kind):
    rng = np.random.default_rng(0)
    weights = np.triu(rng.random((30, 30)) * (rng.random((30, 30)) < 0.2), 1)
    weights += weights.T
    weights[:, 7] = weights[7] = 0  # a vertex without edges
    result = laplacian_of_weights(csr_array(weights), kind).toarray()
    np.testing.assert_allclose(result, dense_laplacian(weights, kind), rtol=1e-13, atol=1e-15)
    assert not result[7].any()
    assert not result[:, 7].any()


@pytest.mark.parametrize("k", [8, 20])
@pytest.mark.parametrize("sampling", [Healpix(4), PART], ids=str)
def test_spectra(sampling, k):
    normalized, combinatorial, random_walk = (
        laplacian(sampling, Graph(k, laplacian=kind)).toarray() for kind in WEIGHTED_LAPLACIANS
    )
    degrees = gaussian_weights(sampling, k).sum(axis=1)
    # Constants are in the null space of two of them, square roots of the degrees in the third's.
    np.testing.assert_allclose(combinatorial.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(random_walk.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(normalized @ np.sqrt(degrees), 0, atol=1e-12)
    np.testing.assert_allclose(normalized, normalized.T, atol=1e-15)
    np.testing.assert_allclose(combinatorial, combinatorial.T, atol=1e-15)
    eigenvalues = np.linalg.eigvalsh(normalized)
    assert eigenvalues[0] == pytest.approx(0, abs=1e-12)
    assert eigenvalues[-1] < 2
    walk = np.linalg.eigvals(random_walk)
    np.testing.assert_allclose(walk.imag, 0, atol=1e-9)
    np.testing.assert_allclose(np.sort(walk.real), eigenvalues, atol=1e-9)
    assert np.linalg.eigvalsh(combinatorial)[0] == pytest.approx(0, abs=1e-12)


def test_random_walk_has_the_normalized_bound():
    assert spectral(PART, Graph(8, laplacian="random_walk")).eigenvalue == pytest.approx(
        spectral(PART, Graph(8, laplacian="normalized")).eigenvalue, rel=1e-12
    )


@pytest.mark.parametrize("kind", LAPLACIANS)
def test_one_pixel(kind):
    assert laplacian(Healpix(8, [5]), Graph(20, laplacian=kind)).toarray().tolist() == [[0]]
    assert rescaled_laplacian(Healpix(8, [5]), Graph(20, laplacian=kind)).toarray().tolist() == [
        [-1]
    ]


@pytest.mark.parametrize("kind", ["normalized", "random_walk"])
def test_far_pixels_whose_weight_all_but_underflows(kind):
    """The inverse of such a pair's weight, 2**-1056, overflows."""
    points, sigma = Healpix(64).points, kernel_width(64, 8)
    exponents = (np.linalg.norm(points - points[0], axis=1) / sigma) ** 2
    partner = int(np.argmin(np.abs(exponents - 1056)))
    pair = Healpix(64, [0, partner])
    assert 0 < gaussian_weights(pair, 8).max() < 2.0**-1030
    # Subnormal numbers have few digits: 2**-1056 keeps 18 bits.
    np.testing.assert_allclose(
        laplacian(pair, Graph(8, laplacian=kind)).toarray(), [[1, -1], [-1, 1]], atol=1e-4
    )


def test_defaults():
    assert abs(laplacian(PART) - laplacian(PART, Graph(20, laplacian="normalized"))).max() == 0
    by_hand = rescaled_laplacian(PART, Graph(20, laplacian="normalized"), 1.0)
    assert abs(rescaled_laplacian(PART) - by_hand).max() == 0


@pytest.mark.parametrize("make", [laplacian, rescaled_laplacian, spectral])
def test_errors(make):
    with pytest.raises(ValueError, match=r"one of mesh, .*; got 'x'"):
        make(PART, "x")
    with pytest.raises(
        TypeError, match=r"sampling must be a Sampling such as Healpix\(64\), got 8"
    ):
        make(8, 8)
    with pytest.raises(ValueError, match="neighbors must be at least 1, got 0"):
        make(PART, 0)
    clear_cache()
    with pytest.warns(DisconnectedGraphWarning, match="has .* pieces.*use more neighbors"):
        make(PART, 1)
    make(PART, 8)
    make(PART, 1)
    # Equal as keys to numbers that were just requested, but still wrong.
    for wrong in (8.0, True):
        with pytest.raises(TypeError, match=f"graph must be a Graph, .* got {wrong}"):
            make(PART, wrong)


def test_errors_of_weights_and_scale():
    with pytest.raises(ValueError, match="one of normalized"):
        laplacian_of_weights(gaussian_weights(PART, 8), "Normalized")
    with pytest.raises(ValueError, match=r"scale must be in \(0, 1\], got 2"):
        rescaled_laplacian(PART, 8, scale=2)


WEIGHTS = csr_array(np.array([[0.0, 1, 0], [1, 0, 2], [0, 2, 0]]))


def changed(row, column, value, both=True):
    weights = WEIGHTS.toarray()
    weights[row, column] = value
    if both:
        weights[column, row] = value
    return csr_array(weights)


@pytest.mark.parametrize(
    ("weights", "error", "match"),
    [
        (changed(0, 1, np.nan), ValueError, "finite, got 2 NaN or infinite ones"),
        (changed(0, 1, np.inf), ValueError, "finite, got 2 NaN or infinite ones"),
        (changed(0, 1, -0.5), ValueError, "not be negative, got 2 negative ones, down to -0.5"),
        (
            changed(0, 1, 3, both=False),
            ValueError,
            "symmetric, .* differ by up to 2; take the mean",
        ),
        (
            changed(0, 2, 3, both=False),
            ValueError,
            "symmetric, .* differ by up to 3; take the mean",
        ),
        (
            changed(1, 1, 4),
            ValueError,
            "vertex 1 has an edge to itself with weight 4; use .*setdiag",
        ),
        (WEIGHTS[:2], ValueError, r"square matrix, got shape \(2, 3\)"),
        (WEIGHTS.astype(complex), TypeError, "real numbers, got dtype complex128"),
        (WEIGHTS.toarray(), TypeError, "a sparse matrix, got ndarray"),
    ],
)
@pytest.mark.parametrize("kind", ["normalized", "combinatorial", "random_walk"])
def test_refuses_what_are_no_weights(weights, error, match, kind):
    with pytest.raises(error, match=match):
        laplacian_of_weights(weights, kind)


@pytest.mark.parametrize("dtype", [np.int64, np.float32, bool])
def test_takes_weights_of_any_real_type(dtype):
    weights = (WEIGHTS > 0).astype(dtype)
    expected = np.array([[1.0, -1, 0], [-1, 2, -1], [0, -1, 1]])
    np.testing.assert_array_equal(
        laplacian_of_weights(weights, "combinatorial").toarray(), expected
    )
    np.testing.assert_array_equal(
        laplacian_of_weights(weights.tocoo(), "combinatorial").toarray(), expected
    )


class TestGolden:
    """nside 8, 8 or 20 neighbors, full sphere and part, from deepsphere-cosmo-tf2 0.3.0."""

    @pytest.fixture(params=["k8_full", "k8_part", "k20_full", "k20_part"])
    def case(self, request):
        with np.load(GOLDEN) as file:
            pixels, sums = file[f"{request.param}_idx"], file[f"{request.param}_Ldiag_sum"]
        return pixels, 8 if "k8" in request.param else 20, sums

    def test_with_the_old_choice_among_ties(self, case):
        """The old code took k + 1 points from a tree, so rounding decided ties."""
        pixels, k, sums = case
        points = np.column_stack(hp.pix2vec(8, pixels, nest=True))
        distances, columns = cKDTree(points).query(points, k + 1)
        values = 2.0 ** -((distances[:, 1:].ravel() / kernel_width(8, k)) ** 2)
        rows = np.repeat(np.arange(len(points)), k)
        one_way = csr_array((values, (rows, columns[:, 1:].ravel())), shape=(len(points),) * 2)
        result = laplacian_of_weights(one_way.maximum(one_way.T).tocsr())
        # Sums of 2000 to 16 000 numbers below 1; those of the first nearly cancel.
        np.testing.assert_allclose(
            [result.sum(), abs(result).sum(), result.nnz], sums, rtol=0, atol=1e-11
        )

    def test_with_all_ties(self, case):
        """We keep all points at the last distance: what that may change follows from their number.

        A tied pair that the old code left out adds an edge of weight w and two entries. With
        S = sum_ij W_ij / sqrt(d_i d_j), row sums s_i of that matrix and degrees d, one finds
        dS/dW_ij = 2 / sqrt(d_i d_j) - s_i / d_i - s_j / d_j, so |dS| <= 2 w max(1, s) / d_min
        for each edge; the sum of L is n - S, the sum of absolute values n + S.
        """
        pixels, k, sums = case
        sampling = Healpix(8, pixels)
        result = laplacian(sampling, k)
        rows, _, distances = nearest_neighbors(sampling.points, k)
        extra = np.bincount(rows) - k
        assert 0 < extra.sum() < 50
        assert sums[2] < result.nnz <= sums[2] + 2 * extra.sum()
        tied = [distances[rows == i].max() for i in np.flatnonzero(extra)]
        weight = (2.0 ** -((np.array(tied) / kernel_width(8, k)) ** 2)).max()
        edges = (result.nnz - sums[2]) / 2
        # Degrees and row sums between the two graphs are within that of ours, less the new edges.
        degree = gaussian_weights(sampling, k).sum(axis=1).min() - extra.max() * weight
        row_sum = max(1, (abs(result).sum(axis=1) - 1).max() * 1.1)
        bound = edges * weight * 2 * row_sum / degree
        assert abs(result.sum() - sums[0]) < bound
        assert abs(abs(result).sum() - sums[1]) < bound
        assert abs(result.sum() + abs(result).sum() - 2 * len(pixels)) < 1e-9  # no isolated pixel
        print(f"bound {bound:.3f}", result.sum() - sums[0], abs(result).sum() - sums[1])
