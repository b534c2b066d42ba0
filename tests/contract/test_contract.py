"""What a node may rely on, in both shells: one node in another process, and everything that `Ports` promises."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from contract_node import AT_ONCE, GO, IMAGE, KEYFRAME, LATER, NEVER, PIXELS, RAISES
from contract_shells import (
    SHELLS,
    Asker,
    driver,
    environment,
    node_process,
    skip_unless_they_hear_each_other,
    there,
    until,
)

from embmem.ros.ports import ABORTED, CANCELED, LATCHED, SUCCEEDED, QoS

pytest.importorskip("rosbags", reason="rosbags (the extra ros) is not installed")

BOOL, INTEGER, DOUBLE, STRING, STRINGS = 1, 2, 3, 4, 9  # rcl_interfaces/ParameterType
CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4  # lifecycle_msgs/Transition
DOMAIN = 1 + (os.getpid() + 61 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])) % 100


@pytest.fixture(scope="module", params=SHELLS)
def asker(request: pytest.FixtureRequest) -> Iterator[Asker]:
    """Drives an active node of its shell."""
    asks, lives = request.param
    skip_unless_they_hear_each_other(asks, lives)
    os.environ.update(environment(DOMAIN))
    remaps = {"inbox": "elsewhere/inbox"}
    with driver(asks, DOMAIN) as ports, node_process(lives, DOMAIN, remaps=remaps):
        asker = Asker(ports)
        until(lambda: asker.report()["steps"] == ["configure", "activate"], "the node to start")
        yield asker


def test_the_lifecycle_goes_its_ways_and_no_others(asker: Asker) -> None:
    assert asker.state() == "active"
    assert not asker.change(CONFIGURE, timeout=2.0)
    assert asker.change(DEACTIVATE)
    assert asker.state() == "inactive"
    assert asker.change(ACTIVATE)
    assert asker.report()["steps"][-2:] == ["deactivate", "activate"]
    kind = "lifecycle_msgs/srv/GetAvailableTransitions"
    available = asker.ask(kind, "/contract/get_available_transitions", {}).available_transitions
    assert {"deactivate", "shutdown"} <= {str(each.transition.label).removeprefix("active_") for each in available}


def test_a_step_that_fails_leaves_the_node_unconfigured(asker: Asker) -> None:
    asker.set("breaks", STRING, "string_value", "configure")
    assert asker.change(DEACTIVATE)
    assert asker.change(CLEANUP)
    assert not asker.change(CONFIGURE)
    assert asker.state() == "unconfigured"
    asker.set("breaks", STRING, "string_value", "activate")
    assert asker.change(CONFIGURE)
    assert not asker.change(ACTIVATE)
    assert asker.state() == "unconfigured"
    asker.set("breaks", STRING, "string_value", "")
    assert asker.change(CONFIGURE)
    assert asker.change(ACTIVATE)
    assert asker.report()["steps"][-2:] == ["configure", "activate"]


@pytest.mark.parametrize(
    ("name", "kind", "field", "value", "reason"),
    [
        ("rate", DOUBLE, "double_value", 21.0, "rate is at most 20"),
        ("rate", STRING, "string_value", "fast", "rate is a float"),
        ("depth", INTEGER, "integer_value", 0, "depth is at least 1"),
        ("depth", DOUBLE, "double_value", 2.0, "depth is a int"),
        ("mode", STRING, "string_value", "warp", "mode is one of slow, fast"),
        ("folder", STRING, "string_value", "/tmp", "folder"),
        ("nothing", BOOL, "bool_value", True, ""),
    ],
)
def test_a_bad_parameter_is_vetoed(asker: Asker, name: str, kind: int, field: str, value: Any, reason: str) -> None:
    is_set, why = asker.set(name, kind, field, value)
    assert not is_set
    words = ("range", "read-only") if field in ("double_value", "integer_value") or name == "folder" else ()
    assert reason in why or any(word in why for word in words), why  # rclpy looks at ranges and read-only first


def test_parameters_are_set_and_the_node_hears_of_it(asker: Asker) -> None:
    assert asker.set("rate", INTEGER, "integer_value", 3) == (True, "")
    assert asker.set("labels", STRINGS, "string_array_value", ["cup", "bed"]) == (True, "")
    assert asker.set("depth", INTEGER, "integer_value", 9) == (True, "")
    assert asker.set("mode", STRING, "string_value", "fast") == (False, "fast is not deeper than 8")
    report = until(lambda: [asker.report()] if {"depth": 9} in asker.report()["changes"] else [], "changes")[0]
    assert {"rate": 3.0} in report["changes"]
    assert {"labels": ["cup", "bed"]} in report["changes"]
    assert report["parameters"]["rate"] == 3.0
    got = asker.ask(
        "rcl_interfaces/srv/GetParameters", "/contract/get_parameters", {"names": ["labels", "mode"]}
    ).values
    assert [list(got[0].string_array_value), str(got[1].string_value)] == [["cup", "bed"], "slow"]
    names = asker.ask("rcl_interfaces/srv/ListParameters", "/contract/list_parameters", {}).result.names
    assert {"rate", "depth", "mode", "labels", "folder", "use_sim_time"} <= set(names)
    described = asker.ask(
        "rcl_interfaces/srv/DescribeParameters", "/contract/describe_parameters", {"names": ["rate", "folder"]}
    ).descriptors
    assert str(described[0].description) == "of nothing in particular [Hz]"
    assert (described[0].floating_point_range[0].from_value, described[0].floating_point_range[0].to_value) == (0.5, 20)
    assert described[1].read_only


def test_a_latched_image_comes_late_and_whole(asker: Asker) -> None:
    images: list[Any] = []
    entity = there(asker.ports, lambda: asker.ports.subscription(IMAGE, "/contract/image", images.append, LATCHED))
    until(lambda: images, "the latched image")
    there(asker.ports, entity.close)
    assert (images[0].height, images[0].width, images[0].encoding) == (16, 16, "rgb8")
    assert images[0].header.frame_id == "camera"
    assert np.array_equal(np.frombuffer(images[0].data, dtype=np.uint8), PIXELS)


def test_messages_go_to_remapped_names_and_a_failing_callback_harms_nobody(asker: Asker) -> None:
    heard: list[Any] = []
    ports = asker.ports
    ends = [
        there(ports, lambda: ports.subscription(IMAGE, "outbox", heard.append)),
        there(ports, lambda: ports.publisher(IMAGE, "elsewhere/inbox", QoS())),
    ]
    publisher: Any = ends[1]
    until(lambda: publisher.n_subscriptions >= 2, "both subscriptions of the node")
    until(lambda: asker.report()["listeners"] >= 1, "our subscription")
    for name in ("raise", "first", "second"):
        there(ports, partial(publisher.publish, {"encoding": name, "data": bytes(range(256))}))
    until(lambda: len(heard) >= 2, "two echoes")
    assert [message.encoding for message in heard] == ["first", "second"]
    assert bytes(heard[0].data) == bytes(range(256))[::-1]
    report = until(lambda: [r] if len((r := asker.report())["raw"]) >= 3 else [], "the raw messages")[0]
    assert all(length > 256 for length in report["raw"])
    for end in ends:
        there(ports, end.close)


def test_a_service_answers_at_once_and_later_and_meanwhile_the_node_goes_on(asker: Asker) -> None:
    before = asker.report()["ticks"]
    assert asker.ask(KEYFRAME, "/contract/keyframe", {"id": AT_ONCE}).message == "keyframe 1"
    later = asker.ask(KEYFRAME, "/contract/keyframe", {"id": LATER})
    assert (later.success, later.message, bytes(later.color.data)) == (True, "keyframe 2", b"\x00\x01\xff")
    failed = asker.ask(KEYFRAME, "/contract/keyframe", {"id": RAISES})
    assert (failed.success, failed.message) == (False, "it failed: a handler that fails")
    assert asker.ask(KEYFRAME, "/contract/keyframe", {"id": NEVER}, timeout=0.3) is None
    assert asker.ask(KEYFRAME, "/contract/keyframe", {"id": AT_ONCE}).success
    report = asker.report()
    assert report["ticks"] > before
    assert report["n_threads"] == 1


def test_nobody_answers_for_a_service_that_is_not_there(asker: Asker) -> None:
    client = there(asker.ports, lambda: asker.ports.client("std_srvs/srv/Trigger", "nobody"))
    assert not client.is_ready()
    answers: list[Any] = []
    asker.ports.post(lambda: client.call({}, answers.append, timeout=0.2))
    until(lambda: answers, "the timeout")
    assert answers == [None]


def go(asker: Asker, words: str, *, cancel: bool = False) -> dict[str, Any]:
    """What a client of the action hears; the cancellation is sent right behind the goal."""
    ports, told = asker.ports, {"feedback": []}  # type: tuple[Any, dict[str, Any]]
    client = there(ports, lambda: ports.action_client(GO, "go"))
    until(client.is_ready, "the action server")

    def send() -> None:
        goal = client.send(
            {"text": words},
            on_accepted=lambda is_accepted: told.update(accepted=is_accepted),
            on_feedback=lambda message: told["feedback"].append((message.phase, message.target, message.attempt)),
            on_result=lambda status, result: told.update(status=status, result=result),
        )
        if cancel:
            goal.cancel(lambda is_taken: told.update(is_cancelled=is_taken))

    there(ports, send)
    until(lambda: told.get("accepted") is False or "status" in told, f"the end of {words}")
    until(lambda: not cancel or "is_cancelled" in told, "the answer to the cancellation")
    there(ports, client.close)
    return told


def test_a_goal_is_reached_and_ends_once(asker: Asker) -> None:
    told = go(asker, "reach")
    assert (told["accepted"], told["status"], told["result"].message) == (True, SUCCEEDED, "there")
    assert told["result"].n_attempts == 2
    assert told["feedback"] in ([("driving", "reach", 1)], [])  # feedback may overtake the acceptance, and is lost then


def test_a_goal_is_refused_or_aborted(asker: Asker) -> None:
    assert go(asker, "")["accepted"] is False
    told = go(asker, "fail")
    assert (told["status"], told["result"].message) == (ABORTED, "no way")


def test_a_goal_is_cancelled_if_the_server_wants(asker: Asker) -> None:
    told = go(asker, "wait", cancel=True)
    assert (told["status"], told["result"].message, told["is_cancelled"]) == (CANCELED, "stopped", True)
    assert asker.report()["cancel_seen"] is True
    told = go(asker, "stubborn", cancel=True)
    assert (told["status"], told["result"].message, told["is_cancelled"]) == (SUCCEEDED, "went on", False)


def test_transforms_are_kept_for_the_node(asker: Asker) -> None:
    static = {"header": {"frame_id": "base"}, "child_frame_id": "tool", "transform": {"translation": {"x": 0.25}}}
    bad = {**static, "child_frame_id": "base"}
    kind = "tf2_msgs/msg/TFMessage"
    publisher = there(asker.ports, lambda: asker.ports.publisher(kind, "/tf_static", LATCHED))
    there(asker.ports, lambda: publisher.publish({"transforms": [bad, static]}))
    assert until(lambda: asker.report()["place"], "the transform") == "0.25"
    there(asker.ports, publisher.close)


@pytest.mark.parametrize("shells", SHELLS)
def test_a_node_in_a_namespace_lives_in_the_time_of_the_clock(shells: tuple[str, str]) -> None:
    asks, lives = shells
    skip_unless_they_hear_each_other(asks, lives)
    os.environ.update(environment(DOMAIN))
    parameters = {"use_sim_time": True, "depth": 7}
    with (
        driver(asks, DOMAIN) as ports,
        node_process(lives, DOMAIN, namespace="/robot_1", parameters=parameters, autostart=False),
    ):
        asker, node = Asker(ports), "/robot_1/contract"
        assert asker.state(node) == "unconfigured"
        assert asker.change(CONFIGURE, node)
        report = asker.report(node)
        assert (report["now"], report["ticks"], report["namespace"]) == (0, 0, "/robot_1")
        assert report["parameters"]["depth"] == 7
        clock: Any = there(ports, lambda: ports.publisher("rosgraph_msgs/msg/Clock", "/clock"))
        until(lambda: clock.n_subscriptions, "the node to listen to the clock")

        def show(nanoseconds: int) -> Any:
            sec, nanosec = divmod(nanoseconds, 10**9)
            there(ports, lambda: clock.publish({"clock": {"sec": sec, "nanosec": nanosec}}))
            return until(lambda: [r] if (r := asker.report(node))["now"] == nanoseconds else [], "the time")[0]

        start = 1_000_000_000_000
        for i in range(4):
            show(start + i * 100_000_000)
        until(lambda: asker.report(node)["ticks"] >= 1, "the timer")
        assert asker.report(node)["jumps"] == []
        last = start + 300_000_000
        show(last + 60_000_000_000)
        show(start)
        jumps = until(lambda: j if len(j := asker.report(node)["jumps"]) >= 2 else [], "the jumps")
        assert jumps == [[last, last + 60_000_000_000], [last + 60_000_000_000, start]]


def test_the_report_is_plain_json(asker: Asker) -> None:
    assert json.loads(json.dumps(asker.report()))["name"] == "contract"
