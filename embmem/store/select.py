"""A query as conditions of SQL over the table `records`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embmem.records import Query
from embmem.store.hidden import hidden_as_of, is_present
from embmem.store.schema import Connection

# Records around one, over links in both directions.
_AROUND = """id IN (
    WITH RECURSIVE around(id, hop) AS (
        VALUES (:linked_to, 0)
        UNION
        SELECT target, hop + 1 FROM links JOIN around ON record_id = around.id WHERE hop < :hops
        UNION
        SELECT record_id, hop + 1 FROM links JOIN around ON target = around.id WHERE hop < :hops
    ) SELECT id FROM around)"""
_IN_BOX = """id IN (SELECT id FROM places
    WHERE x1 >= :x_low AND x0 <= :x_high AND y1 >= :y_low AND y0 <= :y_high AND z1 >= :z_low AND z0 <= :z_high)"""


@dataclass
class Conditions:
    """Terms that are joined by AND, and the values that they name."""

    terms: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, term: str, **values: Any) -> None:
        """One more term."""
        self.terms.append(term)
        self.values |= values

    @property
    def where(self) -> str:
        """The terms as one condition."""
        return " AND ".join(self.terms) or "1"


def conditions(query: Query, db: Connection) -> Conditions:
    """What a record must hold to match every filter of the query; ranking is not part of it.

    What was believed as of an earlier time is looked up in `db`; the conditions are for the state that it sees.
    """
    found = Conditions()
    for name in ("kind", "place", "source"):
        value = getattr(query, name)
        if value is not None:
            found.add(f"{name} = :{name}", **{name: value})
    if query.entity is not None:
        found.add("id IN (SELECT record_id FROM entities WHERE name = :entity)", entity=query.entity)
    if query.key is not None:
        found.add("id IN (SELECT record_id FROM keys WHERE key = :key)", key=query.key)
    if query.linked_to is not None:
        found.add(_AROUND, linked_to=query.linked_to, hops=query.hops)
    if query.text is not None:
        found.add("id IN (SELECT rowid FROM texts WHERE texts MATCH :match)", match=match_expression(query.text))
    _add_times(found, query)
    _add_space(found, query)
    if query.min_confidence > 0:
        found.add("confidence >= :min_confidence", min_confidence=query.min_confidence)
    if not query.with_hidden:
        _add_belief(found, query.as_of, db)
    return found


def match_expression(text: str) -> str:
    """Any of the words, in the language of FTS5; every word is quoted, so that none of them is an operator."""
    words = re.findall(r"\w+", text)
    return " OR ".join(f'"{word}"' for word in words) or '""'


def _add_belief(found: Conditions, as_of: float | None, db: Connection) -> None:
    """Leave out what is hidden now, or was hidden then."""
    if as_of is None or is_present(db, as_of):
        found.add("id NOT IN (SELECT record_id FROM hidden)")
    else:
        ids = json.dumps(sorted(hidden_as_of(db, as_of)))
        found.add("id NOT IN (SELECT value FROM json_each(:hidden))", hidden=ids)


def _add_times(found: Conditions, query: Query) -> None:
    if query.since > -np.inf:
        found.add("t_event >= :since", since=query.since)
    if query.until < np.inf:
        found.add("t_event < :until", until=query.until)
    if query.ingested_since > -np.inf:
        found.add("t_ingest >= :ingested_since", ingested_since=query.ingested_since)
    if query.as_of is not None:
        found.add("t_ingest <= :as_of", as_of=query.as_of)
    if query.valid_at is not None:
        found.add("valid_from <= :valid_at AND :valid_at < valid_to", valid_at=query.valid_at)


def _add_space(found: Conditions, query: Query) -> None:
    if query.near is not None and query.radius < np.inf:
        x, y, z = (float(v) for v in query.near)
        distance = "(x - :x) * (x - :x) + (y - :y) * (y - :y) + (z - :z) * (z - :z)"
        found.add(f"{distance} <= :radius * :radius", x=x, y=y, z=z, radius=query.radius)
        _add_box(found, np.asarray(query.near) - query.radius, np.asarray(query.near) + query.radius)
    if query.box is not None:
        low, high = np.asarray(query.box, dtype=float)
        bounds = {
            f"{axis}{end}": float(v) for end, row in enumerate((low, high)) for axis, v in zip("xyz", row, strict=True)
        }
        found.add(" AND ".join(f"{axis} BETWEEN :{axis}0 AND :{axis}1" for axis in "xyz"), **bounds)
        if query.near is None or query.radius == np.inf:
            _add_box(found, low, high)


def _add_box(found: Conditions, low: np.ndarray, high: np.ndarray) -> None:
    """The R*Tree keeps float32, rounded outwards: it finds at least what is in the box."""
    names = {
        f"{axis}_{end}": float(v)
        for end, row in (("low", low), ("high", high))
        for axis, v in zip("xyz", row, strict=True)
    }
    found.add(_IN_BOX, **names)
