"""Small nodes for tests of the wire; `python wire_nodes.py NAME DOMAIN` runs one until SIGTERM."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Future
from threading import Thread
from typing import Any

import numpy as np

from embmem.ros.parameters import Parameter, Value
from embmem.ros.ports import LATCHED, SENSOR_DATA, Closable, Fields, Ports, QoS, ServerGoal

GO = "nav2_msgs/action/NavigateToPose"


class Plain:
    """A node that does nothing."""

    PARAMETERS: tuple[Parameter, ...] = ()

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.opened: list[Closable] = []
        self.changes: list[dict[str, Value]] = []
        self.steps: list[str] = []

    def configure(self) -> None:
        self.steps.append("configure")

    def activate(self) -> None:
        self.steps.append("activate")

    def deactivate(self) -> None:
        self.steps.append("deactivate")

    def cleanup(self) -> None:
        self.steps.append("cleanup")
        for part in self.opened:
            part.close()
        self.opened.clear()

    def changed(self, values: Mapping[str, Value]) -> None:
        self.changes.append(dict(values))


class Talker(Plain):
    """Publishes a latched text, echoes images, serves, and drives where it is told to."""

    PARAMETERS = (
        Parameter("text", "hello", "what it says"),
        Parameter("speed", 1.0, "of driving [m/s]", low=0.0, high=3.0),
        Parameter("limits.low", 0, "a whole number", low=0, high=9),
        Parameter("limits.high", 5, "a whole number", high=9),
        Parameter("mode", "walk", "how", choices=("walk", "run")),
        Parameter("frames", [], "names"),
        Parameter("device", "cpu", "where it computes", is_read_only=True),
    )

    def refuse(self, changes: Mapping[str, Value]) -> str | None:
        low, high = (changes.get(name, self.ports.parameter(name)) for name in ("limits.low", "limits.high"))
        return f"low {low} is above high {high}" if int(str(low)) > int(str(high)) else None

    def configure(self) -> None:
        super().configure()
        ports = self.ports
        if ports.parameter("text") == "fail":
            raise OSError("the disk is full")
        self.text = ports.publisher("std_msgs/msg/String", "~/text", LATCHED)
        self.echo = ports.publisher("sensor_msgs/msg/Image", "echo", SENSOR_DATA)
        self.opened += [
            self.text,
            self.echo,
            ports.subscription("sensor_msgs/msg/Image", "image", self._on_image, SENSOR_DATA),
            ports.service("std_srvs/srv/SetBool", "~/now", self._now),
            ports.service("std_srvs/srv/SetBool", "~/later", self._later),
            ports.action_server(GO, "go", refuse=self._refuse, on_goal=self._go, on_cancel=lambda goal: True),
        ]

    def activate(self) -> None:
        super().activate()
        self.text.publish({"data": str(self.ports.parameter("text"))})

    def _on_image(self, image: Any) -> None:
        self.echo.publish({"header": {"frame_id": image.header.frame_id}, "height": image.height, "data": image.data})

    def _now(self, request: Any) -> Fields:
        if not request.data:
            raise ValueError("no")
        return {"success": True, "message": "yes"}

    def _later(self, request: Any) -> Future[Fields]:
        future: Future[Fields] = Future()
        answer = {"success": bool(request.data), "message": "later"}
        Thread(target=lambda: future.set_result(answer)).start()
        return future

    def _refuse(self, goal: Any) -> str | None:
        return "no such place" if goal.pose.header.frame_id != "map" else None

    def _go(self, goal: ServerGoal) -> None:
        target = float(goal.request.pose.pose.position.x)
        x = [0.0]

        def step() -> None:
            x[0] = min(target, x[0] + float(np.float64(str(self.ports.parameter("speed")))))
            goal.feedback({"distance_remaining": target - x[0]})
            if goal.is_cancel_requested:
                goal.canceled({"error_msg": "stopped"})
            elif x[0] >= target:
                goal.succeed({"error_code": 0})
            else:
                return
            timer.close()

        timer = self.ports.timer(0.01, step)


class Asker(Plain):
    """Keeps what it hears."""

    def configure(self) -> None:
        super().configure()
        self.heard: list[Any] = []
        self.opened.append(self.ports.subscription("std_msgs/msg/String", "/talker/text", self.heard.append, LATCHED))
        self.opened.append(self.ports.subscription("sensor_msgs/msg/Image", "/echo", self.heard.append, QoS()))


if __name__ == "__main__":
    from embmem.cli.node import stopped_by_signals
    from embmem.dds.node import run_node

    made, domain = globals()[sys.argv[1]], int(sys.argv[2])
    with stopped_by_signals() as stop, run_node(made, sys.argv[1].lower(), domain=domain):
        stop.wait()
