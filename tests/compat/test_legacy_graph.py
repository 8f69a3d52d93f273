"""The graph of deepsphere-cosmo-tf2, compared with numbers computed by it."""

from pathlib import Path

import healpy
import numpy as np
import pytest

from deepsphere.compat.legacy_graph import _healpy_points, first_neighbors_weights
from deepsphere.graph import Graph, laplacian
from deepsphere.sampling import Healpix, Sampling

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "layers.npz")


@pytest.mark.parametrize("nside", [1, 2, 16, 64])
def test_points_are_healpys_to_the_last_bit(nside):
    pixels = np.arange(12 * nside**2)
    expected = np.column_stack(healpy.pix2vec(nside, pixels, nest=True))
    np.testing.assert_array_equal(_healpy_points(Healpix(nside)), expected)
    np.testing.assert_array_equal(_healpy_points(Healpix(nside, pixels[3::2])), expected[3::2])


@pytest.mark.parametrize("tag", ["k8_full", "k8_part", "k20_full", "k20_part"])
def test_laplacian_is_the_old_one(tag):
    pixels = GOLDEN[f"{tag}_idx"] if tag.endswith("part") else None
    neighbors = int(tag[1:].split("_")[0])
    L = laplacian(Healpix(8, pixels), Graph(neighbors, laplacian="normalized_tf2"))
    total, absolute, count = GOLDEN[f"{tag}_Ldiag_sum"]
    assert L.nnz == count
    # Rounding of a sum is in proportion to the absolute values: the sum itself nearly cancels.
    rounding = 1e-14 * absolute
    np.testing.assert_allclose([L.sum(), abs(L).sum()], [total, absolute], rtol=0, atol=rounding)


def test_every_pixel_has_its_neighbors_and_no_ties():
    weights = first_neighbors_weights(Healpix(16), 20)
    assert (np.diff(weights.indptr) >= 20).all()
    ties_kept = laplacian(Healpix(16), 20)
    assert weights.nnz + 12 * 16**2 < ties_kept.nnz


def test_few_pixels():
    assert first_neighbors_weights(Healpix(1), 20).nnz == 12 * 11
    assert first_neighbors_weights(Healpix(8, [3]), 20).nnz == 0


class Elsewhere(Sampling):
    """A sampling that the old code did not support."""

    kind = "elsewhere"
    points = areas = np.zeros(3)

    def __len__(self):
        return 3

    def coarsen(self, levels=1):
        return self

    refine = coarsen

    def get_config(self):
        return {}

    def _identity(self):
        return ()


def test_other_samplings():
    with pytest.raises(TypeError, match="requires a Healpix sampling"):
        laplacian(Elsewhere(), Graph(8, laplacian="normalized_tf2"))
