"""All ways that an instruction could mean: walks from the start that the map allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from embmem.maps.streets import Pose, StreetMap

MOST = 20_000  # walks; nobody reads more streets into an instruction


@dataclass(frozen=True)
class Reach:
    """Which walks count."""

    least: int = 34  # hops
    most: int = 44
    is_shortest: bool = True  # only walks that take no detour, as those of Map2Seq
    may_turn_around: bool = False  # at the start

    def __post_init__(self) -> None:
        if not (isinstance(self.least, int) and isinstance(self.most, int) and 0 <= self.least <= self.most):
            raise ValueError(f"need whole numbers 0 <= least <= most, got {self.least} and {self.most}")


@dataclass(frozen=True, eq=False)
class Candidates:
    """Walks that share their beginnings: candidate i is the first `end[i] + 1` places of `trunks[trunk[i]]`."""

    trunks: tuple[tuple[int, ...], ...]
    trunk: Int[np.ndarray, " n"]
    end: Int[np.ndarray, " n"]
    last: Int[np.ndarray, " n"]  # the place that each leads to

    @classmethod
    def none(cls) -> Candidates:
        """No walk at all."""
        nothing = np.zeros(0, np.int64)
        return cls((), nothing, nothing, nothing)

    def __len__(self) -> int:
        return len(self.end)

    def path(self, i: int) -> tuple[int, ...]:
        """The places of a candidate, the start first."""
        return self.trunks[self.trunk[i]][: self.end[i] + 1]

    def only(self, kept: Int[np.ndarray, " k"]) -> Candidates:
        """Some of them, in the order given."""
        return Candidates(self.trunks, self.trunk[kept], self.end[kept], self.last[kept])

    @cached_property
    def table(self) -> Int[np.ndarray, "t h"]:
        """The trunks as rows, -1 behind their ends."""
        rows = np.full((len(self.trunks), max(map(len, self.trunks), default=0)), -1, dtype=np.int64)
        for row, trunk in zip(rows, self.trunks, strict=True):
            row[: len(trunk)] = trunk
        return rows

    def index(self, path: Sequence[int]) -> int | None:
        """Which candidate a path is, if any."""
        wanted = tuple(path)
        for i in np.flatnonzero(self.end == len(wanted) - 1):
            if self.path(int(i)) == wanted:
                return int(i)
        return None


def candidates(streets: StreetMap, pose: Pose, reach: Reach) -> Candidates:
    """Every walk without repeated places from a pose on, whose length is in reach; each once.

    Args:
        streets: the map.
        pose: where the walker stands; a place it came from is the start of every walk and counts as a hop.
        reach: which walks count.
    """
    trunks: list[tuple[int, ...]] = []
    rows: list[tuple[int, int, int]] = []
    shared = 0  # places that the trunk has in common with the one before
    for path, n_shared in _trunks(streets, pose, reach):
        shared = n_shared if trunks else 0
        ends = range(max(reach.least, shared), len(path))
        rows += [(len(trunks), end, path[end]) for end in ends if end > 0]
        trunks.append(path)
        if max(len(rows), len(trunks)) >= MOST:
            break
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return Candidates(tuple(trunks), *columns)


def _trunks(streets: StreetMap, pose: Pose, reach: Reach) -> Iterator[tuple[tuple[int, ...], int]]:
    """(longest walk, how many of its places the walk before had) in depth-first order."""
    start = pose.place if pose.previous in (-1, pose.place) else pose.previous
    hops = streets.hops_from(start, most=reach.most) if reach.is_shortest else None
    path = [start] if start == pose.place else [start, pose.place]
    seen = set(path)
    stack = [_onward(streets, path, seen, pose, reach, hops)]
    shared, is_new = 0, True
    base = len(path) - 1
    while stack:
        place = next(stack[-1], None) if len(path) <= reach.most else None
        if place is not None:
            path.append(place)
            seen.add(place)
            stack.append(_onward(streets, path, seen, pose, reach, hops))
            is_new = True
            continue
        if is_new and len(path) > 1:
            yield tuple(path), shared
        is_new = False
        stack.pop()
        if len(path) - 1 > base:
            seen.discard(path.pop())
        shared = len(path)


def _onward(
    streets: StreetMap, path: list[int], seen: set[int], pose: Pose, reach: Reach, hops: np.ndarray | None
) -> Iterator[int]:
    """Where a walk can go on, in the order of the exits."""
    exits = streets.exits(path[-1])
    is_first = len(path) == 1
    if is_first and not reach.may_turn_around:
        turned = sorted(exits, key=lambda e: abs((e[0] - pose.heading + 180) % 360 - 180))
        exits = tuple(turned[:1])
    for end in dict.fromkeys(end for _, end in exits):  # two exits may lead to one place
        if end not in seen and (hops is None or hops[end] == len(path)):
            yield end
