"""Names and signatures of earlier DeepSphere implementations."""

from deepsphere.compat.old_weights import load_tf2_weights

__all__ = ["load_tf2_weights"]
