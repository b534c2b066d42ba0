"""A query as conditions over the table `records` of the fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embmem.fleet.hidden import hidden_as_of, is_present
from embmem.fleet.rows import LAST_ID, escaped
from embmem.fleet.schema import FAR, NAMES, POINT
from embmem.fleet.server import Database
from embmem.fleet.words import count_words, hash_of
from embmem.records import Query
from embmem.store.frustum import bounds, checked, sees
from embmem.store.select import check_query, words_of

HUGE = 1e150  # [m]; the square of what is farther is no number of Postgres
_STEP = """SELECT target FROM links {0} WHERE record_id = ANY(%(some)s::bigint[])
    UNION SELECT record_id FROM links {0} WHERE target = ANY(%(some)s::bigint[])"""
OF_ROBOTS = "memory IN (SELECT number FROM memories WHERE robot = ANY(%(robots)s::text[]))"


@dataclass
class Conditions:
    """Conditions that are joined by AND, and the values that they name."""

    checks: list[str] = field(default_factory=lambda: ["true"])
    values: dict[str, Any] = field(default_factory=dict)
    belief: str = "true"  # of the table {0}; apart, since it is a join
    hops: dict[int, int] = field(default_factory=dict)  # links away from `linked_to`, by id

    @property
    def filters(self) -> str:
        """All of them but what is believed."""
        return " AND ".join(f"({check})" for check in self.checks)

    @property
    def where(self) -> str:
        """All of them."""
        return f"{self.filters} AND {self.belief.format('records')}"

    def add(self, check: str, **values: Any) -> None:
        """One more."""
        self.checks.append(check)
        self.values |= values


def conditions(query: Query, db: Database, robots: Sequence[str] | None) -> Conditions:
    """What a record must hold to pass every filter of the query; its words and its embedding are no filters.

    Raises:
        ValueError: if the query asks for nothing that can be, such as a negative radius.
    """
    check_query(query)
    found = Conditions()
    if robots is not None:
        found.add(OF_ROBOTS, robots=[escaped(robot) for robot in robots])
    _add_names(found, query)
    _add_times(found, query)
    if query.min_confidence > 0:
        found.add("confidence >= %(min_confidence)s", min_confidence=float(query.min_confidence))
    if query.linked_to is not None:
        found.hops = around(db, int(query.linked_to), query.hops, query.as_of)
        found.add("id = ANY(%(around)s::bigint[])", around=[i for i in found.hops if 0 < i <= LAST_ID])
    if not query.with_hidden:
        _add_belief(found, query.as_of, db)
    _add_space(found, query)
    if query.frustum is not None:
        _add_view(found, query, db)
    return found


def stems_of(text: str) -> list[str]:
    """What the words of a text are looked up by; two words may have the same stem."""
    stems = count_words([(word, "") for word in words_of(text)])
    return [stem for own in stems for stem in sorted(own)]


def holds_any(stems: Sequence[str]) -> tuple[str, list[int]]:
    """A condition over %(stems)s, and its value."""
    return f"{NAMES} && %(stems)s::bigint[]", [hash_of("word", stem) for stem in stems]


def around(db: Database, start: int, hops: int, as_of: float | None) -> dict[int, int]:
    """Records by how many links they are away from one, itself included; over links that were known as of a time."""
    known = "" if as_of is None else "JOIN records ON records.id = links.record_id AND records.t_ingest <= %(as_of)s"
    found, edge = {start: 0}, [start] if 0 < start <= LAST_ID else []
    for hop in range(1, hops + 1):
        rows = db.execute(_STEP.format(known), {"some": edge, "as_of": as_of})
        edge = [row[0] for row in rows if row[0] not in found]
        if not edge:
            break
        found |= dict.fromkeys(edge, hop)
    return found


def _add_names(found: Conditions, query: Query) -> None:
    """One index knows all names; that their texts are the same, not only their hashes, is checked."""
    hashes = []
    for name in ("kind", "source", "place", "entity", "key"):
        value = getattr(query, name)
        if value is None:
            continue
        column = {"entity": "entities", "key": "keys"}.get(name)
        found.add(f"{name} = %({name})s" if column is None else f"%({name})s = ANY({column})", **{name: escaped(value)})
        hashes.append(hash_of(name, value))
    if hashes:
        found.add(f"{NAMES} @> %(hashes)s::bigint[]", hashes=hashes)


def _add_times(found: Conditions, query: Query) -> None:
    for name, check, nothing in (
        ("since", "t_event >= %(since)s", -np.inf),
        ("until", "t_event < %(until)s", np.inf),
        ("ingested_since", "t_ingest >= %(ingested_since)s", -np.inf),
        ("as_of", "t_ingest <= %(as_of)s", None),
        ("valid_at", "valid_from <= %(valid_at)s AND %(valid_at)s < valid_to", None),
    ):
        value = getattr(query, name)
        if value is not None and value != nothing:
            found.add(check, **{name: float(value)})


def _add_space(found: Conditions, query: Query) -> None:
    """Where a place is asked for, a record without one is outside."""
    if query.near is not None:
        found.add("x IS NOT NULL")
        near = np.clip(np.asarray(query.near, dtype=float), -HUGE, HUGE)
        radius = float(query.radius)
        if radius < HUGE:
            reach = radius * (1.0 + 1e-12) + 1e-12 * float(np.abs(near).max())
            inside = _in_box(found, "ball", np.stack([near - reach, near + reach]))
            found.add(f"CASE WHEN {inside} THEN {squared()} <= %(square)s ELSE false END", square=radius * radius)
        found.values |= dict(zip(("near_x", "near_y", "near_z"), near.tolist(), strict=True))
    if query.box is not None:
        found.add(_in_box(found, "box", np.asarray(query.box, dtype=float)))


def squared() -> str:
    """The squared distance [m^2] from %(near_x)s ...; only for what is nearer than `HUGE`."""
    return " + ".join(f"({a} - %(near_{a})s::float8) * ({a} - %(near_{a})s::float8)" for a in "xyz")


def _in_box(found: Conditions, name: str, box: np.ndarray) -> str:
    """A condition; the index, which knows x and y, is asked for a little more."""
    for axis, low, high in zip("xyz", *box.tolist(), strict=True):
        found.values |= {f"{name}_{axis}0": low, f"{name}_{axis}1": high}
    low_xy, high_xy = np.clip(box[0, :2], -FAR, FAR), np.clip(box[1, :2], -FAR, FAR)
    if (low_xy <= high_xy).all():
        corners = np.concatenate([low_xy - 1e-5 - 1e-6 * np.abs(low_xy), high_xy + 1e-5 + 1e-6 * np.abs(high_xy)])
        around_it = f"box(point(%({name}_a)s, %({name}_b)s), point(%({name}_c)s, %({name}_d)s))"
        values = dict(zip((f"{name}_{i}" for i in "abcd"), corners.tolist(), strict=True))
        found.add(f"x IS NOT NULL AND {POINT} <@ {around_it}", **values)
    return " AND ".join(f"{a} BETWEEN %({name}_{a}0)s AND %({name}_{a}1)s" for a in "xyz")


def _add_belief(found: Conditions, as_of: float | None, db: Database) -> None:
    """Leave out what is hidden now, or was hidden then."""
    if as_of is None or is_present(db, float(as_of)):
        found.belief = "NOT EXISTS (SELECT 1 FROM hidden WHERE record_id = {0}.id)"
    else:
        found.belief = "{0}.id NOT IN (SELECT unnest(%(hidden)s::bigint[]))"
        found.values["hidden"] = sorted(hidden_as_of(db, float(as_of)))


def _add_view(found: Conditions, query: Query, db: Database) -> None:
    """What a camera sees is decided here, on all that passes the rest and lies in a box around the view."""
    if query.frustum is None:
        return
    frustum = checked(query.frustum)
    found.add(_in_box(found, "view", bounds(frustum)))
    rows = db.execute(f"SELECT id, x, y, z FROM records WHERE {found.where}", found.values).fetchall()
    points = np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 3)
    seen = [row[0] for row, is_seen in zip(rows, sees(frustum, points), strict=True) if is_seen]
    found.add("id = ANY(%(seen)s::bigint[])", seen=seen)
