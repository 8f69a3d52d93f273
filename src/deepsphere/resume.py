"""`Resume`, a callback that continues interrupted training."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import warnings
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from deepsphere._files import replacing, require_space
from deepsphere.models.weight_files import size_of_weights
from deepsphere.ops.randomness import (
    random_variables,
    seed_shuffling,
    shuffles_without_seed,
)

KEPT = 2
"""Number of states on disk: the last, and the one before in case the last is damaged."""

STATE = "state.json"
ARRAYS = "arrays.npz"
WEIGHTS = "model.weights.h5"


class Resume(keras.callbacks.Callback):
    """Save the state of training after each epoch, and resume from it in the next run.

    A run that is killed at any moment and restarted ends with the same weights as an uninterrupted
    one. The callback restores weights, optimizer and epoch, all random states, the order of the
    examples, the other callbacks and the history.

    The state after each epoch is one file, written under a temporary name, flushed to disk and
    renamed. The last two files are kept. Each file is verified before use: if the last one is
    damaged, training resumes from the one before with a warning; if all are, the callback raises
    OSError instead of silently restarting.

    Parameters
    ----------
    folder : path
        Directory for the states of this training only. It is not deleted at the end, because the
        model is not saved yet; delete it when you no longer need it. Running a finished training
        again only restores its final state.
    callbacks : sequence of keras.callbacks.Callback, optional
        Callbacks whose state to save, such as `keras.callbacks.EarlyStopping`,
        `keras.callbacks.ReduceLROnPlateau` or `keras.callbacks.CSVLogger`. Pass them to `Resume`
        instead of `fit`. They run before the state is written.
    seed : int, default 0
        Seed of the order of the examples, which depends only on `seed` and the epoch.

    Raises
    ------
    ValueError
        If `callbacks` contains a `Resume`. When training begins: if the folder holds states of
        another model, other arguments of `compile`, other callbacks, another backend or another
        number of steps per epoch, or if it holds states and the model is not built.
    OSError
        If no state in the folder can be read, or a state cannot be written.

    Notes
    -----
    `keras.Model.fit` orders the examples by NumPy's global random state on JAX and by PyTorch's on
    PyTorch. The callback seeds both, and Python's, at the start of each epoch. TensorFlow's data
    sets take their seed when `fit` creates them: call `keras.utils.set_random_seed` before it,
    which also fixes the initial weights; otherwise a warning says that the order will differ after
    resuming. Your own generators and data sets must start each epoch independently of the epochs
    before.

    `keras.callbacks.BackupAndRestore` overwrites its only file and saves no random state.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> keras.utils.set_random_seed(1)
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> folder = tempfile.mkdtemp()
    >>> _ = model.fit(x, y, epochs=2, callbacks=[Resume(folder)], verbose=0)
    >>> len(model.fit(x, y, epochs=3, callbacks=[Resume(folder)], verbose=0).history["loss"])
    3
    """

    def __init__(
        self,
        folder: str | Path,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.callbacks = list(callbacks)
        if any(isinstance(callback, Resume) for callback in self.callbacks):
            raise ValueError("callbacks must not contain another Resume")
        self.seed = int(seed)
        for name in _BATCH_HOOKS:  # Keras calls a hook at every batch only if it is overridden
            if any(_overrides(callback, name) for callback in self.callbacks):
                setattr(self, name, self._forward(name))

    def set_model(self, model: keras.Model) -> None:
        """Set the model of this and the other callbacks."""
        super().set_model(model)
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        """Set the training parameters of this and the other callbacks."""
        super().set_params(params)
        for callback in self.callbacks:
            callback.set_params(params)

    def _forward(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> None:
            for callback in self.callbacks:
                getattr(callback, name)(*arguments, **options)

        return call

    def on_test_begin(self, logs: Any = None) -> None:
        """Call the other callbacks."""
        self._forward("on_test_begin")(logs)

    def on_test_end(self, logs: Any = None) -> None:
        """Call the other callbacks."""
        self._forward("on_test_end")(logs)

    def on_train_begin(self, logs: Any = None) -> None:
        """Restore the last state, if there is one."""
        self._identity = {
            **_identity(self.model, (self.params or {}).get("steps")),
            "callbacks": [type(callback).__name__ for callback in self.callbacks],
        }
        self._epochs: list[dict[str, Any]] = []
        self.model._initial_epoch = None
        self._pending: dict[str, Any] | None = None
        if shuffles_without_seed():
            warnings.warn(
                "no random seed is set, so TensorFlow will shuffle in another order after "
                "resuming; call keras.utils.set_random_seed before fit",
                stacklevel=2,
            )
        state = self._restore()
        if state is not None:
            for callback in self.callbacks:
                if isinstance(callback, keras.callbacks.CSVLogger):
                    _keep_rows(callback, state["epoch"])
        self._forward("on_train_begin")(logs)
        self._before = [_settings(callback) for callback in self.callbacks]
        self._pending = state

    def _restore(self) -> dict[str, Any] | None:
        files = state_files(self.folder)
        if not files:
            return None
        errors = []
        for path in files:
            try:
                state, arrays, weights = _read(path)
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                errors.append(f"{path}: {error}")
                continue
            if errors:
                warnings.warn(
                    f"resuming after epoch {state['epoch']}, because later states cannot be read: "
                    f"{'; '.join(errors)}",
                    stacklevel=3,
                )
            self._refuse_another(state["identity"], path)
            _load(self.model, weights, arrays)
            self._epochs = state["epochs"]
            finished = self.params["epochs"] if state["stopped"] else state["epoch"]
            # `fit` starts at this epoch; Keras' `BackupAndRestore` sets it too.
            self.model._initial_epoch = finished
            return {**state, "arrays": arrays}
        raise OSError(
            f"no training state in {self.folder} can be read; delete the folder to start again: "
            + "; ".join(errors)
        )

    def _refuse_another(self, identity: dict[str, Any], path: Path) -> None:
        difference = _first_difference(identity, self._identity)
        if difference is not None:
            raise ValueError(
                f"{path} is the state of another training: {difference}. Train the same model, or "
                "choose another folder for Resume"
            )
        if not self.model.built:
            raise ValueError(
                f"{self.folder} contains a training state, but the model is not built; build it "
                "before fit, as in model.build((None, pixels, channels))"
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Seed the order of the examples."""
        self._resume_others()
        seed_shuffling(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))
        self._forward("on_epoch_begin")(epoch, logs)

    def _resume_others(self) -> None:
        # Not earlier, because other callbacks reset their state in `on_train_begin`.
        state, self._pending = self._pending, None
        if state is None:
            return
        for i, (callback, settings) in enumerate(
            zip(self.callbacks, state["callbacks"], strict=True)
        ):
            # Callbacks that monitor a metric set its direction late, which resets the best value.
            if settings and hasattr(callback, "_set_monitor_op"):
                with contextlib.suppress(ValueError):
                    callback._set_monitor_op()
            for name, value in settings.items():
                setattr(callback, name, _decoded(value, state["arrays"], f"callback/{i}/{name}"))
        history = getattr(self.model, "history", None)
        if isinstance(history, keras.callbacks.History):
            history.epoch = [entry["epoch"] for entry in self._epochs]
            history.history = {}
            for entry in self._epochs:
                for name, value in entry["logs"].items():
                    history.history.setdefault(name, []).append(value)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the state."""
        self._forward("on_epoch_end")(epoch, logs)
        measures = {name: float(np.asarray(value)) for name, value in (logs or {}).items()}
        self._epochs.append({"epoch": epoch, "logs": measures})
        arrays = {
            f"random/{i}": np.array(keras.ops.convert_to_numpy(variable.value))
            for i, variable in enumerate(random_variables(self.model))
        }
        settings = []
        for i, (callback, before) in enumerate(zip(self.callbacks, self._before, strict=True)):
            changed = {
                name: value
                for name, value in _settings(callback).items()
                if not _same(value, before.get(name, _settings))
            }
            settings.append(
                {name: _encoded(v, arrays, f"callback/{i}/{name}") for name, v in changed.items()}
            )
        state = {
            "epoch": epoch + 1,
            "stopped": bool(self.model.stop_training),
            "identity": self._identity,
            "epochs": self._epochs,
            "callbacks": settings,
        }
        _write(self.folder / f"epoch-{epoch + 1:06d}.zip", self.model, state, arrays)
        for old in state_files(self.folder)[KEPT:]:
            old.unlink(missing_ok=True)

    def on_train_end(self, logs: Any = None) -> None:
        """Call the other callbacks."""
        self._resume_others()  # if no epoch was left to train
        self.model._initial_epoch = None
        self._forward("on_train_end")(logs)


_BATCH_HOOKS = (
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_batch_begin",
    "on_test_batch_end",
)


def state_files(folder: Path) -> list[Path]:
    """Return the state files of `Resume` in a folder, newest first."""
    return sorted(folder.glob("epoch-*.zip"), reverse=True)


def _overrides(callback: keras.callbacks.Callback, name: str) -> bool:
    return getattr(type(callback), name) is not getattr(keras.callbacks.Callback, name)


def _write(
    path: Path, model: keras.Model, state: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(".epoch-*.zip"):  # leftovers of runs killed while writing
        left.unlink(missing_ok=True)
    with (
        TemporaryDirectory() as folder,
        replacing(path) as temporary,
    ):
        weights = Path(folder) / WEIGHTS
        require_space(Path(folder), size_of_weights(model))
        keras.Model.save_weights(model, weights)
        buffer = BytesIO()
        named: dict[str, Any] = {name.replace("/", "|"): array for name, array in arrays.items()}
        np.savez(buffer, **named)
        with zipfile.ZipFile(temporary, "w") as archive:  # with a checksum of each member
            archive.write(weights, WEIGHTS)
            archive.writestr(ARRAYS, buffer.getvalue())
            archive.writestr(STATE, json.dumps(state))
        _read(temporary)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], bytes]:
    with zipfile.ZipFile(path) as archive:  # reading a member verifies its checksum
        state = json.loads(archive.read(STATE))
        with np.load(BytesIO(archive.read(ARRAYS)), allow_pickle=False) as file:
            arrays = {name.replace("|", "/"): file[name] for name in file.files}
        return state, arrays, archive.read(WEIGHTS)


def _load(model: keras.Model, weights: bytes, arrays: dict[str, np.ndarray]) -> None:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)
    with TemporaryDirectory() as folder:
        path = Path(folder) / WEIGHTS
        path.write_bytes(weights)
        keras.Model.load_weights(model, path)
    for i, variable in enumerate(random_variables(model)):
        variable.assign(arrays[f"random/{i}"])


def _identity(model: keras.Model, steps: int | None) -> dict[str, Any]:
    """Return, as JSON data, the properties that a resumed run must share."""
    described = {
        "backend": keras.backend.backend(),
        "steps per epoch": steps,
        "model": _described(model.get_config),
        "compiled": _described(model.get_compile_config),
    }
    return json.loads(json.dumps(described, default=str))


def _described(get: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _without_counters(get())
        except (NotImplementedError, TypeError, ValueError):  # what Keras cannot serialize
            return None


def _without_counters(value: Any) -> Any:
    """Strip the counters from Keras' names, because ``dense_3`` may be ``dense`` in another run."""
    if isinstance(value, dict):
        return {key: _without_counters(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_counters(item) for item in value]
    return re.sub(r"_\d+$", "", value) if isinstance(value, str) else value


def _first_difference(before: Any, now: Any, path: str = "") -> str | None:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            found = _first_difference(before.get(key), now.get(key), f"{path}/{key}".lstrip("/"))
            if found is not None:
                return found
        return None
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for i, pair in enumerate(zip(before, now, strict=True)):
            found = _first_difference(*pair, f"{path}/{i}")
            if found is not None:
                return found
        return None
    if before == now or (path == "steps per epoch" and None in (before, now)):
        return None
    return f"{path} was {_short(before)} and is {_short(now)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _settings(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return the attributes of a callback that can be saved: numbers, strings, arrays, lists."""
    return {
        name: list(value) if isinstance(value, (list, tuple)) else value
        for name, value in vars(callback).items()
        if name not in ("params", "_model", "validation_data") and _can_be_kept(value)
    }


def _can_be_kept(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_can_be_kept(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str, np.generic, np.ndarray))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a is b
    return type(a) is type(b) and a == b


def _encoded(value: Any, arrays: dict[str, np.ndarray], key: str) -> Any:
    if isinstance(value, list):
        return [_encoded(item, arrays, f"{key}/{i}") for i, item in enumerate(value)]
    if isinstance(value, np.ndarray):
        arrays[key] = value
        return {"array": key}
    return value.item() if isinstance(value, np.generic) else value


def _decoded(value: Any, arrays: dict[str, np.ndarray], key: str) -> Any:
    if isinstance(value, list):
        return [_decoded(item, arrays, f"{key}/{i}") for i, item in enumerate(value)]
    return arrays[value["array"]] if isinstance(value, dict) else value


def _keep_rows(logger: keras.callbacks.CSVLogger, epoch: int) -> None:
    """Let a logger append to its file after the rows of completed epochs."""
    path = Path(logger.filename)
    logger.append = True
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter=logger.sep))
    kept = rows[:1] + [row for row in rows[1:] if row and row[0].isdigit() and int(row[0]) < epoch]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=logger.sep).writerows(kept)
