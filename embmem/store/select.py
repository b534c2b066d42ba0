"""A query as conditions over the table `records`: what each asks of a row, and which index knows the rows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embmem.records import Frustum, Query
from embmem.store.frustum import bounds, checked
from embmem.store.hidden import hidden_as_of, is_present
from embmem.store.schema import Connection

MAX_WORDS = 64  # different words of a text that are looked for
_IN_BOX = """places.x1 >= :{0}_x0 AND places.x0 <= :{0}_x1 AND places.y1 >= :{0}_y0 AND places.y0 <= :{0}_y1
    AND places.z1 >= :{0}_z0 AND places.z0 <= :{0}_z1"""
# Neighbours of some records over links in both directions, {0} = of those that were known.
_STEP = """SELECT target FROM links {0} WHERE record_id IN (SELECT value FROM json_each(:some))
    UNION SELECT record_id FROM links {0} WHERE target IN (SELECT value FROM json_each(:some))"""


@dataclass(frozen=True)
class Source:
    """An index that knows which records pass a term, without a look at their rows."""

    table: str
    where: str
    id: str  # column
    time: str | None = None  # column of the event time in whose order it can be read
    is_exact: bool = True  # False: what it names must still be checked

    def ids(self) -> str:
        """SELECT of the ids."""
        return f"SELECT {self.id} FROM {self.table} WHERE {self.where}"


@dataclass(frozen=True)
class Term:
    """One condition: `check` is over a row of `records`."""

    name: str
    check: str
    source: Source | None = None


@dataclass
class Conditions:
    """Terms that are joined by AND, the values that they name, and what SQL cannot say."""

    terms: list[Term] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    frustum: Frustum | None = None  # its box is among the terms; what is in it must still be tested
    hops: dict[int, int] = field(default_factory=dict)  # links away from `linked_to`, by id

    def add(self, name: str, check: str, source: Source | None = None, /, **values: Any) -> None:
        """One more term."""
        self.terms.append(Term(name, check, source))
        self.values |= values

    def without(self, name: str) -> Conditions:
        """Without the term of that name."""
        return Conditions([t for t in self.terms if t.name != name], self.values, self.frustum, self.hops)


def conditions(query: Query, db: Connection) -> Conditions:
    """What a record must hold to match every filter of the query; of `text`, any word.

    What was believed as of an earlier time is looked up in `db`; the conditions are for the state that it sees.

    Raises:
        ValueError: if the query asks for nothing that can be, such as a negative radius.
    """
    check_query(query)
    found = Conditions()
    in_time = _add_event_time(found, query)
    for name in ("kind", "place", "source"):
        value = getattr(query, name)
        if value is not None:
            index = f"records AS by_{name} INDEXED BY records_by_{name}"
            where = f"by_{name}.{name} = :{name}" + in_time.format(f"by_{name}")
            source = Source(index, where, f"by_{name}.id", f"by_{name}.t_event")
            found.add(name, f"records.{name} = :{name}", source, **{name: value})
    if query.entity is not None:
        _add_named(found, ("entities", "name", "entity"), query.entity, in_time)
    if query.key is not None:
        _add_named(found, ("keys", "key", "key"), query.key, in_time)
    if query.linked_to is not None:
        found.hops = around(db, query.linked_to, query.hops, query.as_of)
        source = Source("json_each(:around) AS linked", "1", "linked.value")
        check = "records.id IN (SELECT value FROM json_each(:around))"
        found.add("links", check, source, around=json.dumps(sorted(found.hops)))
    if query.text is not None:
        source = Source("texts", "texts MATCH :match", "texts.rowid")
        check = "records.id IN (SELECT rowid FROM texts WHERE texts MATCH :match)"
        found.add("text", check, source, match=match_expression(query.text))
    _add_other_times(found, query)
    _add_space(found, query)
    if query.min_confidence > 0:
        found.add("confidence", "records.confidence >= :min_confidence", min_confidence=float(query.min_confidence))
    if not query.with_hidden:
        _add_belief(found, query.as_of, db)
    return found


def words_of(text: str) -> list[str]:
    """The different words of a text, the first `MAX_WORDS` of them."""
    return list(dict.fromkeys(word.casefold() for word in re.findall(r"[^\W_]+", text)))[:MAX_WORDS]


def match_expression(text: str) -> str:
    """Any of the words, in the language of FTS5; every word is quoted, so that none of them is an operator."""
    return any_of(words_of(text))


def any_of(words: list[str]) -> str:
    """Any of these words; nothing matches where there are none."""
    return " OR ".join(f'"{word}"' for word in words) or '""'


def around(db: Connection, start: int, hops: int, as_of: float | None) -> dict[int, int]:
    """Records by how many links they are away from one, itself included; over links that were known as of a time."""
    known = "" if as_of is None else "JOIN records ON records.id = links.record_id AND records.t_ingest <= :as_of"
    found, edge = {start: 0}, [start]
    for hop in range(1, hops + 1):
        step = {"some": json.dumps(edge)} | ({} if as_of is None else {"as_of": float(as_of)})
        edge = [row[0] for row in db.execute(_STEP.format(known), step) if row[0] not in found]
        if not edge:
            break
        found |= dict.fromkeys(edge, hop)
    return found


def check_query(query: Query) -> None:
    if query.near is not None and (np.shape(query.near) != (3,) or not np.isfinite(query.near).all()):
        raise ValueError(f"near must be three finite coordinates, got {query.near}")
    if query.box is not None and (np.shape(query.box) != (2, 3) or np.isnan(query.box).any()):
        raise ValueError(f"box must be its lowest and its highest corner, (2, 3), got {query.box}")
    for name in ("since", "until", "ingested_since", "as_of", "valid_at", "min_confidence", "min_similarity"):
        value = getattr(query, name)
        if value is not None and np.isnan(value):
            raise ValueError(f"{name} is not a number")
    if not query.radius >= 0.0 or query.k < 0 or query.hops < 0:
        raise ValueError(f"need radius >= 0, k >= 0, hops >= 0, got {query.radius}, {query.k}, {query.hops}")


def _add_event_time(found: Conditions, query: Query) -> str:
    """Conditions on the event time, for the indexes that hold it: a format of the table's name."""
    bounds = {"since": (query.since, ">="), "until": (query.until, "<")}
    asked = {name: sign for name, (value, sign) in bounds.items() if np.isfinite(value)}
    if query.since == np.inf or query.until == -np.inf:
        found.add("never", "0")
    if not asked:
        return ""
    in_time = "".join(f" AND {{0}}.t_event {sign} :{name}" for name, sign in asked.items())
    where = in_time.format("by_event")[len(" AND ") :]
    source = Source("records AS by_event INDEXED BY records_by_event", where, "by_event.id", "by_event.t_event")
    values = {name: float(bounds[name][0]) for name in asked}
    found.add("time", in_time.format("records")[len(" AND ") :], source, **values)
    return in_time


def _add_named(found: Conditions, names: tuple[str, str, str], value: str, in_time: str) -> None:
    table, column, name = names
    source = Source(table, f"{table}.{column} = :{name}{in_time.format(table)}", f"{table}.record_id",
                    f"{table}.t_event")  # fmt: skip
    check = (
        f"EXISTS (SELECT 1 FROM {table} AS own WHERE own.{column} = :{name} AND own.t_event = records.t_event"
        " AND own.record_id = records.id)"
    )
    found.add(name, check, source, **{name: value})


def _add_other_times(found: Conditions, query: Query) -> None:
    ingest = []
    if query.ingested_since > -np.inf:
        ingest.append("{0}.t_ingest >= :ingested_since")
        found.values["ingested_since"] = float(query.ingested_since)
    if query.as_of is not None:
        ingest.append("{0}.t_ingest <= :as_of")
        found.values["as_of"] = float(query.as_of)
    if ingest:
        where = " AND ".join(ingest)
        table = "records AS by_ingest INDEXED BY records_by_ingest"
        found.add("ingest", where.format("records"), Source(table, where.format("by_ingest"), "by_ingest.id"))
    if query.valid_at is not None:
        check = "records.valid_from <= :valid_at AND :valid_at < records.valid_to"
        found.add("validity", check, valid_at=float(query.valid_at))


def _add_space(found: Conditions, query: Query) -> None:
    """Where a place is asked for, a record without one is outside."""
    if query.near is not None:
        check = "records.x IS NOT NULL"
        source = None
        if query.radius < np.inf:
            near = np.asarray(query.near, dtype=float)
            found.values |= dict(zip(("near_x", "near_y", "near_z"), near.tolist(), strict=True))
            found.values["radius"] = float(query.radius)
            check = " + ".join(f"(records.{a} - :near_{a}) * (records.{a} - :near_{a})" for a in "xyz")
            check += " <= :radius * :radius"
            reach = query.radius * (1.0 + 1e-12) + 1e-12 * float(np.abs(near).max())
            source = _box_source(found, "ball", np.stack([near - reach, near + reach]))
        found.add("ball", check, source)
    if query.box is not None:
        _add_box(found, "box", np.asarray(query.box, dtype=float))
    if query.frustum is not None:
        found.frustum = checked(query.frustum)
        _add_box(found, "view", bounds(query.frustum))


def _add_box(found: Conditions, name: str, box: np.ndarray) -> None:
    source = _box_source(found, name, box)
    check = " AND ".join(f"records.{axis} BETWEEN :{name}_{axis}0 AND :{name}_{axis}1" for axis in "xyz")
    found.add(name, check, source)


def _box_source(found: Conditions, name: str, box: np.ndarray) -> Source:
    """The R*Tree keeps float32, rounded outwards: it finds at least what is in the box."""
    for axis, low, high in zip("xyz", *box.tolist(), strict=True):
        found.values |= {f"{name}_{axis}0": low, f"{name}_{axis}1": high}
    return Source("places", _IN_BOX.format(name), "places.id", is_exact=False)


def _add_belief(found: Conditions, as_of: float | None, db: Connection) -> None:
    """Leave out what is hidden now, or was hidden then."""
    if as_of is None or is_present(db, as_of):
        found.add("belief", "records.id NOT IN (SELECT record_id FROM hidden)")
    else:
        ids = json.dumps(sorted(hidden_as_of(db, as_of)))
        found.add("belief", "records.id NOT IN (SELECT value FROM json_each(:hidden))", hidden=ids)
