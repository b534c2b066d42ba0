"""Bags whose recorder died: what is whole is read, a note says how much, and nothing is written beside them."""

from __future__ import annotations

import io
import os
import sqlite3
import struct
import subprocess
import sys
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_room import observe_room, walk
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from ros_messages import Messages, write_bag

from embmem.errors import InputError, import_extra
from embmem.observation import Intrinsics
from embmem.recordings import mcap_recovery
from embmem.recordings.mcap_recovery import RecoveredMcap, unpack_chunk
from embmem.recordings.opening import open_recording, read_recording
from embmem.recordings.sqlite_recovery import RecoveredSqlite
from embmem.recordings.writing import write_recording

M = Messages()
SMALL = Intrinsics.from_fov(8, 6, 75.0)


def odometry(i: int) -> bytes:
    message = M.odometry("odom", "base", (i, 2, 3), (0, 0, 0, 1))
    return bytes(M.store.serialize_cdr(message, message.__msgtype__))


def mcap_of(n: int, compression: CompressionType | None, *, shuffled: bool = False) -> bytes:
    """Odometry on two topics; without compression outside of chunks, as the `fastwrite` preset of rosbag2 writes it."""
    buffer = io.BytesIO()
    writer = Writer(buffer, chunk_size=4000, compression=compression or CompressionType.NONE,
                    use_chunking=compression is not None)  # fmt: skip
    writer.start(profile="ros2", library="a test")
    schema = writer.register_schema("nav_msgs/msg/Odometry", "ros2msg", b"")
    topics = [writer.register_channel(topic, "cdr", schema) for topic in ("/odom", "/other")]
    times = np.arange(n) * 10
    if shuffled:
        times = times.reshape(-1, 2)[:, ::-1].ravel()
    for i, stamp in enumerate(times.tolist()):
        writer.add_message(topics[i % 2], stamp, odometry(i), stamp)
    writer.finish()  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def messages_of(path: Path) -> list[tuple[str, int, bytes]]:
    with RecoveredMcap(path) as reader:
        return [(c.topic, stamp, data) for c, stamp, data in reader.messages(reader.connections)]


@pytest.mark.parametrize("compression", [None, CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD])
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_cut_mcap_gives_the_first_messages(
    tmp_path: Path, compression: CompressionType | None, shuffled: bool
) -> None:
    whole, path = mcap_of(60, compression, shuffled=shuffled), tmp_path / "cut.mcap"
    expected = [(c.topic, m.log_time, m.data) for _, c, m in make_reader(io.BytesIO(whole)).iter_messages()]
    path.write_bytes(whole)
    assert messages_of(path) == expected
    least = 0
    for share in (0.3, 0.6, 0.8, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        found = messages_of(path)
        assert set(found) <= set(expected)
        assert [stamp for _, stamp, _ in found] == sorted(stamp for _, stamp, _ in found)
        assert len(found) >= least
        least = len(found)
        recording = open_recording(path)
        assert sum(stream.n_samples for stream in recording.streams) == len(found)
        assert any(f"{len(found):,} messages saved" in note for note in recording.notes)
        assert len(list(recording.samples())) == len(found)
    assert least >= 50


def test_messages_without_an_index_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    """rosbags refuses what the `fastwrite` preset of rosbag2 writes, if two topics overtake each other."""
    path = tmp_path / "flat.mcap"
    path.write_bytes(mcap_of(60, None, shuffled=True))
    recording = open_recording(path)
    stamps = [sample.received for sample in recording.samples()]
    assert len(stamps) == 60
    assert stamps == sorted(stamps)
    assert any("no index" in note for note in recording.notes)


def test_a_power_cut_that_leaves_zeros(tmp_path: Path) -> None:
    whole, path = mcap_of(60, CompressionType.NONE), tmp_path / "cut.mcap"
    path.write_bytes(whole[: len(whole) // 2] + bytes(5000))
    assert 20 < len(messages_of(path)) < 40
    assert open_recording(path).notes


def test_a_damaged_chunk_is_left_out(tmp_path: Path) -> None:
    whole, path = bytearray(mcap_of(60, CompressionType.NONE)), tmp_path / "cut.mcap"
    whole[len(whole) // 3] ^= 255
    path.write_bytes(whole[:-100])
    assert 30 <= len(messages_of(path)) < 60
    assert any("1 damaged chunks left out" in note for note in open_recording(path).notes)


def test_frames_of_a_cut_recording_are_the_first_frames(tmp_path: Path) -> None:
    made = [observe_room(o.T_map_camera, o.stamp, SMALL) for o in walk(6)]
    write_recording(made, tmp_path / "whole.mcap", layout="mcap")
    data = (tmp_path / "whole.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(data[: int(0.55 * len(data))])
    whole, cut = (list(read_recording(tmp_path / name, on_fault="skip")) for name in ("whole.mcap", "cut.mcap"))
    assert 0 < len(cut) < len(whole)
    for ours, expected in zip(cut, whole, strict=False):
        assert ours.stamp == expected.stamp
        np.testing.assert_array_equal(ours.depth, expected.depth)
        np.testing.assert_array_equal(ours.T_map_camera, expected.T_map_camera)


def test_two_passes_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "cut.mcap"
    path.write_bytes(mcap_of(60, CompressionType.ZSTD)[:-300])
    recording = open_recording(path)
    one, two = recording.samples(), recording.samples()
    assert all(a.received == b.received for a, b in zip(one, two, strict=True))


def test_nothing_that_is_whole_is_an_error(tmp_path: Path) -> None:
    whole, path = mcap_of(60, CompressionType.ZSTD), tmp_path / "cut.mcap"
    for data in (b"", whole[:20], whole[:100], bytes(3000), b"\x89MCAP0\r\n"):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"cut\.mcap") as caught:
            open_recording(path)
        assert "\n" not in str(caught.value)


WRITER = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode=WAL")
db.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT,"
           " offered_qos_profiles TEXT)")
db.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)")
db.execute("CREATE INDEX timestamp_idx ON messages (timestamp ASC)")
db.execute("INSERT INTO topics VALUES(1, '/odom', 'nav_msgs/msg/Odometry', 'cdr', '')")
for i in range(100):
    db.execute("INSERT INTO messages VALUES(?, 1, ?, ?)", (i + 1, i * 10, bytes.fromhex(sys.argv[2])))
    db.commit()
os.kill(os.getpid(), 9)
"""


def test_messages_in_the_log_of_a_killed_recorder_are_read_and_left_there(tmp_path: Path) -> None:
    folder = tmp_path / "bag"
    folder.mkdir()
    subprocess.run([sys.executable, "-c", WRITER, str(folder / "bag_0.db3"), odometry(0).hex()], check=False)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert before["bag_0.db3-wal"]
    folder.chmod(0o555)
    for path in (folder, folder / "bag_0.db3"):
        recording = open_recording(path)
        assert len(list(recording.samples())) == 100
        assert any("100 messages saved with the log" in note for note in recording.notes)
    folder.chmod(0o755)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    (folder / "bag_0.db3-wal").write_bytes(before["bag_0.db3-wal"][: len(before["bag_0.db3-wal"]) // 2])
    assert 30 < len(list(open_recording(folder).samples())) < 70


def test_a_cut_database_gives_the_messages_on_the_pages_that_are_left(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", [("/odom", i, M.odometry("odom", "base", (i, 2, 3), (0, 0, 0, 1))) for i in range(300)],
              storage="SQLITE3")  # fmt: skip
    (file,) = (tmp_path / "bag").glob("*.db3")
    whole = file.read_bytes()
    expected = [s.read() for s in open_recording(tmp_path / "bag").samples()]
    for share in (0.3, 0.6, 0.9):
        file.write_bytes(whole[: int(share * len(whole))])
        recording = open_recording(tmp_path / "bag")
        found = [s.read() for s in recording.samples()]
        assert 0.5 * share < len(found) / len(expected) < 1.0
        assert any(f"{len(found):,} messages saved; the file was cut" in note for note in recording.notes)
        numbers = [x_of(pose) for pose in found]
        assert numbers == sorted(set(numbers))
        assert set(numbers) <= {x_of(pose) for pose in expected}


def x_of(pose: Any) -> float:
    return float(pose.position[0])


def test_a_description_that_was_never_finished_does_not_matter(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", [("/odom", i, M.odometry("odom", "base", (i, 2, 3), (0, 0, 0, 1))) for i in range(20)])
    (tmp_path / "bag" / "metadata.yaml").write_text("rosbag2_bagfile_information:\n  vers")
    recording = open_recording(tmp_path / "bag")
    assert len(list(recording.samples())) == 20
    assert "read as far as it is whole" in recording.notes[0]


def test_bags_of_ros_1_are_refused_with_the_name_of_the_converter(tmp_path: Path) -> None:
    from rosbags.rosbag1 import Writer as Ros1Writer

    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "drive.bag"
    with Ros1Writer(path):
        pass
    for there in (path, path.parent):
        with pytest.raises(InputError, match=r"a bag of ROS 1; .* rosbags-convert --src (drive\.bag|folder) --dst"):
            open_recording(there)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_chunk_that_unpacks_to_more_than_it_says_costs_no_memory(tmp_path: Path, compression: str) -> None:
    whole = mcap_of(60, CompressionType.ZSTD if compression == "zstd" else CompressionType.LZ4)
    zeros = bytes(200 << 20)
    if compression == "zstd":
        from backports import zstd

        bomb = zstd.compress(zeros)
    else:
        bomb = import_extra("lz4.frame", "ros").compress(zeros)
    del zeros
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="unpacks to more"):
            unpack_chunk(compression, bomb, 1000)
        with pytest.raises(InputError, match="at most"):
            unpack_chunk(compression, bomb, 1 << 40)
        name = compression.encode()
        at = whole.index(struct.pack("<I", len(name)) + name) + 4 + len(name)
        (length,) = struct.unpack_from("<Q", whole, at)
        path = tmp_path / "bomb.mcap"
        path.write_bytes(whole[:at] + struct.pack("<Q", len(bomb)) + bomb + whole[at + 8 + length :])
        with pytest.raises(InputError):
            list(open_recording(path).samples())
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_a_damaged_length_does_not_take_the_rest_of_the_file_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = mcap_of(40, CompressionType.NONE)
    file = tmp_path / "a.mcap"
    file.write_bytes(data[: len(data) // 2] + struct.pack("<BQ", 6, 1 << 60))
    with file.open("r+b") as opened:
        opened.truncate(1 << 26)
    monkeypatch.setattr(mcap_recovery, "_MAX_RECORD", 1 << 16)
    tracemalloc.start()
    try:
        assert messages_of(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_a_view_without_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.db3"
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE topics (id INTEGER, name TEXT, type TEXT)")
        db.execute(
            "CREATE VIEW messages AS WITH RECURSIVE c(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM c) "
            "SELECT id, 1 AS topic_id, id AS timestamp, x'00' AS data FROM c"
        )
    with pytest.raises(InputError, match="are a view"), RecoveredSqlite(file):
        pass
    with pytest.raises(InputError, match="are a view"):
        open_recording(file)


def test_a_database_that_is_none_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.db3"
    for make in ("CREATE TABLE topics(id)", "CREATE TABLE messages(id)", ""):
        path.unlink(missing_ok=True)
        with sqlite3.connect(path) as database:
            database.execute(make)
        database.close()
        with pytest.raises(InputError, match=r"a\.db3"):
            open_recording(path)
    path.write_bytes(os.urandom(5000))
    with pytest.raises(InputError, match=r"a\.db3"):
        open_recording(path)
