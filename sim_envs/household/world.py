"""A house in symbols: a body with hands that walks between places, opens, takes and puts; everything else is refused.

Actions are those of `embmem.policies.actions`; questions are not the world's to answer, except for a way. What cannot
be done changes nothing, costs one action and says why, beginning with one of `Failure`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import numpy as np

from embmem.policies.actions import (
    Ask,
    Close,
    Go,
    Open,
    Outcome,
    Pick,
    Place,
    Recall,
    Route,
    Sight,
    Step,
    Stop,
    WhereIs,
)
from embmem.sim_envs.house import House
from embmem.sim_envs.household.names import (
    CONTAINERS,
    COOLED,
    WASHED_IN,
    coloured,
    first_state,
    is_fixed,
    stored_away,
)
from embmem.sim_envs.household.places import Places, places_of

HAND = "hand"  # where a thing is that is carried
ROOM_FOR = 10  # things on or in one receptacle


class Failure(Enum):
    """Why an action was refused."""

    UNKNOWN = "no such name"
    NOT_IN_SIGHT = "not in sight"
    TOO_FAR = "too far"
    CLOSED = "closed"
    HANDS_FULL = "hands full"
    NOT_HELD = "not held"
    FIXED = "cannot be carried"
    NO_DOOR = "has no door"
    FULL = "no room left"
    NOT_HERE = "cannot be done here"


class Household:
    """One day in a house, seen from one room at a time.

    Everything in it follows from the house, its seed and `rng`; the world itself draws nothing later. Rooms are called
    `kitchen_1`, receptacles `coffee_table_2`, things `red_mug`.
    """

    def __init__(self, house: House, rng: np.random.Generator, *, hands: int = 1, start: str | None = None) -> None:
        """A body in a room.

        Args:
            house: rooms, furniture and where its things are; containers are closed at first.
            rng: decides colours, states and what is stored behind doors.
            hands: things that can be carried at a time.
            start: room; the first one if not given.

        Raises:
            ValueError: if there is no hand or no such room.
        """
        if hands < 1:
            raise ValueError(f"need a hand at least, got {hands}")
        self.hands = hands
        for_names, for_states, for_stored = rng.spawn(3)
        self.places: Places = places_of(house)
        self._ids = {
            obj.id: name
            for obj, name in zip(house.objects, coloured((o.category for o in house.objects), for_names), strict=True)
        }
        self.category = {self._ids[obj.id]: obj.category for obj in house.objects}
        self.state: dict[str, str] = {}
        for name, category in self.category.items():
            state = first_state(category, for_states)
            if state is not None:
                self.state[name] = state
        self._stored = stored_away(house, for_stored)
        self.is_open = {name: False for name, c in self.places.categories.items() if c in CONTAINERS}
        self.on: dict[str, str] = {}  # thing -> receptacle or HAND
        self._taken_from: dict[str, str] = {}
        self.set_house(house)
        self.put_body(start or self.places.rooms[0])

    def set_house(self, house: House) -> None:
        """Everything lies where the house has it, e.g. after a night; what is stored away stays there; doors close."""
        self.on, self._taken_from = {}, {}
        for obj in house.objects:
            where = self.places.furniture.get(self._stored.get(obj.id, obj.furniture))
            if where is not None:
                self.on[self._ids[obj.id]] = where
        self.is_open = dict.fromkeys(self.is_open, False)

    def restore(self, on: Mapping[str, str], state: Mapping[str, str]) -> None:
        """Everything lies where `on` says, in these states; hands are empty and doors closed."""
        self.on, self.state, self._taken_from = dict(on), dict(state), {}
        self.is_open = dict.fromkeys(self.is_open, False)

    def put_body(self, place: str) -> None:
        """Stand at a place with empty hands, all counters at zero; what was held lies where it was taken from.

        Raises:
            ValueError: if there is no such place.
        """
        if place not in self.places.index:
            raise ValueError(f"no place {place!r}; rooms: {', '.join(self.places.rooms)}")
        self.on |= self._taken_from
        self._taken_from = {}
        self.at = place
        self.metres, self.actions, self.failures = 0.0, 0, 0

    @property
    def room(self) -> str:
        """Where the body is."""
        return self.places.receptacles.get(self.at, self.at)

    @property
    def held(self) -> tuple[str, ...]:
        """What is in the hands, in the order of taking."""
        return tuple(self._taken_from)

    def do(self, step: Step) -> Outcome:
        """Do a step; `Stop` and the questions change nothing and cost nothing."""
        if isinstance(step, Route):
            return self._route(step.place)
        if isinstance(step, Recall | WhereIs | Ask):
            return self._refused(Failure.NOT_HERE, "nobody is at home and a world remembers nothing")
        if isinstance(step, Stop):
            return Outcome(True)
        self.actions += 1
        outcome = self._act(step)
        self.failures += not outcome.ok
        return outcome

    def _act(self, step: Step) -> Outcome:
        if isinstance(step, Go):
            return self._go(step.place)
        if isinstance(step, Pick):
            return self._pick(step.object)
        if isinstance(step, Place):
            return self._place(step.object, step.receptacle)
        if isinstance(step, Open | Close):
            return self._door(step.receptacle, opens=isinstance(step, Open))
        return Outcome(True, seen=self.sight())

    def sight(self) -> Sight:
        """What stands in the room of the body and is not behind a door."""
        here = {name: room for name, room in self.places.receptacles.items() if room == self.room}
        bare = tuple(name for name in here if self.is_open.get(name, True))
        things = {thing: where for thing, where in self.on.items() if where in bare}
        states = {thing: self.state[thing] for thing in (*things, *self.held) if thing in self.state}
        doors = {name: self.is_open[name] for name in here if name in self.is_open}
        return Sight({**here, **things}, bare, doors, states)

    def _route(self, place: str) -> Outcome:
        if place not in self.places.index:
            return self._refused(Failure.UNKNOWN, place)
        return Outcome(True, f"{self.places.way(self.at, place):.2f} m from {self.at} to {place}")

    def _go(self, place: str) -> Outcome:
        goal = place
        if place in self.on:
            if self.on[place] not in self.sight().complete:
                return self._refused(Failure.NOT_IN_SIGHT, place)
            goal = self.on[place]
        if goal not in self.places.index:
            return self._refused(Failure.UNKNOWN, place)
        self.metres += self.places.way(self.at, goal)
        self.at = goal
        return Outcome(True, seen=self.sight())

    def _pick(self, thing: str) -> Outcome:
        where = self.on.get(thing)
        if where is None:
            return self._refused(Failure.UNKNOWN, thing)
        if where not in self.sight().complete:  # the same answer whatever is behind the door
            if self._is_shut_here(self.at):
                return self._refused(Failure.CLOSED, self.at)
            return self._refused(Failure.NOT_IN_SIGHT, thing)
        if where != self.at:
            return self._refused(Failure.TOO_FAR, f"{thing} is on {where}, you stand at {self.at}")
        if is_fixed(self.category[thing]):
            return self._refused(Failure.FIXED, thing)
        if len(self.held) >= self.hands:
            return self._refused(Failure.HANDS_FULL, ", ".join(self.held))
        self._taken_from[thing] = where
        self.on[thing] = HAND
        return Outcome(True, seen=self.sight())

    def _place(self, thing: str, receptacle: str) -> Outcome:
        if receptacle not in self.places.receptacles:
            return self._refused(Failure.UNKNOWN, receptacle)
        if thing not in self._taken_from:
            return self._refused(Failure.NOT_HELD, thing)
        if receptacle != self.at:
            return self._refused(Failure.TOO_FAR, f"you stand at {self.at}, not at {receptacle}")
        if self._is_shut_here(receptacle):
            return self._refused(Failure.CLOSED, receptacle)
        if sum(where == receptacle for where in self.on.values()) >= ROOM_FOR:
            return self._refused(Failure.FULL, receptacle)
        del self._taken_from[thing]
        self.on[thing] = receptacle
        if self.places.categories[receptacle] == "sink" and self.category[thing] in WASHED_IN["sink"]:
            self.state[thing] = "clean"
        return Outcome(True, seen=self.sight())

    def _door(self, receptacle: str, *, opens: bool) -> Outcome:
        if receptacle not in self.places.receptacles:
            return self._refused(Failure.UNKNOWN, receptacle)
        if receptacle not in self.is_open:
            return self._refused(Failure.NO_DOOR, receptacle)
        if receptacle != self.at:
            return self._refused(Failure.TOO_FAR, f"you stand at {self.at}, not at {receptacle}")
        self.is_open[receptacle] = opens
        if not opens:
            self._shut(receptacle)
        return Outcome(True, seen=self.sight())

    def _shut(self, receptacle: str) -> None:
        """What closing does to the things inside."""
        category = self.places.categories[receptacle]
        for thing in [thing for thing, where in self.on.items() if where == receptacle]:
            if category == "washing machine" and self.category[thing] in WASHED_IN["washing machine"]:
                self.state[thing] = "clean"
            if category == "refrigerator" and self.category[thing] in COOLED:
                self.state[thing] = "cold"

    def _is_shut_here(self, receptacle: str) -> bool:
        return receptacle == self.at and not self.is_open.get(receptacle, True)

    def _refused(self, failure: Failure, detail: str) -> Outcome:
        return Outcome(False, f"{failure.value}: {detail}")
