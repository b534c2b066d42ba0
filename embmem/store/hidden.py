"""What is not believed: which records are hidden, now and as of an earlier ingest time.

A record with a link "withdraws" or "corrects" is an amendment. It reaches what it links to, what the records that it
corrects would reach (a correction stands in the place of what it corrects, corrections included), and everything that
was derived from all that along links "from", except itself and what was derived through it. An amendment is active
from its ingest time on, unless a later one (by id) that is active reaches it. A record is hidden while an active
amendment reaches it; one derived from a hidden record is hidden from birth. Links go to earlier ids, so deciding from
the latest amendment down always ends.

The table `hidden` holds the present as pairs (record, active amendment that reaches it), brought up to date in the
transaction that writes the records.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Sequence

from embmem.store.rows import Row
from embmem.store.schema import Connection

AMENDING = ("withdraws", "corrects")
_AMENDS = "relation IN ('withdraws', 'corrects')"  # word for word that of the index `links_that_amend`
# Pairs (amendment, record) of all amendments among :some; every step goes up an index.
_REACH = f"""WITH RECURSIVE
aims(amendment, target, relation) AS (
    SELECT record_id, target, relation FROM links WHERE {_AMENDS} AND record_id IN (SELECT value FROM json_each(:some))
    UNION
    SELECT aims.amendment, further.target, further.relation FROM aims
    JOIN links AS further ON further.record_id = aims.target AND further.{_AMENDS} WHERE aims.relation = 'corrects'
),
reach(amendment, id) AS (
    SELECT amendment, target FROM aims
    UNION
    SELECT amendment, record_id FROM reach
    JOIN links ON links.target = reach.id AND relation = 'from' AND record_id <> amendment
)
"""
_AIMS = _REACH + "SELECT DISTINCT amendment, target FROM aims"
_REACHED = _REACH + "SELECT amendment, id FROM reach"
# What was derived from hidden records in a batch; only the batch itself can be derived from it.
_BORN_HIDDEN = """WITH RECURSIVE born(id, amendment) AS (
    SELECT links.record_id, amendment FROM links JOIN hidden ON hidden.record_id = links.target
    WHERE relation = 'from' AND links.record_id BETWEEN :first AND :last AND amendment <> links.record_id
    UNION
    SELECT links.record_id, amendment FROM links JOIN born ON links.target = born.id
    WHERE relation = 'from' AND amendment <> links.record_id
) INSERT OR IGNORE INTO hidden SELECT id, amendment FROM born"""


def aims_of(db: Connection, ids: Iterable[int]) -> dict[int, set[int]]:
    """What each of these amendments withdraws or corrects itself, also in the place of what it corrects."""
    return _grouped(db, _AIMS, ids)


def reach_of(db: Connection, ids: Iterable[int]) -> dict[int, set[int]]:
    """What each of these amendments hides while it is active: its aims and what was derived from them."""
    return _grouped(db, _REACHED, ids)


def hidden_as_of(db: Connection, t: float | None = None) -> set[int]:
    """Ids that are hidden as of an ingest time [s], or now, from the log alone; removed records may be among them."""
    return set().union(*_active(db, t).values())


def _active(db: Connection, t: float | None) -> dict[int, set[int]]:
    """The amendments that are active as of a time, and what they reach."""
    sql = f"""SELECT DISTINCT record_id FROM links CROSS JOIN records ON id = record_id
        WHERE {_AMENDS} AND (:t IS NULL OR t_ingest <= :t) ORDER BY record_id DESC"""
    known = [row[0] for row in db.execute(sql, {"t": t})]
    return active_of(known, reach_of(db, known))


def active_of(newest_first: Sequence[int], reach: dict[int, set[int]]) -> dict[int, set[int]]:
    """Those of the amendments that no later one hides, with what they reach."""
    active: dict[int, set[int]] = {}
    hidden: set[int] = set()
    for amendment in newest_first:
        if amendment not in hidden:  # what is hidden so far, later amendments hide
            active[amendment] = reach[amendment]
            hidden |= reach[amendment]
    return active


def is_present(db: Connection, t: float) -> bool:
    """True if nothing was withdrawn or corrected after an ingest time [s]: what is hidden was hidden then."""
    sql = f"""SELECT 1 FROM links CROSS JOIN records ON id = record_id WHERE {_AMENDS} AND t_ingest > ?
        ORDER BY record_id DESC LIMIT 1"""
    return db.execute(sql, (t,)).fetchone() is None


def follow(db: Connection, rows: Sequence[Row]) -> None:
    """Bring `hidden` up to date after these rows, ascending, were inserted, inside the same transaction."""
    amending = [row.id for row in rows if any(link.relation in AMENDING for link in row.links)]
    derived = [row.id for row in rows if any(link.relation == "from" for link in row.links)]
    if derived:
        db.execute(_BORN_HIDDEN, {"first": derived[0], "last": derived[-1]})
    for amendment in amending:
        _decide(db, amendment)
    if amending:
        count(db, "amendments")


def rebuild(db: Connection) -> None:
    """Make `hidden` from the log, inside the transaction that is open."""
    db.execute("DELETE FROM hidden")
    active = _active(db, None)
    db.executemany("INSERT INTO hidden VALUES (?, ?)", [(i, a) for a in sorted(active) for i in sorted(active[a])])


def count(db: Connection, name: str) -> None:
    """Add one to a counter in `meta`, by which whoever keeps a copy of derived state in RAM sees that it is old.

    "amendments": what is hidden may have changed. "removals": records are physically gone.
    """
    sql = "INSERT INTO meta VALUES (?, '1') ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
    db.execute(sql, (name,))


def _decide(db: Connection, newest: int) -> None:
    """Make an amendment active or not, and then the earlier ones that this bears on, latest first."""
    waiting = [-newest]
    while waiting:
        amendment = -heapq.heappop(waiting)
        while waiting and waiting[0] == -amendment:
            heapq.heappop(waiting)
        is_active = bool(db.execute("SELECT 1 FROM hidden WHERE amendment = ? LIMIT 1", (amendment,)).fetchone())
        sql = "SELECT 1 FROM hidden WHERE record_id = ?1 AND amendment > ?1 LIMIT 1"
        shall_be = db.execute(sql, (amendment,)).fetchone() is None
        if is_active == shall_be:
            continue
        reach = reach_of(db, [amendment])[amendment]
        if shall_be:
            db.executemany("INSERT INTO hidden VALUES (?, ?)", [(i, amendment) for i in sorted(reach)])
        else:
            db.execute("DELETE FROM hidden WHERE amendment = ?", (amendment,))
        below = json.dumps([i for i in sorted(reach) if i < amendment])
        sql = f"SELECT DISTINCT record_id FROM links WHERE {_AMENDS} AND record_id IN (SELECT value FROM json_each(?))"
        for (earlier,) in db.execute(sql, (below,)).fetchall():
            heapq.heappush(waiting, -earlier)


def _grouped(db: Connection, sql: str, ids: Iterable[int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {int(i): set() for i in ids}
    for amendment, record_id in db.execute(sql, {"some": json.dumps(list(found))}):
        found[amendment].add(record_id)
    return found
