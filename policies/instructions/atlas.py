"""The tables of a known house that tokens are read from: what is where, and how far it is through known doors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from embmem.policies.instructions.known import KnownHouse
from embmem.policies.instructions.parsing import LANDMARK_NAMES

NEAR_DOOR = 1.4  # [m] between a door and the thing that tells which it is
_NAMES = frozenset(LANDMARK_NAMES.values())


@dataclass(frozen=True, eq=False)
class Atlas:
    """Rooms, doors and things of a `KnownHouse` as arrays; things are rows in the order of its landmarks."""

    house: KnownHouse
    rooms: list[int]
    kinds: dict[int, str]
    middles: dict[int, np.ndarray]  # (2,) [m]
    doors: Float[np.ndarray, "d 2"]  # [m]
    sides: Int[np.ndarray, "d 2"]  # rooms
    places: Float[np.ndarray, "k 2"]  # [m]
    names: list[str]

    @staticmethod
    def of(house: KnownHouse) -> Atlas:
        """The tables of a house; of its things only those that routes may speak of."""
        house = replace(house, landmarks=tuple(thing for thing in house.landmarks if thing.category in _NAMES))
        return Atlas(
            house, sorted(house.kinds), house.kinds, house.middles,
            np.array([door.position for door in house.doors], dtype=np.float64).reshape(-1, 2),
            np.array([door.rooms for door in house.doors], dtype=np.int64).reshape(-1, 2),
            np.array([thing.middle for thing in house.landmarks], dtype=np.float64).reshape(-1, 2),
            [thing.category for thing in house.landmarks],
        )  # fmt: skip

    def other_side(self, door: int, room: int) -> int:
        """The room behind a door."""
        a, b = self.sides[door].tolist()
        return b if a == room else a

    def doors_of(self, room: int) -> Int[np.ndarray, " n"]:
        """The doors of a room."""
        return self._doors_of[room]

    def things_in(self, room: int) -> list[int]:
        """The things of a room."""
        return self._things_in[room]

    def exits(self, room: int, seen: Sequence[int]) -> list[int]:
        """The doors that can be seen of a room that was seen."""
        return self._doors_of[room].tolist() if room in seen else []

    def beside(self, door: int, room: int) -> str:
        """The category of the thing next to a door, seen from a room; empty if there is none."""
        return self._beside[door, room]

    def near(self, point: Float[np.ndarray, "2"], room: int) -> str:
        """The category of the thing next to a point [m], of those of which there is one in the room; empty for none."""
        own = self._things_in[room]
        names = [self.names[i] for i in own]
        gaps = [(self.house.landmarks[i].gap(point[None]), i) for i in own if names.count(self.names[i]) == 1]
        return self.names[min(gaps)[1]] if gaps and min(gaps)[0] <= NEAR_DOOR else ""

    def through(self, door: int, room: int, position: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
        """The direction through a door into a room; where walls do not tell, that from `position` to the door."""
        ahead = self._through[door, room]
        if ahead is None:
            offset = self.doors[door] - position
            ahead = offset / max(float(np.hypot(*offset)), 1e-9)
        return ahead

    def ways(
        self, room: int, position: Float[np.ndarray, "2"], seen: Sequence[int]
    ) -> tuple[Int[np.ndarray, " d"], Float[np.ndarray, " d"]]:
        """The first door (-1: none) and the length [m] of the shortest way to each door through the rooms seen."""
        gaps, own = self._between(tuple(seen)), self._doors_of[room]
        if not len(own):
            return np.full(len(self.doors), -1), np.full(len(self.doors), np.inf)
        totals = np.hypot(*(self.doors[own] - position).T)[:, None] + gaps[own]
        best = totals.argmin(axis=0)
        return own[best], totals[best, np.arange(len(self.doors))]

    def _between(self, seen: tuple[int, ...]) -> np.ndarray:
        """(d, d) [m] from door to door through rooms that were seen (Floyd and Warshall)."""
        if seen not in self._tables:
            gaps = np.full_like(self._gaps, np.inf)
            for room in seen:
                own = np.ix_(self._doors_of[room], self._doors_of[room])
                gaps[own] = self._gaps[own]
            for k in range(len(gaps)):
                np.minimum(gaps, gaps[:, k, None] + gaps[None, k, :], out=gaps)
            self._tables[seen] = gaps
        return self._tables[seen]

    @cached_property
    def _tables(self) -> dict[tuple[int, ...], np.ndarray]:
        return {}

    @cached_property
    def _gaps(self) -> np.ndarray:
        return np.linalg.norm(self.doors[:, None] - self.doors[None], axis=-1)

    @cached_property
    def _doors_of(self) -> dict[int, np.ndarray]:
        return {room: np.flatnonzero((self.sides == room).any(axis=1)) for room in self.rooms}

    @cached_property
    def _things_in(self) -> dict[int, list[int]]:
        return {room: [i for i, t in enumerate(self.house.landmarks) if t.room == room] for room in self.rooms}

    @cached_property
    def _beside(self) -> dict[tuple[int, int], str]:
        return {
            (number, room): self.near(self.doors[number], room)
            for number, sides in enumerate(self.sides.tolist())
            for room in sides
        }

    @cached_property
    def _through(self) -> dict[tuple[int, int], np.ndarray | None]:
        return {
            (number, room): self.house.through(self.other_side(number, room), room, self.doors[number])
            for number, sides in enumerate(self.sides.tolist())
            for room in sides
        }
