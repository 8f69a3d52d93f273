import numpy as np
import pytest

from deepsphere.plot import plot_hierarchy
from deepsphere.plot.globe import VIEW, viewing_frame
from deepsphere.sampling import Healpix, Icosahedral, RandomUniform, hierarchy_quality

SAMPLINGS = {"random": RandomUniform(300), "HEALPix": Healpix(4), "icosahedral": Icosahedral(2)}


@pytest.fixture(scope="module")
def figure():
    return plot_hierarchy(SAMPLINGS, 2)


def panel(figure, title):
    return next(axes for axes in figure.axes if axes.get_title() == title)


def test_a_globe_for_each_level(figure):
    titles = [axes.get_title() for axes in figure.axes[:2]]
    assert titles == ["random, level 1: 75 of 300", "level 2: 19 of 75"]
    sampling = SAMPLINGS["random"]
    for axes in figure.axes[:2]:
        coarse = sampling.coarsen()
        for dots, shown in zip(axes.collections, (sampling, coarse), strict=True):
            depth = shown.points @ viewing_frame(*VIEW)[2]
            assert len(dots.get_offsets()) == np.count_nonzero(depth > 0)
        assert len(axes.get_images()) == 2
        sampling = coarse


def test_panels_show_what_is_measured(figure):
    measured = {name: hierarchy_quality(one, 2) for name, one in SAMPLINGS.items()}
    for title, expected in (
        ("Mesh ratio", lambda q: [one.mesh_ratio for one in q]),
        ("Mesh ratio among the points", lambda q: [one.child_ratio for one in q[1:]]),
        ("Farthest child / spacing", lambda q: [one.reach for one in q[1:]]),
        (
            "Variation of areas",
            lambda q: [q[0].area_variation, *(one.part_variation for one in q[1:])],
        ),
        ("Children", lambda q: [one.children[1] for one in q[1:]]),
    ):
        lines = panel(figure, title).get_lines()
        assert [line.get_label() for line in lines] == list(SAMPLINGS)
        for line, qualities in zip(lines, measured.values(), strict=True):
            heights = expected(qualities)
            np.testing.assert_allclose(line.get_ydata(), heights)
            levels = np.arange(3 - len(heights), 3)
            np.testing.assert_allclose(line.get_xdata(), levels, atol=0.2)
    bars = panel(figure, "Children").collections[0].get_segments()
    least, _, most = measured["random"][1].children
    np.testing.assert_allclose(bars[0][:, 1], (least, most))
    names = [text.get_text() for axes in figure.axes if axes.get_legend() for text in
             axes.get_legend().get_texts()]  # fmt: skip
    assert names == ["random, 300 points", "HEALPix, 192 points", "icosahedral, 162 points"]


def test_it_can_be_drawn(figure, tmp_path):
    figure.savefig(tmp_path / "hierarchy.png", dpi=60)


def test_errors():
    with pytest.raises(ValueError, match="must contain 1 to 8 samplings, got 0"):
        plot_hierarchy({})
    with pytest.raises(ValueError, match=r"levels must be from 1 to 4 .*, got 5"):
        plot_hierarchy(SAMPLINGS, 5)
    with pytest.raises(ValueError, match="nside 4 has 2 coarser levels, got levels=3"):
        plot_hierarchy(SAMPLINGS)
