"""Moving on a street graph, against rules written down by hand and against walks that end where they should."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.maps.streets import Pose, StreetAction, StreetMap, actions_along, follow, move, start_pose, validated

F, L, R, A, S = (
    StreetAction.FORWARD,
    StreetAction.LEFT,
    StreetAction.RIGHT,
    StreetAction.TURN_AROUND,
    StreetAction.STOP,
)


def crossing(arms: list[float]) -> StreetMap:
    """A place in the middle (0) with arms of two places each: 1 + 2 i next to it, 2 + 2 i behind."""
    exits, xy = [], [(0.0, 0.0)]
    for i, heading in enumerate(arms):
        direction = np.array([np.sin(np.radians(heading)), np.cos(np.radians(heading))])
        back = (heading + 180) % 360
        near, far = 1 + 2 * i, 2 + 2 * i
        exits += [(0, heading, near), (near, back, 0), (near, heading, far), (far, back, near)]
        xy += [tuple(10 * direction), tuple(20 * direction)]
    return StreetMap.from_exits([f"p{i}" for i in range(len(xy))], np.array(xy), exits)


def test_at_a_crossing_forward_left_and_right_are_what_a_driver_calls_so() -> None:
    streets = crossing([0.0, 90.0, 180.0, 270.0])
    arriving = Pose(0, 1.0, 5)  # from the south, heading north and a degree
    assert move(streets, arriving, F).place == 1
    assert move(streets, arriving, R) == Pose(0, 90.0, 0)
    assert move(streets, arriving, L) == Pose(0, 270.0, 0)
    assert move(streets, move(streets, arriving, L), F).place == 7


def test_forward_takes_the_middle_of_the_ways_that_do_not_lead_back() -> None:
    streets = crossing([180.0, 300.0, 20.0, 60.0])
    assert move(streets, Pose(0, 1.0, 1), F).place == 5  # 300, 20, 60 without the way back
    streets = crossing([180.0, 300.0, 20.0])
    assert move(streets, Pose(0, 1.0, 1), F).place == 5  # of two the nearer one


def test_where_there_is_nothing_to_turn_to_turns_mean_forward_and_ends_mean_stop() -> None:
    streets = crossing([0.0, 90.0, 180.0])
    assert validated(streets, 1, L) is F
    assert validated(streets, 1, A) is A
    assert validated(streets, 2, F) is S
    assert move(streets, Pose(2, 0.0, 1), F).place == 2  # the end of the graph
    assert move(streets, Pose(2, 0.0, -1), F).place == 1  # but a start there may be left
    assert move(streets, Pose(1, 0.0, 0), A) == Pose(1, 180.0, 1)


def test_a_snapped_start_looks_along_an_exit() -> None:
    streets = crossing([0.0, 90.0, 180.0])
    assert start_pose(streets, 0, 70.0, is_snapped=True).heading == 90.0
    assert start_pose(streets, 0, 70.4).heading == 70.0


def test_maps_that_make_no_sense_are_refused() -> None:
    xy = np.zeros((2, 2))
    with pytest.raises(ValueError, match="one heading"):
        StreetMap.from_exits(["a", "b"], xy, [(0, 1.0, 1), (0, 1.0, 1)])
    with pytest.raises(ValueError, match="same name"):
        StreetMap.from_exits(["a", "a"], xy, [])
    with pytest.raises(ValueError, match="must join"):
        StreetMap.from_exits(["a", "b"], xy, [(0, 1.0, 2)])
    with pytest.raises(ValueError, match="headings"):
        StreetMap.from_exits(["a", "b"], xy, [(0, 360.0, 1)])
    with pytest.raises(ValueError, match="finite positions"):
        StreetMap.from_exits(["a", "b"], xy * np.nan, [(0, 0.0, 1)])
    with pytest.raises(ValueError, match="finite positions"):
        StreetMap.from_exits(["a", "b", "c"], xy, [(0, 0.0, 1)])
    with pytest.raises(ValueError, match="lengths must hold 1"):
        StreetMap.from_exits(["a", "b"], xy, [(0, 0.0, 1)], lengths=np.zeros(2))


def test_places_that_are_not_there_are_refused_before_compiled_code_sees_them() -> None:
    streets = crossing([0.0, 90.0, 180.0])
    for ask in (lambda: streets.hops_from(7), lambda: streets.hops_to(0, [1, -1]), lambda: streets.way(0, 70)):
        with pytest.raises(ValueError, match=r"0\.\.6"):
            ask()
    lonely = StreetMap.from_exits(["a"], np.zeros((1, 2)), [])
    assert lonely.way(0, 0) == [0]
    assert lonely.hops_to(0, [0]).tolist() == lonely.hops_from(0).tolist() == [0]
    assert start_pose(lonely, 0, 12.0, is_snapped=True) == Pose(0, 12.0)
    assert actions_along(lonely, Pose(0, 12.0), [0]) == [S]  # start and goal are one


def grid(rows: int, columns: int) -> StreetMap:
    """A grid of streets, a place at every crossing and one in the middle of every block."""
    graph = nx.grid_2d_graph(2 * rows - 1, 2 * columns - 1)
    graph.remove_nodes_from([p for p in list(graph) if p[0] % 2 and p[1] % 2])
    names = sorted(graph)
    number = {p: i for i, p in enumerate(names)}
    exits = []
    for a, b in sorted((start, end) for start in names for end in graph[start]):
        heading = float(np.degrees(np.arctan2(b[0] - a[0], b[1] - a[1])) % 360)
        exits.append((number[a], heading, number[b]))
    return StreetMap.from_exits([str(p) for p in names], np.array(names, float) * 10, exits)


@given(seed=st.integers(0, 2**32 - 1))
def test_the_actions_along_a_path_walk_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    streets = grid(4, 4)
    path = [int(rng.integers(len(streets)))]
    heading = rng.choice([h for h, _ in streets.exits(path[0])])
    for _ in range(12):
        ways = [end for _, end in streets.exits(path[-1]) if len(path) < 2 or end != path[-2]]
        path.append(int(rng.choice(ways)))
    actions = actions_along(streets, Pose(path[0], float(heading)), path)
    walked = [pose.place for pose in follow(streets, Pose(path[0], float(heading)), actions)]
    assert [p for i, p in enumerate(walked) if i == 0 or p != walked[i - 1]] == path
    assert actions[-1] is S


@given(seed=st.integers(0, 2**32 - 1))
def test_hops_are_those_of_networkx(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 12
    pairs = [(a, b) for a in range(n) for b in range(n) if a != b and rng.random() < 0.15]
    exits = [(a, float(b), b) for a, b in pairs]
    streets = StreetMap.from_exits([str(i) for i in range(n)], rng.random((n, 2)), exits)
    graph = streets.networkx()
    for is_directed, peer in ((True, graph), (False, graph.to_undirected())):
        wanted = nx.single_source_shortest_path_length(peer, "0")
        hops = streets.hops_to(0, list(range(n)), is_directed=is_directed)
        assert hops.tolist() == [wanted.get(str(i), -1) for i in range(n)]
        assert hops.tolist() == streets.hops_from(0, is_directed=is_directed).tolist()
