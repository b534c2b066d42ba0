"""The planner, a NavigateToPose server and who sends goals, each in a process of its own, on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("cyclonedds", reason="cyclonedds (the extra dds) is not installed")

from planner_world import item, pose_goal
from wire import ROOT, embmem, own_domain, process, wait_until
from wire_nodes import Plain

from embmem.dds.node import RunningNode, run_node
from embmem.ros.outgoing.parts import header
from embmem.ros.ports import ABORTED, CANCELED, SUCCEEDED, Fields

SETTINGS = "set={drive:nav2,server_timeout:30.0,verify:false,tf_timeout:5.0}"


class Outside(Plain):
    """The robot's TF, a memory that knows a mug, and a client."""

    def configure(self) -> None:
        super().configure()
        self.client = self.ports.action_client("embmem_msgs/action/GoToMemory", "planner/go_to")
        self.tf = self.ports.publisher("tf2_msgs/msg/TFMessage", "/tf")
        self.sees_nav2 = ""  # what the planner says in its diagnostics
        self.opened += [
            self.ports.subscription("diagnostic_msgs/msg/DiagnosticArray", "/diagnostics", self._on_diagnostics),
            self.client,
            self.tf,
            self.ports.service("embmem_msgs/srv/QueryMemory", "memory/query", self._answer),
            self.ports.timer(0.05, self._tell),
        ]

    def _answer(self, request: Any) -> Fields:
        items = [item("mug", 4.0, 3.0)] if request.entity == "mug" else []
        return {"success": True, "found": {"header": header(self.ports.now_ns(), "map"), "items": items}}

    def _on_diagnostics(self, message: Any) -> None:
        values = {v.key: v.value for status in message.status for v in status.values}
        self.sees_nav2 = values.get("nav2", self.sees_nav2)

    def _tell(self) -> None:
        stamped = header(self.ports.now_ns(), "map")
        transform = {"header": stamped, "child_frame_id": "base_link", "transform": {"rotation": {"w": 1.0}}}
        self.tf.publish({"transforms": [transform]})


class World:
    """The outside of a planner that runs in another process."""

    def __init__(self, here: RunningNode, domain: int) -> None:
        self.here, self.domain = here, domain
        self.node: Outside = here.node  # type: ignore[assignment]
        wait_until(lambda: here.call(self.node.client.is_ready), timeout=60.0, what="the planner")

    def wait_for_nav2(self, is_there: bool) -> None:
        """Until the planner knows whether a server is there: one that was killed is seen for a while."""
        wait_until(lambda: self.node.sees_nav2 == str(is_there), timeout=60.0, what=f"nav2 {is_there}")

    def send(self, **goal: Any) -> tuple[Any, list[Any], list[Any]]:
        """(handle, feedback, [(status, result)]) of a goal that was accepted."""
        accepted, feedback, results = list[bool](), list[Any](), list[Any]()
        handle = self.here.call(
            lambda: self.node.client.send(
                goal,
                on_accepted=accepted.append,
                on_feedback=feedback.append,
                on_result=lambda status, result: results.append((status, result)),
            )
        )
        wait_until(lambda: accepted, what="an answer to the goal")
        assert accepted == [True]
        return handle, feedback, results

    def run(self, **goal: Any) -> tuple[int, str]:
        """(status, message) in the end."""
        _, _, results = self.send(**goal)
        wait_until(lambda: results, timeout=60.0, what="the result")
        return results[0][0], results[0][1].message


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with (
        own_domain() as domain,
        embmem("node", "planner", f"domain={domain}", SETTINGS),
        run_node(Outside, "outside", domain=domain) as here,
    ):
        yield World(here, domain)


@contextmanager
def nav2(world: World) -> Iterator[subprocess.Popen[str]]:
    """A server that the planner sees, and that it sees no more afterwards."""
    world.wait_for_nav2(False)
    with process(str(ROOT / "tests" / "nav2_process.py"), str(world.domain)) as child:
        world.wait_for_nav2(True)
        yield child


def drive_for_ever(world: World) -> tuple[Any, list[Any]]:
    """(handle, results) of a goal that Nav2 is driving to."""
    handle, feedback, results = world.send(pose=pose_goal(0.0, 500.0))
    wait_until(lambda: any(message.distance_remaining < 5.0 for message in feedback), what="feedback of Nav2")
    return handle, results


def test_nav2_in_another_process_is_obeyed_rejects_aborts_and_is_cancelled(world: World) -> None:
    with nav2(world):
        assert world.run(object="mug")[0] == SUCCEEDED
        assert world.run(pose=pose_goal(500.0, 0.0)) == (ABORTED, "Nav2 rejected the goal")
        assert world.run(pose=pose_goal(-500.0, 0.0)) == (ABORTED, "Nav2 gave up: no such place")
        handle, results = drive_for_ever(world)
        world.here.call(lambda: handle.cancel(lambda taken: None))
        wait_until(lambda: results, what="the result")
        assert (results[0][0], results[0][1].message) == (CANCELED, "canceled")  # Nav2 said so


def test_a_server_that_is_killed_in_flight_ends_the_goal_and_the_next_server_serves(world: World) -> None:
    with nav2(world) as server:
        _, results = drive_for_ever(world)
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: results, timeout=60.0, what="the end of the goal")
    status, result = results[0]
    assert status == ABORTED
    assert "went away" in result.message or "no feedback" in result.message
    with nav2(world):
        assert world.run(object="mug")[0] == SUCCEEDED
