import healpy
import numpy as np
import pytest

from deepsphere.layers import Pool
from deepsphere.sampling import Healpix
from harness import SINGLE, check_layer, relative_error, to_numpy

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
