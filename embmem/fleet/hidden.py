"""What is hidden in the fleet: the rules of `embmem.store.hidden`, over the tables of Postgres."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from embmem.fleet.rows import Outgoing
from embmem.fleet.server import Database
from embmem.store.hidden import AMENDING, active_of

_AMENDS = "relation IN ('withdraws', 'corrects')"  # word for word that of the index `links_that_amend`
# Pairs (amendment, record) of all amendments among %(some)s.
_REACH = f"""WITH RECURSIVE
aims(amendment, target, relation) AS (
    SELECT record_id, target, relation FROM links WHERE {_AMENDS} AND record_id = ANY(%(some)s::bigint[])
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
SELECT amendment, id FROM reach"""
_BORN_HIDDEN = """WITH RECURSIVE born(id, amendment) AS (
    SELECT links.record_id, amendment FROM links JOIN hidden ON hidden.record_id = links.target
    WHERE relation = 'from' AND links.record_id BETWEEN %(first)s AND %(last)s AND amendment <> links.record_id
    UNION
    SELECT links.record_id, amendment FROM links JOIN born ON links.target = born.id
    WHERE relation = 'from' AND amendment <> links.record_id
) INSERT INTO hidden SELECT id, amendment FROM born ON CONFLICT DO NOTHING"""


def follow(db: Database, rows: Sequence[Outgoing], first: int) -> None:
    """Bring `hidden` up to date after these rows, ascending, were inserted, inside the same transaction.

    Args:
        db: where.
        rows: that are new.
        first: the first id that is new, which may be that of a record that was forgotten before it was sent.
    """
    if any(link.relation == "from" for row in rows for link in row.links):
        db.execute(_BORN_HIDDEN, {"first": first, "last": rows[-1].id})
    for row in rows:
        if any(link.relation in AMENDING for link in row.links):
            _decide(db, row.id)


def rebuild(db: Database) -> None:
    """Make `hidden` from the log, inside the transaction that is open."""
    db.execute("DELETE FROM hidden")
    for amendment, reached in _active(db, None).items():
        _hide(db, amendment, reached)


def hidden_as_of(db: Database, t: float | None = None) -> set[int]:
    """Ids that are hidden as of an ingest time [s] of the fleet, or now, from the log alone."""
    return set().union(*_active(db, t).values())


def is_present(db: Database, t: float) -> bool:
    """True if nothing was withdrawn or corrected after an ingest time [s]: what is hidden was hidden then."""
    sql = f"SELECT EXISTS(SELECT 1 FROM links JOIN records ON id = record_id WHERE {_AMENDS} AND t_ingest > %s)"
    return not db.execute(sql, (t,)).fetchone()[0]


def _active(db: Database, t: float | None) -> dict[int, set[int]]:
    """The amendments that are active as of a time, and what they reach."""
    sql = f"""SELECT DISTINCT id FROM records JOIN links ON record_id = id
        WHERE {_AMENDS} AND t_ingest <= %s ORDER BY id DESC"""
    known = [row[0] for row in db.execute(sql, (float("inf") if t is None else t,))]
    return active_of(known, _reach_of(db, known))


def _decide(db: Database, newest: int) -> None:
    """Make an amendment active or not, and then the earlier ones that this bears on, latest first."""
    waiting = [-newest]
    while waiting:
        amendment = -heapq.heappop(waiting)
        while waiting and waiting[0] == -amendment:
            heapq.heappop(waiting)
        sql = """SELECT EXISTS(SELECT 1 FROM hidden WHERE amendment = %(a)s),
            NOT EXISTS(SELECT 1 FROM hidden WHERE record_id = %(a)s AND amendment > %(a)s)"""
        is_active, shall_be = db.execute(sql, {"a": amendment}).fetchone()
        if is_active == shall_be:
            continue
        reached = _reach_of(db, [amendment])[amendment]
        if shall_be:
            _hide(db, amendment, reached)
        else:
            db.execute("DELETE FROM hidden WHERE amendment = %s", (amendment,))
        below = [i for i in sorted(reached) if i < amendment]
        sql = f"SELECT DISTINCT record_id FROM links WHERE {_AMENDS} AND record_id = ANY(%s::bigint[])"
        for (earlier,) in db.execute(sql, (below,)).fetchall():
            heapq.heappush(waiting, -earlier)


def _hide(db: Database, amendment: int, reached: set[int]) -> None:
    db.execute("INSERT INTO hidden SELECT unnest(%s::bigint[]), %s", (sorted(reached), amendment))


def _reach_of(db: Database, ids: Iterable[int]) -> dict[int, set[int]]:
    """What each of these amendments hides while it is active: its aims and what was derived from them."""
    found: dict[int, set[int]] = {int(i): set() for i in ids}
    for amendment, record_id in db.execute(_REACH, {"some": list(found)}):
        found[amendment].add(record_id)
    return found
