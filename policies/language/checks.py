"""Whether a step that a language model wants makes sense: after the model, never trusting before.

Names must be known, hands free, doors open, the robot in place, a way there. What is refused comes back as a sentence
that the model can learn from. Nothing here asks the model anything.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from embmem.policies.actions import (
    QUESTIONS,
    Close,
    Go,
    Look,
    Open,
    Outcome,
    Pick,
    Place,
    Route,
    Step,
    Stop,
    to_text,
)
from embmem.policies.world_state import WorldState, write
from embmem.search.quoting import quote

MAX_SHOWN = 60  # characters of a name


@runtime_checkable
class Geometry(Protocol):
    """What maps say about places; None where they do not know."""

    def way(self, place: str) -> float | None:
        """[m] to walk from where the robot stands; inf if there is no way."""

    def reach(self, name: str) -> float | None:
        """[m] from the robot's body to a thing or receptacle, as the arm would go."""


def problem(
    state: WorldState,
    step: Step,
    *,
    places: Collection[str] = (),
    hands: int = 1,
    geometry: Geometry | None = None,
    arm: float = 1.2,
) -> str | None:
    """Why the step cannot be taken now, or None.

    Args:
        state: what is known of the world.
        step: what is wanted.
        places: rooms and receptacles that are known beside the state.
        hands: things that can be carried.
        geometry: of the moment, if there are maps.
        arm: its length [m].
    """
    if isinstance(step, Look | Stop) or (isinstance(step, QUESTIONS) and not isinstance(step, Route)):
        return None
    known = state.names | frozenset(places)
    for name in _named(step):
        if name not in known:
            return f"nothing is called {_show(name)}; look around or ask the memory, and use names as they stand"
    if isinstance(step, Go | Route):
        return _no_way(step.place, geometry)
    wrong = _pick(state, step, hands) if isinstance(step, Pick) else _at_receptacle(state, step)
    return wrong or _out_of_reach(step, geometry, arm)


def sound_beginning(
    state: WorldState, steps: Sequence[Step], *, places: Collection[str] = (), hands: int = 1
) -> tuple[tuple[Step, ...], str | None]:
    """The steps up to the first that would not fit the world that those before it leave, and why that one does not.

    It ends after a step whose answer nobody can foresee.
    """
    kept: list[Step] = []
    for step in steps:
        why = problem(state, step, places=places, hands=hands)
        if why is not None:
            return tuple(kept), f"step {len(kept) + 1}, {_show(to_text(step))}: {why}"
        kept.append(step)
        if isinstance(step, (Look, Stop, *QUESTIONS)):
            break
        state = write(state, step, Outcome(True))
    return tuple(kept), None


def _named(step: Step) -> tuple[str, ...]:
    if isinstance(step, Go | Route):
        return (step.place,)
    if isinstance(step, Place):
        return step.object, step.receptacle
    return (step.object,) if isinstance(step, Pick) else (step.receptacle,) if isinstance(step, Open | Close) else ()


def _pick(state: WorldState, step: Pick, hands: int) -> str | None:
    name = _show(step.object)
    if step.object in state.held:
        return f"{name} is in the hand already"
    if len(state.held) >= hands:
        return f"the hand is full: {', '.join(_show(held) for held in state.held)}; put it down first"
    where = state.inside.get(step.object)
    if where is None:
        return f"nobody knows where {name} is; look around or ask the memory"
    if where not in (state.at, step.object) and state.at != step.object:
        return f"{name} is at {_show(where)}; go there first"
    return f"{_show(where)} is closed; open it first" if not state.is_open.get(where, True) else None


def _at_receptacle(state: WorldState, step: Step) -> str | None:
    """Of placing, opening and closing."""
    if not isinstance(step, Place | Open | Close):
        return None
    name = _show(step.receptacle)
    if isinstance(step, Place):
        if step.object not in state.held:
            return f"{_show(step.object)} is not in the hand; pick it first"
        if step.object == step.receptacle:
            return "a thing cannot be put into itself"
        if _is_room(state, step.receptacle):
            return f"{name} is a room; put things on or into what stands there"
    elif step.receptacle not in state.is_open:
        return f"{name} has no door"
    elif state.is_open[step.receptacle] == isinstance(step, Open):
        return f"{name} is {'open' if isinstance(step, Open) else 'closed'} already"
    if state.at != step.receptacle:
        return f"the robot does not stand at {name}; go there first"
    if isinstance(step, Place) and not state.is_open.get(step.receptacle, True):
        return f"{name} is closed; open it first"
    return None


def _is_room(state: WorldState, name: str) -> bool:
    """Whether something that holds things, or has a door, is in it, and it is itself in nothing."""
    holders = {*state.inside.values(), *state.is_open}
    return name not in state.inside and any(state.inside.get(holder) == name for holder in holders)


def _no_way(place: str, geometry: Geometry | None) -> str | None:
    metres = None if geometry is None else geometry.way(place)
    return f"there is no way to {_show(place)}" if metres is not None and not math.isfinite(metres) else None


def _out_of_reach(step: Step, geometry: Geometry | None, arm: float) -> str | None:
    if geometry is None or not isinstance(step, Pick | Place | Open | Close):
        return None
    name = step.object if isinstance(step, Pick) else step.receptacle
    metres = geometry.reach(name)
    if metres is None or metres <= arm:
        return None
    return f"{_show(name)} is {metres:.1f} m away, the arm reaches {arm:.1f} m; go there first"


def _show(name: str) -> str:
    return quote(name, MAX_SHOWN)
