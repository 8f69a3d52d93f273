"""Reading HEALPix FITS files: orderings, missing pixels, footprints, rejected files."""

import logging

import astropy.io.fits as fits
import astropy_healpix.healpy as positions
import healpy
import numpy as np
import pytest

from deepsphere.data.maps import read_healpix_maps
from deepsphere.sampling import Healpix

NSIDE = 8
PIXELS = 12 * NSIDE**2


def sky(nest, nside=NSIDE):
    """Return a smooth function of position, evaluated by astropy-healpix in either ordering."""
    x, y, z = positions.pix2vec(nside, np.arange(12 * nside**2), nest=nest)
    return 1 + x + 2 * y * z - 3 * z


@pytest.fixture
def write(tmp_path):
    """Return a function that writes columns as a FITS file and returns its path."""
    count = iter(range(100))

    def write(columns, nest=False, **options):
        path = tmp_path / f"map{next(count)}.fits"
        healpy.write_map(path, columns, nest=nest, dtype=np.float64, **options)
        return path

    return write


def without_ordering(path):
    with fits.open(path, mode="update") as hdus:
        del hdus[1].header["ORDERING"]
    return path


def test_ring_and_nest_files_agree(write):
    expected = sky(nest=True).astype(np.float32)
    for nest in (False, True):
        path = write(sky(nest), nest=nest)
        maps = read_healpix_maps(path)
        assert maps.values.shape == (1, PIXELS, 1)
        assert maps.values.dtype == np.float32
        np.testing.assert_array_equal(maps.values[0, :, 0], expected)
        assert maps.sampling == Healpix(NSIDE)
        assert maps.observed.dtype == bool
        assert maps.observed.all()
        np.testing.assert_array_equal(read_healpix_maps(str(path)).values, maps.values)


def test_file_without_ordering_is_ring_and_logged(write, caplog):
    path = without_ordering(write(sky(nest=False)))
    with caplog.at_level(logging.WARNING, logger="deepsphere.data.maps"):
        maps = read_healpix_maps(path)
    assert "does not give its ordering; RING is assumed" in caplog.text
    np.testing.assert_array_equal(maps.values[0, :, 0], sky(nest=True).astype(np.float32))


@pytest.mark.parametrize("mark", [healpy.UNSEEN, np.float32(-1.6375e30), np.nan])
def test_missing_pixels(write, mark):
    values = sky(nest=True)
    missing = [0, 5, 100]
    values[missing] = mark
    maps = read_healpix_maps(write(values, nest=True))
    rest = np.setdiff1d(np.arange(PIXELS), missing)
    np.testing.assert_array_equal(maps.sampling.pixels, rest)
    np.testing.assert_array_equal(maps.values[0, :, 0], sky(nest=True)[rest].astype(np.float32))
    assert maps.observed.all()
    assert len(maps.observed) == len(maps.sampling) == PIXELS - 3


def test_missing_pixels_of_a_ring_file(write):
    """Reordering moves missing pixels together with the values."""
    values = sky(nest=False)
    z = positions.pix2vec(NSIDE, np.arange(PIXELS), nest=False)[2]
    values[z > 0.5] = healpy.UNSEEN
    maps = read_healpix_maps(write(values))
    z_nest = positions.pix2vec(NSIDE, np.arange(PIXELS), nest=True)[2]
    np.testing.assert_array_equal(maps.sampling.pixels, np.flatnonzero(z_nest <= 0.5))


def test_partial_sky_file(write):
    values = np.where(np.arange(PIXELS) < 400, sky(nest=True), healpy.UNSEEN)
    maps = read_healpix_maps(write(values, nest=True, partial=True))
    np.testing.assert_array_equal(maps.sampling.pixels, np.arange(400))
    np.testing.assert_array_equal(maps.values[0, :, 0], sky(nest=True)[:400].astype(np.float32))


@pytest.mark.parametrize("fill", [0.0, -2.5])
def test_footprint_is_extended(write, fill):
    values = sky(nest=True)
    values[[1, 2]] = np.nan  # children of pixel 0 at nside 4
    values[16:32] = np.nan  # all children of pixel 1 at nside 2
    maps = read_healpix_maps(write(values, nest=True), coarse_nside=2, fill=fill)
    expected = np.setdiff1d(np.arange(PIXELS), np.arange(16, 32))
    np.testing.assert_array_equal(maps.sampling.pixels, expected)
    np.testing.assert_array_equal(np.flatnonzero(~maps.observed), [1, 2])
    np.testing.assert_array_equal(maps.values[0, [1, 2], 0], np.float32(fill))
    seen = maps.sampling.pixels[maps.observed]
    np.testing.assert_array_equal(
        maps.values[0, maps.observed, 0], sky(nest=True)[seen].astype(np.float32)
    )
    assert maps.sampling.coarsen(2).nside == 2


def test_maps_that_disagree_are_cut_to_what_all_saw(write, caplog):
    first, second = sky(nest=True), 10 * sky(nest=True)
    first[:4] = healpy.UNSEEN
    second[2:8] = np.nan
    paths = [write(first, nest=True), write(second, nest=True)]
    with caplog.at_level(logging.WARNING, logger="deepsphere.data.maps"):
        maps = read_healpix_maps(paths, coarse_nside=4)
    assert f"6 of {PIXELS} pixels are missing in some maps" in caplog.text
    np.testing.assert_array_equal(maps.sampling.pixels, np.arange(8, PIXELS))
    assert maps.values.shape == (2, PIXELS - 8, 1)
    np.testing.assert_allclose(maps.values[1], 10 * maps.values[0], rtol=1e-6)  # float32

    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="deepsphere.data.maps"):
        read_healpix_maps([paths[0], paths[0]])
    assert "missing in some maps" not in caplog.text

    # the pixels that only one map saw do not show in the other, extended or not
    maps = read_healpix_maps(paths, coarse_nside=1, fill=7)
    assert np.all(maps.values[:, :8] == 7)


def test_fields_become_channels(write):
    columns = [sky(nest=False), sky(nest=False) ** 2, -sky(nest=False)]
    columns[2][0] = np.nan
    path = write(columns, column_names=["A", "B", "C"])
    maps = read_healpix_maps([path, path], field=[2, 0])
    assert maps.values.shape == (2, PIXELS - 1, 2)
    np.testing.assert_array_equal(maps.values[..., 0], -maps.values[..., 1])
    assert read_healpix_maps(path, field=1).values.shape == (1, PIXELS, 1)
    # a pixel that one field misses is missing in all of them
    assert positions.ring2nest(NSIDE, 0) not in maps.sampling.pixels


def test_resolutions_are_brought_together(write):
    coarse, fine = sky(nest=True, nside=4), sky(nest=True)
    fine[21] = healpy.UNSEEN  # one child of pixel 5 at nside 4
    paths = [write(coarse, nest=True), write(fine, nest=True)]
    maps = read_healpix_maps(paths, nside=4)
    rest = np.setdiff1d(np.arange(192), [5])
    np.testing.assert_array_equal(maps.sampling.pixels, rest)
    means = sky(nest=True).reshape(192, 4).mean(axis=1)[rest]
    np.testing.assert_allclose(maps.values[1, :, 0], means, rtol=1e-5)  # float32, small values
    np.testing.assert_array_equal(maps.values[0, :, 0], coarse[rest].astype(np.float32))

    coarse[0] = np.nan
    maps = read_healpix_maps(write(coarse, nest=True), nside=NSIDE)
    np.testing.assert_array_equal(maps.sampling.pixels, np.arange(4, PIXELS))
    np.testing.assert_array_equal(maps.values[0, :, 0], np.repeat(coarse[1:], 4).astype(np.float32))

    with pytest.raises(ValueError, match=r"has nside 8 but .* has 4; pass nside"):
        read_healpix_maps(paths)


def test_infinite_and_huge_values_are_refused(write):
    values = sky(nest=True)
    values[3:5] = [np.inf, -np.inf]
    with pytest.raises(ValueError, match="holds 2 infinite values"):
        read_healpix_maps(write(values, nest=True))
    values[3:5] = [1e40, 0]
    with pytest.raises(ValueError, match="holds 1 values too large for float32"):
        read_healpix_maps(write(values, nest=True))


def test_nothing_in_common_is_refused(write):
    half = np.arange(PIXELS) < PIXELS // 2
    paths = [write(np.where(part, 1.0, np.nan), nest=True) for part in (half, ~half)]
    with pytest.raises(ValueError, match="no pixel is observed in every field of all 2 maps"):
        read_healpix_maps(paths)


def test_bad_files(write, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file: .*absent\.fits"):
        read_healpix_maps(tmp_path / "absent.fits")
    text = tmp_path / "text.fits"
    text.write_text("not a map")
    with pytest.raises(ValueError, match=r"cannot read a HEALPix map from .*text\.fits"):
        read_healpix_maps(text)
    with pytest.raises(ValueError, match="cannot read field 3 of a HEALPix map"):
        read_healpix_maps(write(sky(nest=False)), field=3)
    with pytest.raises(ValueError, match="has nside 6; NEST ordering needs a power of two"):
        read_healpix_maps(write(np.ones(12 * 36)))
    odd = write(sky(nest=False))
    fits.setval(odd, "ORDERING", value="SPIRAL", ext=1)
    with pytest.raises(
        ValueError, match="has the ordering 'SPIRAL'; only RING and NESTED are known"
    ):
        read_healpix_maps(odd)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"paths": []}, ValueError, "at least one file"),
        ({"field": []}, ValueError, "at least one column"),
        ({"field": -1}, ValueError, "field must not be negative, got -1"),
        ({"field": "KAPPA"}, TypeError, "field must be an integer or a sequence .*, got 'KAPPA'"),
        ({"field": 0.5}, TypeError, "field must be an integer or a sequence .*, got 0.5"),
        ({"field": True}, TypeError, "field must be an integer or a sequence .*, got True"),
        ({"nside": 12}, ValueError, "nside must be a power of two.*got 12"),
        ({"coarse_nside": 3}, ValueError, "nside must be a power of two.*got 3"),
        (
            {"coarse_nside": 16},
            ValueError,
            "coarse_nside must be at most the maps' nside 8, got 16",
        ),
        ({"fill": np.nan}, ValueError, "fill must be finite, got nan"),
    ],
)
def test_bad_arguments(write, arguments, error, message):
    with pytest.raises(error, match=message):
        read_healpix_maps(**{"paths": write(sky(nest=False)), **arguments})
