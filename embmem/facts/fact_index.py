"""What holds when, as it is believed when: statements in RAM, each new one put in its place among its neighbours.

The rule: at any time the last statement that began decides (`Columns.key` says which of several at the same time).
What it says holds until its own end, until another assertion about the same begins, or until it is retracted. With a
single-valued predicate "about the same" is about the subject; where many may hold it is about the object as well.
Nothing comes back by itself: after a door was open from 3 to 5, it is not known what it is, whatever it was at 2.

An interval thus follows from the statements alone, whatever the order in which they came: one that comes late lies
between those that it belongs between, and ends at once where the next begins.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from embmem.facts.belief import Spell, spell_at, united
from embmem.facts.lines import ONE_OF_MANY, RETRACTION, Columns, Line, Said
from embmem.facts.statements import Fact, from_what

Key = tuple[int, int, int]  # subject, predicate, what; what = 0 for all that a single-valued predicate says
_MANY_NEW = 64  # statements that are worth a look at whether sorting is quicker


class FactIndex:
    """Statements by subject, predicate and event time."""

    def __init__(self) -> None:
        self.columns = Columns()
        self.invalid_at = array("d")  # by row, as believed now; NaN for what is not believed
        self._lines: dict[Key, Line] = {}  # assertions
        self._retractions: dict[Key, Line] = {}
        self._retracted: set[tuple[int, int]] = set()  # subjects and predicates that have retractions
        self._by_subject: dict[int, list[Key]] = {}
        self._by_predicate: dict[int, list[Key]] = {}
        self._by_what: dict[int, dict[Key, None]] = {}
        self._many: dict[tuple[int, int], list[Key]] = {}  # lines of subject and predicate where many may hold

    def add(self, said: Said) -> int:
        """Take a statement, and close what it contradicts; returns how many intervals that touched, its own too."""
        row = self.columns.append(said)
        self.invalid_at.append(math.nan)
        line = self._line_for(row)
        at = line.add(row, self.columns)
        if said.kind == RETRACTION or (self.columns.subjects[row], self.columns.predicates[row]) in self._retracted:
            return self._settle(row)
        return self._settle_at(line, at)

    def add_all(self, said: Sequence[Said]) -> None:
        """Take many statements: one by one, or by a full resolve where they are many beside those that are here."""
        if len(said) < max(_MANY_NEW, len(self.columns) // 8):
            for each in said:
                self.add(each)
            return
        new: dict[int, tuple[Line, list[int]]] = {}
        for each in said:
            row = self.columns.append(each)
            line = self._line_for(row)
            new.setdefault(id(line), (line, []))[1].append(row)
        self.invalid_at.extend([math.nan] * len(said))
        for line, rows in new.values():
            line.add_all(rows, self.columns)
        for key, line in self._lines.items():
            self._resolve(key, line)

    def set_spells(self, spells: dict[int, tuple[Spell, ...]], created: dict[int, float]) -> int:
        """Say of rows when they are believed, where that is not simply since they came; returns intervals touched.

        Args:
            spells: by row, of all that were hidden at some time.
            created: by row, of those that had spells and have none any more.
        """
        c, changed = self.columns, []
        for row in chain(spells, created):
            was = c.spell(row, math.inf) is not None
            c.created[row] = created.get(row, math.nan)
            c.spells.pop(row, None)
            if row in spells:
                c.spells[row] = spells[row]
            if was != (c.spell(row, math.inf) is not None):
                changed.append(row)
        return sum(self._settle(row) for row in changed)

    def holding(self, keys: Iterable[Key], event_time: float, belief_time: float) -> Iterator[Fact]:
        """What holds at an event time as believed at a belief time, one fact at most for each of some keys."""
        c = self.columns
        for key in keys:
            line = self._lines[key]
            at = line.last_believed(bisect_right(line.times, event_time), belief_time, c)
            if at is None:
                continue
            row = line.rows[at]
            end = self.invalid_at[row] if belief_time == math.inf else c.ends[row]
            if end <= event_time and end != math.inf:
                continue
            if belief_time != math.inf and self._retracted_until(row, event_time, belief_time):
                continue
            yield self._fact(row, self._version(row, line, at, belief_time))

    @property
    def n_lines(self) -> int:
        """How many things are kept apart that something is said about."""
        return len(self._lines)

    def versions(self, keys: Iterable[Key], belief_time: float | None = None) -> Iterator[Fact]:
        """All that was ever believed, fact by fact in event order, each as often as it changed; or only at a time."""
        c = self.columns
        for key in keys:
            line = self._lines[key]
            for at, row in enumerate(line.rows):
                if belief_time is None:
                    spells = c.all_spells(row)
                else:
                    spell = c.spell(row, belief_time)
                    spells = () if spell is None else ((belief_time, belief_time),)
                for start, end in spells:
                    t = start
                    while t < end or t == belief_time:
                        version = self._version(row, line, at, t)
                        if version[0] > c.starts[row]:
                            yield self._fact(row, version)
                        t = version[2] if belief_time is None else math.nan

    def keys(self, subject: str | None, predicate: str | None, what: str | None) -> list[Key]:
        """The lines in which something is said of a subject, with a predicate, about an object or value."""
        known = self.columns.known
        s, p, w = known(subject), known(predicate), known(what)
        if -1 in (s, p, w):
            return []
        if s and p and not w:
            one = [(s, p, 0)] if (s, p, 0) in self._lines else []
            return [*one, *self._many.get((s, p), ())]
        if s:
            found: Iterable[Key] = self._by_subject.get(s, ())
        elif w:
            found = self._by_what.get(w, ())
        else:
            found = self._by_predicate.get(p, ()) if p else self._lines
        return [key for key in found if (not p or key[1] == p) and (not w or key in self._by_what.get(w, ()))]

    def is_many(self, predicate: str) -> bool | None:
        """Whether many may hold beside each other; None if nothing was asserted with it."""
        lines = self._by_predicate.get(self.columns.known(predicate))
        return bool(lines[0][2]) if lines else None

    def _line_for(self, row: int) -> Line:
        c = self.columns
        s, p, w, kind = c.subjects[row], c.predicates[row], c.whats[row], c.kinds[row]
        if kind == RETRACTION:
            self._retracted.add((s, p))
            return self._retractions.setdefault((s, p, w), Line())
        key = (s, p, w if kind == ONE_OF_MANY else 0)
        self._by_what.setdefault(w, {})[key] = None
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line()
            self._by_subject.setdefault(s, []).append(key)
            self._by_predicate.setdefault(p, []).append(key)
            if kind == ONE_OF_MANY:
                self._many.setdefault((s, p), []).append(key)
        return line

    def _settle_at(self, line: Line, at: int) -> int:
        """What `_settle` does for a new assertion where nothing is retracted: only its neighbours matter."""
        c, row = self.columns, line.rows[at]
        following, before = line.first_believed(at + 1, math.inf, c), line.last_believed(at, math.inf, c)
        self.invalid_at[row] = c.ends[row] if following is None else min(c.ends[row], line.times[following])
        if before is None:
            return 1
        closed = line.rows[before]
        self.invalid_at[closed] = min(c.ends[closed], c.starts[row])
        return 2

    def _settle(self, row: int) -> int:
        """Bring the intervals up to date that a row bears on, after it came or went."""
        touched = [*self._before(row), *([row] if self.columns.kinds[row] != RETRACTION else [])]
        for each in touched:
            self.invalid_at[each] = self._now(each)
        return len(touched)

    def _resolve(self, key: Key, line: Line) -> None:
        """All intervals of a line anew."""
        c, ends = self.columns, self.columns.ends
        s, p, _ = key
        if (s, p) in self._retracted or (c.spells and any(row in c.spells for row in line.rows)):
            for row in line.rows:
                self.invalid_at[row] = self._now(row)
            return
        following = math.inf
        for row in reversed(line.rows):
            self.invalid_at[row] = min(ends[row], following)
            following = c.starts[row]

    def _before(self, row: int) -> Iterator[int]:
        """The assertions that hold just before a row as far as is believed now: those that it may close."""
        c = self.columns
        s, p, w, kind = c.subjects[row], c.predicates[row], c.whats[row], c.kinds[row]
        if kind != RETRACTION:
            keys = [(s, p, w if kind == ONE_OF_MANY else 0)]
        else:
            keys = [(s, p, 0), *([(s, p, w)] if w else self._many.get((s, p), ()))]
        for key in keys:
            line = self._lines.get(key)
            if line is not None:
                end = line.after(row, c) - (kind != RETRACTION)
                at = line.last_believed(end, math.inf, c)
                if at is not None:
                    yield line.rows[at]

    def _now(self, row: int) -> float:
        """Where a row's interval ends as believed now; NaN if it is not believed."""
        c = self.columns
        if c.spell(row, math.inf) is None:
            return math.nan
        line = self._lines[(c.subjects[row], c.predicates[row], c.whats[row] if c.kinds[row] == ONE_OF_MANY else 0)]
        return self._closed(row, self._rivals(row, (line, line.after(row, c))), math.inf)

    def _rivals(self, row: int, own: tuple[Line, int]) -> list[tuple[Line, int]]:
        """Lines that may close a row, and where in them what comes after it begins; `own` is the first of them."""
        c = self.columns
        s, p, w = c.subjects[row], c.predicates[row], c.whats[row]
        if (s, p) not in self._retracted:
            return [own]
        lines = (self._retractions.get((s, p, w)), self._retractions.get((s, p, 0)))
        return [own, *((line, line.after(row, c)) for line in lines if line is not None)]

    def _closed(self, row: int, rivals: Iterable[tuple[Line, int]], t: float) -> float:
        """Where a row's interval ends as believed at a time."""
        end = self.columns.ends[row]
        for line, start in rivals:
            at = line.first_believed(start, t, self.columns)
            if at is not None and line.times[at] < end:
                end = line.times[at]
        return end

    def _retracted_until(self, row: int, event_time: float, t: float) -> bool:
        """Whether a retraction between a row and an event time is believed at a time."""
        c = self.columns
        s, p, w = c.subjects[row], c.predicates[row], c.whats[row]
        if (s, p) not in self._retracted:
            return False
        for line in (self._retractions.get((s, p, w)), self._retractions.get((s, p, 0))):
            if line is not None:
                at = line.first_believed(line.after(row, c), t, c)
                if at is not None and line.times[at] <= event_time:
                    return True
        return False

    def _version(self, row: int, line: Line, at: int, t: float) -> tuple[float, float, float]:
        """Where a row's interval ends as believed at `t`, and from when to when just that is believed."""
        c = self.columns
        is_plain = not math.isnan(c.created[row]) and (c.subjects[row], c.predicates[row]) not in self._retracted
        plain = line.plain_version(at, t, c) if is_plain else None
        if plain is not None:
            return plain
        spell = c.spell(row, t)
        if spell is None:
            raise ValueError(f"record {c.ids[row]} is not believed at {t}")
        rivals = self._rivals(row, (line, at + 1))
        closed = self._closed(row, rivals, t)
        closing: list[Spell] = []
        for other, first in rivals:
            if first < len(other.times) and other.times[first] <= closed:
                low = bisect_left(other.times, closed, first)
                if low > first:
                    spell = other.narrowed(first, low, t, spell, c)
                high = bisect_right(other.times, closed, low)
                closing += [s for i in range(low, high) for s in c.all_spells(other.rows[i])]
        if closed < c.ends[row]:
            with_it = closing[0] if len(closing) == 1 else spell_at(united(closing), t) or spell
            spell = (max(spell[0], with_it[0]), min(spell[1], with_it[1]))
        return closed, *spell

    def _fact(self, row: int, version: tuple[float, float, float]) -> Fact:
        c = self.columns
        object, value = from_what(c.names[c.whats[row]])
        closed, created_at, expired_at = version
        return Fact(
            subject=c.names[c.subjects[row]], predicate=c.names[c.predicates[row]], object=object, value=value,
            valid_at=c.starts[row], invalid_at=closed, created_at=created_at, expired_at=expired_at,
            source=c.names[c.sources[row]], confidence=c.confidences[row], ids=(c.ids[row],),
        )  # fmt: skip
