import csv
import json
import shutil

import keras
import numpy as np
import pytest

from deepsphere.data.skies import SkySimulation, simulate
from deepsphere.demo import run
from deepsphere.demo.network import quick_start_network
from deepsphere.demo.run import Demo, run_demo
from deepsphere.graph import Graph
from deepsphere.layers import ChebyshevConv, Pool
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix

SMALL = Demo(SkySimulation(maps_per_class=8, nside=8, signal_to_noise=np.inf, seed=3), 3, 4)


def test_quick_start_network():
    model = quick_start_network(16)
    kinds = [type(layer) for layer in model.layers]
    assert kinds[:7] == [ChebyshevConv, Pool] * 3 + [ChebyshevConv]
    convolutions = model.layers[:7:2]
    assert [(c.order + 1, c.filters) for c in convolutions] == [(10, 5)] * 3 + [(10, 2)]
    assert all(c.resolved_graph == Graph(20, laplacian="normalized") for c in convolutions)
    assert [c.sampling for c in convolutions] == [Healpix(n) for n in (16, 8, 4, 2)]
    # Kernels 10 x 5, 50 x 5, 50 x 5 and 50 x 2, biases 5, 5, 5 and 2; the reference has no last
    # bias and counts 695 with its 30 batch statistics.
    assert model.count_params() == 50 + 250 + 250 + 100 + 17 + 30
    probabilities = model.predict(np.zeros((2, 3072, 1), np.float32), verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo")
    return output, run_demo(SMALL, output)


def test_everything_is_there(result):
    output, metrics = result
    assert json.loads((output / "metrics.json").read_text()) == metrics
    for key in ("test_accuracy", "baseline_accuracy", "variance_accuracy"):
        assert metrics[key] in (0, 0.25, 0.5, 0.75, 1)  # of four test maps
    assert metrics["train_seconds"] > 0
    assert metrics["build_seconds"] > 0
    assert metrics["parameters"] == 697
    assert metrics["seed"] == 3
    assert metrics["versions"]["keras"] == keras.__version__
    assert metrics["backend"] in metrics["versions"]
    page = (output / "index.html").read_text()
    pictures = sorted(path.name for path in output.glob("*.png"))
    assert len(pictures) == 8
    for name in pictures:
        assert f'src="{name}"' in page
        assert (output / name).read_bytes().startswith(b"\x89PNG")
    with (output / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(rows[0])
    assert {path.name.split("-")[0] for path in (output / "cache").iterdir()} == {"skies"}


def test_model_is_the_one_that_was_measured(result):
    output, metrics = result
    maps, labels = simulate(SMALL.simulation, output / "cache", progress=False)
    train, test = run.split(labels, seed=3)
    assert sorted([*train, *test]) == list(range(16))
    assert np.bincount(labels[test]).tolist() == [2, 2]
    model = keras.models.load_model(output / "model.keras")
    predicted = model.predict(maps[test] / maps[train].std(), verbose=0).argmax(axis=1)
    assert np.mean(predicted == labels[test]) == metrics["test_accuracy"]


@pytest.fixture
def quick(result, monkeypatch, tmp_path):
    """Run with a small network, the maps of the fixture above, and no pictures."""

    def network(nside, classes):
        layers = [Pool(3), keras.layers.Flatten(), keras.layers.Dense(classes, "softmax")]
        model = Sequential(Healpix(nside), layers)
        model.build((None, 12 * nside**2, 1))
        return model

    monkeypatch.setattr(run, "quick_start_network", network)
    monkeypatch.setattr(run, "draw_pictures", lambda *arguments: [])
    shutil.copytree(result[0] / "cache", tmp_path / "cache")


@pytest.mark.usefixtures("quick")
def test_second_run_takes_the_maps_from_the_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("deepsphere.data.skies._draw_all", None)  # cannot be called
    run_demo(SMALL, tmp_path)


# Keras' CSVLogger leaves its file open when `fit` raises.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.usefixtures("quick")
def test_a_cut_off_training_goes_on(tmp_path, monkeypatch):
    class Cut(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    fit = keras.Model.fit
    epochs = []

    def fit_until_cut(self, *arguments, callbacks, **options):
        return fit(self, *arguments, callbacks=[*callbacks, Cut()], **options)

    def fit_and_count(self, *arguments, callbacks, **options):
        count = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: epochs.append(epoch))
        return fit(self, *arguments, callbacks=[*callbacks, count], **options)

    monkeypatch.setattr(keras.Sequential, "fit", fit_until_cut)
    with pytest.raises(KeyboardInterrupt):
        run_demo(SMALL, tmp_path)
    assert not (tmp_path / "model.keras").exists()
    (tmp_path / "history.csv").write_text("epoch,loss\n7,1.0\n")  # of another training
    monkeypatch.setattr(keras.Sequential, "fit", fit_and_count)
    run_demo(SMALL, tmp_path)
    assert epochs == [2]
    with (tmp_path / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2"]


def test_missing_library_is_reported_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "OPTIONAL", (("surely_not_installed", "cosmology"),))
    with pytest.raises(ImportError, match=r"deepsphere-keras\[cosmology\]"):
        run_demo(SMALL, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("arguments", [{"epochs": 0}, {"batch_size": -1}])
def test_bad_numbers(arguments):
    with pytest.raises(ValueError, match="must be at least 1, got"):
        Demo(**arguments)
