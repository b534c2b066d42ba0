"""Nodes in two processes on loopback: topics, services, actions, parameters, lifecycle, discovery, the end."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cyclonedds", reason="cyclonedds (the extra dds) is not installed")

from wire import ROOT, own_domain, process, wait_until
from wire_nodes import GO, Plain

from embmem.dds.node import RunningNode, run_node
from embmem.ros.ports import CANCELED, LATCHED, SENSOR_DATA, SUCCEEDED, QoS

TALKER = str(ROOT / "tests" / "wire_nodes.py")


class World:
    """A talker in a process of its own, and a node here that asks it."""

    def __init__(self, domain: int, child: subprocess.Popen[str], here: RunningNode) -> None:
        self.domain, self.child, self.here = domain, child, here
        self.ports = here.ports
        self._clients: dict[str, Any] = {}

    def ask(self, type: str, name: str, request: dict[str, Any]) -> Any:
        if name not in self._clients:
            self._clients[name] = self.here.call(lambda: self.ports.client(type, name))
        client, answers = self._clients[name], list[Any]()
        wait_until(lambda: self.here.call(client.is_ready), what=f"service {name}")
        self.here.call(lambda: client.call(request, answers.append, timeout=30.0))
        wait_until(lambda: answers, what=f"an answer of {name}")
        return answers[0]

    def listen(self, type: str, topic: str, qos: QoS) -> list[Any]:
        heard: list[Any] = []
        self.here.call(lambda: self.ports.subscription(type, topic, heard.append, qos))
        return heard


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with (
        own_domain() as domain,
        process(TALKER, "Talker", str(domain)) as child,
        run_node(Plain, "asker", domain=domain) as here,
    ):
        yield World(domain, child, here)


def test_a_late_listener_gets_what_was_latched(world: World) -> None:
    for _ in range(2):
        heard = world.listen("std_msgs/msg/String", "/talker/text", LATCHED)
        wait_until(lambda: heard, what="the latched text")  # noqa: B023
        assert [message.data for message in heard] == ["hello"]


def test_an_image_comes_back_bit_for_bit(world: World) -> None:
    heard = world.listen("sensor_msgs/msg/Image", "/echo", SENSOR_DATA)
    image = world.here.call(lambda: world.ports.publisher("sensor_msgs/msg/Image", "/image", SENSOR_DATA))
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    wait_until(lambda: image.n_subscriptions == 1, what="the subscription")

    def sent() -> bool:  # best effort: it may take more than one
        image.publish({"header": {"frame_id": "camera"}, "height": 480, "data": pixels})
        return bool(heard)

    wait_until(sent, what="the echo")
    assert heard[0].height == 480
    assert heard[0].header.frame_id == "camera"
    assert heard[0].data.tobytes() == pixels.tobytes()
    world.here.call(image.close)


def test_services_answer_now_later_and_after_a_failure(world: World) -> None:
    now = world.ask("std_srvs/srv/SetBool", "/talker/now", {"data": True})
    assert (now.success, now.message) == (True, "yes")
    failed = world.ask("std_srvs/srv/SetBool", "/talker/now", {"data": False})
    assert (failed.success, failed.message) == (False, "it failed: no")
    later = world.ask("std_srvs/srv/SetBool", "/talker/later", {"data": True})
    assert (later.success, later.message) == (True, "later")


def test_a_service_that_is_not_there_times_out(world: World) -> None:
    client = world.here.call(lambda: world.ports.client("std_srvs/srv/SetBool", "/nobody"))
    answers: list[Any] = []
    assert not world.here.call(client.is_ready)
    world.here.call(lambda: client.call({}, answers.append, timeout=0.05))
    wait_until(lambda: answers)
    assert answers == [None]


class Trip:
    """A goal of the action and what is heard of it."""

    def __init__(self, world: World, x: float, frame: str = "map") -> None:
        self.world, self.accepted, self.feedback, self.results = world, list[bool](), list[Any](), list[Any]()
        self.client = world.here.call(lambda: world.ports.action_client(GO, "/go"))
        wait_until(lambda: world.here.call(self.client.is_ready), what="the action server")
        goal = {"pose": {"header": {"frame_id": frame}, "pose": {"position": {"x": x}}}}
        self.goal = world.here.call(
            lambda: self.client.send(
                goal,
                on_accepted=self.accepted.append,
                on_feedback=self.feedback.append,
                on_result=lambda status, result: self.results.append((status, result)),
            )
        )
        wait_until(lambda: self.accepted, what="an answer to the goal")

    def close(self) -> None:
        self.world.here.call(self.client.close)


def test_a_goal_is_reached_with_feedback(world: World) -> None:
    trip = Trip(world, 5.0)
    wait_until(lambda: trip.results, what="the result")
    assert trip.accepted == [True]
    assert [(status, result.error_code) for status, result in trip.results] == [(SUCCEEDED, 0)]
    distances = [message.distance_remaining for message in trip.feedback]
    assert distances == sorted(distances, reverse=True)
    trip.close()


def test_a_goal_is_refused(world: World) -> None:
    trip = Trip(world, 5.0, frame="moon")
    assert trip.accepted == [False]
    trip.close()


def test_a_goal_is_cancelled(world: World) -> None:
    trip = Trip(world, 1e9)
    wait_until(lambda: trip.feedback, what="feedback")
    answers: list[bool] = []
    world.here.call(lambda: trip.goal.cancel(answers.append))
    wait_until(lambda: trip.results, what="the result")
    assert answers == [True]
    assert [(status, result.error_msg) for status, result in trip.results] == [(CANCELED, "stopped")]
    world.here.call(lambda: trip.goal.cancel(answers.append))  # it has ended
    wait_until(lambda: len(answers) == 2)
    assert answers[1] is False
    trip.close()


def _set(world: World, **values: Any) -> list[str]:
    """The reasons of refusal."""
    kinds = {bool: (1, "bool_value"), int: (2, "integer_value"), float: (3, "double_value"), str: (4, "string_value")}
    parameters = [
        {"name": name.replace("__", "."), "value": {"type": kinds[type(v)][0], kinds[type(v)][1]: v}}
        for name, v in values.items()
    ]
    answer = world.ask("rcl_interfaces/srv/SetParameters", "/talker/set_parameters", {"parameters": parameters})
    assert all(bool(result.reason) != result.successful for result in answer.results)
    return [result.reason for result in answer.results]


def test_parameters_are_vetoed(world: World) -> None:
    assert _set(world, speed=2) == [""]
    assert _set(world, speed=4.0) == ["speed is at most 3, not 4"]
    assert _set(world, mode="fly", device="cuda") == [
        "mode is one of walk, run, not 'fly'",
        "device is set when the node starts and cannot be changed",
    ]
    assert _set(world, limits__low=7) == ["low 7 is above high 5"]
    assert "no parameter 'nothing'" in _set(world, nothing=1)[0]
    names = ["speed", "mode", "limits.low", "nothing"]
    answer = world.ask("rcl_interfaces/srv/GetParameters", "/talker/get_parameters", {"names": names})
    assert [v.type for v in answer.values] == [3, 4, 2, 0]
    assert (answer.values[0].double_value, answer.values[1].string_value) == (2.0, "walk")


def test_parameters_are_set_together_or_not_at_all(world: World) -> None:
    def both(low: int, high: int) -> Any:
        values = {"limits.low": low, "limits.high": high}
        parameters = [{"name": n, "value": {"type": 2, "integer_value": v}} for n, v in values.items()]
        kind = "rcl_interfaces/srv/SetParametersAtomically"
        return world.ask(kind, "/talker/set_parameters_atomically", {"parameters": parameters}).result

    assert both(6, 8).successful
    assert not both(3, 2).successful
    names = {"names": ["limits.low", "limits.high"]}
    answer = world.ask("rcl_interfaces/srv/GetParameters", "/talker/get_parameters", names)
    assert [v.integer_value for v in answer.values] == [6, 8]


def test_parameters_are_listed_and_described(world: World) -> None:
    everything = world.ask("rcl_interfaces/srv/ListParameters", "/talker/list_parameters", {}).result
    assert {"text", "limits.low", "use_sim_time"} <= set(everything.names)
    assert everything.prefixes == ["limits"]
    some = world.ask("rcl_interfaces/srv/ListParameters", "/talker/list_parameters", {"prefixes": ["limits"]}).result
    assert some.names == ["limits.low", "limits.high"]
    names = {"names": ["speed", "limits.low", "device"]}
    kind = "rcl_interfaces/srv/DescribeParameters"
    speed, low, device = world.ask(kind, "/talker/describe_parameters", names).descriptors
    assert (speed.floating_point_range[0].to_value, low.integer_range[0].from_value, device.read_only) == (3.0, 0, True)
    types = world.ask("rcl_interfaces/srv/GetParameterTypes", "/talker/get_parameter_types", names).types
    assert list(types) == [3, 2, 4]


def test_the_lifecycle_is_led_from_outside(world: World) -> None:
    events = world.listen("lifecycle_msgs/msg/TransitionEvent", "/talker/transition_event", QoS())

    def change(**transition: Any) -> bool:
        request = {"transition": transition}
        return bool(world.ask("lifecycle_msgs/srv/ChangeState", "/talker/change_state", request).success)

    def state() -> tuple[int, str]:
        found = world.ask("lifecycle_msgs/srv/GetState", "/talker/get_state", {}).current_state
        return int(found.id), found.label

    def possible() -> list[str]:
        kind = "lifecycle_msgs/srv/GetAvailableTransitions"
        found = world.ask(kind, "/talker/get_available_transitions", {}).available_transitions
        return [t.transition.label for t in found]

    assert state() == (3, "active")
    assert possible() == ["deactivate", "shutdown"]
    assert not change(id=1)
    assert change(id=4)
    assert change(label="cleanup")
    assert state() == (1, "unconfigured")
    assert _set(world, text="fail") == [""]
    assert not change(id=1)
    assert state() == (1, "unconfigured")
    assert _set(world, text="hello") == [""]
    assert change(id=1)
    assert change(id=3)
    assert state() == (3, "active")
    wait_until(lambda: events and events[-1].goal_state.label == "active", what="the last transition event")
    labels = [event.transition.label for event in events]
    assert labels[-5:] == ["deactivate", "cleanup", "configure", "configure", "activate"]
    states = world.ask("lifecycle_msgs/srv/GetAvailableStates", "/talker/get_available_states", {}).available_states
    assert len(states) == 11


def test_the_graph_of_ros_shows_the_node(world: World) -> None:
    """What `ros2 node info` reads: names, and ids of endpoints that exist."""
    from cyclonedds.builtin import BuiltinDataReader, BuiltinTopicDcpsPublication

    kind = "rmw_dds_common/msg/ParticipantEntitiesInfo"
    infos: list[Any] = []

    def begin() -> None:
        from embmem.ros.definitions import typestore

        reader = world.ports._participant.reader(kind, "ros_discovery_info", QoS(depth=100, is_latched=True))
        world.ports.executor.watch(reader, lambda raw: infos.append(typestore().deserialize_cdr(raw.data, kind)))

    world.here.call(begin)

    def talker() -> Any:
        nodes = [node for info in infos for node in info.node_entities_info_seq if node.node_name == "talker"]
        return nodes[-1] if nodes else None

    wait_until(lambda: talker() is not None, what="the talker in ros_discovery_info")
    publications = BuiltinDataReader(world.ports._participant.entity, BuiltinTopicDcpsPublication)
    there = {sample.key.bytes: sample for sample in publications.read(1000)}
    writers = [np.asarray(gid.data).tobytes() for gid in talker().writer_gid_seq]
    assert talker().node_namespace == "/"
    assert set(writers) <= set(there)
    topics = {there[gid].topic_name: there[gid].type_name for gid in writers}
    assert topics["rt/talker/text"] == "std_msgs::msg::dds_::String_"
    assert topics["rr/talker/nowReply"] == "std_srvs::srv::dds_::SetBool_Response_"
    assert topics["rt/go/_action/feedback"] == "nav2_msgs::action::dds_::NavigateToPose_FeedbackMessage_"


def test_sigterm_ends_the_node_within_a_second(world: World) -> None:
    """The last test of the module: the talker is gone then, and its listeners know at once."""
    text = world.here.call(lambda: world.ports.publisher("sensor_msgs/msg/Image", "/image", SENSOR_DATA))
    wait_until(lambda: text.n_subscriptions == 1)
    start = time.monotonic()
    world.child.send_signal(signal.SIGTERM)
    wait_until(lambda: text.n_subscriptions == 0, what="the end of the subscription")
    assert world.child.wait(timeout=30) == 0
    assert time.monotonic() - start < 5.0  # a second where the machine is idle
