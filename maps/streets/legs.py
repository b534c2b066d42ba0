"""A walk as a driver would tell it: junctions that are passed, turns, and where between two junctions it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embmem.maps.streets.graph import JUNCTION, StreetMap

GAP = 2  # hops between two junction places that people take for one crossing
LOOK = 2  # places before and after a crossing that give its directions
STRAIGHT = 38.0  # [degrees] a crossing that bends more is a turn
FAR = 12  # hops that are looked ahead for the next junction


@dataclass(frozen=True)
class Crossing:
    """A junction of a walk, or several so close to each other that they are one crossing."""

    first: int  # index in the walk of its first junction place
    last: int  # and of its last
    bend: float  # [degrees] right positive
    n_ways: int  # most exits of its places
    goes_on: bool  # there is a way straight ahead

    @property
    def symbol(self) -> str:
        """S straight on, L left, R right."""
        if abs(self.bend) < STRAIGHT:
            return "S"
        return "R" if self.bend > 0 else "L"


def crossings(streets: StreetMap, path: Sequence[int]) -> list[Crossing]:
    """The crossings of a walk, in order; one at the start that is left without being entered does not count."""
    at = [i for i, place in enumerate(path) if streets.n_exits[place] >= JUNCTION and i > 0]
    groups: list[list[int]] = []
    for i in at:
        if groups and i - groups[-1][-1] <= GAP:
            groups[-1].append(i)
        else:
            groups.append([i])
    return [_crossing(streets, path, group[0], group[-1]) for group in groups]


def _crossing(streets: StreetMap, path: Sequence[int], first: int, last: int) -> Crossing:
    before = bearing(streets, path[max(0, first - LOOK)], path[first])
    after_end = min(len(path) - 1, last + LOOK)
    after = bearing(streets, path[last], path[after_end]) if after_end > last else before
    ways = [streets.exits(path[i]) for i in range(first, last + 1)]
    back = set(path[max(0, first - 1) : last + 1])
    goes_on = any(abs(_relative(before, h)) < STRAIGHT for exits in ways for h, end in exits if end not in back)
    return Crossing(first, last, _relative(before, after), max(len(exits) for exits in ways), goes_on)


def bearing(streets: StreetMap, start: int, end: int) -> float:
    """The compass direction from one place to another [degrees]."""
    east, north = streets.xy[end] - streets.xy[start]
    return float(np.degrees(np.arctan2(east, north)) % 360)


def hops_ahead(streets: StreetMap, previous: int, place: int) -> int:
    """How many hops lie between a place that was entered from `previous` and the next junction; `FAR` at most."""
    for hops in range(FAR):
        exits = streets.exits(place)
        if len(exits) >= JUNCTION:
            return hops
        onward = [end for _, end in exits if end != previous]
        if not onward:
            return hops
        previous, place = place, onward[0]
    return FAR


def _relative(heading: float, other: float) -> float:
    return (other - heading + 180) % 360 - 180
