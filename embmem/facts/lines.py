"""Rows in the order of event time, and the search for one among them that was believed at some time."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from embmem.facts.belief import Spell, spell_at

_NEAR = 32  # rows that are looked at one by one before whole chunks are
_CHUNK = 4096
RETRACTION, ASSERTION, ONE_OF_MANY = 0, 1, 2


class Said(NamedTuple):
    """A statement as the index takes it."""

    id: int
    subject: str
    predicate: str
    what: str
    kind: int
    start: float
    end: float
    created: float
    source: str
    confidence: float


class Columns:
    """One row a statement, in the order of arrival. Names are numbers here."""

    def __init__(self) -> None:
        self.ids, self.starts, self.ends = array("q"), array("d"), array("d")
        self.created = array("d")  # NaN: look at `spells`
        self.confidences = array("d")
        self.subjects, self.predicates, self.whats, self.sources = array("q"), array("q"), array("q"), array("q")
        self.kinds = bytearray()
        self.spells: dict[int, tuple[Spell, ...]] = {}  # of rows that were hidden at some time
        self.names: list[str] = [""]
        self._codes: dict[str, int] = {"": 0}

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, said: Said) -> int:
        """Take a statement; returns its row."""
        self.ids.append(said.id)
        self.starts.append(said.start)
        self.ends.append(said.end)
        self.created.append(said.created)
        self.confidences.append(said.confidence)
        self.subjects.append(self.code(said.subject))
        self.predicates.append(self.code(said.predicate))
        self.whats.append(self.code(said.what))
        self.sources.append(self.code(said.source))
        self.kinds.append(said.kind)
        return len(self.ids) - 1

    def code(self, name: str) -> int:
        """The number of a name."""
        found = self._codes.get(name)
        if found is None:
            found = self._codes[name] = len(self.names)
            self.names.append(name)
        return found

    def known(self, name: str | None) -> int:
        """The number of a name: 0 of none, -1 of one that was never used."""
        return 0 if name is None else self._codes.get(name, 0) or -1

    def key(self, row: int) -> tuple[Any, ...]:
        """What puts statements in order: the later one of two that contradict each other is right.

        Of those at the same time the more confident is, then the one whose source comes later in the alphabet, then
        the one that says that something holds, then the later text. Ids decide between repetitions only, so that the
        order of arrival does not matter.
        """
        names = self.names
        return (
            self.starts[row], self.confidences[row], names[self.sources[row]], self.kinds[row],
            names[self.whats[row]], self.ends[row], self.ids[row],
        )  # fmt: skip

    def spell(self, row: int, t: float) -> Spell | None:
        """The belief time around `t` in which a row is believed; None if it is not believed then."""
        created = self.created[row]
        if not math.isnan(created):
            return (created, math.inf) if created <= t else None
        return spell_at(self.spells[row], t)

    def all_spells(self, row: int) -> tuple[Spell, ...]:
        """Every time in which a row is believed."""
        created = self.created[row]
        return self.spells[row] if math.isnan(created) else ((created, math.inf),)


class Line:
    """Some rows by `Columns.key`."""

    __slots__ = ("rows", "times")

    def __init__(self) -> None:
        self.times, self.rows = array("d"), array("q")

    def add(self, row: int, columns: Columns) -> int:
        """Put a row where it belongs; returns its position."""
        at = self.after(row, columns)
        self.times.insert(at, columns.starts[row])
        self.rows.insert(at, row)
        return at

    def add_all(self, rows: Iterable[int], columns: Columns) -> None:
        """Put many rows where they belong, in the time that it takes to sort all."""
        starts = columns.starts
        order = sorted([*self.rows, *rows], key=starts.__getitem__)
        if any(starts[a] == starts[b] for a, b in pairwise(order)):
            order.sort(key=columns.key)
        self.rows, self.times = array("q", order), array("d", map(starts.__getitem__, order))

    def after(self, row: int, columns: Columns) -> int:
        """The position of the first that comes after a row, which need not be of this line."""
        time = columns.starts[row]
        high = bisect_right(self.times, time)
        if high == 0 or self.times[high - 1] < time:
            return high
        low = bisect_left(self.times, time, 0, high)
        return bisect_right(self.rows, columns.key(row), low, high, key=columns.key)

    def last_believed(self, end: int, t: float, columns: Columns) -> int | None:
        """The position of the last row before `end` that is believed at a belief time."""
        for at in range(end - 1, max(end - 1 - _NEAR, -1), -1):
            row = self.rows[at]
            if columns.created[row] <= t or columns.spell(row, t) is not None:
                return at
        for high in range(end - _NEAR, 0, -_CHUNK):
            low = max(high - _CHUNK, 0)
            found = self._believed(low, high, t, columns, last=True)
            if found is not None:
                return found
        return None

    def first_believed(self, start: int, t: float, columns: Columns) -> int | None:
        """The position of the first row from `start` on that is believed at a belief time."""
        n = len(self.rows)
        for at in range(start, min(start + _NEAR, n)):
            row = self.rows[at]
            if columns.created[row] <= t or columns.spell(row, t) is not None:
                return at
        for low in range(start + _NEAR, n, _CHUNK):
            found = self._believed(low, min(low + _CHUNK, n), t, columns, last=False)
            if found is not None:
                return found
        return None

    def plain_version(self, at: int, t: float, columns: Columns) -> tuple[float, float, float] | None:
        """Where the interval at a position ends as believed at `t`, and from when to when just that is believed.

        None where it takes a closer look: something was hidden at some time, has the same stamp, or comes much later.
        """
        times, rows, created = self.times, self.rows, columns.created
        row = rows[at]
        begin, expired, end = created[row], math.inf, columns.ends[row]
        for i in range(at + 1, min(at + _NEAR, len(rows))):
            time, came = times[i], created[rows[i]]
            if time >= end:
                return end, begin, expired
            if math.isnan(came) or times[i - 1] == time:
                return None
            if came <= t:
                is_alone = i + 1 == len(rows) or times[i + 1] > time
                return (time, max(begin, came), expired) if is_alone else None
            expired = min(expired, came)
        return (end, begin, expired) if at + _NEAR >= len(rows) else None

    def narrowed(self, start: int, end: int, t: float, window: Spell, columns: Columns) -> Spell:
        """The part around `t` of a spell in which none of the rows, not believed at `t`, is believed."""
        a, b = window
        if end - start > _NEAR:
            created = self._created(start, end, columns)
            b = min(b, float(np.min(created, initial=b, where=created > t)))
            odd: Any = (start + np.flatnonzero(np.isnan(created))).tolist()
        else:
            odd = range(start, end)
        for at in odd:
            row = self.rows[at]
            created = columns.created[row]
            if created > t:
                b = min(b, created)
                continue
            for begin, end_of in columns.spells.get(row, ()):
                if begin > t:
                    b = min(b, begin)
                else:
                    a = max(a, end_of)
        return a, b

    def _created(self, start: int, end: int, columns: Columns) -> np.ndarray:
        """A copy: while a view is there the arrays cannot grow."""
        rows = np.frombuffer(self.rows, np.int64, end - start, 8 * start)
        return np.frombuffer(columns.created, np.float64)[rows]

    def _believed(self, low: int, high: int, t: float, columns: Columns, *, last: bool) -> int | None:
        created = self._created(low, high, columns)
        pick: Callable[[np.ndarray], np.ndarray] = (lambda a: a[::-1]) if last else (lambda a: a)
        for at in pick(low + np.flatnonzero((created <= t) | np.isnan(created))):
            if columns.spell(self.rows[int(at)], t) is not None:
                return int(at)
        return None
