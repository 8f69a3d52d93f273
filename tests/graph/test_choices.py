"""What users may give as ``neighbors`` and ``laplacian``, and how it is written."""

import json

import pytest

from deepsphere.graph import Nearest, Optimal, check_edges, check_kind, plain


@pytest.mark.parametrize("choice", [8, "mesh", "grid", "adjacent", Nearest(8, "average")])
def test_edges_survive_writing(choice):
    assert check_edges(json.loads(json.dumps(plain(choice)))) == choice


@pytest.mark.parametrize("choice", ["normalized", "optimal", Optimal(1.5), Optimal(symmetric=True)])
def test_kinds_survive_writing(choice):
    assert check_kind(json.loads(json.dumps(plain(choice)))) == choice


def test_equal_choices_are_equal():
    assert check_edges(Nearest(8)) == 8
    assert check_kind(Optimal()) == "optimal"
    assert hash(Nearest(8, 1)) == hash(Nearest(8, 1.0))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: check_edges("nearest"), ValueError, "one of mesh, grid, adjacent; got 'nearest'"),
        (lambda: check_edges(8.0), TypeError, "neighbors must be an integer, got 8.0"),
        (lambda: check_edges(0), ValueError, "neighbors must be at least 1, got 0"),
        (lambda: Nearest(8, "wide"), ValueError, "width must be positive or .*; got 'wide'"),
        (lambda: Nearest(8, -1), ValueError, "width must be positive or .*; got -1"),
        (lambda: Optimal(0.1), ValueError, "band_limit must be from 0.25 to 4 .* got 0.1"),
        (lambda: Optimal("2"), TypeError, "band_limit must be a number, got '2'"),
        (lambda: check_kind("best"), ValueError, "kind must be Optimal.* or one of .*; got 'best'"),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
