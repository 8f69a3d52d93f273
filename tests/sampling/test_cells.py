"""HEALPix cells of xarray data."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy_healpix.healpy import nest2ring, ring2nest

from deepsphere.sampling import (
    Equiangular,
    Healpix,
    Scattered,
    from_coordinates,
    from_dataarray,
    to_coordinates,
)

xarray = pytest.importorskip("xarray")


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
