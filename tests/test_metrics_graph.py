"""Street and indoor measures: published values, naive models on random graphs, degenerate worlds."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.errors import InputError
from embmem.sim_envs.metrics.graph import PlaceGraph, read_street_graph
from embmem.sim_envs.metrics.indoor import google_dtw, valan_r2r
from embmem.sim_envs.metrics.street import mem4nav_release, orar, valan_touchdown, velma

ROOT = Path(__file__).resolve().parent.parent
VECTORS = Path(os.environ.get("EMBMEM_VECTORS", ROOT / "../shared/vectors"))
PROTOCOLS = (velma, orar, valan_touchdown, mem4nav_release, google_dtw, valan_r2r)
SHARES = {"tc", "kpa", "sed", "cls", "ndtw", "sdtw", "sr", "osr", "spl"}


World = tuple[list[tuple[int, int, float]], dict[int, tuple[float, float]], list[int], list[int]]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Edges and positions of a connected graph with straight-line lengths; an agent's and a gold walk along it."""
    n = draw(st.integers(1, 8))
    parents = [draw(st.integers(0, i - 1)) for i in range(1, n)]
    extra = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=4))
    pairs = {(i + 1, p) for i, p in enumerate(parents)} | {(a, b) for a, b in extra if a > b}
    xy = {i: (draw(st.integers(-9, 9)) * 1.0, draw(st.integers(-9, 9)) * 1.0) for i in range(n)}
    ways = {i: sorted({a + b - i for a, b in pairs if i in (a, b)}) or [i] for i in range(n)}
    walks: list[list[int]] = []
    for _ in range(2):
        walk = [draw(st.integers(0, n - 1))]
        for choice in draw(st.lists(st.integers(0, 9), max_size=6)):
            walk.append(ways[walk[-1]][choice % len(ways[walk[-1]])])
        walks.append(walk)
    return [(a, b, math.dist(xy[a], xy[b])) for a, b in sorted(pairs)], xy, walks[0], walks[1]


def _conformance(vectors: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks/metric_conformance.py"), str(vectors), *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)


def _assert_conforms(run: subprocess.CompletedProcess[str], at_least: int) -> None:
    assert run.returncode == 0, run.stdout + run.stderr
    last = re.fullmatch(r"(\d+) values, 0 mismatches", run.stdout.splitlines()[-1])
    assert last is not None
    assert int(last[1]) >= at_least


@pytest.fixture
def published() -> Path:
    """The values that the published implementations gave, where they are present."""
    path = VECTORS / "navigation_metrics.json"
    if not path.is_file():
        pytest.skip(f"no vectors at {path} (set EMBMEM_VECTORS)")
    return path


def test_every_published_value_without_the_street_graph_is_reproduced(published: Path, tmp_path: Path) -> None:
    _assert_conforms(_conformance(published, EMBMEM_DATA_DIR=str(tmp_path)), at_least=500)


@pytest.mark.slow
def test_every_published_value_is_reproduced(published: Path, data_dir: Path) -> None:
    _assert_conforms(_conformance(published, EMBMEM_DATA_DIR=str(data_dir.resolve())), at_least=900)


def _vectors(path: Path, **expected: object) -> Path:
    case = {"name": "c", "agent": ["a"], "gold": ["a"], "expected": expected}
    street = {"dataset": "d", "id": 1, "name": "s", "agent": [], "gold": [], "expected": {"velma": {"tc": 1, "kpa": 1}}}
    world = {"name": "w", "nodes": {"a": [0, 0]}, "edges": [], "cases": [case]}
    path.write_text(json.dumps({"graph_cases": [world], "street_cases": [street]}))
    return path


def test_conformance_names_each_mismatch_and_counts_what_it_skipped(tmp_path: Path) -> None:
    vectors = _vectors(
        tmp_path / "v.json",
        velma={"tc": 0.5, "kpa": 1.0},
        valan_r2r={"dtw_over_gold_length": "nan", "spl": 0.0, "ne": "NetworkXNoPath: no path"},
        unheard_of={"tc": 1.0},
    )
    run = _conformance(vectors, "--json", str(tmp_path / "out.json"), EMBMEM_DATA_DIR=str(tmp_path))
    *lines, last = run.stdout.splitlines()
    assert run.returncode == 1
    assert last == "5 values, 2 mismatches"
    assert [line.split(":")[1] for line in lines if line.startswith("mismatch")] == [
        " w/c velma/tc",
        " w/c unheard_of/tc",
    ]
    assert any(line.startswith("skipped 2 street values") for line in lines)
    assert json.loads((tmp_path / "out.json").read_text())["mismatches"] == 2


@given(worlds())
def test_walking_the_gold_route_scores_one_everywhere(world: World) -> None:
    edges, xy, _, walk = world
    graph, gold = PlaceGraph(edges, xy), list(dict.fromkeys(walk))  # KPA counts what a route repeats against it
    length = float(graph.steps(gold).sum())
    for protocol in PROTOCOLS:
        got = protocol(graph, gold, gold)
        ones = SHARES & got.keys()
        if protocol is valan_r2r:
            ones -= {"spl"}  # 0 by its definition where start and goal coincide, and a gold walk may be a detour
        if protocol is mem4nav_release and length == 0 and len(gold) > 1:
            ones -= {"ndtw"}  # 0 by its definition
        assert {key: got[key] for key in ones} == pytest.approx(dict.fromkeys(ones, 1.0)), protocol.__name__


@given(worlds())
def test_shares_lie_in_zero_to_one(world: World) -> None:
    edges, xy, agent, gold = world
    for protocol in PROTOCOLS:
        got = protocol(PlaceGraph(edges, xy), agent, gold)
        assert all(0 <= got[key] <= 1 for key in SHARES & got.keys()), (protocol.__name__, got)


@given(worlds())
def test_distances_match_networkx(world: World) -> None:
    edges, xy, agent, gold = world
    graph = PlaceGraph(edges, xy)
    hops = dict(nx.all_pairs_shortest_path_length(graph.graph))
    metres = dict(nx.all_pairs_dijkstra_path_length(graph.graph, weight="length"))
    np.testing.assert_allclose(graph.hops(agent, gold), [[hops[a][g] for g in gold] for a in agent])
    np.testing.assert_allclose(graph.metres(agent, gold), [[metres[a][g] for g in gold] for a in agent])


def test_a_one_way_street_counts_only_along_its_direction() -> None:
    graph = PlaceGraph([("a", "b", 10.0)], {"a": (0, 0), "b": (10, 0)}, is_directed=True)
    assert graph.hops(["b"], ["a"]) == math.inf
    assert graph.hops(["b"], ["a"], is_directed=False) == 1
    assert velma(graph, ["b"], ["a"])["tc"] == 1  # a neighbour in either direction
    assert velma(graph, ["b"], ["a"])["spd_hops"] == math.inf
    assert orar(graph, ["b"], ["a"])["spd_hops"] == 1


def test_an_unreachable_goal_gives_zeros_and_infinities_but_no_nan() -> None:
    graph = PlaceGraph([], {"a": (0, 0), "b": (10, 0)})
    for protocol in PROTOCOLS:
        got = protocol(graph, ["a"], ["b"])
        assert not any(math.isnan(value) for key, value in got.items() if key != "dtw_over_gold_length")
        zeros = SHARES & got.keys() - ({"cls"} if protocol is valan_r2r else set())  # 1 for who stays: no length
        assert all(got[key] == 0 for key in zeros), protocol.__name__


def test_edges_without_length_are_still_edges() -> None:
    graph = PlaceGraph([("a", "b", 0.0), ("b", "c", 2.0)], {"a": (0, 0), "b": (0, 0), "c": (2, 0)})
    assert graph.metres(["a"], ["c"]) == 2
    assert graph.hops(["a"], ["c"]) == 2


def test_a_place_outside_of_the_graph_is_refused() -> None:
    graph = PlaceGraph([], {"a": (0, 0)})
    with pytest.raises(ValueError, match="no such place in the graph: 'x'"):
        velma(graph, ["x"], ["a"])


def test_a_street_graph_has_haversine_lengths_and_keeps_directions(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "nodes.txt.gz", "wt") as file:
        file.write("p,0,40.735,-73.99\nq,0,40.736,-73.99\n")
    with gzip.open(tmp_path / "links.txt.gz", "wt") as file:
        file.write("p,0,q\n")
    graph = read_street_graph(tmp_path)
    arc = math.radians(0.001) * 6371008.8  # along a meridian the arc is the angle times the radius
    assert graph.metres(["p"], ["q"])[0, 0] == pytest.approx(arc, rel=1e-9)
    assert graph.positions(["q"])[0] == pytest.approx([0, arc], abs=1e-6)
    assert graph.metres(["q"], ["p"])[0, 0] == math.inf


def test_a_missing_street_graph_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no street graph"):
        read_street_graph(tmp_path)
