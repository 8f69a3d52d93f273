"""Globes: orthographic images of the sphere with cells in the colors of their points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deepsphere._extras import require
from deepsphere.plot.projection import unit_vectors
from deepsphere.plot.style import BLANK
from deepsphere.sampling import Sampling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VIEW = (25.0, 40.0)
"""Default longitude and latitude of the center, which shows both the pole and the equator."""

EXTENT = (-1, 1, -1, 1)
"""Extent of the image of a globe, whose radius is 1."""


def viewing_frame(longitude: float, latitude: float) -> NDArray[np.float64]:
    """Return the unit vectors to the right, up, and towards the viewer, as rows.

    Parameters
    ----------
    longitude, latitude : float
        Center of the view, in degrees.

    Returns
    -------
    ndarray of float64, shape (3, 3)
        Matrix that maps unit vectors to image coordinates and depths, positive on the visible
        side.
    """
    towards = unit_vectors(longitude, latitude)
    right = unit_vectors(longitude + 90, 0)
    return np.stack([right, np.cross(towards, right), towards])


def globe_pixels(frame: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the point of the sphere at each pixel of an image.

    Parameters
    ----------
    frame : ndarray of float64, shape (3, 3)
        From `viewing_frame`.
    size : int
        Number of pixels across.

    Returns
    -------
    ndarray of float64, shape (size, size, 3)
        Unit vectors; NaN outside the globe. Row 0 is at the bottom.
    """
    steps = np.linspace(-1, 1, size)
    x, y = np.meshgrid(steps, steps)
    with np.errstate(invalid="ignore"):
        z = np.sqrt(1 - x**2 - y**2)
    return np.stack([x, y, z], axis=-1) @ frame


def cell_picture(
    sampling: Sampling, values: NDArray[np.float64], pixels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return an image with the value of the nearest point at each pixel.

    Parameters
    ----------
    sampling : Sampling
        Sampling of the values.
    values : ndarray of float64, shape (len(sampling),)
        One value per point.
    pixels : ndarray of float64, shape (size, size, 3)
        From `globe_pixels`.

    Returns
    -------
    ndarray of float64, shape (size, size)
        The image; NaN outside the globe and outside the part of a partial sampling.
    """
    whole, indices = sampling.whole, sampling.indices
    padded = np.full(len(whole), np.nan)
    padded[indices] = values
    picture = np.full(pixels.shape[:2], np.nan)
    on = ~np.isnan(pixels[..., 2])
    picture[on] = padded[cKDTree(whole.points).query(pixels[on])[1]]
    return picture


def new_globe(axes: Axes, background: NDArray[np.float64] | None = None) -> None:
    """Prepare axes for a globe, with its outline.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Empty axes.
    background : ndarray of float64, shape (size, size, 3), optional
        From `globe_pixels`, to make the globe gray where nothing is drawn. Default: white.
    """
    axes.set(xlim=(-1.03, 1.03), ylim=(-1.03, 1.03), aspect="equal")
    axes.set_axis_off()
    axes.add_patch(
        require("matplotlib.patches", "plot").Circle(
            (0, 0), 1, facecolor="none", edgecolor="0.6", linewidth=0.6
        )
    )
    if background is not None:
        gray = require("matplotlib.colors", "plot").ListedColormap([BLANK])
        globe = np.where(np.isnan(background[..., 2]), np.nan, 0.0)
        axes.imshow(globe, cmap=gray, extent=EXTENT, origin="lower")


def draw_picture(
    axes: Axes, picture: NDArray[np.float64], cmap: Any, limits: tuple[float, float]
) -> Any:
    """Draw an image from `cell_picture` on a globe, and return it for a color bar."""
    return axes.imshow(
        picture, cmap=cmap, vmin=limits[0], vmax=limits[1], extent=EXTENT, origin="lower",
        interpolation="nearest",
    )  # fmt: skip
