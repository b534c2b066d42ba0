"""Nodes on the wire in this process: names, remaps, time, faults; what goes wrong never ends a node."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cyclonedds", reason="cyclonedds (the extra dds) is not installed")

from wire import own_domain, wait_until
from wire_nodes import Plain, Talker

from embmem.cli.main import main
from embmem.dds.names import Names
from embmem.dds.node import RunningNode, run_node
from embmem.dds.participant import domain_id
from embmem.dds.ports import DdsPorts
from embmem.dds.services import split, with_header
from embmem.dds.topics import to_cdr
from embmem.dds.types import Raw, dds_name, ros_name
from embmem.errors import EmbmemError, InputError
from embmem.ros.definitions import typestore
from embmem.ros.ports import LATCHED, SENSOR_DATA, QoS

STRING = "std_msgs/msg/String"


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    with own_domain() as domain:
        yield domain


def _heard(node: RunningNode, type: str, topic: str, qos: QoS = LATCHED) -> list[Any]:
    heard: list[Any] = []
    node.call(lambda: node.ports.subscription(type, topic, heard.append, qos))
    return heard


def test_robots_with_namespaces_do_not_hear_each_other(domain: int) -> None:
    with (
        run_node(Talker, "talker", namespace="/a", domain=domain, parameters={"text": "I am a"}),
        run_node(Talker, "talker", namespace="/b", domain=domain, remaps={"~/text": "/all"}),
        run_node(Plain, "ear", namespace="/a", domain=domain) as ear,
    ):
        own, other = _heard(ear, STRING, "talker/text"), _heard(ear, STRING, "/all")
        wait_until(lambda: own and other, what="both texts")
        assert [m.data for m in own] == ["I am a"]
        assert [m.data for m in other] == ["hello"]


def test_another_domain_is_not_heard(domain: int) -> None:
    with (
        own_domain() as elsewhere,
        run_node(Talker, "talker", domain=elsewhere),
        run_node(Plain, "ear", domain=elsewhere) as near,
        run_node(Plain, "ear", domain=domain) as far,
    ):
        heard, nothing = _heard(near, STRING, "/talker/text"), _heard(far, STRING, "/talker/text")
        wait_until(lambda: heard)
        assert nothing == []


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"parameters": {"nothing": 1}}, "no parameter 'nothing'"),
        ({"parameters": {"speed": 9.0}}, "speed is at most 3"),
        ({"parameters": {"limits.low": 9}}, "low 9 is above high 5"),
        ({"namespace": "a"}, "a namespace is"),
        ({"remaps": {"a b": "c"}}, "is no name"),
        ({"parameters": {"text": "fail"}}, "configure failed: OSError"),
        ({"log_level": "loud"}, "a level is one of"),
    ],
)
def test_a_node_that_cannot_be_started_says_why(domain: int, settings: dict[str, Any], match: str) -> None:
    with pytest.raises((EmbmemError, ValueError), match=match):
        run_node(Talker, "talker", domain=domain, **settings)


def test_domains_that_do_not_exist_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="from 0 to 232, not 233"):
        run_node(Plain, "plain", domain=233)
    for text in ("233", "-1", "one"):
        monkeypatch.setenv("ROS_DOMAIN_ID", text)
        with pytest.raises(InputError, match=f"not '{text}'"):
            domain_id()
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    assert domain_id() == 7


@pytest.mark.parametrize("settings", ["<bad", "file:///nowhere.xml", "ü"])
def test_settings_of_cyclone_that_make_no_sense_are_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, settings: str, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CYCLONEDDS_URI", settings)
    with own_domain() as elsewhere:
        monkeypatch.setenv("CYCLONEDDS_URI", settings)
        with pytest.raises(EmbmemError, match=f"DDS domain {elsewhere} cannot be entered.*CYCLONEDDS_URI"):
            run_node(Plain, "plain", domain=elsewhere)


def test_without_cyclonedds_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("cyclonedds")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["node", "recorder"]) == 1
    assert "embmem[dds]" in capsys.readouterr().err


def test_bytes_that_are_no_cdr_are_not_sent(domain: int) -> None:
    with run_node(Plain, "plain", domain=domain) as node:
        publisher = node.call(lambda: node.ports.publisher(STRING, "text"))
        for data in (b"", b"\x00\x01\x00"):
            with pytest.raises(InputError, match=f"{len(data)} bytes are no CDR"):
                publisher.publish_cdr(data)
        node.call(publisher.close)
        publisher.publish({"data": "nobody hears it"})
        assert publisher.n_subscriptions == 0


def test_a_callback_that_fails_is_reported_and_the_next_ones_run(
    domain: int, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(message: Any) -> None:
        raise RuntimeError(f"I cannot take {message.data}")

    def fails_too() -> None:
        raise ZeroDivisionError

    with run_node(Plain, "plain", domain=domain) as node:
        node.call(lambda: node.ports.subscription(STRING, "text", fails))
        heard = _heard(node, STRING, "text", QoS())
        log = _heard(node, "rcl_interfaces/msg/Log", "/rosout", QoS(depth=100, is_latched=True))
        publisher = node.call(lambda: node.ports.publisher(STRING, "text"))
        node.call(lambda: node.ports.timer(0.001, fails_too))
        publisher.publish({"data": "a"})
        wait_until(lambda: heard and len(log) >= 2)
    said = capfd.readouterr().err
    assert "I cannot take a" in said
    assert "ZeroDivisionError" in said
    assert {(m.name, m.level) for m in log} == {("plain", 40)}


def test_a_malformed_sample_is_dropped_and_the_next_is_taken(domain: int, capfd: pytest.CaptureFixture[str]) -> None:
    """As no writer of Cyclone's would send it: the bytes are given to the callback of the reader."""
    good = bytes(to_cdr("sensor_msgs/msg/Image", {"header": {"frame_id": "f"}, "data": np.arange(100)}))
    with run_node(Plain, "plain", domain=domain) as node:
        heard: list[Any] = []
        watch: Any = node.call(lambda: node.ports.subscription("sensor_msgs/msg/Image", "image", heard.append))
        rng = np.random.default_rng(1)
        n_good = 0
        for i in range(300):
            bad = bytearray(good)
            bad[rng.integers(len(bad))] ^= int(rng.integers(1, 256))
            cut = bytes(bad[: rng.integers(len(bad) + 1)]) if i % 2 else bytes(bad)
            node.call(lambda cut=cut: watch.callback(Raw(cut)))  # type: ignore[misc]
            node.call(lambda: watch.callback(Raw(good)))
            n_good += 1
        for huge in (b"\x00\x01\x00\x00" + b"\xff" * 40, b"", b"\x00\x0b\x00\x00" + good[4:]):
            node.call(lambda huge=huge: watch.callback(Raw(huge)))  # type: ignore[misc]
        assert sum(m.data.tobytes() == bytes(range(100)) and m.header.frame_id == "f" for m in heard) >= n_good
    assert "dropped a message on" in capfd.readouterr().err


def test_datagrams_of_nobody_do_no_harm(domain: int) -> None:
    """Random bytes, and random bytes behind the head of RTPS, at the ports of the domain."""
    rng = np.random.default_rng(2)
    with run_node(Talker, "talker", domain=domain), run_node(Plain, "ear", domain=domain) as ear:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for i in range(400):
                body = rng.bytes(int(rng.integers(0, 1400)))
                head = b"RTPS\x02\x01\x01\x10" + rng.bytes(12) + b"\x15\x05" if i % 2 else b""
                for port in range(7410, 7418):
                    sender.sendto(head + body, ("127.0.0.1", port + 250 * domain))
        heard = _heard(ear, STRING, "/talker/text")
        wait_until(lambda: heard)


def test_use_sim_time_takes_the_time_of_clock_while_the_node_runs(domain: int) -> None:
    with run_node(Plain, "plain", domain=domain, parameters={"use_sim_time": True}) as node:
        ports, fired, jumps = node.ports, list[int](), list[tuple[int, int]]()
        assert ports.now_ns() == 0
        node.call(lambda: ports.timer(1.0, lambda: fired.append(ports.now_ns())))
        node.call(lambda: ports.on_jump(lambda before, after: jumps.append((before, after))))
        clock = node.call(lambda: ports.publisher("rosgraph_msgs/msg/Clock", "/clock"))
        tf = node.call(lambda: ports.publisher("tf2_msgs/msg/TFMessage", "/tf"))
        wait_until(lambda: clock.n_subscriptions == 1 and tf.n_subscriptions == 1)
        for sec in (50, 51, 20):
            clock.publish({"clock": {"sec": sec}})
            if sec == 51:
                tf.publish(
                    {"transforms": [{"header": {"frame_id": "map", "stamp": {"sec": 51}}, "child_frame_id": "a"}]}
                )
                wait_until(lambda: ports.tf.parent("a") == "map")
            wait_until(lambda: ports.now_ns() == sec * 10**9)  # noqa: B023
        wait_until(lambda: jumps)
        assert fired == [51 * 10**9]
        assert jumps == [(51 * 10**9, 20 * 10**9)]
        assert ports.tf.parent("a") is None
        assert node.call(lambda: node.change({"use_sim_time": False})) is None
        assert ports.now_ns() > 10**18
        changes: Any = node.node
        assert changes.changes == [{"use_sim_time": False}]


def test_another_quality_that_does_not_go_with_ours_is_reported(domain: int, capfd: pytest.CaptureFixture[str]) -> None:
    with run_node(Plain, "a", domain=domain) as a, run_node(Plain, "b", domain=domain) as b:
        kept = a.call(lambda: a.ports.publisher(STRING, "/text", SENSOR_DATA))
        said = _heard(b, "rcl_interfaces/msg/Log", "/rosout", QoS())
        _heard(b, STRING, "/text", QoS())
        wait_until(lambda: any("reliability does not go with ours" in m.msg for m in said))
        kept.close()


def test_ports_that_were_never_started_can_be_closed(domain: int) -> None:
    ports = DdsPorts(Names("never"), domain)
    ports.publisher(STRING, "text").publish({"data": "a"})
    ports.close()


def test_shutting_down_goes_through_the_lifecycle(domain: int) -> None:
    node = run_node(Plain, "plain", domain=domain)
    node.close()
    plain: Any = node.node
    assert plain.steps == ["configure", "activate", "deactivate", "cleanup"]
    assert node.state == "finalized"


@pytest.mark.parametrize("little", [True, False])
def test_the_header_of_services_is_put_in_front_and_taken_off(little: bool) -> None:
    kind = "rcl_interfaces/srv/ListParameters_Request"
    store = typestore()
    from embmem.ros.definitions import message_of

    data = bytes(store.serialize_cdr(message_of(kind, {"prefixes": ["a"], "depth": 7}), kind, little_endian=little))
    if little:
        assert split(with_header((1 << 63, -5), data)) == ((1 << 63, -5), data)
    with pytest.raises(InputError, match="header of a service"):
        split(data[:19])


def test_names_of_types_are_those_of_dds() -> None:
    for name in ("std_msgs/msg/String", "std_srvs/srv/Trigger_Request", "nav2_msgs/action/NavigateToPose_Goal"):
        assert ros_name(dds_name(name)) == name
    assert dds_name("std_msgs/msg/String") == "std_msgs::msg::dds_::String_"
    assert ros_name("std_msgs::String") is None
