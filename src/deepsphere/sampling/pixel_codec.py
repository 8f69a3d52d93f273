"""Sorted pixel numbers as a short string, so that footprints do not bloat a model's JSON."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.sampling.base import check_size
from deepsphere.sampling.byte_planes import read_planes, write_planes


def encode_pixels(pixels: ArrayLike) -> str:
    """Write strictly increasing pixel numbers as text.

    The pixels are taken as runs of consecutive numbers. The lengths of runs and gaps, split into
    byte planes, are deflated and written in base 64: about a byte a run for survey footprints.

    Parameters
    ----------
    pixels : array_like of int, shape (n,)
        Strictly increasing, non-negative.

    Returns
    -------
    str
        ASCII text that `decode_pixels` reads.

    Raises
    ------
    ValueError
        If the pixels are none, negative, or not strictly increasing.

    Examples
    --------
    >>> decode_pixels(encode_pixels([4, 5, 6, 9])).tolist()
    [4, 5, 6, 9]
    """
    pixels = np.asarray(pixels, dtype=np.int64)
    gaps = np.diff(pixels)
    if pixels.size == 0 or pixels[0] < 0 or np.any(gaps < 1):
        raise ValueError("pixels to encode must be non-negative and strictly increasing, not empty")
    breaks = np.flatnonzero(gaps != 1) + 1
    starts = pixels[np.concatenate(([0], breaks))]
    stops = pixels[np.concatenate((breaks, [len(pixels)])) - 1] + 1
    edges = np.column_stack((starts, stops)).ravel()
    return write_planes(np.diff(edges, prepend=0).astype("<u8"))


def decode_pixels(text: str, count: int | None = None) -> NDArray[np.int64]:
    """Read what `encode_pixels` wrote.

    Parameters
    ----------
    text : str
        The encoded pixels.
    count : int, optional
        How many pixels there are: all numbers are below it.

    Returns
    -------
    ndarray of int64, shape (n,)
        The pixel numbers, strictly increasing.

    Raises
    ------
    ValueError
        If the text is damaged, or says more pixels than `count` or `MOST_POINTS`. A few characters
        could fill the memory.
    """
    try:
        edges = np.cumsum(read_planes(text, "<u8").astype(np.int64))
        if edges.size == 0 or edges[0] < 0 or np.any(np.diff(edges) < 1):
            raise ValueError("the runs of pixels do not increase")
        edges = edges.reshape(-1, 2)
    except ValueError as error:
        raise ValueError(f"the encoded pixels are damaged: {text[:40]!r}...") from error
    starts, lengths = edges[:, 0], edges[:, 1] - edges[:, 0]
    if count is not None and edges[-1, 1] > count:
        raise ValueError(
            f"the encoded pixels go up to number {edges[-1, 1] - 1}, but there are {count}"
        )
    check_size(int(lengths.sum()), "the list of encoded pixels")
    offsets = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(starts - offsets, lengths)
