"""The graph convolution by JAX's sparse matrices (BCOO) and its automatic gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO
from scipy.sparse import csr_array


def sparse_array(matrix: csr_array) -> BCOO:
    """Return a matrix as JAX's sparse array in single precision, known to be in order."""
    coo = matrix.tocoo()
    indices = jnp.asarray(np.stack([coo.row, coo.col], axis=1).astype(np.int32))
    return BCOO(
        (jnp.asarray(coo.data.astype(np.float32)), indices),
        shape=coo.shape,
        indices_sorted=True,
        unique_indices=True,
    )


def chebyshev_filter(x: jax.Array, kernel: jax.Array, laplacian: BCOO) -> jax.Array:
    """Filter features ``(batch, n, channels)`` by a kernel ``(terms, channels, filters)``."""
    batch, n, channels = x.shape
    terms = len(kernel)
    stack = [jnp.transpose(x, (1, 0, 2)).reshape(n, batch * channels)]
    if terms > 1:
        stack.append(laplacian @ stack[0])
    for _ in range(terms - 2):
        stack.append(2 * (laplacian @ stack[-1]) - stack[-2])
    stacked = jnp.stack(stack).reshape(terms, n, batch, channels)
    return jnp.einsum("knbc,kcf->bnf", stacked, kernel)
