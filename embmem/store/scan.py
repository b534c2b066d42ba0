"""Records from the pages of a file whose tables SQLite cannot walk any more.

Which table a page belongs to follows from the pages above it; where those are gone, from the form of its rows. Either
way a record counts only if its checksum holds over everything that was put together for it. Names are taken from the
tables and from their indexes, which hold them once more.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from embmem.records import Link
from embmem.store.audit import Found, make_row
from embmem.store.pages import Pages, Place, rows_of

N_COLUMNS = 16  # of `records`, checksum among them
_REALS = (2, 3, 6, 7, 8, 12, 13, 14)  # columns of `records` that SQLite may keep as whole numbers
MAX_TRIES = 4000  # combinations of what may belong to one record
# What rows of a form may be, where the page does not tell; all rows of a page are the same.
_MEANINGS = {"name": ("", "entities", "keys"), "link": ("", "links"), "content": ("", "vectors", "blobs")}
# Indexes that hold names and links once more, and tables without any.
_INDEXED = {
    "entities_by_record": "entities", "keys_by_record": "keys", "links_by_target": "links", "links_that_amend": "links",
}  # fmt: skip
_OTHERS = ("texts", "places", "hidden", "layer", "meta", "sqlite", "records_", "uses")


class _Slot(NamedTuple):
    """Rows of one form in one page."""

    page: int
    form: str


class _Pieces:
    """What may belong to one record."""

    def __init__(self) -> None:
        self.facts: list[Place] = []
        self.values: list[tuple[_Slot, Any, Any]] = []  # ..., what it says, and at what event time it does if known


def scan(path: Path, wanted: set[int] | None) -> Iterator[Found]:
    """Records that are in the pages of a damaged file, whole; of these ids only, or of any if None."""
    pages = Pages(path)
    try:
        pieces, meant = _collect(pages, wanted)
        # What was found out with the easy ones tells what the pages of the others mean.
        waiting = sorted(pieces, key=lambda i: (len({slot for slot, *_ in pieces[i].values if slot not in meant}), i))
        for _ in range(2):
            left = []
            for record_id in waiting:
                found = _put_together(pages, record_id, pieces[record_id], meant)
                if found is None:
                    left.append(record_id)
                else:
                    yield found
            waiting = left
    finally:
        pages.close()


def _collect(pages: Pages, wanted: set[int] | None) -> tuple[dict[int, _Pieces], dict[_Slot, str]]:
    """What there is by record, and what is known of the pages."""
    table_of = _tables(pages)
    pieces: dict[int, _Pieces] = {}
    meant: dict[_Slot, str] = {}
    for number, kind, place in rows_of(pages):
        table = table_of.get(number, "")
        row = None if table.startswith(_OTHERS) else pages.row(place, is_table=kind == "table")
        if row is None:
            continue
        if kind == "table" and len(row[1]) == N_COLUMNS:
            if wanted is None or row[0] in wanted:
                pieces.setdefault(row[0], _Pieces()).facts.append(place)
            continue
        for record_id, form, value, stamp in _readings(place, kind, *row):
            if table and _INDEXED.get(table, table) not in _MEANINGS[form]:
                continue
            if record_id >= 1 and (wanted is None or record_id in wanted):
                slot = _Slot(number, form)
                pieces.setdefault(record_id, _Pieces()).values.append((slot, value, stamp))
                if table:
                    meant[slot] = _INDEXED.get(table, table)
    return pieces, meant


def _readings(place: Place, kind: str, rowid: int, values: list[Any]) -> Iterator[tuple[int, str, Any, Any]]:
    """What a row may say: of which record, in which form, what, and at what event time."""
    types = [type(value) for value in values]
    if kind == "table":
        if types == [type(None), bytes]:
            yield rowid, "content", place, None
    elif types in ([str, int, int], [str, float, int]):
        yield values[2], "name", values[0], values[1]
    elif types == [int, str, float]:
        yield values[0], "name", values[1], values[2]
    elif types == [int, str, int]:
        first, text, last = values
        yield first, "name", text, last
        yield max(first, last), "link", Link(text, min(first, last)), None  # links go to what is earlier


def _tables(pages: Pages) -> dict[int, str]:
    """The table or index that each page belongs to, as far as the pages above it tell."""
    below = {number: pages.children(number) for number in range(1, pages.n_pages + 1)}
    roots = {}
    for _, kind, place in rows_of(pages):
        row = pages.row(place, is_table=True) if kind == "table" else None
        values = row[1] if row is not None else []
        if len(values) == 5 and values[0] in ("table", "index") and isinstance(values[3], int) and values[3] > 0:
            roots[values[3]] = str(values[1])
    table_of: dict[int, str] = {}
    for root, name in roots.items():
        waiting = [root]
        while waiting:
            number = waiting.pop()
            if number not in table_of and number <= pages.n_pages:
                table_of[number] = name
                waiting += below.get(number, [])
    return table_of


def _put_together(pages: Pages, record_id: int, pieces: _Pieces, meant: dict[_Slot, str]) -> Found | None:
    """The combination whose checksum holds; what it tells of pages is added to `meant`."""
    for facts in _facts(pages, record_id, pieces.facts):
        values = [(slot, value) for slot, value, stamp in pieces.values if stamp is None or stamp == facts[2]]
        unknown = sorted({slot for slot, _ in values if slot not in meant})
        choices = itertools.product(*(_MEANINGS[slot.form] for slot in unknown))
        for choice in itertools.islice(choices, MAX_TRIES):
            guess = dict(zip(unknown, choice, strict=True))
            parts = _parts(pages, values, {**guess, **{slot: meant[slot] for slot, _ in values if slot in meant}})
            if parts is not None and (found := make_row(facts, parts)).row is not None:
                meant |= guess
                return found
    return None


def _parts(pages: Pages, values: list[tuple[_Slot, Any]], means: dict[_Slot, str]) -> dict[str, Any] | None:
    """What `make_row` takes; None if a record would have two vectors or blobs."""
    sets: dict[str, set[Any]] = {}
    for slot, value in values:
        if means[slot]:
            sets.setdefault(means[slot], set()).add(value)
    parts: dict[str, Any] = {name: sorted(sets.get(name, ())) for name in ("entities", "keys", "links")}
    for name, table in (("vector", "vectors"), ("blob", "blobs")):
        places = sets.get(table, set())
        if len(places) > 1:
            return None
        for place in places:
            row = pages.row(place, is_table=True)
            parts[name] = None if row is None else row[1][1]
    return parts


def _facts(pages: Pages, record_id: int, places: list[Place]) -> Iterator[tuple[Any, ...]]:
    """The columns of `records`; a page that is free may hold an old copy."""
    for place in places:
        row = pages.row(place, is_table=True)
        if row is None:
            continue
        values = row[1]
        for column in _REALS:
            if type(values[column]) is int:
                values[column] = float(values[column])
        yield (record_id, *values[1:])
