import healpy
import keras
import numpy as np
import pytest

from deepsphere.graph import Graph
from deepsphere.layers import MaxUnpool, Pool, Resample, Unpool
from deepsphere.models import Sequential, UNet
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
from harness import SINGLE, check_layer, check_modes, check_saving, relative_error, to_numpy

PART = Healpix(4, np.r_[0:16, 32:48])


def data(sampling, channels=3, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(sampling), channels)).astype(np.float32)


@pytest.mark.parametrize("p", [1, 2])
def test_mean_is_that_of_healpy(p):
    x = data(Healpix(8), channels=1)
    y = Pool(p, "mean", sampling=Healpix(8))(x)
    expected = np.stack(
        [
            healpy.ud_grade(m.astype(float), 8 >> p, order_in="NEST", order_out="NEST")
            for m in x[..., 0]
        ]
    )
    assert relative_error(y[..., 0], expected) < SINGLE


@pytest.mark.parametrize("p", [1, 2])
def test_max_is_that_over_the_pixels_inside(p):
    x = data(PART)
    y = to_numpy(Pool(p, "max", sampling=PART)(x))
    # Which coarse pixel a fine one lies in, by position on the sphere.
    parents = healpy.vec2pix(4 >> p, *PART.points.T, nest=True)
    for i, parent in enumerate(PART.coarsen(p).pixels):
        np.testing.assert_array_equal(y[:, i], x[:, parents == parent].max(axis=1))


@pytest.mark.parametrize("mode", ["max", "mean"])
def test_gates(mode, tmp_path):
    # Values 0.05 apart: no step of a finite difference changes which one is the largest.
    shape = (3, len(PART), 3)
    x = np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape) / 20 - 7
    check_layer(lambda: Pool(1, mode, sampling=PART), x.astype(np.float32), tmp_path)


def test_output_sampling():
    assert Pool(2, sampling=PART).output_sampling == PART.coarsen(2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"levels": 0}, ValueError, "levels must be at least 1, got 0"),
        ({"levels": 1.5}, TypeError, "levels must be an integer, got 1.5"),
        ({"mode": "median"}, ValueError, "mode must be one of max, mean, area; got 'median'"),
        ({"levels": 3, "sampling": Healpix(4)}, ValueError, "has 2 coarser levels, got levels=3"),
        ({"sampling": Healpix(4, range(6))}, ValueError, r"not closed .* use extend_pixels"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Pool(**arguments)


def test_bad_inputs():
    with pytest.raises(ValueError, match=r"needs inputs of shape \(batch, 32, channels\)"):
        Pool(sampling=PART)(np.zeros((2, 48, 3), np.float32))


SAMPLINGS = [
    Icosahedral(2),
    IcosahedralFaces(1),
    Equiangular(6, 8),
    Equiangular(5, 8, "clenshaw-curtis"),
    GaussLegendre(4),
    ReducedGaussian(4),
    CubedSphere(4),
    Fibonacci(60),
]


def data_anywhere(points, channels=3, batch=3):
    """Return values 0.05 apart, so that finite differences never change the maximum."""
    shape = (batch, points, channels)
    x = np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape) / 20
    return (x - x.mean()).astype(np.float32)


@pytest.fixture(params=SAMPLINGS, ids=str)
def sampling(request):
    return request.param


@pytest.mark.parametrize("mode", ["max", "mean", "area"])
@pytest.mark.parametrize(
    ("sampling", "p"), [*((s, 1) for s in SAMPLINGS), (Icosahedral(2), 2), (Fibonacci(60), 2)]
)
def test_pooling(sampling, p, mode):
    x = data_anywhere(len(sampling))
    shares = sampling.membership(p).toarray()
    found = to_numpy(Pool(p, mode, sampling=sampling)(x))
    if mode == "max":
        expected = np.stack([x[:, row > 0].max(axis=1) for row in shares], axis=1)
        np.testing.assert_array_equal(found, expected)
        return
    weights = shares * (sampling.areas if mode == "area" else 1)
    expected = np.einsum("mn,bnc->bmc", weights / weights.sum(axis=1, keepdims=True), x)
    assert relative_error(found, expected) < SINGLE


def test_area_weighted_pooling_keeps_the_integral():
    fine = GaussLegendre(8)
    x = data_anywhere(len(fine))
    y = to_numpy(Pool(1, "area", sampling=fine)(x)).astype(float)
    areas = fine.membership(1) @ fine.areas  # of the coarse cells as they are made up
    np.testing.assert_allclose(
        np.einsum("n,bnc->bc", areas, y), np.einsum("n,bnc->bc", fine.areas, x), atol=1e-4
    )


def test_masks(sampling):
    """Return means and maxima of observed points, and the mask of the coarse points."""
    x, shares = data_anywhere(len(sampling)), sampling.membership(1).toarray()
    mask = np.random.default_rng(1).random(x.shape[:2]) < 0.3
    mask[0, shares[0] > 0] = False
    x[~mask] = np.nan
    for mode in ("max", "mean"):
        layer = Pool(1, mode, sampling=sampling)
        y = to_numpy(layer(x, mask=keras.ops.convert_to_tensor(mask)))
        seen = to_numpy(layer.compute_mask(x, keras.ops.convert_to_tensor(mask)))
        for b in range(len(x)):
            for i, row in enumerate(shares):
                observed = mask[b] & (row > 0)
                assert seen[b, i] == observed.any()
                if not observed.any():
                    assert not y[b, i].any()
                elif mode == "max":
                    np.testing.assert_array_equal(y[b, i], x[b, observed].max(axis=0))
                else:
                    mean = row[observed] @ x[b, observed] / row[observed].sum()
                    np.testing.assert_allclose(y[b, i], mean, rtol=1e-4, atol=1e-4)


def test_unpooling_gives_points_what_they_are_part_of(sampling):
    coarse = sampling.coarsen()
    x = data_anywhere(len(coarse))
    layer = Unpool(1, sampling=coarse, finer=sampling)
    shares = sampling.membership(1).toarray()
    expected = np.einsum("mn,bmc->bnc", shares / shares.sum(axis=0), x)
    assert layer.output_sampling == sampling
    assert relative_error(layer(x), expected) < SINGLE


def test_unpooling_an_icosahedral_grid_interpolates():
    coarse, fine = Icosahedral(2), Icosahedral(3)
    linear = coarse.points.astype(np.float32)[None]
    found = to_numpy(Unpool(sampling=coarse)(linear))[0]
    # Midpoints of edges were moved to the sphere after: the chord is shorter by its height.
    lengths = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(found / lengths[:, None], fine.points, atol=1e-6)
    assert lengths.min() > 0.98


def test_max_unpooling_remembers_positions(sampling):
    coarse = sampling.coarsen()
    before = data_anywhere(len(sampling))
    pooled = Pool(sampling=sampling)(before)
    layer = MaxUnpool(1, sampling=coarse, finer=sampling)
    found = to_numpy(layer([pooled, before]))
    shares = sampling.membership(1).toarray()
    is_part = (shares > 0).all(axis=0) | (np.count_nonzero(shares, axis=0) == 1)
    # A point that is part of one cell alone comes back if it was the largest, or else is 0.
    largest = to_numpy(Unpool(1, sampling=coarse, finer=sampling)(pooled))
    kept = np.where(before == largest, before, 0)
    np.testing.assert_allclose(found[:, is_part], kept[:, is_part], rtol=1e-6)
    assert np.count_nonzero(found) >= 0.8 * found.shape[2] * len(coarse)


@pytest.mark.parametrize("sampling", [Icosahedral(1), Equiangular(4, 6)], ids=str)
@pytest.mark.parametrize("kind", ["max", "mean", "unpool", "resample"])
def test_gates_anywhere(sampling, kind, tmp_path):
    def make():
        if kind == "unpool":
            return Unpool(sampling=sampling)
        if kind == "resample":
            return Resample(Healpix(1), sampling=sampling)
        return Pool(1, kind, sampling=sampling)

    x = data_anywhere(len(sampling), channels=2)
    check_modes(make, x)
    check_saving(make, x, tmp_path)


def test_resampling_in_a_model():
    """Weather on a longitude-latitude grid, a network on HEALPix, and back."""
    grid, sphere = Equiangular(8, 16), Healpix(4)
    model = Sequential(grid, [Resample(sphere), Pool(mode="mean"), Unpool(), Resample(grid)])
    assert model.output_sampling == grid
    x = data_anywhere(len(grid))
    y = to_numpy(model(x)).astype(float)
    np.testing.assert_allclose(
        np.einsum("n,bnc->bc", grid.areas, y), np.einsum("n,bnc->bc", grid.areas, x), atol=1e-4
    )


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Resample("healpix"), TypeError, "target must be a Sampling .* got 'healpix'"),
        (lambda: Resample(Healpix(1), "linear"), ValueError, "method must be one of .* 'linear'"),
        (
            lambda: Unpool(1, sampling=Healpix(1), finer=Healpix(4)),
            ValueError,
            r"Healpix\(nside=4\) coarsened by 1 is Healpix\(nside=2\)",
        ),
        (
            lambda: MaxUnpool(sampling=Healpix(1))([data_anywhere(12), data_anywhere(12)]),
            ValueError,
            r"needs the input of Pool as its second input, with shape \(batch, 48, 3\)",
        ),
    ],
)
def test_errors(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize("sampling", [Icosahedral(2), CubedSphere(8), Fibonacci(120)], ids=str)
def test_unet_on_any_sampling(sampling, tmp_path):
    options = {"filters": (4, 5, 6), "order": 2, "graph": Graph(6, laplacian="combinatorial")}

    def make():
        return UNet(sampling, 2, pooling="area", **options)

    model = make()
    assert model.unpooling == "repeat"
    x = data_anywhere(len(sampling), channels=2)
    assert to_numpy(model(x)).shape == (3, len(sampling), 2)
    check_saving(make, x, tmp_path)
    with pytest.raises(ValueError, match=r"patches need points .* use Pool and Unpool"):
        UNet(sampling, 2, unpooling="patch", **options)


@pytest.mark.parametrize("outside", [np.nan, 1e30])
def test_unpooling_takes_the_mean_of_what_was_observed(sampling, outside):
    coarse = sampling.coarsen()
    x = data_anywhere(len(coarse))
    mask = np.random.default_rng(1).random(x.shape[:2]) < 0.5
    x[~mask] = outside
    layer = Unpool(1, sampling=coarse, finer=sampling)
    y = to_numpy(layer(x, mask=keras.ops.convert_to_tensor(mask)))
    seen = to_numpy(layer.compute_mask(x, keras.ops.convert_to_tensor(mask)))
    shares = sampling.membership(1).toarray()
    for b in range(len(x)):
        for i in np.flatnonzero(seen[b]):
            owners = mask[b] & (shares[:, i] > 0)
            mean = shares[owners, i] @ x[b, owners] / shares[owners, i].sum()
            np.testing.assert_allclose(y[b, i], mean, rtol=1e-4, atol=1e-4)


def test_max_unpooling_puts_nan_back_where_it_was(sampling):
    """The maximum of values with a NaN is NaN, not 0."""
    coarse = sampling.coarsen()
    before = data_anywhere(len(sampling))
    before[:, :5] = np.nan
    found = to_numpy(
        MaxUnpool(1, sampling=coarse, finer=sampling)([Pool(sampling=sampling)(before), before])
    )
    np.testing.assert_array_equal(np.isnan(found), np.isnan(before))


def test_max_unpooling_leaves_out_what_was_not_observed(sampling):
    coarse = sampling.coarsen()
    before, after = data_anywhere(len(sampling)), data_anywhere(len(coarse))
    fine = np.random.default_rng(1).random(before.shape[:2]) < 0.5
    pool = Pool(sampling=sampling)
    seen = to_numpy(pool.compute_mask(before, keras.ops.convert_to_tensor(fine)))
    layer = MaxUnpool(1, sampling=coarse, finer=sampling)
    results = []
    for outside in (0, 1e30):
        before[~fine], after[~seen] = outside, outside
        masks = [keras.ops.convert_to_tensor(mask) for mask in (seen, fine)]
        results.append(to_numpy(layer([after, before], mask=masks))[fine])
    assert results[0].any()
    np.testing.assert_array_equal(*results)
