"""Every Keras loss and metric of a masked model uses the observed pixels."""

import inspect
import warnings

import keras
import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, roc_auc_score

from deepsphere.layers import ChebyshevConv, Pool, Resample, SurveyMask
from deepsphere.models import Autoencoder, Sequential, UNet
from deepsphere.sampling import Healpix
from harness import BACKEND, to_numpy

SPHERE = Healpix(2)
RNG = np.random.default_rng(0)
OBSERVED = RNG.random(48) < 0.6
X = RNG.standard_normal((4, 48, 1)).astype(np.float32)
LABELS = RNG.integers(0, 3, (4, 48))
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
FLAGS = RNG.integers(0, 2, (4, 48, 3)).astype(np.float32)
HIDDEN = np.where(OBSERVED[:, None], ONE_HOT, np.nan).astype(np.float32)


def unet(output_activation="softmax", outputs=3):
    return UNet(
        *(SPHERE, outputs),
        filters=(2,),
        order=0,
        mask=OBSERVED,
        normalization=None,
        output_activation=output_activation,
    )


def stack(output_activation="softmax", outputs=3):
    layers = [SurveyMask(OBSERVED), keras.layers.Dense(outputs, output_activation)]
    return Sequential(SPHERE, [keras.Input((48, 1)), *layers])


def public(module, base):
    return [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, base)]


LOSSES = [c for c in public(keras.losses, keras.losses.Loss) if c is not keras.losses.Loss]
METRICS = [
    c
    for c in public(keras.metrics, keras.metrics.Metric)
    if "y_pred" in inspect.signature(c.update_state).parameters
]
ARGUMENTS = {
    "IoU": {"num_classes": 3, "target_class_ids": [1]},
    "BinaryIoU": {"target_class_ids": [1]},
    "MeanIoU": {"num_classes": 3, "sparse_y_pred": False},
    "OneHotIoU": {"num_classes": 3, "target_class_ids": [1]},
    "OneHotMeanIoU": {"num_classes": 3},
    "MeanRelativeError": {"normalizer": [1.0, 2.0, 3.0]},
    "MeanMetricWrapper": {"fn": keras.losses.mean_squared_error},
    "LossFunctionWrapper": {"fn": keras.losses.mean_squared_error},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
}


def target(cls):
    """Return suitable data for the class, with arbitrary values where unobserved."""
    name = cls.__name__
    if "Sparse" in name or name == "MeanIoU":
        return np.where(OBSERVED, LABELS, 0 if name.endswith("Accuracy") else -(2**31) + 1)
    return HIDDEN


def outcome(function):
    """Return the value of a function, or the exception that it raises."""
    try:
        return np.asarray(to_numpy(function()), float)
    except Exception as error:
        return type(error)


def check(cls, model, y_pred, weight):
    """Compare with Keras' class on observed pixels; return whether it accepts maps."""
    y, arguments = target(cls), ARGUMENTS.get(cls.__name__, {})
    seen, cut = to_numpy(y_pred)[:, OBSERVED], None if weight is None else weight[:, OBSERVED]
    expected = outcome(lambda: cls(**arguments)(y[:, OBSERVED], seen, sample_weight=cut))
    if issubclass(cls, keras.losses.Loss):
        model.compile(loss=cls(**arguments), run_eagerly=True)
        found = outcome(lambda: model.compute_loss(X, y, y_pred, weight, training=False))
    else:
        model.compile(loss=None, weighted_metrics=[cls(**arguments)], run_eagerly=True)
        found = outcome(lambda: [*model.compute_metrics(X, y, y_pred, weight).values()][-1])
    if isinstance(expected, type):  # not for maps, masked or not
        assert isinstance(found, type), cls
        return False
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=cls.__name__)
    return np.isfinite(expected).all()


@pytest.mark.parametrize("make", [unet, stack])
@pytest.mark.filterwarnings("ignore:You are passing weight as `float`:UserWarning")  # Keras' IoU
def test_every_loss_and_metric_of_keras(make):
    model = make()
    y_pred = model(X)
    weights = RNG.random((4, 48)).astype(np.float32)
    done = [check(c, model, y_pred, w) for c in [*LOSSES, *METRICS] for w in (None, weights)]
    # The others are for pairs, for sequences or for tables, and raise for any maps.
    assert sum(done) >= 100


@pytest.mark.parametrize("jit", [False] if BACKEND == "torch" else [True, False])
@pytest.mark.parametrize("make", [unet, stack])
def test_training_and_evaluation_against_scikit_learn(make, jit):
    """Compare fit, evaluate and train_on_batch; unobserved pixels are NaN."""
    model = make("sigmoid")
    y = np.where(OBSERVED[:, None], FLAGS, np.nan).astype(np.float32)
    metrics = [
        keras.metrics.AUC(num_thresholds=20_000),
        keras.metrics.RootMeanSquaredError(),
        "mae",
    ]
    model.compile(
        keras.optimizers.SGD(0.0),
        "binary_crossentropy",
        metrics=metrics,
        weighted_metrics=["mse"],
        jit_compile=jit,
    )
    x = np.where(OBSERVED[:, None], X, np.nan)
    p = model.predict(x, verbose=0)[:, OBSERVED].astype(float)
    t = FLAGS[:, OBSERVED]
    each = np.array([1.0, 2.0, 0.0, 1.0], np.float32)  # the weight of each map
    square = np.square(p - t)
    entropy = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(2)
    truth = {
        "loss": (entropy * each[:, None]).mean(),
        "auc": roc_auc_score(t.ravel(), p.ravel()),
        "root_mean_squared_error": np.sqrt(square.mean()),
        "mae": mean_absolute_error(t.ravel(), p.ravel()),
        "mse": (square.mean(2) * each[:, None]).sum() / (each.sum() * OBSERVED.sum()),
    }
    options = {"batch_size": 4, "verbose": 0, "sample_weight": each}
    history = model.fit(x, y, **options).history
    for found in (
        {name: values[0] for name, values in history.items()},
        model.evaluate(x, y, return_dict=True, **options),
        model.train_on_batch(x, y, sample_weight=each, return_dict=True),
    ):
        found = {("auc" if name.startswith("auc") else name): v for name, v in found.items()}
        for name, value in truth.items():  # thresholds: 1 of 20 000
            assert float(found[name]) == pytest.approx(value, rel=2e-3 if name == "auc" else 1e-5)


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
@pytest.mark.parametrize(
    "form", [lambda x: x, lambda x: [x], keras.losses.get], ids=["name", "list", "function"]
)
def test_ways_to_give_a_loss(loss, form):
    model = unet()
    model.compile("sgd", form(loss), metrics=["accuracy"], run_eagerly=True)
    y = LABELS if loss.startswith("sparse") else HIDDEN
    p = model.predict(X, verbose=0)[:, OBSERVED]
    labels = LABELS[:, OBSERVED]
    truth = -np.log(np.take_along_axis(p, labels[..., None], 2)).mean()
    found, accuracy = model.evaluate(X, y, verbose=0)
    assert found == pytest.approx(truth, rel=1e-5)
    assert accuracy == pytest.approx((p.argmax(2) == labels).mean())


def test_coarser_maps_and_single_values():
    """The mask is followed through the layers of a stack."""
    coarse = OBSERVED.reshape(12, 4).copy()
    coarse[:3] = False
    observed = coarse.ravel()
    convolve = [SurveyMask(observed), Pool(), ChebyshevConv(1, 1), keras.layers.Activation("tanh")]
    model = Sequential(SPHERE, [keras.Input((48, 1)), *convolve])
    np.testing.assert_array_equal(model.observed_output(), coarse.any(axis=1))
    y = np.where(coarse.any(1), 1.0, np.nan)[None, :, None].repeat(4, 0)
    model.compile("sgd", "mse", run_eagerly=True)
    truth = np.square(to_numpy(model(X))[:, coarse.any(1)] - 1).mean()
    assert model.evaluate(X, y, verbose=0) == pytest.approx(truth, rel=1e-5)
    model.add(keras.layers.GlobalAveragePooling1D())
    assert model.observed_output() is None
    resampled = Sequential(SPHERE, [keras.Input((48, 1)), SurveyMask(observed)])
    resampled.add(Resample(Healpix(1), "inverse_distance"))
    assert 0 < resampled.observed_output().sum() < 12
    nested = Sequential(SPHERE, [keras.Input((48, 1)), unet()])
    np.testing.assert_array_equal(nested.observed_output(), OBSERVED)
    assert Sequential(SPHERE, [SurveyMask(np.ones(48, bool))]).observed_output() is None


def test_weights_of_classes_are_refused_for_maps():
    for model in (unet(), stack()):
        model.compile("sgd", "sparse_categorical_crossentropy")
        for function in (model.fit, model.train_on_batch):
            with pytest.raises(ValueError, match="sample_weight of shape"):
                function(X, LABELS, class_weight={0: 1.0, 1: 2.0, 2: 1.0})
    whole = Sequential(SPHERE, [SurveyMask(OBSERVED), keras.layers.GlobalAveragePooling1D()])
    whole.add(keras.layers.Dense(3, "softmax"))
    whole.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    whole.fit(X, LABELS[:, 0], class_weight={0: 1.0, 1: 2.0, 2: 1.0}, verbose=0)


def test_masks_go_through_stacks_without_a_warning():
    """A stack in a model accepts a mask and returns that of its output."""
    inner = Sequential(SPHERE, [keras.Input((48, 1)), Pool(), keras.layers.Dense(2)])
    model = Sequential(SPHERE, [keras.Input((48, 1)), SurveyMask(OBSERVED)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        masked = inner(model(X), mask=np.broadcast_to(OBSERVED, (4, 48)))
        autoencoder = Autoencoder(SPHERE, filters=(2,), latent=2, order=1, mask=OBSERVED)
        autoencoder(X)
    expected = inner.layers[0](X, mask=np.broadcast_to(OBSERVED, (4, 48)))
    np.testing.assert_allclose(to_numpy(masked), to_numpy(inner.layers[1](expected)), rtol=1e-5)
    found = inner.compute_mask(X, np.broadcast_to(OBSERVED, (4, 48)))
    np.testing.assert_array_equal(to_numpy(found)[0], OBSERVED.reshape(12, 4).any(1))
