"""The landmark graph as a layer: what founds a landmark, what an edge learns, paths, deformation, files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from embmem.errors import InputError
from embmem.geometry import camera_pose
from embmem.maps.landmarks import Edge, LandmarkGraph, Pricing, describe
from embmem.maps.landmarks.cells import Cells
from embmem.observation import Intrinsics, Observation
from embmem.protocols import Deformation, Layer
from embmem.records import Query
from embmem.testing import LayerContract, wall_ahead

CAMERA = Intrinsics.from_fov(8, 6, 79.0)


class TestLandmarkGraph(LayerContract):
    @pytest.fixture
    def layer(self) -> Layer:
        return LandmarkGraph(near=1.0)


def view(stamp: float, x: float, look: np.ndarray | list[float], y: float = 0.0) -> Observation:
    """A frame at (x, y) whose one segment has the embedding `look`."""
    return Observation(
        stamp,
        camera_pose(np.array([x, y, 1.0]), 0.0),
        CAMERA,
        instance=np.ones((6, 8), dtype=np.int32),
        embeddings={1: np.asarray(look, dtype=np.float32)},
    )


def random_graph(rng: np.random.Generator, n: int, *, dim: int = 4, **options: Any) -> LandmarkGraph:
    """Landmarks in a square of 10 m, about three edges each."""
    graph = LandmarkGraph(**options)
    graph.add_landmarks(rng.uniform(0, 10, (n, 3)), rng.normal(size=(n, dim)), rng.uniform(0, 50, n))
    pairs = np.unique(rng.integers(0, n, (3 * n, 2)), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    graph.connect(pairs, rng.uniform(1, 9, len(pairs)), rng.uniform(0, 3, len(pairs)))
    for a, b in pairs[::2].tolist():
        for _ in range(int(rng.integers(4))):
            graph.record_traversal(a, b, success=bool(rng.random() < 0.6), seconds=float(rng.uniform(1, 5)))
    return graph


def test_a_landmark_is_founded_where_none_is_both_near_and_similar() -> None:
    graph = LandmarkGraph(near=1.0, similar=0.9)
    graph.observe(view(0.0, 0.0, [1, 0, 0]))
    graph.observe(view(1.0, 0.5, [1, 0.1, 0]))  # near and similar
    assert len(graph) == 1
    graph.observe(view(2.0, 0.5, [0, 1, 0]))  # near, not similar
    assert len(graph) == 2
    graph.observe(view(3.0, 2.0, [1, 0, 0]))  # similar, not near
    assert len(graph) == 3
    assert graph.stats()["edges"] == 4


def test_corners_that_look_alike_by_length_only_stay_apart_and_a_bright_view_of_one_place_does_not() -> None:
    """|a - b| = .2 between two corners that point elsewhere, 6 between two views of one place: cosine tells."""
    graph = LandmarkGraph(near=5.0, similar=0.9)
    ids = [graph.visit(np.zeros(3), np.array(look), 0.0) for look in ([0.1, 0.0], [0.0, 0.17], [6.1, 0.0])]
    assert ids == [0, 1, 0]


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 5)), min_size=1, max_size=25))
def test_visits_are_those_of_a_plain_loop_over_all_landmarks(visits: list[tuple[float, float, int]]) -> None:
    looks = np.random.default_rng(0).normal(size=(6, 3))
    graph = LandmarkGraph(near=1.0, similar=0.8)
    nodes: list[tuple[np.ndarray, list[np.ndarray]]] = []
    for stamp, (x, y, look) in enumerate(visits):
        position, unit = np.array([x, y, 0.0]), looks[look] / np.linalg.norm(looks[look])
        cosines = []
        for where, seen in nodes:
            mean = np.mean(seen, axis=0)
            is_near = np.linalg.norm(where - position) <= 1.0
            cosines.append(float(mean @ unit / np.linalg.norm(mean)) if is_near else -2.0)
        if cosines and max(cosines) >= 0.8 - 1e-6:
            if 0.8 - 1e-6 <= max(cosines) < 0.8 + 1e-6 or sum(c > max(cosines) - 1e-6 for c in cosines) > 1:
                return  # too close to call in float32
            expected = int(np.argmax(cosines))
            nodes[expected][1].append(unit)
        else:
            expected = len(nodes)
            nodes.append((position, [unit]))
        assert graph.visit(position, looks[look], float(stamp)) == expected
    for row, (_, seen) in enumerate(nodes):
        np.testing.assert_allclose(graph.tables.descriptors[row], np.mean(seen, axis=0), atol=1e-5)
        assert graph.tables.nodes["count"][row] == len(seen)


def test_going_there_makes_an_edge_with_the_way_and_the_time_it_took() -> None:
    graph = LandmarkGraph(near=0.4, similar=0.9)
    looks = np.eye(3)
    for trip in range(2):
        t = 100.0 * trip
        graph.observe(view(t, 0.0, looks[0]))
        graph.observe(replace(view(t + 1, 0.5, looks[0], y=1.0), embeddings=None, instance=None))  # nothing to see
        graph.observe(view(t + 2 + trip, 1.0, looks[1]))
        graph.observe(view(t + 90.0, 50.0, looks[2]))  # too far to be a way taken
    there = graph.to_networkx().edges[0, 1]
    assert there["length"] == pytest.approx(2 * np.hypot(0.5, 1.0))
    assert (there["seconds"], there["successes"], there["failures"]) == (pytest.approx(2.5), 2, 0)
    back = graph.to_networkx().edges[1, 0]
    assert (back["successes"], back["length"]) == (0, there["length"])
    assert graph.stats() | {"bytes": 0.0} == {
        "landmarks": 3.0, "edges": 2.0, "skipped": 2.0, "planner_bytes": 0.0, "bytes": 0.0,
    }  # fmt: skip


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 30), st.data())
def test_best_paths_are_those_of_networkx(seed: int, n: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, n, alpha=0.5, beta=2.0, region_size=4)
    for _ in range(3):
        start, goal = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, n - 1))
        peer = graph.to_networkx()
        for weight, path in (("cost", graph.shortest_path(start, goal)), ("risk", graph.safest_path(start, goal))):
            if path is None:
                assert not nx.has_path(peer, start, goal)
                continue
            assert path.cost == pytest.approx(nx.dijkstra_path_length(peer, start, goal, weight))
            steps = [peer.edges[step] for step in pairwise(path.nodes)]
            assert path.cost == pytest.approx(sum(step[weight] for step in steps))
            assert path.length == pytest.approx(sum(step["length"] for step in steps))
            assert path.success == pytest.approx(np.prod([np.exp(-step["risk"]) for step in steps]))
            np.testing.assert_allclose(path.seconds, sum(step["seconds"] for step in steps))
        a, b = list(peer.edges)[data.draw(st.integers(0, 10**6)) % peer.number_of_edges()]
        graph.record_traversal(a, b, success=data.draw(st.booleans()), length=data.draw(st.floats(0, 20)))
        graph.set_instruction_cost(a, b, data.draw(st.floats(0, 5)))
        graph.visit(rng.uniform(0, 10, 3), rng.normal(size=4), 99.0)


def test_the_cost_is_length_and_instruction_and_the_risk_a_smoothed_frequency() -> None:
    graph = LandmarkGraph(alpha=2.0, beta=3.0, prior_success=4.0, prior_failure=1.0)
    graph.add_landmarks(np.array([[0.0, 0, 0], [4.0, 0, 0], [2.0, 2, 0]]))
    graph.connect(np.array([[0, 1], [0, 2], [2, 1]]), np.array([4.0, 3.0, 3.0]), np.array([2.0, 0.0, 0.0]))
    path = graph.shortest_path(0, 1)
    assert path is not None
    assert (path.nodes, path.cost) == ((0, 2, 1), 12.0)  # 2 * 6 against 2 * 4 + 3 * 2
    safest = graph.safest_path(0, 1)
    assert safest is not None
    assert safest.nodes == (0, 1)
    assert safest.success == pytest.approx(0.8)
    for _ in range(3):
        graph.record_traversal(0, 1, success=False)
    for a, b in ((0, 2), (2, 1)):
        for _ in range(5):
            graph.record_traversal(a, b, success=True, seconds=3.0)
    safest = graph.safest_path(0, 1)
    assert safest is not None
    assert (safest.nodes, safest.seconds) == ((0, 2, 1), 6.0)
    assert safest.success == pytest.approx((9 / 10) ** 2)  # against 4 / 8
    assert graph.shortest_path(1, 0) is None
    assert Pricing().success(graph.tables.edges[:0]).shape == (0,)


def test_whoever_prices_edges_is_asked_once_for_each_new_one() -> None:
    asked: list[Edge] = []

    def price(edge: Edge) -> float:
        asked.append(edge)
        return 7.0

    graph = LandmarkGraph(near=0.4, instruction_cost=price)
    for stamp in range(4):
        graph.observe(view(float(stamp), float(stamp % 2), np.eye(2)[stamp % 2]))
    assert [(edge.source, edge.target) for edge in asked] == [(0, 1), (1, 0)]
    assert graph.to_networkx().edges[0, 1]["instruction"] == 7.0
    graph.instruction_cost = lambda edge: float("nan")
    with pytest.raises(ValueError, match="instruction costs"):
        graph.observe(view(4.0, 2.0, [1.0, 1.0]))


@given(st.integers(0, 10**6), st.integers(1, 200), st.floats(0.1, 20.0))
def test_near_points_are_those_of_a_tree(seed: int, n: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=(n, 3)) * rng.choice([0.0, 1.0, 30.0], 3)
    cells, tree = Cells(size), cKDTree(positions)
    for end in (n // 3, n):
        cells.add(positions[:end])
    for point in [*positions[:3], *(rng.normal(size=(5, 3)) * 40)]:
        for radius in (0.0, 1.0, 25.0):
            expected = sorted(tree.query_ball_point(point, radius))
            assert cells.within(positions, point, radius).tolist() == expected
        is_alive = rng.random(n) < 0.5
        row, distance = cells.nearest(positions, point, is_alive)
        apart = np.where(is_alive, np.linalg.norm(positions - point, axis=1), np.inf)
        assert distance == pytest.approx(apart.min())
        assert row == (int(np.argmin(apart)) if is_alive.any() else -1)


def test_the_nearest_of_many_far_points_is_found_from_anywhere() -> None:
    rng = np.random.default_rng(0)
    graph = LandmarkGraph(near=0.5)
    positions = rng.uniform(0, 3000, (2000, 3))
    graph.add_landmarks(positions)
    for point in ([0.0, 0.0, 0.0], [1500.0, 100.0, 900.0], [1e8, -1e8, 0.0]):
        match = graph.nearest(np.array(point))
        assert match is not None
        assert match.id == int(np.argmin(np.linalg.norm(positions - point, axis=1)))


def test_the_match_is_the_most_alike_of_those_near() -> None:
    graph = LandmarkGraph(near=2.0, similar=0.7)
    positions = np.array([[0.0, 0, 0], [1.0, 0, 0], [9.0, 0, 0]])
    graph.add_landmarks(positions, np.array([[1.0, 0.5], [1.0, 0.2], [1.0, 0.0]]))
    match = graph.match(np.zeros(3), np.array([2.0, 0.0]))
    assert match is not None
    assert (match.id, match.distance) == (1, 1.0)
    assert match.cosine == pytest.approx(1 / np.hypot(1, 0.2))
    assert graph.match(np.zeros(3), np.array([-1.0, 0.0])) is None
    assert graph.match(np.array([30.0, 0, 0]), np.array([1.0, 0.0])) is None


@given(st.integers(0, 10**6))
def test_rigid_motion_moves_landmarks_and_keeps_lengths_and_paths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 20)
    T = camera_pose(rng.normal(size=3) * 5, float(rng.uniform(-3, 3)), float(rng.uniform(-1, 1)))
    before, old = graph.to_networkx(), graph.tables.nodes["position"].copy()
    graph.deform(Deformation(np.array([0.0]), T[None]))
    np.testing.assert_allclose(graph.tables.nodes["position"], old @ T[:3, :3].T + T[:3, 3], atol=1e-9)
    for a, b, edge in graph.to_networkx().edges(data=True):
        assert edge["length"] == pytest.approx(before.edges[a, b]["length"], abs=1e-9)
    match = graph.nearest(T[:3, :3] @ old[7] + T[:3, 3])
    assert match is not None
    assert match.id == 7


def test_each_landmark_moves_with_the_keyframe_of_its_first_view() -> None:
    graph = LandmarkGraph(near=0.5)
    for stamp in range(4):
        graph.observe(view(float(stamp), float(stamp), np.eye(4)[stamp]))
    T = np.stack([np.eye(4), np.eye(4)])
    T[1, :3, 3] = 0.0, 0.75, 0.0
    graph.deform(Deformation(np.array([0.0, 3.0]), T))
    np.testing.assert_array_equal(graph.tables.nodes["position"][:, 1], [0.0, 0.0, 0.75, 0.75])
    lengths = {(a, b): edge["length"] for a, b, edge in graph.to_networkx().edges(data=True)}
    assert lengths == {(0, 1): 1.0, (1, 0): 1.0, (1, 2): 1.25, (2, 1): 1.25, (2, 3): 1.0, (3, 2): 1.0}
    graph.observe(view(4.0, 3.0, np.eye(4)[3], y=0.75))  # the trail moved too: no jump, the same place
    assert len(graph) == 4


def test_queries_rank_by_likeness_nearness_and_count() -> None:
    graph = LandmarkGraph()
    positions = np.array([[0.0, 0, 0], [1.0, 0, 0], [5.0, 0, 0]])
    graph.add_landmarks(positions, np.array([[1.0, 0], [1, 1], [0, 1]]), np.array([0.0, 10.0, 20.0]))
    for _ in range(2):
        graph.visit(positions[2], np.array([0.0, 1.0]), 20.0)

    def ids(query: Query) -> list[float]:
        return [hit.detail["id"] for hit in graph.query(query)]

    assert ids(Query()) == [2, 0, 1]
    assert ids(Query(embedding=np.array([3.0, 0.0]))) == [0, 1, 2]
    assert ids(Query(embedding=np.array([3.0, 0.0]), min_similarity=0.5)) == [0, 1]
    assert ids(Query(near=np.array([0.9, 0, 0]), radius=2.0)) == [1, 0]
    assert ids(Query(since=5.0, until=20.0)) == [1]
    assert ids(Query(box=np.array([[0.5, -1, -1], [9.0, 1, 1]]), k=1)) == [2]
    assert ids(Query(embedding=np.ones(3))) == ids(Query(text="door")) == ids(Query(kind="view")) == []


def test_descriptors_know_places_again_and_tell_rooms_apart() -> None:
    wall, near_wall = wall_ahead(0.0), wall_ahead(0.0, distance=2.1)
    a, b = describe(wall), describe(near_wall)
    assert a is not None
    assert b is not None
    assert a @ b > 0.95
    assert wall.semantic is not None
    other = describe(replace(wall, labels=("unlabelled", "bed", "lamp")))
    assert other is not None
    assert a @ other < 0.6
    reordered = describe(replace(wall, semantic=3 - wall.semantic, labels=("unlabelled", "mug", "wall")))
    assert reordered is not None
    np.testing.assert_allclose(reordered, a)  # names count, not numbers
    nothing = replace(wall, depth=None, semantic=None, instance=None, labels=())
    assert describe(nothing) is None
    assert np.linalg.norm(a) == pytest.approx(1.0)
    embedded = describe(view(0.0, 0.0, [3.0, 4.0]))
    assert embedded is not None
    np.testing.assert_allclose(embedded, [0.6, 0.8], rtol=1e-6)


def test_views_with_another_descriptor_are_counted_and_left_out() -> None:
    graph = LandmarkGraph()
    graph.observe(view(0.0, 0.0, [1.0, 0.0]))
    graph.observe(view(1.0, 0.0, [1.0, 0.0, 0.0]))
    graph.observe(wall_ahead(2.0))
    assert (len(graph), graph.stats()["skipped"]) == (1, 2.0)


BAD: dict[str, Callable[[dict[str, np.ndarray]], object]] = {
    "too high": lambda a: a["counters"].__setitem__(0, 2**63 - 1),
    "ids": lambda a: a["id"].__setitem__(1, a["id"][0]),
    "far": lambda a: a["position"].__setitem__((0, 0), 1e12),
    "not finite": lambda a: a["position"].__setitem__((0, 0), np.nan),
    "less than once": lambda a: a["count"].__setitem__(0, 0),
    "seen first": lambda a: a["anchor"].__setitem__(0, 1e6),
    "longer than 1": lambda a: a["descriptor"].__setitem__(0, 9.0),
    "no landmark": lambda a: a["edge_target"].__setitem__(0, 99),
    "twice": lambda a: a["edge_source"].__setitem__(-1, 0),
    "negative number": lambda a: a["edge_length"].__setitem__(0, -1.0),
    "more often": lambda a: a["edge_timed"].__setitem__(0, 1000),
    "counter": lambda a: a["counters"].__setitem__(1, -1),
    "trail": lambda a: a["trail_row"].__setitem__(0, 99),
    "backwards": lambda a: a["trail"].__setitem__(1, -1.0),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_damaged_state_is_refused(fault: str) -> None:
    graph = random_graph(np.random.default_rng(0), 10, near=0.5)
    graph.observe(view(99.0, 0.0, [1.0, 0.0, 0.0, 0.0]))
    state = graph.save()
    LandmarkGraph.load(state)
    BAD[fault](state.arrays)
    with pytest.raises(InputError):
        LandmarkGraph.load(state)


@pytest.mark.parametrize("merged", [[[3, 3]], [[0, 1]], [[12, 13], [13, 12]], [[12, 99]], [[13, 0], [12, 0]]])
def test_merged_ids_that_lead_nowhere_are_refused(merged: list[list[int]]) -> None:
    state = random_graph(np.random.default_rng(0), 10).save()
    state.arrays["counters"][0] = 20
    state.arrays["merged"] = np.array(merged, dtype=np.int64)
    with pytest.raises(InputError, match="merged id"):
        LandmarkGraph.load(state)
    state.arrays["merged"] = np.array([[12, 13], [13, 0]], dtype=np.int64)
    assert LandmarkGraph.load(state).current_id(12) == 0


def test_bad_parameters_and_arguments_are_refused_whole() -> None:
    options: dict[str, Any]
    for options in ({"near": 0.0}, {"similar": 1.5}, {"max_jump": np.inf}, {"alpha": -1.0}, {"prior_failure": 0.0},
                    {"region_size": 0}):  # fmt: skip
        with pytest.raises(ValueError, match=r"need|at least"):
            LandmarkGraph(**options)
    graph = random_graph(np.random.default_rng(0), 5)
    state = graph.save()
    bad: list[Callable[[], object]] = [
        lambda: graph.connect(np.array([[0, 0]]), np.ones(1)),
        lambda: graph.connect(np.array([[0, 77]]), np.ones(1)),
        lambda: graph.connect(graph.tables.ids[[0, 1]][None].repeat(2, axis=0), np.ones(2)),
        lambda: graph.add_landmarks(np.full((1, 3), np.nan), np.ones((1, 4))),
        lambda: graph.add_landmarks(np.zeros((1, 3)), np.zeros((1, 4))),
        lambda: graph.add_landmarks(np.zeros((1, 3)), np.ones((1, 5))),
        lambda: graph.visit(np.zeros(3), np.ones(4), np.nan),
        lambda: graph.record_traversal(0, 99, success=True),
        lambda: graph.shortest_path(0, -1),
        lambda: graph.match(np.zeros(3), np.full(4, np.nan)),
        lambda: graph.localiser(sigma=0.0),
    ]
    for call in bad:
        with pytest.raises(ValueError):  # noqa: PT011
            call()
    after = graph.save()
    assert {name: a.tobytes() for name, a in after.arrays.items()} == {
        name: a.tobytes() for name, a in state.arrays.items()
    }


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_a_saved_graph_goes_on_as_the_one_it_was(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 12, near=3.0, similar=0.2)
    graph.prune(seen_before=10.0)
    loaded = LandmarkGraph.load(graph.save())
    alive = graph.tables.ids[graph.tables.nodes["is_alive"]].tolist()
    assert nx.utils.graphs_equal(nx.Graph(loaded.to_networkx().edges), nx.Graph(graph.to_networkx().edges))
    for stamp in range(5):
        frame = view(100.0 + stamp, float(rng.uniform(0, 10)), rng.normal(size=4))
        graph.observe(frame)
        loaded.observe(frame)
    assert {n: a.tobytes() for n, a in graph.save().arrays.items()} == {
        n: a.tobytes() for n, a in loaded.save().arrays.items()
    }
    ours, theirs = graph.shortest_path(alive[0], alive[-1]), loaded.shortest_path(alive[0], alive[-1])
    assert (ours is None) == (theirs is None)
    assert ours is None or theirs is None or ours.cost == pytest.approx(theirs.cost)
