"""Names and signatures of earlier DeepSphere implementations."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepsphere.compat.old_weights import load_tf2_weights

__all__ = ["load_tf2_weights"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # needs Keras, which the old graph does not
        from deepsphere.compat import old_weights

        return getattr(old_weights, name)
    raise AttributeError(f"module 'deepsphere.compat' has no attribute {name!r}")
