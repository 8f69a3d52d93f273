import keras
import numpy as np
import pytest
from scipy.sparse import diags_array

from deepsphere.analysis import equivariance_error
from deepsphere.analysis.harmonics import band_limit
from deepsphere.graph import Graph, laplacian
from deepsphere.layers import ChebyshevConv, Pool
from deepsphere.models import Sequential
from deepsphere.ops.operator import SparseOperator
from deepsphere.sampling import Healpix

SPHERE = Healpix(8)
DEGREES = [2, 4, 8, 12]
GRAPH = laplacian(SPHERE, Graph(20, laplacian="combinatorial"))
POSITIONS = np.random.default_rng(1).normal(size=len(SPHERE))


def times(matrix):
    return lambda fields: (matrix @ fields.T).T


def agree(one, other, count):
    """Two means agree within five standard errors of `count` random fields."""
    spread = np.hypot(np.nan_to_num(one.deviation), np.nan_to_num(other.deviation))
    assert (abs(one.mean - other.mean) < 5 * spread / np.sqrt(count)).all()


def test_random_fields_agree_with_the_exact_expectation():
    exact = equivariance_error(GRAPH, SPHERE, DEGREES)
    assert np.isnan(exact.deviation).all()
    fields = equivariance_error(times(GRAPH), SPHERE, DEGREES, rotations=64)
    assert (fields.deviation < fields.mean).all()  # so that agreement says something
    agree(fields, exact, 64)


def test_rotations_agree_with_isotropy():
    exact = equivariance_error(GRAPH, SPHERE, DEGREES)
    turned = equivariance_error(GRAPH, SPHERE, DEGREES, 64, "rotation")
    agree(turned, exact, 64)
    function = equivariance_error(times(GRAPH), SPHERE, DEGREES, 64, "rotation")
    np.testing.assert_allclose(function.mean, turned.mean, rtol=1e-6)


def test_sparse_operators_are_their_matrices():
    expected = equivariance_error(GRAPH, SPHERE, DEGREES).mean
    for what in (SparseOperator(GRAPH), GRAPH.tocoo()):
        np.testing.assert_array_equal(equivariance_error(what, SPHERE, DEGREES).mean, expected)


def test_a_random_factor_in_each_pixel():
    """The best h is the mean factor, so the error is the variance of the factors."""
    matrix = diags_array(POSITIONS)
    error = 2 * POSITIONS.var() / np.mean(POSITIONS**2)
    exact = equivariance_error(matrix, SPHERE, DEGREES).mean
    np.testing.assert_allclose(exact, error)
    # Of the output, white noise, the band holds this share; the rest is not rotated and counts
    # once, not twice. 64 fields whose errors vary by 7 % (in equal parts from both).
    share = (band_limit(SPHERE) + 1) ** 2 / len(SPHERE)
    turned = equivariance_error(matrix, SPHERE, DEGREES, 64, "rotation").mean
    np.testing.assert_allclose(turned, error * (1 + share) / 2, rtol=0.05)


@pytest.mark.parametrize("form", ["isotropy", "rotation"])
def test_what_commutes_with_rotations_has_no_error(form):
    for function in (lambda f: f, lambda f: -3 * f):
        errors = equivariance_error(function, SPHERE, DEGREES, form=form)
        assert errors.mean.max() < 1e-15  # the square of the least squares' 1e-8


def test_a_nonlinear_function_of_each_value():
    """A square doubles the degree, which stays within the band up to degree 10."""
    square = equivariance_error(np.square, SPHERE, [5, 10, 12], form="rotation").mean
    assert square[:2].max() < 1e-15
    assert 1e-3 < square[2] < 1


def test_coarser_outputs_are_rotated_where_they_are():
    matrix = SPHERE.membership(1) / 4
    found = equivariance_error(matrix, SPHERE, [1, 4, 8], form="rotation").mean
    # A mean over four pixels is nearly the smoothed field at their center while fields are smooth.
    assert found[0] < 1e-4 < found[1] < 1e-3 < found[2] < 1e-2
    layer = Pool(mode="mean", sampling=SPHERE)
    of_layer = equivariance_error(layer, SPHERE, [1, 4, 8], form="rotation").mean
    np.testing.assert_allclose(of_layer, found, rtol=1e-3)  # of single precision, squared


def test_models_without_pixels_at_the_end_measure_invariance():
    layers = [ChebyshevConv(3, 4, activation="relu"), keras.layers.GlobalAveragePooling1D()]
    model = Sequential(SPHERE, layers, graph=8)
    model.build((None, len(SPHERE), 2))
    result = equivariance_error(model, SPHERE, [4], form="rotation")
    assert 0 < result.mean[0] < 0.1
    keep = Sequential(SPHERE, [*layers[:1], keras.layers.Flatten()], graph=8)
    keep.build((None, len(SPHERE), 2))
    assert equivariance_error(keep, SPHERE, [4], form="rotation").mean[0] > 0.5


def test_a_linear_layer_in_both_forms():
    layer = ChebyshevConv(1, 3, sampling=SPHERE, graph=8, use_bias=False)
    layer.build((None, len(SPHERE), 1))
    agree(
        equivariance_error(layer, SPHERE, DEGREES, 64),
        equivariance_error(layer, SPHERE, DEGREES, 64, "rotation", seed=1),
        64,
    )


def test_the_seed_decides():
    first, second, other = (
        equivariance_error(times(GRAPH), SPHERE, [4], 3, form, seed=seed).mean[0]
        for form, seed in (("rotation", 0), ("rotation", 0), ("rotation", 1))
    )
    # Threads may add in another order, which changes the last of 16 digits.
    assert first == pytest.approx(second, rel=1e-13)
    assert other != pytest.approx(first, rel=1e-3)


def test_one_rotation_has_no_deviation():
    assert np.isnan(equivariance_error(GRAPH, SPHERE, [4], 1, "rotation").deviation).all()


@pytest.mark.parametrize(
    "what",
    [
        np.abs,
        lambda fields: np.maximum(fields, 0),  # multiplies by 2 what is multiplied by 2
        lambda fields: fields + 0.1,
        keras.layers.ReLU(),
    ],
)
def test_what_is_not_linear_has_no_isotropy(what):
    with pytest.raises(ValueError, match=r'use form="rotation": this one is not linear'):
        equivariance_error(what, SPHERE, [2])


def test_isotropy_is_of_one_channel_and_one_sampling():
    wide = ChebyshevConv(2, 3, sampling=SPHERE, graph=8)
    with pytest.raises(ValueError, match=r"output of shape \('batch', 768, 2\)"):
        equivariance_error(wide, SPHERE, [2])
    with pytest.raises(ValueError, match="got 2 channels"):
        equivariance_error(wide, SPHERE, [2], channels=2)
    with pytest.raises(ValueError, match=r"got a matrix of shape \(192, 768\)"):
        equivariance_error(SPHERE.membership(1), SPHERE, [2])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"form": "paper"}, ValueError, "form must be one of isotropy, rotation; got 'paper'"),
        ({"what": 3}, TypeError, "what must be a sparse matrix.* got int"),
        ({"sampling": 8}, TypeError, "sampling must be a Sampling such as Healpix.64., got 8"),
        ({"degrees": [0]}, ValueError, "degrees must be at least 1, got 0"),
        ({"degrees": [21]}, ValueError, "at most 20 on .* got 21"),
        ({"rotations": 0}, ValueError, "rotations must be at least 1, got 0"),
        ({"channels": 2}, ValueError, "only layers and models have channels; got channels=2"),
        ({"what": lambda f: f[0]}, ValueError, r"must return an array of shape \(16, pixels\)"),
        ({"what": lambda f: f[:, :5]}, ValueError, "5 pixels, but no coarser level"),
        ({"what": laplacian(Healpix(4))}, ValueError, "acts on 192 pixels, but .* has 768"),
        ({"output_sampling": Healpix(4)}, ValueError, "pass the sampling of the output"),
    ],
)
def test_errors(arguments, error, message):
    usual = {"what": lambda f: f, "sampling": SPHERE, "degrees": [2], "form": "rotation"}
    with pytest.raises(error, match=message):
        equivariance_error(**{**usual, **arguments})
