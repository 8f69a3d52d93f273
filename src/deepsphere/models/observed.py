"""Losses and metrics over observed pixels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from deepsphere.layers import SurveyMask
from deepsphere.layers.features import Features
from deepsphere.ops.arguments import readable_array

Observed = NDArray[np.bool_] | None


class ObservedPixels(Features, keras.Model):
    """Mixin for models whose losses and metrics use observed pixels only.

    Keras computes losses on whole maps and multiplies them by 0 where the mask is False, which does
    not remove NaN. Many of its metrics ignore masks, and on JAX it loses the output's mask before
    the metrics of `fit`. This mixin restricts targets, predictions and sample weights to the pixels
    that the model's `SurveyMask` leaves observed.
    """

    def observed_output(self) -> Observed:
        """Return which pixels of the output are observed; None if all are or it has no pixels."""
        raise NotImplementedError

    def observed_outputs(self) -> list[Observed]:
        """Return `observed_output` for each output; a single entry applies to all outputs."""
        return [self.observed_output()]

    def _select(self, y: Any, y_pred: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        outputs = keras.tree.flatten(y_pred)
        observed = self.observed_outputs()
        if len(observed) == 1:
            observed = observed * len(outputs)
        if all(pixels is None for pixels in observed):
            return y, y_pred, sample_weight
        if sample_weight is not None and not keras.tree.is_nested(sample_weight):
            sample_weight = keras.tree.pack_sequence_as(y_pred, [sample_weight] * len(outputs))
        y = self._each_output("targets", select, y, y_pred, observed)
        if sample_weight is not None:
            sample_weight = self._each_output(
                "sample_weight", select_weights, sample_weight, y_pred, observed
            )
        y_pred = self._each_output("predictions", select, y_pred, y_pred, observed)
        return y, y_pred, sample_weight

    def _each_output(
        self, what: str, function: Any, values: Any, y_pred: Any, observed: list[Observed]
    ) -> Any:
        """Apply a function to the values of each output, in any structure that Keras accepts."""
        names = list(getattr(self, "output_names", None) or ())
        if isinstance(y_pred, dict) and not (
            isinstance(values, dict) and set(values) <= set(names)
        ):
            places = keras.tree.pack_sequence_as(y_pred, list(range(len(observed))))
        else:
            places = {name: place for place, name in enumerate(names)}
        if isinstance(values, dict) and set(values) == set(places):
            # Keras finds weights by their position in the structure of the predictions.
            leaves = [values[name] for name in sorted(places, key=places.__getitem__)]
            values = keras.tree.pack_sequence_as(y_pred, leaves)
        leaves = keras.tree.flatten(values)
        if len(leaves) != len(observed):
            raise ValueError(
                f"{type(self).__name__} {self.name!r} has {len(observed)} outputs, some with "
                f"unobserved pixels, but got {what} for {len(leaves)}: give one for each, as a "
                f"list or as a dict by name ({', '.join(map(str, names)) or 'none'}), with any "
                "values of the right shape for an output without a loss"
            )
        return keras.tree.pack_sequence_as(
            values,
            [
                None if leaf is None else function(leaf, pixels)
                for leaf, pixels in zip(leaves, observed, strict=True)
            ],
        )

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the loss over observed pixels, see `keras.Model.compute_loss`.

        Losses get tensors of shape ``(batch, observed pixels, channels)``. Targets at other pixels
        are arbitrary, including NaN.
        """
        if y is not None:
            y, y_pred, sample_weight = self._select(y, y_pred, sample_weight)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the metrics over observed pixels, see `keras.Model.compute_metrics`."""
        if y is not None:
            y, y_pred, sample_weight = self._select(y, y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train the model, see `keras.Model.fit`; NumPy masked arrays raise ValueError."""
        x, y, args, kwargs = self._plain_data(x, y, args, kwargs)
        self._check_class_weight(kwargs.get("class_weight"))
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Return loss and metrics, see `keras.Model.evaluate`; masked arrays raise ValueError."""
        x, y, args, kwargs = self._plain_data(x, y, args, kwargs)
        return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs, see `keras.Model.predict`; NumPy masked arrays raise ValueError."""
        x = self._plain_data(x)[0]
        return super().predict(x, *args, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train on one batch, see `keras.Model.train_on_batch`."""
        x, y, args, kwargs = self._plain_data(x, y, args, kwargs)
        self._check_class_weight(kwargs.get("class_weight"))
        return super().train_on_batch(x, y, *args, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Return loss and metrics of one batch, see `keras.Model.test_on_batch`."""
        x, y, args, kwargs = self._plain_data(x, y, args, kwargs)
        return super().test_on_batch(x, y, *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch, see `keras.Model.predict_on_batch`."""
        return super().predict_on_batch(self._plain_data(x)[0])

    def _plain_data(
        self, x: Any, y: Any = None, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> tuple[Any, Any, tuple[Any, ...], dict[str, Any]]:
        """Convert or refuse data that Keras or a backend would misread; see `readable_array`."""
        for value in keras.tree.flatten((x, y)):  # JAX would drop imaginary parts
            self._refuse_complex(value)

        def plain(values: Any, name: str) -> Any:
            return keras.tree.map_structure(lambda value: readable_array(value, name), values)

        more = {
            name: plain(value, name) if name in ("sample_weight", "validation_data") else value
            for name, value in (kwargs or {}).items()
        }
        return plain(x, "x"), plain(y, "y"), tuple(plain(arg, "the data") for arg in args), more

    def _check_class_weight(self, class_weight: Any) -> None:
        # Keras expects one class per map and would take pixels for classes.
        if class_weight is not None and self.predicts_maps():
            raise ValueError(
                "class_weight is for models with one class per map, but the output of "
                f"{self.name!r} has one per pixel; give the weight of each pixel as sample_weight "
                "of shape (batch, pixels) instead"
            )

    def predicts_maps(self) -> bool:
        """Return whether the output has pixels."""
        return True


def select(values: Any, observed: Observed) -> Any:
    """Return the observed pixels of a tensor of shape (batch, pixels, ...).

    Tensors with another number of pixels, and all tensors if `observed` is None, are returned
    unchanged.
    """
    if observed is None:
        return values
    values = keras.ops.convert_to_tensor(values)
    if len(values.shape) < 2 or values.shape[1] not in (None, len(observed)):
        return values
    return keras.ops.take(values, np.flatnonzero(observed).astype(np.int32), axis=1)


def select_weights(values: Any, observed: Observed) -> Any:
    """Return the weights of observed pixels, given weights per pixel or per map."""
    if observed is None:
        return values
    values = keras.ops.convert_to_tensor(values)
    if len(values.shape) == 1:  # one weight per map, which Keras would take for one per pixel
        values = keras.ops.repeat(values[:, None], len(observed), axis=1)
    return select(values, observed)


def observed_after(layers: list[Any]) -> NDArray[np.bool_] | None:
    """Return which pixels are observed after a stack of layers with survey masks.

    Parameters
    ----------
    layers : list of keras.layers.Layer
        The built layers.

    Returns
    -------
    ndarray of bool, shape (pixels,), or None
        True at observed pixels; None if all are, the output has no pixels, or the mask depends on
        the data.
    """
    # A new thread is outside of any backend's tracing.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_observed_after, layers).result()


def _observed_after(layers: list[Any]) -> NDArray[np.bool_] | None:
    mask = carry_mask(None, layers)
    if mask is None:
        return None
    observed = np.array(keras.ops.convert_to_numpy(mask), dtype=bool)[0]
    return None if observed.all() else observed


def carry_mask(mask: Any, layers: list[Any]) -> Any:
    """Return the mask after some layers for a mask before them; None means no mask."""
    for layer in layers:
        if isinstance(layer, keras.Sequential):
            mask = carry_mask(mask, layer.layers)
            continue
        if mask is not None:  # Keras drops the mask at layers that do not support masking
            known = layer.supports_masking and not isinstance(layer, keras.layers.Masking)
            mask = layer.compute_mask(None, mask) if known else None
        if mask is None and isinstance(layer, SurveyMask):
            mask = layer.observed[None]
        elif mask is None and isinstance(layer, ObservedPixels):
            observed = layer.observed_output()
            mask = None if observed is None else observed[None]
    return mask
