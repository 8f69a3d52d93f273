"""Filters of graph convolutions as objects, in place of PyGSP filters in deepsphere-cosmo-tf2."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.analysis.filters import filter_coefficients, localize, response_of
from deepsphere.layers import GraphConv
from deepsphere.plot.style import COLORS, COLUMN_WIDTH, house_style, new_figure
from deepsphere.sampling import Sampling

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Index: TypeAlias = int | ArrayLike | None
"""One channel, several (list, array, slice), or None for all."""


class Filters:
    """A copy of the current filters of a graph convolution, unaffected by later training.

    Filters are ordered by input channel: filter ``i * n_features_out + o`` maps the i-th selected
    input channel to the o-th selected output channel.

    Parameters
    ----------
    layer : GraphConv
        A built graph convolution.
    ind_in, ind_out : int, array_like or None, default None
        Input and output channels, from 0. None: all.
    name : str, optional
        Name of the layer in titles. Default: its own name.

    Attributes
    ----------
    coefficients : ndarray, shape (K, n_features_in, n_features_out)
        Coefficients in the basis of the layer.
    ind_in, ind_out : ndarray of int
        The selected channels.
    n_features_in, n_features_out, n_filters : int
        Numbers of selected channels and of filters.
    sampling : Sampling or None
        Sampling of the layer; None if the layer was given a Laplacian.
    spectral_bound : float
        Largest eigenvalue of the Laplacian.

    Raises
    ------
    TypeError
        If `layer` is not a graph convolution.
    ValueError
        If `layer` is not built, or a channel does not exist.

    Notes
    -----
    PyGSP's filters stretched the polynomials over the whole spectrum and supported only the full
    sphere. These filters are what the layer computes, on its own pixels.

    Examples
    --------
    >>> from deepsphere.layers import ChebyshevConv
    >>> from deepsphere.sampling import Healpix
    >>> layer = ChebyshevConv(3, order=4, sampling=Healpix(4))
    >>> layer.build((None, 192, 2))
    >>> filters = Filters(layer, ind_in=0)
    >>> filters.evaluate([0.0, 0.5, 1.0]).shape
    (3, 3)
    >>> filters.localize(7).shape
    (192, 3)
    """

    def __init__(
        self, layer: GraphConv, ind_in: Index = None, ind_out: Index = None, name: str | None = None
    ) -> None:
        coefficients = filter_coefficients(layer)
        self.ind_in = _choose("ind_in", ind_in, coefficients.shape[1])
        self.ind_out = _choose("ind_out", ind_out, coefficients.shape[2])
        self.coefficients = coefficients[:, self.ind_in][:, :, self.ind_out]
        self.name = name or str(layer.name)
        self._layer = layer

    @property
    def n_features_in(self) -> int:
        """Number of input channels."""
        return len(self.ind_in)

    @property
    def n_features_out(self) -> int:
        """Number of output channels."""
        return len(self.ind_out)

    @property
    def n_filters(self) -> int:
        """Number of filters."""
        return self.n_features_in * self.n_features_out

    @property
    def sampling(self) -> Sampling | None:
        """Sampling of the layer, or None."""
        return self._layer.sampling

    @property
    def spectral_bound(self) -> float:
        """Largest eigenvalue of the Laplacian."""
        return self._layer.spectral_bound

    @property
    def weights(self) -> NDArray[np.float64]:
        """Coefficients in the old order of axes, (K, n_features_out, n_features_in)."""
        return self.coefficients.transpose(0, 2, 1)

    def evaluate(self, eigenvalues: ArrayLike) -> NDArray[np.float64]:
        """Return the factor by which the filters multiply each graph frequency.

        Parameters
        ----------
        eigenvalues : array_like, shape (n,)
            Eigenvalues of the Laplacian, not rescaled, from 0 to `spectral_bound`.

        Returns
        -------
        ndarray of float64, shape (n_filters, n)
            Responses, see `deepsphere.analysis.filter_response`.
        """
        response = response_of(self.coefficients, self._layer, eigenvalues)
        return response.reshape(len(response), self.n_filters).T

    def localize(self, i: int, order: int | None = None) -> NDArray[np.float64]:  # noqa: ARG002
        """Return the shape of the filters around a pixel.

        Parameters
        ----------
        i : int
            Position of the pixel in the sampling.
        order : int, optional
            Ignored: the result is exact.

        Returns
        -------
        ndarray of float64, shape (pixels, n_filters)
            Response to an impulse of height ``sqrt(pixels)``, as in PyGSP.
            (`deepsphere.analysis.localized_filters` uses an impulse of height 1.)

        Raises
        ------
        ValueError
            If `i` is not from 0 to pixels - 1.
        """
        values = localize(self.coefficients, self._layer, i)
        return np.sqrt(len(values)) * values.reshape(len(values), self.n_filters)

    def plot(
        self, n: int = 500, title: str | None = None, ax: Axes | None = None, **kwargs: Any
    ) -> Figure:
        """Plot the spectral response.

        Parameters
        ----------
        n : int, default 500
            Number of eigenvalues, from 0 to `spectral_bound`, at which it is drawn.
        title : str, optional
            Title of the axes. Default: the name of the layer.
        ax : matplotlib.axes.Axes, optional
            Axes to draw in. Default: a new figure.
        **kwargs
            Arguments of `matplotlib.axes.Axes.plot`. By default, ``label`` gives the channel
            numbers of each curve, for a legend.

        Returns
        -------
        matplotlib.figure.Figure
            The figure of the axes.
        """
        eigenvalues = np.linspace(0.0, self.spectral_bound, n)
        if self.n_filters > 5 * len(COLORS):  # too many lines to distinguish
            kwargs = {"alpha": 0.4, **kwargs}
        labels = [f"{i}→{o}" for i in self.ind_in for o in self.ind_out]
        with style_of(ax):
            axes = ax or new_axes()
            for label, values in zip(labels, self.evaluate(eigenvalues), strict=True):
                axes.plot(eigenvalues, values, **{"label": label, **kwargs})
            axes.margins(x=0)
            axes.set(
                xlabel="Laplacian eigenvalue λ",
                ylabel="Filter response",
                title=f"Spectral response of {self.name}" if title is None else title,
            )
            if ax is None:
                add_legend(axes)
        return axes.figure  # type: ignore[return-value]


def style_of(ax: Axes | None) -> AbstractContextManager[None]:
    """Return the house style for new axes, or no change of style for given axes."""
    return house_style() if ax is None else nullcontext()


def new_axes() -> Axes:
    """Return axes in a new figure that is not registered with pyplot, within the house style."""
    return new_figure(1.4 * COLUMN_WIDTH, 3.2, "constrained").add_subplot()


def add_legend(axes: Axes) -> None:
    """Add a legend next to new axes, if they have more than one line but not too many."""
    if 1 < len(axes.lines) <= len(COLORS):
        axes.figure.legend(loc="outside right upper", title="in→out")


def _choose(name: str, index: Index, count: int) -> NDArray[np.int64]:
    if index is None:
        return np.arange(count)
    try:
        chosen = np.atleast_1d(np.arange(count)[index])  # type: ignore[index]
    except IndexError:
        chosen = np.empty(0)
    if isinstance(index, (bool, np.bool_)) or chosen.ndim != 1 or chosen.size == 0:
        raise ValueError(
            f"{name} must be None or some of the {count} channels, 0 to {count - 1}; got {index!r}"
        )
    return chosen
