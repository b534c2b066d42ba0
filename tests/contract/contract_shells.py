"""Both shells as the contract's tests drive them: `Ports` of their own, and the node in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from embmem.ros.ports import Ports

PATIENCE = 40.0  # [s] for what another process does
# who asks and where the node lives; on rmw_cyclonedds the two shells hear each other
SHELLS = [
    pytest.param((asks, lives), marks=() if asks == lives == "dds" else pytest.mark.ros, id=f"{asks}-asks-{lives}")
    for asks, lives in (("dds", "dds"), ("rclpy", "rclpy"), ("dds", "rclpy"), ("rclpy", "dds"))
]


def skip_unless_they_hear_each_other(asks: str, lives: str) -> None:
    """DDS of different vendors carries topics, but not services."""
    if "rclpy" in (asks, lives):
        pytest.importorskip("rclpy", reason="rclpy is not there: it comes with a ROS 2 installation")
        pytest.importorskip("embmem_ros.ports", reason="the colcon package embmem_ros is not on the path")
    if asks != lives and os.environ.get("RMW_IMPLEMENTATION") != "rmw_cyclonedds_cpp":
        pytest.skip("the shells hear each other where RMW_IMPLEMENTATION=rmw_cyclonedds_cpp")


def environment(domain: int) -> dict[str, str]:
    """Only this machine, only this test."""
    here = "ROS_LOCALHOST_ONLY" if os.environ.get("ROS_DISTRO") == "humble" else "ROS_AUTOMATIC_DISCOVERY_RANGE"
    only = {here: "1" if here == "ROS_LOCALHOST_ONLY" else "LOCALHOST", "ROS_DOMAIN_ID": str(domain)}
    return {**os.environ, **only}


def until(is_so: Callable[[], Any], what: str) -> Any:
    """What it returns as soon as that is true."""
    end = time.monotonic() + PATIENCE
    while not (found := is_so()):
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        time.sleep(0.01)
    return found


def there(ports: Ports, function: Callable[[], Any]) -> Any:
    """What a function returns on the thread of the callbacks."""
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(function())
        except BaseException as error:
            done.set_exception(error)

    ports.post(run)
    return done.result(PATIENCE)


@contextmanager
def driver(shell: str, domain: int) -> Iterator[Ports]:
    """Ports of this process; its callbacks run on a thread of their own."""
    if shell == "dds":
        pytest.importorskip("cyclonedds", reason="cyclonedds (the extra dds) is not installed")
        from embmem.dds.names import Names
        from embmem.dds.ports import DdsPorts

        ports = DdsPorts(Names("driver"), domain)
        ports.executor.start()
        try:
            yield ports
        finally:
            ports.close()
        return
    from embmem_ros.ports import RosPorts
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.lifecycle import LifecycleNode

    context = Context()
    context.init(domain_id=domain)
    node = LifecycleNode("driver", context=context)
    made: Ports = RosPorts(node, lambda name: node.get_parameter(name).value)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    try:
        yield made
    finally:
        executor.shutdown()
        thread.join(PATIENCE)
        node.destroy_node()
        context.try_shutdown()


@contextmanager
def node_process(shell: str, domain: int, **settings: Any) -> Iterator[subprocess.Popen[str]]:
    """The contract's node in a process of its own."""
    program = [sys.executable, str(Path(__file__).with_name("contract_process.py")), shell, json.dumps(settings)]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, text=True, env=environment(domain))
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Asker:
    """Calls services of the node and waits."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._clients: dict[str, Any] = {}

    def ask(self, type: str, name: str, request: dict[str, Any], *, timeout: float = PATIENCE) -> Any:
        """The response, None if there is none."""
        if name not in self._clients:
            self._clients[name] = there(self.ports, lambda: self.ports.client(type, name))
        client = self._clients[name]
        until(client.is_ready, f"a server of {name}")
        answers: list[Any] = []
        self.ports.post(lambda: client.call(request, answers.append, timeout=timeout))
        until(lambda: answers, f"an answer of {name}")
        return answers[0]

    def report(self, node: str = "/contract") -> Any:
        """What the node tells about itself."""
        return json.loads(self.ask("std_srvs/srv/Trigger", f"{node}/report", {}).message)

    def state(self, node: str = "/contract") -> str:
        """Of its lifecycle."""
        return str(self.ask("lifecycle_msgs/srv/GetState", f"{node}/get_state", {}).current_state.label)

    def change(self, transition: int, node: str = "/contract", *, timeout: float = PATIENCE) -> bool:
        """Whether a transition is made; rclpy up to Jazzy does not answer for one that the state does not allow."""
        request = {"transition": {"id": transition}}
        answer = self.ask("lifecycle_msgs/srv/ChangeState", f"{node}/change_state", request, timeout=timeout)
        return answer is not None and bool(answer.success)

    def set(self, name: str, kind: int, field: str, value: Any) -> tuple[bool, str]:
        """Whether a parameter is set, and why not."""
        parameter = {"name": name, "value": {"type": kind, field: value}}
        type, service = "rcl_interfaces/srv/SetParameters", "/contract/set_parameters"
        result = self.ask(type, service, {"parameters": [parameter]}).results[0]
        return bool(result.successful), str(result.reason)
