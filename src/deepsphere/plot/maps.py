"""Plots of maps on any sampling: the whole sphere, several maps, and close-ups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from deepsphere._checks import check_count
from deepsphere.plot.image_lookup import check_values
from deepsphere.plot.projection import check_projection
from deepsphere.plot.sphere_images import (
    add_colorbar,
    center_of,
    color_limits,
    draw_gnomonic,
    draw_graticule,
    draw_sphere,
    gnomonic_values,
)
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
    """Plot a map of the whole sphere.

    Parameters
    ----------
    values : array_like, shape (n,) or (n, 1)
        One value per point of `sampling`, in its order (NEST for HEALPix maps). NaN, infinite,
        masked values and HEALPix's -1.6375e30 are missing.
    sampling : Sampling
        Sampling of the values. Each image pixel shows the HEALPix pixel that contains it, or the
        nearest point of another sampling. Missing values are light gray.
    projection : {"mollweide", "equirectangular"}, default "mollweide"
        Map projection. Mollweide preserves areas.
    title : str, optional
        Title above the map. Default: none.
    unit : str, optional
        Label of the color bar, such as the quantity and its unit. Default: none.
    cmap : str, default "viridis"
        Name of a Matplotlib color map. ``"RdBu_r"`` suits signed quantities.
    limits : (float, float), optional
        Values at the ends of the color scale. Default: the smallest and largest value.
    center_longitude : float, default 0
        Longitude of the center, in degrees.
    astronomical : bool, default True
        Whether longitude increases to the left, as on the sky seen from inside the sphere.
        Otherwise it increases to the right, as on maps of the Earth.
    graticule : bool, default True
        Whether to draw parallels every 30 and meridians every 60 degrees, with labels.

    Returns
    -------
    matplotlib.figure.Figure
        A figure as wide as a journal page (178 mm).

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError
        If `values` are complex or not numbers.
    ValueError
        If `values` does not have shape (n,) or (n, 1), all values are missing, `projection` is
        unknown, or `limits` are not finite and increasing.

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
    """Plot several maps with a common color scale.

    Parameters
    ----------
    values : sequence of array_like, each of shape (n,) or (n, 1)
        The maps, at least one.
    sampling : Sampling
        Sampling of all maps.
    titles : sequence of str, optional
        One title per map. Default: none.
    projection, unit, cmap, center_longitude, astronomical
        As in `plot_map`.
    title : str, optional
        Title of the figure. Default: none.
    columns : int, optional
        Number of maps per row. Default: 1 for one map, 2 for up to four, else 3.
    limits : (float, float), optional
        Values at the ends of the common color scale. Default: the smallest and largest value of
        all maps.
    graticule : bool, default True
        Whether to draw parallels and meridians, without labels for lack of space.

    Returns
    -------
    matplotlib.figure.Figure
        A figure as wide as a journal page (178 mm).

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError
        If a map is complex or not numbers, or `columns` is not an integer.
    ValueError
        If `values` is empty, `titles` and `values` differ in length, `columns` is less than 1, or
        as in `plot_map`.
    """
    check_projection(projection)
    arrays = [check_values(one, sampling) for one in values]
    if not arrays:
        raise ValueError("values must contain at least one map, got none")
    if titles is not None and len(titles) != len(arrays):
        raise ValueError(
            f"there must be as many titles as maps: got {len(titles)} for {len(arrays)}"
        )
    if columns is None:
        columns = min(len(arrays), 2 if len(arrays) < 5 else 3)
    columns = check_count(columns, "columns")
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
    """Plot a close-up, the gnomonic projection of the sphere onto a tangent plane.

    Parameters
    ----------
    values, sampling, title, unit, cmap
        As in `plot_map`.
    center : int or (float, float)
        Point of tangency: the position of a vertex in ``sampling.points``, or longitude and
        latitude in degrees.
    width_degrees : float, default 10
        Angle across the image, above 0 and at most 150, since the projection diverges at 180.
    limits : (float, float), optional
        Values at the ends of the color scale. Default: the smallest and largest value in view.
    astronomical : bool, default True
        Whether east is to the left, as on the sky.

    Returns
    -------
    matplotlib.figure.Figure
        A figure as wide as a journal column (86 mm). The axes are labeled with angles from the
        center, exact along the two lines through it.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.
    TypeError
        If `values` are complex or not numbers.
    ValueError
        If `values` does not have shape (n,) or (n, 1), `center` or `width_degrees` is out of
        range, `limits` are not finite and increasing, or no value is in view.
    """
    array = check_values(values, sampling)
    longitude, latitude = center_of(sampling, center)
    seen = gnomonic_values(array, sampling, longitude, latitude, width_degrees, 700)
    if seen.mask.all():
        raise ValueError(
            f"no value lies within the {width_degrees} degrees around longitude {longitude:.4g}, "
            f"latitude {latitude:.4g}; choose a center inside the footprint"
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
