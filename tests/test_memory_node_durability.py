"""A memory node may be killed at any time: named places and things are where they were, and the robot is never put in a
wrong place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from box_room import MUG, walk
from memory_node_child import show
from robot_on_bus import START, Robot, later, place
from test_relocalise import cold_start, off_by, world

from embmem.geometry import camera_pose, invert_pose
from embmem.map_hash import map_hash
from embmem.ros.nodes.memory.localising import BEGAN, FOUND, TRUSTED, UNKNOWN
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops

CHILD = Path(__file__).with_name("memory_node_child.py")
KILLS = int(os.environ.get("EMBMEM_KILLS", "3"))
LOCALISATION = "embmem_msgs/msg/Localisation"


class Nursery:
    """The process that forks nodes."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(CHILD), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip

    def live_and_die(self, seconds: float) -> list[str]:
        """Let a node live for so long after its first promise and kill it; what it promised."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        born = process.stdout.readline().split()
        assert born[:1] == ["born"]
        said = [process.stdout.readline()]
        time.sleep(seconds)  # the moment is what is tried here
        os.kill(int(born[1]), signal.SIGKILL)
        while (line := process.stdout.readline()) not in ("dead\n", ""):
            said.append(line)
        return [line for line in said if line.endswith("\n")]

    def close(self) -> None:
        self._process.communicate(timeout=30)


def test_after_kills_at_any_time_every_promise_holds_and_the_map_is_that_of_the_frames(tmp_path: Path) -> None:
    rng, nursery = np.random.default_rng(5), Nursery(tmp_path / "killed")
    n_frames, notes = 0, dict[str, tuple[float, float]]()
    for _ in range(KILLS):
        for line in nursery.live_and_die(float(rng.uniform(0.0, 0.3))):
            word, *rest = line.split()
            if word == "frames":
                n_frames = int(rest[0])
            else:
                notes[f"spot {rest[0]}"] = (float(rest[1]), float(rest[2]))
    nursery.close()
    robot = Robot(tmp_path / "killed", detections="2d").start()
    found = robot.ask("query", "QueryMemory", kind="note", k=1000).found.items
    assert {
        i.text: (i.pose.position.x, i.pose.position.y) for i in found if i.layer == "records"
    }.items() >= notes.items()
    with robot.memory.acknowledged.reading() as db:
        n_logged = int(db.execute("SELECT count(*) FROM records WHERE kind = 'frame'").fetchone()[0])
    assert n_logged >= n_frames > 0
    other = Robot(tmp_path / "whole", detections="2d").start()
    for number in range(n_logged):
        show(other, number)
    other.settle()
    assert map_hash(robot.memory) == map_hash(other.memory)
    mug = robot.ask("query", "QueryMemory", entity="mug").found.items[0]
    np.testing.assert_allclose([mug.pose.position.x, mug.pose.position.y, mug.pose.position.z], MUG, atol=0.3)
    robot.stop()
    other.stop()


def test_a_memory_that_is_taken_up_again_maps_nothing_until_the_robot_is_found(tmp_path: Path) -> None:
    robot = Robot(tmp_path).start()
    first = robot.sent("localisation", LOCALISATION)
    robot.walk(walk(12))
    assert [m.state for m in first] == [BEGAN]
    before = map_hash(robot.memory)
    robot.stop()
    again = Robot(tmp_path).start()
    said = again.sent("localisation", LOCALISATION)
    again.walk(later(walk(12), 50.0))  # an empty room looks the same from two sides
    assert {m.state for m in said} == {UNKNOWN}
    assert said[-1].n_tries >= 1
    assert said[-1].why.startswith("not found")
    assert (again.counts()["unlocalised"], again.counts()["mapped"]) == (12, 0)
    assert map_hash(again.memory) == before
    status = again.status("localisation")
    assert (status.level, "not found" in status.message) == (1, True)
    answer = again.ask("query", "QueryMemory", kind="view")
    assert answer.success  # what the memory holds stands in any case
    assert "not known" in answer.message
    assert not again.ask("query", "QueryMemory", near=place(0, 0, 0, "optical")).success
    assert "position" in again.ask("correct", "CorrectMemory", action=5, text="here").message
    again.stop()


def test_trust_in_the_map_frame_is_a_parameter_at_any_time(tmp_path: Path) -> None:
    robot = Robot(tmp_path).start()
    robot.walk(walk(4))
    robot.stop()
    again = Robot(tmp_path).start()
    said = again.sent("localisation", LOCALISATION)
    again.walk(later(walk(2), 20.0))
    assert again.counts()["mapped"] == 0
    assert again.ports.change(again.node, trust_map_frame=True) is None
    again.walk(later(walk(2), 30.0))
    assert again.counts()["mapped"] == 2
    assert said[-1].state == TRUSTED
    assert again.ask("correct", "CorrectMemory", action=5, text="here").success
    again.stop()


def test_a_robot_that_was_switched_on_elsewhere_is_found_and_mapping_goes_on_in_the_old_frame(tmp_path: Path) -> None:
    inside = world(2)
    robot = Robot(tmp_path, world_frame="odom").start()
    robot.world = "odom"
    stops = tour_stops(inside, inside.house)
    inside.place(stops[0], 0.0)
    for i, action in enumerate(guided_tour(inside, stops, 240)):
        inside.apply(action)
        if i % 2 == 0:
            robot.see(inside.observe(), stamp=START + 0.1 * i)
    robot.settle()
    robot.stop()
    frames = cold_start(2)
    T_map_odom = camera_pose(np.array([2.0, -3.0, 0.1]), 1.5) @ invert_pose(camera_pose(np.zeros(3), 0.0))
    again = Robot(tmp_path, robot.bus, world_frame="odom", publish_map_to_world=True).start()
    again.world = "odom"
    said = again.sent("localisation", LOCALISATION)
    for i, seen in enumerate([*frames, *frames[-3:]]):
        moved = replace(seen, T_map_camera=invert_pose(T_map_odom) @ seen.T_map_camera)
        again.see(moved, stamp=START + 100.0 + 0.2 * i)
    again.settle()
    assert said[-1].state == FOUND, said[-1].why
    assert (said[-1].header.frame_id, said[-1].world_frame) == ("map", "odom")
    assert again.counts()["relocalised"] == 1
    assert again.counts()["mapped"] >= 3
    where = again.node.mapping.localiser.now.T_map_world
    distance, angle = off_by(where, T_map_odom, invert_pose(T_map_odom) @ frames[0].T_map_camera)
    assert (distance, angle) < (0.1, 2.0)
    latest = again.node.mapping.latest
    assert latest is not None
    assert latest.T_map_obs is not None
    assert np.linalg.norm(latest.T_map_obs[:3, 3] - frames[-1].T_map_camera[:3, 3]) < 0.15
    again.stop()
