"""Physical removal of all that a source has said, from the fleet."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from embmem.fleet import hidden
from embmem.fleet.log import take
from embmem.fleet.postgres import PostgresStore
from embmem.fleet.rows import add_words, escaped, outgoing
from embmem.fleet.select import OF_ROBOTS
from embmem.fleet.server import Database
from embmem.records import Record

_DOOMED = """WITH RECURSIVE gone(id) AS (
    SELECT id FROM records WHERE source = %(source)s AND kind <> 'purge' AND {robots}
    UNION
    SELECT record_id FROM links JOIN gone ON target = gone.id WHERE relation IN ('from', 'corrects')
) SELECT gone.id FROM gone JOIN records ON records.id = gone.id ORDER BY gone.id"""
_SHRINK = """UPDATE head SET n_records = head.n_records - t.n,
    n_documents = head.n_documents - t.n_documents, n_words = head.n_words - t.n_words
    FROM (SELECT count(*) AS n, count(n_words) AS n_documents, coalesce(sum(n_words), 0) AS n_words FROM records
          WHERE id = ANY(%(gone)s::bigint[])) AS t"""


def purge(
    fleet: PostgresStore,
    source: str,
    *,
    robots: Sequence[str] | None = None,
    by: str = "operator",
    reason: str = "",
) -> int:
    """Remove all that a source has said, of all robots or some, for ever; returns how many records went.

    What was derived from its records goes too, and so do the corrections of them. A record of kind "purge" stays that
    says whose records went, how many and why. They are not sent again by a robot that still has them; what it derives
    from them later arrives without them. Then the tables are written anew, so that the bytes are gone from them; the
    server's archived logs and backups are its operator's to remove.

    Raises:
        StoreError: if the server is away or refuses; if it was when the tables were to be written anew, the records
            are gone, but their bytes are not.
    """
    with fleet.changing() as db:
        db.execute("SELECT 1 FROM head FOR UPDATE")
        names = None if robots is None else [escaped(robot) for robot in robots]
        sql = _DOOMED.format(robots="true" if names is None else OF_ROBOTS)
        gone = [row[0] for row in db.execute(sql, {"source": escaped(source), "robots": names})]
        if not gone:
            return 0
        payload = {"purged": source, "n": len(gone)} | ({"reason": reason} if reason else {})
        payload |= {} if robots is None else {"robots": list(robots)}
        latest = db.execute("SELECT max(t_event) FROM records WHERE id = ANY(%s::bigint[])", (gone,)).fetchone()[0]
        told = f"purged {len(gone)} of {source}"
        row = outgoing(Record(kind="purge", t_event=latest, source=by, text=told, payload=payload))
        row.local_id = 1
        add_words([row])
        _delete(db, gone)
        take(db, str(uuid.uuid4()), fleet.robot, [row])
    fleet.rewrite()
    return len(gone)


def _delete(db: Database, gone: list[int]) -> None:
    values = {"gone": gone}
    db.execute(_SHRINK, values)
    touched = "SELECT EXISTS(SELECT 1 FROM hidden WHERE record_id = ANY(%(gone)s) OR amendment = ANY(%(gone)s))"
    was_hidden = db.execute(touched, values).fetchone()[0]
    for table in ("links", "vectors"):
        db.execute(f"DELETE FROM {table} WHERE record_id = ANY(%(gone)s::bigint[])", values)
    db.execute("DELETE FROM records WHERE id = ANY(%(gone)s::bigint[])", values)
    if was_hidden:
        hidden.rebuild(db)
