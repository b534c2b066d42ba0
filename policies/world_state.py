"""What the world is like, written down: where the robot is, what it holds, what is where, what is open.

After Statler (Yoneda et al., ICRA 2024), whose language model keeps such a state through a world-state writer and asks
it through a reader, and CAPEAM (Kim et al., ICCV 2023), which remembers where it put things. Here both are plain code:
the writer takes a step and what came of it, and **a step that failed changes nothing**.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

from embmem.policies.actions import Close, Go, Open, Outcome, Pick, Place, Sight, Step


@dataclass(frozen=True)
class WorldState:
    """All names are those of the world; what is not written here is not known."""

    at: str | None = None  # the room or the receptacle where the robot stands
    held: tuple[str, ...] = ()
    inside: Mapping[str, str] = field(default_factory=dict)  # a thing -> what it is on or in; a receptacle -> its room
    is_open: Mapping[str, bool] = field(default_factory=dict)  # of receptacles that can be opened
    states: Mapping[str, str] = field(default_factory=dict)  # of things that have one, e.g. "dirty"

    @property
    def names(self) -> frozenset[str]:
        """All that is known by name."""
        at = () if self.at is None else (self.at,)
        return frozenset((*self.inside, *self.inside.values(), *self.held, *self.is_open, *at))

    @property
    def key(self) -> Hashable:
        """Equal for equal states."""
        known = (frozenset(known.items()) for known in (self.inside, self.is_open, self.states))
        return self.at, self.held, *known


def write(state: WorldState, step: Step, outcome: Outcome) -> WorldState:
    """The state after a step; the same object if the step failed."""
    if not outcome.ok:
        return state
    if isinstance(step, Go):
        state = replace(state, at=_standing_at(state, step.place))
    elif isinstance(step, Pick):
        inside = {name: where for name, where in state.inside.items() if name != step.object}
        held = tuple(name for name in state.held if name != step.object)
        state = replace(state, held=(*held, step.object), inside=inside)
    elif isinstance(step, Place):
        held = tuple(name for name in state.held if name != step.object)
        state = replace(state, held=held, inside={**state.inside, step.object: step.receptacle})
    elif isinstance(step, Open | Close):
        state = replace(state, is_open={**state.is_open, step.receptacle: isinstance(step, Open)})
    return see(state, outcome.seen)


def see(state: WorldState, sight: Sight) -> WorldState:
    """The state once it is looked at: what is seen holds, and what is missing where everything was seen is gone."""
    gone = {name for name, where in state.inside.items() if where in sight.complete and name not in sight.inside}
    inside = {name: where for name, where in state.inside.items() if name not in gone} | dict(sight.inside)
    held = tuple(name for name in state.held if name not in sight.inside)
    doors, states = {**state.is_open, **sight.is_open}, {**state.states, **sight.states}
    return replace(state, held=held, inside=inside, is_open=doors, states=states)


def outermost(state: WorldState, name: str) -> str | None:
    """The room of a thing or a receptacle, or as far as is known; None for what is in the hand or not known."""
    if name in state.held or name not in state.names:
        return None
    passed = {name}
    while (outer := state.inside.get(name)) is not None:
        if outer in passed:
            return None  # a state that somebody wrote by hand may go round in circles
        passed.add(outer)
        name = outer
    return name


def contents(state: WorldState, receptacle: str) -> tuple[str, ...]:
    """What is on or in it, by name."""
    return tuple(sorted(name for name, where in state.inside.items() if where == receptacle))


def describe(state: WorldState, name: str) -> str:
    """Where something is, in words: `held by the robot`, `table_1 in kitchen`, `not known`."""
    if name in state.held:
        return "held by the robot"
    where = state.inside.get(name)
    if where is None:
        return "not known"
    room = outermost(state, where)
    return where if room is None or room == where else f"{where} in {room}"


def _standing_at(state: WorldState, place: str) -> str:
    """Where one stands who went to a place: what lies on something is reached from there."""
    where = state.inside.get(place)
    is_thing = where is not None and where in state.inside  # a receptacle lies in a room, which lies in nothing
    return where if is_thing and where is not None else place
