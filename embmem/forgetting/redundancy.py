"""Forgetting what the other records tell as well: by nearness, or by the story that they tell together."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from embmem.forgetting.policies import Remembered, Rows

_PLACE = 0.5  # [m] apart, things are elsewhere
_LOOK = 0.3  # of 1 - cosine apart, things look different
_BLOCK = 256  # rows that are compared with all others at once


@dataclass(frozen=True)
class Redundancy:
    """What is nearest in place and embedding to a newer record of the same topic that stays goes first.

    When it is told nothing by time: a thing that comes back to where it was makes its first stay there redundant.
    """

    name: ClassVar[str] = "redundancy"

    def choose(self, remembered: Remembered, n_bytes: int) -> Rows:
        """See `embmem.forgetting.policies.ForgettingPolicy`."""
        heap: list[tuple[float, int, int, int]] = []  # difference, place in time, row, the row that it is near to
        place_in_time = np.argsort(np.lexsort((remembered.ids, remembered.stamps))).tolist()
        newer_of: dict[int, Rows] = {}
        for group in _groups(remembered):
            nearest = _nearest_newer(remembered, group)
            for at, row in enumerate(group.tolist()):
                newer_of[row] = group[at + 1 :]
                heap.append((nearest[at][0], place_in_time[row], row, nearest[at][1]))
        heapq.heapify(heap)
        is_gone = np.zeros(len(remembered), dtype=np.bool_)
        chosen: list[int] = []
        freed = 0
        while heap and freed < n_bytes:
            _, _, row, near = heapq.heappop(heap)
            if near >= 0 and is_gone[near]:
                newer = newer_of[row][~is_gone[newer_of[row]]]
                difference, near = _nearest(remembered, row, newer)
                heapq.heappush(heap, (difference, place_in_time[row], row, near))
                continue
            is_gone[row] = True
            chosen.append(row)
            freed += int(remembered.n_bytes[row])
        return np.array(chosen, dtype=np.int64)


@dataclass(frozen=True)
class Story:
    """What changes the story of its topic least goes first.

    The records of a topic in the order of time say of every moment where a thing was and what it looked like: as the
    newest record up to then says. Without a record the one before it speaks for its time too, so it costs the
    difference of the two times the seconds until the next record (bottom-up segmentation, Keogh et al., ICDM 2001, of
    a piecewise constant function); for the newest, `present` more seconds. What only confirms costs `confirmation` of
    what a change of place costs.
    """

    name: ClassVar[str] = "story"
    present: float = 7 * 86400.0  # [s] of the past that count as much as now
    confirmation: float = 1e-3

    def __post_init__(self) -> None:
        if not (self.present > 0 and self.confirmation >= 0):
            raise ValueError(f"need present > 0 and confirmation >= 0, got {self}")

    def choose(self, remembered: Remembered, n_bytes: int) -> Rows:
        """See `embmem.forgetting.policies.ForgettingPolicy`."""
        if not len(remembered) or n_bytes <= 0:
            return np.zeros(0, dtype=np.int64)
        order = _by_topic(remembered)
        before, after = _neighbours(remembered.topics[order])
        told = remembered.rows(order)
        now = float(told.stamps.max()) + self.present
        cost = self._cost(told, np.arange(len(told)), before, after, now)
        heap = list(zip(cost.tolist(), told.ids.tolist(), range(len(told)), strict=True))
        heapq.heapify(heap)
        chosen: list[int] = []
        is_gone = np.zeros(len(told), dtype=np.bool_)
        freed = 0
        while heap and freed < n_bytes:
            price, _, row = heapq.heappop(heap)
            if is_gone[row] or price != cost[row]:
                continue  # it was priced anew since
            is_gone[row] = True
            chosen.append(row)
            freed += int(told.n_bytes[row])
            left, right = int(before[row]), int(after[row])
            if left >= 0:
                after[left] = right
            if right >= 0:
                before[right] = left
            touched = np.array([each for each in (left, right) if each >= 0], dtype=np.int64)
            cost[touched] = self._cost(told, touched, before, after, now)
            for each in touched.tolist():
                heapq.heappush(heap, (float(cost[each]), int(told.ids[each]), each))
        return order[np.array(chosen, dtype=np.int64)]

    def _cost(
        self, told: Remembered, rows: Rows, before: Int[np.ndarray, " n"], after: Int[np.ndarray, " n"], now: float
    ) -> Float[np.ndarray, " _"]:
        """What is lost with each row, per byte."""
        left, right = before[rows], after[rows]
        until = np.where(right >= 0, told.stamps[right], now)
        change = np.where(left >= 0, _difference(told, rows, left), 1.0)
        seconds = np.maximum(until - told.stamps[rows], 0.0)
        return (change + self.confirmation) * seconds / told.n_bytes[rows]


def _by_topic(remembered: Remembered) -> Rows:
    return np.lexsort((remembered.ids, remembered.stamps, remembered.topics))


def _groups(remembered: Remembered) -> list[Rows]:
    """The rows of each topic in the order of time."""
    order = _by_topic(remembered)
    return [group for group in np.split(order, np.flatnonzero(np.diff(remembered.topics[order])) + 1) if len(group)]


def _neighbours(topics: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The rows before and after each within its topic, -1 where there is none."""
    rows = np.arange(len(topics))
    is_first = np.diff(topics, prepend=topics[:1] - 1) != 0
    is_last = np.roll(is_first, -1)
    return np.where(is_first, -1, rows - 1), np.where(is_last, -1, rows + 1)


def _nearest_newer(remembered: Remembered, group: Rows) -> list[tuple[float, int]]:
    """For each row of a group the difference to the later one that tells most alike, and that row; (inf, -1) = none."""
    found: list[tuple[float, int]] = []
    for start in range(0, len(group), _BLOCK):
        some, others = group[start : start + _BLOCK], group[start:]
        difference = _differences(remembered, some, others)
        difference[np.tri(len(some), len(others), dtype=np.bool_)] = np.inf  # itself and what came before
        near = difference.argmin(axis=1)
        least = difference[np.arange(len(some)), near]
        found += [(d, row if d < np.inf else -1) for d, row in zip(least.tolist(), others[near].tolist(), strict=True)]
    return found


def _nearest(remembered: Remembered, row: int, others: Rows) -> tuple[float, int]:
    """The same for one row among others."""
    if not len(others):
        return np.inf, -1
    difference = _differences(remembered, np.array([row]), others)[0]
    near = int(difference.argmin())
    return float(difference[near]), int(others[near])


def _differences(told: Remembered, a: Rows, b: Rows) -> Float[np.ndarray, "_ _"]:
    """How differently the rows `a` and the rows `b` of one topic tell of it, in [0, 1]."""

    where, where_b, looks, looks_b = told.positions[a], told.positions[b], told.embeddings[a], told.embeddings[b]
    both = looks.any(axis=1)[:, None] & looks_b.any(axis=1)
    return _in_one(cdist(where, where_b), where[:, :1], where_b[:, 0], looks @ looks_b.T, both)


def _difference(told: Remembered, a: Rows, b: Rows) -> Float[np.ndarray, " _"]:
    """The same of pairs."""
    where, where_b, looks, looks_b = told.positions[a], told.positions[b], told.embeddings[a], told.embeddings[b]
    cosine, both = np.einsum("nd,nd->n", looks, looks_b), looks.any(axis=1) & looks_b.any(axis=1)
    return _in_one(np.linalg.norm(where - where_b, axis=1), where[:, 0], where_b[:, 0], cosine, both)


def _in_one(apart: np.ndarray, x: np.ndarray, x_b: np.ndarray, cosine: np.ndarray, both: np.ndarray) -> np.ndarray:
    place = np.where(np.isnan(x) != np.isnan(x_b), 1.0, np.nan_to_num(apart, nan=0.0) / _PLACE)
    look = np.where(both, (1.0 - cosine) / _LOOK, 0.0)
    return np.asarray(np.minimum(np.maximum(place, look) ** 2, 1.0), dtype=np.float64)
