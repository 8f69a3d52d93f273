"""Maps on any sampling of the sphere: the whole sphere, several side by side, and a close-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from deepsphere.plot.drawing import (
    add_colorbar,
    center_of,
    color_limits,
    draw_gnomonic,
    draw_graticule,
    draw_sphere,
    gnomonic_values,
)
from deepsphere.plot.lookup import check_values
from deepsphere.plot.projection import check_projection
from deepsphere.plot.style import COLUMN_WIDTH, PAGE_WIDTH, SEQUENTIAL, house_style, new_figure
from deepsphere.sampling import Sampling

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_map(
    values: ArrayLike,
    sampling: Sampling,
    projection: str = "mollweide",
    *,
    title: str | None = None,
    unit: str | None = None,
    cmap: str = SEQUENTIAL,
    limits: tuple[float, float] | None = None,
    center_longitude: float = 0.0,
    astronomical: bool = True,
    graticule: bool = True,
) -> Figure:
    """Draw a map of the whole sphere.

    Parameters
    ----------
    values : array_like, shape (n,) or (n, 1)
        One value per point of `sampling`, in its order: HEALPix maps in NEST. NaN, infinite,
        masked, and HEALPix's -1.6375e30 are missing.
    sampling : Sampling
        Where the values lie. Each place of the picture shows the HEALPix pixel that holds it, or
        the nearest point of another sampling. Places without value are light gray.
    projection : {"mollweide", "equirectangular"}, default "mollweide"
        Mollweide keeps areas.
    title : str, optional
        Title above the map.
    unit : str, optional
        Label of the color bar: the quantity and its unit.
    cmap : str, default "viridis"
        Matplotlib's name of the color map; for signed quantities take ``"RdBu_r"``.
    limits : (float, float), optional
        Values at the two ends of the color scale. Default: smallest and largest value.
    center_longitude : float, default 0
        Longitude in the middle, in degrees.
    astronomical : bool, default True
        Whether longitude grows to the left, as when looking at the sky from inside the sphere.
        False: to the right, as on maps of the Earth.
    graticule : bool, default True
        Whether to draw parallels every 30 and meridians every 60 degrees, with their labels.

    Returns
    -------
    matplotlib.figure.Figure
        As wide as a journal page (178 mm).

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If an argument does not fit.

    Examples
    --------
    >>> from deepsphere.sampling import Healpix
    >>> sphere = Healpix(16)
    >>> figure = plot_map(sphere.points[:, 2], sphere, unit="z")  # doctest: +SKIP
    >>> figure.savefig("map.png")  # doctest: +SKIP
    """
    check_projection(projection)
    array = check_values(values, sampling)
    limits = color_limits([array], limits)
    with house_style():
        figure = new_figure(PAGE_WIDTH, 0.585 * PAGE_WIDTH)
        axes = figure.add_subplot()
        image = draw_sphere(
            axes, array, sampling, projection, cmap, limits, center_longitude, astronomical
        )
        if graticule:
            draw_graticule(axes, projection, center_longitude, astronomical, labels=True)
        if title:
            axes.set_title(title)
        add_colorbar(figure, image, [axes], [array], unit, shrink=0.5)
    return figure


def plot_maps(
    values: Sequence[ArrayLike],
    sampling: Sampling,
    titles: Sequence[str] | None = None,
    projection: str = "mollweide",
    *,
    title: str | None = None,
    columns: int | None = None,
    unit: str | None = None,
    cmap: str = SEQUENTIAL,
    limits: tuple[float, float] | None = None,
    center_longitude: float = 0.0,
    astronomical: bool = True,
    graticule: bool = True,
) -> Figure:
    """Draw several maps on one color scale with one color bar.

    Parameters
    ----------
    values : sequence of array_like, each of shape (n,) or (n, 1)
        The maps.
    sampling : Sampling
        Where the values of all maps lie.
    titles : sequence of str, optional
        One title per map.
    projection, unit, cmap, center_longitude, astronomical
        As for `plot_map`.
    title : str, optional
        Title of the whole figure.
    columns : int, optional
        Maps in a row. Default: 2, or 3 from five maps on; one map stands alone.
    limits : (float, float), optional
        Ends of the common color scale. Default: smallest and largest value of all maps.
    graticule : bool, default True
        Whether to draw parallels and meridians (without labels: there is no room for them).

    Returns
    -------
    matplotlib.figure.Figure
        As wide as a journal page (178 mm).

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is no map, or an argument does not fit.
    """
    check_projection(projection)
    arrays = [check_values(one, sampling) for one in values]
    if not arrays:
        raise ValueError("values must hold at least one map, got none")
    if titles is not None and len(titles) != len(arrays):
        raise ValueError(f"titles must be as many as maps: got {len(titles)} for {len(arrays)}")
    columns = min(len(arrays), 2 if len(arrays) < 5 else 3) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns must be 1 or more, got {columns}")
    limits = color_limits(arrays, limits)
    rows = -(-len(arrays) // columns)
    with house_style():
        width = PAGE_WIDTH / columns
        height = rows * (width / 2 + (0.3 if titles else 0.1)) + 0.5 + (0.2 if title else 0.0)
        figure = new_figure(PAGE_WIDTH, height)
        figure.set_layout_engine("compressed", h_pad=0.07)  # keeps titles off the map above
        panels = [figure.add_subplot(rows, columns, i + 1) for i in range(len(arrays))]
        for i, (axes, array) in enumerate(zip(panels, arrays, strict=True)):
            image = draw_sphere(
                axes, array, sampling, projection, cmap, limits, center_longitude, astronomical
            )
            if graticule:
                draw_graticule(axes, projection, center_longitude, astronomical, labels=False)
            if titles is not None:
                axes.set_title(titles[i])
        if title:
            figure.suptitle(title)
        add_colorbar(figure, image, panels, arrays, unit, shrink=0.5)
    return figure


def plot_gnomonic(
    values: ArrayLike,
    sampling: Sampling,
    center: int | tuple[float, float],
    width_degrees: float = 10.0,
    *,
    title: str | None = None,
    unit: str | None = None,
    cmap: str = SEQUENTIAL,
    limits: tuple[float, float] | None = None,
    astronomical: bool = True,
) -> Figure:
    """Draw a close-up: the sphere projected from its center onto a tangent plane.

    Parameters
    ----------
    values, sampling, title, unit, cmap
        As for `plot_map`.
    center : int or (float, float)
        Where the plane touches: the position of a vertex in ``sampling.points``, or longitude
        and latitude in degrees.
    width_degrees : float, default 10
        Angle across the picture; above 0 and at most 150, as the projection stretches without
        bound towards 180.
    limits : (float, float), optional
        Ends of the color scale. Default: smallest and largest value in view.
    astronomical : bool, default True
        Whether east is to the left, as on the sky.

    Returns
    -------
    matplotlib.figure.Figure
        As wide as a journal column (86 mm). The axes are labeled with angles from the center,
        exact along the two lines through it.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If an argument does not fit, or nothing is in view.
    """
    array = check_values(values, sampling)
    longitude, latitude = center_of(sampling, center)
    seen = gnomonic_values(array, sampling, longitude, latitude, width_degrees, 700)
    if seen.mask.all():
        raise ValueError(
            f"no value lies within the {width_degrees} degrees around longitude {longitude:.4g}, "
            f"latitude {latitude:.4g}; take a center inside the footprint"
        )
    limits = color_limits([seen.compressed()], limits)
    with house_style():
        figure = new_figure(COLUMN_WIDTH, COLUMN_WIDTH * 1.2)
        axes = figure.add_subplot()
        image = draw_gnomonic(axes, seen, width_degrees, cmap, limits, astronomical)
        axes.set_xlabel("Offset to the east (deg)")
        axes.set_ylabel("Offset to the north (deg)")
        place = f"longitude {longitude:.2f}°, latitude {latitude:.2f}°"
        axes.set_title(place if title is None else f"{title}\n{place}")
        add_colorbar(figure, image, [axes], [seen.compressed()], unit)
    return figure
