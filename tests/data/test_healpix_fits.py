"""Keywords of HEALPix FITS files, by healpy and hand-made, are used or rejected."""

import gzip
import logging
import shutil
import tracemalloc

import astropy.io.fits as fits
import healpy
import numpy as np
import pytest

from deepsphere.data import healpix_fits
from deepsphere.data.maps import read_healpix_maps

NSIDE = 8
PIXELS = 768
VALUES = np.random.default_rng(0).standard_normal(PIXELS)

IMPLICIT = {"PIXTYPE": "HEALPIX", "ORDERING": "NESTED", "NSIDE": NSIDE, "INDXSCHM": "IMPLICIT"}
EXPLICIT = {**IMPLICIT, "INDXSCHM": "EXPLICIT", "OBJECT": "PARTIAL"}


@pytest.fixture
def table(tmp_path):
    """Return a function that writes columns (TFORM, values) and a header, and returns the path."""
    count = iter(range(100))

    def table(header, more=(), **columns):
        made = [
            fits.Column(name, form, array=values, **dict(options))
            for name, (form, values, *options) in columns.items()
        ]
        unit = fits.BinTableHDU.from_columns(made)
        unit.header.update(header)
        path = tmp_path / f"table{next(count)}.fits"
        fits.HDUList([fits.PrimaryHDU(), unit, *more]).writeto(path)
        return path

    return table


def whole(table, values=VALUES, form="D", **header):
    return table({**IMPLICIT, **header}, SIGNAL=(form, values))


def read(path, **options):
    """Return values and pixels of a single map with a single channel."""
    maps = read_healpix_maps(path, dtype=options.pop("dtype", "float64"), **options)
    assert maps.observed.all()
    return maps.values[0, :, 0], maps.sampling.pixels


class TestFilesOfHealpy:
    @pytest.mark.parametrize("nest", [False, True])
    @pytest.mark.parametrize("partial", [False, True])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("nside", [8, 64])  # from 32 on, healpy writes 1024 values a row
    def test_as_healpy_reads_them(self, tmp_path, nest, partial, dtype, nside):
        rng = np.random.default_rng(1)
        maps = rng.standard_normal((3, 12 * nside**2)).astype(dtype)
        maps[:, rng.random(maps.shape[1]) < 0.3] = healpy.UNSEEN
        path = tmp_path / "map.fits"
        healpy.write_map(
            path, maps, nest=nest, partial=partial, dtype=dtype, coord="C",
            column_names=["I", "Q", "V"], column_units=["K", "K", "mK"],
        )  # fmt: skip
        truth = healpy.read_map(path, field=(0, 1, 2), nest=True, dtype=None)
        found = read_healpix_maps(path, field=[0, 1, 2], dtype=dtype)
        seen = np.flatnonzero(healpy.mask_good(truth[0]))
        np.testing.assert_array_equal(found.sampling.pixels, seen)
        np.testing.assert_array_equal(found.values[0], truth[:, seen].T)
        assert found.values.dtype == dtype
        assert found.fields == ("I", "Q", "V")
        assert found.units == ("K", "K", "mK")
        assert found.coordinates == "C"

    def test_several_chunks(self, tmp_path, monkeypatch):
        monkeypatch.setattr(healpix_fits, "CHUNK", 100)
        healpy.write_map(tmp_path / "a.fits", VALUES, dtype=np.float64)
        expected = healpy.reorder(VALUES, r2n=True)
        np.testing.assert_array_equal(read(tmp_path / "a.fits")[0], expected)
        healpy.write_map(
            tmp_path / "b.fits",
            np.where(np.arange(PIXELS) < 350, VALUES, healpy.UNSEEN),
            partial=True,
            dtype=np.float64,
        )
        values, pixels = read(tmp_path / "b.fits")
        rings = healpy.nest2ring(NSIDE, pixels)
        assert sorted(rings) == list(range(350))
        np.testing.assert_array_equal(values, VALUES[rings])

    def test_compressed(self, tmp_path):
        healpy.write_map(tmp_path / "a.fits", VALUES, nest=True, dtype=np.float64)
        with (
            (tmp_path / "a.fits").open("rb") as plain,
            gzip.open(tmp_path / "a.fits.gz", "wb") as to,
        ):
            shutil.copyfileobj(plain, to)
        np.testing.assert_array_equal(read(tmp_path / "a.fits.gz")[0], VALUES)


class TestFields:
    """Files with several fields: a warning names those left out."""

    @staticmethod
    def stokes(tmp_path, **header):
        path = tmp_path / f"iqu{len(list(tmp_path.iterdir()))}.fits"
        maps = [VALUES, 2 * VALUES, 3 * VALUES]
        healpy.write_map(path, maps, nest=True, dtype=np.float64, extra_header=header.items())
        return path

    def test_only_the_first_is_read(self, tmp_path, caplog):
        path = self.stokes(tmp_path)
        with caplog.at_level(logging.WARNING, logger="deepsphere.data"):
            maps = read_healpix_maps([path, path])
            assert maps.fields == ("TEMPERATURE",)
            assert len(caplog.records) == 1
            assert "TEMPERATURE, Q_POLARISATION, U_POLARISATION; only the first" in caplog.text
            assert "field=[0, 1, 2]" in caplog.text
            caplog.clear()
            read_healpix_maps(path, field=0)
            read_healpix_maps(path, field=[0, 1, 2])
            assert not caplog.records

    def test_sign_of_u(self, tmp_path, caplog):
        """Hamaker and Leahy (2004): IAU and HEALPix count the angle from north in opposite ways."""
        for convention, sign in (("COSMO", 1), ("IAU", -1)):
            path = self.stokes(tmp_path, POLCCONV=convention)
            maps = read_healpix_maps(path, field=[2, 1, 0], dtype="float64")
            np.testing.assert_array_equal(maps.values[0], np.outer(VALUES, [3 * sign, 2, 1]))
        assert caplog.text.count("U_POLARISATION in the IAU convention") == 1
        with pytest.raises(ValueError, match="POLCCONV = 'LEFT'; only COSMO and IAU are known"):
            read_healpix_maps(self.stokes(tmp_path, POLCCONV="LEFT"), field=2)
        read_healpix_maps(self.stokes(tmp_path, POLCCONV="LEFT"), field=0)

    def test_extensions(self, table, caplog):
        second = fits.BinTableHDU.from_columns([fits.Column("N", "J", array=np.arange(PIXELS))])
        second.header.update(IMPLICIT)
        second.name = "HITS"
        path = table(IMPLICIT, [second], SIGNAL=("D", VALUES))
        np.testing.assert_array_equal(read(path)[0], VALUES)
        assert "maps in the extensions 1 (no name), 2 (HITS); only the first is read" in caplog.text
        for hdu in (2, "HITS"):
            np.testing.assert_array_equal(read(path, hdu=hdu)[0], np.arange(PIXELS))
        for hdu in (0, 5, "NOISE"):
            with pytest.raises(
                ValueError, match=r"no table in extension .*; its tables are in 1 \("
            ):
                read(path, hdu=hdu)


class TestMissing:
    @pytest.mark.parametrize("form", ["E", "D"])
    @pytest.mark.parametrize("bad", [-999.1, 0.0, -1.6375e30, 1e20])
    def test_bad_data(self, table, form, bad):
        values = np.where(np.arange(PIXELS) < 5, bad, VALUES + 100)
        values[7] = healpy.UNSEEN
        expected = np.setdiff1d(np.arange(PIXELS), [0, 1, 2, 3, 4, 7])
        np.testing.assert_array_equal(read(whole(table, values, form, BAD_DATA=bad))[1], expected)

    def test_without_the_keyword_it_is_a_value(self, table):
        values, pixels = read(whole(table, np.where(VALUES < 0, -999.1, VALUES)))
        assert len(pixels) == PIXELS
        assert values.min() == -999.1

    def test_no_number(self, table):
        with pytest.raises(ValueError, match="BAD_DATA = 'none', which is not a number"):
            read(whole(table, BAD_DATA="none"))

    def test_null_of_integers(self, table):
        counts = np.arange(PIXELS)
        path = table(IMPLICIT, N=("J", counts, ("null", 3)))
        for key, value in (("TSCAL1", 0.5), ("TZERO1", 10)):
            fits.setval(path, key, value=value, ext=1)
        values, pixels = read(path)
        np.testing.assert_array_equal(pixels, counts[counts != 3])
        np.testing.assert_array_equal(values, 10 + 0.5 * pixels)
        path = table({**IMPLICIT, "BAD_DATA": 5}, N=("J", counts, ("null", 3)))
        np.testing.assert_array_equal(read(path)[1], np.setdiff1d(counts, [3, 5]))


class TestTypes:
    @pytest.mark.parametrize(
        ("form", "zero", "dtype"),
        [
            ("I", 2**15, "uint16"),
            ("J", 2**31, "uint32"),
            ("K", 2**63, "uint64"),
            ("B", -128, "int8"),
        ],
    )
    def test_the_other_signedness(self, table, form, zero, dtype):
        limits = np.iinfo(dtype)
        values = np.resize(np.array([limits.min, 1, limits.max - 1, limits.max], dtype), PIXELS)
        path = table(IMPLICIT, N=(form, values, ("bzero", zero)))
        with fits.open(path) as units:
            assert units[1].header["TZERO1"] == zero
        found = read(path, dtype=dtype)[0]
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, values)

    def test_flags_stay_as_they_are(self, table):
        flags = np.arange(PIXELS) + 2**24
        path = whole(table, flags, "J")
        with pytest.raises(ValueError, match="384 values that float32 cannot represent exactly"):
            read(path, dtype="float32")
        np.testing.assert_array_equal(read(path, dtype="int32")[0], flags)
        with pytest.raises(ValueError, match="768 values that int16 cannot represent exactly"):
            read(path, dtype="int16")
        with pytest.raises(ValueError, match="768 values that int64 cannot represent exactly"):
            read(whole(table), dtype="int64")
        yes = VALUES > 0
        found = read(whole(table, yes, "L"), dtype=bool)[0]
        np.testing.assert_array_equal(found, yes)
        with pytest.raises(ValueError, match=r"nside 8; maps of bool cannot be averaged to 4"):
            read_healpix_maps(whole(table, yes, "L"), dtype=bool, nside=4)
        maps = read_healpix_maps(whole(table, yes, "L"), dtype=bool, nside=16)
        np.testing.assert_array_equal(maps.values[0, :, 0], np.repeat(yes, 4))

    @pytest.mark.parametrize("dtype", ["complex64", "float16", "U1", object])
    def test_refused(self, table, dtype):
        with pytest.raises(TypeError, match="dtype must be float32, float64"):
            read(whole(table), dtype=dtype)

    @pytest.mark.parametrize(
        ("form", "values"),
        [("C", VALUES * 1j), ("3A", ["abc"] * PIXELS), ("3X", np.ones((PIXELS, 3), bool))],
    )
    def test_refused_columns(self, table, form, values):
        with pytest.raises(
            ValueError, match=f"SIGNAL of the FITS type {form[-1]}, which is not a real"
        ):
            read(whole(table, values, form))


class TestPixels:
    def test_any_order(self, table):
        numbers = np.random.default_rng(2).permutation(PIXELS)[:300]
        for header in (EXPLICIT, {**EXPLICIT, "GRAIN": 1}, {"ORDERING": "NESTED", "NSIDE": NSIDE}):
            path = table(header, PIXEL=("J", numbers), SIGNAL=("D", VALUES[numbers]))
            values, pixels = read(path)
            np.testing.assert_array_equal(pixels, np.sort(numbers))
            np.testing.assert_array_equal(values, VALUES[pixels])

    @pytest.mark.parametrize(
        ("form", "numbers", "message"),
        [
            ("J", [3, -1, 5], "pixel numbers from -1 to 5; for nside 8 they must be from 0 to 767"),
            ("J", [3, 768, 5], "pixel numbers from 3 to 768"),
            ("J", [3, 5, 3, 5, 3], "repeats 3 of its 5 pixels"),
            ("D", [3, 5.5, 6], "pixel numbers that are not integers"),
            ("D", [3, np.nan, 6], "lacks 1 of its pixel numbers"),
        ],
    )
    def test_refused(self, table, form, numbers, message):
        path = table(EXPLICIT, PIXEL=(form, numbers), SIGNAL=("E", np.ones(len(numbers))))
        with pytest.raises(ValueError, match=message):
            read(path)

    def test_floating_point_numbers(self, table):
        path = table(EXPLICIT, PIXEL=("D", [7.0, 3]), SIGNAL=("E", [1, 2]))
        assert [list(part) for part in read(path)] == [[2, 1], [3, 7]]

    def test_a_run_of_pixels(self, table):
        run = {"FIRSTPIX": 100, "LASTPIX": 199}
        values, pixels = read(whole(table, VALUES[100:200], **run))
        np.testing.assert_array_equal(pixels, np.arange(100, 200))
        np.testing.assert_array_equal(values, VALUES[100:200])
        ring = read(whole(table, VALUES[100:200], ORDERING="RING", **run))
        np.testing.assert_array_equal(ring[0], VALUES[healpy.nest2ring(NSIDE, ring[1])])

    @pytest.mark.parametrize(
        ("size", "header", "message"),
        [
            (
                700,
                {},
                "has 700 values, but its keywords announce 768: NSIDE = 8, from pixel 0 to 767",
            ),
            (768, {"NSIDE": 4}, "has 768 values, but its keywords announce 192"),
            (768, {"FIRSTPIX": 1}, "has 768 values, but its keywords announce 767"),
            (768, {"FIRSTPIX": 1, "LASTPIX": 768}, "pixel numbers from 1 to 768"),
            (768, {"NSIDE": 7.5}, "NSIDE = 7.5, which is not an integer"),
            (768, {"NSIDE": "many"}, "NSIDE = 'many', which is not an integer"),
            (768, {"NSIDE": 0}, "nside 0; NEST ordering needs a power of two"),
            (768, {"GRAIN": 4}, "GRAIN = 4; only 0 or 1 pixels per row can be read"),
            (768, {"GRAIN": 1}, "contradicts itself: INDXSCHM = IMPLICIT, GRAIN = 1"),
            (
                768,
                {"OBJECT": "PARTIAL"},
                "contradicts itself: INDXSCHM = IMPLICIT, OBJECT = PARTIAL",
            ),
            (768, {"ORDERING": "NUNIQ"}, "map of several resolutions"),
            (768, {"PIXTYPE": "CAR"}, "PIXTYPE = 'CAR'; only HEALPIX can be read"),
        ],
    )
    def test_contradictions(self, table, size, header, message):
        with pytest.raises(ValueError, match=message):
            read(whole(table, np.zeros(size), **header))

    def test_numbers_in_an_implicit_file(self, table):
        path = table(IMPLICIT, PIXEL=("J", np.arange(PIXELS)), SIGNAL=("D", VALUES))
        with pytest.raises(ValueError, match="it has a column PIXEL, and INDXSCHM = IMPLICIT"):
            read(path)

    def test_without_nside(self, table):
        header = {"ORDERING": "NESTED"}
        np.testing.assert_array_equal(read(table(header, SIGNAL=("D", VALUES)))[0], VALUES)
        with pytest.raises(
            ValueError, match="lacks NSIDE, and its 100 values are not a HEALPix map"
        ):
            read(table(header, SIGNAL=("D", VALUES[:100])))
        with pytest.raises(ValueError, match="lacks NSIDE, which maps with pixel numbers require"):
            read(table({**header, "INDXSCHM": "EXPLICIT"}, PIXEL=("J", [1]), SIGNAL=("D", [1])))

    def test_other_kinds_of_files(self, tmp_path):
        path = tmp_path / "image.fits"
        fits.PrimaryHDU(np.zeros((3, 3))).writeto(path)
        with pytest.raises(ValueError, match=r"image\.fits: it holds no binary table"):
            read(path)
        # The header that healsparse gives to its first extension.
        cover = fits.ImageHDU(
            np.zeros(12), fits.Header({"PIXTYPE": "HEALSPARSE", "NSIDE": 1}), "COV"
        )
        fits.HDUList([fits.PrimaryHDU(), cover]).writeto(path, overwrite=True)
        with pytest.raises(ValueError, match="is a healsparse map; convert it to a HEALPix map"):
            read(path)


class TestSeveralFiles:
    @pytest.mark.parametrize(
        ("first", "second", "message"),
        [
            (
                {"TUNIT1": "K"},
                {"TUNIT1": "mK"},
                r"unit of SIGNAL is 'mK' in .*1\.fits but 'K' in .*0\.",
            ),
            (
                {"COORDSYS": "G"},
                {"COORDSYS": "C"},
                r"COORDSYS is 'C' in .*1\.fits but 'G' in .*0\.",
            ),
        ],
    )
    def test_that_differ(self, table, first, second, message):
        with pytest.raises(ValueError, match=message):
            read_healpix_maps([whole(table, **first), whole(table, **second)])

    @pytest.mark.parametrize("units", [("K_CMB", "K CMB"), ("K", "Kelvin"), ("mK", "1e-3 K")])
    def test_that_spell_units_differently(self, table, units, caplog):
        maps = read_healpix_maps([whole(table, TUNIT1=unit) for unit in units])
        assert maps.units == (units[0],)
        assert not caplog.records

    def test_of_which_one_does_not_say(self, table, caplog):
        paths = [whole(table), whole(table, TUNIT1="K", COORDSYS="GALACTIC"), whole(table)]
        maps = read_healpix_maps(paths)
        assert (maps.units, maps.coordinates) == (("K",), "G")
        assert "unit of SIGNAL is 'K' in" in caplog.text
        assert "COORDSYS is 'G' in" in caplog.text
        caplog.clear()
        read_healpix_maps([paths[0], table(IMPLICIT, KAPPA=("D", VALUES))])
        assert "different names (KAPPA and SIGNAL); they are assumed to be the same" in caplog.text

    def test_nothing_left(self, table):
        half = np.where(np.arange(PIXELS) < 300, 1, np.nan)
        other = np.where(np.isnan(half), VALUES, np.nan)
        paths = [whole(table, values) for values in (half, half, other)]
        with pytest.raises(ValueError, match=r"of all 3 maps \(none is left with .*2\.fits\)"):
            read_healpix_maps(paths)


def test_memory_is_that_of_the_result(table):
    """A partial map at nside 1024, where a full map takes 50 MB in single precision."""
    numbers = np.arange(5000)
    header = {**EXPLICIT, "NSIDE": 1024}
    paths = [table(header, PIXEL=("K", numbers), SIGNAL=("E", np.ones(5000))) for _ in range(3)]
    read_healpix_maps(paths[:1])  # imports
    tracemalloc.start()
    maps = read_healpix_maps(paths, coarse_nside=256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert maps.values.shape == (3, 5008, 1)
    assert peak < 4e6  # measured: 1 MB
