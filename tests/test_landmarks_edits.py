"""Merge, split and prune of landmarks, and what undoing them gives back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.geometry import camera_pose
from embmem.maps.landmarks import LandmarkGraph
from embmem.memory import Memory
from embmem.observation import Intrinsics, Observation
from embmem.protocols import Deformation


def random_graph(rng: np.random.Generator, n: int = 8) -> LandmarkGraph:
    """Landmarks seen 1 to 4 times in a square of 10 m, about three edges each, some taken."""
    graph = LandmarkGraph(near=0.01, similar=0.99, region_size=3)
    looks, places = rng.normal(size=(n, 4)), rng.uniform(0, 10, (n, 3))
    for i, times in enumerate(rng.integers(1, 5, n).tolist()):
        for k in range(times):
            graph.visit(places[i], looks[i], float(i + 10 * k))
    pairs = np.unique(rng.integers(0, n, (3 * n, 2)), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    graph.connect(pairs, rng.uniform(1, 9, len(pairs)), rng.uniform(0, 3, len(pairs)))
    for a, b in pairs[::2].tolist():
        learn(graph, rng, a, b)
    return graph


def learn(graph: LandmarkGraph, rng: np.random.Generator, a: int, b: int) -> None:
    for _ in range(int(rng.integers(1, 4))):
        seconds, length = rng.uniform(1, 5, 2).tolist()
        graph.record_traversal(a, b, success=bool(rng.random() < 0.6), seconds=seconds, length=length)


def content(graph: LandmarkGraph) -> dict[str, Any]:
    """Everything that a user sees."""
    peer = graph.to_networkx()
    nodes = {i: {**data, "descriptor": data["descriptor"].tolist()} for i, data in peer.nodes(data=True)}
    edges = {(a, b): {k: str(v) for k, v in data.items()} for a, b, data in peer.edges(data=True)}
    return {"nodes": nodes, "edges": edges}


def assert_paths_are_fresh(graph: LandmarkGraph) -> None:
    """The planner that followed the changes finds what networkx finds in the graph as it is now."""
    peer = graph.to_networkx()
    ids = sorted(peer.nodes)
    for goal in ids:
        path = graph.shortest_path(ids[0], goal)
        if path is None:
            assert not nx.has_path(peer, ids[0], goal)
        else:
            assert path.cost == pytest.approx(nx.dijkstra_path_length(peer, ids[0], goal, "cost"))


def split_any(graph: LandmarkGraph, rng: np.random.Generator) -> None:
    peer = graph.to_networkx()
    landmark = max(peer.nodes, key=lambda i: (peer.nodes[i]["count"], i))
    if peer.nodes[landmark]["count"] > 1:
        neighbours = sorted(set(peer.successors(landmark)) | set(peer.predecessors(landmark)))[:2]
        part = rng.uniform(0, 10, 3), rng.normal(size=4)
        graph.split(landmark, *part, share=float(rng.uniform(0.1, 0.9)), neighbours=tuple(neighbours))


CHANGES: dict[str, Callable[[LandmarkGraph, np.random.Generator], object]] = {
    "merge": lambda graph, rng: graph.merge(*rng.permutation(sorted(graph.to_networkx().nodes))[:2].tolist()),
    "split": split_any,
    "prune": lambda graph, rng: graph.prune(
        seen_before=float(rng.uniform(0, 30)), max_count=2, min_success=float(rng.uniform(0, 0.8))
    ),
}


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=4))
def test_undone_changes_leave_everything_as_it_was(seed: int, names: list[str]) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    states = [content(graph)]
    graph.shortest_path(0, 1)  # the planner follows from here on
    for name in names:
        if len(graph) > 2:
            CHANGES[name](graph, rng)
            assert_paths_are_fresh(graph)
            if len(graph.history) == len(states):
                states.append(content(graph))
    while len(states) > 1:
        assert content(graph) == states.pop()
        assert graph.undo() is not None
        assert_paths_are_fresh(graph)
    assert content(graph) == states.pop()
    assert graph.undo() is None


@given(st.integers(0, 10**6), st.sampled_from(sorted(CHANGES)))
def test_what_was_learnt_after_a_change_outlives_its_undoing(seed: int, name: str) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    views, taken, failed = totals(graph)
    CHANGES[name](graph, rng)
    after = totals(graph)
    peer = graph.to_networkx()
    for landmark in list(peer.nodes):
        graph.visit(np.array(peer.nodes[landmark]["position"]), peer.nodes[landmark]["descriptor"], 99.0)
    halves = {graph.history[-1].main, graph.history[-1].born} if graph.history else set()
    for a, b in list(peer.edges)[::2]:
        if name != "split" or {a, b} != halves:  # between the halves of one place there is no way
            learn(graph, rng, a, b)
    gained = totals(graph) - after
    if graph.undo() is not None:
        np.testing.assert_array_equal(totals(graph), np.array([views, taken, failed]) + gained)
    mean_lengths = np.linalg.norm(graph.tables.descriptors, axis=1)
    assert (mean_lengths <= 1.0 + 1e-5).all()


def totals(graph: LandmarkGraph) -> np.ndarray:
    """Views, successes and failures in all."""
    peer = graph.to_networkx()
    edges = [(edge["successes"], edge["failures"]) for _, _, edge in peer.edges(data=True)]
    return np.array([sum(count for _, count in peer.nodes(data="count")), *np.sum(edges or [(0, 0)], axis=0)])


def corridor() -> LandmarkGraph:
    """0 <-> 1 <-> 2 <-> 3 in a row, 1 m apart; 2 seen three times, 1 -> 2 taken twice in 3 s."""
    graph = LandmarkGraph(near=0.1, similar=0.9)
    for i, times in enumerate((1, 1, 3, 1)):
        for _ in range(times):
            graph.visit(np.array([float(i), 0, 0]), np.eye(4)[i], float(i))
    pairs = np.array([[0, 1], [1, 2], [2, 3]])
    graph.connect(np.concatenate([pairs, pairs[:, ::-1]]), np.ones(6))
    for seconds in (2.0, 4.0):
        graph.record_traversal(1, 2, success=True, seconds=seconds)
    return graph


def test_a_merged_landmark_has_the_mean_of_all_views_and_the_edges_of_both() -> None:
    graph = corridor()
    graph.connect(np.array([[0, 2]]), np.array([2.5]))
    graph.merge(2, 1)
    peer = graph.to_networkx()
    np.testing.assert_allclose(peer.nodes[2]["descriptor"], [0, 0.25, 0.75, 0])
    assert peer.nodes[2]["count"] == 4
    assert sorted(peer.edges) == [(0, 2), (2, 0), (2, 3), (3, 2)]
    assert peer.edges[0, 2]["length"] == 1.0  # of 0 -> 1, the shorter of two that nobody took
    assert (graph.current_id(1), graph.current_id(3)) == (2, 3)
    with pytest.raises(ValueError, match="no landmark 1"):
        graph.shortest_path(0, 1)
    graph.record_traversal(0, 2, success=True, seconds=1.0)
    graph.visit(np.array([2.0, 0, 0]), np.array([0, 0.25, 0.75, 0]), 9.0)
    assert graph.undo() == "merge"
    peer = graph.to_networkx()
    assert (peer.nodes[1]["count"], peer.nodes[2]["count"]) == (1, 4)
    assert (peer.edges[1, 2]["successes"], peer.edges[1, 2]["seconds"]) == (2, 3.0)
    assert (peer.edges[0, 2]["successes"], peer.edges[0, 2]["length"]) == (1, 2.5)
    assert graph.current_id(1) == 1


def test_a_split_landmark_keeps_the_mean_of_the_other_views() -> None:
    graph = corridor()
    second = graph.split(2, np.array([2.0, 1.0, 0.0]), np.array([0, 0, 1.0, 0]), share=0.3, neighbours=(3,))
    peer = graph.to_networkx()
    assert (peer.nodes[2]["count"], peer.nodes[second]["count"]) == (2, 1)
    np.testing.assert_allclose(peer.nodes[2]["descriptor"], [0, 0, 1, 0], atol=1e-6)
    assert set(peer.successors(second)) == {2, 3}
    assert set(peer.successors(2)) == {1, second}
    path = graph.shortest_path(0, 3)
    assert path is not None
    assert path.nodes == (0, 1, 2, second, 3)
    graph.record_traversal(second, 3, success=False)
    graph.connect(np.array([[second, 0]]), np.array([3.0]))  # learnt since: it ends at the whole again
    assert graph.undo() == "split"
    peer = graph.to_networkx()
    assert peer.edges[2, 3]["failures"] == 1
    assert peer.edges[2, 0]["length"] == 3.0
    assert graph.current_id(second) == 2
    with pytest.raises(ValueError, match="share"):
        graph.split(0, np.zeros(3), np.ones(4))
    with pytest.raises(ValueError, match="nothing is left"):
        corridor_of_two().split(0, np.zeros(3), np.array([1.0, 0.0]))


def test_a_landmark_split_by_a_view_unlike_its_own_can_be_saved() -> None:
    graph = corridor()
    second = graph.split(2, np.array([2.0, 1.0, 0.0]), np.array([1.0, 0, 0, 0]), share=0.4)
    again = LandmarkGraph.load(graph.save())
    assert content(again) == content(graph)
    np.testing.assert_allclose(np.linalg.norm(graph.tables.descriptors, axis=1), 1.0, atol=1e-6)
    assert graph.undo() == "split"
    assert graph.current_id(second) == 2
    np.testing.assert_allclose(graph.tables.descriptors[2], np.eye(4)[2], atol=1e-6)


def test_no_length_becomes_negative_when_a_merge_is_undone_after_a_deformation() -> None:
    graph = LandmarkGraph()
    places, stamps = np.array([[0.0, 0, 0], [5.0, 0, 0], [5.0, 1, 0]]), np.array([0.0, 10.0, 10.0])
    graph.add_landmarks(places, stamps=stamps)
    graph.connect(np.array([[0, 1], [0, 2]]), np.full(2, 5.0))
    for _ in range(3):
        graph.record_traversal(0, 2, success=True, length=5.0)
    graph.merge(1, 2)
    T = np.stack([np.eye(4)] * 2)
    T[1, 0, 3] = -4.5
    graph.deform(Deformation(np.array([0.0, 10.0]), T))
    graph.record_traversal(0, 1, success=True, length=0.5)
    assert graph.undo() == "merge"
    assert (graph.tables.edges["length"] >= 0).all()
    assert_paths_are_fresh(graph)
    LandmarkGraph.load(graph.save())


def corridor_of_two() -> LandmarkGraph:
    graph = LandmarkGraph(similar=-1.0)
    graph.visit(np.zeros(3), np.array([1.0, 0.0]), 0.0)
    graph.visit(np.zeros(3), np.array([0.0, 1.0]), 1.0)
    graph.tables.descriptors[0] = 0.5, 0.0
    return graph


def test_pruning_forgets_what_was_seen_rarely_long_ago_and_ways_that_fail() -> None:
    graph = corridor()
    for _ in range(9):
        graph.record_traversal(2, 3, success=False)
    assert graph.prune(seen_before=1.0, min_success=0.5) == 1 + 3  # landmark 0 with two edges, and 2 -> 3
    peer = graph.to_networkx()
    assert sorted(peer.nodes) == [1, 2, 3]
    assert sorted(peer.edges) == [(1, 2), (2, 1), (3, 2)]
    nearest = graph.nearest(np.zeros(3))
    assert nearest is not None
    assert nearest.id == 1
    assert graph.visit(np.zeros(3), np.array([1.0, 0, 0, 0]), 50.0) == 4  # it is founded anew
    graph.connect(np.array([[2, 3]]), np.array([0.5]))
    graph.record_traversal(2, 3, success=True)
    assert graph.undo() == "prune"
    edge = graph.to_networkx().edges[2, 3]
    assert (edge["successes"], edge["failures"]) == (1, 9)
    assert len(graph) == 5


def test_landmarks_that_come_back_were_moved_with_the_others() -> None:
    graph = corridor()
    graph.merge(2, 1)
    T = camera_pose(np.array([5.0, 1.0, 0.0]), 0.7)
    graph.deform(Deformation(np.array([0.0]), T[None]))
    graph.undo()
    expected = np.array([[float(i), 0, 0] for i in range(4)]) @ T[:3, :3].T + T[:3, 3]
    np.testing.assert_allclose(graph.tables.nodes["position"], expected)
    for _, _, edge in graph.to_networkx().edges(data=True):
        assert edge["length"] == pytest.approx(1.0)


def test_the_trail_goes_on_from_the_landmark_that_another_went_into() -> None:
    graph = corridor()

    def look(stamp: float, i: int) -> None:
        pose, ones = camera_pose(np.array([float(i), 0, 0]), 0.0), np.ones((6, 8), dtype=np.int32)
        camera = Intrinsics.from_fov(8, 6, 79.0)
        graph.observe(Observation(stamp, pose, camera, instance=ones, embeddings={1: np.eye(4)[i]}))

    look(10.0, 1)
    graph.merge(2, 1)
    look(11.0, 0)
    assert graph.to_networkx().edges[2, 0]["successes"] == 1


def test_a_landmark_is_not_merged_with_itself_or_with_none() -> None:
    graph = corridor()
    for pair in ((1, 1), (1, 9), (-1, 0)):
        with pytest.raises(ValueError, match="landmark"):
            graph.merge(*pair)
    assert graph.undo() is None


GOLDEN = Path(__file__).parent / "data" / "landmarks_v1.embmem"


def write_golden(path: Path) -> None:
    """Wrote the file of version 1, which is never written again."""
    graph = corridor()
    graph.record_traversal(2, 3, success=False)
    graph.set_instruction_cost(0, 1, 1.5)
    graph.merge(2, 1)
    Memory([graph]).save(path)


def test_a_file_of_version_1_opens_and_answers() -> None:
    graph = Memory.open(GOLDEN, (LandmarkGraph,)).layer(LandmarkGraph)
    path = graph.shortest_path(0, 3)
    assert path is not None
    assert (path.nodes, path.cost) == ((0, 2, 3), 3.5)
    assert path.success == pytest.approx(4 / 5 * 4 / 6)
    assert graph.current_id(1) == 2
    match = graph.match(np.array([2.0, 0.0, 0.0]), np.array([0.0, 0.25, 0.75, 0.0]))
    assert match is not None
    assert (match.id, round(match.cosine, 6)) == (2, 1.0)
    assert graph.visit(np.array([9.0, 0.0, 0.0]), np.ones(4), 20.0) == 4
