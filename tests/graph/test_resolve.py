"""Defaults of a graph, and the smallest number of neighbors for an error."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from deepsphere._cache import clear_cache
from deepsphere.graph import (
    Graph,
    Optimal,
    choose_neighbors,
    edge_weights,
    isotropy_error,
    laplacian,
    rescaled_laplacian,
    resolve,
    resolve_graph,
)
from deepsphere.graph.optimal import UnstableWeightsError
from deepsphere.graph.resolve import CANDIDATES, PART, mean_error, representative
from deepsphere.sampling import (
    CubedSphere,
    Equiangular,
    Fibonacci,
    GaussLegendre,
    Healpix,
    Icosahedral,
    IcosahedralFaces,
    RandomUniform,
    ReducedGaussian,
    Scattered,
)

PART_OF_SPHERE = Healpix(64, np.arange(256))


@pytest.fixture
def coarse(monkeypatch, tmp_path):
    """Measure at a sixteenth of the points, which is quick, without caching."""
    monkeypatch.setattr(resolve, "POINTS", 12 * 8**2)
    monkeypatch.setenv("DEEPSPHERE_CACHE", str(tmp_path / "cache"))
    clear_cache()
    yield tmp_path / "cache"
    clear_cache()


def refuse(*_):
    raise RuntimeError("measured again")


def error(sampling, graph, degrees):
    """Return the geometric mean over degrees, through the public functions."""
    matrix = laplacian(sampling, graph)
    errors = isotropy_error(matrix, sampling.points, degrees, areas=sampling.areas)
    return np.prod(errors) ** (1 / len(degrees))


@pytest.mark.parametrize(
    ("sampling", "kind", "spread"),
    [
        (Healpix(8), "normalized", False),
        (Healpix(8), "random_walk", False),
        (Healpix(8), "optimal", False),
        (Fibonacci(768), "combinatorial", False),
        (Fibonacci(768), Optimal(1.5), False),
        (CubedSphere(11), "combinatorial", False),  # 8 neighbors are better than 12
        (GaussLegendre(19), "optimal", True),
        (Scattered(Healpix(4).points), "combinatorial", False),
    ],
    ids=str,
)
def test_the_least_number_is_taken(coarse, sampling, kind, spread):
    resolution = np.sqrt(len(sampling) / 12)
    degrees = sorted({max(1, int(part * resolution)) for part in (1 / 16, 1 / 4, 1 / 2, 1, 3 / 2)})
    options = {"laplacian": kind, "spread": spread}
    errors = {}
    for count in CANDIDATES:
        try:
            errors[count] = error(sampling, Graph(count, **options), degrees)
        except UnstableWeightsError:
            errors[count] = np.inf
    for wanted in (1e-1, 1e-2, 3e-3, 1e-3, 1e-4, 1e-5, 1e-6):
        graph = Graph(max_error=wanted, **options)
        enough = [count for count in CANDIDATES if errors[count] <= wanted]
        if enough:
            assert choose_neighbors(sampling, graph) == enough[0]
        else:
            with pytest.raises(ValueError, match=f"error of {wanted:g} or less"):
                choose_neighbors(sampling, graph)
    least = min(errors.values())  # is small enough, and a bit less is not
    best = min(errors, key=errors.get)
    within, beyond = (Graph(max_error=least * factor, **options) for factor in (1 + 1e-9, 1 - 1e-9))
    assert choose_neighbors(sampling, within) == best
    with pytest.raises(ValueError, match=f"with {best} neighbors"):
        choose_neighbors(sampling, beyond)


def test_the_published_table():
    # docs/equivariance.md, nside 32: 1.3e-2 with 8 neighbors, 6.3e-4 with optimal weights.
    for wanted, name, expected in (
        (1.4e-2, "combinatorial", 8),
        (1.2e-2, "combinatorial", 12),
        (6.5e-4, "optimal", 8),
        (6.1e-4, "optimal", 12),
    ):
        graph = Graph(max_error=wanted, laplacian=name)
        assert choose_neighbors(Healpix(32), graph) == expected


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Healpix(1), Healpix(32)),
        (Healpix(2048), Healpix(32)),
        (PART_OF_SPHERE, Healpix(32)),
        (Icosahedral(0), Icosahedral(5)),
        (IcosahedralFaces(7), IcosahedralFaces(4)),
        (CubedSphere(12), CubedSphere(24)),
        (CubedSphere(96).subset(np.arange(5)), CubedSphere(24)),
        (CubedSphere(181), CubedSphere(181)),  # which cannot be halved
        (Fibonacci(10**6), Fibonacci(3906)),
        (ReducedGaussian(320), ReducedGaussian(40)),
        (
            Equiangular(721, 1440, "clenshaw-curtis"),
            Equiangular(46, 90, "clenshaw-curtis"),
        ),
        (RandomUniform(100), RandomUniform(100)),
        (Scattered(Healpix(2).points), Scattered(Healpix(2).points)),
    ],
    ids=repr,
)
def test_where_errors_are_measured(sampling, expected):
    assert representative(sampling) == expected
    assert representative(expected) == expected


def test_random_points_are_measured_as_they_are(coarse):
    many = Scattered(Healpix(16).points)  # coarser levels would be other points
    assert representative(many) is many
    with pytest.raises(ValueError, match=r"RandomUniform\(n=192.* a larger max_error"):
        choose_neighbors(RandomUniform(192), Graph(max_error=1e-2, laplacian="combinatorial"))


def test_one_number_at_all_resolutions(coarse, monkeypatch):
    graph = Graph(max_error=3e-3, laplacian="combinatorial")
    number = choose_neighbors(Healpix(8), graph)
    monkeypatch.setattr(resolve, "build_spectral", refuse)
    for sampling in (Healpix(1), Healpix(512), PART_OF_SPHERE):
        assert choose_neighbors(sampling, graph) == number == 20


def test_what_was_measured_is_kept_on_disk(coarse, monkeypatch):
    graph = Graph(max_error=1e-3, laplacian="optimal")
    number = choose_neighbors(Healpix(8), graph)
    assert all(file.stat().st_size < 2500 for file in coarse.iterdir())
    monkeypatch.setattr(resolve, "build_spectral", refuse)
    clear_cache()
    assert choose_neighbors(Healpix(8), graph) == number
    clear_cache()
    monkeypatch.setenv("DEEPSPHERE_CACHE", "off")
    with pytest.raises(RuntimeError, match="measured again"):
        choose_neighbors(Healpix(8), graph)


def test_degrees_above_the_band_limit_do_not_count():
    sphere, kind = Healpix(8), Optimal(0.5)
    matrix = laplacian(sphere, Graph(8, laplacian=kind))
    expected = np.exp(np.log(isotropy_error(matrix, sphere.points, [1, 2, 4])).mean())
    assert mean_error(matrix, sphere, kind) == pytest.approx(expected, rel=1e-12)  # rounding
    assert mean_error(matrix, sphere, "optimal") > 2 * expected  # at 8 and 12 it is made for less


@pytest.mark.parametrize("kind", ["combinatorial", "normalized", "optimal"])
@pytest.mark.parametrize("sampling", [Healpix(8), Icosahedral(3), Fibonacci(768)], ids=repr)
def test_a_part_of_the_rows_bounds_all(sampling, kind):
    matrix = laplacian(sampling, Graph(20, laplacian=kind))
    assert 0 < mean_error(matrix, sampling, kind, PART) < PART * mean_error(matrix, sampling, kind)


def test_unstable_weights_are_passed_over(coarse, monkeypatch):
    build, seen = resolve.build_spectral, []

    def refuse_eight(sampling, graph):
        seen.append(graph.neighbors)
        if graph.neighbors == 8:
            raise UnstableWeightsError("too uneven")
        return build(sampling, graph)

    monkeypatch.setattr(resolve, "build_spectral", refuse_eight)
    assert choose_neighbors(Healpix(8), Graph(max_error=1e-1, laplacian="optimal")) == 12
    assert seen == [8, 12]


def test_all_weights_unstable(coarse):
    graph = Graph(max_error=1e-1, laplacian="optimal")
    with pytest.raises(ValueError, match=r"unstable on GaussLegendre.* 8 to 64 .*spread=True"):
        choose_neighbors(GaussLegendre(19), replace(graph, spread=False))
    assert choose_neighbors(GaussLegendre(19), graph) == 8


def test_the_graph_of_each_sampling():
    grid, part = GaussLegendre(8), GaussLegendre(8).subset(np.arange(40))
    plain = Graph(20, laplacian="normalized")
    # On an even sampling, False is what None means: equal graphs are built once.
    for given in (None, 20, Graph(), Graph(spread=False), plain):
        assert resolve_graph(Healpix(4), given) == plain
    assert resolve_graph(Healpix(4), Graph(spread=True)) == replace(plain, spread=True)
    for sampling in (grid, part, Equiangular(8, 16), ReducedGaussian(8)):
        assert sampling.crowded
        spread = Graph(20, spread=True, laplacian="optimal")
        for given in (None, 20, Graph(spread=True), spread):
            assert resolve_graph(sampling, given) == spread
        eight = Graph(8, laplacian="combinatorial")
        assert resolve_graph(sampling, eight) == replace(eight, spread=True)
        nearest = Graph(20, spread=False)
        assert resolve_graph(sampling, nearest) == replace(nearest, laplacian="normalized")
        mesh = Graph(edges="mesh", laplacian="normalized")
        assert resolve_graph(sampling, "mesh") == mesh


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("normalized", "use laplacian='optimal' or a larger max_error"),
        (
            "optimal",
            r"use a lower band_limit, as in Optimal\(band_limit=1\), or a larger max_error",
        ),
        (Optimal(symmetric=True), "use symmetric=False, a lower band_limit, or a larger max_error"),
    ],
    ids=str,
)
def test_what_to_do_if_none_reaches_it(coarse, monkeypatch, kind, advice):
    monkeypatch.setattr(resolve, "CANDIDATES", (8, 12))
    with pytest.raises(ValueError, match=f"with 8 to 12 neighbors on Healpix.nside=8. .*{advice}"):
        choose_neighbors(Healpix(8), Graph(max_error=1e-13, laplacian=kind))


def test_what_was_chosen_is_logged(coarse, caplog):
    with caplog.at_level(logging.INFO, "deepsphere.graph.resolve"):
        for _ in range(2):
            choose_neighbors(Healpix(8), Graph(max_error=1e-2, laplacian="optimal"))
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "8 neighbors for an equivariance error of 0.01 with Laplacian optimal: 0.0013 on Healpix"
    )


def test_graphs_have_the_number_that_was_chosen(coarse):
    combinatorial, optimal = (
        Graph(max_error=3e-3, laplacian=name) for name in ("combinatorial", "optimal")
    )
    twenty = Graph(20, laplacian="combinatorial")
    assert resolve_graph(Healpix(4), combinatorial) == twenty
    assert resolve_graph(Healpix(4), optimal) == Graph(8, laplacian="optimal")
    for make in (laplacian, rescaled_laplacian):
        by_choice = make(Healpix(4), combinatorial).toarray()
        np.testing.assert_array_equal(by_choice, make(Healpix(4), twenty).toarray())


def test_what_was_said_stays(coarse):
    graph = Graph(12, width=0.3, laplacian="random_walk")
    assert resolve_graph(Healpix(4), graph) == graph
    chosen = Graph(width="average", spread=True, laplacian="normalized", max_error=0.1)
    expected = Graph(12, width="average", spread=True, laplacian="normalized")
    assert resolve_graph(Healpix(4), chosen) == expected
    assert choose_neighbors(Healpix(4), Graph(max_error=0.1)) == 8  # the tuned width is better


@pytest.mark.parametrize("sampling", [Healpix(4), GaussLegendre(8)], ids=repr)
@pytest.mark.parametrize("given", [None, 8, "mesh", Graph(12, spread=True)], ids=repr)
def test_a_resolved_graph_resolves_to_itself(sampling, given):
    graph = resolve_graph(sampling, given)
    assert graph.laplacian is not None
    assert resolve_graph(sampling, graph) == graph


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: resolve_graph(32), TypeError, "must be a Sampling .* got 32"),
        (lambda: choose_neighbors(32, Graph(max_error=0.1)), TypeError, "a Sampling .* got 32"),
        (lambda: choose_neighbors(Healpix(4), 0.1), TypeError, "graph must be .* got 0.1"),
        (lambda: choose_neighbors(Healpix(4), 8), ValueError, r"max_error=.*, got Graph\(8"),
        (
            lambda: edge_weights(Healpix(4), Graph(max_error=0.1)),
            ValueError,
            "no number of neighbors: .*resolve_graph",
        ),
    ],
)
def test_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()
