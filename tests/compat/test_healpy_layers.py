"""The old layer names: signatures, what they make, and the old layers' outputs."""

import inspect
from pathlib import Path

import healpy as hp
import keras
import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

import deepsphere.compat.healpy_layers as compat
from deepsphere import healpy_layers as hl
from deepsphere.graph import (
    kernel_width,
    laplacian,
    laplacian_of_weights,
    largest_eigenvalue,
    rescale,
)
from deepsphere.layers import (
    BernsteinConv,
    ChebyshevConv,
    MonomialConv,
    PatchConv,
    PatchConvTranspose,
    Pool,
)
from deepsphere.ops import SparseOperator
from deepsphere.sampling import Healpix

GOLDEN = Path(__file__).parents[1] / "golden" / "layers.npz"
CONVOLUTIONS = [
    (hl.HealpyChebyshev, ChebyshevConv, -1),
    (hl.HealpyMonomial, MonomialConv, -1),
    (hl.HealpyBernstein, BernsteinConv, 0),
]


@pytest.mark.parametrize("make", [case[0] for case in CONVOLUTIONS])
def test_signature_of_convolutions(make):
    parameters = inspect.signature(make).parameters
    assert list(parameters) == [
        *("K", "Fout", "initializer", "activation", "use_bias", "use_bn", "kwargs")
    ]
    defaults = [p.default for p in parameters.values()][:-1]
    assert defaults == [inspect.Parameter.empty, None, None, None, False, False]


@pytest.mark.parametrize(
    ("make", "names", "defaults"),
    [
        (hl.HealpyPool, ["p", "pool_type", "kwargs"], {"pool_type": "MAX"}),
        (
            hl.HealpyPseudoConv,
            ["p", "Fout", "kernel_initializer", "kwargs"],
            {"kernel_initializer": None},
        ),
        (
            hl.HealpyPseudoConv_Transpose,
            ["p", "Fout", "kernel_initializer", "kwargs"],
            {"kernel_initializer": None},
        ),
    ],
)
def test_signature_of_the_others(make, names, defaults):
    parameters = inspect.signature(make).parameters
    assert list(parameters) == names
    empty = inspect.Parameter.empty
    assert {k: p.default for k, p in parameters.items() if p.default is not empty} == defaults


def test_old_module_has_the_same_objects():
    for name in hl.__all__:
        assert getattr(hl, name) is getattr(compat, name)


@pytest.mark.parametrize(("make", "cls", "shift"), CONVOLUTIONS)
@pytest.mark.parametrize("K", [1, 2, 5])
def test_order(make, cls, shift, K):
    layer = make(K)
    assert type(layer) is cls
    assert layer.order == K + shift
    assert layer.filters is None
    assert layer.use_bias is False
    assert layer.batch_norm is False
    assert layer.activation is keras.activations.linear


@pytest.mark.parametrize(("make", "cls", "shift"), CONVOLUTIONS)
def test_arguments(make, cls, shift):
    layer = make(3, 4, "ones", "relu", True, True, regularizer="l2", constraint="non_neg", name="a")
    assert type(layer) is cls
    assert (layer.order, layer.filters, layer.use_bias, layer.batch_norm) == (
        3 + shift,
        4,
        True,
        True,
    )
    assert isinstance(layer.kernel_initializer, keras.initializers.Ones)
    assert isinstance(layer.kernel_regularizer, keras.regularizers.L2)
    assert isinstance(layer.kernel_constraint, keras.constraints.NonNeg)
    assert layer.activation is keras.activations.relu
    assert layer.name == "a"
    callable_activation = make(3, activation=keras.ops.sin).activation
    assert callable_activation is keras.ops.sin


@pytest.mark.parametrize(("make", "terms"), [(c[0], 5 + 1 + c[2]) for c in CONVOLUTIONS])
def test_shapes(make, terms):
    layer = make(5, Fout=7, use_bias=True, sampling=Healpix(2), neighbors=8)
    layer.build((None, 48, 3))
    assert tuple(layer.kernel.shape) == (3 * terms, 7)
    assert tuple(layer.bias.shape) == (7,)
    same = make(5, sampling=Healpix(2), neighbors=8)
    same.build((None, 48, 3))
    assert tuple(same.kernel.shape) == (3 * terms, 3)
    assert same.bias is None


def test_pools():
    x = np.random.default_rng(0).standard_normal((2, 192, 3)).astype("float32")
    children = x.reshape(2, 12, 16, 3)
    largest, mean = hl.HealpyPool(2), hl.HealpyPool(p=2, pool_type="AVG")
    assert type(largest) is type(mean) is Pool
    for layer, expected in ((largest, children.max(2)), (mean, children.mean(2))):
        y = layer.bind(Healpix(4))(x)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(y), expected, rtol=0, atol=1e-6)
    down = hp.ud_grade(x[0, :, 0], 1, order_in="NEST", order_out="NEST")
    y = keras.ops.convert_to_numpy(mean.bind(Healpix(4))(x))
    np.testing.assert_allclose(y[0, :, 0], down, rtol=0, atol=1e-6)


def test_patch_convolutions():
    down = hl.HealpyPseudoConv(2, 5, "ones", activation="relu", name="down")
    up = hl.HealpyPseudoConv_Transpose(p=1, Fout=6, kernel_initializer="zeros")
    assert (type(down), type(up)) == (PatchConv, PatchConvTranspose)
    assert (down.p, down.filters, down.name) == (2, 5, "down")
    assert (up.p, up.filters) == (1, 6)
    assert isinstance(down.kernel_initializer, keras.initializers.Ones)
    assert isinstance(up.kernel_initializer, keras.initializers.Zeros)
    assert down.activation is keras.activations.relu
    down, up = down.bind(Healpix(4)), up.bind(Healpix(4))
    assert (down.output_sampling, up.output_sampling) == (Healpix(1), Healpix(8))
    x = np.random.default_rng(0).uniform(0, 1, (2, 192, 3)).astype("float32")
    sums = np.repeat(x.reshape(2, 12, 48).sum(2)[..., None], 5, axis=2)  # kernel of ones
    # Sums of 48 float32 numbers below 1.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(down(x)), sums, rtol=1e-5)
    assert tuple(up(x).shape) == (2, 768, 6)


@pytest.mark.parametrize("make", [hl.HealpyChebyshev, hl.HealpyMonomial])
@pytest.mark.parametrize("K", [0, -2])
def test_too_few_terms(make, K):
    with pytest.raises(ValueError, match=f"K must be at least 1, got {K}"):
        make(K)


def test_negative_degree():
    with pytest.raises(ValueError, match="K must be at least 0, got -1"):
        hl.HealpyBernstein(-1)


@pytest.mark.parametrize("make", [case[0] for case in CONVOLUTIONS])
@pytest.mark.parametrize("K", [2.5, "three", True, None])
def test_no_number_of_terms(make, K):
    with pytest.raises(TypeError, match=f"K must be an integer, got {K!r}"):
        make(K)


@pytest.mark.parametrize("make", [case[0] for case in CONVOLUTIONS])
def test_unknown_activation(make):
    with pytest.raises(ValueError, match="no_such_activation"):
        make(3, activation="no_such_activation")


@pytest.mark.parametrize("make", [case[0] for case in CONVOLUTIONS])
def test_unknown_keyword(make):
    with pytest.raises((TypeError, ValueError), match="no_such_keyword"):
        make(3, no_such_keyword=1)


@pytest.mark.parametrize("name", ["max", "MEAN", None])
def test_unknown_pooling(name):
    with pytest.raises(ValueError, match=f"pool_type must be one of MAX, AVG; got {name!r}"):
        hl.HealpyPool(1, name)


@pytest.mark.parametrize("p", [0, -1])
def test_no_levels(p):
    for make in (hl.HealpyPool, lambda p: hl.HealpyPseudoConv(p, 2)):
        with pytest.raises(ValueError, match=f"p must be at least 1, got {p}"):
            make(p)


class TestGolden:
    """Outputs of deepsphere-cosmo-tf2 0.3.0 for its own weights, at nside 8."""

    @pytest.fixture(params=["k8_full", "k8_part", "k20_full", "k20_part"])
    def case(self, request):
        with np.load(GOLDEN) as file:
            prefix = f"{request.param}_"
            arrays = {k.removeprefix(prefix): file[k] for k in file if k.startswith(prefix)}
        return arrays, 8 if "k8" in request.param else 20

    @pytest.fixture(params=[("cheb", hl.HealpyChebyshev), ("mono", hl.HealpyMonomial)])
    def pair(self, request, case):
        """Return our layer with the old weights, the input and the old output."""
        arrays, k = case
        name, make = request.param
        layer = make(5, Fout=4, use_bias=True, activation="relu", neighbors=k)
        layer = layer.bind(Healpix(8, arrays["idx"]))
        layer.build(arrays["x"].shape)
        layer.kernel.assign(arrays[f"{name}_W"])
        layer.bias.assign(arrays[f"{name}_b"].reshape(4))
        return layer, arrays["x"], arrays[f"{name}_y"]

    def old_laplacian(self, sampling: Healpix, k: int) -> csr_array:
        """Laplacian with the old code's choice among equally far neighbours.

        Its sums and number of entries are those of the old code, see tests of the graphs.
        """
        points = np.column_stack(hp.pix2vec(sampling.nside, sampling.pixels, nest=True))
        distances, columns = cKDTree(points).query(points, k + 1)
        values = 2.0 ** -((distances[:, 1:].ravel() / kernel_width(sampling.nside, k)) ** 2)
        rows = np.repeat(np.arange(len(points)), k)
        weights = csr_array((values, (rows, columns[:, 1:].ravel())), shape=(len(points),) * 2)
        return laplacian_of_weights(weights.maximum(weights.T).tocsr())

    def test_on_the_old_graph(self, pair):
        """Kernel layout, rescaling, bias and activation are the old ones.

        Both sides compute in float32: sums of 15 products of numbers around 1.
        """
        layer, x, expected = pair
        matrix = self.old_laplacian(layer.sampling, layer.neighbors)
        layer.operator = SparseOperator(rescale(matrix, largest_eigenvalue(matrix), layer.scale))
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(layer(x)), expected, rtol=0, atol=1e-5
        )

    def test_on_our_graph(self, pair):
        """All ties kept: the outputs move near tied pixels, and little elsewhere."""
        layer, x, expected = pair
        y = keras.ops.convert_to_numpy(layer(x))
        relative = np.sqrt(np.mean((y - expected) ** 2) / np.mean(expected**2))
        print(f"{relative:.1e}, at most {np.abs(y - expected).max():.1e}")
        assert relative < 0.05

    def test_far_from_ties(self, pair):
        """Where the two graphs agree, so do the outputs: those see up to 4 steps away."""
        layer, x, expected = pair
        if layer.neighbors == 20:
            return  # 4 steps of 20 neighbours reach a tie from everywhere
        old = self.old_laplacian(layer.sampling, 8)
        ours = laplacian(layer.sampling, 8)
        # The bound is a number of the whole graph, ties included: take the old one.
        layer.operator = SparseOperator(rescale(ours, largest_eigenvalue(old), layer.scale))
        changed = np.abs((old - ours).toarray()).max(axis=1) > 1e-12
        for _ in range(4):
            changed |= abs(ours) @ changed.astype(float) > 0
        assert np.count_nonzero(~changed) > 10
        y = keras.ops.convert_to_numpy(layer(x))
        np.testing.assert_allclose(y[:, ~changed], expected[:, ~changed], rtol=0, atol=1e-5)
