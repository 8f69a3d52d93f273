"""What users may give as ``neighbors`` and ``laplacian``, and how it is written."""

import json

import numpy as np
import pytest

from deepsphere.graph import Nearest, Optimal, check_edges, check_kind, choice_as_written, plain

AUTO = Nearest("auto", equivariance=1e-4)


@pytest.mark.parametrize("choice", [8, "mesh", "grid", "adjacent", Nearest(8, "average"), AUTO])
def test_edges_survive_writing(choice):
    assert check_edges(json.loads(json.dumps(plain(choice)))) == choice


@pytest.mark.parametrize("choice", ["normalized", "optimal", Optimal(1.5), Optimal(symmetric=True)])
def test_kinds_survive_writing(choice):
    assert check_kind(json.loads(json.dumps(plain(choice)))) == choice


def test_equal_choices_are_equal():
    assert check_edges(Nearest(8)) == 8
    assert check_kind(Optimal()) == "optimal"
    assert hash(Nearest(8, 1)) == hash(Nearest(8, 1.0))
    assert Nearest("auto", equivariance=np.float64(1e-4)) == AUTO
    assert type(Nearest("auto", equivariance=np.float32(0.5)).equivariance) is float  # as JSON has
    assert hash(Nearest("auto", equivariance=1)) == hash(Nearest("auto", equivariance=1.0))
    assert Nearest("auto", equivariance=1e-5) != AUTO
    assert check_edges(AUTO) == AUTO


def test_only_what_was_said_is_written():
    assert plain(Nearest(8, 0.1)) == {"neighbors": 8, "width": 0.1}
    assert plain(8) == plain(Nearest(8)) == {"neighbors": 8, "width": "tuned"}
    assert plain(Nearest(8, spread=False))["spread"] is False
    assert plain(AUTO)["equivariance"] == 1e-4


def test_a_bare_number_was_written_when_it_meant_the_nearest():
    old = {"neighbors": 20, "laplacian": "normalized", "order": 4}
    read = choice_as_written(old)
    assert check_edges(read["neighbors"]) == Nearest(20, spread=False)
    assert {**read, "neighbors": 20} == old
    for new in (plain(20), plain(Nearest(8, 0.1)), "mesh", None):
        assert choice_as_written({"neighbors": new}) == {"neighbors": new}
    assert check_edges(plain(20)) == 20
    assert choice_as_written({"order": 4}) == {"order": 4}


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: check_edges("nearest"), ValueError, "one of mesh, grid, adjacent; got 'nearest'"),
        (lambda: check_edges(8.0), TypeError, "neighbors must be an integer, got 8.0"),
        (lambda: check_edges(0), ValueError, "neighbors must be at least 1, got 0"),
        (lambda: Nearest(8, "wide"), ValueError, "width must be positive or .*; got 'wide'"),
        (lambda: Nearest(8, -1), ValueError, "width must be positive or .*; got -1"),
        (lambda: Nearest("auto"), ValueError, r"needs .* Nearest\('auto', equivariance=1e-4\)"),
        (lambda: check_edges("auto"), ValueError, r"Nearest\('auto', equivariance=1e-4\)"),
        (lambda: Nearest("all"), TypeError, "must be an integer or 'auto', got 'all'"),
        (lambda: Nearest(8, equivariance=0.1), ValueError, "0.1 is for .* got neighbors=8"),
        (lambda: Nearest("auto", equivariance=2), ValueError, "below 2, got 2"),
        (lambda: Nearest("auto", equivariance=True), TypeError, "a number, got True"),
        (lambda: Nearest("auto", equivariance="1e-4"), TypeError, "a number, got '1e-4'"),
        (lambda: Nearest("auto", 0.1, equivariance=0.1), ValueError, "width .* got 0.1"),
        (lambda: Optimal(0.1), ValueError, "band_limit must be from 0.25 to 4 .* got 0.1"),
        (lambda: Optimal("2"), TypeError, "band_limit must be a number, got '2'"),
        (lambda: check_kind("best"), ValueError, "kind must be Optimal.* or one of .*; got 'best'"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
