"""Pictures of the sphere: projections by WCSLIB, and what an image shows at a place."""

import numpy as np
from astropy.wcs import WCS

SCALE = np.degrees(np.sqrt(2))


def projector(kind, longitude=0.0, latitude=0.0):
    """Projection by wcslib, which is independent of our implementation."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{kind}", f"DEC--{kind}"]
    wcs.wcs.crval = [longitude, latitude]
    wcs.wcs.crpix = [0, 0]
    wcs.wcs.cdelt = [1, 1]
    return wcs


def random_directions(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-0.999, 0.999, n)))


def image_of(figure, axes=0):
    return figure.axes[axes].images[0]


def pixel_at(image, x, y):
    """Value of the image array at data coordinates, as matplotlib lays it out."""
    array = image.get_array()
    left, right, bottom, top = image.get_extent()
    rows, columns = array.shape
    column = int((x - left) / (right - left) * columns)
    row = int((y - bottom) / (top - bottom) * rows)
    return array[row, column]
