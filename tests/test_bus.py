"""The bus of the tests keeps what the seam promises, so that a node that runs on it runs on a wire."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import numpy as np
from bus import Bus

from embmem.ros.ports import LATCHED, SUCCEEDED, ActionClient, Client, Closable, Fields, Ports, Publisher, ServerGoal

STRING, TRIGGER, GO = "std_msgs/msg/String", "std_srvs/srv/Trigger", "embmem_msgs/action/GoToMemory"


def test_it_is_what_a_node_expects() -> None:
    ports = Bus().ports("node")
    assert isinstance(ports, Ports)
    assert isinstance(ports.publisher(STRING, "a"), Publisher)
    assert isinstance(ports.client(TRIGGER, "b"), Client)
    assert isinstance(ports.action_client(GO, "c"), ActionClient)
    assert isinstance(ports.timer(1.0, lambda: None), Closable)


def test_names_follow_namespace_and_remaps_and_who_comes_late_gets_what_is_latched() -> None:
    bus = Bus()
    robot = bus.ports("memory", namespace="/robot_1", remaps={"depth": "/camera/depth"})
    assert [robot.full(name) for name in ("depth", "odom", "/tf", "~/grid")] == [
        "/camera/depth", "/robot_1/odom", "/tf", "/robot_1/memory/grid",
    ]  # fmt: skip
    publisher = robot.publisher(STRING, "~/said", LATCHED)
    for word in ("one", "two"):
        publisher.publish({"data": word})
    late = bus.heard("/robot_1/memory/said", STRING)
    bus.spin()
    assert [message.data for message in late] == ["two"]


def test_services_answer_at_once_later_from_a_thread_or_not_at_all() -> None:
    bus = Bus()
    ports = bus.ports("server")
    future: Future[Fields] = Future()
    ports.service(TRIGGER, "now", lambda request: {"success": True, "message": "now"})
    ports.service(TRIGGER, "later", lambda request: future)

    def broken(request: Any) -> Fields:
        raise ValueError("on purpose")

    ports.service(TRIGGER, "broken", broken)
    assert bus.ask("/now", TRIGGER, {}).message == "now"
    threading.Timer(0.05, lambda: future.set_result({"success": True, "message": "later"})).start()
    assert bus.ask("/later", TRIGGER, {}).message == "later"
    assert not bus.ask("/broken", TRIGGER, {}).success
    assert [str(error) for error in bus.failures] == ["on purpose"]
    answers: list[Any] = []
    ports.client(TRIGGER, "nobody").call({}, answers.append, timeout=2.0)
    bus.advance(1.9)
    assert answers == []
    bus.advance(0.2)
    assert answers == [None]


def test_timers_run_in_the_order_of_the_clock_and_go_on_after_a_jump() -> None:
    bus = Bus(now=10.0)
    ports, at = bus.ports("node"), list[tuple[str, int]]()
    ports.timer(0.3, lambda: at.append(("slow", bus.now_ns)))
    ports.timer(0.2, lambda: at.append(("fast", bus.now_ns)))
    bus.advance(0.5)
    assert at == [("fast", 10_200_000_000), ("slow", 10_300_000_000), ("fast", 10_400_000_000)]
    bus.jump(-5.0)
    bus.advance(0.2)
    assert at[-1] == ("fast", 5_700_000_000)


def test_transforms_reach_the_buffer_and_goals_their_server() -> None:
    bus = Bus()
    ports = bus.ports("node")
    stamp = {"sec": 3}
    moved = {"translation": {"x": 1.0}, "rotation": {"w": 1.0}}
    transform = {"header": {"stamp": stamp, "frame_id": "map"}, "child_frame_id": "base", "transform": moved}
    bus.send("/tf", "tf2_msgs/msg/TFMessage", {"transforms": [transform]})
    bus.spin()
    assert ports.tf.lookup("map", "base", 3 * 10**9)[0, 3] == 1.0
    said: list[Any] = []

    def go(goal: ServerGoal) -> None:
        goal.feedback({"phase": "driving", "distance_remaining": 2.0})
        goal.succeed({"success": goal.request.text == "mug"})

    ports.action_server(GO, "go", refuse=lambda r: None if r.text else "no text", on_goal=go, on_cancel=lambda g: True)
    client = bus.ports("client").action_client(GO, "/go")
    for text in ("", "mug"):
        client.send(
            {"text": text},
            on_accepted=said.append,
            on_feedback=lambda f: said.append(f.phase),
            on_result=lambda status, result: said.append((status, result.success)),
        )
        bus.spin()
    assert said == [False, True, "driving", (SUCCEEDED, True)]
    assert np.isfinite(bus.now_ns)
