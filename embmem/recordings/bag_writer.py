"""A rosbag2 folder of MCAP files, written as messages come, that a kill leaves readable to its last chunk.

Every file stands for itself: it has the types, an index, and once more what was latched before it began. metadata.yaml
appears when the recording ends; until then, and after a kill, readers take the files as they lie there
(`embmem.recordings.rosbag`, `ros2 bag reindex`).
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embmem.errors import InputError, OutputExistsError, StoreError, import_extra
from embmem.output import sync, write_atomic

VERSION = 9  # of rosbag2's metadata
_OVERHEAD = 64  # [byte] that a message takes beside its data
_MOST_LATCHED = 100  # messages of a latched topic that a new file begins with


class DiskFullError(StoreError):
    """There is less room left on the disk than is to be kept free."""


@dataclass(frozen=True)
class Topic:
    """What is recorded of a topic."""

    name: str  # with its namespace
    type: str
    is_latched: bool = False
    is_reliable: bool = True


@dataclass
class _File:
    """A file of the bag."""

    path: Path
    first_ns: int = 2**63 - 1
    last_ns: int = 0
    n_bytes: int = 0
    counts: dict[str, int] = field(default_factory=dict)  # messages by topic


class BagWriter:
    """Writes messages as they came over the wire.

    Args:
        folder: of the bag; it must not exist.
        topics: that will be written.
        typestore: rosbags' store that knows their types.
        max_bytes: of a file, about; 0: no limit.
        max_seconds: that a file spans, by the stamps; 0: no limit.
        chunk_seconds: after which what was written is handed to the system, by the clock of the machine.
        min_free: [byte] that stay free on the disk.
        clock: [s] of the machine.

    Raises:
        OutputExistsError: if the folder is there.
        InputError: if a type is not known.
        MissingExtraError: without rosbags.
    """

    def __init__(
        self,
        folder: Path,
        topics: list[Topic],
        typestore: Any,
        *,
        max_bytes: int = 1 << 30,
        max_seconds: float = 0.0,
        chunk_seconds: float = 1.0,
        min_free: int = 1 << 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rosbag2 = import_extra("rosbags.rosbag2", "ros")
        unknown = [topic.type for topic in topics if topic.type not in typestore.fielddefs]
        if unknown:
            raise InputError(f"no message type {unknown[0]!r} is known")
        if folder.exists():
            raise OutputExistsError(f"{folder} exists; choose another name")
        self.folder, self._typestore, self._clock = folder, typestore, clock
        self._topics = {topic.name: topic for topic in topics}
        self._max_bytes, self._max_ns = max_bytes, round(max_seconds * 1e9)
        self._chunk_seconds, self._min_free = chunk_seconds, min_free
        self._latched: dict[str, deque[bytes]] = {
            topic.name: deque(maxlen=_MOST_LATCHED) for topic in topics if topic.is_latched
        }
        self.files: list[_File] = []
        self._n_files = 0
        self._writer: Any = None
        self._connections: dict[str, Any] = {}
        self._flushed, self._n_chunks = clock(), 0
        self.n_safe = 0  # messages that a kill does not cost
        folder.mkdir(parents=True)
        self.check_room()

    @property
    def n_messages(self) -> int:
        """Of all files."""
        return sum(sum(file.counts.values()) for file in self.files)

    @property
    def n_bytes(self) -> int:
        """Of all messages in them."""
        return sum(file.n_bytes for file in self.files)

    def write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Write a message in CDR.

        Raises:
            DiskFullError: if the disk has no room for it.
            StoreError: if it cannot be written for another reason.
        """
        try:
            if self._writer is None or self._is_full(stamp_ns, len(data)):
                self._next_file(stamp_ns)
            self._put(topic, stamp_ns, data)
            if topic in self._latched:
                self._latched[topic].append(data)
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror or error}") from error

    def flush_if_due(self) -> None:
        """Call it now and then: chunks that are full, or older than `chunk_seconds`, are handed to the system.

        Raises:
            DiskFullError: if little room is left.
            StoreError: if they cannot be written for another reason.
        """
        has_chunk = self._writer is not None and len(self._writer.storage.chunks) > self._n_chunks
        if has_chunk or self._clock() - self._flushed >= self._chunk_seconds:
            try:
                self.flush()
            except OSError as error:
                raise StoreError(f"{self.folder}: {error.strerror or error}") from error

    def end_file(self) -> None:
        """The next message begins a new file.

        Raises:
            StoreError: if this one cannot be finished.
        """
        try:
            self._end_file()
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror or error}") from error

    def flush(self) -> None:
        """Hand everything to the system: a kill costs nothing that was written before.

        Raises:
            DiskFullError: if little room is left.
        """
        if self._writer is None:
            return
        self.check_room()
        storage = self._writer.storage
        if storage.chunk.bio.tell():
            storage.close_chunk()
        storage.bio.flush()
        self._flushed, self._n_chunks, self.n_safe = self._clock(), len(storage.chunks), self.n_messages

    def check_room(self) -> None:
        """Look at the disk.

        Raises:
            DiskFullError: if less is free than is to be kept.
        """
        free = shutil.disk_usage(self.folder).free
        if free < self._min_free:
            raise DiskFullError(f"{self.folder}: {free:,} bytes are free on the disk, {self._min_free:,} are kept free")

    def drop_oldest(self) -> bool:
        """Delete the oldest file that is finished; whether there was one."""
        if len(self.files) < 2:
            return False
        self.files.pop(0).path.unlink(missing_ok=True)
        return True

    def close(self) -> None:
        """Finish the last file and describe the bag; without a message there is none.

        Raises:
            StoreError: if that cannot be written; the messages before can be read all the same.
        """
        try:
            self._end_file()
            if self.files:
                write_atomic(self.folder / "metadata.yaml", self._metadata().encode())
            else:
                self.folder.rmdir()
        except OSError as error:
            raise StoreError(f"{self.folder}: {error.strerror or error}") from error

    def abandon(self) -> None:
        """Let go of the last file as it is."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.abort()
            except OSError:
                return  # what could not be written stays away
            finally:
                shutil.rmtree(writer.path, ignore_errors=True)

    def _is_full(self, stamp_ns: int, n: int) -> bool:
        file = self.files[-1]
        is_large = bool(self._max_bytes) and file.n_bytes + n + _OVERHEAD > self._max_bytes and file.n_bytes > 0
        return is_large or bool(self._max_ns and file.counts and stamp_ns - file.first_ns >= self._max_ns)

    def _next_file(self, stamp_ns: int) -> None:
        self._end_file()
        self.check_room()
        path = self.folder / f"{self.folder.name}_{self._n_files}.mcap"
        beside = self.folder / f".{path.stem}"  # rosbags writes a folder; its file moves out at once
        shutil.rmtree(beside, ignore_errors=True)
        writer = self._rosbag2.Writer(beside, version=VERSION, storage_plugin=self._rosbag2.StoragePlugin.MCAP)
        writer.open()
        writer.storage.path = writer.storage.path.replace(path)
        self._writer, self._n_chunks, self._n_files = writer, 0, self._n_files + 1
        self._connections = {topic.name: self._connect(topic) for topic in self._topics.values()}
        self.files.append(_File(path))
        for name, kept in self._latched.items():
            for data in kept:
                self._put(name, stamp_ns, data)

    def _connect(self, topic: Topic) -> Any:
        return self._writer.add_connection(
            topic.name, topic.type, typestore=self._typestore, offered_qos_profiles=[qos_of(topic)]
        )

    def _put(self, topic: str, stamp_ns: int, data: bytes) -> None:
        file = self.files[-1]
        self._writer.write(self._connections[topic], stamp_ns, data)
        file.first_ns, file.last_ns = min(file.first_ns, stamp_ns), max(file.last_ns, stamp_ns)
        file.n_bytes += len(data) + _OVERHEAD
        file.counts[topic] = file.counts.get(topic, 0) + 1

    def _end_file(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
        except BaseException:
            writer.abort()
            raise
        finally:
            shutil.rmtree(writer.path, ignore_errors=True)
        sync(self.files[-1].path)

    def _metadata(self) -> str:
        """metadata.yaml of the whole bag."""
        import yaml
        from rosbags.rosbag2.metadata import dump_qos_v9

        first = min(file.first_ns for file in self.files)
        last = max(file.last_ns for file in self.files)
        counts = {name: sum(file.counts.get(name, 0) for file in self.files) for name in self._topics}
        topics = [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.type,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": dump_qos_v9([qos_of(topic)]),
                    "type_description_hash": self._typestore.hash_rihs01(topic.type),
                },
                "message_count": counts[topic.name],
            }
            for topic in self._topics.values()
        ]
        about = {
            "version": VERSION,
            "storage_identifier": "mcap",
            "duration": {"nanoseconds": last - first},
            "starting_time": {"nanoseconds_since_epoch": first},
            "message_count": sum(counts.values()),
            "topics_with_message_count": topics,
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [file.path.name for file in self.files],
            "files": [
                {
                    "path": file.path.name,
                    "starting_time": {"nanoseconds_since_epoch": file.first_ns},
                    "duration": {"nanoseconds": file.last_ns - file.first_ns},
                    "message_count": sum(file.counts.values()),
                }
                for file in self.files
            ],
            "custom_data": None,
            "ros_distro": "embmem",
        }
        return str(yaml.safe_dump({"rosbag2_bagfile_information": about}, sort_keys=False))


def qos_of(topic: Topic) -> Any:
    """With which the topic is to be published again."""
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    forever = QosTime(9223372036, 854775807)
    return Qos(
        QosHistory.KEEP_LAST,
        _MOST_LATCHED if topic.is_latched else 10,
        QosReliability.RELIABLE if topic.is_reliable or topic.is_latched else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if topic.is_latched else QosDurability.VOLATILE,
        forever,
        forever,
        QosLiveliness.AUTOMATIC,
        forever,
        False,
    )
