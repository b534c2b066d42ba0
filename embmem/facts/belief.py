"""When each record was believed: the rule of `embmem.store.hidden`, for all times at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from embmem.store.hidden import AMENDING, reach_of
from embmem.store.schema import Connection

Spell = tuple[float, float]  # [s] ingest time, [from, to)
_AMENDMENTS = f"""SELECT DISTINCT record_id, t_ingest FROM links CROSS JOIN records ON id = record_id
    WHERE relation IN {AMENDING} ORDER BY record_id DESC"""


def hidden_spells(db: Connection) -> dict[int, list[Spell]]:
    """From when to when each record was hidden, by id; those that never were are left out.

    An amendment is active from its ingest time on, except while a later one (by id) that is active reaches it. So the
    latest comes first, and when the others are looked at all that can silence them is known.
    """
    amendments = db.execute(_AMENDMENTS).fetchall()
    reach = reach_of(db, [record_id for record_id, _ in amendments])
    hidden: dict[int, list[Spell]] = {}
    for amendment, t_ingest in amendments:
        active = without([(t_ingest, math.inf)], hidden.get(amendment, ()))
        for record_id in reach[amendment]:
            hidden[record_id] = united([*hidden.get(record_id, ()), *active])
    return {record_id: spells for record_id, spells in hidden.items() if spells}


def united(spells: Iterable[Spell]) -> list[Spell]:
    """The same time in as few spells as it takes, ascending."""
    found: list[Spell] = []
    for start, end in sorted(spells):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif start < end:
            found.append((start, end))
    return found


def without(spells: Sequence[Spell], gaps: Iterable[Spell]) -> list[Spell]:
    """Spells with some time taken out."""
    left = list(spells)
    for start, end in gaps:
        parts = [part for a, b in left for part in ((a, min(b, start)), (max(a, end), b))]
        left = [(a, b) for a, b in parts if a < b]
    return left


def spell_at(spells: Iterable[Spell], t: float) -> Spell | None:
    """The spell that holds at a time; inf is "now"."""
    return next(((a, b) for a, b in spells if a <= t and (t < b or b == math.inf)), None)
