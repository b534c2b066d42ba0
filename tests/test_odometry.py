"""Odometry from depth: the way is found, lost frames are told, and what moves leaves no trace in what is built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_room import LABELS, SIZE, observe_room

from embmem.building.build import build, build_memory
from embmem.building.plan import BuildPlan
from embmem.building.record import read_record
from embmem.cli.build import plan_of
from embmem.cli.main import compose_config, main
from embmem.geometry import backproject, camera_pose, invert_pose, rotation_angle
from embmem.maps.spatial_memory import open_memory
from embmem.maps.voxels import VoxelMap
from embmem.observation import Intrinsics, Observation
from embmem.recordings.rgbd_writer import write_rgbd_folder

CAMERA = Intrinsics.from_fov(96, 72, 80.0)
PILLARS = ((1.2, 1.0, 0.35), (3.9, 3.1, 0.5), (4.2, 0.8, 0.25), (0.9, 3.2, 0.3))  # x, y, half an edge [m]


def with_box(observation: Observation, low: np.ndarray, high: np.ndarray, label: int = 0) -> Observation:
    """The observation with a box in it."""
    k, T = observation.intrinsics, observation.T_map_camera
    rays = backproject(np.ones((k.height, k.width), np.float32), k).astype(np.float64) @ T[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        near, far = (low - T[:3, 3]) / rays, (high - T[:3, 3]) / rays
    enter, leave = np.minimum(near, far).max(axis=2), np.maximum(near, far).min(axis=2)
    depth = np.asarray(observation.depth, dtype=np.float64)
    is_hit = (enter < leave) & (enter > 0.05) & (enter < depth)
    semantic = np.asarray(observation.semantic)
    return replace(
        observation,
        depth=np.where(is_hit, enter, depth).astype(np.float32),
        semantic=np.where(is_hit, label, semantic).astype(np.int32) if label else observation.semantic,
    )


def furnished(T_map_camera: np.ndarray, stamp: float) -> Observation:
    observation = observe_room(T_map_camera, stamp, CAMERA)
    for x, y, half in PILLARS:
        observation = with_box(observation, np.array([x - half, y - half, 0.0]), np.array([x + half, y + half, 1.3]))
    return observation


def way(n: int) -> Iterator[np.ndarray]:
    """A circle in the room, looking outwards and a little down."""
    for i in range(n):
        a = 2.2 * np.pi * i / n
        yield camera_pose(np.array([2.5 + 0.5 * np.cos(a), 2.0 + 0.4 * np.sin(a), 1.5]), a, -0.25)


def errors(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """The largest error of place [m] and of attitude [rad] relative to the first frame."""
    off = [invert_pose(invert_pose(true[0]) @ b) @ invert_pose(found[0]) @ a for a, b in zip(found, true, strict=True)]
    return max(float(np.linalg.norm(T[:3, 3])) for T in off), max(rotation_angle(T[:3, :3]) for T in off)


@pytest.fixture
def odometry() -> Any:
    pytest.importorskip("small_gicp")
    from embmem.maps.odometry import DepthOdometry

    return DepthOdometry


def test_the_way_is_found_and_the_same_every_time(odometry: Any) -> None:
    true = list(way(180))[:24]
    runs = []
    for _ in range(2):
        one = odometry(max_range=5.0)
        runs.append([one.track(replace(furnished(T, i / 30), T_map_camera=np.eye(4))) for i, T in enumerate(true)])
    assert all(T is not None for T in runs[0])
    place, turn = errors(np.array(runs[0]), np.array(true))
    assert place < 0.05
    assert turn < 0.02
    np.testing.assert_array_equal(np.array(runs[0]), np.array(runs[1]))


def test_it_goes_on_as_if_it_had_not_stopped(odometry: Any) -> None:
    frames = [furnished(T, i / 30) for i, T in enumerate(list(way(180))[:20])]
    whole, first, second = odometry(), odometry(), odometry()
    want = [whole.track(o) for o in frames]
    poses, kept = [], []
    for o in frames[:12]:
        poses.append(first.track(o))
        if first.is_kept:
            kept.append((o, poses[-1]))
    second.go_on(kept, poses)
    np.testing.assert_array_equal(np.array([second.track(o) for o in frames[12:]]), np.array(want[12:]))


def test_a_covered_lens_loses_frames_and_the_way_is_found_again(odometry: Any) -> None:
    true = list(way(180))[:30]
    frames = [furnished(T, i / 30) for i, T in enumerate(true)]
    for i in (12, 13):
        frames[i] = replace(frames[i], depth=np.full_like(np.asarray(frames[i].depth), 0.3))
    frames[20] = replace(frames[20], depth=np.full_like(np.asarray(frames[20].depth), np.nan))
    one = odometry(max_range=5.0)
    found = [one.track(o) for o in frames]
    assert [i for i, T in enumerate(found) if T is None] == [12, 13, 20]
    rows = [i for i, T in enumerate(found) if T is not None]
    assert errors(np.array([found[i] for i in rows]), np.array(true)[rows])[0] < 0.05


def plan(recording: Path, out: Path, *settings: str) -> BuildPlan:
    return plan_of(compose_config("build", [f"recording={recording}", f"out={out}", "resolution=0.1", *settings]))


def test_a_recording_is_built_without_its_poses_and_goes_on_when_stopped(tmp_path: Path) -> None:
    pytest.importorskip("small_gicp")
    pytest.importorskip("gtsam")
    true = np.array(list(way(180))[:32])
    write_rgbd_folder((furnished(T, i / 30) for i, T in enumerate(true)), tmp_path / "room")
    (tmp_path / "room" / "T_map_world.txt").unlink(missing_ok=True)  # of the poses
    for file in (tmp_path / "room").glob("*.pose.txt"):
        file.unlink()
    settings = ("odometry=depth", "odometry.track.max_range=5.0")
    straight = build(plan(tmp_path / "room", tmp_path / "a.embmem", *settings))
    poses = straight.T_map_camera if straight.T_map_camera_corrected is None else straight.T_map_camera_corrected
    assert errors(poses, true)[0] < 0.05

    class Stopped(BaseException):
        pass

    def stop(part: str, done: int, total: int) -> None:
        if (part, done) in (("odometry", 21), ("building", 15)):
            raise Stopped

    stopped = plan(tmp_path / "room", tmp_path / "b.embmem", *settings, "checkpoint=0")
    told: list[str] = []

    def count(part: str, done: int, total: int) -> None:
        told.append(part)

    with pytest.raises(Stopped):
        build(stopped, stop)
    with pytest.raises(Stopped):
        build(stopped, lambda part, done, total: stop(part, done, total) if part == "building" else None)
    built = build_memory(stopped, count)
    assert set(told) == {"building"}
    assert built.record.map_hash == straight.map_hash
    kept = read_record(tmp_path / "b.embmem")
    assert kept is not None
    np.testing.assert_array_equal(kept.T_map_camera, straight.T_map_camera)


def test_without_poses_and_without_odometry_the_way_out_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rgbd_folder((furnished(T, i / 30) for i, T in enumerate(list(way(60))[:3])), tmp_path / "room")
    for file in (tmp_path / "room").glob("*.pose.txt"):
        file.unlink()
    assert main(["build", str(tmp_path / "room"), f"out={tmp_path}/a.embmem"]) == 1
    assert "odometry=depth" in capsys.readouterr().err


def crossing(n: int, label: int = 0) -> Iterator[Observation]:
    """A camera that sways a little while somebody walks through the room in front of it."""
    for i in range(n):
        T = camera_pose(np.array([0.4 + 0.1 * np.sin(i / 9), 2.0, 1.4]), 0.05 * np.sin(i / 7), -0.1)
        y = 0.3 + 3.4 * i / n
        low, high = np.array([2.3, y - 0.25, 0.0]), np.array([2.8, y + 0.25, 1.7])
        yield with_box(observe_room(T, i / 10, CAMERA), low, high, label)


def inside(path: Path) -> int:
    """Occupied voxels in the air of the room."""
    occupied = open_memory(path).layer(VoxelMap).occupied()
    centres = occupied + 0.05
    return int(((centres > 0.25) & (centres < SIZE - 0.25)).all(axis=1).sum())


@pytest.mark.parametrize("settings", [["moving={spacing:5,n_frames:4}"], ["moving={classes:[mug],n_frames:0}"]])
def test_what_moves_leaves_no_trace(settings: list[str], tmp_path: Path) -> None:
    write_rgbd_folder(crossing(60, label=LABELS.index("mug")), tmp_path / "room")
    build(plan(tmp_path / "room", tmp_path / "with.embmem", "frame=identity"))
    build(plan(tmp_path / "room", tmp_path / "without.embmem", "frame=identity", *settings))
    assert inside(tmp_path / "with.embmem") > 20
    assert inside(tmp_path / "without.embmem") == 0


def test_what_stands_still_stays(tmp_path: Path) -> None:
    write_rgbd_folder((furnished(T, i / 30) for i, T in enumerate(list(way(180))[:30])), tmp_path / "room")
    plain = build(plan(tmp_path / "room", tmp_path / "a.embmem", "frame=identity"))
    careful = build(plan(tmp_path / "room", tmp_path / "b.embmem", "frame=identity", "moving={}"))
    assert plain.map_hash == careful.map_hash
