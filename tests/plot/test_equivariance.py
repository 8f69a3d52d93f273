import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from deepsphere.analysis import EquivarianceResult, LayerEquivariance
from deepsphere.analysis.equivariance_table import LaplacianResult
from deepsphere.graph import Graph
from deepsphere.plot import (
    plot_equivariance,
    plot_laplacian_errors,
    plot_layerwise_equivariance,
)
from deepsphere.sampling import Healpix

DEGREES = np.array([1, 2, 4])


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def row(kind, k, nside=8, factor=1.0):
    errors = factor * np.array([1e-1, 1e-2, 1e-3])
    return LaplacianResult(Graph(k, laplacian=kind), Healpix(nside), 9.0, DEGREES, errors)


def test_lines_and_bands_are_drawn():
    measured = EquivarianceResult(np.array([0.1, 0.01]), np.array([0.2, 0.005]))
    exact = EquivarianceResult(np.array([0.2, 0.02]), np.full(2, np.nan))
    figure = plot_equivariance({"measured": ([2, 8], measured), "exact": ([2, 8], exact)})
    axes = figure.axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[2, 0.1], [8, 0.01]])
    assert len(axes.collections) == 1  # an exact expectation has no band
    band = axes.collections[0].get_paths()[0].vertices
    # 0.1 - 0.2 has no place on the axis: a tenth of the mean instead.
    np.testing.assert_allclose([band.min(axis=0)[1], band.max(axis=0)[1]], [0.005, 0.3])
    assert legend(figure) == ["measured", "exact"]
    FigureCanvasAgg(figure).draw()


def test_laplacians_share_colors_and_neighbors_share_dashes():
    figure = plot_laplacian_errors(
        [row(kind, k) for k in (8, 20) for kind in ("combinatorial", "random_walk")], title="T"
    )
    lines = figure.axes[0].lines
    assert [line.get_color() for line in lines[:2]] == [line.get_color() for line in lines[2:]]
    assert lines[0].get_color() != lines[1].get_color()
    assert [line.get_linestyle() for line in lines] == ["-", "-", "--", "--"]
    assert legend(figure)[1] == "random walk, k = 8"
    assert figure.axes[0].get_title() == "T"


@pytest.mark.parametrize(
    ("against", "abscissae", "names"),
    [
        ("degree", [[1, 2, 4]] * 4, "combinatorial, k = 8, nside 4"),
        (
            "degree / nside",
            [[0.25, 0.5, 1], [0.125, 0.25, 0.5]] * 2,
            "combinatorial, k = 8, nside 4",
        ),
        ("nside", [[4, 8]] * 2, "combinatorial, k = 8"),
        ("neighbors", [[8, 20]] * 2, "combinatorial, nside 4"),
    ],
)
def test_abscissae(against, abscissae, names):
    rows = [row("combinatorial", k, nside) for k in (8, 20) for nside in (4, 8)]
    figure = plot_laplacian_errors(rows, against)
    lines = figure.axes[0].lines
    assert [line.get_xdata().tolist() for line in lines] == abscissae
    assert legend(figure)[0] == names
    if not against.startswith("degree"):
        np.testing.assert_allclose(lines[0].get_ydata(), 1e-2)  # the geometric mean
        assert list(figure.axes[0].get_xticks()) == abscissae[0]
    FigureCanvasAgg(figure).draw()


def test_wrong_lines_are_refused():
    with pytest.raises(ValueError, match=r"against must be one of 'degree'.* got 'ell'"):
        plot_equivariance({"a": ([1], [1])}, "ell")
    with pytest.raises(ValueError, match="lines must not be empty"):
        plot_equivariance({})
    with pytest.raises(ValueError, match=r"got shapes \(1,\) and \(2,\) for 'a'"):
        plot_equivariance({"a": ([1, 2], [1])})
    with pytest.raises(ValueError, match="can be distinguished; got 9 and 1"):
        plot_equivariance({str(i): ([1], [1]) for i in range(9)})


LAYERS = [
    LayerEquivariance("conv", "ChebyshevConv", Healpix(8), 1e-4, 1e-5),
    LayerEquivariance("pool", "Pool", Healpix(4), 1e-2, 2e-2),
    LayerEquivariance("dense", "Dense", None, 1e-3, 1e-4),
]


def test_layers_stand_from_top_to_bottom():
    figure = plot_layerwise_equivariance(LAYERS, title="Network")
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["ChebyshevConv (nside 8)", "Pool (nside 4)", "Dense"]
    assert axes.yaxis_inverted()
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[1e-4, 0], [1e-2, 1], [1e-3, 2]])
    bars = [path.vertices[:, 0] for path in axes.collections[0].get_paths()]
    np.testing.assert_allclose(bars, [[9e-5, 1.1e-4], [1e-3, 3e-2], [9e-4, 1.1e-3]])
    assert not figure.legends
    FigureCanvasAgg(figure).draw()


def test_networks_are_compared():
    figure = plot_layerwise_equivariance({"one": LAYERS, "other": LAYERS})
    assert legend(figure) == ["one", "other"]
    first, second = (line.get_ydata() for line in figure.axes[0].lines[::2])
    assert (first < second).all()
    with pytest.raises(
        ValueError, match="must have the same types of layers, but 'other' has others"
    ):
        plot_layerwise_equivariance({"one": LAYERS, "other": LAYERS[:2]})
    with pytest.raises(ValueError, match="at least one layer"):
        plot_layerwise_equivariance([])
