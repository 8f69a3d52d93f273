"""Graticules, colors and orientation of pictures of the sphere."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from deepsphere.plot import plot_map, plot_maps
from deepsphere.plot.image_lookup import nearest_vertex
from deepsphere.plot.projection import (
    meridian,
    parallel,
    plane_to_sphere,
    unit_vectors,
)
from deepsphere.plot.style import BLANK
from deepsphere.sampling import Healpix
from picture_truth import SCALE, image_of, pixel_at, projector


def render(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


@pytest.mark.parametrize("projection", ["mollweide", "equirectangular"])
def test_graticule_lies_where_the_projection_puts_it(projection):
    longitude, _ = plane_to_sphere(*meridian(60.0, projection), projection)
    np.testing.assert_allclose(longitude[1:-1], 60.0, atol=1e-9)  # the poles have no longitude
    _, latitude = plane_to_sphere(*(0.999 * v for v in parallel(0.0, projection)), projection)
    np.testing.assert_allclose(latitude, 0.0, atol=1e-9)
    x, y = parallel(-30.0, projection)
    _, latitude = plane_to_sphere(0.999 * x, y, projection)
    np.testing.assert_allclose(latitude, -30.0, atol=1e-9)


@pytest.mark.parametrize("projection", ["mollweide", "equirectangular"])
@pytest.mark.parametrize("astronomical", [True, False])
def test_orientation_of_what_is_drawn(projection, astronomical):
    sampling = Healpix(32)
    spot = sampling.points @ unit_vectors(60.0, 30.0) > np.cos(np.radians(3))
    figure = plot_map(
        spot.astype(float),
        sampling,
        projection,
        cmap="cool",
        limits=(0, 1),
        astronomical=astronomical,
        graticule=False,
    )
    picture = render(figure)
    axes = figure.axes[0]
    if projection == "mollweide":
        x, y = projector("MOL").wcs_world2pix(60.0, 30.0, 0)
        x, y = (x + 1) / SCALE, (y + 1) / SCALE
    else:
        x, y = 60 / 90, 30 / 90
    expected = axes.transData.transform([x, y])
    center = axes.transData.transform([0, 0])
    assert (expected[0] < center[0]) == astronomical  # east is left on the sky
    assert expected[1] > center[1]
    # Magenta is the top of this color map; the color bar below the axes is left out.
    above = np.arange(len(picture)) < len(picture) - axes.bbox.y0
    rows, columns = np.nonzero((picture == [255, 0, 255]).all(axis=-1) & above[:, None])
    assert len(rows) > 100
    # The spot is ragged by pixels of 1.8 degrees (7 dots): its centroid moves by a part of one.
    np.testing.assert_allclose(columns.mean(), expected[0], atol=4)
    np.testing.assert_allclose(len(picture) - rows.mean(), expected[1], atol=4)


def test_blank_outside_the_footprint_and_where_values_are_missing():
    full = Healpix(16)
    north = np.flatnonzero(full.points[:, 2] > 0.1)
    sampling = Healpix(16, north)
    values = np.ones(len(sampling))
    values[nearest_vertex(sampling, unit_vectors(0.0, 60.0))] = np.nan
    values[nearest_vertex(sampling, unit_vectors(90.0, 45.0))] = -1.6375e30
    values = np.ma.masked_array(values, mask=False)
    values[nearest_vertex(sampling, unit_vectors(-37.0, 52.0))] = np.ma.masked
    figure = plot_map(values, sampling, limits=(0, 2), graticule=False)
    image = image_of(figure)
    for longitude, latitude, shown in [
        (0, 30, 1),
        (0, -30, 0),
        (0, 60, 0),
        (90, 45, 0),
        (-37, 52, 0),
    ]:
        x, y = projector("MOL").wcs_world2pix(longitude, latitude, 0)
        value = pixel_at(image, (x + 1) / SCALE, (y + 1) / SCALE)
        assert (value is np.ma.masked) == (not shown), (longitude, latitude)
    picture = render(figure)
    column, row = figure.axes[0].transData.transform([0.5, -0.5]).round().astype(int)
    assert (picture[len(picture) - row, column] == np.round(255 * np.array(to_rgb(BLANK)))).all()
    column, row = figure.axes[0].transData.transform([1.95, -0.95]).round().astype(int)
    assert (picture[len(picture) - row, column] == 255).all()  # beyond the outline: paper


def test_color_bar_tells_unit_limits_and_what_lies_beyond():
    sampling = Healpix(4)
    z = sampling.points[:, 2]
    figure = plot_map(z, sampling, title="Height", unit="z (radii)")
    assert figure.axes[0].get_title() == "Height"
    assert figure.axes[1].get_xlabel() == "z (radii)"
    assert image_of(figure).get_clim() == (z.min(), z.max())
    assert image_of(figure).colorbar.extend == "neither"
    assert image_of(plot_map(z, sampling, limits=(-0.5, 2))).colorbar.extend == "min"
    assert image_of(plot_map(z, sampling, limits=(-0.5, 0.5))).colorbar.extend == "both"
    low, high = image_of(plot_map(np.full(len(z), 3.0), sampling)).get_clim()
    assert low < 3.0 < high


def test_several_maps_share_one_scale():
    sampling = Healpix(4)
    z = sampling.points[:, 2]
    figure = plot_maps([z, 3 * z, z - 1], sampling, ["a", "b", "c"], title="All", unit="z")
    *maps, bar = figure.axes
    assert [axes.get_title() for axes in maps] == ["a", "b", "c"]
    limits = (min(z.min() - 1, 3 * z.min()), 3 * z.max())
    assert [axes.images[0].get_clim() for axes in maps] == [limits] * 3
    assert bar.get_xlabel() == "z"
    assert figure.get_suptitle() == "All"
    render(figure)
    places = [axes.get_position() for axes in maps]
    assert places[0].y0 == pytest.approx(places[1].y0)
    assert places[2].y1 < places[0].y0  # two in a row, the third below
