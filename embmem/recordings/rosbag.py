"""ROS 2 bags (sqlite3 and MCAP) through rosbags: topics become streams, messages become samples.

Only the standard types of a fixed ROS distribution are decoded, never by the definitions that a file brings along. Each
message is decoded on its own: one that cannot be read is an error of that message.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from embmem.errors import EmbmemError, InputError, import_extra
from embmem.recordings.mcap_recovery import RecoveredMcap, unpack_chunk
from embmem.recordings.raw import RawData, RawMessage, Sample
from embmem.recordings.recording import Recording, Stream
from embmem.recordings.sqlite_recovery import RecoveredSqlite, check_tables, has_log
from embmem.ros import messages, vision
from embmem.ros.samples import CONVERSIONS, KINDS

SUFFIXES = (".mcap", ".db3")
_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_STRING = "std_msgs/msg/String"
_TF = "tf2_msgs/msg/TFMessage"
_MAX_FRAME_ID = 1000  # characters


@dataclass(frozen=True)
class _Bag:
    """The files of a bag, and whether they are opened one by one because its metadata hide what is in them."""

    path: Path
    files: tuple[Path, ...]
    recovered: dict[Path, RecoveredMcap | RecoveredSqlite] = field(default_factory=dict)  # of files that were cut

    @contextmanager
    def open(self) -> Iterator[list[Any]]:
        """Readers of rosbags, in the order of the files; their errors are ours.

        Raises:
            InputError: if a file is missing, cut or damaged.
        """
        rosbag2 = _rosbag2()
        with ExitStack() as stack:
            try:
                yield [
                    stack.enter_context(copy(self.recovered[file]) if file in self.recovered else rosbag2.Reader(file))
                    for file in self.files
                ]
            except (EmbmemError, GeneratorExit):
                raise
            except Exception as error:  # rosbags raises what its parsers raise: struct, Unicode, YAML, SQLite, zstd ...
                raise InputError(f"{self.path}: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@cache
def _rosbag2() -> Any:
    """rosbags' reader, whose chunks unpack to no more than they say: it would check when all is in RAM."""
    storage = import_extra("rosbags.rosbag2.storage_mcap", "ros")
    for name in ("lz4", "zstd"):
        storage.DECOMPRESSORS[name] = partial(unpack_chunk, name)
    return import_extra("rosbags.rosbag2", "ros")


@cache
def _typestore() -> Any:
    stores = import_extra("rosbags.typesys", "ros")
    store = stores.get_typestore(stores.Stores.LATEST)
    for name, text in vision.DEFINITIONS.items():
        store.register(stores.get_types_from_msg(text, name))
    return store


def is_rosbag(path: Path) -> bool:
    """Whether it is a file of a bag or a folder with one."""
    if path.is_dir():
        names = (".bag", *SUFFIXES)
        return any(file.name == "metadata.yaml" or file.suffix in names for file in path.iterdir())
    return path.suffix in (".bag", *SUFFIXES)


def open_rosbag(path: Path) -> Recording:
    """The recording in a folder with metadata.yaml, or in one file *.mcap or *.db3.

    Raises:
        InputError: if it is missing, cut, damaged or holds no message.
        MissingExtraError: without rosbags.
    """
    bag, streams, notes = _found(path)
    storage = "sqlite3" if bag.files[0].suffix == ".db3" or _is_sqlite(path) else "MCAP"
    return Recording(
        path=path,
        format=f"ROS 2 bag ({storage})",
        labels=_labels(bag, streams),
        streams=streams,
        samples_of=partial(_samples, bag, {stream.name: stream.kind for stream in streams}),
        is_z_up=True,
        notes=tuple(notes),
    )


def open_raw(path: Path) -> AbstractContextManager[list[Any]]:
    """Readers of rosbags for the files of a bag, whose messages are the bytes that were recorded.

    Raises:
        InputError: as `open_rosbag`.
        MissingExtraError: without rosbags.
    """
    return _found(path)[0].open()


def _found(path: Path) -> tuple[_Bag, tuple[Stream, ...], list[str]]:
    """The bag with what could be saved of it, its topics, and what is to be said of that."""
    bag = _find_files(path)
    for file in path.rglob("*.db3") if path.is_dir() else bag.files:
        if file.suffix == ".db3" and file.is_file():
            check_tables(file)
    notes: list[str] = []
    try:
        if any(has_log(file) for file in (path.iterdir() if path.is_dir() else bag.files)):
            raise InputError(f"{path}: its recorder did not finish")
        streams, silent = _streams(bag)
    except InputError as error:
        bag, notes = _recovered(bag, error)
        streams, silent = _streams(bag)
    if silent and bag.files == (path,):
        bag = _Bag(path, _storage_files(path))
        streams, still_silent = _streams(bag)
        notes.append(f"metadata.yaml describes {', '.join(silent)} otherwise than the files do; the files were read")
        silent = still_silent
    notes += [f"{name}: messages are counted but none can be read" for name in silent]
    if not any(stream.n_samples for stream in streams):
        raise InputError(f"{path}: a bag without messages")
    return bag, streams, notes


def _labels(bag: _Bag, streams: tuple[Stream, ...]) -> tuple[str, ...]:
    """The names of semantic ids, where a topic .../labels holds a JSON list of them."""
    topic = next((s.name for s in streams if s.type == _STRING and s.name.endswith("/labels")), None)
    if topic is None:
        return ()
    with bag.open() as readers:
        data = _first_message(readers, topic)
    try:
        labels = json.loads(_typestore().deserialize_cdr(data, _STRING).data)
    except Exception:  # a text of somebody else's
        return ()
    return tuple(map(str, labels)) if isinstance(labels, list) else ()


def _find_files(path: Path) -> _Bag:
    if path.suffix == ".bag" or (path.is_dir() and _is_ros1(path)):
        raise InputError(
            f"{path}: a bag of ROS 1; convert it first: pip install rosbags, "
            f"then rosbags-convert --src {path.name} --dst {path.stem}_ros2"
        )
    if path.is_file() and path.suffix in SUFFIXES:
        return _Bag(path, (path,))
    if not path.is_dir():
        raise InputError(f"{path}: no bag: neither a folder nor a file {' or '.join(SUFFIXES)}")
    return _Bag(path, (path,) if (path / "metadata.yaml").is_file() else _storage_files(path))


def _is_unindexed(reader: Any) -> bool:
    """Whether a file holds messages outside of chunks, which rosbags gives in the order of the file or not at all."""
    storage = getattr(reader, "storage", None)  # of rosbags
    storages = getattr(storage, "storages", [storage])
    return any(getattr(each, "chunks", None) == [] and each.metadata.message_count for each in storages)


def _recovered(bag: _Bag, error: InputError) -> tuple[_Bag, list[str]]:
    """The files of a bag of which one or more are cut, each as far as it is whole, and what is to be said of that.

    Raises:
        InputError: `error`, if nothing can be saved.
    """
    try:
        files = _storage_files(bag.path) if bag.path.is_dir() else bag.files
    except InputError:
        raise error from None
    recovered: dict[Path, RecoveredMcap | RecoveredSqlite] = {}
    lost: set[Path] = set()
    notes = [f"{error}; read as far as it is whole"]
    for file in files:
        try:
            with _Bag(file, (file,)).open() as (alone,):
                is_whole = not has_log(file) and not _is_unindexed(alone)
        except InputError:
            is_whole = False
        if is_whole:
            continue
        reader: RecoveredMcap | RecoveredSqlite = (
            RecoveredMcap(file) if file.suffix == ".mcap" else RecoveredSqlite(file)
        )
        try:
            with reader:
                notes.append(reader.describe())
            recovered[file] = reader
        except InputError as problem:
            notes.append(f"left out: {problem}")
            lost.add(file)
    files = tuple(file for file in files if file not in lost)
    n_saved = sum(connection.msgcount for reader in recovered.values() for connection in reader.connections)
    if not files or (not n_saved and len(files) == len(recovered)):
        raise error
    return _Bag(bag.path, files, recovered), notes


def _storage_files(path: Path) -> tuple[Path, ...]:
    files = sorted((f for f in path.iterdir() if f.suffix in SUFFIXES), key=lambda f: (len(f.name), f.name))
    if not files:
        raise InputError(f"{path}: neither metadata.yaml nor a file {' or '.join(SUFFIXES)} in this folder")
    return tuple(files)


def _is_ros1(path: Path) -> bool:
    """Whether a folder holds bags of ROS 1 and none of ROS 2."""
    names = [file for file in path.iterdir() if file.suffix in (".bag", *SUFFIXES) or file.name == "metadata.yaml"]
    return bool(names) and all(file.suffix == ".bag" for file in names)


def _is_sqlite(path: Path) -> bool:
    return path.is_dir() and any(file.suffix == ".db3" for file in path.iterdir())


def _streams(bag: _Bag) -> tuple[tuple[Stream, ...], list[str]]:
    """The topics in the order of the bag, each looked at once, and those that are counted but give no message."""
    counts: dict[tuple[str, str], int] = {}
    heads: dict[str, tuple[str, str]] = {}
    silent: list[str] = []
    with bag.open() as readers:
        if any(map(_is_unindexed, readers)):
            raise InputError(f"{bag.path}: messages without an index")
        for reader in readers:
            for connection in reader.connections:
                key = connection.topic, connection.msgtype
                if not "".join(key).isprintable():
                    raise InputError(f"{bag.path}: a topic {key[0]!r} of type {key[1]!r} is none; the file is damaged")
                counts[key] = counts.get(key, 0) + int(connection.msgcount)
        for (topic, msgtype), n in counts.items():
            first = _first_message(readers, topic)
            if first is None and n:
                silent.append(topic)
            heads[topic] = ("", "") if first is None else _head(topic, msgtype, first)
    streams = tuple(
        Stream(topic, _kind(topic, msgtype, heads[topic][0]), msgtype, n, ", ".join(filter(None, heads[topic])))
        for (topic, msgtype), n in counts.items()
    )
    return streams, silent


def _first_message(readers: list[Any], topic: str) -> bytes | None:
    for reader in readers:
        connections = [c for c in reader.connections if c.topic == topic]
        if connections:
            for _, _, data in reader.messages(connections=connections):
                return bytes(data)
    return None


def _head(topic: str, msgtype: str, data: bytes) -> tuple[str, str]:
    """(encoding or frame, frame) of a message, for a person and to tell depth from colour; empty where damaged."""
    try:
        if msgtype in _IMAGES:
            message = _typestore().deserialize_cdr(data, msgtype)
            return str(getattr(message, "encoding", getattr(message, "format", ""))), str(message.header.frame_id)
        if msgtype == _TF:
            return "", ""
        return "", _header(data)[1] if msgtype in CONVERSIONS else ""
    except Exception:  # a damaged first message is found out when it is read
        return "", ""


def _kind(topic: str, msgtype: str, encoding: str) -> str:
    """What a topic holds, by its type, its first message and, for images, its name."""
    if msgtype == _TF:
        return "tf_static" if topic.rstrip("/").endswith("tf_static") else "tf"
    if msgtype not in _IMAGES:
        return KINDS.get(msgtype, "other")
    name = topic.lower()
    is_single = encoding.partition(";")[0] in ("16UC1", "32FC1", "mono16", "64FC1", "16SC1", "32SC1", "8UC1", "mono8")
    if "compresseddepth" in encoding.lower() or "compresseddepth" in name:
        return "depth"
    for kind in ("semantic", "instance"):
        if kind in name and is_single:
            return kind
    if encoding in ("16UC1", "32FC1", "64FC1") or (encoding == "mono16" and "depth" in name):
        return "depth"
    return "color" if not any(word in name for word in ("infra", "/ir", "mask", "confidence")) else "other"


def _header(data: bytes) -> tuple[int, str]:
    """(stamp [ns], frame_id) of a CDR message that begins with a std_msgs/Header, without decoding the rest."""
    order = "<" if data[1] & 1 else ">"
    sec, nanosec, length = struct.unpack_from(f"{order}iII", data, 4)
    if length > _MAX_FRAME_ID or 16 + length > len(data):
        raise InputError(f"a header whose frame_id has {length} characters in {len(data)} bytes")
    return sec * messages.NANOSECONDS + nanosec, data[16 : 16 + max(0, length - 1)].decode("utf-8", "replace")


def _samples(bag: _Bag, kinds: dict[str, str], names: frozenset[str]) -> Iterator[Sample]:
    counters: dict[str, int] = {}
    with bag.open() as readers:
        for reader in readers:
            connections = [c for c in reader.connections if c.topic in names]
            if not connections:
                continue
            for connection, received, data in reader.messages(connections=connections):
                number = counters.get(connection.topic, 0)
                counters[connection.topic] = number + 1
                source = f"{bag.path}: {connection.topic} message {number}"
                yield _sample(connection, kinds[connection.topic], bytes(data), source, int(received))


def _sample(connection: Any, kind: str, data: bytes, source: str, received: int) -> Sample:
    msgtype = connection.msgtype
    stamp, frame_id, read = received, "", partial(_decode, data, msgtype, source)
    if msgtype == _TF:
        read = partial(_decode_tf, data, kind == "tf_static", source)
    elif msgtype in CONVERSIONS:
        try:
            stamp, frame_id = _header(data)
        except (InputError, struct.error, IndexError) as error:
            read = partial(_refuse, f"{source}: {error}")
    return Sample(
        stream=connection.topic, kind=kind, stamp=messages.seconds(stamp), source=source, read=read,
        received=messages.seconds(received), frame_id=frame_id, stamp_ns=stamp,
    )  # fmt: skip


def _refuse(reason: str) -> RawData:
    raise InputError(reason)


def _decode(data: bytes, msgtype: str, source: str) -> RawData:
    convert = CONVERSIONS.get(msgtype, RawMessage)
    try:
        return convert(_typestore().deserialize_cdr(data, msgtype))
    except Exception as error:  # whatever a damaged message makes rosbags or the conversion raise
        raise InputError(f"{source}: cannot be decoded as {msgtype} ({_reason(error)})") from None


def _decode_tf(data: bytes, is_static: bool, source: str) -> RawData:
    try:
        return messages.transforms_of(_typestore().deserialize_cdr(data, _TF), is_static=is_static)
    except Exception as error:  # see above
        raise InputError(f"{source}: cannot be decoded as {_TF} ({_reason(error)})") from None
