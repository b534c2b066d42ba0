"""A memory whose odometry drifts finds its loops, moves everything at once, and survives a power cut doing so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pose_graph_worlds import drive, trajectory_error

from embmem.durable import DurableMemory
from embmem.errors import InputError
from embmem.geometry import backproject, camera_pose, transform_points
from embmem.maps import ObjectMemory, VoxelMap
from embmem.maps.pose_graph import Edge, LoopSearch, PoseGraph
from embmem.maps.pose_graph.appearance import SIZE, describe, similarity
from embmem.maps.pose_graph.clouds import packed, thinned, visible
from embmem.maps.pose_graph.graph import STEP
from embmem.maps.pose_graph.se3 import inverse
from embmem.memory import Memory
from embmem.protocols import Deformation, LayerState, PoseCorrector
from embmem.records import Link, Query, Record
from embmem.testing import LayerContract, wall_ahead

gtsam = pytest.importorskip("gtsam", reason="needs GTSAM (extra recon)")

RESOLUTION = 0.05  # [m]
N_FRAMES = 200
FEW = LoopSearch(n_candidates=2, spacing=2.5)  # loops, so that the tests are quick


class TestPoseGraphContract(LayerContract):
    @pytest.fixture
    def layer(self) -> PoseGraph:
        return PoseGraph(distance=0.3, angle=0.1)


def robot() -> Memory:
    return Memory([VoxelMap(RESOLUTION), ObjectMemory(), PoseGraph(search=FEW)])


def same_state(a: LayerState, b: LayerState) -> bool:
    arrays = {name: array.tobytes() for name, array in a.arrays.items()}
    return a.params == b.params and arrays == {name: array.tobytes() for name, array in b.arrays.items()}


@pytest.fixture(scope="module")
def closed() -> tuple[Memory, Deformation, dict[str, Any]]:
    """A memory after its loops were closed, how it moved, and what was where before."""
    frames, _ = drive(N_FRAMES)
    memory = robot()
    for frame in frames[:-20]:
        memory.observe(frame)
    graph, things = memory.layer(PoseGraph), memory.layer(ObjectMemory)
    before = {
        "trajectory": graph.trajectory(),
        "things": things.query(Query(k=1000)),
        "voxels": VoxelMap.load(memory.layer(VoxelMap).save()),
    }
    deformation = memory.close_loops()
    assert deformation is not None
    return memory, deformation, before


def test_the_trajectory_comes_nearer_to_the_truth(closed: tuple[Memory, Deformation, dict[str, Any]]) -> None:
    memory, _, before = closed
    frames, true = drive(N_FRAMES)
    at = {frame.stamp: T for frame, T in zip(frames, true, strict=True)}
    stamps, poses = memory.layer(PoseGraph).trajectory()
    after = trajectory_error(poses, np.stack([at[stamp] for stamp in stamps]))
    stamps, poses = before["trajectory"]
    assert after < 0.5 * trajectory_error(poses, np.stack([at[stamp] for stamp in stamps]))
    assert memory.stats()["pose_graph"]["loops"] >= 2


def test_what_comes_in_later_is_corrected(closed: tuple[Memory, Deformation, dict[str, Any]]) -> None:
    memory, _, _ = closed
    frames, true = drive(N_FRAMES)
    graph = memory.layer(PoseGraph)
    assert isinstance(graph, PoseCorrector)
    copy = Memory([PoseGraph.load(graph.save())])
    errors = []
    for frame, T in list(zip(frames, true, strict=True))[-20:]:
        admitted = copy.observe(frame)
        np.testing.assert_allclose(admitted.T_map_camera, graph.T_map_odom @ frame.T_map_camera, atol=1e-12)
        errors.append([np.linalg.norm((A - T)[:3, 3]) for A in (admitted.T_map_camera, frame.T_map_camera)])
    corrected, raw = np.mean(errors, axis=0)
    assert corrected < 0.5 * raw


def test_layers_agree_after_the_loop_closes(closed: tuple[Memory, Deformation, dict[str, Any]]) -> None:
    """A thing, the surface it stands in and the keyframe that saw them move together, to within a voxel."""
    memory, deformation, before = closed
    things = {hit.detail["id"]: hit for hit in memory.layer(ObjectMemory).query(Query(k=1000))}
    assert len(things) == len(before["things"]) > 5
    old, new = before["voxels"], memory.layer(VoxelMap)
    for hit in before["things"]:
        T = deformation.at(np.array([hit.stamp]))[0]
        expected = T[:3, :3] @ hit.position + T[:3, 3]
        np.testing.assert_allclose(np.asarray(things[hit.detail["id"]].position), expected, atol=1e-9)
    stamps = old.blocks.stamps[old._centres(1, 127)[1]]
    T = deformation.at(stamps)
    places = np.einsum("nij,nj->ni", T[:, :3, :3], old.occupied()) + T[:, :3, 3]
    distances = new.nearest_occupied(places)[1]
    assert distances.max() <= np.sqrt(3) / 2 * RESOLUTION + 1e-9


def test_a_record_tells_where_it_is_now(closed: tuple[Memory, Deformation, dict[str, Any]]) -> None:
    memory, deformation, before = closed
    graph = memory.layer(PoseGraph)
    views = memory.store.read(Query(kind="view", k=1000))
    assert len(views) > 10
    for view in views:
        T = deformation.at(np.array([view.t_event]))[0]
        now = graph.now(view)
        assert now.T_map_obs is not None
        np.testing.assert_allclose(now.T_map_obs, T @ view.T_map_obs, atol=1e-9)
        assert now.id == view.id
    hit = before["things"][0]
    note = Record(kind="note", t_event=hit.stamp, source="test", position=hit.position, links=(Link("at", 1),))
    moved = {each.detail["id"]: each for each in memory.layer(ObjectMemory).query(Query(k=1000))}
    position, expected = graph.now(note).position, moved[hit.detail["id"]].position
    assert position is not None
    assert expected is not None
    np.testing.assert_allclose(position, expected, atol=1e-9)
    assert graph.now(note).links == note.links
    later = replace(note, t_event=hit.stamp)
    assert graph.now(replace(later, position=None)).position is None


def shift(x: float, stamps: np.ndarray) -> Deformation:
    T = np.tile(np.eye(4), (len(stamps), 1, 1))
    T[:, 0, 3] = x
    return Deformation(stamps, T)


def test_records_follow_every_deformation_since_they_were_made_and_no_other() -> None:
    """Notes at each frame of three stretches between two deformations, of which frames are keyframes by chance."""
    graph, stamp, notes = PoseGraph(distance=0.3), 0.0, []
    for stretch in range(3):
        for _ in range(7):
            pose = camera_pose(np.array([0.1 * stamp, 0.0, 1.0]), 0.0)
            graph.observe(replace(wall_ahead(stamp), T_map_camera=graph.T_map_odom @ pose))
            notes.append(Record(kind="note", t_event=stamp, source="test", position=np.zeros(3)))
            stamp += 1.0
        if stretch < 2:
            graph.deform(shift(10.0**stretch, graph.trajectory()[0]))
    for note in notes:
        expected = 11.0 * (note.t_event < 7) + 10.0 * (7 <= note.t_event < 14)
        position = graph.now(note).position
        assert position is not None
        assert position[0] == pytest.approx(expected)
    assert graph.T_map_odom[0, 3] == pytest.approx(11.0)


def test_without_loops_nothing_changes_by_a_bit() -> None:
    frames, _ = drive(N_FRAMES)
    plain, with_graph = Memory([VoxelMap(RESOLUTION), ObjectMemory()]), robot()
    for frame in frames[:40]:
        assert with_graph.observe(frame) is not None
        plain.observe(frame)
    for a, b in zip(plain.layers, with_graph.layers, strict=False):
        assert same_state(a.save(), b.save())
    with pytest.raises(ValueError, match="pose graph"):
        plain.close_loops()


def test_looking_for_loops_alone_changes_nothing() -> None:
    frames, _ = drive(N_FRAMES)
    graph = PoseGraph(search=FEW)
    for frame in frames:
        graph.observe(frame)
    state = graph.save()
    deformation = graph.close_loops()
    assert deformation is not None
    assert same_state(graph.save(), state)
    again = PoseGraph.load(state).close_loops()
    assert again is not None
    assert again.T_new_old.tobytes() == deformation.T_new_old.tobytes()
    graph.deform(deformation)
    assert graph.close_loops() is None  # nothing new to say


def test_false_loops_from_elsewhere_are_doubted() -> None:
    frames, _ = drive(N_FRAMES)
    graph = PoseGraph(search=FEW)
    for frame in frames:
        graph.observe(frame)
    state, rng = graph.save(), np.random.default_rng(0)
    false = []
    for _ in range(10):
        i, j = sorted(rng.choice(len(graph), 2, replace=False).tolist())
        T = camera_pose(rng.uniform(-3, 3, 3), float(rng.uniform(-3, 3)))
        false.append(Edge(i, j, T, 1e-4 * np.eye(6), kind="loop"))
    clean, dirty = PoseGraph.load(state).close_loops(), graph.close_loops(false)
    assert clean is not None
    assert dirty is not None
    np.testing.assert_allclose(dirty.T_new_old, clean.T_new_old, atol=1e-6)
    graph.deform(dirty)
    assert not any(loop.is_on for loop in graph.loops[-10:])


def cut(file: Path, to: Path) -> Path:
    """The file as a power cut would leave it now."""
    for part in (file, file.with_name(file.name + "-wal")):
        if part.exists():
            shutil.copy(part, to.with_name(to.name + part.name.removeprefix(file.name)))
    return to


def test_loops_survive_a_power_cut_and_the_log_alone_gives_the_same_bytes(tmp_path: Path) -> None:
    frames, _ = drive(N_FRAMES)
    types = (VoxelMap, PoseGraph)
    memory = DurableMemory(tmp_path / "a.embmem", [VoxelMap(0.1), PoseGraph(search=FEW)], depth_step=None)
    for frame in frames[:-10]:
        memory.observe(frame)
    assert memory.close_loops() is not None
    for frame in frames[-10:]:
        memory.observe(frame)
    memory.flush()
    after_cut = cut(tmp_path / "a.embmem", tmp_path / "b.embmem")
    states = [layer.save() for layer in memory.layers]
    memory.close()
    for path in (after_cut, tmp_path / "a.embmem"):
        with DurableMemory(path, layer_types=types) as again:
            assert all(same_state(a.save(), b) for a, b in zip(again.layers, states, strict=True))
            assert len(again.layer(PoseGraph).loops) > 1
            assert again.stats()["log"]["replayed"] == (len(frames) + 1 if path == after_cut else 0)


def test_loops_that_rest_on_withdrawn_frames_go_with_them(tmp_path: Path) -> None:
    from embmem.store.amend import withdraw

    frames, _ = drive(N_FRAMES)
    with DurableMemory(tmp_path / "a.embmem", [PoseGraph(search=FEW)]) as memory:
        for frame in frames:
            memory.observe(frame)
        assert memory.close_loops() is not None
        graph = memory.layer(PoseGraph)
        n_loops, end = len(graph.loops), graph.keyframes[graph.loops[0].j].stamp
        record = memory.store.read(Query(kind="frame", since=end, until=end + 1e-6))[0]
        assert record.id is not None
        withdraw(memory.store, [record.id], reason="a hand before the lens")
        assert memory.refresh()
        graph = memory.layer(PoseGraph)
        assert 0 < len(graph.loops) < n_loops
        assert all(graph.keyframes[loop.j].stamp != end for loop in graph.loops)


def test_it_closes_loops_by_itself(tmp_path: Path) -> None:
    frames, _ = drive(N_FRAMES)
    with DurableMemory(tmp_path / "a.embmem", [PoseGraph(close_every=25, search=FEW)]) as memory:
        for frame in frames:
            memory.observe(frame)
        assert memory.stats()["pose_graph"]["loops"] >= 2
        assert not np.array_equal(memory.layer(PoseGraph).T_map_odom, np.eye(4))


def test_a_new_session_begins_when_the_clock_runs_back_or_the_robot_is_put_elsewhere() -> None:
    graph = PoseGraph()
    for stamp, x in ((0.0, 0.0), (1.0, 1.0), (0.5, 2.0), (1.5, 3.0)):
        graph.observe(replace(wall_ahead(stamp), T_map_camera=camera_pose(np.array([x, 0.0, 1.0]), 0.0)))
    assert [keyframe.session for keyframe in graph.keyframes] == [0, 0, 1, 1]
    assert [(edge.i, edge.j) for edge in graph.edges] == [(0, 1), (2, 3)]
    moved = camera_pose(np.array([5.0, 0.0, 0.0]), 1.0)
    graph.deform(graph.relocated(moved))
    np.testing.assert_allclose(graph.T_map_odom, moved, atol=1e-12)
    graph.observe(replace(wall_ahead(2.0), T_map_camera=moved))
    assert graph.keyframes[-1].session == 2
    np.testing.assert_allclose(graph.keyframes[-1].T_odom_camera, np.eye(4), atol=1e-12)
    with pytest.raises(InputError):
        graph.deform(graph.relocated(2.0 * np.eye(4)))


def test_rounded_poses_of_recordings_can_be_saved() -> None:
    graph = PoseGraph()
    pose = camera_pose(np.array([1.0, 2.0, 1.0]), 0.7)
    pose[:3, :3] *= 1.0002  # passes the gate
    graph.observe(replace(wall_ahead(), T_map_camera=pose))
    assert same_state(PoseGraph.load(graph.save()).save(), graph.save())
    np.testing.assert_allclose(graph.keyframes[0].T_map_camera, pose, atol=1e-3)


def test_only_so_many_clouds_are_kept() -> None:
    graph = PoseGraph(max_clouds=10, distance=0.05)
    for k in range(40):
        pose = camera_pose(np.array([0.1 * (k % 5), 0.0, 1.0]), 0.0)
        graph.observe(replace(wall_ahead(float(k)), T_map_camera=pose))
    n_clouds = sum(len(keyframe.cloud) > 0 for keyframe in graph.keyframes)
    assert 8 <= n_clouds <= 10
    assert len(graph) == 40


def breaking(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[LayerState], LayerState]:
    return lambda state: replace(state, arrays={**state.arrays, name: change(state.arrays[name])})


def test_damaged_states_are_refused(closed: tuple[Memory, Deformation, dict[str, Any]]) -> None:
    state = closed[0].layer(PoseGraph).save()
    assert same_state(PoseGraph.load(state).save(), state)
    for harm in (
        breaking("T_map_camera", lambda a: 2.0 * a),
        breaking("T_odom_camera", lambda a: a[:-1]),
        breaking("stamps", lambda a: a * np.nan),
        breaking("cloud_ends", lambda a: a + 1),
        breaking("cloud_ends", lambda a: a[::-1].copy()),
        breaking("sessions", lambda a: a - 1),
        breaking("loop_ends", lambda a: a + len(state.arrays["stamps"])),
        breaking("loop_covariances", lambda a: -a),
        breaking("is_on", lambda a: a[:-1]),
        breaking("counters", lambda a: a + 10**6),
        breaking("last", lambda a: a[:5]),
        lambda s: replace(s, params={**s.params, "voxel": 0.0}),
        lambda s: replace(s, params={**s.params, "close_every": 0.5}),
        lambda s: replace(s, params={**s.params, "search": {"reach": 1.0}}),
        lambda s: replace(s, params={**s.params, "search": {**s.params["search"], "reach": "far"}}),
    ):
        with pytest.raises(InputError):
            PoseGraph.load(harm(state))


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"distance": 0.0}, {"voxel": 2.0}, {"close_every": -1}, {"tilt": 0.0}):
        with pytest.raises(ValueError, match=r"need|must"):
            PoseGraph(**wrong)
    with pytest.raises(ValueError, match="edge"):
        PoseGraph().close_loops([Edge(0, 1, np.eye(4), np.eye(6), kind="loop")])


@given(st.integers(0, 10**6), st.floats(0.05, 0.5))
def test_a_packed_cloud_holds_one_point_for_every_voxel(seed: int, voxel: float) -> None:
    points = np.random.default_rng(seed).uniform(-3, 3, (200, 3))
    cells: dict[tuple[int, ...], list[np.ndarray]] = {}
    for point in points:
        cells.setdefault(tuple(np.floor(point / voxel).astype(int).tolist()), []).append(point)
    expected = np.array([np.mean(cells[cell], axis=0) for cell in sorted(cells)])
    np.testing.assert_allclose(thinned(points, voxel), expected, atol=1e-9)
    np.testing.assert_allclose(packed(points, voxel) * STEP, expected, atol=STEP / 2 + 1e-9)


@given(st.floats(-np.pi, np.pi))
def test_a_place_looks_the_same_from_every_heading(yaw: float) -> None:
    frame = replace(wall_ahead(), rgb=None)
    points, pixels = visible(frame, 5.0)
    turned = camera_pose(np.array([3.0, 1.0, 1.0]), yaw)
    a, b = describe(frame, points, pixels), describe(replace(frame, T_map_camera=turned), points, pixels)
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert similarity(a, b[None])[0] == pytest.approx(1.0, abs=1e-5)


def test_places_that_look_alike_are_told_from_others() -> None:
    frames, true = drive(N_FRAMES)
    near = [describe(frame, *visible(frame, 5.0)) for frame in frames]
    looks = np.stack([similarity(view, np.stack(near)) for view in near])
    positions = np.stack([T[:3, 3] for T in true])
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    same = (apart < 0.3) & (np.einsum("aij,bij->ab", true[:, :3, 2:3], true[:, :3, 2:3]) > 0.9)
    assert np.median(looks[same]) > np.percentile(looks[~same & (apart > 2.0)], 75)
    nothing = similarity(np.zeros(SIZE, dtype=np.float32), np.stack(near))
    np.testing.assert_array_equal(nothing, 0.0)


def test_clouds_are_what_the_camera_saw() -> None:
    frame = wall_ahead()
    graph = PoseGraph()
    graph.observe(frame)
    assert frame.depth is not None
    points = backproject(frame.depth, frame.intrinsics).reshape(-1, 3)
    near = np.linalg.norm(graph.keyframes[0].points()[:, None] - points[None], axis=2).min(axis=1)
    assert near.max() < 0.1
    middle = transform_points(frame.T_map_camera, graph.keyframes[0].points())
    assert 1.7 < middle[:, 0].mean() < 2.1
    np.testing.assert_allclose(inverse(frame.T_map_camera) @ frame.T_map_camera, np.eye(4), atol=1e-12)
