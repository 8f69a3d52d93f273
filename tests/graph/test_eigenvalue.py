"""The estimated largest eigenvalue, compared with dense solvers, and the rescaling."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh

from deepsphere.graph import (
    Graph,
    laplacian,
    laplacian_of_weights,
    largest_eigenvalue,
    rescale,
    rescaled_laplacian,
    spectral,
)
from deepsphere.graph.eigenvalue import MARGIN
from deepsphere.graph.spec import LAPLACIANS
from deepsphere.sampling import Healpix

PART = Healpix(8, np.flatnonzero(np.random.default_rng(0).random(768) < 0.4))


def check(matrix: csr_array) -> None:
    estimate = largest_eigenvalue(matrix)
    if matrix.shape[0] < 400:
        exact = np.linalg.eigvalsh(matrix.toarray())[-1]
    else:  # a dense solver takes seconds on busy cores
        exact = eigsh(matrix, k=1, which="LA", tol=0, return_eigenvectors=False)[0]
    assert estimate <= exact * (1 + 1e-12)  # a Rayleigh quotient is never above, but for rounding
    assert estimate >= exact * (1 - 1e-3)
    assert MARGIN * estimate > exact


@pytest.mark.parametrize("kind", ["normalized", "combinatorial"])
@pytest.mark.parametrize("k", [2, 8, 20, 60])
@pytest.mark.parametrize(
    "sampling", [Healpix(1), Healpix(2), Healpix(4), Healpix(8), PART], ids=str
)
def test_against_a_dense_solver(sampling, k, kind):
    check(laplacian(sampling, Graph(k, laplacian=kind)))


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 66, 300])
@pytest.mark.parametrize("kind", ["normalized", "combinatorial"])
def test_graphs_of_any_size(n, kind):
    rng = np.random.default_rng(n)
    one_way = rng.random((n, n)) * (rng.random((n, n)) < 6 / n)
    weights = one_way + one_way.T
    np.fill_diagonal(weights, 0)
    matrix = laplacian_of_weights(csr_array(weights), kind)
    if not weights.any():
        assert largest_eigenvalue(matrix) == 1
    else:
        check(matrix)


@pytest.mark.parametrize(("nside", "value"), [(8, 1.2884), (16, 1.2892), (32, 1.2905)])
def test_known_values(nside, value):
    """Published values for the normalized Laplacian of 20 neighbors, to four digits."""
    assert spectral(Healpix(nside), Graph(20, laplacian="normalized")).eigenvalue == pytest.approx(
        value, abs=1e-4
    )


@pytest.mark.parametrize("n", [2, 10, 100])
def test_without_edges(n):
    assert largest_eigenvalue(csr_array((n, n))) == 1
    tiny = csr_array(([1e-300, -1e-300, -1e-300, 1e-300], ([0, 0, 1, 1], [0, 1, 0, 1])), (n, n))
    assert largest_eigenvalue(tiny) == 1


@pytest.mark.parametrize("kind", LAPLACIANS)
def test_scattered_pixels(kind):
    """A hundred pixels so far apart that all weights underflow, except for one pair."""
    far = Healpix(1024, np.arange(100) * 65_536)  # of each pixel at nside 4 the first
    assert spectral(far, Graph(8, laplacian=kind)).eigenvalue == 1
    np.testing.assert_array_equal(
        rescaled_laplacian(far, Graph(8, laplacian=kind)).toarray(), -np.eye(100)
    )
    pair = Healpix(1024, np.unique(np.append(far.pixels, 1)))
    exact = np.linalg.eigvals(laplacian(pair, Graph(8, laplacian=kind)).toarray()).real.max()
    assert spectral(pair, Graph(8, laplacian=kind)).eigenvalue == pytest.approx(exact, rel=1e-3)
    assert spectral(pair, Graph(8, laplacian=kind)).eigenvalue <= exact * (1 + 1e-12)


@pytest.mark.parametrize("kind", ["normalized", "combinatorial"])
def test_few_eigenvalues(kind):
    """Lanczos stops early if all vertices are alike, or if there is only one edge."""
    complete = csr_array(np.ones((100, 100)) - np.eye(100))
    expected = {"normalized": 100 / 99, "combinatorial": 100}[kind]
    found = largest_eigenvalue(laplacian_of_weights(complete, kind))
    assert found == pytest.approx(expected, rel=1e-12)
    edge = csr_array(([1.0, 1.0], ([3, 70], [70, 3])), (100, 100))
    assert largest_eigenvalue(laplacian_of_weights(edge, kind)) == pytest.approx(2, rel=1e-12)


def test_same_every_time():
    matrix = laplacian(Healpix(8), 20)
    np.random.seed(1)  # noqa: NPY002  the global state must not matter
    first = largest_eigenvalue(matrix)
    np.random.seed(2)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert largest_eigenvalue(matrix) == first
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("scale", [1.0, 0.75, 0.1])
@pytest.mark.parametrize("kind", LAPLACIANS)
def test_rescaled_spectrum(scale, kind):
    graph = spectral(PART, Graph(8, laplacian=kind))
    result = rescale(graph.laplacian, graph.eigenvalue, scale).toarray()
    eigenvalues = np.sort(np.linalg.eigvals(result).real)
    assert eigenvalues[0] == pytest.approx(-1, abs=1e-9)
    top = 2 * scale / 1.02 - 1
    # The estimate is up to 1e-3 too small, which moves the end up by that part of top + 1. Optimal
    # weights are not symmetric: the largest eigenvalue is below that of the symmetric part.
    below = 0.02 * (top + 1) if kind == "optimal" else 1e-9
    assert top - below <= eigenvalues[-1] <= top + 1e-3 * (top + 1)
    assert eigenvalues[-1] < 1
    exact = 2 * scale / (1.02 * graph.eigenvalue) * graph.laplacian.toarray() - np.eye(len(PART))
    np.testing.assert_allclose(result, exact, atol=1e-15)
    shared = rescaled_laplacian(PART, Graph(8, laplacian=kind), scale)
    np.testing.assert_array_equal(shared.toarray(), result)
    assert shared.has_sorted_indices


def test_rescale_leaves_its_argument():
    matrix = laplacian(PART, 8)
    before = matrix.toarray()
    rescale(matrix, 1.3, 0.75)
    np.testing.assert_array_equal(matrix.toarray(), before)


@pytest.mark.parametrize("scale", [0, -0.5, 1.01, 2, float("nan")])
def test_scale_errors(scale):
    with pytest.raises(ValueError, match=rf"scale must be in \(0, 1\], got {scale}"):
        rescale(laplacian(PART, 8), 1.3, scale)


@pytest.mark.parametrize("eigenvalue", [0.0, -1.0, float("nan")])
def test_eigenvalue_errors(eigenvalue):
    with pytest.raises(ValueError, match=f"eigenvalue must be positive, got {eigenvalue}"):
        rescale(laplacian(PART, 8), eigenvalue)
