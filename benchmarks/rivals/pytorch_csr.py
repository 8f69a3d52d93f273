"""The graph convolution by PyTorch's sparse matrices (CSR) and its automatic gradient."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array


def sparse_tensor(matrix: csr_array, device: str) -> torch.Tensor:
    """Return a matrix as PyTorch's CSR tensor in single precision."""
    return torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr.astype(np.int64)),
        torch.from_numpy(matrix.indices.astype(np.int64)),
        torch.from_numpy(matrix.data.astype(np.float32)),
        matrix.shape,
        device=device,
        check_invariants=False,
    )


def chebyshev_filter(
    x: torch.Tensor, kernel: torch.Tensor, laplacian: torch.Tensor
) -> torch.Tensor:
    """Filter features ``(batch, n, channels)`` by a kernel ``(terms, channels, filters)``."""
    batch, n, channels = x.shape
    terms = len(kernel)
    stack = [x.permute(1, 0, 2).reshape(n, batch * channels)]
    if terms > 1:
        stack.append(laplacian @ stack[0])
    for _ in range(terms - 2):
        stack.append(2 * (laplacian @ stack[-1]) - stack[-2])
    stacked = torch.stack(stack).view(terms, n, batch, channels)
    rows = stacked.permute(2, 1, 0, 3).reshape(batch * n, terms * channels)
    return (rows @ kernel.reshape(terms * channels, -1)).view(batch, n, -1)
