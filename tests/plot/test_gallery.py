import numpy as np
import pytest

from deepsphere.plot import plot_sampling_gallery
from deepsphere.plot.gallery import smooth_field
from deepsphere.plot.projection import unit_vectors
from deepsphere.sampling import CubedSphere, Healpix, Icosahedral, RandomUniform, extend_region


def images(row):
    """Return what was drawn on a row's globes, without the gray below."""
    return [axes.get_images()[-1].get_array() for axes in row]


def test_a_row_for_each_sampling_with_its_values():
    samplings = [Healpix(2), CubedSphere(2), RandomUniform(40)]
    figure = plot_sampling_gallery(samplings)
    rows = np.reshape(figure.axes[:12], (3, 4))
    assert [axes.get_title() for axes in rows[0]][1:] == [
        "areas / mean",
        "a smooth map",
        "pooled by area",
    ]
    for row, sampling in zip(rows, samplings, strict=True):
        assert row[0].texts[0].get_text().startswith(f"{type(sampling).__name__}\n")
        values = smooth_field(sampling.points)
        areas, shown, pooled = images(row[1:])
        assert set(shown.compressed()) <= set(values)  # cells have the values of points
        # Half the cells are seen, and nothing next to the globe: pi / 4 of the square.
        assert len(set(shown.compressed())) >= len(sampling) // 2
        assert shown.count() / shown.size == pytest.approx(np.pi / 4, abs=0.01)
        assert len(set(pooled.compressed())) < len(set(shown.compressed()))
        relative = np.log2(sampling.areas / sampling.areas.mean())
        assert np.abs(areas.compressed()).max() <= np.abs(relative).max()


def test_points_and_edges_behind_the_globe_are_not_drawn():
    figure = plot_sampling_gallery([Healpix(4)], 8, view=(10, 80))
    lines, dots = figure.axes[0].collections
    assert len(dots.get_offsets()) == (Healpix(4).points @ unit_vectors(10, 80) > 0).sum()
    ends = np.concatenate(lines.get_segments())
    assert np.linalg.norm(ends, axis=1).max() < 1


SPHERE = Icosahedral(3)
NORTH = SPHERE.subset(extend_region(SPHERE, SPHERE.points[:, 2] > 0.7))


@pytest.mark.parametrize("region", [Healpix(4, range(64)), NORTH], ids=["healpix", "subset"])
def test_what_was_left_out_is_gray(region):
    figure = plot_sampling_gallery({"a part": region})
    assert figure.axes[0].texts[0].get_text() == f"a part\n{len(region)} points"
    shown = images(figure.axes[1:3])
    assert 0.05 < shown[0].count() / shown[0].size < 0.6  # all would be pi / 4
    assert len(figure.axes[1].get_images()) == 2


def test_equal_classes_are_numbered():
    figure = plot_sampling_gallery([Healpix(2), Healpix(4)])
    assert [figure.axes[i].texts[0].get_text()[:9] for i in (0, 4)] == ["Healpix 1", "Healpix 2"]


def test_errors():
    with pytest.raises(ValueError, match="samplings must contain at least one sampling, got none"):
        plot_sampling_gallery([])
