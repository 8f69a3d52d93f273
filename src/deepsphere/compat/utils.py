"""Functions with the names and signatures of deepsphere-cosmo-tf2's `utils`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, eye_array

from deepsphere._checks import check_count
from deepsphere.ops.arguments import refuse_masked
from deepsphere.ops.matrices import to_csr
from deepsphere.sampling import extend_pixels


def extend_indices(
    indices: ArrayLike, nside_in: int, nside_out: int, nest: bool = True
) -> NDArray[np.int64]:
    """Extend pixels to whole coarser pixels, see `deepsphere.sampling.extend_pixels`.

    Parameters
    ----------
    indices : array_like of int, shape (n,), or of bool, shape (12 * nside_in**2,)
        Pixels at `nside_in`, or a map of the full sphere that is True at the pixels.
    nside_in : int
        Resolution of `indices`.
    nside_out : int
        Coarse resolution, at most `nside_in`.
    nest : bool, default True
        Whether pixels are in NEST ordering. False: RING ordering.

    Returns
    -------
    ndarray of int64, shape (m,)
        Pixels at `nside_in`.

    Raises
    ------
    TypeError, ValueError
        As in `deepsphere.sampling.extend_pixels`.
    """
    flags = np.asanyarray(indices)
    if flags.dtype == bool and flags.shape == (12 * nside_in**2,):
        refuse_masked(flags, "indices")
        indices = np.flatnonzero(flags)
    return extend_pixels(indices, nside_in, nside_out, nest=nest)


def rescale_L(L: Any, lmax: float = 2, scale: float = 1) -> csr_array:  # noqa: N802
    """Return ``2 scale / lmax L - I`` as a new matrix.

    Layers do this automatically, with a margin (`deepsphere.graph.rescale`).

    Parameters
    ----------
    L : matrix, shape (n, n)
        Laplacian, dense or sparse.
    lmax : float, default 2
        Largest eigenvalue of `L`.
    scale : float, default 1
        Fraction of the interval [-1, 1] that the spectrum fills.

    Returns
    -------
    csr_array of float64, shape (n, n)
        The rescaled Laplacian.

    Raises
    ------
    TypeError
        If the entries of `L` are not real numbers.
    ValueError
        If `L` is not a square matrix, has invalid indices, or has entries that are NaN or infinite.
    """
    L = to_csr(L, "L")
    return csr_array(2 * scale / lmax * L - eye_array(L.shape[0]))


def split_sparse_dense_matmul(sparse_tensor: Any, dense_tensor: Any, n_splits: int = 1) -> Any:
    """Multiply a sparse tensor of the current backend by a dense one, in blocks of columns.

    Parameters
    ----------
    sparse_tensor : sparse tensor, shape (m, n)
        ``tf.SparseTensor``, ``jax.experimental.sparse.BCOO`` or a sparse ``torch.Tensor``.
    dense_tensor : tensor, shape (n, columns)
        Dense factor.
    n_splits : int, default 1
        Number of blocks, which must divide the number of columns. Layers split automatically.

    Returns
    -------
    tensor, shape (m, columns)
        The product.

    Raises
    ------
    ValueError
        If `n_splits` does not divide the number of columns.
    """
    splits = check_count(n_splits, "n_splits")
    if dense_tensor.shape[1] % splits:
        raise ValueError(
            f"n_splits must divide the {dense_tensor.shape[1]} columns, got {n_splits}"
        )
    blocks = keras.ops.split(dense_tensor, splits, axis=1)
    return keras.ops.concatenate([keras.ops.matmul(sparse_tensor, b) for b in blocks], axis=1)
