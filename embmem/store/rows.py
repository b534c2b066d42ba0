"""Records as rows: what is checked before a record is stored, how it lies in the tables, and how it comes back."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embmem.errors import StoreError
from embmem.records import Link, Record
from embmem.store.schema import Connection

MAX_TEXT = 1 << 20  # characters
MAX_PAYLOAD = 16 << 20  # characters of JSON
MAX_BLOB = 256 << 20  # bytes; SQLite itself ends at 1e9
MAX_DIM = 8192
MAX_METRES = 1e30  # the R*Tree keeps float32
MAX_NAMES = 4096  # entities, keys and links of one record
MAX_NAME = 1024  # characters of an entity, key, kind, source, place or relation
COLUMNS = "id, kind, t_event, t_ingest, source, place, x, y, z, pose, text, payload, confidence, valid_from, valid_to"
_JSON = json.JSONEncoder(allow_nan=False)
_CLOCKS = struct.Struct("<qd")


@dataclass
class Row:
    """A record that has been checked, as it goes into the tables."""

    facts: tuple[Any, ...]  # the columns after `t_ingest`, and kind and t_event before it
    entities: tuple[str, ...]
    keys: tuple[str, ...]
    links: tuple[Link, ...]
    vector: bytes | None
    blob: bytes | None
    body_checksum: int
    t_ingest: float | None
    id: int = field(default=0)

    @property
    def checksum(self) -> int:
        """CRC-32 of everything that the record says, its id and its ingest time among it."""
        return zlib.crc32(_CLOCKS.pack(self.id, self.t_ingest or 0.0), self.body_checksum)

    @property
    def size(self) -> int:
        """Bytes, roughly, for the limits of a batch."""
        return 200 + len(self.facts[8]) + len(self.facts[9]) + len(self.vector or b"") + len(self.blob or b"")


def encode(record: Record) -> Row:
    """A record as a row without an id.

    Raises:
        ValueError: if the record already has an id, or something in it is not finite, not JSON, too long or of the
            wrong shape.
    """
    if record.id is not None:
        raise ValueError(f"record {record.id} is stored already; the store gives ids")
    names = (*record.entities, *record.keys, *(link.relation for link in record.links))
    for name in (record.kind, record.source, *names, *([] if record.place is None else [record.place])):
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not _is_unicode(name):
            raise ValueError(f"names must be text of 1 to {MAX_NAME} characters, got {str(name)[:40]!r}")
    if len(names) > MAX_NAMES:
        raise ValueError(f"a record has at most {MAX_NAMES} entities, keys and links, got {len(names)}")
    if not np.isfinite(record.t_event):
        raise ValueError(f"t_event must be finite, got {record.t_event}")
    if record.t_ingest is not None and not np.isfinite(record.t_ingest):
        raise ValueError(f"t_ingest must be finite, got {record.t_ingest}")
    if not 0.0 <= record.confidence <= 1.0:
        raise ValueError(f"confidence must be within [0, 1], got {record.confidence}")
    start, end = record.valid
    if not start < end:
        raise ValueError(f"valid must be an interval with start < end, got {record.valid}")
    if len(record.text) > MAX_TEXT:
        raise ValueError(f"text has {len(record.text)} characters, at most {MAX_TEXT} are stored; use a blob")
    if not _is_unicode(record.text):
        raise ValueError(f"text is not valid Unicode: {record.text[:40]!r}")
    pose = _pose(record)
    # + 0.0: SQLite keeps no negative zero, and what comes back must be what the checksum saw.
    facts = (
        record.kind, float(record.t_event) + 0.0, record.source, record.place, *_position(record), pose, record.text,
        _payload(record), float(record.confidence) + 0.0, float(start) + 0.0, float(end) + 0.0,
    )  # fmt: skip
    entities, keys = tuple(dict.fromkeys(record.entities)), tuple(dict.fromkeys(record.keys))
    links = tuple(dict.fromkeys(Link(relation, int(to)) for relation, to in record.links))
    t_ingest = None if record.t_ingest is None else float(record.t_ingest) + 0.0
    row = Row(facts, entities, keys, links, _vector(record), _blob(record), 0, t_ingest)
    row.body_checksum = body_checksum(row)
    return row


def _is_unicode(text: str) -> bool:
    """False with half of a surrogate pair, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _payload(record: Record) -> str:
    if not isinstance(record.payload, dict):
        raise ValueError(f"payload must be a dict of JSON values, got {type(record.payload).__name__}")
    try:
        payload = _JSON.encode(record.payload) if record.payload else "{}"
    except (TypeError, RecursionError) as error:
        raise ValueError(f"payload must be JSON values: {error}") from error
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"payload has {len(payload)} characters of JSON, at most {MAX_PAYLOAD} are stored; use a blob")
    return payload


def _blob(record: Record) -> bytes | None:
    """Bytes of our own: what is acknowledged is what was given, whatever happens to a buffer afterwards."""
    if record.blob is None:
        return None
    try:
        view = memoryview(record.blob)
    except TypeError:
        raise ValueError(f"blob must be bytes, got {type(record.blob).__name__}") from None
    if view.nbytes > MAX_BLOB:
        raise ValueError(f"blob has {view.nbytes} bytes, at most {MAX_BLOB} are stored")
    return bytes(record.blob)


def _position(record: Record) -> tuple[float | None, ...]:
    if record.position is None and record.T_map_obs is None:
        return (None, None, None)
    position = np.asarray(record.where, dtype=float)
    if position.shape != (3,) or not (np.abs(position) <= MAX_METRES).all():
        raise ValueError(f"position must be three numbers within +-{MAX_METRES:g}, got {record.where}")
    return tuple((position + 0.0).tolist())


def _pose(record: Record) -> bytes | None:
    if record.T_map_obs is None:
        return None
    T = np.ascontiguousarray(record.T_map_obs, dtype="<f8")
    if T.shape != (4, 4) or not np.isfinite(T).all():
        raise ValueError(f"T_map_obs must be a finite (4, 4) matrix, got {T}")
    return T.tobytes()


def _vector(record: Record) -> bytes | None:
    if record.embedding is None:
        return None
    vector = np.asarray(record.embedding)
    if vector.ndim != 1 or not 1 <= len(vector) <= MAX_DIM or vector.dtype.kind != "f":
        raise ValueError(f"embedding must be (d,) floats, d <= {MAX_DIM}, got {vector.dtype}{vector.shape}")
    with np.errstate(over="ignore"):
        half = vector.astype("<f2")
    if not np.isfinite(half).all() or not half.any():
        raise ValueError("embedding must be finite and not zero as float16; scale it to unit length")
    return half.tobytes()


def body_checksum(row: Row) -> int:
    """CRC-32 of what a record says, without its id and its ingest time."""
    kind, t_event, source, place, x, y, z, pose, text, payload, confidence, start, end = row.facts
    words = json.dumps([kind, source, place, text, payload, sorted(row.entities), sorted(row.keys), sorted(row.links)])
    numbers = np.array([t_event, *(np.nan if v is None else v for v in (x, y, z)), confidence, start, end], dtype="<f8")
    checksum = zlib.crc32(numbers.tobytes(), zlib.crc32(words.encode()))
    for part in (pose, row.vector, row.blob):
        checksum = zlib.crc32(b"-" if part is None else part, checksum)
    return checksum


def insert(db: Connection, rows: Sequence[Row]) -> None:
    """Write rows that have ids to the log and to the indexes, inside the transaction that is open."""
    records, places, texts = [], [], []
    for row in rows:
        kind, t_event, source, place, x, y, z, *rest = row.facts
        records.append((row.id, kind, t_event, row.t_ingest, source, place, x, y, z, *rest, row.checksum))
        if x is not None:
            places.append((row.id, x, x, y, y, z, z))
        texts.append((row.id, *document(rest[1], row.entities, place)))
    db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", records)
    db.executemany("INSERT INTO vectors VALUES (?, ?)", [(r.id, r.vector) for r in rows if r.vector is not None])
    db.executemany("INSERT INTO blobs VALUES (?, ?)", [(r.id, r.blob) for r in rows if r.blob is not None])
    names = [(name, row.facts[1], row.id) for row in rows for name in row.entities]
    db.executemany("INSERT INTO entities VALUES (?, ?, ?)", names)
    db.executemany("INSERT INTO keys VALUES (?, ?, ?)", [(k, r.facts[1], r.id) for r in rows for k in r.keys])
    db.executemany("INSERT INTO links VALUES (?, ?, ?)", [(r.id, *link) for r in rows for link in r.links])
    db.executemany("INSERT INTO places VALUES (?, ?, ?, ?, ?, ?, ?)", places)
    db.executemany("INSERT INTO texts (rowid, text, names) VALUES (?, ?, ?)", [t for t in texts if t[1] or t[2]])


def document(text: str, entities: Iterable[str], place: str | None) -> tuple[str, str]:
    """What the text index knows of a record; the same words are needed again to take it out."""
    return text, " ".join([*entities, *([] if place is None else [place])])


def select_records(db: Connection, ids: Sequence[int], *, with_blobs: bool = True) -> list[Record]:
    """The records with these ids, in this order; ids that are not there are left out."""
    asked = json.dumps([int(i) for i in ids])
    among = "IN (SELECT value FROM json_each(?))"
    data = "(SELECT data FROM {} WHERE record_id = records.id)"
    parts = f"{data.format('vectors')}, {data.format('blobs') if with_blobs else 'NULL'}"
    rows = {row[0]: row for row in db.execute(f"SELECT {COLUMNS}, {parts} FROM records WHERE id {among}", (asked,))}
    entities = _grouped(db, f"SELECT record_id, name FROM entities WHERE record_id {among} ORDER BY 1, 2", asked)
    keys = _grouped(db, f"SELECT record_id, key FROM keys WHERE record_id {among} ORDER BY 1, 2", asked)
    links: dict[int, list[Link]] = {}
    sql = f"SELECT record_id, relation, target FROM links WHERE record_id {among} ORDER BY 1, 2, 3"
    for record_id, relation, target in db.execute(sql, (asked,)):
        links.setdefault(record_id, []).append(Link(relation, target))
    return [
        checked_record(rows[i][:-2], entities.get(i, ()), keys.get(i, ()), *rows[i][-2:], tuple(links.get(i, ())))
        for i in map(int, ids)
        if i in rows
    ]


def _grouped(db: Connection, sql: str, asked: str) -> dict[int, tuple[Any, ...]]:
    found: dict[int, list[Any]] = {}
    for record_id, name in db.execute(sql, (asked,)):
        found.setdefault(record_id, []).append(name)
    return {record_id: tuple(names) for record_id, names in found.items()}


def checked_record(row: Sequence[Any], *rest: Any) -> Record:
    """SQLite lets any column hold anything: what a file says is not believed before it has been looked at.

    Raises:
        StoreError: if it cannot be a record that was written by `insert`.
    """
    try:
        record = _record(row, *rest)
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"record {row[0]} is damaged: {error}; see: embmem verify") from error
    numbers = (record.t_event, record.t_ingest, record.confidence, *record.valid)
    names = (record.kind, record.source, record.text, *record.entities, *record.keys, *(r for r, _ in record.links))
    is_sound = (
        set(map(type, numbers)) == {float}
        and set(map(type, names)) == {str}
        and all(type(to) is int for _, to in record.links)
        and isinstance(record.place, str | None)
        and isinstance(record.blob, bytes | None)
        and all(a is None or all(map(math.isfinite, a.ravel().tolist())) for a in (record.position, record.T_map_obs))
        and isinstance(record.payload, dict)
    )
    if not is_sound:
        raise StoreError(f"record {row[0]} is damaged: a column holds what it cannot hold; see: embmem verify")
    return record


def _record(
    row: Sequence[Any],
    entities: tuple[str, ...],
    keys: tuple[str, ...],
    vector: bytes | None,
    blob: bytes | None,
    links: tuple[Link, ...],
) -> Record:
    record_id, kind, t_event, t_ingest, source, place, x, y, z, pose, text, payload, confidence, start, end = row
    T = None if pose is None else np.frombuffer(pose, dtype="<f8").reshape(4, 4)
    position = None if x is None else np.array([x, y, z], dtype=float)
    if T is not None and position is not None and position.tolist() == T[:3, 3].tolist():
        position = None
    return Record(
        kind=kind, t_event=t_event, source=source, id=record_id, t_ingest=t_ingest, place=place, T_map_obs=T,
        position=position, entities=entities, keys=keys, text=text,
        embedding=None if vector is None else np.frombuffer(vector, dtype="<f2"),
        payload=json.loads(payload), blob=blob, confidence=confidence, valid=(start, end), links=links,
    )  # fmt: skip


def rows_of_v1(db: Connection) -> list[Row]:
    """The records of a version 1 file, ascending."""
    entities: dict[int, tuple[str, ...]] = {}
    for record_id, name in db.execute("SELECT record_id, name FROM entities ORDER BY 1, 2"):
        entities[record_id] = (*entities.get(record_id, ()), name)
    rows = []
    for record_id, kind, t_event, t_ingest, *rest in db.execute(f"SELECT {COLUMNS} FROM records ORDER BY id"):
        row = Row((kind, t_event, *rest), entities.get(record_id, ()), (), (), None, None, 0, t_ingest, record_id)
        row.body_checksum = body_checksum(row)
        rows.append(row)
    return rows
