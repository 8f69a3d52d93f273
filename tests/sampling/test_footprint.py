import healpy
import numpy as np
import pytest

from deepsphere.sampling import UNSEEN, Footprint, Healpix, extend_pixels, regions

NSIDE, NPIX = 8, 768
MASK = regions.disc(Healpix(NSIDE), 40, 30, 35)  # NEST


def rng():
    return np.random.default_rng(0)


def test_unseen_is_that_of_healpy():
    assert healpy.UNSEEN == UNSEEN


@pytest.mark.parametrize("nest", [True, False])
def test_footprint_of_a_mask(nest):
    mask = MASK if nest else healpy.reorder(MASK.astype(float), n2r=True).astype(bool)
    footprint = Footprint.from_mask(mask, coarse_nside=2, nest=nest)
    pixels = extend_pixels(np.flatnonzero(MASK), NSIDE, 2)
    assert footprint.sampling == Healpix(NSIDE, pixels)
    np.testing.assert_array_equal(footprint.observed, MASK[pixels])
    footprint.sampling.coarsen(2)  # closed
    assert footprint.nside == NSIDE


def test_without_padding_all_is_observed():
    footprint = Footprint.from_mask(MASK, nest=True)
    np.testing.assert_array_equal(footprint.sampling.pixels, np.flatnonzero(MASK))
    assert footprint.observed.all()


@pytest.mark.parametrize("mark", [UNSEEN, np.float32(UNSEEN), np.nan])
def test_footprint_of_maps_is_what_all_of_them_saw(mark):
    maps = rng().standard_normal((2, NPIX, 3)).astype(np.float32)
    maps[0, :100, 1] = mark
    maps[1, 90:300] = mark
    footprint = Footprint.from_maps(maps, coarse_nside=1, nest=True)
    np.testing.assert_array_equal(
        footprint.sampling.pixels[footprint.observed], np.arange(300, NPIX)
    )


@pytest.mark.parametrize("nest", [True, False])
@pytest.mark.parametrize("shape", [(NPIX,), (3, NPIX), (3, NPIX, 2)])
def test_there_and_back(shape, nest):
    axis = min(len(shape) - 1, 1)
    maps = rng().standard_normal(shape).astype(np.float32)
    footprint = Footprint.from_mask(MASK, 2, nest=True)
    packed = footprint.pack(maps, nest=nest)
    assert packed.dtype == np.float32
    order = np.arange(NPIX) if nest else healpy.nest2ring(NSIDE, np.arange(NPIX))
    in_nest = np.moveaxis(maps, axis, -1)[..., order]
    expected = np.where(footprint.observed, in_nest[..., footprint.sampling.pixels], 0)
    np.testing.assert_array_equal(np.moveaxis(packed, axis, -1), expected)
    back = np.moveaxis(footprint.unpack(packed, nest=nest), axis, -1)[..., order]
    np.testing.assert_array_equal(back[..., MASK], in_nest[..., MASK])
    assert (back[..., ~MASK] == np.float32(UNSEEN)).all()


def test_what_lies_outside_may_be_missing():
    full = rng().standard_normal(NPIX)
    full[~MASK] = np.nan
    footprint = Footprint.from_mask(MASK, 1, nest=True)
    packed = footprint.pack(full, nest=True, fill=7)
    assert (packed[~footprint.observed] == 7).all()
    full[np.flatnonzero(MASK)[:2]] = UNSEEN, np.nan
    with pytest.raises(ValueError, match=r"^2 values are missing .*Footprint\.from_maps"):
        footprint.pack(full, nest=True)


def test_a_footprint_does_not_change():
    mask = MASK.copy()
    footprint = Footprint.from_mask(mask, nest=True)
    mask[:] = False
    assert footprint.observed.all()
    with pytest.raises(ValueError, match="read-only"):
        footprint.observed[0] = False


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Footprint.from_mask(MASK * 1.0, nest=True), ValueError, "must be a boolean map"),
        (lambda: Footprint.from_mask(MASK[:-1], nest=True), ValueError, "12 . nside..2 pixels"),
        (lambda: Footprint.from_mask(MASK & False, 2, nest=True), ValueError, "nothing is obs"),
        (lambda: Footprint.from_mask(MASK, 16, nest=True), ValueError, "at most nside 8, got 16"),
        (lambda: Footprint.from_mask(MASK, 2), TypeError, "nest"),
        (lambda: Footprint(MASK, MASK), TypeError, "must be a Healpix sampling"),
        (lambda: Footprint(Healpix(8), MASK[1:]), ValueError, "must hold 768 bools"),
        (
            lambda: Footprint.from_mask(MASK, nest=True).pack(np.zeros((NPIX, 2)), nest=True),
            ValueError,
            r"768 pixels along axis 1, got shape \(768, 2\)",
        ),
        (
            lambda: Footprint.from_mask(MASK, nest=True).unpack(np.zeros(NPIX), nest=True),
            ValueError,
            "pixels along axis 0, got shape",
        ),
        (
            lambda: Footprint.from_mask(MASK, nest=True).pack(np.zeros((1, 1, 1, 1)), nest=True),
            ValueError,
            "got 4 dimensions",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
