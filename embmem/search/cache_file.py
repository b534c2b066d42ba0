"""Files of derived state that are written whole, and believed only on the machine and by the user who wrote them.

An index beside a memory is a cache: what is missing, damaged, older or foreign is built again. Its content is handed to
compiled code that follows offsets without looking, so it is authenticated first, by keyed BLAKE2b with a random key
that never leaves `$XDG_STATE_HOME/embmem/index.key`. A file that came with somebody else's memory is not opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

KEY_SIZE = 32
_MAGIC = b"embmem\x00c"
_FIRST = struct.Struct("<8sQ")  # magic, length of the header
_MAX_HEADER = 64 << 20
DATA_ALIGNMENT = 4096


@runtime_checkable
class Disk(Protocol):
    """The calls of `os` that writing a cache takes; tests make them fail."""

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int: ...
    def write(self, fd: int, data: Any) -> int: ...
    def fsync(self, fd: int) -> None: ...
    def close(self, fd: int) -> None: ...
    def replace(self, src: Any, dst: Any) -> None: ...
    def unlink(self, path: Any) -> None: ...


def digest(data: Any, key: bytes) -> str:
    """Keyed BLAKE2b of a contiguous buffer, in hex."""
    return hashlib.blake2b(data, key=key, digest_size=32).hexdigest()


def write(path: Path, header: dict[str, Any], parts: Iterable[Any], key: bytes, disk: Disk = os) -> bool:
    """Put a file with this header and data in the place of `path`, whole or not at all; False if that failed.

    The header must name what the parts digest to: it alone is authenticated here.
    """
    text = json.dumps(header, sort_keys=True).encode()
    first = _FIRST.pack(_MAGIC, len(text)) + text
    first += bytes.fromhex(digest(first, key))
    first += bytes(-len(first) % DATA_ALIGNMENT)
    part = path.with_name(path.name + ".part")
    try:
        with suppress(FileNotFoundError):
            disk.unlink(part)
        with _opened(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, disk) as file:
            for data in (first, *parts):
                _write_all(file, data, disk)
            disk.fsync(file)
        disk.replace(part, path)
        with _opened(path.parent, os.O_RDONLY, disk) as folder:
            disk.fsync(folder)
    except OSError:
        with suppress(OSError):
            disk.unlink(part)
        return False
    return True


def read_header(data: memoryview, key: bytes) -> tuple[dict[str, Any], int] | None:
    """The header of a file and where its data begin; None unless who holds the key wrote it."""
    if len(data) < _FIRST.size:
        return None
    magic, length = _FIRST.unpack(data[: _FIRST.size])
    end = _FIRST.size + length
    if magic != _MAGIC or length > _MAX_HEADER or end + 32 > len(data):
        return None
    if not secrets.compare_digest(bytes.fromhex(digest(data[:end], key)), bytes(data[end : end + 32])):
        return None
    return json.loads(bytes(data[_FIRST.size : end])), end + 32 + -(end + 32) % DATA_ALIGNMENT


def user_key() -> bytes | None:
    """The key of this user on this machine, made when there is none; None where it cannot be kept safe."""
    path = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "embmem" / "index.key"
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _read_key(path) or _make_key(path)
    return None


def _read_key(path: Path) -> bytes | None:
    """The key; one that others could have read or written is removed."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(file)
        is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
        key = os.read(file, KEY_SIZE + 1) if is_ours else b""
    finally:
        os.close(file)
    if len(key) != KEY_SIZE:
        path.unlink(missing_ok=True)
        return None
    return key


def _make_key(path: Path) -> bytes | None:
    """The key that is there now: a new one, or that of another process that came first."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(8)}")
    with _opened(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, os) as file:
        _write_all(file, secrets.token_bytes(KEY_SIZE), os)
        os.fsync(file)
    try:
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()
    return _read_key(path)


@contextmanager
def _opened(path: Path, flags: int, disk: Disk) -> Iterator[int]:
    file = disk.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        yield file
    finally:
        disk.close(file)


def _write_all(file: int, data: Any, disk: Disk) -> None:
    view = memoryview(data)
    view = view.cast("B") if view.nbytes else view  # which an empty array cannot be
    while view:
        view = view[disk.write(file, view[: 64 << 20]) :]
