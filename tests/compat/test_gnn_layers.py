"""Old graph layers on any Laplacian, compared with dense float64 algebra."""

import inspect

import keras
import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix

import deepsphere
from deepsphere import gnn_layers as gl
from deepsphere.compat.gnn_layers import largest_magnitude
from harness import basis_function, check_layer, relative_error, to_numpy

N = 30


def random_laplacian(seed=0):
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.random((N, N)) * (rng.random((N, N)) < 0.3), 1)
    weights += weights.T
    return np.diag(weights.sum(axis=1)) - weights


L = random_laplacian()
RING = np.diag(np.full(N, 2.0)) - np.roll(np.eye(N), 1, 0) - np.roll(np.eye(N), -1, 0)
"""Two neighbors each, since XLA compiles a term for each neighbor."""

X = np.random.default_rng(1).standard_normal((2, N, 3)).astype("float32")
CASES = [
    (gl.Chebyshev, "chebyshev", 0.75, 4),
    (gl.Monomial, "monomial", 1.0, 4),
    (gl.Bernstein, "bernstein", 1.0, 5),
]


@pytest.mark.parametrize("form", [np.asarray, csr_array, csr_matrix])
@pytest.mark.parametrize(("make", "basis", "scale", "terms"), CASES)
def test_filters(make, basis, scale, terms, form):
    layer = make(form(L), 4, Fout=5, use_bias=True, activation="elu")
    y = to_numpy(layer(X))
    values, vectors = np.linalg.eigh(L)
    s = 2 * scale / (1.02 * values[-1]) * values - 1
    kernel, expected = to_numpy(layer.kernel), 0
    for k in range(terms):
        response = basis_function(basis, terms - 1, k, s)
        filtered = (vectors * response) @ vectors.T @ X.astype(float)
        expected = expected + filtered @ kernel[k::terms]
    expected = expected + to_numpy(layer.bias)
    expected = np.where(expected > 0, expected, np.expm1(expected))
    assert relative_error(y, expected) < 1e-5  # float32


@pytest.mark.parametrize("make", [case[0] for case in CASES])
def test_gates(make, tmp_path):
    check_layer(lambda: make(RING, 3, 4, use_bias=True, use_bn=True), X, tmp_path)


@pytest.mark.parametrize("make", [case[0] for case in CASES])
def test_signature(make):
    assert list(inspect.signature(make).parameters) == [
        *("L", "K", "Fout", "initializer", "activation", "use_bias", "use_bn"),
        *("n_matmul_splits", "kwargs"),
    ]


def test_the_matrix_is_copied():
    matrix = csr_array(L)
    before = matrix.copy()
    layer = gl.Chebyshev(matrix, 3)
    layer(X)
    assert abs(matrix - before).nnz == 0
    y = to_numpy(layer(X))
    matrix.data[:] = 0
    np.testing.assert_array_equal(to_numpy(layer(X)), y)


def test_any_vertices_no_sphere():
    with pytest.raises(ValueError, match=rf"needs inputs of shape \(batch, {N}, channels\)"):
        gl.Chebyshev(L, 3)(X[:, 1:])


@pytest.mark.parametrize("size", [10, 100])
@pytest.mark.parametrize("symmetric", [True, False])
def test_largest_magnitude(size, symmetric):
    matrix = np.random.default_rng(0).random((size, size))
    matrix = matrix + matrix.T if symmetric else matrix
    expected = np.abs(np.linalg.eigvals(matrix)).max()
    assert largest_magnitude(csr_array(matrix)) == pytest.approx(expected, rel=1e-9)


def test_gates_of_the_residual_layer(tmp_path):
    given = {"L": RING, "K": 3, "activation": "tanh"}  # no kink for the finite differences

    def make():
        return gl.GCNN_ResidualLayer("BERN", given, activation="elu", alpha=0.5, use_bn=True)

    check_layer(make, X, tmp_path)
    assert set(given) == {"L", "K", "activation"}


@pytest.mark.parametrize(
    ("kind", "conv"), [("CHEBY", gl.Chebyshev), ("MONO", gl.Monomial), ("BERN", gl.Bernstein)]
)
def test_residual_layer_by_hand(kind, conv):
    layer = gl.GCNN_ResidualLayer(kind, {"L": L, "K": 3}, alpha=0.25)
    y = to_numpy(layer(X))
    x = X
    for each in (layer.conv1, layer.conv2):
        plain = conv(L, 3)
        plain(x)
        plain.set_weights([to_numpy(each.kernel)])
        x = to_numpy(plain(x))
    np.testing.assert_allclose(y, x + 0.25 * X, rtol=0, atol=1e-5 * np.abs(x).max())


def test_saved_and_loaded(tmp_path):
    inputs = keras.Input((N, 3))
    hidden = gl.Bernstein(L, 3, 4)(inputs)
    model = keras.Model(inputs, gl.GCNN_ResidualLayer("MONO", {"L": L, "K": 2})(hidden))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: gl.Chebyshev(np.ones((3, 4)), 2),
            r"L must be a square matrix, got shape \(3, 4\)",
        ),
        (lambda: gl.Chebyshev(L * np.nan, 2), "L must be finite"),
        (lambda: gl.Chebyshev(L, 0), "K must be at least 1, got 0"),
        (lambda: gl.GCNN_ResidualLayer("NO", {}), "one of CHEBY, MONO, BERN"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_public_name():
    assert deepsphere.gnn_layers is gl
