"""Physical removal: forgetting, which leaves what was derived, and purging a source, which leaves nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from embmem.records import Record
from embmem.store import hidden
from embmem.store.rows import document
from embmem.store.schema import Connection
from embmem.store.snapshots import invalidate
from embmem.store.sqlite import RecordStore

_AMONG = "IN (SELECT value FROM json_each(?))"
# What must be known of removed records (:gone) so that what was derived from them can still be followed.
_LINEAGE = """WITH RECURSIVE gone(id) AS MATERIALIZED (SELECT value FROM json_each(:gone)),
kept(id) AS (
    SELECT target FROM links WHERE target IN gone AND relation = 'from' AND record_id NOT IN gone
    UNION
    SELECT target FROM links JOIN kept ON record_id = kept.id WHERE relation = 'from' AND target IN gone
) SELECT id FROM kept"""

_DOOMED = """WITH RECURSIVE gone(id) AS (
    SELECT id FROM records WHERE source = ? AND kind <> 'purge'
    UNION
    SELECT record_id FROM links JOIN gone ON target = gone.id WHERE relation IN ('from', 'corrects')
) SELECT gone.id FROM gone JOIN records ON records.id = gone.id ORDER BY gone.id"""


def forget(store: RecordStore, ids: Iterable[int]) -> int:
    """Remove records physically, whatever was derived from them stays; returns how many went.

    An amendment stays as long as something that it withdraws or corrects is there: forgetting never makes anything
    believed again. Ids are never given again.

    Raises:
        StoreError: if the store is closed or read only, or it cannot be written; nothing has changed then.
    """
    with store.changing() as db:
        return remove_records(db, list(ids))


def remove_records(db: Connection, ids: Sequence[int]) -> int:
    """What `forget` does, inside the transaction that is open."""
    gone = _there(db, ids)
    while needed := _amendments_in_force(db, gone):
        gone = gone - needed
    kept = [row[0] for row in db.execute(_LINEAGE, {"gone": json.dumps(sorted(gone))})]
    delete_records(db, gone, lineage=kept)
    return len(gone)


class Doomed(NamedTuple):
    """What a purge takes away."""

    ids: tuple[int, ...]  # ascending
    counts: dict[tuple[str, str], int]  # records by source and kind, what was derived by others among them
    latest: float  # [s] event time of the newest
    layers: tuple[str, ...]  # that hold what its frames showed, and of which no log is kept


def doomed(db: Connection, source: str) -> Doomed:
    """The records of a source, all that was derived from them or corrects them; not the records of earlier purges."""
    ids = tuple(row[0] for row in db.execute(_DOOMED, (source,)))
    among = json.dumps(ids)
    sql = f"SELECT source, kind, count(*), max(t_event) FROM records WHERE id {_AMONG} GROUP BY 1, 2 ORDER BY 1, 2"
    rows = db.execute(sql, (among,)).fetchall()
    shown = f"SELECT min(id) FROM records WHERE id {_AMONG} AND kind IN ('frame', 'view')"
    sql = f"SELECT kind FROM layers WHERE role = 'base' AND covers >= ({shown}) ORDER BY position"
    layers = tuple(row[0] for row in db.execute(sql, (among,)))
    return Doomed(ids, {(s, kind): n for s, kind, n, _ in rows}, max((row[3] for row in rows), default=0.0), layers)


def purge(store: RecordStore, source: str, *, by: str = "operator", reason: str = "") -> int:
    """Remove all that a source has said, physically and for ever; returns how many records went.

    What was derived from its records goes too, and so do the corrections of them, which repeat them. Withdrawals stay
    and withdraw nothing any more. A record of kind "purge" stays that says whose records went, how many and why. Layers
    are derived again from what is left; a base of layers that has seen frames of the source, and that no log can
    rebuild, goes as well. Then the file is written anew, so that the bytes are gone from the disk.

    What was forgotten no longer says who its source was: what had been derived from it stays.

    Raises:
        StoreError: if the store is closed or read only, or cannot be written: nothing has changed then. Or if a reader
            kept the file from being written anew: the records are gone, their bytes are not; purge again.
    """

    n = 0

    def change(db: Connection) -> Record:
        nonlocal n
        gone = doomed(db, source)
        n = len(gone.ids)
        _erase(db, gone)
        payload = {"purged": source, "n": n} | ({"reason": reason} if reason else {})
        return Record(kind="purge", t_event=gone.latest, source=by, text=f"purged {n} of {source}", payload=payload)

    with store.reading() as db:
        is_there = bool(doomed(db, source).ids)
    if is_there:
        store.change_and_tell(change)
    store.embeddings.discard()
    store.rewrite()
    return n


def _erase(db: Connection, gone: Doomed) -> None:
    """Delete, and leave no copy in what SQLite keeps inside blobs of its own: those a rewritten file would copy."""
    usual = db.execute("PRAGMA secure_delete").fetchone()[0]
    db.execute("PRAGMA secure_delete = ON")
    try:
        delete_records(db, gone.ids)
        invalidate(db)
        for kind in gone.layers:
            for table in ("layers", "layer_chunks"):
                db.execute(f"DELETE FROM {table} WHERE role = 'base' AND kind = ?", (kind,))
        db.execute("INSERT INTO texts(texts) VALUES ('optimize')")
        db.execute("DELETE FROM places")
        db.execute("INSERT INTO places SELECT id, x, x, y, y, z, z FROM records WHERE x IS NOT NULL")
        for (statistics,) in db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'sqlite_stat%'").fetchall():
            db.execute(f"DELETE FROM {statistics}")
    finally:
        db.execute(f"PRAGMA secure_delete = {usual}")


def delete_records(db: Connection, ids: Iterable[int], *, lineage: Sequence[int] = ()) -> None:
    """Take records out of the log and out of every index, inside the transaction that is open.

    Of those in `lineage` it stays known what they were derived from.
    """
    gone = json.dumps(sorted(ids))
    _take_out_of_the_text_index(db, gone)
    touched = f"SELECT EXISTS(SELECT 1 FROM hidden WHERE record_id {_AMONG} OR amendment {_AMONG})"
    was_hidden = db.execute(touched, (gone, gone)).fetchone()[0]
    db.execute(f"DELETE FROM places WHERE id {_AMONG}", (gone,))
    for table in ("vectors", "blobs", "entities", "keys"):
        db.execute(f"DELETE FROM {table} WHERE record_id {_AMONG}", (gone,))
    is_lineage = f"relation = 'from' AND record_id {_AMONG}"
    db.execute(f"DELETE FROM links WHERE record_id {_AMONG} AND NOT ({is_lineage})", (gone, json.dumps(list(lineage))))
    db.execute(f"DELETE FROM records WHERE id {_AMONG}", (gone,))
    if was_hidden:
        hidden.rebuild(db)
    hidden.count(db, "removals")


def _there(db: Connection, ids: Sequence[int]) -> set[int]:
    asked = json.dumps([int(i) for i in ids])
    return {row[0] for row in db.execute(f"SELECT id FROM records WHERE id {_AMONG}", (asked,))}


def _amendments_in_force(db: Connection, gone: set[int]) -> set[int]:
    """Those of these records without which something that stays could be believed again."""
    sql = f"SELECT DISTINCT record_id FROM links WHERE relation IN ('withdraws', 'corrects') AND record_id {_AMONG}"
    among = [row[0] for row in db.execute(sql, (json.dumps(sorted(gone)),))]
    return {amendment for amendment, reach in hidden.reach_of(db, among).items() if _there(db, sorted(reach - gone))}


def _take_out_of_the_text_index(db: Connection, gone: str) -> None:
    """An index without content must be told the words that it is to forget."""
    names: dict[int, list[str]] = {}
    for record_id, name in db.execute(f"SELECT record_id, name FROM entities WHERE record_id {_AMONG}", (gone,)):
        names.setdefault(record_id, []).append(name)
    rows = db.execute(f"SELECT id, text, place FROM records WHERE id {_AMONG}", (gone,)).fetchall()
    texts = [(i, *document(text, names.get(i, ()), place)) for i, text, place in rows]
    db.executemany(
        "INSERT INTO texts (texts, rowid, text, names) VALUES ('delete', ?, ?, ?)", [t for t in texts if t[1] or t[2]]
    )
