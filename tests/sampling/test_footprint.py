import healpy
import numpy as np
import pytest
from astropy.utils.masked import Masked
from ml_dtypes import bfloat16

from deepsphere.sampling import Footprint, Healpix, extend_pixels, regions
from deepsphere.sampling.missing import UNSEEN

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
    pixels = extend_pixels(np.flatnonzero(MASK), NSIDE, 2, nest=True)
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


class TestMaskedArrays:
    """The mask of a masked array marks missing values, whatever is stored there."""

    masked = np.ma.masked_array(np.where(MASK, 2.0, 50.0), mask=~MASK)

    @pytest.mark.parametrize("dtype", [np.float32, np.int16, bool])
    def test_maps(self, dtype):
        maps = self.masked.astype(dtype)
        footprint = Footprint.from_maps(maps, nest=True)
        np.testing.assert_array_equal(footprint.sampling.pixels, np.flatnonzero(MASK))
        np.testing.assert_array_equal(
            footprint.pack(maps, nest=True), np.full(MASK.sum(), 2, dtype)
        )

    def test_list_of_maps(self):
        other = self.masked.copy()
        other[np.flatnonzero(MASK)[:3]] = np.ma.masked
        footprint = Footprint.from_maps([self.masked, other], nest=True)
        np.testing.assert_array_equal(footprint.sampling.pixels, np.flatnonzero(MASK)[3:])

    def test_maps_of_astropy(self):
        masked = Masked(np.where(MASK, 2.0, 50.0), mask=~MASK)
        footprint = Footprint.from_maps(masked, nest=True)
        np.testing.assert_array_equal(footprint.sampling.pixels, np.flatnonzero(MASK))

    def test_missing_inside(self):
        with pytest.raises(ValueError, match=rf"^{NPIX - MASK.sum()} values are missing .masked"):
            Footprint.from_mask(MASK | True, nest=True).pack(self.masked, nest=True)

    def test_mask(self):
        flags = np.ma.masked_array(np.ones(NPIX, bool), mask=~MASK)
        observed = Footprint.from_mask(flags, nest=True).sampling.pixels
        np.testing.assert_array_equal(observed, np.flatnonzero(MASK))
        np.testing.assert_array_equal(Footprint(Healpix(NSIDE), flags).observed, MASK)
        assert Healpix(NSIDE).subset(flags) == Healpix(NSIDE, np.flatnonzero(MASK))

    def test_pixel_numbers(self):
        numbers = np.ma.masked_array([3, 5, 7], mask=[False, True, False])
        with pytest.raises(ValueError, match="1 of the pixels are masked"):
            Healpix(NSIDE, numbers)
        with pytest.raises(ValueError, match="must not be masked"):
            Healpix(NSIDE).subset(numbers)

    def test_unpacked(self):
        footprint = Footprint.from_mask(MASK, nest=True)
        values = np.ma.masked_array(np.ones(MASK.sum()), mask=np.arange(MASK.sum()) < 3)
        full = footprint.unpack(values, nest=True)
        assert not isinstance(full, np.ma.MaskedArray)
        np.testing.assert_array_equal(
            np.flatnonzero(full != np.float64(UNSEEN)), np.flatnonzero(MASK)[3:]
        )


class TestTypes:
    """Values that a type cannot represent are rejected; others are kept exactly."""

    footprint = Footprint.from_mask(MASK, nest=True)
    n = int(MASK.sum())

    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
    def test_classes_and_flags_need_a_fill(self, dtype):
        with pytest.raises(ValueError, match=r"cannot represent UNSEEN.* pass as fill"):
            self.footprint.unpack(np.zeros(self.n, dtype), nest=True)

    @pytest.mark.parametrize(
        ("dtype", "fill"), [(np.uint8, 255), (np.int64, -1), (bool, False), (np.float16, np.nan)]
    )
    def test_fill(self, dtype, fill):
        full = self.footprint.unpack(np.ones(self.n, dtype), nest=True, fill=fill)
        assert full.dtype == dtype
        np.testing.assert_array_equal(full, np.where(MASK, 1, fill).astype(dtype))

    @pytest.mark.parametrize("dtype", [np.float16, bfloat16])
    def test_half_precision_does_not_hold_unseen(self, dtype):
        values = np.zeros(self.n, dtype)
        with pytest.raises(ValueError, match=rf"{np.dtype(dtype)} cannot represent UNSEEN"):
            self.footprint.unpack(values, nest=True)
        full = self.footprint.unpack(values, nest=True, fill=np.nan)
        assert Footprint.from_maps(full, nest=True).sampling == self.footprint.sampling

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_unseen_by_default(self, dtype):
        full = self.footprint.unpack(np.zeros(self.n, dtype), nest=True)
        np.testing.assert_array_equal(healpy.mask_good(full), MASK)

    @pytest.mark.parametrize(
        ("dtype", "fill", "error"),
        [
            (np.uint8, -1, ValueError),
            (np.uint8, 256, ValueError),
            (np.int32, 0.5, ValueError),
            (np.int32, np.nan, ValueError),
            (bool, 2, ValueError),
            (np.float16, 1e5, ValueError),
            (np.float32, 1e39, ValueError),
            (np.float32, 1j, TypeError),
            (np.float32, "0", TypeError),
            (np.float32, [0, 1], TypeError),
        ],
    )
    def test_fill_that_does_not_fit(self, dtype, fill, error):
        with pytest.raises(error, match="fill must be a"):
            self.footprint.unpack(np.zeros(self.n, dtype), nest=True, fill=fill)
        with pytest.raises(error, match="fill must be a"):
            self.footprint.pack(np.zeros(NPIX, dtype), nest=True, fill=fill)

    def test_complex_and_other_objects(self):
        for values, message in (
            (np.zeros(NPIX, complex), "must be real, got complex128; use the real"),
            (np.array([None] * NPIX), "must be numbers or booleans, got an array of object"),
            (np.array(["0"] * NPIX), "must be numbers or booleans, got an array of <U1"),
        ):
            with pytest.raises(TypeError, match=message):
                Footprint.from_maps(values, nest=True)
            with pytest.raises(TypeError, match=message):
                self.footprint.pack(values, nest=True)
            with pytest.raises(TypeError, match=message):
                self.footprint.unpack(values[: self.n], nest=True)

    def test_infinite_values(self):
        full = np.where(MASK, 0.0, np.inf)
        self.footprint.pack(full, nest=True)  # outside
        full[np.flatnonzero(MASK)[:2]] = -np.inf
        with pytest.raises(ValueError, match="maps contain 2 infinite values"):
            self.footprint.pack(full, nest=True)
        with pytest.raises(ValueError, match=f"maps contain {NPIX - self.n + 2} infinite values"):
            Footprint.from_maps(full, nest=True)

    def test_a_mask_is_no_map(self):
        with pytest.raises(TypeError, match=r"boolean and none .*Footprint\.from_mask"):
            Footprint.from_maps(MASK, nest=True)

    @pytest.mark.parametrize("nest", ["RING", None, 1])
    def test_ordering(self, nest):
        for call in (
            lambda: Footprint.from_mask(MASK, nest=nest),
            lambda: Footprint.from_maps(MASK * 1.0, nest=nest),
            lambda: self.footprint.pack(MASK, nest=nest),
            lambda: self.footprint.unpack(np.zeros(self.n), nest=nest),
            lambda: extend_pixels([0], NSIDE, 1, nest=nest),
        ):
            with pytest.raises(TypeError, match="nest must be True for NEST ordering or False"):
                call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Footprint.from_mask(MASK * 1.0, nest=True), ValueError, "must be a boolean map"),
        (lambda: Footprint.from_mask(MASK[:-1], nest=True), ValueError, "12 . nside..2 pixels"),
        (lambda: Footprint.from_mask(MASK & False, 2, nest=True), ValueError, "no pixel is obs"),
        (lambda: Footprint.from_mask(MASK, 16, nest=True), ValueError, "at most nside 8, got 16"),
        (lambda: Footprint.from_mask(MASK, 2), TypeError, "nest"),
        (lambda: Footprint(MASK, MASK), TypeError, "must be a Healpix sampling"),
        (lambda: Footprint(Healpix(8), MASK[1:]), ValueError, "must contain 768 bools"),
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
