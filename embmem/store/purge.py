"""Physical removal: forgetting, which leaves what was derived, and purging a source, which leaves nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from embmem.store import hidden
from embmem.store.rows import document
from embmem.store.schema import Connection
from embmem.store.sqlite import RecordStore

_AMONG = "IN (SELECT value FROM json_each(?))"
# What must be known of removed records (:gone) so that what was derived from them can still be followed.
_LINEAGE = """WITH RECURSIVE gone(id) AS MATERIALIZED (SELECT value FROM json_each(:gone)),
kept(id) AS (
    SELECT target FROM links WHERE target IN gone AND relation = 'from' AND record_id NOT IN gone
    UNION
    SELECT target FROM links JOIN kept ON record_id = kept.id WHERE relation = 'from' AND target IN gone
) SELECT id FROM kept"""


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
    lineage = db.execute(f"SELECT * FROM links WHERE record_id {_AMONG} AND relation = 'from'", (json.dumps(kept),))
    rows = lineage.fetchall()
    delete_records(db, gone)
    db.executemany("INSERT INTO links VALUES (?, ?, ?)", rows)
    return len(gone)


def delete_records(db: Connection, ids: Iterable[int]) -> None:
    """Take records out of the log and out of every index, inside the transaction that is open."""
    gone = json.dumps(sorted(ids))
    _take_out_of_the_text_index(db, gone)
    touched = f"SELECT EXISTS(SELECT 1 FROM hidden WHERE record_id {_AMONG} OR amendment {_AMONG})"
    was_hidden = db.execute(touched, (gone, gone)).fetchone()[0]
    db.execute(f"DELETE FROM places WHERE id {_AMONG}", (gone,))
    for table in ("vectors", "blobs", "entities", "keys", "links"):
        db.execute(f"DELETE FROM {table} WHERE record_id {_AMONG}", (gone,))
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
