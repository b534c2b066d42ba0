"""Worlds whose whole history is known, how their news arrives late, and simpler memories that hear the same news."""

from __future__ import annotations

import math
import sqlite3
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from embmem.facts import Statement
from embmem.sim_envs.house import make_house
from embmem.sim_envs.house.habits import night

DAY = 86_400.0


@dataclass
class World:
    """What was where from when on: the truth, by subject ascending in time; None = nowhere."""

    log: dict[str, list[tuple[float, str | None]]]
    end: float  # [s]

    def at(self, subject: str, t: float) -> str | None:
        """Where something was."""
        changes = self.log[subject]
        i = bisect_right(changes, t, key=lambda change: change[0])
        return changes[i - 1][1] if i else None

    def news(self, rng: np.random.Generator, delay: float) -> list[tuple[float, Statement]]:
        """Every change with the time of its arrival, in that order; delays are exponential with this mean [s]."""
        told = []
        for subject, changes in self.log.items():
            for t, what in changes:
                is_gone = what is None
                said = Statement(subject, "in", what, valid_at=t, is_retraction=is_gone)
                told.append((t + float(rng.exponential(delay)), said))
        return sorted(told, key=lambda news: news[0])


def random_world(rng: np.random.Generator, *, subjects: int, changes: int, places: int = 12) -> World:
    """Things that go elsewhere at random moments of a month, and now and then out of the world."""
    log: dict[str, list[tuple[float, str | None]]] = {}
    for i in range(subjects):
        times = np.sort(rng.choice(int(30 * DAY), size=1 + int(rng.poisson(changes)), replace=False)).tolist()
        where = rng.integers(0, places, len(times)).tolist()
        gone = (rng.random(len(times)) < 0.1).tolist()
        log[f"thing-{i}"] = [
            (float(t), None if is_gone else f"room-{room}") for t, room, is_gone in zip(times, where, gone, strict=True)
        ]
    return World(log, 30 * DAY)


def house_world(seed: int, days: int) -> World:
    """The relocation log of a house: what people carry elsewhere, day after day."""
    rng, house = np.random.default_rng(seed), make_house(seed)
    log: dict[str, list[tuple[float, str | None]]] = {
        f"{obj.category}-{obj.id}": [(0.0, f"furniture-{obj.furniture}")] for obj in house.objects
    }
    for day in range(1, days + 1):
        house, moves = night(house, rng)
        for move in moves:
            moment = (day - rng.random()) * DAY
            log[f"{move.category}-{move.object_id}"].append((moment, f"furniture-{move.to_furniture}"))
    return World(log, days * DAY)


class Overwrite:
    """The memory of most robots: one place a thing, what comes overwrites what is there."""

    def __init__(self) -> None:
        self._now: dict[str, str | None] = {}

    def hear(self, said: Statement) -> None:
        """Take a statement."""
        self._now[said.subject] = None if said.is_retraction else said.object

    def at(self, subject: str) -> str | None:
        """What is there, whatever time is asked for."""
        return self._now.get(subject)


class SqlIntervals:
    """The peer: one row a version of an edge with four times, closed and written anew when news contradicts it."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.execute(
            "CREATE TABLE edges (subject TEXT, predicate TEXT, object TEXT, valid_at REAL, invalid_at REAL,"
            " created_at REAL, expired_at REAL)"
        )
        self._db.execute("CREATE INDEX by_name ON edges (subject, predicate, valid_at)")
        self._db.execute("BEGIN")

    def hear(self, subject: str, predicate: str, what: str, t: float, now: float) -> None:
        """Put an edge among its neighbours."""
        db, alive = self._db, "subject = ? AND predicate = ? AND expired_at = 9e999"
        before = db.execute(
            f"SELECT rowid, object, valid_at, invalid_at FROM edges WHERE {alive} AND valid_at <= ?"
            " ORDER BY valid_at DESC LIMIT 1",
            (subject, predicate, t),
        ).fetchone()
        after = db.execute(
            f"SELECT valid_at FROM edges WHERE {alive} AND valid_at > ? ORDER BY valid_at LIMIT 1",
            (subject, predicate, t),
        ).fetchone()
        insert = "INSERT INTO edges VALUES (?, ?, ?, ?, ?, ?, 9e999)"
        if before is not None and before[3] > t:
            db.execute("UPDATE edges SET expired_at = ? WHERE rowid = ?", (now, before[0]))
            db.execute(insert, (subject, predicate, before[1], before[2], t, now))
        db.execute(insert, (subject, predicate, what, t, after[0] if after else math.inf, now))

    def at(self, subject: str, predicate: str, t: float, belief: float) -> str | None:
        """What held at a time, as it was believed at another."""
        row = self._db.execute(
            "SELECT object, valid_at, invalid_at, created_at, expired_at FROM edges WHERE subject = ? AND predicate = ?"
            " AND valid_at <= ? AND invalid_at > ? AND created_at <= ? AND expired_at > ?"
            " ORDER BY valid_at DESC LIMIT 1",
            (subject, predicate, t, t, belief, belief),
        ).fetchone()
        return None if row is None else str(row[0])
