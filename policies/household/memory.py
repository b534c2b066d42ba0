"""What a household robot remembers: the day in a small short-term memory, the home and what it was told in a long one.

After KARMA (Wang et al., 2024): the long-term memory is what a tour of the home showed, a scene graph of rooms,
furniture and things, as facts on two clocks; the short-term memory holds the few things that are elsewhere by now. What
leaves the short-term memory is consolidated into the long-term one. Either can be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from embmem.facts import FactMemory, Statement
from embmem.policies.actions import Outcome, Pick, Sight, Step
from embmem.policies.household.told import Encode, Told
from embmem.records import Hit, Record
from embmem.search.context import render_context
from embmem.short_term.eviction import Lru
from embmem.short_term.memory import ShortTermMemory
from embmem.store import RecordStore

IN = "in"  # the predicate of a thing and its receptacle, and of a receptacle and its room
NOWHERE = ""  # where a thing is that was looked for in vain
KIND = "thing"
HOME = "home"
BUDGET = 400  # tokens of one answer


class Guess(NamedTuple):
    """Where a thing may be."""

    thing: str
    receptacle: str
    stamp: float  # when it was seen there


@runtime_checkable
class Recollection(Protocol):
    """What a planner asks; names are those of the world."""

    n_tokens: int  # handed out so far, as a language model would have to read it

    def where(self, words: Sequence[str]) -> list[Guess]:
        """Things that the words call for (`is_called`), and where they may be, likeliest first."""

    def receptacles(self) -> dict[str, str]:
        """Receptacles that are known, and their rooms."""

    def origin(self, thing: str) -> str | None:
        """From where a thing was last taken."""

    def told(self, phrase: str) -> list[str]:
        """Texts that somebody told and that the phrase may refer to, likeliest first."""

    def notice(self, step: Step, outcome: Outcome) -> None:
        """What came of a step."""


class HouseholdMemory:
    """Short-term and long-term memory of one robot in one home."""

    def __init__(self, *, short_term: int = 20, long_term: bool = True, encode: Encode | None = None) -> None:
        """An empty memory.

        Args:
            short_term: things that the short-term memory holds; 0: there is none.
            long_term: whether the tour, and what was told, is remembered.
            encode: texts to vectors, for what was told; by words alone if not given.
        """
        if short_term < 0:
            raise ValueError(f"the short-term memory holds 0 or more things, got {short_term}")
        self.short = ShortTermMemory(Lru(short_term)) if short_term else None
        self.facts = self._told = None
        if long_term:
            store = RecordStore()
            self.facts, self._told = FactMemory(store), Told(store, encode)
        self.n_tokens = 0
        self.stamp = 0.0  # [s] one action a second
        self._long: dict[str, str] = {}  # what the facts say now
        self._receptacles: dict[str, str] = {}

    def tour(self, sights: Sequence[Sight], tellings: Sequence[tuple[str, str]]) -> None:
        """See the home and hear what its people tell, (key, text) each; only a long-term memory keeps it."""
        if self.facts is not None and self._told is not None:
            for sight in sights:
                self._assert(dict(sight.inside))
            self._receptacles = {r: room for r, room in self._long.items() if room not in self._long}
            self._told.tell(tellings, home=HOME, stamp=self.stamp)
        self.stamp += 1.0

    def notice(self, step: Step, outcome: Outcome) -> None:
        """Take in what a step showed: what is elsewhere than the long-term memory has it, and what is missing."""
        self.stamp += 1.0
        if not outcome.ok or self.short is None:
            return
        sight = outcome.seen
        rooms = {name: room for name, room in sight.inside.items() if room not in sight.inside}
        if isinstance(step, Pick):
            self._put(step.object, NOWHERE, taken_from=self._last_place(step.object))
        for thing, where in sight.inside.items():
            if thing not in rooms and (thing in self.short or self._long.get(thing) != where):
                self._put(thing, where, room=rooms.get(where, ""))
        for guess in self._known():
            if guess.receptacle in sight.complete and guess.thing not in sight.inside:
                self._put(guess.thing, NOWHERE)

    def where(self, words: Sequence[str]) -> list[Guess]:
        """The newest place of each thing that fits; of two memories the short-term one is right."""
        hits = self.things(words)
        self._charge(hits)
        found = [Guess(str(h.entity), h.record.place or NOWHERE, h.stamp) for h in hits if h.record is not None]
        here = [guess for guess in found if guess.receptacle != NOWHERE]
        return sorted(here, key=lambda guess: (-guess.stamp, guess.thing))

    def things(self, words: Sequence[str]) -> list[Hit]:
        """What is remembered of the things that the words call for, NOWHERE included."""
        hits: list[Hit] = []
        for thing in [guess.thing for guess in self._known() if is_called(guess.thing, words)]:
            entry = None if self.short is None else self.short.get(thing)  # counts as a read
            record = self._from_facts(thing) if entry is None else entry.record
            hits.append(Hit(1.0, "name", "household", record.t_event, entity=thing, record=record))
        return hits

    def receptacles(self) -> dict[str, str]:
        """Those of the tour, and those that a thing of the short-term memory was seen on."""
        known = dict(self._receptacles)
        for entry in [] if self.short is None else self.short.entries():
            if entry.record.place:
                known.setdefault(entry.record.place, str(entry.record.payload["room"]))
        return known

    def origin(self, thing: str) -> str | None:
        """From the short-term memory; else where the long-term one has it."""
        entry = None if self.short is None else self.short.get(thing)
        taken_from = None if entry is None else entry.record.payload.get("taken_from")
        return str(taken_from) if taken_from else self._long.get(thing)

    def told(self, phrase: str) -> list[str]:
        """The three tellings that fit best."""
        hits = self.tellings(phrase)
        self._charge(hits)
        return [hit.record.text for hit in hits if hit.record is not None]

    def tellings(self, phrase: str) -> list[Hit]:
        """What somebody told that the phrase may refer to."""
        return [] if self._told is None else self._told.recall_parts([phrase], home=HOME, k=3)

    def _charge(self, hits: list[Hit]) -> None:
        if hits:
            self.n_tokens += render_context(hits, budget_tokens=BUDGET, now=self.stamp).n_tokens

    def _known(self) -> list[Guess]:
        """Every thing with its newest place, NOWHERE if it is known not to be where it was."""
        known = {thing: Guess(thing, where, 0.0) for thing, where in self._long.items() if where in self._long}
        for entry in [] if self.short is None else self.short.entries():
            known[entry.key] = Guess(entry.key, entry.record.place or NOWHERE, entry.record.t_event)
        return list(known.values())

    def _from_facts(self, thing: str) -> Record:
        """What the long-term memory says of a thing that it knows."""
        fact = [] if self.facts is None else self.facts.facts(thing, IN)
        where, stamp = (fact[-1].object or NOWHERE, fact[-1].valid_at) if fact else (NOWHERE, 0.0)
        return self._record(Guess(thing, where, stamp))

    def _last_place(self, thing: str) -> str:
        entry = None if self.short is None else self.short.get(thing, is_read=False)
        return self._long.get(thing, NOWHERE) if entry is None else entry.record.place or NOWHERE

    def _record(self, guess: Guess, *, room: str = "", taken_from: str = "") -> Record:
        payload = {"room": room, "taken_from": taken_from}
        words = f"{guess.thing} in {guess.receptacle}" if guess.receptacle else f"{guess.thing} was carried away"
        return Record(
            kind=KIND, t_event=guess.stamp, source="robot", place=guess.receptacle or None, entities=(guess.thing,),
            keys=(guess.thing,), text=words, payload=payload,
        )  # fmt: skip

    def _put(self, thing: str, where: str, *, room: str = "", taken_from: str = "") -> None:
        """A sighting, into the short-term memory; what leaves it for that is consolidated."""
        if self.short is None:
            return
        before = self.short.get(thing, is_read=False)
        if not taken_from and before is not None:
            taken_from = str(before.record.payload["taken_from"])
        record = self._record(Guess(thing, where, self.stamp), room=room, taken_from=taken_from)
        for entry in self.short.put(thing, record):
            if self.facts is not None and entry.record.place and entry.record.place in self._receptacles:
                self._assert({entry.key: entry.record.place})

    def _assert(self, inside: dict[str, str]) -> None:
        """Facts that are new, into the long-term memory."""
        new = {name: where for name, where in inside.items() if self._long.get(name) != where}
        if self.facts is not None and new:
            self.facts.write_all(Statement(name, IN, where, valid_at=self.stamp) for name, where in new.items())
            self._long |= new


def is_called(thing: str, words: Sequence[str]) -> bool:
    """Whether words call for a thing: `red_water_bottle` is a "red water bottle" and a "water bottle"."""
    parts = thing.split("_")
    return bool(words) and list(words) in (parts, parts[1:])


def all_named(recollection: Recollection, words: Sequence[str], room: Sequence[str]) -> list[str]:
    """Receptacles of the memory whose names have the words, in a kind of room if one is given."""
    return [name for name, where in recollection.receptacles().items() if fits(name, words) and in_room(where, room)]


def fits(name: str, words: Sequence[str]) -> bool:
    """Whether a receptacle or room is one that the words call for, `coffee_table_2` for ("coffee", "table")."""
    stem = name.rsplit("_", 1)[0] if name[-1:].isdigit() else name
    return stem == "_".join(words)


def in_room(room: str, words: Sequence[str]) -> bool:
    """Whether a room is of the kind, any if none is given."""
    return not words or fits(room, words)
