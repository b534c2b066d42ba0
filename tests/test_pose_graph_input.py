"""What a pose graph makes of little input, of imprecise input and of other people's: no crash, nothing that cannot be
loaded again, and refusals that say why."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pose_graph_worlds import circle, edge

from embmem.errors import InputError, MissingExtraError
from embmem.geometry import camera_pose
from embmem.maps.pose_graph import Drift, Edge, LoopSearch, PoseGraph
from embmem.maps.pose_graph.consistency import consistent
from embmem.maps.pose_graph.graph import Chain, Keyframe, edge_errors, forward
from embmem.maps.pose_graph.loops import Uncertainty
from embmem.maps.pose_graph.se3 import exponential
from embmem.protocols import Deformation, LayerState
from embmem.records import Query
from embmem.testing import wall_ahead


def seen_at(stamp: float, x: float) -> Any:
    return replace(wall_ahead(stamp), T_map_camera=camera_pose(np.array([x, 0.0, 1.0]), 0.0))


def line(n: int, step: float = 1.0, **options: Any) -> PoseGraph:
    """A graph of n keyframes in a row, one a second."""
    graph = PoseGraph(**options)
    for k in range(n):
        graph.observe(seen_at(float(k), step * k))
    return graph


@pytest.mark.parametrize("n", [0, 1, 2])
def test_so_few_keyframes_have_no_loops(n: int) -> None:
    graph = line(n)
    assert graph.close_loops() is None
    assert len(graph.trajectory()[0]) == len(graph.corrections(graph.trajectory()[0])) == n


def test_keyframes_so_far_apart_that_a_submap_reaches_back_to_the_start_do_not_stop_it() -> None:
    graph = PoseGraph(distance=3.0, angle=3.0)
    for k, x in enumerate((0.0, 3.0, 6.0, 0.5)):
        graph.observe(seen_at(float(k), x))
    assert graph.close_loops() is None


def test_every_field_of_a_query_narrows_the_answer() -> None:
    graph = line(3)
    near = Query(near=np.zeros(3))
    assert len(graph.query(near)) == 3
    assert len(graph.query(replace(near, box=np.array([[0.5, -1.0, 0.0], [9.0, 1.0, 2.0]])))) == 2
    for field in ({"key": "door"}, {"source": "voice"}, {"linked_to": 3}, {"entity": "mug"}, {"text": "mug"}):
        assert graph.query(replace(near, **field)) == []


def test_a_graph_moved_by_rounded_transforms_can_be_loaded_again() -> None:
    graph = line(3)
    T = camera_pose(np.zeros(3), 0.3).astype(np.float32).astype(np.float64)
    for _ in range(40):
        graph.deform(Deformation(np.zeros(1), T[None]))
    again = PoseGraph.load(graph.save())
    np.testing.assert_array_equal(again.trajectory()[1], graph.trajectory()[1])
    np.testing.assert_array_equal(again.T_map_odom, graph.T_map_odom)


def test_what_was_seen_last_before_the_robot_was_put_elsewhere_stays_in_its_session() -> None:
    graph = line(4, step=0.4)  # of which 0, 2 are keyframes, and 3 is not yet
    moved = camera_pose(np.array([5.0, 0.0, 0.0]), 1.0)
    graph.deform(graph.relocated(moved))
    graph.deform(Deformation(np.zeros(1), np.eye(4)[None]))
    assert [(keyframe.stamp, keyframe.session) for keyframe in graph.keyframes] == [(0.0, 0), (2.0, 0), (3.0, 0)]
    np.testing.assert_allclose(graph.keyframes[-1].T_odom_camera, graph.keyframes[-1].T_map_camera, atol=1e-12)


def test_edges_of_others_that_could_not_be_saved_are_refused() -> None:
    graph, good = line(4), Edge(0, 3, np.eye(4), np.eye(6), kind="loop")
    for bad in (
        replace(good, T_i_j=2.0 * np.eye(4)),
        replace(good, T_i_j=np.diag([1.0, 1.0, -1.0, 1.0])),
        replace(good, covariance=np.zeros((6, 6))),
        replace(good, covariance=np.triu(np.ones((6, 6))) + np.eye(6)),
    ):
        with pytest.raises(ValueError, match="not rigid"):
            graph.close_loops([bad])


@given(st.integers(0, 10**6))
def test_an_edge_says_the_same_in_both_directions(seed: int) -> None:
    rng, poses = np.random.default_rng(seed), circle(8)
    root = rng.normal(size=(6, 6))
    back = replace(edge(poses, 6, 1, kind="loop"), covariance=1e-3 * (root @ root.T + np.eye(6)))
    there = forward(back)
    assert (there.i, there.j, there.kind) == (1, 6, "loop")
    poses[6] = poses[6] @ exponential(1e-4 * rng.normal(size=(1, 6)))[0]
    errors = edge_errors(poses, [back, there])
    assert errors[0] == pytest.approx(errors[1], rel=1e-2)
    assert forward(there) is there


def three_sessions() -> tuple[np.ndarray, Chain]:
    """Three rounds on a circle that odometry does not join."""
    poses = np.concatenate([circle(10)] * 3)
    nothing = np.zeros((0, 3), dtype=np.int16), np.zeros(1, dtype=np.float32)
    keyframes = [Keyframe(float(k), k // 10, T, T, T, *nothing) for k, T in enumerate(poses)]
    return poses, Chain(keyframes, Drift())


def test_lone_loops_of_different_sessions_do_not_support_each_other() -> None:
    """One loop from session 0 to 1 and one from 0 to 2: nothing speaks for either."""
    poses, chain = three_sessions()
    lone = [edge(poses, 0, 10, kind="loop"), edge(poses, 0, 20, kind="loop")]
    assert not consistent(lone, chain).any()
    both = [*lone, edge(poses, 5, 15, kind="loop")]
    assert consistent(both, chain).tolist() == [True, False, True]


def test_the_surest_of_several_edges_counts() -> None:
    poses = circle(4)
    nothing = np.zeros((0, 3), dtype=np.int16), np.zeros(1, dtype=np.float32)
    keyframes = [Keyframe(float(k), 0, T, T, T, *nothing) for k, T in enumerate(poses)]
    edges = [edge(poses, k, k + 1) for k in range(3)]
    alone = Uncertainty(keyframes, edges).of(0)
    doubled = Uncertainty(keyframes, [*edges, replace(edge(poses, 0, 1, kind="loop"), covariance=np.eye(6))]).of(0)
    np.testing.assert_array_equal(doubled, alone)


def test_sessions_and_stamps_that_contradict_each_other_are_refused() -> None:
    graph = line(3)
    graph.observe(seen_at(0.5, 9.0))
    state = graph.save()
    assert state.arrays["sessions"].tolist() == [0, 0, 0, 1]
    PoseGraph.load(state)
    arrays = {name: array.copy() for name, array in state.arrays.items()}
    arrays["counters"][1] = 0
    backwards = {**state.arrays, "stamps": state.arrays["stamps"][[1, 0, 2, 3]]}
    search = state.params["search"]
    for bad in (
        replace(state, arrays=arrays),
        replace(state, arrays=backwards),
        replace(state, params={**state.params, "search": {**search, "n_before": 2.5}}),
        replace(state, params={**state.params, "search": {**search, "n_before": True}}),
        replace(state, params={**state.params, "search": {**search, "reach": 10**400}}),
    ):
        assert isinstance(bad, LayerState)
        with pytest.raises(InputError):
            PoseGraph.load(bad)


def test_settings_that_are_no_numbers_are_refused() -> None:
    for options in ({"reach": np.nan}, {"max_sigma": np.inf}, {"n_around": 0}):
        with pytest.raises(ValueError, match="need"):
            LoopSearch(**options)
    with pytest.raises(ValueError, match="finite"):
        Drift(tilt=float("nan"))


def test_deformations_that_move_nothing_or_nowhere_are_refused() -> None:
    T = np.stack([np.eye(4)] * 2)
    for stamps, moves in (
        (np.array([1.0, 0.0]), T),
        (np.array([0.0, np.nan]), T),
        (np.array([0.0, 1.0]), T + np.inf),
        (np.zeros(1), T),
        (np.zeros((2, 1)), T),
    ):
        with pytest.raises(ValueError, match=r"ascend|finite|shape"):
            Deformation(stamps, moves)
    np.testing.assert_array_equal(Deformation(np.zeros(2), T).at(np.array([5.0])), T[:1])


def test_a_graph_that_is_to_close_loops_says_at_the_first_frame_that_gtsam_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gtsam", None)  # what a missing module looks like
    graph = PoseGraph(close_every=20)
    with pytest.raises(MissingExtraError, match="recon"):
        graph.observe(wall_ahead(0.0))
    assert len(graph) == 0
    PoseGraph().observe(wall_ahead(0.0))  # one that is asked needs it only then
