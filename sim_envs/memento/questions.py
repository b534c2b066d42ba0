"""Days of MEMENTO's gold traces as logs, and questions about them whose truth is read off the traces themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from embmem.errors import InputError
from embmem.policies.household.past import HELD, TEMPLATES, Event, PastQuestion, Value
from embmem.sim_envs.memento.episodes import MementoEpisode
from embmem.sim_envs.memento.traces import Trace, TraceStep

ERRANDS = 3  # traces of a day


@dataclass(frozen=True)
class MementoDay:
    """Traces of one home, one after the other. Objects are numbered anew in each, so names carry the errand."""

    home: str
    traces: tuple[Trace, ...]

    def steps(self) -> Iterator[tuple[int, str, TraceStep]]:
        """(number in the day, errand, step)."""
        number = 0
        for trace in self.traces:
            for step in trace.steps:
                yield number, trace.episode, step
                number += 1


def days_of(traces: Sequence[Trace], episodes: Sequence[MementoEpisode], size: int = ERRANDS) -> list[MementoDay]:
    """Each home's traces in the order of their ids, `size` a day; a shorter rest is a day too.

    Raises:
        InputError: if there is no episode to a trace.
    """
    homes: dict[str, list[Trace]] = {}
    home_of = {episode.id: episode.home for episode in episodes}
    for trace in traces:
        if trace.episode not in home_of:
            raise InputError(f"no episode {trace.episode!r} belongs to the trace of that name; read both of one stage")
        homes.setdefault(home_of[trace.episode], []).append(trace)
    return [
        MementoDay(home, tuple(own[i : i + size]))
        for home, own in sorted(homes.items())
        for i in range(0, len(own), size)
    ]


def log_of(day: MementoDay) -> list[Event]:
    """What a robot writes down: each step, and of the objects only what is new or elsewhere."""
    log, known = list[Event](), dict[str, str]()
    for number, errand, step in day.steps():
        now = {_name(o, errand): _place(step, o) for o in step.objects}
        changed = {o: place for o, place in now.items() if known.get(o) != place}
        known |= changed
        arguments = tuple(_name(a, errand) if a in step.objects else a for a in step.arguments)
        log.append(Event(number, errand, step.action, arguments, step.ok, step.result, changed))
    return log


def table_of(day: MementoDay) -> dict[str, str]:
    """Where everything is at the end of the day."""
    return {_name(o, t.episode): _place(t.steps[-1], o) for t in day.traces if t.steps for o in t.steps[-1].objects}


def questions_of(day: MementoDay, rng: np.random.Generator) -> list[tuple[PastQuestion, Value]]:
    """One question of each template that the day allows, with the truth."""
    found = []
    for template in TEMPLATES:
        choices = list(_truths(day, template))
        if choices:
            found.append(choices[int(rng.integers(len(choices)))])
    return found


def _name(thing: str, errand: str) -> str:
    return f"{thing} of {errand}"


def _place(step: TraceStep, thing: str) -> str:
    place = step.objects[thing]
    return HELD if place.is_held else str(place)


def _truths(day: MementoDay, template: str) -> Iterator[tuple[PastQuestion, Value]]:
    """Every question of a template with its answer, from the traces."""
    all_picks = [(n, _name(s.arguments[0], e)) for n, e, s in day.steps() if s.action == "Pick" and s.ok]
    if template == "n_picked":
        yield PastQuestion(template), len(all_picks)
    if template == "nth_picked":
        yield from ((PastQuestion(template, n=i + 1), thing) for i, (_, thing) in enumerate(all_picks))
    if template == "picked_first":
        for (_, one), (_, two) in pairwise(all_picks):
            if one != two and all_picks[0][1] != two:
                first = min((n, t) for n, t in all_picks if t in (one, two))[1]
                yield PastQuestion(template, object=max(one, two), other=min(one, two)), first
    offset = 0
    for trace in day.traces:
        for question, truth in _of_trace(trace, template, offset):
            if truth not in ((), None):
                yield question, truth
        offset += len(trace.steps)


def _of_trace(trace: Trace, template: str, offset: int) -> Iterator[tuple[PastQuestion, Value]]:
    """Questions about one errand, or about one of its objects; steps are counted from `offset`."""
    errand, steps = trace.episode, trace.steps
    picks = [(i, s.arguments[0]) for i, s in enumerate(steps) if s.action == "Pick" and s.ok]
    rooms = [s.arguments[0] for s in steps if s.action == "Explore" and s.ok]
    named = tuple(_name(thing, errand) for _, thing in picks)
    about: Mapping[str, Value] = {
        "last_picked": named[-1] if named else (), "errand_steps": len(steps), "moved": tuple(sorted(set(named))),
        "failed": tuple(sorted({s.action for s in steps if not s.ok})), "pick_order": named,
        "room_order": tuple(r for i, r in enumerate(rooms) if i == 0 or rooms[i - 1] != r),
    }  # fmt: skip
    if template in about:
        yield PastQuestion(template, errand=errand), about[template]
    if template == "described_as":
        for s in steps:
            if s.action == "DescribeObjectTool" and "\n" in s.result:
                yield PastQuestion(template, text=s.result.split("\n", 1)[1]), _name(s.arguments[0], errand)
    if template == "picked_after_room":
        for room in dict.fromkeys(rooms):
            entered = next(i for i, s in enumerate(steps) if s.action == "Explore" and s.ok and s.arguments[0] == room)
            after = [_name(thing, errand) for i, thing in picks if i > entered]
            if after:
                yield PastQuestion(template, room=room, errand=errand), after[0]
    for thing in dict.fromkeys(t for s in steps for t in s.objects):
        truth = _of_object(trace, template, thing, offset)
        if truth is not None:
            yield PastQuestion(template, object=_name(thing, errand), errand=errand), truth


def _of_object(trace: Trace, template: str, thing: str, offset: int) -> Value | None:
    steps = trace.steps
    listed = [i for i, s in enumerate(steps) if thing in s.objects]
    picked = [i for i, s in enumerate(steps) if s.action == "Pick" and s.ok and s.arguments[0] == thing]
    placed = [i for i, s in enumerate(steps) if s.action == "Place" and s.ok and s.arguments[0] == thing]
    first = steps[listed[0]].objects[thing]
    if template == "where_is":
        return _place(steps[listed[-1]], thing)
    if template == "where_first":
        return _place(steps[listed[0]], thing)
    if template == "found_in":
        return first.room
    if template == "put_on" and placed:
        return steps[placed[-1]].arguments[2]
    if template == "step_of_pick" and picked:
        return offset + picked[0]
    if template == "step_of_place" and placed:
        return offset + placed[0]
    if template == "held_for" and picked:
        ends = [i for i in placed if i > picked[0]]
        return ends[0] - picked[0] if ends else None
    if template == "beside" and picked and picked[0] > 0 and thing in steps[picked[0] - 1].objects:
        before = steps[picked[0] - 1].objects
        return tuple(sorted(_name(o, trace.episode) for o, p in before.items() if p == before[thing] and o != thing))
    return None
