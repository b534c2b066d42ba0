"""`embmem play`: what a bag holds comes over the wire bit for bit, at its pace, with its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cyclonedds", reason="cyclonedds (the extra dds) is not installed")

from ros_messages import NS, Messages
from wire import embmem, own_domain, wait_until
from wire_nodes import Plain

from embmem.cli.main import main
from embmem.dds.names import Names
from embmem.dds.node import RunningNode, run_node
from embmem.dds.play import Player
from embmem.dds.ports import DdsPorts
from embmem.errors import InputError
from embmem.ros.ports import LATCHED, QoS

IMAGE, ODOMETRY, TF = "sensor_msgs/msg/Image", "nav_msgs/msg/Odometry", "tf2_msgs/msg/TFMessage"
BEGIN = 100 * NS
ALL = QoS(depth=1000)


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    with own_domain() as domain:
        yield domain


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds: 20 images and as many poses, a static transform, and a topic of a type that nobody knows."""
    from rosbags.rosbag2 import Writer

    path, make, rng = tmp_path_factory.mktemp("bag") / "drive", Messages(), np.random.default_rng(0)
    with Writer(path, version=9) as writer:
        static = writer.add_connection("/tf_static", TF, typestore=make.store)
        image = writer.add_connection("/image", IMAGE, typestore=make.store)
        odometry = writer.add_connection("/odom", ODOMETRY, typestore=make.store)
        strange = writer.add_connection("/strange", "strange_msgs/msg/Strange", msgdef="uint8 x", rihs01="RIHS01_0")
        transform = make.tf(make.transform("base", "camera", (1, 2, 3), (0, 0, 0, 1)))
        writer.write(static, BEGIN, make.store.serialize_cdr(transform, TF))
        writer.write(strange, BEGIN, b"\x00\x01\x00\x00\x07")
        for i in range(20):
            stamp = BEGIN + i * NS // 10
            pixels = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
            writer.write(image, stamp, make.store.serialize_cdr(make.image(pixels, "rgb8", stamp), IMAGE))
            pose = make.odometry("odom", "base", (i, 0, 0), (0, 0, 0, 1), stamp)
            writer.write(odometry, stamp, make.store.serialize_cdr(pose, ODOMETRY))
    return path


def _raw(node: RunningNode, type: str, topic: str, qos: QoS = ALL) -> list[bytes]:
    heard: list[bytes] = []
    node.call(lambda: node.ports.subscription(type, topic, heard.append, qos, raw=True))
    return heard


def _recorded(bag: Path, topic: str) -> list[bytes]:
    from rosbags.rosbag2 import Reader

    with Reader(bag) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        return [bytes(data) for _, _, data in reader.messages(connections=connections)]


def _padded(data: bytes) -> bytes:
    """DDS sends whole words."""
    return data.ljust((len(data) + 3) & ~3, b"\0")


def test_a_bag_is_played_by_another_process_bit_for_bit(bag: Path, domain: int) -> None:
    with run_node(Plain, "ear", domain=domain, parameters={"use_sim_time": True}) as node:
        images, poses = _raw(node, IMAGE, "/image"), _raw(node, ODOMETRY, "/robot/odom")
        play = ("play", str(bag), "rate=20", f"domain={domain}", "remap={/odom:/robot/odom}", "wait_for=[/image,/odom]")
        with embmem(*play) as child:
            out, said = child.communicate(timeout=60)
        assert child.returncode == 0, said
        assert images == [_padded(data) for data in _recorded(bag, "/image")]
        assert poses == [_padded(data) for data in _recorded(bag, "/odom")]
        assert node.ports.tf.parent("camera") == "base"
        assert 0 < node.ports.now_ns() <= BEGIN + 19 * NS // 10
    assert "20  /image" in out
    assert "/strange is left out: its type 'strange_msgs/msg/Strange' is not known" in said


def _played(bag: Path, domain: int, **settings: Any) -> Player:
    player = Player(bag, **settings)
    ports = DdsPorts(Names("player"), domain)
    ports.executor.start()
    try:
        player.play(ports)
    finally:
        ports.close()
    return player


def test_the_pace_is_that_of_the_bag(bag: Path, domain: int) -> None:
    start = time.monotonic()
    _played(bag, domain, rate=4.0)
    assert time.monotonic() - start >= 1.9 / 4.0
    assert _played(bag, domain, rate=float("inf")).played == {"/image": 20, "/odom": 20, "/tf_static": 1}


def test_a_part_of_the_bag_is_played(bag: Path, domain: int) -> None:
    part = _played(bag, domain, rate=50.0, topics=["/odom"], start=0.55, duration=1.0)
    assert part.played == {"/odom": 10}  # 0.6 to 1.5 s
    part = _played(bag, domain, rate=50.0, topics=["/odom", "/tf_static"], start=1.75)
    assert part.played == {"/odom": 2, "/tf_static": 1}, "what was latched before the start is played, too"


def test_in_a_loop_the_time_jumps_back_and_late_listeners_get_the_static_transforms(bag: Path, domain: int) -> None:
    stop = threading.Event()
    player = Player(bag, rate=40.0, is_looping=True, stop=stop, topics=["/odom", "/tf_static"])
    ports = DdsPorts(Names("player"), domain)
    ports.executor.start()
    thread = threading.Thread(target=player.play, args=(ports,))
    thread.start()
    try:
        with run_node(Plain, "late", domain=domain, parameters={"use_sim_time": True}) as node:
            jumps: list[tuple[int, int]] = []
            node.call(lambda: node.ports.on_jump(lambda before, after: jumps.append((before, after))))
            static = _raw(node, TF, "/tf_static", LATCHED)
            wait_until(lambda: jumps and static)
            assert all(after < before for before, after in jumps)
    finally:
        stop.set()
        thread.join()
        ports.close()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"rate": 0.0}, "need rate > 0"),
        ({"start": -1.0}, "start >= 0"),
        ({"topics": ["/nothing"]}, "no topic to be played"),
        ({"wait_for": ["/nothing"]}, "nothing of /nothing is played"),
    ],
)
def test_what_cannot_be_played_is_refused(bag: Path, domain: int, settings: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        _played(bag, domain, **settings)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["play", "nowhere"], "no bag"),
        (["play", "{bag}", "remap=[/a]"], "remap looks like"),
        (["play", "{bag}", "domain=233"], "from 0 to 232"),
        (["node", "butler"], "kind is one of memory, planner, perception, recorder, not 'butler'"),
        (["node", "memory", "namespace=robot"], "a namespace is /"),
        (["node", "memory", "parameters=nowhere.yaml"], "nowhere.yaml"),
        (["node", "memory", "set=3"], "set looks like"),
    ],
)
def test_commands_say_in_a_line_what_is_wrong(
    bag: Path, words: list[str], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.replace("{bag}", str(bag)) for word in words]) != 0
    said = capsys.readouterr().err
    assert match in said
    assert said.count("\n") == 1
