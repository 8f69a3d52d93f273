import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from deepsphere.layers import ChebyshevConv
from deepsphere.models import Sequential
from deepsphere.resume import Resume, state_files
from deepsphere.sampling import Healpix
from harness import BACKEND, QUICK

X = np.random.default_rng(0).standard_normal((6, 48, 1)).astype("float32")
Y = np.random.default_rng(1).standard_normal((6, 2)).astype("float32")


def network(filters=2, rate=1e-2):
    keras.utils.set_random_seed(1)
    layers = [ChebyshevConv(filters, 1), keras.layers.Flatten(), keras.layers.Dropout(0.5)]
    model = Sequential(Healpix(2), [*layers, keras.layers.Dense(2)])
    model.build((None, 48, 1))
    model.compile(keras.optimizers.Adam(rate), "mse", **QUICK)
    return model


def fit(folder, epochs, model=None, callbacks=(), **options):
    model = network() if model is None else model
    resume = Resume(folder, callbacks)
    options = {"batch_size": 2, "verbose": 0, "callbacks": [resume], **options}
    return model, model.fit(X, Y, epochs=epochs, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("whole"), 5)


def assert_equal(a, b):
    for one, other in zip(a[0].get_weights(), b[0].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert a[1].history == b[1].history
    assert a[1].epoch == b[1].epoch


def test_a_resumed_training_ends_as_a_whole_one(tmp_path, whole):
    fit(tmp_path, 2)
    fit(tmp_path, 4)
    assert_equal(fit(tmp_path, 5), whole)
    assert [path.name for path in state_files(tmp_path)] == ["epoch-000005.zip", "epoch-000004.zip"]
    assert_equal(fit(tmp_path, 5), whole)  # nothing left to do


def test_order_of_examples_does_not_depend_on_other_draws(tmp_path, whole):
    model = network()
    np.random.default_rng()
    np.random.permutation(7)  # noqa: NPY002
    assert_equal(fit(tmp_path, 5, model), whole)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "zeros"])
def test_a_damaged_state_is_not_used(damage, tmp_path, whole):
    fit(tmp_path, 3)
    last = state_files(tmp_path)[0]
    content = last.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    last.write_bytes(
        {"empty": b"", "cut": content[:middle], "flipped": flipped, "zeros": bytes(len(content))}[
            damage
        ]
    )
    with pytest.warns(UserWarning, match="resuming after epoch 2, because later states"):
        result = fit(tmp_path, 5)
    assert_equal(result, whole)


def test_a_training_never_begins_anew_in_silence(tmp_path):
    fit(tmp_path, 2)
    for path in state_files(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(OSError, match=r"no training state in .* can be read; delete"):
        fit(tmp_path, 3)


def test_another_training_is_refused(tmp_path):
    fit(tmp_path, 1)
    with pytest.raises(ValueError, match=r"another training: model/.*filters was 2 and is 3"):
        fit(tmp_path, 2, network(filters=3))
    with pytest.raises(ValueError, match=r"compiled/optimizer/.*learning_rate was 0\.0"):
        fit(tmp_path, 2, network(rate=0.5))
    with pytest.raises(ValueError, match="callbacks"):
        fit(tmp_path, 2, callbacks=[keras.callbacks.TerminateOnNaN()])
    with pytest.raises(ValueError, match="steps per epoch was 3 and is 2"):
        fit(tmp_path, 2, batch_size=3)
    with pytest.raises(ValueError, match="must not contain another Resume"):
        Resume(tmp_path, [Resume(tmp_path)])


class Count(keras.callbacks.Callback):
    """Count what it is told."""

    def __init__(self):
        super().__init__()
        self.batches = self.epochs = self.tests = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1

    def on_test_end(self, logs=None):
        self.tests += 1

    def on_epoch_end(self, epoch, logs=None):
        self.epochs += 1


def others(folder):
    return [
        keras.callbacks.CSVLogger(str(folder / "log.csv")),
        keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=10),
        keras.callbacks.EarlyStopping(
            "loss", patience=3, min_delta=10, restore_best_weights=True, start_from_epoch=1
        ),
        Count(),
    ]


def test_other_callbacks_go_on(tmp_path):
    results, counts = [], []
    for name, stops in (("whole", (9,)), ("parts", (2, 3, 9, 9))):
        folder = tmp_path / name
        folder.mkdir()
        for epochs in stops:
            callbacks = others(folder)
            options = {"validation_data": (X, Y)}
            result = fit(folder / "states", epochs, None, callbacks, **options)
        results.append(result)
        counts.append(vars(callbacks[-1])["epochs"])
        assert callbacks[-1].batches == 3 * callbacks[-1].epochs
        assert callbacks[-1].tests == callbacks[-1].epochs
    assert_equal(*results)
    assert counts == 2 * [len(results[0][1].epoch)]
    assert 3 < counts[0] < 9  # stopped early
    logs = [(tmp_path / name / "log.csv").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1]
    assert float(results[1][0].optimizer.learning_rate) < 1e-2


def test_a_full_disk_keeps_the_states_before(tmp_path, monkeypatch, whole):
    fit(tmp_path, 2)

    def no_space(folder, size):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("deepsphere.resume.require_space", no_space)
        with pytest.raises(OSError, match="No space left"):
            fit(tmp_path, 5)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "epoch-000001.zip",
        "epoch-000002.zip",
    ]
    assert_equal(fit(tmp_path, 5), whole)


def test_a_state_that_was_written_wrong_takes_no_place(tmp_path, monkeypatch):
    fit(tmp_path, 1)
    write = zipfile.ZipFile.writestr
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "writestr", lambda self, n, data: write(self, n, data[:-9]))
        with pytest.raises((ValueError, OSError, EOFError)):
            fit(tmp_path, 2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["epoch-000001.zip"]


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / ".epoch-000001-abc.zip").write_bytes(b"half")
    fit(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000001.zip"]


def test_an_unseeded_order_is_warned_of(tmp_path):
    code = f"""
import keras, numpy as np
from deepsphere.resume import Resume
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.ones((2, 2)), np.ones((2, 1)), verbose=0, callbacks=[Resume({str(tmp_path)!r})])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True
    )
    assert ("no random seed is set" in done.stderr) == (BACKEND == "tensorflow")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="no random seed")
        fit(tmp_path / "seeded", 1)


def test_killed_trainings_end_as_whole_ones():
    script = Path(__file__).parent / "support" / "killed_training.py"
    command = [sys.executable, str(script), "--kills", "3", "--epochs", "8"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "weights and losses equal; logs equal" in done.stdout
