"""Losses and metrics of models with several inputs and outputs use observed pixels."""

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepsphere.layers import ChebyshevConv, Pool, SurveyMask
from deepsphere.models import Model, Sequential, UNet
from deepsphere.sampling import Healpix
from harness import BACKEND, QUICK, to_numpy

SPHERE, COARSE = Healpix(2), Healpix(1)
RNG = np.random.default_rng(0)
OBSERVED = RNG.random(48) < 0.5
OBSERVED[:8] = False  # two coarse pixels without any
FEW = OBSERVED.reshape(12, 4).any(1)
X = np.where(OBSERVED[:, None], RNG.standard_normal((4, 48, 1)), np.nan).astype("float32")
FLAGS = RNG.integers(0, 2, (4, 48, 1)).astype("float32")
VALUES = RNG.standard_normal((4, 12, 2)).astype("float32")
LABELS = RNG.integers(0, 3, 4)
TARGETS = [
    np.where(OBSERVED[:, None], FLAGS, np.nan),
    np.where(FEW[:, None], VALUES, np.nan),
    LABELS,
]
NAMES = ["flags", "values", "label"]


def network(structure=list, cls=Model):
    """Return fine maps, coarse maps and a class per map."""
    inputs = keras.Input((48, 1))
    x = SurveyMask(OBSERVED, sampling=SPHERE)(inputs)
    x = ChebyshevConv(2, order=1, sampling=SPHERE)(x)
    pooled = Pool(sampling=SPHERE)(x)
    outputs = [
        keras.layers.Dense(1, "sigmoid", name="flags")(x),
        keras.layers.Dense(2, name="values")(pooled),
        keras.layers.Dense(3, "softmax", name="label")(
            keras.layers.GlobalAveragePooling1D()(pooled)
        ),
    ]
    if structure is dict:
        outputs = dict(zip(NAMES, outputs, strict=True))
    return cls(inputs, outputs)


def entropy(p, t, weight=1.0):
    return (-(t * np.log(p) + (1 - t) * np.log(1 - p))[..., 0] * weight).mean()


def squares(p, t, weight=1.0):
    return (np.square(p - t).mean(2) * weight).mean()


def class_entropy(p, weight=1.0):
    return (-np.log(p[np.arange(4), LABELS]) * weight).mean()


LOSSES = ["binary_crossentropy", "mse", "sparse_categorical_crossentropy"]
METRICS = [[keras.metrics.AUC, "mae"], [keras.metrics.RootMeanSquaredError], ["accuracy"]]


def by_name(values, structure):
    return dict(zip(NAMES, values, strict=True)) if structure is dict else list(values)


@pytest.mark.parametrize("jit", ["auto", False])
@pytest.mark.parametrize("structure", [list, dict])
@pytest.mark.parametrize("given", [list, dict])
def test_losses_and_metrics_of_each_output(structure, given, jit):
    """Compared with NumPy and scikit-learn on observed pixels; the others are NaN."""
    model = network(structure)
    metrics = [[m if isinstance(m, str) else m() for m in some] for some in METRICS]
    if given is list and structure is dict:
        given = dict  # Keras takes no list there
    model.compile(
        keras.optimizers.SGD(0.0),
        by_name(LOSSES, given),
        loss_weights=by_name([1.0, 2.0, 0.5], given),
        metrics=by_name(metrics, given),
        jit_compile=jit,
    )
    found = model.predict(X, verbose=0)
    p = [found[name] for name in NAMES] if structure is dict else found
    p = [np.asarray(part, float) for part in p]
    fine, coarse = p[0][:, OBSERVED], p[1][:, FEW]
    truth = {
        "flags_loss": entropy(fine, FLAGS[:, OBSERVED]),
        "values_loss": squares(coarse, VALUES[:, FEW]),
        "label_loss": class_entropy(p[2]),
        "flags_mae": np.abs(fine - FLAGS[:, OBSERVED]).mean(),
        "rmse": np.sqrt(squares(coarse, VALUES[:, FEW])),
        "label_accuracy": (p[2].argmax(1) == LABELS).mean(),
        "auc": roc_auc_score(FLAGS[:, OBSERVED].ravel(), fine.ravel()),
    }
    truth["loss"] = truth["flags_loss"] + 2 * truth["values_loss"] + 0.5 * truth["label_loss"]
    y = by_name(TARGETS, given)
    options = {"batch_size": 4, "verbose": 0}
    history = model.fit(X, y, **options).history
    results = [
        {name: value[0] for name, value in history.items()},
        model.evaluate(X, y, return_dict=True, **options),
    ]
    for result in results:
        for name, value in truth.items():
            matches = [k for k in result if k == name or (name in ("auc",) and name in k)]
            if name == "rmse":
                matches = [k for k in result if "root_mean" in k]
            (key,) = matches
            # AUC: 200 thresholds, of fewer than 100 values.
            wanted = pytest.approx(value, abs=0.02) if name == "auc" else pytest.approx(value, 1e-5)
            assert float(result[key]) == wanted, key


@pytest.mark.parametrize("form", ["each map", "list", "dict"])
def test_sample_weights(form):
    model = network()
    model.compile("sgd", LOSSES, weighted_metrics=[["mse"], ["mse"], []], run_eagerly=True)
    p = [np.asarray(part, float) for part in model.predict(X, verbose=0)]
    maps = np.array([1.0, 0.0, 2.0, 3.0], "float32")
    fine, coarse = RNG.random((4, 48)).astype("float32"), RNG.random((4, 12)).astype("float32")
    given = {"each map": maps, "list": [fine, coarse, maps]}
    given["dict"] = dict(zip(NAMES, given["list"], strict=True))
    weights = [maps[:, None], maps[:, None]] if form == "each map" else [fine, coarse]
    cut = [
        np.broadcast_to(w, s)[:, o]
        for w, s, o in zip(weights, [(4, 48), (4, 12)], [OBSERVED, FEW], strict=True)
    ]
    y = dict(zip(NAMES, TARGETS, strict=True)) if form == "dict" else TARGETS
    result = model.evaluate(X, y, sample_weight=given[form], verbose=0, return_dict=True)
    f, v = FLAGS[:, OBSERVED], VALUES[:, FEW]
    first = entropy(p[0][:, OBSERVED], f, cut[0])
    second = squares(p[1][:, FEW], v, cut[1])
    assert result["flags_loss"] == pytest.approx(first, 1e-5)
    assert result["values_loss"] == pytest.approx(second, 1e-5)
    assert result["loss"] == pytest.approx(first + second + class_entropy(p[2], maps), 1e-5)
    mean = squares(p[1][:, FEW], v, cut[1]) / cut[1].mean()
    assert result["values_mse"] == pytest.approx(mean, 1e-5)


def test_targets_that_are_too_few():
    model = network()
    model.compile("sgd", ["mse", "mse", None], run_eagerly=True)
    with pytest.raises(ValueError, match=r"3 outputs, .* got targets for 2.*flags, values, label"):
        model.compute_loss(X, TARGETS[:2], model(X))
    p = model.predict(X, verbose=0)
    found = model.evaluate(X, TARGETS, verbose=0, return_dict=True)
    truth = [squares(p[0][:, OBSERVED], FLAGS[:, OBSERVED]), squares(p[1][:, FEW], VALUES[:, FEW])]
    assert found["loss"] == pytest.approx(sum(truth), 1e-5)


def test_how_masks_go_through_a_graph():
    inputs = keras.Input((48, 1))
    x = SurveyMask(OBSERVED, sampling=SPHERE)(inputs)
    other = np.ones(48, bool)
    other[-20:] = False
    y = SurveyMask(other, sampling=SPHERE)(inputs)
    inner = Model(inputs, Pool(sampling=SPHERE)(inputs))
    stack = Sequential(SPHERE, [keras.Input((48, 1)), Pool()])
    unet = UNet(SPHERE, 1, filters=(2,), order=0, mask=other)
    cases = {
        "sum": (keras.layers.Add()([x, y]), OBSERVED | other),
        "operation": (x + y, OBSERVED | other),
        "operation on both": (x + inputs, None),
        "slice": (x[..., :1], OBSERVED),
        "concatenate": (keras.layers.Concatenate()([x, x]), OBSERVED),
        "two masks": (SurveyMask(other, sampling=SPHERE)(x), OBSERVED & other),
        "nested": (inner(x), FEW),
        "stack": (stack(x), FEW),
        "unet": (unet(inputs), other),
        "unmasked": (keras.layers.Dense(1)(inputs), None),
        "flat": (keras.layers.Dense(1)(keras.layers.Flatten()(inputs)), None),
    }
    model = Model(inputs, {name: output for name, (output, _) in cases.items()})
    again = Model(inputs, model(inputs))
    for checked in (model, again):
        found = dict(zip(sorted(cases), checked.observed_outputs(), strict=True))
        for name, (_, expected) in cases.items():
            np.testing.assert_array_equal(found[name], expected, err_msg=name)
    if BACKEND == "torch":  # what Keras does itself, where it says so
        for name, output in model(X).items():
            mask = getattr(output, "_keras_mask", None)
            if name not in ("operation", "slice", "unmasked", "flat"):
                expected = cases[name][1]
                assert (mask is None) == (expected is None), name
                if mask is not None:
                    np.testing.assert_array_equal(to_numpy(mask)[0], expected, err_msg=name)
    nothing = Model(inputs, SurveyMask(~OBSERVED, sampling=SPHERE)(x))
    with pytest.raises(ValueError, match="no observed pixel in its output"):
        nothing.observed_outputs()


@pytest.mark.parametrize("structure", [list, dict])
def test_saved_and_loaded(structure, tmp_path):
    model = network(structure)
    model.get_layer("values").trainable = False
    model.compile("sgd", by_name(LOSSES, structure), **QUICK)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is Model
    assert len(loaded.trainable_weights) == len(model.trainable_weights)
    expected, found = (keras.tree.flatten(m.predict(X, verbose=0)) for m in (model, loaded))
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)
    y = by_name(TARGETS, structure)
    assert loaded.evaluate(X, y, verbose=0) == model.evaluate(X, y, verbose=0)
    clone = keras.models.clone_model(model)
    assert type(clone) is Model
    with pytest.raises(ValueError, match=r"Save model\.keras instead"):
        model.save(tmp_path / "model.h5")


def test_one_output_as_in_a_stack():
    inputs = keras.Input((48, 1))
    model = Model(inputs, keras.layers.Dense(1)(SurveyMask(OBSERVED, sampling=SPHERE)(inputs)))
    np.testing.assert_array_equal(model.observed_output(), OBSERVED)
    model.compile("sgd", "mse", run_eagerly=True)
    truth = np.square(to_numpy(model(X)) - FLAGS)[:, OBSERVED].mean()
    assert model.evaluate(X, TARGETS[0], verbose=0) == pytest.approx(truth, 1e-5)
    with pytest.raises(ValueError, match="sample_weight of shape"):
        model.fit(X, TARGETS[0], class_weight={0: 1.0})


def test_functional_models_follow_the_protocol():
    model = network()
    assert (model.sampling, model.output_sampling) == (SPHERE, SPHERE)
    inputs = keras.Input((48, 1))
    coarse = Model(inputs, Pool(sampling=SPHERE)(keras.layers.Dense(2)(inputs)))
    assert coarse.compute_output_sampling(SPHERE) is coarse.output_sampling
    stack = Sequential(SPHERE, [coarse, ChebyshevConv(1, 1)])
    assert stack.layers[1].sampling is coarse.output_sampling
    assert coarse.output_sampling == COARSE
    with pytest.raises(ValueError, match=r"Model .* is on Healpix\(nside=2\), but the model"):
        Sequential(COARSE, [coarse])


def test_functional_models_whose_input_has_an_unknown_sampling():
    inputs = keras.Input((48, 1))
    pooled = keras.layers.MaxPooling1D(4)(inputs)
    model = Model(inputs, ChebyshevConv(1, 1, sampling=COARSE)(pooled))
    assert model.sampling is None
    assert Sequential(SPHERE, [model]).output_sampling == COARSE
    other = keras.Input((12, 1))
    two = Model([inputs, other], keras.layers.Add()([model(inputs), other]))
    assert two.sampling is None
    plain = Model(inputs, pooled)
    assert plain.output_sampling is None
    assert Sequential(SPHERE, [plain]).output_sampling == SPHERE
