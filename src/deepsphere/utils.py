"""Where deepsphere-cosmo-tf2 had its helper functions; see `deepsphere.compat.utils`."""

from deepsphere.compat.utils import extend_indices, rescale_L, split_sparse_dense_matmul

__all__ = ["extend_indices", "rescale_L", "split_sparse_dense_matmul"]
