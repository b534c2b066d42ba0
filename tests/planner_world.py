"""A world for the planner node on a bus: a memory that answers, a robot that drives, a Nav2 that is led by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from bus import NS, Bus

from embmem.ros.nodes.planner.node import ACTION, PlannerNode
from embmem.ros.outgoing.parts import header, time_of
from embmem.ros.parameters import Value
from embmem.ros.ports import LATCHED, Fields

GRID, UPDATE = "nav_msgs/msg/OccupancyGrid", "map_msgs/msg/OccupancyGridUpdate"
QUERY, NAV2 = "embmem_msgs/srv/QueryMemory", "nav2_msgs/action/NavigateToPose"
RESOLUTION = 0.05
STEP = 0.1  # [s]
OWN: dict[str, Value] = {  # a quick robot makes short tests
    "drive": "own", "control_rate": 10.0, "speed": 0.8, "acceleration": 2.0, "turn": 2.0, "turn_acceleration": 8.0,
    "delay": 0.1, "look_ahead": 0.3, "verify_wait": 0.5,
}  # fmt: skip


def room(height: int = 80, width: int = 100) -> np.ndarray:
    cells = np.zeros((height, width), dtype=np.int8)
    cells[[0, -1]] = cells[:, [0, -1]] = 100
    return cells


def item(label: str, x: float, y: float, *, confidence: float = 0.9, size: float = 0.2, **more: Any) -> Fields:
    return {
        "id": 7, "layer": "objects", "kind": "objects", "label": label, "score": 1.0, "confidence": confidence,
        "has_pose": True, "pose": {"position": {"x": x, "y": y, "z": 0.4}, "orientation": {"w": 1.0}},
        "size": {"x": size, "y": size, "z": 0.3}, **more,
    }  # fmt: skip


class PlannerWorld:
    """The planner `node` between a memory, a robot and perhaps a Nav2.

    Args:
        cells: of the grid, its corner at 0, 0.
        items: of the memory, by what it is asked for.
        values: of parameters.
        pose: x, y, yaw of the robot.
        has_tf: whether TF tells of it.
        has_grid: whether the grid is published.
        grid_period: [s] between two grids.
    """

    def __init__(
        self,
        cells: np.ndarray | None = None,
        items: Mapping[str, list[Fields]] | None = None,
        *,
        values: Mapping[str, Value] | None = None,
        pose: tuple[float, float, float] = (1.0, 2.0, 0.0),
        has_tf: bool = True,
        has_grid: bool = True,
        grid_period: float = 2.0,
    ) -> None:
        self.bus = Bus()
        self.cells = room() if cells is None else cells
        self.items = dict(items or {})
        self.asked: list[Any] = []
        self.pose, self.speed, self.turn = pose, 0.0, 0.0
        self.has_tf, self.is_stuck = has_tf, False
        self.commands: list[tuple[float, float]] = []
        self.paths = self.bus.heard("/planner/path", "nav_msgs/msg/Path")
        self.ports = self.bus.ports("planner", PlannerNode, values=values)
        outside = self.bus.ports("outside")
        self._grid = outside.publisher(GRID, "memory/grid", LATCHED)
        if has_grid:
            self.publish_grid()
            outside.timer(grid_period, self.publish_grid)
        self._tf = outside.publisher("tf2_msgs/msg/TFMessage", "/tf")
        self.memory = outside.service(QUERY, "memory/query", self._answer)
        outside.subscription("geometry_msgs/msg/Twist", "cmd_vel", self._on_twist)
        self.node = PlannerNode(self.ports)
        self.node.configure()
        self.node.activate()
        outside.timer(STEP, self._move)
        self._client = outside.action_client(ACTION, "planner/go_to")
        self.accepted: list[bool] = []
        self.feedback: list[Any] = []
        self.results: list[tuple[int, Any]] = []
        self._move()
        self.bus.spin()

    def publish_grid(self) -> None:
        h, w = self.cells.shape
        info = {"resolution": RESOLUTION, "width": w, "height": h, "origin": {"orientation": {"w": 1.0}}}
        self._grid.publish({"header": header(self.bus.now_ns, "map"), "info": info, "data": self.cells})

    def _answer(self, request: Any) -> Fields:
        self.asked.append(request)
        about = request.text or request.entity or ("image" if len(request.image.data) else "")
        found = self.items.get(about, [])
        head = {"header": header(self.bus.now_ns, "map"), "items": found}
        return {"success": True, "message": "" if found else f"nothing like {about}", "found": head}

    def _on_twist(self, message: Any) -> None:
        self.speed, self.turn = float(message.linear.x), float(message.angular.z)
        self.commands.append((self.speed, self.turn))

    def _move(self) -> None:
        if not self.is_stuck:
            x, y, yaw = self.pose
            yaw += self.turn * STEP
            self.pose = (
                x + self.speed * STEP * math.cos(yaw), y + self.speed * STEP * math.sin(yaw), yaw
            )  # fmt: skip
        if self.has_tf:
            x, y, yaw = self.pose
            rotation = {"z": math.sin(yaw / 2), "w": math.cos(yaw / 2)}
            moved = {"translation": {"x": x, "y": y}, "rotation": rotation}
            transform = {"header": header(self.bus.now_ns, "map"), "child_frame_id": "base_link", "transform": moved}
            self._tf.publish({"transforms": [transform]})

    def go(self, **goal: Any) -> Any:
        """Send a goal; its handle."""
        handle = self._client.send(
            goal,
            on_accepted=self.accepted.append,
            on_feedback=self.feedback.append,
            on_result=lambda status, result: self.results.append((status, result)),
        )
        self.bus.spin()
        return handle

    def drive_until(self, is_so: Callable[[], bool]) -> None:
        """Let time pass until it is so."""
        self.bus.spin_until(is_so, advance=STEP)

    def wait(self, n: int = 1, *, seconds: float = 200.0) -> tuple[int, Any]:
        """(status, result) of the n-th goal that ended, after as much time as it takes."""
        end = self.bus.now_ns + round(seconds * NS)
        self.bus.spin_until(lambda: len(self.results) >= n or self.bus.now_ns > end, advance=STEP)
        assert len(self.results) >= n, f"nothing ended in {seconds} s; {self.feedback[-1:]}"
        return self.results[n - 1]

    def count(self, name: str) -> int:
        """A counter as diagnostics show it."""
        heard = self.bus.heard("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
        self.bus.advance(1.1)
        values = {v.key: v.value for v in heard[-1].status[0].values}
        return int(values.get(name, 0))


def pose_goal(x: float, y: float, yaw: float = 0.0, frame: str = "map") -> Fields:
    orientation = {"z": math.sin(yaw / 2), "w": math.cos(yaw / 2)}
    return {"header": {"frame_id": frame, "stamp": time_of(0)}, "pose": {
        "position": {"x": x, "y": y}, "orientation": orientation}}  # fmt: skip


class Nav2:
    """An action server that is led by hand.

    Args:
        world: to serve.
        rejects: whether it takes no goal.
    """

    def __init__(self, world: PlannerWorld, *, rejects: bool = False) -> None:
        self.goals: list[Any] = []
        self.canceled: list[Any] = []
        self.takes_cancel = True
        self.server = world.bus.ports("nav2").action_server(
            NAV2, "navigate_to_pose", refuse=lambda request: "no" if rejects else None,
            on_goal=self.goals.append, on_cancel=self._on_cancel,
        )  # fmt: skip

    def _on_cancel(self, goal: Any) -> bool:
        self.canceled.append(goal)
        return self.takes_cancel
