"""Each stress of the memory node has one policy and one counter; each is produced here as it comes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_room import walk
from bus import NS
from robot_on_bus import IMAGE, START, Robot, later

from embmem.map_hash import map_hash
from embmem.ros.nodes.memory.clock import Watch
from embmem.ros.nodes.memory.counters import COUNTERS
from embmem.ros.nodes.memory.diagnosing import PARTS
from embmem.ros.nodes.memory.services import STOPS
from embmem.ros.nodes.memory.worker import Worker
from embmem.ros.outgoing.parts import transform

OK, WARN, ERROR, STALE = 0, 1, 2, 3


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Robot]:
    robot = Robot(tmp_path).start()
    yield robot
    robot.stop()


class Gate:
    """Holds the mapping thread in a job until it is opened."""

    def __init__(self, robot: Robot) -> None:
        self._open, self._is_held = threading.Event(), threading.Event()

        def wait() -> None:
            self._is_held.set()
            self._open.wait(30)

        assert robot.node.worker is not None
        robot.node.worker.submit(wait, urgent=True)
        self._is_held.wait(30)

    def open(self) -> None:
        self._open.set()


def test_every_counter_is_in_diagnostics_once() -> None:
    told = [name for names in PARTS.values() for name in names]
    assert sorted(told) == sorted(COUNTERS)


def test_images_faster_than_they_are_mapped_newest_drops_the_oldest(tmp_path: Path) -> None:
    robot = Robot(tmp_path, mode="newest", queue_size=2, thin_interval=0.0).start()
    gate = Gate(robot)
    frames = list(walk(10))
    for frame in frames:
        robot.see(frame)
    gate.open()
    robot.settle()
    counts = robot.counts()
    assert (counts["received"], counts["mapped"], counts["dropped_queue"]) == (10, 2, 8)
    latest = robot.node.mapping.latest
    assert latest is not None
    assert latest.t_event == pytest.approx(START + frames[-1].stamp)
    assert robot.status("mapping").level == OK  # it is what this mode is for
    robot.stop()


def test_mode_all_drops_nothing_until_its_queue_is_full_and_then_says_so(tmp_path: Path) -> None:
    robot = Robot(tmp_path, mode="all", replay_queue=6).start()
    gate = Gate(robot)
    frames = list(walk(9))
    for frame in frames:
        robot.see(frame)
    status = robot.status("mapping")
    assert status.level == ERROR
    assert "play slower" in status.message
    gate.open()
    robot.settle()
    counts = robot.counts()
    assert (counts["mapped"], counts["dropped_queue"]) == (6, 3)
    robot.stop()


def test_a_pose_that_comes_late_but_in_time_is_waited_for_in_order(robot: Robot) -> None:
    frames = list(walk(4))
    for frame in frames:
        robot.see(frame, tf=False)
    robot.bus.advance(0.3)
    assert robot.counts()["mapped"] == 0
    stamped = [transform(f.T_map_camera, "map", "optical", round((START + f.stamp) * NS)) for f in frames]
    robot.bus.send("/tf", "tf2_msgs/msg/TFMessage", {"transforms": stamped[::-1]})
    robot.settle()
    counts = robot.counts()
    assert (counts["mapped"], counts["tf_late"], counts["stamp_backward"]) == (4, 0, 0)


def test_a_pose_that_comes_too_late_costs_its_frame_and_a_warning(robot: Robot) -> None:
    frames = list(walk(4))
    robot.see(frames[0])
    for frame in frames[1:3]:
        robot.see(frame, tf=False)
    robot.bus.advance(0.6)
    robot.see(frames[3])
    assert robot.status("poses").level == WARN
    robot.settle()
    counts = robot.counts()
    assert (counts["mapped"], counts["tf_late"], counts["tf_missing"]) == (2, 2, 0)
    assert any("frame dropped" in text and "after the last" in text for _, _, text in robot.bus.logs)


def test_a_frame_that_tf_does_not_know_is_dropped_after_the_wait(robot: Robot) -> None:
    frame = next(walk(1))
    robot.see(frame, tf=False)
    robot.bus.advance(0.4)
    assert robot.counts()["tf_missing"] == 0
    robot.bus.advance(0.2)
    assert robot.counts()["tf_missing"] == 1
    assert "no transform names the frame" in robot.status("poses").message


def test_poses_too_far_apart_are_not_interpolated_between(robot: Robot) -> None:
    first, last = list(walk(2))
    middle = later([first], 0.7)[0]
    robot.see(first)
    robot.see(middle, tf=False)
    robot.see(*later([last], 1.4))
    robot.settle()
    assert robot.counts()["tf_gap"] == 1
    assert robot.counts()["mapped"] == 2


def test_without_camera_info_frames_wait_and_then_go(robot: Robot) -> None:
    frames = list(walk(3))
    robot.see(frames[0], info=False)
    robot.bus.advance(0.6)
    assert robot.counts()["camera_missing"] == 1
    assert "depth/camera_info" in robot.status("input").message
    robot.see(frames[1], info=False)
    robot.see(frames[2])
    robot.settle()
    assert robot.counts()["mapped"] == 2


def test_the_clock_goes_back_a_new_session_begins_and_nothing_is_mapped_where_the_robot_may_not_be(
    robot: Robot,
) -> None:
    frames = list(walk(6))
    robot.walk(frames[:3])
    before = map_hash(robot.memory)
    robot.see(frames[3], tf=False)  # waits for its pose
    robot.bus.jump(-100.0)
    robot.walk(later(frames[4:], -100.0))
    counts = robot.counts()
    assert (counts["clock_backward"], counts["tf_late"]) == (1, 1)
    assert (counts["mapped"], counts["unlocalised"]) == (3, 2)
    assert map_hash(robot.memory) == before
    assert robot.status("localisation").level == WARN
    assert not robot.ask("correct", "CorrectMemory", action=5, text="here").success  # wherever that is


def test_with_a_trusted_map_frame_mapping_goes_on_in_a_new_session(tmp_path: Path) -> None:
    robot = Robot(tmp_path, trust_map_frame=True).start()
    frames = list(walk(6))
    robot.walk(frames[:3])
    robot.bus.jump(-100.0)
    robot.walk(later(frames[3:], -100.0))
    assert (robot.counts()["mapped"], robot.memory.gate.session) == (6, 1)
    robot.stop()


def test_stamps_that_go_back_without_the_clock_are_out_of_order_or_refused(tmp_path: Path) -> None:
    robot = Robot(tmp_path, clock_backwards="refuse").start()
    frames = list(walk(3))
    robot.walk(later(frames, 10.0))
    robot.see(*later(frames[:1], 9.9))  # a little: out of order
    robot.see(*later(frames[:1], 2.0))
    robot.settle()
    counts = robot.counts()
    assert (counts["stamp_backward"], counts["refused"], counts["mapped"]) == (2, 1, 3)
    assert "clock_backwards" in robot.status("mapping").message or counts["refused"] == 1
    robot.stop()


def test_the_clock_goes_far_ahead_and_frames_begin_to_wait_anew(robot: Robot) -> None:
    frames = list(walk(3))
    robot.walk(frames[:1])
    late = later(frames[1:2], 2.0)[0]
    robot.see(late, tf=False)
    robot.bus.jump(1000.0)
    robot.bus.advance(0.3)
    assert (robot.counts()["clock_forward"], robot.counts()["tf_late"]) == (1, 0)
    robot.see(*later(frames[2:], 1002.0))
    robot.bus.advance(0.3)
    counts = robot.counts()
    assert counts["tf_late"] + counts["tf_gap"] == 1  # the pose of the frame from before never came
    robot.settle()
    assert robot.counts()["mapped"] == 2


def test_a_clock_that_somebody_sets_is_found_out() -> None:
    now, steady = [0], [0]
    watch = Watch(lambda: now[0], lambda: 1.0, steady_ns=lambda: steady[0])
    found = []
    for step, true_step in ((20, 20), (500, 20), (-3000, 20), (5000, 5000), (2000, 20)):
        now[0] += step * 10**6
        steady[0] += true_step * 10**6
        jump = watch.look()
        found.append(None if jump is None else jump[1] > jump[0])
    assert found == [None, None, False, None, True]


def test_a_sensor_that_pauses_is_told_once_and_mapping_goes_on(robot: Robot) -> None:
    frames = list(walk(4))
    robot.walk(frames[:2])
    robot.bus.advance(3.0)
    assert robot.counts()["sensor_pauses"] == 1
    assert robot.status("input").level == STALE
    robot.walk(later(frames[2:], 5.0))
    assert robot.counts()["mapped"] == 4
    assert robot.status("input").level == OK
    assert robot.counts()["sensor_pauses"] == 1


@pytest.mark.parametrize(("encoding", "nothing"), [("32FC1", np.nan), ("32FC1", np.inf), ("16UC1", 0.0)])
def test_depth_that_was_not_measured_is_unknown_and_never_empty_space(
    tmp_path: Path, encoding: str, nothing: float
) -> None:
    robot, other = Robot(tmp_path / "a").start(), Robot(tmp_path / "b").start()
    frames = list(walk(4))
    assert frames[2].depth is not None
    holes = frames[2].depth.copy()
    holes[:, ::2] = nothing
    for frame in frames[:2]:
        robot.see(frame, encoding=encoding)
        other.see(frame, encoding=encoding)
    robot.settle()
    other.settle()
    before = map_hash(robot.memory)
    robot.see(frames[2], depth=np.full_like(holes, nothing), encoding=encoding)
    robot.settle()
    assert robot.counts()["invalid_depth"] == 1
    assert robot.voxels.occupied().tolist() == other.voxels.occupied().tolist()
    assert robot.voxels.free().tolist() == other.voxels.free().tolist()
    robot.see(frames[3], depth=holes, encoding=encoding)
    robot.settle()
    assert (robot.counts()["invalid_depth"], robot.counts()["mapped"]) == (1, 4)
    assert map_hash(robot.memory) != before
    robot.stop()
    other.stop()


def test_messages_that_make_no_sense_are_dropped_by_name_and_the_node_goes_on(robot: Robot) -> None:
    frames = list(walk(3))
    robot.see(frames[0])
    head = {"stamp": {"sec": int(START), "nanosec": 100_000_000}, "frame_id": "optical"}
    for wrong in (
        {"header": head, "height": 4, "width": 4, "encoding": "rgb999", "step": 4, "data": b"1234" * 4},
        {"header": head, "height": 48, "width": 64, "encoding": "32FC1", "step": 256, "data": b"1234"},
        {"header": head, "height": 2**31, "width": 2**31, "encoding": "16UC1", "step": 1, "data": b""},
    ):
        robot.send("depth/image", IMAGE, wrong)
    robot.see(frames[2])
    robot.settle()
    counts = robot.counts()
    assert (counts["mapped"], counts["bad_message"]) == (2, 3)
    assert robot.status("mapping").level == OK
    assert robot.bus.failures == []


def test_who_asks_while_the_node_is_stopped_is_told_so(tmp_path: Path) -> None:
    robot = Robot(tmp_path).start()
    robot.walk(walk(2))
    gate = Gate(robot)
    answers: list[Any] = []
    client = robot.bus.ports("asker").client("embmem_msgs/srv/SaveMemory", "/memory/save")
    for _ in range(3):
        client.call({"path": "x"}, answers.append, timeout=1e6)
    robot.bus.spin()
    assert answers == []
    threading.Timer(0.05, gate.open).start()
    robot.stop()
    robot.bus.spin()
    assert [(a.success, a.message) for a in answers] == [(False, STOPS)] * 3
    assert robot.counts()["stopped_requests"] == 3
    again = Robot(tmp_path, robot.bus).start()
    assert again.ask("save", "SaveMemory", path="x").success
    again.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(ballast: Path) -> None:
    """Write until nothing more goes onto the disk."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(os.urandom(4096))


def test_a_full_disk_stops_mapping_keeps_answering_and_mapping_goes_on_when_there_is_room(small_disk: Path) -> None:
    robot = Robot(small_disk, disk_reserve=0, retry_period=0.1).start()
    frames = list(walk(24))
    robot.walk(frames[:4])
    robot.memory.flush()
    ballast = small_disk / "ballast"
    fill(ballast)
    noise = np.random.default_rng(0)
    for frame in later(frames[4:], 1.0):
        assert frame.depth is not None
        depth = frame.depth + noise.uniform(0, 0.02, frame.depth.shape).astype(np.float32)
        robot.see(frame, depth=depth)
    robot.settle()
    status = robot.status("storage")
    assert status.level == ERROR
    assert "nothing is mapped" in status.message
    counts = robot.counts()
    assert counts["storage_failures"] >= 1
    assert counts["lost_storage"] > 0
    assert robot.ask("query", "QueryMemory", kind="view").success
    assert not robot.ask("correct", "CorrectMemory", action=5, text="x", label="y").success
    ballast.unlink()
    robot.bus.spin_until(lambda: robot.counts()["reopened"] == 1, advance=0.5)
    robot.walk(later(frames[:3], 100.0))
    assert robot.counts()["mapped"] >= 7
    assert robot.status("storage").level == OK
    robot.stop()
    again = Robot(small_disk, trust_map_frame=True, disk_reserve=0).start()
    n_frames = len(again.ask("query", "QueryMemory", kind="frame", k=100).found.items)
    assert n_frames >= 7
    again.stop()


def test_below_the_reserve_nothing_is_written_at_all(small_disk: Path) -> None:
    robot = Robot(small_disk, disk_reserve=2, retry_period=0.1).start()
    robot.walk(walk(3))
    assert robot.counts()["mapped"] == 3
    (small_disk / "ballast").write_bytes(os.urandom(1 << 20))
    robot.bus.spin_until(lambda: robot.counts()["storage_failures"] == 1, advance=0.5)
    robot.walk(later(walk(3), 5.0))
    assert robot.counts()["mapped"] == 3
    assert robot.counts()["lost_storage"] == 3
    assert "disk_reserve" in robot.status("storage").message
    robot.stop()


def test_a_worker_does_jobs_between_items_and_urgent_ones_first() -> None:
    done: list[str] = []
    gate = threading.Event()
    worker: Worker[str] = Worker(done.append, name="test")
    worker.submit(lambda: gate.wait(10))
    assert worker.offer("a", room=2, drop_oldest=True) == 0
    job = worker.submit(lambda: done.append("job"))
    urgent = worker.submit(lambda: done.append("urgent"), urgent=True)
    assert worker.offer("b", room=2, drop_oldest=True) == 0
    assert worker.offer("c", room=2, drop_oldest=True) == 1
    assert worker.offer("d", room=2, drop_oldest=False) == 1
    gate.set()
    last = worker.submit(lambda: None)
    last.result(10)
    assert (job.result(1), urgent.result(1)) == (None, None)
    assert done == ["urgent", "job", "b", "c"]
    assert worker.stop() == 0
    with pytest.raises(Exception, match="stops"):
        worker.submit(lambda: None).result(1)
