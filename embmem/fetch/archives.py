"""Archives from the web: unpacked where they may, and no further than they should.

Only plain files and folders with relative names come out; links, devices, names that lead out of the folder, names that
are there twice and archives that grow out of all proportion are refused, and then nothing is left.
"""

from __future__ import annotations

import bz2
import gzip
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Protocol, cast, runtime_checkable

from embmem.errors import InputError

_FREE = 64 << 20  # [byte] that any archive may grow to ...
_RATIO = 100  # ... and so many times its own size
_MAX_HEADER = 1 << 20  # [byte] that one header of a tar may have
_CHUNK = 1 << 20
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, ValueError, zlib.error, NotImplementedError)


@runtime_checkable
class _Readable(Protocol):
    """A stream of bytes: zipfile's and tarfile's have nothing else in common."""

    def read(self, n: int, /) -> bytes:
        """At most n bytes."""


class _Member(NamedTuple):
    name: str
    content: _Readable | None  # None for a folder


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or a tar, plain or under gzip or bzip2, by what it begins with."""
    with path.open("rb") as file:
        head = file.read(512)
    is_tar = head[257:262] == b"ustar"
    return is_tar or head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ"))


def unpack(path: Path, folder: Path) -> None:
    """Write the files of an archive into `folder`, which must not exist.

    Raises:
        InputError: if the archive is damaged, or holds what no recording holds; the folder is gone then.
    """
    room = min(_FREE + _RATIO * path.stat().st_size, shutil.disk_usage(path.parent).free * 9 // 10)
    folder.mkdir()
    try:
        with ExitStack() as stack:
            for name, content in _members(path, room, stack):
                room -= _write(path, folder, name, content, room)
    except InputError:
        shutil.rmtree(folder)
        raise
    except _DAMAGE as error:
        shutil.rmtree(folder)
        raise InputError(f"{path.name}: cannot be unpacked ({' '.join(str(error).split())[:200]})") from None


def _members(path: Path, room: int, stack: ExitStack) -> Iterator[_Member]:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(b"PK"):
        return _zip_members(path, stack.enter_context(zipfile.ZipFile(path)))
    if magic.startswith(b"\xfd7zX"):
        raise InputError(f"{path.name}: xz archives are not unpacked; get it as zip or tar.gz")
    opened: BufferedIOBase = stack.enter_context(path.open("rb"))
    if magic.startswith(b"\x1f\x8b"):
        opened = stack.enter_context(gzip.GzipFile(fileobj=cast(IO[bytes], opened)))
    elif magic.startswith(b"BZh"):
        opened = stack.enter_context(bz2.BZ2File(cast(IO[bytes], opened)))
    whole = cast(IO[bytes], _Bounded(opened, path.name, room))
    return _tar_members(path, stack.enter_context(tarfile.open(fileobj=whole, mode="r:")))


def _zip_members(path: Path, archive: zipfile.ZipFile) -> Iterator[_Member]:
    for member in archive.infolist():
        kind = member.external_attr >> 28  # of Unix: 8 a file, 4 a folder
        if kind not in (0, 4, 8) or member.flag_bits & 1:
            raise InputError(f"{path.name}: {member.filename!r} is a link or encrypted; no recording holds that")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{path.name}: {member.filename!r} is compressed otherwise than by deflate")
        if member.is_dir():
            yield _Member(member.filename, None)
        else:
            with archive.open(member) as content:
                yield _Member(member.filename, content)


def _tar_members(path: Path, archive: tarfile.TarFile) -> Iterator[_Member]:
    for member in archive:
        archive.members = []  # type: ignore[attr-defined]  # they would pile up
        if member.isdir():
            yield _Member(member.name, None)
        elif member.isreg() and not member.issparse():
            yield _Member(member.name, archive.extractfile(member))
        else:
            raise InputError(f"{path.name}: {member.name!r} is a link or a device; no recording holds that")


def _write(path: Path, folder: Path, name: str, content: _Readable | None, room: int) -> int:
    """Write one member; how many bytes that were."""
    pure = PurePosixPath(name)
    is_odd = pure.is_absolute() or ".." in pure.parts or any(c in name for c in "\\\0:") or len(name) > 1000
    if is_odd:
        raise InputError(f"{path.name}: the name {name[:100]!r} leads out of the folder; the archive is not trusted")
    place = folder.joinpath(*pure.parts)
    if content is None:
        place.mkdir(parents=True, exist_ok=True)
        return 0
    place.parent.mkdir(parents=True, exist_ok=True)
    n = 0
    try:
        with place.open("xb") as file:
            while chunk := content.read(_CHUNK):
                n += len(chunk)
                if n > room:
                    raise InputError(f"{path.name}: unpacks to far more than it holds; the archive is not trusted")
                file.write(chunk)
    except FileExistsError:
        raise InputError(f"{path.name}: {name!r} is in it twice") from None
    return n


class _Bounded:
    """A stream that a tar reader cannot be made to read at one go, nor for ever."""

    def __init__(self, file: BufferedIOBase, name: str, room: int) -> None:
        self._file, self._name, self._room = file, name, room + _FREE

    def read(self, n: int = -1) -> bytes:
        """At most n bytes."""
        if not 0 <= n <= _MAX_HEADER:
            raise InputError(f"{self._name}: a header of {n:,} bytes; the archive is damaged or not to be trusted")
        data = self._file.read(n)
        self._room -= len(data)
        if self._room < 0:
            raise InputError(f"{self._name}: unpacks to far more than it holds; the archive is not trusted")
        return data

    def tell(self) -> int:
        """Where the next read begins."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)
