import json
import os
import subprocess
import sys
import zipfile

import keras
import pytest

import deepsphere
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


def test_a_missing_backend_starts_no_process_after_process(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(cli, "_current_backend", lambda: None)
    monkeypatch.setattr(subprocess, "run", None)  # cannot be called
    monkeypatch.delattr(deepsphere, "models")
    monkeypatch.setattr(deepsphere, "_missing_backend", "jax", raising=False)
    assert cli.main(["demo", "--backend", "jax", "--output", str(tmp_path)]) == 1
    assert "Keras' backend 'jax', which is not installed" in capsys.readouterr().err


@pytest.fixture
def saved(tmp_path):
    layers = [ChebyshevConv(3, 2), Pool(), Statistics(), keras.layers.Dense(2)]
    model = Sequential(Healpix(4), layers, neighbors=8, name="small")
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
        (text, "is not a model as model.save('....keras') writes it"),
        (damaged, "cannot be loaded: "),
        (foreign, "has no layer of DeepSphere"),
    ):
        assert cli.main(["info", str(path)]) == 2
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
    assert "2 of 2: normalized Laplacian, 8 neighbours" in printed.err
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
    assert " 12 " in printed  # 5.5e-3 at nside 32, with 8 neighbours 1.3e-2
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


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="one pair of backends shows it")
@pytest.mark.parametrize("other", OTHERS[-1:])
def test_demo_on_another_backend(other, tmp_path):
    """The command starts anew where Keras has already taken another backend."""
    command = [sys.executable, "-m", "deepsphere.cli", "demo", "--output", str(tmp_path)]
    small = ["--nside", "8", "--maps", "4", "--epochs", "1", "--backend", other]
    subprocess.run(
        [*command, *small],
        env={**os.environ, "KERAS_BACKEND": BACKEND},
        check=True,
        capture_output=True,
    )
    assert json.loads((tmp_path / "metrics.json").read_text())["backend"] == other
