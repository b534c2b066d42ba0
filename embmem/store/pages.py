"""The pages of an SQLite file, read without SQLite: for files that it refuses.

After "Database File Format" (sqlite.org/fileformat2.html), sections 1.5 to 1.6 (b-trees), 2 (records), 4 (the log).
Everything is untrusted: what does not fit is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

MAX_CONTENT = 1 << 30  # bytes of one row; SQLite's own limit
MAX_COLUMNS = 32
LEAVES = {0x0D: "table", 0x0A: "index"}
INNER = {0x05: "table", 0x02: "index"}


class Place(NamedTuple):
    """Where a row lies."""

    page: int
    offset: int


class Pages:
    """The pages of a database file, with those of its write-ahead log in their place."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        header = self._file.read(100)
        size = struct.unpack(">H", header[16:18])[0] if len(header) == 100 else 0
        size = 65536 if size == 1 else size
        self.page_size = size if 512 <= size <= 65536 and size & (size - 1) == 0 else 4096
        self.n_pages = -(-path.stat().st_size // self.page_size)
        log = path.with_name(path.name + "-wal")
        self._log = log.open("rb") if log.is_file() else None
        self._logged = {} if self._log is None else committed_pages(self._log.read(), self.page_size)
        self.n_pages = max(self.n_pages, *self._logged, 0)

    def close(self) -> None:
        """Release the files."""
        self._file.close()
        if self._log is not None:
            self._log.close()

    def read(self, number: int) -> bytes:
        """A page, filled up with zeros where the file ends in it."""
        if self._log is not None and number in self._logged:
            self._log.seek(self._logged[number])
            return self._log.read(self.page_size)
        self._file.seek((number - 1) * self.page_size)
        return self._file.read(self.page_size).ljust(self.page_size, b"\0")

    def children(self, number: int) -> list[int]:
        """The pages below an inner page of a b-tree; none if it is no such page."""
        page, start = self.read(number), 100 * (number == 1)
        if page[start] not in INNER:
            return []
        cells = [int.from_bytes(page[at : at + 4], "big") for at in _cells(page, start, 12)]
        below = [*cells, int.from_bytes(page[start + 8 : start + 12], "big")]
        return [n for n in below if 0 < n <= self.n_pages and n != number]

    def places(self, number: int) -> tuple[str, list[Place]]:
        """The kind of a page ("table", "index" or "") and where its rows lie; indexes hold rows in inner pages too."""
        page, start = self.read(number), 100 * (number == 1)
        kind = page[start]
        if kind in LEAVES:
            return LEAVES[kind], [Place(number, at) for at in _cells(page, start, 8)]
        if kind == 0x02:
            return "index", [Place(number, at + 4) for at in _cells(page, start, 12)]
        return "", []

    def row(self, place: Place, *, is_table: bool) -> tuple[int, list[Any]] | None:
        """The rowid (0 in an index) and the columns of a row; None if it is none."""
        page, rowid = self.read(place.page), 0
        try:
            size, at = _varint(page, place.offset)
            if is_table:
                rowid, at = _varint(page, at)
            content = self._content(page, at, size, is_table=is_table)
            return None if content is None else (rowid, _columns(content))
        except (IndexError, ValueError, struct.error):
            return None

    def _content(self, page: bytes, at: int, size: int, *, is_table: bool) -> bytes | None:
        """What a row holds, from its page and the overflow pages behind it."""
        if not 0 < size <= min(MAX_CONTENT, self.n_pages * self.page_size):
            return None
        usable = self.page_size
        most = usable - 35 if is_table else (usable - 12) * 64 // 255 - 23
        least = (usable - 12) * 32 // 255 - 23
        wanted = least + (size - least) % (usable - 4)
        local = size if size <= most else wanted if wanted <= most else least
        if at + local > len(page):
            return None
        if local == size:
            return page[at : at + size]
        parts, left = [page[at : at + local]], size - local
        number = int.from_bytes(page[at + local : at + local + 4], "big")
        while left > 0:
            if not 0 < number <= self.n_pages:
                return None
            further = self.read(number)
            parts.append(further[4 : 4 + left])
            left -= usable - 4
            number = int.from_bytes(further[:4], "big")
        return b"".join(parts)


def _cells(page: bytes, start: int, header: int) -> list[int]:
    """Offsets of the cells of a b-tree page."""
    n = int.from_bytes(page[start + 3 : start + 5], "big")
    first = start + header
    if first + 2 * n > len(page):
        return []
    offsets = struct.unpack_from(f">{n}H", page, first)
    return [at for at in offsets if first + 2 * n <= at < len(page) - 3]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(9):
        byte = data[at + i]
        if i == 8:
            value = value << 8 | byte
            return (value - (1 << 64) if value >> 63 else value), at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    raise ValueError("no number")


def _columns(content: bytes) -> list[Any]:
    """The values of a row."""
    end, at = _varint(content, 0)
    kinds = []
    while at < end:
        kind, at = _varint(content, at)
        kinds.append(kind)
    if at != end or len(kinds) > MAX_COLUMNS:
        raise ValueError("no row")
    values: list[Any] = []
    for kind in kinds:
        value, size = _value(content, at, kind)
        values.append(value)
        at += size
    if at != len(content):
        raise ValueError("no row")
    return values


def _value(content: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (0, 8, 9):
        return (None if kind == 0 else kind - 8), 0
    if kind <= 7:
        size = (1, 2, 3, 4, 6, 8, 8)[kind - 1]
        part = content[at : at + size]
        if len(part) < size:
            raise ValueError("no row")
        return (struct.unpack(">d", part)[0] if kind == 7 else int.from_bytes(part, "big", signed=True)), size
    if kind in (10, 11):
        raise ValueError("no row")
    size = (kind - 12) // 2
    part = content[at : at + size]
    if len(part) < size:
        raise ValueError("no row")
    return (part if kind % 2 == 0 else part.decode()), size


def committed_pages(log: bytes, page_size: int) -> dict[int, int]:
    """Where the latest committed content of each page lies in a write-ahead log: {page: offset}.

    Frames count as long as their checksums continue each other, up to the last that ends a transaction.
    """
    if len(log) < 32 or int.from_bytes(log[:4], "big") & ~1 != 0x377F0682:
        return {}
    order = ">" if log[3] & 1 else "<"
    if int.from_bytes(log[8:12], "big") != page_size:
        return {}
    sums = _sums(order, log[:24], (0, 0))
    if sums != struct.unpack(">II", log[24:32]):
        return {}
    committed: dict[int, int] = {}
    pending: dict[int, int] = {}
    for at in range(32, len(log) - 24 - page_size + 1, 24 + page_size):
        header = log[at : at + 24]
        number, ends = struct.unpack(">II", header[:8])
        sums = _sums(order, log[at + 24 : at + 24 + page_size], _sums(order, header[:8], sums))
        if header[8:16] != log[16:24] or sums != struct.unpack(">II", header[16:24]):
            break
        pending[number] = at + 24
        if ends:
            committed |= pending
            pending = {}
    return committed


def commits_behind_damage(log: bytes, page_size: int) -> int:
    """Transactions of a write-ahead log that lie whole behind a frame that is damaged, so that SQLite drops them.

    A power cut may leave one: what was not synced yet is on the disk in any order. A second one was only begun when
    the first was safe, so two or more tell of damage to what was acknowledged.
    """
    if len(log) < 32 or int.from_bytes(log[:4], "big") & ~1 != 0x377F0682:
        return 0
    order, sums, is_broken, n = ">" if log[3] & 1 else "<", struct.unpack(">II", log[24:32]), False, 0
    for at in range(32, len(log) - 24 - page_size + 1, 24 + page_size):
        header = log[at : at + 24]
        sums = _sums(order, log[at + 24 : at + 24 + page_size], _sums(order, header[:8], (sums[0], sums[1])))
        told = struct.unpack(">II", header[16:24])
        if header[8:16] != log[16:24]:  # left from before the log began anew
            break
        is_broken |= sums != told
        n += is_broken and sums == told and header[4:8] != bytes(4)
        sums = told
    return n


def _sums(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """Section 4.2: two running sums over pairs of 32-bit numbers."""
    a, b = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for i in range(0, len(words), 2):
        a = (a + words[i] + b) & 0xFFFFFFFF
        b = (b + words[i + 1] + a) & 0xFFFFFFFF
    return a, b


def rows_of(pages: Pages) -> Iterator[tuple[int, str, Place]]:
    """Every page that holds rows, its kind, and each row."""
    for number in range(1, pages.n_pages + 1):
        kind, places = pages.places(number)
        for place in places:
            yield number, kind, place
