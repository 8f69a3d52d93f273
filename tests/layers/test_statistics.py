import keras
import numpy as np
import pytest

from deepsphere.layers.statistics import Statistics
from deepsphere.sampling import Healpix, Sampling
from harness import BACKEND, HALF, MODES, SINGLE, check_layer, gradients, relative_error, to_numpy

KINDS = ["mean", "variance", "mean_variance", "max", "histogram"]
PART = Healpix(4, np.r_[0:16, 32:48])


class Rings(Sampling):
    """Four pixels on each of some rings, whose areas differ."""

    kind = "rings"
    branching = 4

    def __init__(self, rings):
        self.rings = rings

    @property
    def points(self):
        latitude = np.repeat(np.pi * ((np.arange(self.rings) + 0.5) / self.rings - 0.5), 4)
        longitude = np.tile(np.arange(4) * np.pi / 2, self.rings)
        xy = np.cos(latitude) * [np.cos(longitude), np.sin(longitude)]
        return np.column_stack([*xy, np.sin(latitude)])

    @property
    def areas(self):
        edges = np.sin(np.pi * (np.arange(self.rings + 1) / self.rings - 0.5))
        return np.repeat(np.diff(edges) * np.pi / 2, 4)

    def __repr__(self):
        return f"Rings({self.rings})"

    def __len__(self):
        return 4 * self.rings

    def coarsen(self, levels=1):
        raise ValueError

    def refine(self, levels=1):
        raise ValueError

    def get_config(self):
        return {"rings": self.rings}

    def _identity(self):
        return (self.rings,)


def data(sampling, channels=3, batch=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, len(sampling), channels)).astype(np.float32)


def some_mask(sampling, batch=3):
    return np.random.default_rng(1).random((batch, len(sampling))) < 0.6


def truth(kind, x, areas, centers=None, widths=None):
    """Statistics of one map in float64, (pixels, channels) -> (features,)."""
    x = x.astype(float)
    if kind == "max":
        return x.max(axis=0)
    if kind == "histogram":
        features = []
        for channel in range(x.shape[1]):
            for center, width in zip(centers[channel], widths[channel], strict=True):
                triangle = np.interp(
                    x[:, channel], center + width * np.array([-1, 0, 1]), [0, 1, 0]
                )
                features.append(np.average(triangle, weights=areas))
        return np.array(features)
    mean = np.average(x, axis=0, weights=areas)
    variance = np.average(x**2, axis=0, weights=areas) - mean**2
    return {
        "mean": mean,
        "variance": variance,
        "mean_variance": np.concatenate([mean, variance]),
    }[kind]


def expected(layer, x, mask=None):
    mask = np.ones(x.shape[:2], bool) if mask is None else mask
    weights = {}
    if layer.statistic == "histogram":
        weights = {
            "centers": to_numpy(layer.centers).astype(float),
            "widths": np.abs(to_numpy(layer.widths).astype(float)),
        }
    areas = layer.sampling.areas
    return np.stack(
        [truth(layer.statistic, m[o], areas[o], **weights) for m, o in zip(x, mask, strict=True)]
    )


def learned(layer, x):
    """Return a built layer with moved bins, one with a negative width."""
    layer(x)
    rng = np.random.default_rng(2)
    for variable in layer.weights:
        value = to_numpy(variable)
        variable.assign(value * rng.uniform(0.5, 2, value.shape))
    if layer.statistic == "histogram":
        value = np.array(to_numpy(layer.widths))
        value[0, 0] *= -1
        layer.widths.assign(value)
    return layer


@pytest.mark.parametrize("sampling", [PART, Rings(8)], ids=["equal areas", "unequal areas"])
@pytest.mark.parametrize("kind", KINDS)
def test_output_is_that_of_numpy(kind, sampling):
    x = data(sampling)
    layer = learned(Statistics(kind, sampling=sampling, bins=7), x)
    assert relative_error(layer(x), expected(layer, x)) < SINGLE


@pytest.mark.parametrize("sampling", [PART, Rings(8)], ids=["equal areas", "unequal areas"])
@pytest.mark.parametrize("kind", KINDS)
def test_only_observed_pixels_count(kind, sampling):
    x, mask = data(sampling), some_mask(sampling)
    layer = learned(Statistics(kind, sampling=sampling, bins=7), x)
    truth = expected(layer, x, mask)
    x[~mask] = np.nan
    x[1][~mask[1]] = np.inf
    for mode in MODES:
        value, (dx,) = gradients(
            lambda x: layer(x, mask=mask), [x], np.ones(truth.shape, np.float32), mode
        )
        assert relative_error(value, truth) < SINGLE, mode
        assert np.isfinite(dx).all()
        assert not dx[~mask].any()


@pytest.mark.parametrize("sampling", [PART, Rings(8)], ids=["equal areas", "unequal areas"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_map_without_observed_pixels_gives_zero(kind, sampling):
    x, mask = data(sampling), some_mask(sampling)
    mask[1] = False
    x[~mask] = np.nan
    y = to_numpy(Statistics(kind, sampling=sampling)(x, mask=mask))
    assert np.isfinite(y).all()
    assert not y[1].any()
    assert y[0].any()


def test_masks_of_models_reach_the_layer():
    """Masks are used as in Keras and not passed on, since the output has no pixels."""
    inputs = keras.Input((len(PART), 3))
    y = Statistics("mean", sampling=PART)(
        keras.layers.Masking()(inputs)
    )  # 0 in all channels: not observed
    assert getattr(y, "_keras_mask", None) is None
    x, mask = data(PART), some_mask(PART)
    x[~mask] = 0
    layer = Statistics("mean", sampling=PART)
    layer.build(x.shape)
    assert relative_error(keras.Model(inputs, y)(x), expected(layer, x, mask)) < SINGLE
    assert Statistics(sampling=PART).compute_mask(x, mask) is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_equal_pixels_does_not_matter(kind):
    x = data(Healpix(2))
    layer = Statistics(kind, sampling=Healpix(2))
    order = np.random.default_rng(3).permutation(x.shape[1])
    assert relative_error(layer(x[:, order]), to_numpy(layer(x))) < SINGLE


@pytest.mark.parametrize("bins", [2, 20])
def test_bins_sum_to_one_inside_the_range(bins):
    x = np.linspace(-2, 2, 192, dtype=np.float32).reshape(1, 192, 1)
    layer = Statistics("histogram", sampling=Healpix(4), bins=bins)
    for pixel in (0, 50, 117, 191):  # each value by itself
        one = np.broadcast_to(x[:, [pixel]], x.shape)
        values = to_numpy(layer(one))
        assert values.sum() == pytest.approx(1, abs=1e-5)  # 20 centers of roundings 1e-7 / 0.2
        assert np.count_nonzero(values > 1e-4) <= 2  # a bin overlaps with the next ones only
    assert to_numpy(layer(np.full((1, 192, 1), 2.5, np.float32))).sum() < 1


def test_bins_overlap_by_half():
    layer = Statistics("histogram", sampling=Healpix(1), bins=20)
    layer.build((None, 12, 3))
    centers, widths = to_numpy(layer.centers), to_numpy(layer.widths)
    assert centers.shape == widths.shape == (3, 20)
    np.testing.assert_allclose(centers, np.tile(np.linspace(-2, 2, 20), (3, 1)), atol=1e-6)
    np.testing.assert_allclose(widths[:, 1:], np.diff(centers), rtol=1e-5)
    assert [v.path.split("/")[-1] for v in layer.trainable_variables] == ["centers", "widths"]


def test_a_width_of_zero_is_no_division_by_zero():
    layer = Statistics("histogram", sampling=PART, bins=3)
    x = data(PART)
    layer(x)
    layer.widths.assign(np.zeros((3, 3)))
    value, (dx,) = gradients(layer, [x], np.ones((3, 9), np.float32), "eager")
    assert np.isfinite(value).all()
    assert np.isfinite(dx).all()


def test_half_precision_does_not_overflow_inside():
    x = np.zeros((1, 48, 1), np.float32)
    x[0, 0] = 1000  # whose square is beyond float16's 65504, but not the mean of the squares
    y = Statistics("variance", sampling=Healpix(2), dtype="mixed_float16")(x)
    assert relative_error(y, [[1e6 / 48 - (1e3 / 48) ** 2]]) < HALF["mixed_float16"]


@pytest.mark.parametrize(
    ("kind", "sampling"),
    [
        ("mean", PART),
        ("max", PART),
        ("histogram", PART),
        ("mean_variance", Rings(8)),
        ("variance", Rings(8)),
        ("histogram", Rings(8)),
    ],
    ids=str,
)
def test_gates(kind, sampling, tmp_path):
    # No step of a finite difference may change which value is the largest, or cross an edge or
    # the tip of a triangle. Eight maps of different levels, so that the statistics differ and a
    # network can get better at them. Few bins, as the rounding of bfloat16 is a fifth of the
    # width of one of 20.
    if kind == "max":
        shape = (8, len(sampling), 3)
        x = np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape) / 100 - 4
    else:
        x = data(sampling, batch=8) + np.linspace(-1.5, 1.5, 8)[:, None, None]
        kinks = np.linspace(-4, 4, 5)
        x[np.abs(x[..., None] - kinks).min(axis=-1) < 0.02] += 0.04
    check_layer(lambda: Statistics(kind, sampling=sampling, bins=3), x.astype(np.float32), tmp_path)


if BACKEND == "torch":  # the only one where it can be measured

    def test_training_keeps_no_array_for_each_bin():
        import torch

        x = torch.tensor(data(Healpix(16)), requires_grad=True)
        saved = {}

        def keep(tensor):
            saved[tensor.data_ptr()] = tensor.numel()
            return tensor

        layer = Statistics("histogram", sampling=Healpix(16))
        layer(x)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            layer(x)
        assert sum(saved.values()) < 3 * x.numel()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"statistic": "median"},
            ValueError,
            "one of mean, variance, mean_variance, max, histogram; got 'median'",
        ),
        ({"bins": 1}, ValueError, "bins must be at least 2, got 1"),
        ({"bins": 2.5}, TypeError, "bins must be an integer, got 2.5"),
        ({"sampling": 64}, TypeError, "sampling must be a Sampling"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Statistics(**arguments)


def test_bad_inputs():
    with pytest.raises(ValueError, match=r"needs inputs of shape \(batch, 32, channels\)"):
        Statistics(sampling=PART)(np.zeros((2, 48, 3), np.float32))
