"""Encoding of sorted pixel indices as short strings, for the JSON of models."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepsphere.sampling.base import check_size
from deepsphere.sampling.byte_planes import read_planes, write_planes


def encode_pixels(pixels: ArrayLike) -> str:
    """Encode strictly increasing pixel indices as text.

    The lengths of the runs of consecutive indices and of the gaps between them are split into byte
    planes, deflated and written in base 64. Survey footprints take about a byte per run.

    Parameters
    ----------
    pixels : array_like of int, shape (n,)
        Strictly increasing, nonnegative indices.

    Returns
    -------
    str
        ASCII text, which `decode_pixels` reads.

    Raises
    ------
    ValueError
        If `pixels` are empty, negative or not strictly increasing.

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
    """Decode the pixel indices that `encode_pixels` encoded.

    Parameters
    ----------
    text : str
        The encoded pixels.
    count : int, optional
        Number of pixels of the sampling, which is greater than all indices.

    Returns
    -------
    ndarray of int64, shape (n,)
        Strictly increasing pixel indices.

    Raises
    ------
    ValueError
        If the text is damaged, an index is not less than `count`, or there are more than 2**28
        pixels. A few characters of text could otherwise fill the memory.
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
