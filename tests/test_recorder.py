"""What is recorded is read back byte by byte; a kill costs a chunk at most; a full or slow disk is told and counted."""

from __future__ import annotations

import os
import shutil
import string
import subprocess
import sys
import threading
from collections import namedtuple
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bus import Bus, to_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.errors import InputError, OutputExistsError
from embmem.recordings.bag_writer import BagWriter, DiskFullError, Topic
from embmem.recordings.rosbag import open_rosbag
from embmem.ros.definitions import typestore
from embmem.ros.nodes.recorder import RecorderNode, read_topic
from embmem.ros.ports import LATCHED, Node

STRING, TF = "std_msgs/msg/String", "tf2_msgs/msg/TFMessage"
TRIGGER = "std_srvs/srv/Trigger"
TOPICS = [Topic("/a", STRING), Topic("/b", STRING, is_reliable=False), Topic("/kept", STRING, is_latched=True)]


def word(text: str) -> bytes:
    return to_bytes(STRING, {"data": text})


def read(folder: Path) -> list[tuple[str, int, bytes]]:
    """By rosbags' own reader."""
    from rosbags.rosbag2 import Reader

    with Reader(folder) as reader:
        return [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages()]


messages = st.lists(
    st.tuples(st.sampled_from(["/a", "/b"]), st.integers(1, 10**10), st.text(string.printable, max_size=40)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=10)
@given(messages, st.sampled_from([0, 300, 2000]), st.sampled_from([0.0, 2.0]))
def test_every_message_comes_back_from_however_many_files(
    tmp_path_factory: pytest.TempPathFactory, given_: list[tuple[str, int, str]], max_bytes: int, max_seconds: float
) -> None:
    folder = tmp_path_factory.mktemp("bags") / "bag"
    given_ = sorted(given_, key=lambda message: message[1])
    writer = BagWriter(folder, TOPICS, typestore(), max_bytes=max_bytes, max_seconds=max_seconds, min_free=0)
    for topic, stamp, text in given_:
        writer.write(topic, stamp, word(text))
    writer.close()
    wanted = [(topic, stamp, word(text)) for topic, stamp, text in given_]
    assert sorted(read(folder)) == sorted(wanted)
    recording = open_rosbag(folder)
    assert sum(stream.n_samples for stream in recording.streams) == len(wanted)
    assert not recording.notes
    files = sorted(folder.glob("*.mcap"))
    if max_bytes == 0 and max_seconds == 0.0:
        assert len(files) == 1
    for file in files:
        assert sum(stream.n_samples for stream in open_rosbag(file).streams) >= 1  # each stands for itself


def test_every_file_begins_with_what_was_latched(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag", TOPICS, typestore(), max_seconds=1.0, min_free=0)
    writer.write("/kept", 10**9, word("map"))
    for i in range(4):
        writer.write("/a", (i + 1) * 10**9, word(str(i)))
    writer.close()
    files = sorted((tmp_path / "bag").glob("*.mcap"))
    assert len(files) == 4
    for file in files:
        kept = [s for s in open_rosbag(file).streams if s.name == "/kept"]
        assert kept[0].n_samples == 1
    from rosbags.interfaces import QosDurability
    from rosbags.rosbag2 import Reader

    with Reader(tmp_path / "bag") as reader:
        qos: dict[str, Any] = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}  # type: ignore[union-attr]
    assert qos["/kept"].durability is QosDurability.TRANSIENT_LOCAL
    assert qos["/b"].durability is QosDurability.VOLATILE


def test_what_is_there_or_unknown_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputExistsError):
        BagWriter(tmp_path, TOPICS, typestore())
    with pytest.raises(InputError, match="nobody/msg/Knows"):
        BagWriter(tmp_path / "bag", [Topic("/x", "nobody/msg/Knows")], typestore())
    with pytest.raises(DiskFullError, match="bytes are free"):
        BagWriter(tmp_path / "bag", TOPICS, typestore(), min_free=1 << 62)
    assert read_topic("odom nav_msgs/msg/Odometry") == Topic("odom", "nav_msgs/msg/Odometry", is_reliable=False)
    for line in ("odom", "odom nav_msgs/msg/Odometry often", ""):
        with pytest.raises(InputError, match="a topic to record"):
            read_topic(line)


def test_a_kill_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parent), str(here)])}
    command = [sys.executable, str(here / "bag_child.py"), str(tmp_path / "bag")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as child:
        assert child.stdout is not None
        safe = 0
        while safe < 1000:  # more than one file
            safe = int(child.stdout.readline())
        child.kill()
    recording = open_rosbag(tmp_path / "bag")
    stream = recording.streams[0]
    assert stream.n_samples >= safe
    read_back = [sample.read() for sample in recording.samples_of(frozenset({"/words"}))]
    assert len(read_back) == stream.n_samples
    assert len(list((tmp_path / "bag").glob("*.mcap"))) > 1


def node_on(bus: Bus, tmp_path: Path, **values: Any) -> tuple[RecorderNode, Any]:
    topics = ["a std_msgs/msg/String", "/tf tf2_msgs/msg/TFMessage", "kept std_msgs/msg/String latched"]
    defaults = {"folder": str(tmp_path), "topics": topics, "min_free_megabytes": 0, "chunk_seconds": 0.05}
    ports = bus.ports("recorder", RecorderNode, namespace="/robot", values=defaults | values)
    node = RecorderNode(ports)
    node.configure()
    return node, ports


def ask(bus: Bus, name: str) -> Any:
    return bus.ask(f"/robot/recorder/{name}", TRIGGER, {})


def last_status(bus: Bus) -> Any:
    heard = bus.heard("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
    bus.advance(1.1)
    return heard[-1].status[0]


def test_the_node_records_raw_bytes_and_is_started_split_and_stopped(tmp_path: Path) -> None:
    bus = Bus()
    bus.ports("other").publisher(STRING, "/robot/kept", LATCHED).publish({"data": "before"})
    node, _ = node_on(bus, tmp_path, record_on_activate=False)
    assert not ask(bus, "start").success
    node.activate()
    bus.send("/robot/a", STRING, {"data": "too early"})
    bus.spin()
    assert not ask(bus, "stop").success
    started = ask(bus, "start")
    assert started.success
    assert not ask(bus, "start").success
    for i in range(20):
        bus.send("/robot/a", STRING, {"data": str(i)})
        bus.send("/tf", TF, {"transforms": [{"child_frame_id": "base", "header": {"frame_id": "odom"}}]})
        bus.advance(0.01)
        if i == 9:
            assert ask(bus, "split").success
    stopped = ask(bus, "stop")
    assert (stopped.success, stopped.message) == (True, started.message)
    folder = Path(started.message)
    assert folder.parent == tmp_path
    found = read(folder)
    words = [typestore().deserialize_cdr(data, STRING).data for topic, _, data in found if topic == "/robot/a"]
    assert words == [str(i) for i in range(20)]
    assert sum(topic == "/tf" for topic, _, _ in found) == 20
    stamps = [stamp for topic, stamp, _ in found if topic == "/robot/a"]
    assert np.diff(stamps).tolist() == [10_000_000] * 19
    assert isinstance(node, Node)
    node.cleanup()
    assert not [s for s in bus.subscriptions if s.topic.startswith("/robot/a")]


def test_deactivation_finishes_the_bag_and_the_next_is_another(tmp_path: Path) -> None:
    bus = Bus()
    node, _ = node_on(bus, tmp_path)
    for text in ("one", "two"):
        node.activate()
        bus.send("/robot/a", STRING, {"data": text})
        bus.spin()
        node.deactivate()
    node.activate()
    node.deactivate()  # nothing came: no bag
    folders = sorted(tmp_path.iterdir())
    assert len(folders) == 2
    assert [len(read(folder)) for folder in folders] == [1, 1]


Usage = namedtuple("Usage", "total used free")


class Disk:
    """A disk of so many bytes, of which files in a folder take theirs."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size

    def usage(self, path: Any) -> Usage:
        used = sum(file.stat().st_size for file in self.folder.rglob("*.mcap"))
        return Usage(self.size, used, max(self.size - used, 0))


def fill(bus: Bus, node: RecorderNode, n: int) -> None:
    for i in range(n):
        bus.send("/robot/a", STRING, {"data": f"{i} " + "x" * 50_000})
        bus.advance(0.1)
        recording = node._recording
        assert recording is not None
        bus.spin_until(lambda r=recording: r.n_waiting == 0 or r.has_ended)  # type: ignore[misc]


def test_a_full_disk_ends_the_recording_which_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bus, disk = Bus(), Disk(tmp_path, 3_000_000)
    node, _ = node_on(bus, tmp_path, min_free_megabytes=1)
    monkeypatch.setattr(shutil, "disk_usage", disk.usage)
    node.activate()
    fill(bus, node, 60)
    recording = node._recording
    assert recording is not None
    bus.spin_until(recording.ended.done)
    status = last_status(bus)
    assert status.level in (2, b"\x02")
    assert "kept free" in status.message
    values = {v.key: v.value for v in status.values}
    n_dropped = int(values["dropped /robot/a"])
    assert 0 < n_dropped < 60
    assert len(read(recording.folder)) + n_dropped >= 60
    assert not ask(bus, "stop").success
    node.cleanup()


def test_the_oldest_files_may_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bus, disk = Bus(), Disk(tmp_path, 3_000_000)
    node, _ = node_on(bus, tmp_path, min_free_megabytes=1, when_full="drop_oldest", max_seconds=1.0)
    monkeypatch.setattr(shutil, "disk_usage", disk.usage)
    node.activate()
    fill(bus, node, 80)
    recording = node._recording
    assert recording is not None
    assert ask(bus, "stop").success
    words = [typestore().deserialize_cdr(data, STRING).data.split()[0] for _, _, data in read(recording.folder)]
    assert words[-1] == "79"
    assert int(words[0]) > 20
    assert words == [str(i) for i in range(int(words[0]), 80)]
    assert not recording.dropped


def test_a_disk_that_is_too_slow_costs_messages_not_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bus, gate = Bus(), threading.Event()
    node, _ = node_on(bus, tmp_path, queue_megabytes=1)
    node.activate()
    write = BagWriter.write

    def slow(self: BagWriter, topic: str, stamp_ns: int, data: bytes) -> None:
        gate.wait(30.0)
        write(self, topic, stamp_ns, data)

    monkeypatch.setattr(BagWriter, "write", slow)
    for i in range(40):
        bus.send("/robot/a", STRING, {"data": f"{i} " + "x" * 100_000})
        bus.spin()
    recording = node._recording
    assert recording is not None
    assert recording.n_waiting <= 1 << 20
    assert recording.dropped["/robot/a"] >= 28
    gate.set()
    node.deactivate()
    assert len(read(recording.folder)) == 40 - recording.dropped["/robot/a"]


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    bus = Bus()
    bad: list[dict[str, Any]] = [
        {"topics": ["a nobody/msg/Knows"]},
        {"topics": []},
        {"topics": ["a std_msgs/msg/String", "/robot/a std_msgs/msg/String"]},
        {"prefix": "../x"},
    ]
    for values in bad:
        with pytest.raises(InputError):
            node_on(bus, tmp_path, **values)
    node, ports = node_on(Bus(), tmp_path)
    assert "folder" in str(ports.change(node, prefix="a/b"))
    assert "when the node starts" in str(ports.change(node, folder="/elsewhere"))


def test_a_real_bag_that_is_played_and_recorded_is_the_same_recording(tmp_path: Path, data_dir: Path) -> None:
    from rosbags.rosbag2 import Reader

    source, bus = data_dir / "ros2" / "rgbd_7scenes_mcap", Bus()
    with Reader(source) as reader:
        lines = [f"{c.topic} {c.msgtype}{' latched' if c.topic == '/tf_static' else ''}" for c in reader.connections]
        node, _ = node_on(bus, tmp_path, topics=lines)
        node.activate()
        recording = node._recording
        assert recording is not None
        for connection, stamp, data in islice(reader.messages(), 150):
            bus.now_ns = stamp
            for subscription in bus.subscriptions:
                if subscription.topic == connection.topic and subscription.is_raw:
                    subscription.deliver(bytes(data))
            bus.spin()
    node.deactivate()
    again, whole = open_rosbag(recording.folder), open_rosbag(source)
    assert {s.name: s.kind for s in again.streams} == {s.name: s.kind for s in whole.streams}
    names = frozenset(s.name for s in whole.streams if s.kind in ("depth", "color", "camera", "odometry"))
    pairs = list(zip(again.samples_of(names), whole.samples_of(names), strict=False))
    assert len(pairs) > 50
    for one, other in pairs[:20]:
        assert (one.stream, one.stamp_ns, one.frame_id) == (other.stream, other.stamp_ns, other.frame_id)
        a, b = one.read(), other.read()
        assert type(a) is type(b)
        for name in vars(a):
            np.testing.assert_equal(getattr(a, name), getattr(b, name))
