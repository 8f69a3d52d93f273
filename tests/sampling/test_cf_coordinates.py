"""Units, names and grid mappings of the CF conventions."""

import logging

import astropy.units
import numpy as np
import pytest

from deepsphere.sampling import (
    Equiangular,
    Fibonacci,
    Icosahedral,
    IcosahedralFaces,
    Scattered,
    from_coordinates,
    to_coordinates,
)
from deepsphere.sampling.lonlat import to_lonlat

xarray = pytest.importorskip("xarray")


def without_attributes(data):
    for name in data.coords:
        data[name].attrs.clear()
    return data


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
