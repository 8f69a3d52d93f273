"""Conversion of inputs to a layer's precision."""

from __future__ import annotations

from typing import Any

import keras

from deepsphere.ops.arguments import readable_array


class Features:
    """Mixin that casts the inputs of a layer or model to its precision.

    Keras casts floating-point inputs only. With integers, sums wrap and weights are truncated, so
    this mixin casts integers and booleans too. Complex numbers raise TypeError, and tensors on
    PyTorch's meta device raise ValueError.
    """

    compute_dtype: Any
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer, see `keras.layers.Layer`."""
        if args:
            args = (self._as_features(args[0]), *args[1:])
        for name in ("x", "inputs", "sequences"):
            if name in kwargs:
                kwargs[name] = self._as_features(kwargs[name])
        return super().__call__(*args, **kwargs)  # type: ignore[misc]

    def _refuse_complex(self, x: Any) -> None:
        dtype = str(getattr(x, "dtype", ""))
        if "string" in dtype:  # TensorFlow's
            raise TypeError(f"{type(self).__name__} {self.name!r} needs numbers, got {dtype}")
        if "complex" in dtype:
            raise TypeError(
                f"{type(self).__name__} {self.name!r} needs real numbers, got {dtype}: give real "
                "and imaginary parts as two channels"
            )

    def _refuse_meta(self, x: Any) -> None:
        # Outside of shape inference, Keras would read uninitialized memory.
        device = getattr(getattr(x, "device", None), "type", None)
        if device == "meta" and keras.ops.zeros(()).device.type != "meta":
            raise ValueError(
                f"{type(self).__name__} {self.name!r} got a tensor on PyTorch's meta device, "
                "which holds no numbers: to get the shape of the output, call compute_output_shape"
            )

    def _as_features(self, inputs: Any) -> Any:
        return keras.tree.map_structure(self._as_feature, inputs)

    def _as_feature(self, x: Any) -> Any:
        x = readable_array(x, "the input")
        dtype = str(getattr(x, "dtype", ""))
        self._refuse_complex(x)
        self._refuse_meta(x)
        if not any(kind in dtype for kind in ("int", "bool")):
            return x
        y = keras.ops.cast(x, self.compute_dtype)
        mask = getattr(x, "_keras_mask", None)
        if mask is not None:
            y._keras_mask = mask
        return y
