"""Coordinates of xarray data sets: what is written, and what is known again."""

import sys

import numpy as np
import pytest
from astropy_healpix.healpy import ring2nest

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
