"""A node that tries all that `Ports` offers, and tells about it when it is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np

from embmem.ros.parameters import USE_SIM_TIME, Parameter, Value
from embmem.ros.ports import LATCHED, SENSOR_DATA, Closable, Fields, Ports, ServerGoal

IMAGE = "sensor_msgs/msg/Image"
KEYFRAME = "embmem_msgs/srv/GetKeyframe"
GO = "embmem_msgs/action/GoToMemory"
PIXELS = np.arange(256, dtype=np.uint8).repeat(3)  # what the node's own image holds
AT_ONCE, LATER, RAISES, NEVER = 1, 2, 3, 4  # how a keyframe is answered, by its id


class ContractNode:
    """Made by a shell like every node of the library."""

    PARAMETERS = (
        USE_SIM_TIME,
        Parameter("rate", 2.0, "of nothing in particular [Hz]", low=0.5, high=20.0),
        Parameter("depth", 5, "whole number", low=1),
        Parameter("mode", "slow", "choice", choices=("slow", "fast")),
        Parameter("labels", [], "list of texts"),
        Parameter("folder", "", "read-only", is_read_only=True),
        Parameter("breaks", "", "step of the lifecycle that fails"),
    )

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._open: list[Closable] = []
        self._goals: list[ServerGoal] = []
        self._threads: set[int] = set()
        self._said: dict[str, Any] = {"steps": [], "changes": [], "jumps": [], "ticks": 0, "received": [], "raw": []}
        ports.on_jump(lambda before, after: self._said["jumps"].append([before, after]))

    def _step(self, name: str) -> None:
        self._said["steps"].append(name)
        if self._ports.parameter("breaks") == name:
            raise RuntimeError(f"{name} was to fail")

    def refuse(self, changes: Mapping[str, Value]) -> str | None:
        """A veto across two parameters."""
        now = {name: changes.get(name, self._ports.parameter(name)) for name in ("mode", "depth")}
        return "fast is not deeper than 8" if now["mode"] == "fast" and now["depth"] > 8 else None  # type: ignore[operator]

    def changed(self, values: Mapping[str, Value]) -> None:
        """Parameters have new values, and `parameter` gives them."""
        assert all(self._ports.parameter(name) == value for name, value in values.items())
        self._said["changes"].append(dict(values))

    def configure(self) -> None:
        """Open one of everything."""
        self._step("configure")
        ports = self._ports
        self._image = ports.publisher(IMAGE, "~/image", LATCHED)
        self._echo = ports.publisher(IMAGE, "outbox")
        self._open += [
            self._image,
            self._echo,
            ports.subscription(IMAGE, "inbox", self._take, SENSOR_DATA),
            ports.subscription(IMAGE, "inbox", lambda data: self._said["raw"].append(len(data)), raw=True),
            ports.service("std_srvs/srv/Trigger", "~/report", self._report),
            ports.service(KEYFRAME, "~/keyframe", self._keyframe),
            ports.timer(0.05, self._tick),
            ports.action_server(GO, "go", refuse=self._refuse_goal, on_goal=self._begin, on_cancel=self._cancel),
        ]
        pixels = {"height": 16, "width": 16, "encoding": "rgb8", "step": 48, "data": PIXELS.reshape(16, 16, 3)}
        self._image.publish({"header": {"frame_id": "camera"}, **pixels})

    def activate(self) -> None:
        """Nothing more is opened."""
        self._step("activate")

    def deactivate(self) -> None:
        """Nothing is closed."""
        self._step("deactivate")

    def cleanup(self) -> None:
        """Close everything."""
        self._step("cleanup")
        for entity in self._open:
            entity.close()
        self._open.clear()

    def _tick(self) -> None:
        self._threads.add(threading.get_ident())
        self._said["ticks"] += 1

    def _take(self, message: Any) -> None:
        self._threads.add(threading.get_ident())
        if message.encoding == "raise":
            raise RuntimeError("a callback that fails")
        self._said["received"].append(message.encoding)
        self._echo.publish({"encoding": message.encoding, "data": np.frombuffer(message.data, dtype=np.uint8)[::-1]})

    def _report(self, request: Any) -> Fields:
        self._threads.add(threading.get_ident())
        ports = self._ports
        place = "" if "tool" not in ports.tf.frames else str(ports.tf.lookup("base", "tool", 10**9)[0, 3])
        parameters = {p.name: ports.parameter(p.name) for p in self.PARAMETERS}
        told = {"now": ports.now_ns(), "place": place, "name": ports.name, "namespace": ports.namespace}
        told |= {"n_threads": len(self._threads), "listeners": self._echo.n_subscriptions, "parameters": parameters}
        return {"success": True, "message": json.dumps({**told, **self._said})}

    def _keyframe(self, request: Any) -> Fields | Future[Fields]:
        self._threads.add(threading.get_ident())
        answer: Fields = {"success": True, "message": f"keyframe {int(request.id)}", "color": {"data": b"\x00\x01\xff"}}
        if int(request.id) == AT_ONCE:
            return answer
        if int(request.id) == RAISES:
            raise RuntimeError("a handler that fails")
        future: Future[Fields] = Future()
        if int(request.id) == LATER:
            threading.Timer(0.2, future.set_result, (answer,)).start()
        return future

    def _refuse_goal(self, request: Any) -> str | None:
        return None if request.text else "a goal needs words"

    def _begin(self, goal: ServerGoal) -> None:
        self._threads.add(threading.get_ident())
        self._goals.append(goal)
        goal.feedback({"phase": "driving", "target": goal.request.text, "attempt": 1})
        if goal.request.text == "reach":
            threading.Timer(0.05, self._ports.post, (lambda: self._finish(goal),)).start()
        elif goal.request.text == "fail":
            goal.abort({"message": "no way"})

    def _finish(self, goal: ServerGoal) -> None:
        self._threads.add(threading.get_ident())
        goal.succeed({"success": True, "message": "there", "n_attempts": 2})
        goal.abort({})  # too late

    def _cancel(self, goal: ServerGoal) -> bool:
        if goal.request.text == "stubborn":
            self._ports.post(lambda: goal.succeed({"message": "went on"}))
            return False
        self._ports.post(lambda: self._stop(goal))
        return True

    def _stop(self, goal: ServerGoal) -> None:
        self._said["cancel_seen"] = goal.is_cancel_requested
        goal.canceled({"message": "stopped"})
