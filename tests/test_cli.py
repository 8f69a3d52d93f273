import json
import os
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import keras
import pytest

import deepsphere
from deepsphere import _backends as backends
from deepsphere import cli
from deepsphere.layers import ChebyshevConv, Pool, Statistics
from deepsphere.models import Sequential
from deepsphere.sampling import Healpix
from harness import BACKEND, OTHERS


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == deepsphere.__version__


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    listed = capsys.readouterr().out
    assert "demo" in listed
    assert "info" in listed
    assert "equivariance" in listed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nside", "12"], "nside must be a power of two"),
        (["--signal-to-noise", "-1"], "signal_to_noise must be positive"),
        (["--epochs", "0"], "epochs must be at least 1"),
    ],
)
def test_errors_are_one_line(capsys, tmp_path, arguments, message):
    assert cli.main(["demo", "--output", str(tmp_path), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("deepsphere: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.fixture
def without_keras(monkeypatch, tmp_path):
    """Pretend that Keras is not imported and that only the named backends are installed."""
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", None)  # cannot be called

    def install(*names):
        monkeypatch.setattr(backends, "find_spec", lambda name: name if name in names else None)

    return install


def test_the_backend_that_is_asked_for(without_keras):
    without_keras("tensorflow", "jax")
    assert cli._choose_backend("jax")
    assert os.environ["KERAS_BACKEND"] == "jax"


def test_the_only_backend_is_chosen_and_named(without_keras, capsys, tmp_path):
    without_keras("jax")
    assert cli._choose_backend(None)
    assert os.environ["KERAS_BACKEND"] == "jax"
    message = capsys.readouterr().err
    assert "using Keras' backend jax, the only one installed" in message
    assert "set KERAS_BACKEND=jax" in message
    assert cli._choose_backend(None)  # now it is what the user wants
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("installed", "wanted", "variable"),
    [
        (("jax", "torch"), None, None),  # which of them?
        ((), None, None),
        (("jax",), "torch", None),
        (("jax",), None, "torch"),
    ],
)
def test_no_other_backend_than_the_one_asked_for(
    installed, wanted, variable, without_keras, monkeypatch, capsys, tmp_path
):
    without_keras(*installed)
    if variable:
        monkeypatch.setenv("KERAS_BACKEND", variable)
    arguments = ["demo", "--output", str(tmp_path), *(["--backend", wanted] if wanted else [])]
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    missing = wanted or variable or "tensorflow"
    assert error.startswith(f"deepsphere: this command needs Keras' backend '{missing}', which is")
    assert error.count("\n") == 1
    assert os.environ.get("KERAS_BACKEND") == variable


def run(*arguments, **options):
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "deepsphere", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_help_imports_nothing_heavy():
    """The help neither prints TensorFlow's log nor takes half a second of processor time."""
    code = """
import resource, sys
from deepsphere.cli import main
try:
    main(["--help"])
finally:
    heavy = {"keras", "tensorflow", "jax", "torch", "scipy", "numpy"} & set(sys.modules)
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert not heavy, heavy
    assert used.ru_utime + used.ru_stime < 0.5, used
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "usage: deepsphere" in done.stdout


def test_as_a_module():
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == deepsphere.__version__


def test_words_that_are_not_understood():
    done = run("inform")
    assert done.returncode == 2
    assert "invalid choice: 'inform'" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_a_reader_that_went_away(arguments):
    """As with ``| head -0``: no traceback, and the usual exit status."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "deepsphere", *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": ""},  # argparse hides errors of its own writing
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141


def test_an_interruption(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupt)
    assert cli.main([]) == 130
    assert capsys.readouterr().err == "deepsphere: interrupted\n"


def test_no_styles_in_what_is_redirected(monkeypatch, capsys, saved):
    def styled(_):
        print("\x1b[1m3/3\x1b[0m \x1b[32m━━━\x1b[0m\x1b[37m\x1b[0m done")
        return 0

    monkeypatch.setattr(cli, "_info", styled)
    assert cli.main(["info", str(saved)]) == 0
    assert capsys.readouterr().out == "3/3 ━━━ done\n"
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True, raising=False)
    assert cli.main(["info", str(saved)]) == 0
    assert "\x1b[32m" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["demo", "equivariance"])
def test_output_that_cannot_be_written(command, tmp_path, capsys, monkeypatch):
    """The error comes before anything is computed."""
    from deepsphere.analysis import equivariance_table
    from deepsphere.demo import run as demo

    monkeypatch.setattr(demo, "run_demo", None)
    monkeypatch.setattr(equivariance_table, "laplacian_errors", None)
    (tmp_path / "file").write_text("text")
    for name, message in (
        ("file", "is a file; choose a directory for the results"),
        ("file/below", "cannot be written to: Not a directory"),
    ):
        assert cli.main([command, "--output", str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        assert error.startswith("deepsphere: ")
        assert message in error
        assert error.count("\n") == 1

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert cli.main([command, "--output", str(tmp_path / "full")]) == 1
    assert "cannot be written to: No space left on device" in capsys.readouterr().err
    assert list((tmp_path / "full").iterdir()) == []


@pytest.fixture
def saved(tmp_path):
    layers = [ChebyshevConv(3, 2), Pool(), Statistics(), keras.layers.Dense(2)]
    model = Sequential(Healpix(4), layers, graph=8, name="small")
    model.build((None, 192, 1))
    path = tmp_path / "model.keras"
    model.save(path)
    return path


def test_info_prints_an_aligned_table(saved, capsys):
    assert cli.main(["info", str(saved)]) == 0
    head, table = capsys.readouterr().out.split("\n\n")
    assert head.startswith(f"{saved}: small (Sequential)\n")
    assert f"{saved.stat().st_size:,} bytes, saved by Keras {keras.__version__} on" in head
    assert "input (batch, 192, 1) on Healpix(nside=4)\noutput (batch, 2)" in head
    title, *rows, total = table.rstrip("\n").split("\n")
    assert title.startswith("layer ")
    assert title.endswith("pixels  channels  receptive field  parameters  multiply-adds")
    assert [row.split()[1] for row in rows] == ["ChebyshevConv", "Pool", "Statistics", "Dense"]
    assert rows[1].split()[2:5] == ["2", "48", "3"]
    assert rows[0].split()[-3] == "deg"
    assert rows[3].split()[-4:] == ["2", "all", "8", "6"]
    assert total.split()[:2] == ["total", "20"]  # 3 * 3 + 3 and 3 * 2 + 2
    assert len({len(line) for line in (title, *rows, total)}) == 1


def test_info_for_machines(saved, capsys):
    assert cli.main(["info", str(saved), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["inputs"] == [{"shape": [None, 192, 1], "sampling": "Healpix(nside=4)"}]
    assert report["output_shape"] == [None, 2]
    assert report["parameters"] == 20
    layers = report["layers"]
    assert [layer["nside"] for layer in layers] == [4, 2, None, None]
    assert 0 < layers[0]["receptive_field"] < layers[1]["receptive_field"] < 180
    assert layers[2]["receptive_field"] == "all"
    assert report["multiply_adds"] == sum(layer["multiply_adds"] for layer in layers)


def test_info_errors_are_one_line(tmp_path, capsys):
    absent, text, damaged, foreign = (
        tmp_path / name for name in ("absent.keras", "model.h5", "damaged.keras", "foreign.keras")
    )
    text.write_text("text")
    with zipfile.ZipFile(damaged, "w") as archive:
        archive.writestr("metadata.json", "{}")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(foreign)
    for path, message in (
        (absent, "there is no file"),
        (tmp_path, "there is no file"),
        (text, "is not a model saved with model.save('....keras')"),
        (damaged, "cannot be loaded: "),
        (foreign, "has no DeepSphere layer"),
    ):
        assert cli.main(["info", str(path)]) == 1
        error = capsys.readouterr().err
        assert error.startswith("deepsphere: ")
        assert message in error
        assert error.count("\n") == 1


def test_equivariance_prints_a_table_and_writes_files(tmp_path, capsys):
    output = tmp_path / "new" / "directory"
    arguments = ["--nside", "4", "--neighbors", "8", "--laplacian", "normalized"]
    assert cli.main(["equivariance", *arguments, "--output", str(output)]) == 0
    printed = capsys.readouterr()
    head, _, *lines = printed.out.rstrip("\n").split("\n")
    assert head.count("ℓ = ") == 4  # 1, 2, 4, 6
    assert [line.split()[1] for line in lines] == ["combinatorial", "normalized"]
    assert "2 of 2: normalized Laplacian, 8 neighbors" in printed.err
    assert "vertices/s" in printed.err
    table = (output / "equivariance.csv").read_text().splitlines()
    assert len({line.split(",")[4] for line in table[1:]}) > 4  # a curve has more degrees
    assert (output / "equivariance.png").read_bytes().startswith(b"\x89PNG")


def test_equivariance_of_chosen_degrees_and_edges(capsys):
    assert cli.main(["equivariance", "--nside", "4", "--neighbors", "mesh", "--degrees", "3"]) == 0
    assert capsys.readouterr().out.split("\n")[0].count("ℓ = 3") == 1


@pytest.mark.parametrize("sampling", cli.SIZES)
def test_equivariance_of_any_sampling(sampling, capsys):
    size = ["--sampling", sampling, "--nside", "8", "--neighbors", "spread:12", "--degrees", "3"]
    assert cli.main(["equivariance", *size]) == 0
    assert " 12 spread " in capsys.readouterr().out


@pytest.mark.parametrize("sampling", cli.SIZES)
def test_samplings_of_the_command_have_about_as_many_points(sampling):
    # Hierarchies come in factors of 4: at most a factor of 2 off.
    assert 0.5 < len(cli._sampling(sampling, 16)) / (12 * 16**2) < 2


def test_equivariance_of_a_number_that_is_chosen(capsys):
    wanted = ["--neighbors", "auto:0.012", "spread:auto:0.012", "--degrees", "3"]
    assert cli.main(["equivariance", "--nside", "4", *wanted]) == 0
    printed = capsys.readouterr().out
    assert " 12 " in printed  # 5.5e-3 at nside 32, with 8 neighbors 1.3e-2
    assert " 12 spread " in printed


@pytest.mark.parametrize("text", ["auto:", "auto:3", "spread:auto:x", "spread:0"])
def test_equivariance_says_how_numbers_are_chosen(text, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["equivariance", "--nside", "4", "--neighbors", text])
    assert end.value.code == 2
    assert f"{text}: " in capsys.readouterr().err


def test_equivariance_errors_are_one_line(capsys):
    assert cli.main(["equivariance", "--nside", "12"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("deepsphere: nside must be a power of two")
    assert error.count("\n") == 1


@pytest.mark.parametrize("other", OTHERS)
def test_another_backend_needs_another_process(other, monkeypatch):
    """The command starts anew where Keras has already taken another backend."""
    calls = []

    def start(command, env, check):
        calls.append((command, env["KERAS_BACKEND"], check))
        return SimpleNamespace(returncode=3)

    monkeypatch.setattr(cli.subprocess, "run", start)
    arguments = ["demo", "--nside", "8", "--backend", other]
    assert cli.main(arguments) == 3
    assert calls == [([sys.executable, "-m", "deepsphere", *arguments], other, False)]


@pytest.mark.skipif("jax" not in OTHERS, reason="the quickest backend to start")
def test_the_command_runs_on_the_backend_that_is_wanted(saved):
    arguments = ["info", str(saved), "--backend", "jax"]
    code = f"""
from deepsphere.cli import main
print(main({arguments}))
import keras
print(keras.backend.backend())
"""
    environment = {**os.environ, "KERAS_BACKEND": BACKEND}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-2:] == ["0", "jax"]
