"""Close-ups of filters."""

import numpy as np
import pytest

from deepsphere.plot import (
    plot_filter_gnomonic,
)
from deepsphere.plot.filter_close_ups import round_ticks

pytestmark = pytest.mark.usefixtures("numpy_analysis")


@pytest.mark.parametrize("shared", [True, False])
def test_close_ups_are_a_grid_on_symmetric_colors(layer, shared):
    figure = plot_filter_gnomonic(layer, shared_scale=shared, center=100)
    panels = figure.axes[:6]
    assert len(figure.axes) == (7 if shared else 6)
    kernels = layer.localized(100)
    for index, axes in enumerate(panels):
        channel, f = divmod(index, 3)
        image = axes.images[0]
        low, high = image.get_clim()
        assert low == -high
        peak = np.abs(kernels if shared else kernels[:, channel, f]).max()
        assert high == pytest.approx(peak)
        array = image.get_array()
        center = array[array.shape[0] // 2, array.shape[1] // 2]
        assert center == pytest.approx(kernels[100, channel, f])
        assert image.norm(0.0) == pytest.approx(0.5)  # zero is the middle of the color map
        assert axes.xaxis_inverted()
    assert [axes.get_title() for axes in panels[:3]] == ["Filter 0", "Filter 1", "Filter 2"]
    assert panels[3].get_ylabel() == "Channel 1\nNorth (deg)"
    assert [axes.get_xlabel() for axes in panels[3:]] == ["East (deg)"] * 3
    if shared:
        ticks = figure.axes[6].get_yticks()
        assert list(ticks) == sorted(ticks)
        assert max(ticks) <= peak
        assert figure.axes[6].get_ylabel() == "Filter value"
    else:
        assert panels[0].texts[0].get_text() == f"±{np.abs(kernels[:, 0, 0]).max():.2g}"


def test_depth_of_color_follows_gamma(layer):
    peak = np.abs(layer.localized(100)).max()
    square_root = plot_filter_gnomonic(layer, center=100).axes[0].images[0].norm
    linear = plot_filter_gnomonic(layer, center=100, gamma=1.0).axes[0].images[0].norm
    assert square_root(0.25 * peak) == pytest.approx(0.75)
    assert square_root(-0.25 * peak) == pytest.approx(0.25)
    assert linear(0.25 * peak) == pytest.approx(0.625)


def test_close_ups_are_blank_outside_of_the_footprint(partial):
    figure = plot_filter_gnomonic(partial, width_degrees=120)
    array = figure.axes[0].images[0].get_array()
    assert array.mask[0, 0]
    assert not array.mask[array.shape[0] // 2, array.shape[1] // 2]


@pytest.mark.parametrize("gamma", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("peak", [1.0, 1.49, 1.8, 0.0187, 99.0, 5e-7])
def test_ticks_are_round_and_apart(peak, gamma):
    ticks = np.array(round_ticks(peak, gamma))
    assert len(ticks) == 7
    np.testing.assert_allclose(ticks, -ticks[::-1])
    assert ticks[-1] <= peak * (1 + 1e-9)
    colors = np.sign(ticks) * (np.abs(ticks) / peak) ** gamma
    assert np.diff(colors).min() > 0.1  # of a half of the bar
    digits = ticks[4:] / 10 ** np.floor(np.log10(ticks[4:]) + 1e-9)
    np.testing.assert_allclose(2 * digits, np.round(2 * digits), atol=1e-9)
