"""`Graph`: valid combinations of arguments, equality, and serialization."""

import json
import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from deepsphere.graph import Graph, Optimal
from deepsphere.graph.spec import as_graph, graph_config, with_graph

GRAPHS = [
    Graph(),
    Graph(8),
    Graph(edges="mesh"),
    Graph(edges="grid", laplacian="combinatorial"),
    Graph(edges="adjacent", laplacian=Optimal(1.5)),
    Graph(8, width="average"),
    Graph(8, width=0.1, spread=False),
    Graph(12, spread=True, laplacian="optimal"),
    Graph(laplacian=Optimal(symmetric=True)),
    Graph(max_error=1e-4, laplacian="random_walk"),
    Graph(max_error=1e-4, width="average", spread=True),
]


def test_defaults():
    graph = Graph()
    assert (graph.neighbors, graph.edges, graph.width) == (20, "nearest", "tuned")
    assert (graph.spread, graph.laplacian, graph.max_error) == (None, None, None)
    assert Graph(max_error=0.1).neighbors is None
    assert Graph(edges="mesh").neighbors is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Graph(), Graph(20)),
        (Graph(20), Graph(neighbors=np.int64(20))),
        (Graph(8, width=1), Graph(8, width=1.0)),
        (Graph(8, spread=np.True_), Graph(8, spread=True)),
        (Graph(laplacian=Optimal()), Graph(laplacian="optimal")),
        (Graph(laplacian=Optimal(1)), Graph(laplacian=Optimal(1.0))),
        (Graph(max_error=1), Graph(max_error=1.0)),
        (Graph(max_error=np.float64(1e-4)), Graph(max_error=1e-4)),
    ],
    ids=repr,
)
def test_what_is_equal_has_one_hash_and_one_form(one, other):
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == repr(other)
    assert json.dumps(one.get_config()) == json.dumps(other.get_config())


def test_what_differs_in_any_argument_is_unequal():
    assert len(set(GRAPHS)) == len(GRAPHS)
    assert Graph(8, spread=False) != Graph(8)  # which a grid takes for True


def test_graphs_do_not_change():
    with pytest.raises(FrozenInstanceError):
        Graph().neighbors = 8


@pytest.mark.parametrize("graph", GRAPHS, ids=repr)
def test_graphs_survive_writing(graph):
    written = json.loads(json.dumps(graph.get_config()))
    assert Graph.from_config(written) == as_graph(written) == graph
    assert None not in written.values()


@pytest.mark.parametrize("graph", GRAPHS, ids=repr)
def test_the_representation_makes_the_graph(graph):
    assert eval(repr(graph), {"Graph": Graph, "Optimal": Optimal}) == graph


def test_the_representation_says_what_is_not_the_default():
    assert repr(Graph()) == "Graph(20)"
    assert repr(Graph(edges="mesh")) == "Graph(edges='mesh')"
    assert repr(Graph(8, spread=True, laplacian="optimal")) == (
        "Graph(8, spread=True, laplacian='optimal')"
    )
    assert repr(Graph(max_error=1e-4)) == "Graph(max_error=0.0001)"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Graph()),
        (8, Graph(8)),
        (np.int64(8), Graph(8)),
        ("mesh", Graph(edges="mesh")),
        ("grid", Graph(edges="grid")),
        ("adjacent", Graph(edges="adjacent")),
        (Graph(8), Graph(8)),
        ({"neighbors": 8}, Graph(8)),
    ],
    ids=repr,
)
def test_shorthands(given, expected):
    assert as_graph(given) == expected


def test_what_layers_write():
    assert graph_config(None) is None
    assert graph_config(Graph(8)) == {"neighbors": 8, "edges": "nearest", "width": "tuned"}


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        ({"neighbors": None, "laplacian": None}, None),
        ({"neighbors": None}, None),
        # A bare number was written when it meant the nearest, also on grids.
        ({"neighbors": 8}, Graph(8, spread=False)),
        (
            {"neighbors": 20, "laplacian": "normalized"},
            Graph(20, spread=False, laplacian="normalized"),
        ),
        ({"neighbors": {"neighbors": 8, "width": "tuned"}, "laplacian": None}, Graph(8)),
        (
            {"neighbors": {"neighbors": 8, "width": 0.1, "spread": True}, "laplacian": "optimal"},
            Graph(8, width=0.1, spread=True, laplacian="optimal"),
        ),
        (
            {"neighbors": {"neighbors": "auto", "width": "tuned", "equivariance": 1e-4}},
            Graph(max_error=1e-4),
        ),
        ({"neighbors": "mesh", "laplacian": None}, Graph(edges="mesh")),
        ({"neighbors": None, "laplacian": "optimal"}, Graph(laplacian="optimal")),
        (
            {"neighbors": None, "laplacian": {"band_limit": 1.5, "symmetric": False}},
            Graph(laplacian=Optimal(1.5)),
        ),
    ],
    ids=str,
)
def test_configurations_of_before_there_was_one_value(old, expected):
    given = {**old, "order": 4}
    kept = json.dumps(given)
    read = with_graph(given)
    assert set(read) == {"graph", "order"}
    assert (None if read["graph"] is None else as_graph(read["graph"])) == expected
    assert json.dumps(given) == kept


@pytest.mark.parametrize("config", [{"graph": {"neighbors": 8}, "order": 4}, {"order": 4}])
def test_other_configurations_stay_as_they_are(config):
    assert with_graph(config) == config


def test_number_of_neighbors():
    assert Graph(8).neighbor_count == 8
    for graph in (Graph(max_error=0.1), Graph(edges="mesh")):
        with pytest.raises(ValueError, match=f"^{re.escape(repr(graph))} has no number"):
            _ = graph.neighbor_count


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: Graph(0), ValueError, "neighbors must be at least 1, got 0"),
        (lambda: Graph(8.0), TypeError, "neighbors must be an integer, got 8.0"),
        (lambda: Graph(True), TypeError, "neighbors must be an integer, got True"),
        (lambda: Graph("auto"), TypeError, "neighbors must be an integer, got 'auto'"),
        (lambda: Graph(edges="all"), ValueError, "edges must be one of nearest, .*; got 'all'"),
        (lambda: Graph(edges=8), ValueError, "edges must be one of nearest, .*; got 8"),
        (lambda: Graph(8, width="wide"), ValueError, "width must be positive or .*; got 'wide'"),
        (lambda: Graph(8, width=-1), ValueError, "width must be positive or .*; got -1"),
        (lambda: Graph(8, width=True), ValueError, "width must be positive or .*; got True"),
        (lambda: Graph(8, spread=1), TypeError, "spread must be True, False or None, got 1"),
        (lambda: Graph(max_error=0), ValueError, "above 0 and below 2, got 0"),
        (lambda: Graph(max_error=2), ValueError, "above 0 and below 2, got 2"),
        (lambda: Graph(max_error=np.nan), ValueError, "above 0 and below 2, got nan"),
        (lambda: Graph(max_error=True), TypeError, "max_error must be a number, got True"),
        (lambda: Graph(max_error="1e-4"), TypeError, "max_error must be a number, got '1e-4'"),
        (lambda: Graph(laplacian="best"), ValueError, "Optimal.* or one of .*; got 'best'"),
        (lambda: Graph(laplacian=8), ValueError, "Optimal.* or one of .*; got 8"),
        (lambda: Optimal(0.1), ValueError, "band_limit must be from 0.25 to 4 .* got 0.1"),
        (lambda: Optimal("2"), TypeError, "band_limit must be a number, got '2'"),
    ],
)
def test_wrong_values(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"neighbors": 8, "max_error": 0.1}, "chooses the number of .*, got neighbors=8; give one"),
        ({"width": 0.1, "max_error": 0.1}, "width must be one of tuned, average .*; got 0.1"),
        ({"neighbors": 8, "edges": "mesh"}, "neighbors=8 requires edges='nearest', got .*'mesh'"),
        ({"spread": False, "edges": "mesh"}, "spread=False requires edges='nearest'"),
        ({"max_error": 0.1, "edges": "grid"}, "max_error=0.1 requires edges='nearest'"),
        ({"width": "average", "edges": "mesh"}, "width='average' requires edges='nearest'"),
    ],
    ids=str,
)
def test_what_does_not_go_together(arguments, match):
    with pytest.raises(ValueError, match=match):
        Graph(**arguments)


WANTED = "graph must be a Graph, a number of nearest neighbors or one of mesh, grid, adjacent; got "


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ("mush", ValueError, "'mush'"),
        ("nearest", ValueError, "'nearest'"),
        ("optimal", ValueError, "a Laplacian, 'optimal': use graph=Graph(laplacian='optimal')"),
        (Optimal(1.0), TypeError, "use graph=Graph(laplacian=Optimal(band_limit=1.0"),
        (8.0, TypeError, "8.0"),
        (True, TypeError, "True"),
        (Graph, TypeError, "<class"),
        ([8], TypeError, "[8]"),
        (0, ValueError, "neighbors must be at least 1, got 0"),
    ],
    ids=str,
)
def test_what_is_no_graph(given, error, match):
    with pytest.raises(error, match=re.escape(match)) as caught:
        as_graph(given)
    assert str(caught.value).startswith(WANTED) or given == 0
