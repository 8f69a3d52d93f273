"""Globes."""

import numpy as np

from deepsphere.plot.globe import VIEW, cell_picture, globe_pixels, viewing_frame
from deepsphere.plot.hierarchy import TINTS, _color
from deepsphere.sampling import Healpix, Icosahedral, RandomUniform

SAMPLINGS = {"random": RandomUniform(300), "HEALPix": Healpix(4), "icosahedral": Icosahedral(2)}


def test_cells_have_the_color_of_their_parent():
    sampling = SAMPLINGS["random"]
    pixels = globe_pixels(viewing_frame(*VIEW), 200)
    parents = sampling.membership().argmax(axis=0).ravel()
    picture = cell_picture(sampling, parents.astype(float), pixels)
    colored = _color(picture, 75)
    np.testing.assert_array_equal(np.isnan(colored), np.isnan(picture))
    assert set(np.unique(colored[~np.isnan(colored)])) == set(range(TINTS))
    for part in range(75):
        assert len(np.unique(colored[picture == part])) <= 1
    # Parts that touch differ, and so edges are seen.
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        touching = (picture[a] != picture[b]) & ~np.isnan(picture[a]) & ~np.isnan(picture[b])
        assert np.all(colored[a][touching] != colored[b][touching])
