"""Corrections and withdrawals: records that change what is believed, and can be taken back themselves.

Nothing is overwritten. A correction is a full record with a link "corrects", a withdrawal links "withdraws"; what was
derived from their targets is hidden along with them (`embmem.store.hidden` has the rule). Both are undone by
withdrawing them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from embmem.protocols import Store, Ticket
from embmem.records import Link, Query, Record
from embmem.store import hidden
from embmem.store.rows import select_records
from embmem.store.schema import Connection
from embmem.store.sqlite import RecordStore

MOST_LINKS = 2000  # of one withdrawal; more targets take more records
_FIXED = {"id", "t_ingest", "links", "source"}
_CHANGEABLE = {field.name for field in fields(Record)} - _FIXED
_FAMILY = """WITH RECURSIVE versions(id) AS (
    VALUES (:id)
    UNION
    SELECT target FROM links JOIN versions ON record_id = versions.id WHERE relation IN ('withdraws', 'corrects')
),
family(id) AS (
    SELECT id FROM versions
    UNION
    SELECT record_id FROM links JOIN family ON target = family.id
    WHERE relation IN ('from', 'withdraws', 'corrects')
)
SELECT id FROM family ORDER BY id"""


@dataclass(frozen=True, eq=False)
class Version:
    """A step in the history of a record."""

    id: int
    role: str  # "original", "correction", "withdrawal", "derived"
    of: tuple[int, ...]  # what it corrects, withdraws or was derived from, within the history
    hidden_by: tuple[int, ...]  # the amendments because of which it is not believed now; empty if it is
    record: Record  # without its blob


def correct(store: Store, record_id: int, *, source: str = "operator", reason: str = "", **changes: Any) -> Ticket:
    """Write a record that stands in the place of another: the same but for `changes`.

    What was derived from the old record is hidden with it. A changed text drops the embedding, which meant the old
    one, unless a new one is given.

    Args:
        store: the memory.
        record_id: of a record that is believed now.
        source: who corrects.
        reason: why; it goes into the payload.
        changes: fields of `Record` and their new values.

    Raises:
        ValueError: if there is no such record, it is not believed now, or a change is not fit to be stored.
    """
    unknown = sorted(set(changes) - _CHANGEABLE)
    if unknown or not changes:
        raise ValueError(f"a correction changes some of {sorted(_CHANGEABLE)}, got {unknown or 'none'}")
    (old,) = _existing(store, [record_id])
    if not is_believed(store, record_id):
        raise ValueError(
            f"record {record_id} has been corrected or withdrawn already; correct what stands in its place, or restore "
            "it first (history shows both)"
        )
    if "text" in changes and changes["text"] != old.text:
        changes.setdefault("embedding", None)
    payload = {**changes.pop("payload", old.payload), **({"reason": reason} if reason else {})}
    kept = tuple(link for link in old.links if link.relation not in hidden.AMENDING)
    links = (*kept, Link("corrects", record_id))
    new = replace(old, id=None, t_ingest=None, source=source, payload=payload, links=links, **changes)
    return store.write(new)


def withdraw(
    store: Store,
    what: Query | Iterable[int],
    *,
    source: str = "operator",
    reason: str = "",
    t_event: float | None = None,
) -> list[int]:
    """Stop believing some records, and what was derived from them; returns the ids of the withdrawals.

    Args:
        store: the memory.
        what: ids, or a query, of which every match is meant, whatever its `k`; all of them are read into RAM.
        source: who withdraws.
        reason: why; the text of the withdrawal.
        t_event: [s] when it was found out; the latest event time of the records if not given.

    Raises:
        ValueError: if one of the ids is not there.
    """
    if isinstance(what, Query):
        found = store.read(replace(what, k=1 << 31))
        stamps = {record.id: record.t_event for record in found if record.id is not None}
    else:
        stamps = _stamps(store, sorted(set(what)))
    if not stamps:
        return []
    stamp, ids = max(stamps.values()) if t_event is None else t_event, sorted(stamps)
    return store.write_all(_withdrawals([("withdraws", i) for i in ids], source, reason, stamp))


def withdraw_source(store: RecordStore, source: str, *, by: str = "operator", reason: str = "") -> list[int]:
    """Stop believing all that a source has said so far, its amendments included; the ids of the withdrawals.

    Withdrawing those brings it all back.
    """
    sql = (
        """SELECT id, t_event FROM records WHERE source = ? AND id NOT IN (SELECT record_id FROM hidden) ORDER BY id"""
    )
    with store.reading() as db:
        rows = db.execute(sql, (source,)).fetchall()
    if not rows:
        return []
    links = [("withdraws", record_id) for record_id, _ in rows]
    return store.write_all(_withdrawals(links, by, reason, max(t_event for _, t_event in rows)))


def restore(store: RecordStore, record_id: int, *, source: str = "operator", reason: str = "") -> list[int]:
    """Believe a record again: withdraws every withdrawal and correction of it, and returns the ids of what does.

    What else was withdrawn together with it stays withdrawn.

    Raises:
        ValueError: if it is not there, not hidden, or hidden because of what it was derived from.
    """
    (record,) = _existing(store, [record_id])
    with store.reading() as db:
        undone, others = _undoing(db, record_id)
    links = [("withdraws", i) for i in (*undone, *others)]
    return store.write_all(_withdrawals(links, source, reason, record.t_event))


def history(store: RecordStore, record_id: int) -> list[Version]:
    """Every version of a record, what amended them and what was derived from them, ascending.

    Raises:
        ValueError: if it is not there.
    """
    _existing(store, [record_id])
    with store.reading() as db:
        ids = [row[0] for row in db.execute(_FAMILY, {"id": record_id})]
        by: dict[int, list[int]] = {}
        sql = (
            "SELECT record_id, amendment FROM hidden WHERE record_id IN (SELECT value FROM json_each(?)) ORDER BY 1, 2"
        )
        for hidden_id, amendment in db.execute(sql, (json.dumps(ids),)):
            by.setdefault(hidden_id, []).append(amendment)
        records = select_records(db, ids, with_blobs=False)
    return [_version(record, set(ids), tuple(by.get(record.id or 0, ()))) for record in records]


def is_believed(store: Store, record_id: int) -> bool:
    """Whether a record is there and not hidden now."""
    return bool(store.read(Query(linked_to=record_id, hops=0, k=1)))


def _stamps(store: Store, ids: Sequence[int]) -> dict[int, float]:
    """Event times by id, a part at a time: blobs are read with the records."""
    parts = (ids[start : start + 256] for start in range(0, len(ids), 256))
    return {record.id: record.t_event for part in parts for record in _existing(store, part) if record.id is not None}


def _existing(store: Store, ids: Sequence[int]) -> list[Record]:
    records = store.get(ids)
    missing = sorted(set(ids) - {record.id for record in records})
    if missing:
        raise ValueError(f"there is no record {', '.join(map(str, missing[:10]))}{' ...' if missing[10:] else ''}")
    return records


def _withdrawals(links: Sequence[tuple[str, int]], source: str, reason: str, t_event: float) -> Iterator[Record]:
    for start in range(0, len(links), MOST_LINKS):
        part = tuple(Link(*link) for link in links[start : start + MOST_LINKS])
        yield Record(kind="withdrawal", t_event=t_event, source=source, text=reason, links=part)


def _undoing(db: Connection, record_id: int) -> tuple[list[int], list[int]]:
    """The amendments to withdraw, so that a record is believed, and what else they withdrew."""
    active = [row[0] for row in db.execute("SELECT amendment FROM hidden WHERE record_id = ?", (record_id,))]
    if not active:
        raise ValueError(f"record {record_id} is not hidden; to undo what it amends, withdraw it")
    aims = hidden.aims_of(db, active)
    indirect = [amendment for amendment in active if record_id not in aims[amendment]]
    if indirect:
        causes = sorted(aims[indirect[0]])
        raise ValueError(
            f"record {record_id} is hidden because record {indirect[0]} amends what it was derived from; restore "
            f"that: {', '.join(map(str, causes[:10]))}{' ...' if causes[10:] else ''}"
        )
    # Once a correction is withdrawn, those that it corrected would hide the record in its place.
    inherited = hidden.aims_of(db, set().union(*aims.values()))
    undone = sorted({*active, *(i for i, its_aims in inherited.items() if record_id in its_aims)})
    among = json.dumps(active)
    sql = "SELECT target FROM links WHERE relation = 'withdraws' AND record_id IN (SELECT value FROM json_each(?))"
    others = {row[0] for row in db.execute(sql, (among,))} - {record_id, *undone}
    return undone, sorted(others)


def _version(record: Record, family: set[int], hidden_by: tuple[int, ...]) -> Version:
    of = {relation: tuple(to for r, to in record.links if r == relation and to in family)
          for relation in ("corrects", "withdraws", "from")}  # fmt: skip
    roles = {"corrects": "correction", "withdraws": "withdrawal", "from": "derived"}
    for relation, role in roles.items():
        if of[relation]:
            return Version(record.id or 0, role, of[relation], hidden_by, record)
    return Version(record.id or 0, "original", (), hidden_by, record)
