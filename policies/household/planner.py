"""A deterministic planner for household tasks: parse the request, recall, go, look, take, put; else explore.

Without any model. It speaks the closed grammar of `embmem.policies.actions` and believes a memory only until it has
looked: every refusal of the world is answered by looking again, by another place, or by giving that part up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence

import numpy as np

from embmem.policies.actions import Ask, Close, Go, Look, Open, Outcome, Pick, Place, Route, Sight, Step, Stop
from embmem.policies.household.memory import (
    HouseholdMemory,
    Recollection,
    all_named,
    fits,
    in_room,
    is_called,
)
from embmem.policies.household.parse import If, Move, Request, Routine, Spot, Thing, noun_phrases, parse
from embmem.policies.world_state import WorldState, contents, write

TRIES = 3  # attempts to take one thing
_METRES = re.compile(r"^([\d.]+) m\b")

Acts = Generator[Step, Outcome, None]
Finds = Generator[Step, Outcome, "str | None"]
Lists = Generator[Step, Outcome, "list[str]"]


class RulePlanner:
    """Plans step by step (`embmem.policies.actions.StepPlanner`).

    What it sees during a task it knows until the task ends; what it knows at the next one is up to its memory.
    """

    def __init__(self, make_memory: Callable[[], Recollection], *, hands: int = 1) -> None:
        """A planner.

        Args:
            make_memory: a new memory, e.g. `partial(HouseholdMemory, short_term=20)`.
            hands: things that can be carried at a time.
        """
        self._make_memory, self.hands = make_memory, hands
        self.memory: Recollection
        self.reset(())

    def reset(self, rooms: Sequence[str], rng: np.random.Generator | None = None) -> None:
        """Arrive in a home with these rooms: forget everything. Nothing here is drawn, so `rng` is not used."""
        self.memory = self._make_memory()
        self.rooms = tuple(rooms)
        self.state = WorldState()

    def watch(self, sights: Sequence[Sight], tellings: Sequence[tuple[str, str]]) -> None:
        """A tour of the home, and what its people tell meanwhile."""
        if isinstance(self.memory, HouseholdMemory):
            self.memory.tour(sights, tellings)

    def begin(self, instruction: str) -> None:
        """Take a task; what was seen during the last one is forgotten, unless the memory kept it."""
        self.state = WorldState()
        self._looked: set[str] = set()  # receptacles of which the inside was seen, and rooms
        self._mentioned: list[str] = []  # things, in the order of mention
        self._acts = self._perform(parse(instruction))
        self._answer: Outcome | None = None
        self._is_first = True

    def next(self) -> Step:
        """The step to do now; `Stop` once everything is done or given up."""
        try:
            if self._is_first:
                self._is_first = False
                return next(self._acts)
            return self._acts.send(Outcome(False) if self._answer is None else self._answer)
        except StopIteration:
            return Stop("nothing is left to do")

    def notice(self, step: Step, outcome: Outcome) -> None:
        """What came of a step, whoever decided it."""
        self._answer = outcome
        self.state = write(self.state, step, outcome)
        self._looked.update(outcome.seen.complete)
        self.memory.notice(step, outcome)
        if outcome.ok and outcome.seen.inside:
            self._looked.update(room for room in outcome.seen.inside.values() if room in self.rooms)

    def _perform(self, requests: Sequence[Request]) -> Acts:
        yield Look()
        for request in requests:
            if isinstance(request, Move):
                yield from self._move(request)
            elif isinstance(request, If):
                yield from self._decide(request)
            else:
                yield from self._follow(request)

    def _decide(self, request: If) -> Acts:
        thing = yield from self._find(request.thing)
        if thing is None:
            return
        self._mention(thing)
        for move in request.then if self.state.states.get(thing) == request.state else request.otherwise:
            yield from self._move(move)

    def _follow(self, routine: Routine) -> Acts:
        """Do what was told under the name of the routine."""
        for text in self.memory.told(routine.phrase):
            moves = [request for request in parse(text) if isinstance(request, Move)]
            if moves:
                for move in moves:
                    yield from self._move(move)
                return
        yield Ask(f"I was not told what this takes: {routine.phrase}")

    def _move(self, move: Move) -> Acts:
        for_all = yield from self._meant(move)
        while for_all:
            taken: list[tuple[str, str | None]] = []  # with where it was taken from before
            while for_all and len(taken) < self.hands:
                name = yield from self._find(for_all.pop(0))
                origin = None if name is None else self.memory.origin(name)
                found = None if name is None else (yield from self._take(_exactly(name)))
                taken += [] if found is None else [(found, origin)]
            for name, origin in taken:
                target = yield from self._target(move.spot, origin)
                if target is not None:
                    yield from self._put(name, target)

    def _meant(self, move: Move) -> Generator[Step, Outcome, list[Thing]]:
        """The things of a move one by one."""
        meant: list[Thing] = []
        for thing in move.things:
            if thing.kind == "everything" and move.source is not None:
                source = yield from self._receptacle(move.source)
                if source is not None:
                    yield from self._look_into(source)
                    meant += [_exactly(name) for name in contents(self.state, source)]
            elif thing.kind == "it":
                plural = thing.phrase.lower() in ("them", "both")
                meant += [_exactly(name) for name in (self._mentioned if plural else self._mentioned[-1:])]
            elif thing.kind == "personal":
                meant += yield from self._personal(thing)
            else:
                meant.append(thing)
        return meant

    def _personal(self, thing: Thing) -> Generator[Step, Outcome, list[Thing]]:
        """What a phrase of the user's own stands for, by what was told; else any thing of that name."""
        is_many = thing.words[:1] == ("everything",) or "need" in thing.words
        for text in self.memory.told(thing.phrase):
            named = [words for words in noun_phrases(text) if len(words) > 1]
            if is_many and named:
                return [Thing("named", words, " ".join(words)) for words in named]
            heads = _heads(thing.words)
            best = next((words for head in heads for words in named if words[-len(head) :] == head), None)
            if best is not None:
                return [Thing("named", best, " ".join(best))]
        yield Ask(f"I was not told which one this is: {thing.phrase}")
        return [Thing("named", _heads(thing.words)[-1], thing.phrase)]

    def _take(self, thing: Thing) -> Finds:
        """Have a thing in the hand; its name, or None if it is not to be had."""
        for _ in range(TRIES):
            name = yield from self._find(thing)
            if name is None:
                return None
            self._mention(name)
            if name in self.state.held:
                return name
            yield from self._look_into(self.state.inside[name])
            if name not in self.state.inside:
                continue
            outcome = yield Pick(name)
            if outcome.ok:
                return name
            if not outcome.reason.startswith(("not in sight", "too far", "closed")):
                return None
        return None

    def _put(self, thing: str, receptacle: str) -> Acts:
        """Lay a thing down there; a door that was opened for it is closed again."""
        if self.state.at != receptacle:
            yield Go(receptacle)
        was_shut = not self.state.is_open.get(receptacle, True)
        if was_shut:
            yield Open(receptacle)
        outcome = yield Place(thing, receptacle)
        if outcome.ok and receptacle in self.state.is_open:
            yield Close(receptacle)

    def _target(self, spot: Spot, origin: str | None) -> Finds:
        """The receptacle that a spot means; `origin` is where the thing was taken from before."""
        if spot.is_back:
            if origin is None:
                yield Ask("Where was it?")
            return origin
        if spot.beside is not None:
            other = yield from self._find(spot.beside)
            return None if other is None else self.state.inside.get(other)
        found = yield from self._receptacle(spot)
        return found

    def _receptacle(self, spot: Spot) -> Finds:
        """The nearest receptacle that the words call for; if none is known, rooms are looked at until there is one."""
        while True:
            known = [
                name
                for name, where in self.state.inside.items()
                if where in self.rooms and fits(name, spot.words) and in_room(where, spot.room)
            ]
            known = known or all_named(self.memory, spot.words, spot.room)
            if known:
                nearest = yield from self._by_distance(known)
                return nearest[0]
            rooms = [room for room in self.rooms if room not in self._looked and in_room(room, spot.room)]
            if not rooms:
                return None
            nearest = yield from self._by_distance(rooms)
            yield Go(nearest[0])
            self._looked.add(nearest[0])

    def _find(self, thing: Thing) -> Finds:
        """The name of a thing that is in sight or in the hand by now; None if it is nowhere."""
        while True:
            name = self._in_sight(thing)
            if name is not None:
                return name
            place = yield from self._next_place(thing)
            if place is None:
                return None
            if place in self.rooms:
                yield Go(place)
            else:
                yield from self._look_into(place)
            self._looked.add(place)

    def _in_sight(self, thing: Thing) -> str | None:
        named = [*self.state.held, *(name for name, where in self.state.inside.items() if where not in self.rooms)]
        return next((name for name in named if self._is_meant(name, thing)), None)

    def _is_meant(self, name: str, thing: Thing) -> bool:
        if thing.kind == "it":
            return bool(self._mentioned) and name == self._mentioned[-1]
        if thing.kind == "exact":
            return name == thing.phrase
        words = thing.words
        if thing.kind == "other":
            words = words or tuple(self._mentioned[-1].split("_")[1:] if self._mentioned else ())
            if name in self._mentioned:
                return False
        return is_called(name, words)

    def _next_place(self, thing: Thing) -> Finds:
        """Where to look: where memory has it, then rooms that were not seen, then behind doors; the nearest first."""
        words = tuple(thing.phrase.split("_")) if thing.kind == "exact" else thing.words
        guesses = [g for g in self.memory.where(words) if g.receptacle not in self._looked] if words else []
        guesses = [g for g in guesses if self._is_meant(g.thing, thing)]
        if guesses:
            return guesses[0].receptacle
        rooms = [room for room in self.rooms if room not in self._looked]
        shut = [name for name, is_open in self.state.is_open.items() if not is_open and name not in self._looked]
        for places in (rooms, shut):
            if places:
                nearest = yield from self._by_distance(places)
                return nearest[0]
        return None

    def _look_into(self, receptacle: str) -> Acts:
        """Stand at a receptacle with its door open, if it has one."""
        if self.state.at != receptacle:
            yield Go(receptacle)
        if not self.state.is_open.get(receptacle, True):
            yield Open(receptacle)

    def _by_distance(self, places: Sequence[str]) -> Lists:
        """Places, the nearest first; the way is asked for, which costs nothing."""
        if len(places) < 2:
            return list(places)
        metres: dict[str, float] = {}
        for place in places:
            outcome = yield Route(place)
            match = _METRES.match(outcome.reason)
            metres[place] = float(match[1]) if outcome.ok and match else float("inf")
        return sorted(metres, key=lambda place: (metres[place], place))

    def _mention(self, name: str) -> None:
        self._mentioned = [*(other for other in self._mentioned if other != name), name]


def _exactly(name: str) -> Thing:
    return Thing("exact", (), name)


def _heads(words: Sequence[str]) -> list[tuple[str, ...]]:
    """What the noun of a phrase may be, longest first: of "favourite water bottle", not of what comes after "that"."""
    end = next((i for i, word in enumerate(words) if word in ("that", "which", "from", "for", "i", "my")), len(words))
    noun = tuple(words[:end]) or tuple(words)
    return [noun[i:] for i in range(len(noun))]
