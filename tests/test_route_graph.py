"""GeoJSON for Nav2's route server, read back by a plain copy of what its loader does and by the library of GeoJSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from house_plans import house_grid
from hypothesis import given
from hypothesis import strategies as st
from test_scene_graph import things_of, two_storeys

from embmem.errors import InputError
from embmem.exports.route_graph import Place, Way, write_route_graph
from embmem.maps import LandmarkGraph, ObjectMemory, SceneGraph
from embmem.maps.landmarks.files import write_landmarks
from embmem.maps.route_places import route_graph_of, write_routes
from embmem.sim_envs.house import make_house


def load_as_nav2(path: Path) -> nx.MultiDiGraph:
    """What GeoJsonGraphFileLoader makes of a file (nav2_route, main, 2026), with the errors that it throws."""
    features = json.loads(path.read_text())["features"]
    nodes = [f for f in features if f["geometry"]["type"] == "Point"]
    edges = [f for f in features if f["geometry"]["type"] in ("MultiLineString", "LineString")]
    assert nodes
    assert edges
    graph = nx.MultiDiGraph()
    for node in nodes:
        known = node["properties"]
        x, y = node["geometry"]["coordinates"][:2]
        assert known["id"] not in graph
        metadata = primitive(known.get("metadata", {}))
        graph.add_node(known["id"], x=float(x), y=float(y), frame=known["frame"], **metadata)
    for edge in edges:
        known = edge["properties"]
        assert known["startid"] in graph, "Start id does not exist"
        assert known["endid"] in graph, "End id does not exist"
        metadata = primitive(known.get("metadata", {}))
        graph.add_edge(known["startid"], known["endid"], key=known["id"], cost=float(known["cost"]), **metadata)
        assert isinstance(known["overridable"], bool)
    ids = [*graph.nodes, *(key for _, _, key in graph.edges(keys=True))]
    assert len(set(ids)) == len(ids)
    assert all(type(i) is int and 0 <= i < 2**31 - 1 for i in ids)
    return graph


def primitive(metadata: dict[str, Any]) -> dict[str, Any]:
    """The loader converts numbers, booleans and texts, and throws at the rest."""
    return {key: as_cpp(value) for key, value in metadata.items()}


def as_cpp(value: Any) -> Any:
    """An `unsigned int`, `int` or `float` of what nlohmann's JSON tells apart, which wraps and rounds."""
    assert isinstance(value, (int, float, bool, str))
    if isinstance(value, int) and not isinstance(value, bool):
        return value % 2**32 if value >= 0 else (value + 2**31) % 2**32 - 2**31
    return float(np.float32(value)) if isinstance(value, float) else value


@given(st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=5)))
def test_what_is_known_of_a_place_is_not_cut_by_the_server(
    tmp_path_factory: pytest.TempPathFactory, value: float | str
) -> None:
    path = tmp_path_factory.mktemp("metadata") / "graph.geojson"
    write_route_graph(path, [Place(0.0, 0.0, metadata={"about": value})], [Way(0, 0, 1.0)])
    read = load_as_nav2(path).nodes[0].get("about")
    if isinstance(value, float) and not np.isfinite(value):
        assert read is None
    elif isinstance(value, float) and abs(value) <= 3.4e38:
        assert read == pytest.approx(value, rel=1e-6, abs=1e-37)
    else:
        assert str(read) == str(value)


coordinates = st.floats(-1e4, 1e4)
texts = st.text(max_size=8)


@given(data=st.data(), n=st.integers(1, 6))
def test_places_and_ways_come_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, n: int) -> None:
    geojson = pytest.importorskip("geojson", reason="the library of the format is not installed")
    place = st.builds(Place, coordinates, coordinates, coordinates, st.dictionaries(st.just("name"), texts))
    places = data.draw(st.lists(place, min_size=n, max_size=n))
    ends = st.integers(0, n - 1)
    ways = data.draw(st.lists(st.builds(Way, ends, ends, st.floats(0, 1e5)), min_size=1, max_size=8))
    path = tmp_path_factory.mktemp("routes") / "graph.geojson"
    write_route_graph(path, places, ways, frame="level_1")
    read = load_as_nav2(path)
    assert [(node["x"], node["y"], node["z"], node["frame"]) for _, node in sorted(read.nodes(data=True))] == [
        (pytest.approx(p.x, abs=1e-4), pytest.approx(p.y, abs=1e-4), pytest.approx(p.z, abs=1e-3), "level_1")
        for p in places
    ]
    found = sorted((key, a, b, edge["cost"]) for a, b, key, edge in read.edges(keys=True, data=True))
    assert [(a, b) for _, a, b, _ in found] == [(w.start, w.end) for w in ways]
    assert [cost for *_, cost in found] == pytest.approx([w.cost for w in ways], abs=1e-4)
    theirs = geojson.loads(path.read_text())
    assert theirs.is_valid
    assert len(theirs["features"]) == n + len(ways)


def test_a_graph_that_the_server_would_refuse_is_not_written(tmp_path: Path) -> None:
    path, here = tmp_path / "graph.geojson", Place(0.0, 0.0)
    with pytest.raises(InputError, match="needs places and ways"):
        write_route_graph(path, [here], [])
    with pytest.raises(ValueError, match="there are 1 places"):
        write_route_graph(path, [here], [Way(0, 1, 1.0)])
    with pytest.raises(ValueError, match="finite number >= 0"):
        write_route_graph(path, [here], [Way(0, 0, float("nan"))])
    with pytest.raises(ValueError, match="finite coordinates"):
        write_route_graph(path, [Place(float("inf"), 0.0)], [Way(0, 0, 1.0)])
    with pytest.raises(InputError, match="landmarks with ways between them"):
        write_routes(path, [ObjectMemory()])
    with pytest.raises(InputError, match="have neither"):
        write_routes(path, [SceneGraph(), LandmarkGraph()])
    assert not path.exists()


def landmarks() -> LandmarkGraph:
    layer = LandmarkGraph()
    ids = layer.add_landmarks(np.array([[0.0, 0, 0], [3, 0, 0], [3, 4, 1]]))
    layer.connect(ids[[[0, 1], [1, 2], [1, 0]]], np.array([3.0, 5.0, 3.5]))
    layer.record_traversal(0, 1, success=True, seconds=2.0)
    return layer


def test_landmarks_become_places_at_their_costs(tmp_path: Path) -> None:
    layer = landmarks()
    write_routes(tmp_path / "graph.geojson", [layer])
    read = load_as_nav2(tmp_path / "graph.geojson")
    assert {(a, b): round(d["cost"], 3) for a, b, d in read.edges(data=True)} == {
        (a, b): round(d["cost"], 3) for a, b, d in layer.to_networkx().edges(data=True)
    }
    assert read.nodes[2]["landmark"] == 2
    assert read.edges[0, 1, 3]["seconds"] == 2.0


def test_networkx_reads_landmarks_as_node_link_json(tmp_path: Path) -> None:
    layer = landmarks()
    write_landmarks(tmp_path / "landmarks.json", [layer])
    read = nx.node_link_graph(json.loads((tmp_path / "landmarks.json").read_text()), edges="edges")
    ours = layer.to_networkx()
    assert read.edges.keys() == ours.edges.keys()
    for a, b, edge in ours.edges(data=True):
        assert read.edges[a, b] == {k: v for k, v in edge.items() if np.isfinite(v)}
    assert [read.nodes[i]["position"] for i in read] == [list(ours.nodes[i]["position"]) for i in ours]
    for wrong, message in (([], "need a landmark graph"), ([LandmarkGraph()], "no landmark yet")):
        with pytest.raises(InputError, match=message):
            write_landmarks(tmp_path / "none.json", wrong)


@pytest.mark.parametrize("seed", [0, 3])
def test_ways_between_rooms_stay_inside_and_reach_them_all(tmp_path: Path, seed: int) -> None:
    house, scene = make_house(seed), SceneGraph()
    scene.update(house_grid(house, 0.1), things_of(house))
    write_routes(tmp_path / "graph.geojson", [scene])
    read = load_as_nav2(tmp_path / "graph.geojson")
    rooms = {node["room"] for node in read.nodes.values() if node["kind"] == "room"}
    assert rooms == set(scene.room_ids())
    assert nx.is_strongly_connected(nx.DiGraph(read))
    plan = scene.floors[0].rooms
    points = {i: np.array([node["x"], node["y"]]) for i, node in read.nodes.items()}
    for a, b, edge in read.edges(data=True):
        assert edge["cost"] == pytest.approx(np.linalg.norm(points[a] - points[b]), abs=1e-3)
        line = points[a] + np.linspace(0, 1, 200)[:, None] * (points[b] - points[a])
        # A line may cut the corner of a cell, and a door stands between the cells of its rooms.
        inside = plan.at(line) >= 0
        near_end = np.minimum(*(np.linalg.norm(line - points[end], axis=1) for end in (a, b))) < 0.3
        assert (inside | near_end).mean() > 0.9, (a, b)


def test_storeys_are_told_apart() -> None:
    scene = SceneGraph()
    scene.update(*two_storeys())
    places, ways = route_graph_of([scene])
    assert {p.metadata["floor"] for p in places if "floor" in p.metadata} == {0, 1}
    assert all(abs(places[w.start].z - places[w.end].z) < 0.1 for w in ways)
