"""Records as rows of Postgres, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import numpy as np

from embmem.fleet.server import Database
from embmem.fleet.words import count_words, hash_of
from embmem.records import Link, Record
from embmem.store.rows import COLUMNS, Row, checked_record, document, encode

LAST_ID = (1 << 63) - 1
_COPY = f"""COPY records ({COLUMNS}, checksum, entities, keys, blob, memory, names, words, counts, n_words)
    FROM STDIN"""
_SELECT = f"""SELECT {COLUMNS}, entities, keys, vector_send(embedding),
    CASE WHEN %(blobs)s THEN blob END FROM records LEFT JOIN vectors ON record_id = id
    WHERE id = ANY(%(ids)s::bigint[])"""
_LINKS = """SELECT record_id, relation, target FROM links WHERE record_id = ANY(%(ids)s::bigint[])
    ORDER BY 1, relation COLLATE "C", 3"""
_ESCAPE = "\x1a"  # Postgres keeps no zero character


@dataclass
class Outgoing(Row):
    """A checked record on its way to the fleet; `links` hold ids of the fleet, or of the memory it comes from."""

    local_id: int = 0  # in the memory it comes from
    t_local: float | None = None  # [s] when that memory took it in
    t_given: float | None = None  # [s] ingest time that the record came with
    words: dict[str, int] = field(default_factory=dict)  # how often each is in its text and names
    receipt: list[int] = field(default_factory=list)  # its id in the fleet, once it is stored

    @property
    def is_document(self) -> bool:
        """True if it has any text to search."""
        return any(_document(self))


def outgoing(record: Record) -> Outgoing:
    """A record as a row without ids.

    Raises:
        ValueError: if it is not fit to be stored.
    """
    row = encode(record)
    return Outgoing(**{part.name: getattr(row, part.name) for part in fields(Row)}, t_given=row.t_ingest)


def add_words(rows: Sequence[Outgoing]) -> None:
    """Look up the words of many rows at once."""
    for row, words in zip(rows, count_words([_document(row) for row in rows]), strict=True):
        row.words = words


def insert(db: Database, rows: Sequence[Outgoing], memory: int) -> None:
    """Write rows that have ids, inside the transaction that is open."""
    with db.cursor() as cursor:
        with cursor.copy(_COPY) as copy:
            for row in rows:
                copy.write_row(_values(row, memory))
        with cursor.copy("COPY vectors FROM STDIN") as copy:
            for row in rows:
                if row.vector is not None:
                    copy.write_row((row.id, _vector_text(row.vector)))
        with cursor.copy("COPY links FROM STDIN") as copy:
            for row in rows:
                for relation, target in row.links:
                    copy.write_row((row.id, escaped(relation), target))


def select_records(db: Database, ids: Sequence[int], *, with_blobs: bool = True) -> list[Record]:
    """The records with these ids, in this order; ids that are not there are left out."""
    asked = {"ids": [i for i in map(int, ids) if 0 < i <= LAST_ID], "blobs": with_blobs}
    rows = {row[0]: row for row in db.execute(_SELECT, asked)}
    links: dict[int, list[Link]] = {}
    for record_id, relation, target in db.execute(_LINKS, asked):
        links.setdefault(record_id, []).append(Link(unescaped(relation), target))
    return [_record(rows[i], tuple(links.get(i, ()))) for i in map(int, ids) if i in rows]


@cache
def _halves() -> list[str]:
    """All numbers of float16 in words, by their bits."""
    with np.errstate(invalid="ignore"):
        return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32).astype(str).tolist()


def _vector_text(bits: bytes) -> str:
    """An embedding of float16 as pgvector reads it."""
    return "[" + ",".join(map(_halves().__getitem__, np.frombuffer(bits, "<u2").tolist())) + "]"


def escaped(text: str) -> str:
    """Without the character 0, which Postgres cannot keep."""
    if "\x00" not in text and _ESCAPE not in text:
        return text
    return text.replace(_ESCAPE, _ESCAPE + "1").replace("\x00", _ESCAPE + "0")


def unescaped(text: str) -> str:
    """What was escaped."""
    if _ESCAPE not in text:
        return text
    return text.replace(_ESCAPE + "0", "\x00").replace(_ESCAPE + "1", _ESCAPE)


def _document(row: Row) -> tuple[str, str]:
    return document(row.facts[8], row.entities, row.facts[3])


def _values(row: Outgoing, memory: int) -> tuple[Any, ...]:
    kind, t_event, source, place, x, y, z, pose, text, payload, *rest = row.facts
    own = [hash_of("kind", kind), hash_of("source", source)]
    own += [] if place is None else [hash_of("place", place)]
    own += [hash_of("entity", name) for name in row.entities] + [hash_of("key", key) for key in row.keys]
    return (
        row.id, escaped(kind), t_event, row.t_ingest, escaped(source), None if place is None else escaped(place),
        x, y, z, pose, escaped(text), payload, *rest, row.checksum, [escaped(name) for name in sorted(row.entities)],
        [escaped(key) for key in sorted(row.keys)], row.blob, memory, own,
        [hash_of("word", word) for word in row.words], list(row.words.values()),
        sum(row.words.values()) if row.is_document else None,
    )  # fmt: skip


def _record(row: Sequence[Any], links: tuple[Link, ...]) -> Record:
    facts, (entities, keys, vector, blob) = list(row[:-4]), row[-4:]
    for column in (1, 4, 5, 10):  # kind, source, place, text
        facts[column] = None if facts[column] is None else unescaped(facts[column])
    half = None if vector is None else np.frombuffer(vector, ">f4", offset=4).astype("<f2").tobytes()
    return checked_record(facts, tuple(map(unescaped, entities)), tuple(map(unescaped, keys)), half, blob, links)
