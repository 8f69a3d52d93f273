"""Coordinates of xarray data sets: what is written, and what is known again."""

import logging
import sys
from types import SimpleNamespace

import astropy.units
import numpy as np
import pytest
from astropy_healpix.healpy import nest2ring, ring2nest

from deepsphere.sampling import (
    CubedSphere,
    Equiangular,
    Fibonacci,
    GaussLegendre,
    Healpix,
    Icosahedral,
    IcosahedralFaces,
    RandomUniform,
    ReducedGaussian,
    Scattered,
    from_coordinates,
    from_dataarray,
    to_coordinates,
)
from deepsphere.sampling.lonlat import to_lonlat, to_vectors

xarray = pytest.importorskip("xarray")

KNOWN = [
    Healpix(8),
    Healpix(4, [3, 5, 100]),
    Equiangular(12, 20),
    Equiangular(12, 20, "driscoll-healy"),
    Equiangular(13, 20, "clenshaw-curtis"),
    Equiangular(721, 1440, "clenshaw-curtis"),
    Equiangular(1, 1),
    GaussLegendre(32),
    GaussLegendre(160, 320),
    ReducedGaussian(1),
    ReducedGaussian(24),
    ReducedGaussian(32, "classical"),
    Icosahedral(0),
    Icosahedral(3),
    IcosahedralFaces(0),
    IcosahedralFaces(3),
    CubedSphere(1),
    CubedSphere(10),
    Fibonacci(1),
    Fibonacci(777),
]


def without_attributes(data):
    for name in data.coords:
        data[name].attrs.clear()
    return data


def in_single_precision(data):
    return data.assign_coords({name: data[name].astype(np.float32) for name in ("lat", "lon")})


@pytest.mark.parametrize("sampling", KNOWN, ids=repr)
@pytest.mark.parametrize("change", [lambda data: data, in_single_precision])
def test_round_trip(sampling, change):
    assert from_coordinates(change(to_coordinates(sampling))) == sampling


@pytest.mark.parametrize(
    "sampling",
    [RandomUniform(200), Scattered([(5, 6), (7, 8)]), CubedSphere(8).subset([1, 7, 100])],
    ids=repr,
)
def test_others_are_scattered(sampling):
    found = from_coordinates(to_coordinates(sampling))
    assert type(found) is Scattered
    # Through degrees and back: roundings of 360, 6e-14 degrees, a few of them.
    np.testing.assert_allclose(found.points, sampling.points, rtol=0, atol=3e-15)


def test_xarray_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"xarray is not installed.*\[weather\]"):
        to_coordinates(Healpix(2))


class TestWritten:
    def test_grid(self):
        data = to_coordinates(GaussLegendre(6, 8))
        assert data.lat.dims == ("lat",)
        assert data.lon.dims == ("lon",)
        np.testing.assert_array_equal(data.lon, np.arange(8) * 45)
        assert data.lat.attrs["standard_name"] == "latitude"
        assert data.lat.attrs["units"] == "degrees_north"
        assert data.lon.attrs["standard_name"] == "longitude"
        assert data.lon.attrs["units"] == "degrees_east"
        # Row by row, these are the points.
        pairs = np.stack(np.meshgrid(data.lon, data.lat), -1).reshape(-1, 2)
        np.testing.assert_allclose(
            to_vectors(pairs), GaussLegendre(6, 8).points, rtol=0, atol=1e-15
        )

    def test_healpix_as_xdggs_has_it(self):
        data = to_coordinates(Healpix(4, [3, 5]))
        np.testing.assert_array_equal(data.cell_ids, [3, 5])
        assert data.cell_ids.dims == data.lat.dims == ("cells",)
        assert data.cell_ids.attrs == {
            "grid_name": "healpix",
            "level": 2,
            "indexing_scheme": "nested",
        }
        lonlat = np.column_stack((data.lon, data.lat))
        np.testing.assert_allclose(
            to_vectors(lonlat), Healpix(4, [3, 5]).points, rtol=0, atol=1e-15
        )

    def test_maps_can_have_them(self):
        values = np.arange(48.0)
        array = xarray.DataArray(values, dims="cells", coords=to_coordinates(Healpix(2)).coords)
        assert from_coordinates(array) == Healpix(2)
        grid = to_coordinates(Equiangular(4, 8))
        array = xarray.DataArray(np.zeros((4, 8)), dims=("lat", "lon"), coords=grid.coords)
        assert from_coordinates(array) == Equiangular(4, 8)


class TestFound:
    def test_names(self):
        grid = to_coordinates(Equiangular(4, 8))
        assert from_coordinates(grid.rename(lat="latitude", lon="longitude")).nlat == 4
        assert from_coordinates(grid.rename(lat="y", lon="x")).nlat == 4  # by standard_name
        bare = without_attributes(grid.rename(lat="latitude"))
        assert from_coordinates(bare) == Equiangular(4, 8)
        with pytest.raises(
            ValueError, match=r"there is no latitude: name it .*the variables are \['a'"
        ):
            from_coordinates(without_attributes(grid.rename(lat="a", lon="b")))

    def test_variables_of_a_data_set(self):
        data = to_coordinates(Fibonacci(50)).reset_coords()
        assert from_coordinates(data) == Fibonacci(50)

    def test_rounded_as_in_files(self):
        latitudes = GaussLegendre(64).latitudes.round(3)
        data = to_coordinates(GaussLegendre(64)).assign_coords(lat=latitudes)
        assert from_coordinates(data) == GaussLegendre(64)

    def test_south_to_north(self):
        data = to_coordinates(Equiangular(721, 1440, "clenshaw-curtis")).isel(
            lat=slice(None, None, -1)
        )
        with pytest.raises(ValueError, match=r"from south to north.*sortby\('lat'") as caught:
            from_coordinates(data)
        advice = str(caught.value).split("use ")[1]
        assert from_coordinates(eval(advice)) == Equiangular(721, 1440, "clenshaw-curtis")

    def test_advice_names_the_coordinates(self):
        data = xarray.Dataset(coords={"latitude": ("y", [-45.0, 45]), "lon": ("x", [0.0, 180])})
        with pytest.raises(ValueError, match="use ") as caught:
            from_coordinates(data)
        advice = str(caught.value).split("use ")[1]
        assert from_coordinates(eval(advice)) == Equiangular(2, 2)

    def test_longitudes_from_minus_180(self):
        data = to_coordinates(Equiangular(6, 12))
        data = data.assign_coords(lon=np.arange(-180, 180, 30.0))
        with pytest.raises(ValueError, match=r"longitudes start at -180.0.*at 0") as caught:
            from_coordinates(data)
        advice = str(caught.value).split("use ")[1]
        assert from_coordinates(eval(advice)) == Equiangular(6, 12)

    @pytest.mark.parametrize(
        "change",
        [
            {"lat": np.linspace(60, 20, 6)},  # a region
            {"lat": np.array([80, 50, 20, -10, -50, -80])},
            {"lon": np.arange(12) * 30 + 15.0},  # another offset
            {"lon": np.arange(12) * 30 + 15.0, "lat": np.arange(-75.0, 90, 30)},
            {"lat": np.linspace(20, 60, 6)},
        ],
    )
    def test_other_grids_are_scattered_row_by_row(self, change):
        data = to_coordinates(Equiangular(6, 12)).assign_coords(change)
        found = from_coordinates(data)
        pairs = np.stack(np.meshgrid(data.lon, data.lat), -1).reshape(-1, 2)
        assert found == Scattered(pairs)

    def test_curvilinear(self):
        lon, lat = to_lonlat(RandomUniform(12).points).T
        data = xarray.Dataset(
            coords={
                "lat": (("y", "x"), lat.reshape(3, 4)),
                "lon": (("y", "x"), lon.reshape(3, 4)),
            }
        )
        assert from_coordinates(data) == Scattered(np.column_stack((lon, lat)))

    def test_other_dimensions(self):
        data = xarray.Dataset(coords={"lat": ("y", [1.0, 2.0]), "lon": (("y", "x"), np.eye(2))})
        with pytest.raises(ValueError, match=r"same dimensions or one each, got \('y',\) and"):
            from_coordinates(data)


class TestHealpix:
    def test_ring(self):
        nested = to_coordinates(Healpix(4)).assign(sky=("cells", np.arange(192)))
        ring_ids = nest2ring(4, nested.cell_ids.values)
        attrs = {**nested.cell_ids.attrs, "indexing_scheme": "ring"}
        data = nested.assign_coords(cell_ids=("cells", ring_ids, attrs)).sortby("cell_ids")
        with pytest.raises(ValueError, match="RING ordering, but samplings are in NEST") as caught:
            from_coordinates(data)
        # The advice in the message helps.
        assert "ring2nest(4, data.cell_ids.values)" in str(caught.value)
        ids = ring2nest(4, data.cell_ids.values)
        attrs = {**data.cell_ids.attrs, "indexing_scheme": "nested"}
        sorted_data = eval(str(caught.value).split("use ")[1], {**locals()})
        assert from_coordinates(sorted_data) == Healpix(4)
        np.testing.assert_array_equal(sorted_data.sky, nested.sky)

    def test_not_sorted(self):
        data = to_coordinates(Healpix(4)).isel(cells=[5, 3])
        with pytest.raises(ValueError, match=r"increasing; use data\.sortby\('cell_ids'\)"):
            from_coordinates(data)
        assert from_coordinates(data.sortby("cell_ids")) == Healpix(4, [3, 5])

    def test_attributes(self):
        data = to_coordinates(Healpix(4))
        del data.cell_ids.attrs["indexing_scheme"]
        assert from_coordinates(data) == Healpix(4)  # what xdggs takes it for
        data.cell_ids.attrs["indexing_scheme"] = "unique"
        with pytest.raises(ValueError, match="indexing_scheme nested or ring, got 'unique'"):
            from_coordinates(data)
        del data.cell_ids.attrs["level"], data.cell_ids.attrs["indexing_scheme"]
        with pytest.raises(ValueError, match=r"lack the attribute level .*they have \['grid_name'"):
            from_coordinates(data)

    def test_cells_of_other_grids_are_points(self):
        data = to_coordinates(Healpix(4, [3, 5, 100]))
        data.cell_ids.attrs["grid_name"] = "h3"
        assert type(from_coordinates(data)) is Scattered

    def test_numbers(self):
        data = to_coordinates(Healpix(4, [3, 5, 100])).drop_vars(["lat", "lon"])
        attrs = data.cell_ids.attrs

        def numbered(ids, **more):
            return data.assign_coords(cell_ids=("cells", np.array(ids), {**attrs, **more}))

        # Files with a fill value are read as floating-point numbers, xdggs has unsigned ones.
        assert from_coordinates(numbered([3.0, 5.0, 100.0])) == Healpix(4, [3, 5, 100])
        assert from_coordinates(numbered(np.uint64([3, 5, 100]))) == Healpix(4, [3, 5, 100])
        for ids, message in (
            (np.uint64([5, 3, 100]), r"strictly increasing; use data\.sortby"),
            ([3, 5, 5], r"1 of 3 repeat another one; use data\.drop_duplicates\('cells'\)"),
            ([3, 5, 192], "from 0 to 191 for nside 4, got values from 3 to 192"),
            ([-1, 5, 6], "got values from -1 to 6"),
            ([3, np.nan, 5], "1 of 3 cell_ids are missing"),
            ([3, 4.5, 5], "must be integers, got float64 with fractions"),
        ):
            with pytest.raises(ValueError, match=message):
                from_coordinates(numbered(ids))
        for more, message in (
            ({"level": 2.5}, "level of cell_ids must be an integer, got 2.5"),
            ({"level": 31}, "level of cell_ids must be from 0 to 29, got 31"),
            ({"nside": 8}, r"contradict each other: they imply \{'level': 2, 'nside': 3\}"),
            ({"nest": False}, "contradict each other: they specify"),
        ):
            with pytest.raises(ValueError, match=message):
                from_coordinates(numbered([3, 5, 100], **more))

    def test_index_of_xdggs(self):
        """``xdggs.decode`` moves the attributes of the numbers to the index."""
        attributes = {"grid_name": "healpix", "level": 2, "indexing_scheme": "ring"}
        info = SimpleNamespace(to_dict=lambda: attributes)
        nested = to_coordinates(Healpix(4)).cell_ids.values
        cells = xarray.Variable("cells", nest2ring(4, nested))
        decoded = SimpleNamespace(  # what is looked at of a data set
            variables={"cell_ids": cells},
            xindexes={"cell_ids": SimpleNamespace(grid_info=info)},
            data_vars={},
        )
        with pytest.raises(ValueError, match="cell_ids are in RING ordering"):
            from_coordinates(decoded)
        attributes["indexing_scheme"] = "nested"
        cells.values = nested
        assert from_coordinates(decoded) == Healpix(4)

    def test_ellipsoid(self, caplog):
        data = to_coordinates(Healpix(4))
        for ellipsoid in ("sphere", {"name": "earth", "radius": 6371000.0}):
            data.cell_ids.attrs["ellipsoid"] = ellipsoid
            assert from_coordinates(data) == Healpix(4)
        assert not caplog.records
        data.cell_ids.attrs["ellipsoid"] = "WGS84"
        assert from_coordinates(data) == Healpix(4)
        assert "cell_ids lie on an ellipsoid (WGS84)" in caplog.text


class TestGridMapping:
    """HEALPix in the CF conventions, and as nextGEMS, EERIE and easy.gems write it."""

    FORMS = (
        {"healpix_nside": 4, "healpix_order": "nest"},
        {"refinement_level": 2, "indexing_scheme": "nested"},
        {"zoom": 2, "healpix_order": "nested"},
    )

    @staticmethod
    def data(attributes, numbers=None, size=192):
        attributes = {"grid_mapping_name": "healpix", **attributes}
        coordinates = {} if numbers is None else {"cell": ("cell", numbers)}
        return xarray.Dataset(
            {"tas": (("time", "cell"), np.arange(2.0 * size).reshape(2, -1))},
            {"crs": ((), 0, attributes), **coordinates},
        ).assign(tas=lambda data: data.tas.assign_attrs(grid_mapping="crs"))

    @pytest.mark.parametrize("form", FORMS, ids=lambda form: next(iter(form)))
    def test_known(self, form):
        assert from_coordinates(self.data(form)) == Healpix(4)
        assert from_coordinates(self.data(form).tas) == Healpix(4)
        part = self.data(form, [3, 5, 100], 3)
        assert from_coordinates(part) == Healpix(4, [3, 5, 100])
        values, sampling = from_dataarray(part.tas.isel(cell=[2, 0, 1]))
        assert sampling == Healpix(4, [3, 5, 100])
        np.testing.assert_array_equal(values, part.tas)

    @pytest.mark.parametrize("numbers", [None, np.arange(192)])
    def test_ring(self, numbers):
        data = self.data({"healpix_nside": 4, "healpix_order": "ring"}, numbers)
        with pytest.raises(ValueError, match="RING ordering, but samplings are in NEST"):
            from_coordinates(data)
        values, sampling = from_dataarray(data.tas)
        assert sampling == Healpix(4)
        np.testing.assert_array_equal(values[0], nest2ring(4, np.arange(192)))

    def test_refused(self):
        whole = {"healpix_nside": 4, "healpix_order": "nest"}
        for data, message in (
            (self.data({"healpix_nside": 4}), "crs lacks the order of its cells"),
            (self.data({**whole, "refinement_level": 3}), "contradict each other"),
            (self.data({**whole, "healpix_order": "nuniq"}), "nested or ring, got 'nuniq'"),
            (self.data({"healpix_order": "nest"}), "crs lack the attribute level"),
            (self.data(whole, size=100), r"level 2 has 192 cells, but no dimension.*'cell': 100"),
            (
                self.data(whole).drop_vars("crs"),
                "refer to a grid mapping 'crs' but have neither it",
            ),
            (
                self.data(whole).tas.drop_vars("crs"),
                "refer to a grid mapping 'crs' but have neither",
            ),
        ):
            with pytest.raises(ValueError, match=message):
                from_coordinates(data)

    def test_others_have_latitudes_and_longitudes(self):
        grid = to_coordinates(Equiangular(4, 8))
        data = xarray.DataArray(np.zeros((4, 8)), grid.coords, ("lat", "lon"))
        assert from_coordinates(data.assign_attrs(grid_mapping="crs")) == Equiangular(4, 8)


class TestUnits:
    @pytest.mark.parametrize("unit", ["radian", "radians", "rad", "RADIAN"])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_radians(self, unit, dtype):
        """ICON's clat and clon, identified by standard_name."""
        for sampling in (IcosahedralFaces(3), Equiangular(5, 8, "clenshaw-curtis")):
            data = to_coordinates(sampling).rename(lat="clat", lon="clon").reset_coords()
            for name in ("clat", "clon"):
                radians = np.radians(data[name].variable.values).astype(dtype)
                data = data.assign(
                    {name: (data[name].dims, radians, {**data[name].attrs, "units": unit})}
                )
            assert from_coordinates(data) == sampling

    @pytest.mark.parametrize(
        "units",
        [
            ("degrees_north", "degrees_east"),
            ("degree_N", "degree_E"),
            ("degreesN", "degreesE"),
            ("degrees", "deg"),
            ("°", "degree"),
            (None, None),
        ],
    )
    def test_degrees(self, units):
        data = to_coordinates(Equiangular(4, 8))
        for name, unit in zip(("lat", "lon"), units, strict=True):
            data[name].attrs["units"] = unit
        assert from_coordinates(data) == Equiangular(4, 8)

    def test_units_alone_make_a_coordinate(self):
        lat, lon = ("y", [45.0, -45]), ("x", [0.0, 180])
        data = xarray.Dataset(
            {
                "a": (*lat, {"units": "degrees_north", "bounds": "c"}),
                "b": (*lon, {"units": "degrees_E"}),
            }
        ).assign(c=("y", [90.0, 0], {"units": "degrees_north"}))
        assert from_coordinates(data) == Equiangular(2, 2)

    def test_quantities(self):
        lon, lat = np.radians(to_lonlat(Fibonacci(50).points)).T * astropy.units.rad
        data = xarray.Dataset({"lat": ("cells", lat), "lon": ("cells", lon)})
        assert from_coordinates(data) == Fibonacci(50)

    @pytest.mark.parametrize("unit", ["m", "1", "km", "degrees_west", "degrees_south"])
    def test_unknown(self, unit):
        data = to_coordinates(Equiangular(4, 8))
        data.lat.attrs["units"] = unit
        with pytest.raises(ValueError, match=f"lat must have units such as .*; got '{unit}'"):
            from_coordinates(data)

    def test_of_the_other(self):
        data = to_coordinates(Equiangular(4, 8)).rename(lat="lon", lon="lat")
        with pytest.raises(ValueError, match="lat is a latitude by its name, but has the units"):
            from_coordinates(without_standard_names(data))

    def test_no_units(self, caplog):
        data = without_attributes(to_coordinates(IcosahedralFaces(1)))
        assert from_coordinates(data) == IcosahedralFaces(1)
        assert not caplog.records
        radians = data.assign_coords(
            {name: ("cells", np.radians(data[name].values)) for name in ("lat", "lon")}
        )
        with pytest.raises(
            ValueError, match=r"lat and lon .* look like radians: they range from -1"
        ):
            from_coordinates(radians)
        small = data.assign_coords(lat=data.lat / 100, lon=data.lon / 100)
        with caplog.at_level(logging.WARNING, logger="deepsphere"):
            assert type(from_coordinates(small)) is Scattered
        assert "could be radians by their range; degrees are assumed" in caplog.text

    def test_small_angles_with_units_are_what_they_say(self, caplog):
        data = to_coordinates(IcosahedralFaces(1))
        for factor in (1 / 100, np.pi / 180):  # as large as radians can be
            with xarray.set_options(keep_attrs=True):
                small = data.assign_coords(lat=data.lat * factor, lon=data.lon * factor)
            assert small.lat.attrs["units"] == "degrees_north"
            with caplog.at_level(logging.WARNING, logger="deepsphere"):
                found = from_coordinates(small)
            np.testing.assert_allclose(to_lonlat(found.points)[:, 1], small.lat, atol=1e-9)
        assert not caplog.records

    def test_values(self):
        data = to_coordinates(Fibonacci(50))
        for change, message in (
            ({"lat": data.lat * 1.2}, "latitudes from -90 to 90; got"),
            ({"lon": data.lon.where(data.lon > 9)}, "must be finite degrees"),
        ):
            with pytest.raises(ValueError, match=message):
                from_coordinates(data.assign_coords(change))

    def test_values_of_grids(self):
        data = to_coordinates(Equiangular(4, 8))
        for change, message in (
            ({"lat": [95.0, 45, 0, -45]}, "latitudes from -90 to 90; got"),
            ({"lat": [np.nan, 45, 0, -45]}, "must be finite degrees"),
            ({"lon": [*np.arange(7), np.nan]}, "must be finite degrees"),
        ):
            with pytest.raises(ValueError, match=message):
                from_coordinates(data.assign_coords(change))
        with pytest.raises(ValueError, match="lat and lon must not be empty"):
            from_coordinates(data.isel(lat=slice(0, 0)))


def without_standard_names(data):
    for name in data.coords:
        del data[name].attrs["standard_name"]
    return data


class TestNames:
    def test_cells_edges_and_vertices(self):
        """ICON's files have several latitudes; the maps tell which apply."""
        cells, vertices = (
            to_coordinates(sampling).rename(lat=f"{letter}lat", lon=f"{letter}lon", cells=dim)
            for sampling, letter, dim in (
                (IcosahedralFaces(1), "c", "cell"),
                (Icosahedral(1), "v", "vertex"),
            )
        )
        data = cells.merge(vertices)
        with pytest.raises(ValueError, match=r"several latitudes: clat \('cell',\), vlat \('v"):
            from_coordinates(data)
        assert from_coordinates(data.assign(t=("cell", np.zeros(80)))) == IcosahedralFaces(1)
        assert from_coordinates(data.assign(t=("vertex", np.zeros(42)))) == Icosahedral(1)

    def test_rotated_poles(self):
        """``lat`` of a rotated grid is not a latitude."""
        data = to_coordinates(Equiangular(4, 8))
        data.lat.attrs.update(standard_name="grid_latitude", units="degrees")
        with pytest.raises(ValueError, match="there is no latitude"):
            from_coordinates(data)


class TestOrder:
    """Values in another order than the sampling's are rejected or reordered."""

    @staticmethod
    def data(*dims):
        """Return sines of the latitudes plus longitudes, on a grid with two more dimensions."""
        grid = to_coordinates(Equiangular(4, 8))
        heights = xarray.DataArray([0.0, 1000, 2000], dims="level")
        times = xarray.DataArray([0.0, 1e5], dims="time")
        return (grid.lat + grid.lon / 1e3 + heights + times).rename("t").transpose(*dims)

    def expected(self):
        return self.data("time", "level", "lat", "lon").values.reshape(2, 3, 32)

    @pytest.mark.parametrize(
        "dims",
        [
            ("time", "level", "lon", "lat"),
            ("lon", "lat", "time", "level"),
            ("lat", "time", "lon", "level"),
            ("time", "level", "lat", "lon"),
            ("time", "lat", "lon", "level"),
        ],
    )
    def test_dimensions(self, dims):
        data = self.data(*dims)
        side_by_side = dims.index("lon") == dims.index("lat") + 1
        for form in (data, data.to_dataset()):
            if side_by_side:
                assert from_coordinates(form) == Equiangular(4, 8)
            else:
                with pytest.raises(
                    ValueError, match=r"transpose\(\.\.\., 'lat', 'lon'\)"
                ) as caught:
                    from_coordinates(form)
                turned = eval(str(caught.value).split("use ")[1], {"data": form})
                assert from_coordinates(turned) == Equiangular(4, 8)
        values, sampling = from_dataarray(data)
        assert sampling == Equiangular(4, 8)
        expected = self.expected()
        if dims.index("level") < dims.index("time"):
            expected = expected.swapaxes(0, 1)
        np.testing.assert_array_equal(values, expected)
        values, _ = from_dataarray(data, channels="level")
        np.testing.assert_array_equal(values, self.expected().transpose(0, 2, 1))

    def test_rows_and_columns(self):
        data = self.data("time", "level", "lat", "lon")
        changed = data.isel(lat=slice(None, None, -1)).assign_coords(
            lon=(data.lon + 180) % 360 - 180
        )
        changed = changed.sortby("lon").transpose("lon", ...)
        values, sampling = from_dataarray(changed)
        assert sampling == Equiangular(4, 8)
        np.testing.assert_array_equal(values, self.expected())

    @pytest.mark.parametrize("longitudes", [np.arange(0, 361, 45), np.arange(-180, 181, 45)])
    def test_cyclic_column(self, longitudes):
        data = self.data("time", "level", "lat", "lon")
        data = data.sel(lon=longitudes % 360).assign_coords(lon=longitudes)
        with pytest.raises(ValueError, match=r"repeats another one: use data\.isel") as caught:
            from_coordinates(data)
        values, sampling = from_dataarray(data)
        assert sampling == Equiangular(4, 8)
        np.testing.assert_array_equal(values, self.expected())
        values, sampling = from_dataarray(eval(str(caught.value).split("use ")[1]))
        assert sampling == Equiangular(4, 8)
        np.testing.assert_array_equal(values, self.expected())

    def test_curvilinear(self):
        lon, lat = to_lonlat(RandomUniform(12).points).T
        where = {"lat": (("y", "x"), lat.reshape(3, 4)), "lon": (("y", "x"), lon.reshape(3, 4))}
        data = xarray.DataArray(lat.reshape(3, 4).T, where, ("x", "y"))
        with pytest.raises(ValueError, match=r"use data\.transpose\(\.\.\., 'y', 'x'\)"):
            from_coordinates(data)
        values, sampling = from_dataarray(data)
        np.testing.assert_array_equal(values, lat)
        assert sampling == Scattered(np.column_stack((lon, lat)))

    def test_rows_at_the_poles_of_a_part(self):
        grid = to_coordinates(Equiangular(13, 8, "clenshaw-curtis")).isel(lat=slice(0, 5))
        data = xarray.DataArray(np.zeros((5, 8)), grid.coords, ("lat", "lon"))
        with pytest.raises(
            ValueError, match=r"rows at latitude \[90\.0\] repeat .* 8 times"
        ) as caught:
            from_coordinates(data)
        found = from_coordinates(eval(str(caught.value).split("with ")[-1]))
        assert len(found) == 32

    def test_points_of_healpix(self):
        """Without HEALPix metadata, as in many files."""
        points = to_coordinates(Healpix(4)).drop_vars("cell_ids")
        assert from_coordinates(points) == Healpix(4)
        order = ring2nest(4, np.arange(192))
        ring = points.isel(cells=order)
        with pytest.raises(ValueError, match=r"Healpix\(nside=4\) in RING ordering"):
            from_coordinates(ring)
        data = xarray.DataArray(np.arange(192)[order], ring.coords, ("cells",))
        values, sampling = from_dataarray(data)
        assert sampling == Healpix(4)
        np.testing.assert_array_equal(values, np.arange(192))

    @pytest.mark.parametrize("data", [None, {"lat": [1.0]}, np.zeros((4, 8)), "data.nc"], ids=str)
    def test_what_is_no_data_set(self, data):
        for function in (from_coordinates, from_dataarray):
            with pytest.raises(
                TypeError, match=r"must be an xarray\.Data.* got " + type(data).__name__
            ):
                function(data)

    def test_errors(self):
        data = self.data("time", "level", "lat", "lon")
        with pytest.raises(TypeError, match=r"must be an xarray\.DataArray, got Dataset"):
            from_dataarray(data.to_dataset())
        with pytest.raises(ValueError, match=r"must have the dimensions .* and channels='band'"):
            from_dataarray(data, channels="band")
        with pytest.raises(ValueError, match=r"must have the dimensions .* and channels='lat'"):
            from_dataarray(data, channels="lat")
