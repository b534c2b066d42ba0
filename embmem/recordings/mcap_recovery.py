"""MCAP files that were cut or have lost their index, read from the front as far as they are whole.

A recorder that dies leaves neither footer nor index (MCAP specification, Foxglove, 2023); then every record is walked.
Messages come in the order of their log times, as they do from an indexed file.
"""

from __future__ import annotations

import heapq
import struct
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

from embmem.errors import InputError, import_extra

MAGIC = b"\x89MCAP0\r\n"
MAX_CHUNK = 1 << 30  # [byte], unpacked; recorders write about a megabyte
_MAX_RECORD = MAX_CHUNK + (1 << 16)  # [byte]; a damaged length would take the rest of the file into RAM
_HEAD = struct.Struct("<BQ")  # opcode, length of what follows
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_CHUNK = struct.Struct("<QQQI")  # first and last time, size unpacked, checksum
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE_OP, _CHUNK_OP, _DATA_END = 2, 3, 4, 5, 6, 15
_LAST_OP = 15


class Connection(NamedTuple):
    """A topic of the file, under the names that rosbags gives."""

    id: int
    topic: str
    msgtype: str
    msgcount: int


class _Place(NamedTuple):
    """Where a chunk, or a message outside of any, lies in the file."""

    log_time: int  # of the first message [ns]
    start: int  # of the content of the record [byte]
    n_bytes: int


Message = tuple[int, int, int, int, bytes]  # log time, number of the chunk, of the message in it, channel, data


class RecoveredMcap:
    """What is left of a file, with the face of a reader of rosbags: `connections`, `messages`, a context."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._schemas: dict[int, str] = {}
        self._channels: dict[int, tuple[str, str]] = {}
        self._counts: Counter[int] = Counter()
        self._chunks: list[_Place] = []
        self._loose: list[_Place] = []  # messages outside of chunks
        self._n_damaged = 0
        self._whole = 0  # bytes
        self._is_known = False

    def __enter__(self) -> RecoveredMcap:
        """Walk the file once.

        Raises:
            InputError: if it does not begin like an MCAP file.
            OSError: if it cannot be read.
        """
        self._file = self.path.open("rb")
        if not self._is_known:
            try:
                self._walk(self._file)
                self._is_known = True
            except BaseException:
                self._file.close()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def connections(self) -> list[Connection]:
        """The topics in the order of their numbers."""
        return [Connection(i, topic, kind, self._counts[i]) for i, (topic, kind) in sorted(self._channels.items())]

    def describe(self) -> str:
        """What could be saved, in words."""
        size = self.path.stat().st_size
        damaged = f", {self._n_damaged} damaged chunks left out" if self._n_damaged else ""
        where = f"cut after {self._whole:,} of {size:,} bytes" if self._whole < size else "no index of messages"
        return f"{self.path.name}: {where}; {self._counts.total():,} messages saved{damaged}"

    def messages(self, connections: Collection[Any]) -> Iterator[tuple[Any, int, bytes]]:
        """(connection, log time [ns], data) in the order of the log times."""
        if self._file is None:
            raise ValueError("open the reader first")
        wanted = {connection.id: connection for connection in connections}
        parts = [self._in_chunk(self._file, number, place) for number, place in enumerate(self._chunks)]
        parts.append(self._outside(self._file))
        for log_time, _, i, channel, data in heapq.merge(*parts):
            if i >= 0 and channel in wanted:
                yield wanted[channel], log_time, data

    def _in_chunk(self, file: BinaryIO, number: int, place: _Place) -> Iterator[Message]:
        yield place.log_time, number, -1, -1, b""  # so that nothing is read before its turn
        file.seek(place.start)
        found, inside = [], _unpacked(file.read(place.n_bytes))
        for opcode, start, end in _records(inside):
            if opcode == _MESSAGE_OP and end - start >= _MESSAGE.size:
                channel, _, log_time, _ = _MESSAGE.unpack_from(inside, start)
                found.append((log_time, number, start, channel, inside[start + _MESSAGE.size : end]))
        yield from sorted(found, key=lambda message: message[0])

    def _outside(self, file: BinaryIO) -> Iterator[Message]:
        for place in sorted(self._loose):
            file.seek(place.start)
            content = file.read(place.n_bytes)
            yield place.log_time, -1, place.start, _MESSAGE.unpack_from(content)[0], content[_MESSAGE.size :]

    def _walk(self, file: BinaryIO) -> None:
        size = self.path.stat().st_size
        if file.read(len(MAGIC)) != MAGIC:
            raise InputError(f"{self.path}: does not begin like an MCAP file")
        at = len(MAGIC)
        while at + _HEAD.size <= size:
            opcode, length = _HEAD.unpack(file.read(_HEAD.size))
            start, end = at + _HEAD.size, at + _HEAD.size + length
            is_cut = end > size
            if opcode in (0, _FOOTER, _DATA_END) or opcode > _LAST_OP or (is_cut and opcode != _CHUNK_OP):
                self._whole = size if opcode in (_FOOTER, _DATA_END) and not is_cut else at
                return
            if opcode in (_SCHEMA, _CHANNEL, _MESSAGE_OP, _CHUNK_OP):
                self._take(opcode, start, file.read(min(end, size, start + _MAX_RECORD) - start))
            if is_cut:
                break
            at = end
            file.seek(at)
        self._whole = at

    def _take(self, opcode: int, start: int, content: bytes) -> None:
        """Learn what a record outside of chunks says."""
        try:
            if opcode != _CHUNK_OP:
                self._learn(opcode, content)
                if opcode == _MESSAGE_OP:
                    self._loose.append(_Place(_MESSAGE.unpack_from(content)[2], start, len(content)))
                return
            log_time, inside = _CHUNK.unpack_from(content)[0], _unpacked(content)
            before = self._counts.total()
            for inner, first, last in _records(inside):
                self._learn(inner, inside[first:last])
            if self._counts.total() > before:
                self._chunks.append(_Place(log_time, start, len(content)))
        except (InputError, struct.error, UnicodeDecodeError):
            self._n_damaged += 1

    def _learn(self, opcode: int, content: bytes) -> None:
        if opcode == _SCHEMA:
            name, _ = _text(content, 2)
            self._schemas[struct.unpack_from("<H", content)[0]] = name
        elif opcode == _CHANNEL:
            number, schema = struct.unpack_from("<HH", content)
            topic, _ = _text(content, 4)
            self._channels[number] = topic, self._schemas.get(schema, "")
        elif opcode == _MESSAGE_OP:
            number = _MESSAGE.unpack_from(content)[0]
            self._counts[number] += number in self._channels


def _text(content: bytes, at: int) -> tuple[str, int]:
    """(string, where the next field begins)."""
    (length,) = struct.unpack_from("<I", content, at)
    if at + 4 + length > len(content):
        raise InputError(f"a name of {length:,} bytes in a record of {len(content):,}")
    return content[at + 4 : at + 4 + length].decode("utf-8"), at + 4 + length


def _records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(opcode, first byte, byte behind the last) of the whole records in a chunk."""
    at = 0
    while at + _HEAD.size <= len(data):
        opcode, length = _HEAD.unpack_from(data, at)
        start, at = at + _HEAD.size, at + _HEAD.size + length
        if at > len(data):
            return
        yield opcode, start, at


def _unpacked(content: bytes) -> bytes:
    """The records of a chunk; of one that is cut, those before the cut.

    Raises:
        InputError: if it is damaged, or unpacks to more than it says.
    """
    _, _, size, checksum = _CHUNK.unpack_from(content)
    compression, at = _text(content, _CHUNK.size)
    (length,) = struct.unpack_from("<Q", content, at)
    data = content[at + 8 : at + 8 + length]
    is_cut = len(data) < length
    inside = unpack_chunk(compression, data, size, is_cut=is_cut)
    if not is_cut and checksum and crc32(inside) != checksum:
        raise InputError("a chunk whose checksum is wrong")
    return inside


def unpack_chunk(compression: str, data: bytes, size: int, *, is_cut: bool = False) -> bytes:
    """The `size` bytes that a chunk unpacks to, never more; of one that is cut, as many as there are.

    Raises:
        InputError: if it unpacks to another size, or to more than a recorder writes.
    """
    if size > MAX_CHUNK:
        raise InputError(f"a chunk of {size:,} bytes; at most {MAX_CHUNK:,} are read")
    if compression not in _UNPACKERS:
        raise InputError(f"a chunk is compressed by {compression!r}; only lz4 and zstd are known")
    try:
        inside = _UNPACKERS[compression](data, size + 1)
    except Exception as error:  # each library has errors of its own
        raise InputError(f"a chunk cannot be unpacked ({' '.join(str(error).split())})") from None
    if len(inside) > size or (len(inside) < size and not is_cut):
        raise InputError(f"a chunk says {size:,} bytes and unpacks to {'more' if len(inside) > size else len(inside)}")
    return inside


def _lz4(data: bytes, limit: int) -> bytes:
    return _frames(import_extra("lz4.frame", "ros").LZ4FrameDecompressor, data, limit)


def _zstd(data: bytes, limit: int) -> bytes:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return _frames(import_extra(name, "ros").ZstdDecompressor, data, limit)


def _frames(new: Callable[[], Any], data: bytes, limit: int) -> bytes:
    """What one frame after the other unpacks to."""
    parts: list[bytes] = []
    while data and limit > 0:
        unpacker = new()
        parts.append(unpacker.decompress(data, max_length=limit))
        limit -= len(parts[-1])
        data = (unpacker.unused_data or b"") if unpacker.eof else b""
    return b"".join(parts)


_UNPACKERS: dict[str, Callable[[bytes, int], bytes]] = {
    "": lambda data, limit: data[:limit],
    "lz4": _lz4,
    "zstd": _zstd,
}
