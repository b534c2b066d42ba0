"""Two rooms, four receptacles and a few things: a world small enough to reason about, and rules that tidy it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from embmem.policies.actions import Close, Go, Look, Open, Outcome, Pick, Place, Sight, Step, Stop
from embmem.policies.world_state import WorldState, write

ROOMS = {"table_1": "kitchen", "fridge_1": "kitchen", "shelf_1": "hall", "desk_1": "hall"}
THINGS = {"mug": "table_1", "milk": "fridge_1", "book": "shelf_1"}


class TinyHome:
    """The truth; what cannot be done changes nothing and says why."""

    def __init__(self, things: Mapping[str, str] = THINGS) -> None:
        self.on, self.is_open, self.at = dict(things), {"fridge_1": False}, "kitchen"
        self.held: str | None = None
        self.steps: list[Step] = []

    def sight(self) -> Sight:
        room = ROOMS.get(self.at, self.at)
        here = {name: r for name, r in ROOMS.items() if r == room}
        bare = tuple(name for name in here if self.is_open.get(name, True))
        things = {thing: where for thing, where in self.on.items() if where in bare}
        return Sight({**here, **things}, bare, {name: self.is_open[name] for name in here if name in self.is_open})

    def do(self, step: Step) -> Outcome:
        """Do a step."""
        self.steps.append(step)
        why = self._act(step)
        return Outcome(False, why) if why else Outcome(True, seen=self.sight())

    def _act(self, step: Step) -> str:
        if isinstance(step, Go):
            place = self.on.get(step.place, step.place)
            if place not in ROOMS and place not in ROOMS.values():
                return f"no such place: {step.place}"
            self.at = place
        elif isinstance(step, Pick):
            if self.held or self.on.get(step.object) != self.at or not self.is_open.get(self.at, True):
                return f"cannot take {step.object}"
            self.held = step.object
            del self.on[step.object]
        elif isinstance(step, Place):
            if self.held != step.object or step.receptacle != self.at or not self.is_open.get(self.at, True):
                return f"cannot put {step.object} there"
            self.on[step.object], self.held = step.receptacle, None
        elif isinstance(step, Open | Close):
            if step.receptacle != self.at or step.receptacle not in self.is_open:
                return f"no door at hand: {step.receptacle}"
            self.is_open[step.receptacle] = isinstance(step, Open)
        elif not isinstance(step, Look | Stop):
            return "nobody answers here"
        return ""


class TidyRules:
    """`put the THING into RECEPTACLE`, by rule, from whatever state somebody else left."""

    def __init__(self) -> None:
        self.state, self.task, self.n_asked = WorldState(), ("", ""), 0
        self.n_looks = 0

    def begin(self, instruction: str) -> None:
        """Take a task."""
        found = re.match(r"put the (\w+) (?:into|on) (\w+)", instruction)
        self.task, self.n_looks = (found[1], found[2]) if found else ("", ""), 0

    def notice(self, step: Step, outcome: Outcome) -> None:
        """Keep the state."""
        self.state = write(self.state, step, outcome)

    def next(self) -> Step:
        """The next step."""
        self.n_asked += 1
        thing, goal = self.task
        state = self.state
        if state.inside.get(thing) == goal or not thing:
            return Stop("done")
        target = goal if thing in state.held else state.inside.get(thing)
        if target is None:
            self.n_looks += 1
            closed = [name for name, is_open in sorted(state.is_open.items()) if not is_open]
            if closed and self.n_looks > 2:
                return Open(closed[0]) if state.at == closed[0] else Go(closed[0])
            return Go("hall" if self.n_looks % 2 else "kitchen") if self.n_looks < 8 else Stop("not found")
        if state.at != target:
            return Go(target)
        if not state.is_open.get(target, True):
            return Open(target)
        return Place(thing, goal) if thing in state.held else Pick(thing)
