"""Helper functions under their module name in deepsphere-cosmo-tf2, see `deepsphere.compat`."""

from deepsphere.compat.utils import extend_indices, rescale_L, split_sparse_dense_matmul

__all__ = ["extend_indices", "rescale_L", "split_sparse_dense_matmul"]
