"""The planner node and the memory node together: a robot that has looked around drives to the mug that it saw."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from box_room import MUG, observe_room, walk
from planner_world import OWN
from robot_on_bus import START, Robot

from embmem.geometry import camera_pose
from embmem.ros.nodes.planner.node import ACTION, PlannerNode
from embmem.ros.outgoing.parts import header
from embmem.ros.ports import SUCCEEDED

STEP = 0.1  # [s]
EYE = 1.5  # [m]


class Base:
    """A robot in the box room that obeys `cmd_vel`, and the camera on it."""

    def __init__(self, robot: Robot) -> None:
        self.robot, self.bus = robot, robot.bus
        self.x, self.y, self.yaw, self.speed, self.turn = 2.5, 2.0, 1.0, 0.0, 0.0
        self.n = 0
        ports = self.bus.ports("base")
        ports.subscription("geometry_msgs/msg/Twist", "cmd_vel", self._obey)
        self.bus.timer(STEP, self._move)

    def _obey(self, message: Any) -> None:
        self.speed, self.turn = float(message.linear.x), float(message.angular.z)

    def _move(self) -> None:
        self.yaw += self.turn * STEP
        self.x += self.speed * STEP * math.cos(self.yaw)
        self.y += self.speed * STEP * math.sin(self.yaw)
        moved = {"translation": {"x": self.x, "y": self.y}, "rotation": {"z": math.sin(self.yaw / 2),
                                                                         "w": math.cos(self.yaw / 2)}}  # fmt: skip
        transform = {"header": header(self.bus.now_ns, "map"), "child_frame_id": "base_link", "transform": moved}
        self.bus.send("/tf", "tf2_msgs/msg/TFMessage", {"transforms": [transform]})
        self.n += 1
        if self.n % 5 == 0:
            self.look(self.bus.now_ns / 1e9)

    def look(self, stamp: float) -> None:
        """A frame from where the robot is now."""
        frame = observe_room(camera_pose(np.array([self.x, self.y, EYE]), self.yaw, -0.3), stamp - START)
        self.robot.detect(frame, "mug", stamp=stamp)
        self.robot.see(frame, stamp=stamp)


def test_a_robot_that_has_looked_around_drives_to_the_mug(tmp_path: Path) -> None:
    robot = Robot(tmp_path, detections="2d").start()
    for frame in walk(24):
        robot.bus.advance(max(0.0, START + frame.stamp - robot.bus.now_ns / 1e9))
        robot.detect(frame, "mug", stamp=START + frame.stamp)
        robot.see(frame)
    robot.settle()
    robot.tick(2)
    bus, base = robot.bus, Base(robot)
    planner = PlannerNode(bus.ports("planner", PlannerNode, values=OWN | {"blind": 1.2, "radius": 0.2}))
    planner.configure()
    planner.activate()
    bus.advance(0.5)
    results: list[tuple[int, Any]] = []
    client = bus.ports("client").action_client(ACTION, "planner/go_to")
    client.send(
        {"text": "please go to the mug"},
        on_accepted=lambda is_accepted: None,
        on_feedback=lambda feedback: None,
        on_result=lambda status, result: results.append((status, result)),
    )
    bus.spin_until(lambda: bool(results), timeout=60.0, advance=STEP)
    status, result = results[0]
    assert status == SUCCEEDED, result.message
    assert result.item.label == "mug"
    assert math.hypot(base.x - MUG[0], base.y - MUG[1]) < 1.0
    assert base.y > 0.2 - 0.06  # off the wall
    heading = math.atan2(MUG[1] - base.y, MUG[0] - base.x)
    assert abs(math.remainder(base.yaw - heading, 2 * math.pi)) < 0.4
    planner.cleanup()
    robot.stop()
