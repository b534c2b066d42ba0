"""What the object memory answers: the rows that match a question, best first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from embmem.maps.object_rows import confidence
from embmem.records import Hit, Query


def best_things(
    rows: np.ndarray, query: Query, category: int | None, hit_of: Callable[[np.void, float], Hit]
) -> list[Hit]:
    """At most `query.k` hits of a category (all without), last seen in the time asked for, surest first.

    The score is the confidence; with `near` it is divided by 1 + the distance [m]. Ties: seen last, then newest.
    """
    match = (query.since <= rows["last_seen"]) & (rows["last_seen"] < query.until)
    if category is not None:
        match &= rows["category"] == category
    distance = np.zeros(len(rows))
    if query.near is not None:
        distance = np.linalg.norm(rows["position"] - query.near, axis=1)
        match &= distance <= query.radius
    sureness = confidence(rows["log_odds"])
    score = sureness / (1.0 + distance)
    found = np.flatnonzero(match)
    order = np.lexsort((-rows["id"][found], -rows["last_seen"][found], -score[found]))
    best = found[order][: query.k]
    hits = [hit_of(rows[i], float(sureness[i])) for i in best]
    if query.near is None:
        return hits
    return [
        replace(hit, score=float(score[i]), why=f"{hit.why}, {distance[i]:.2f} m away")
        for i, hit in zip(best, hits, strict=True)
    ]


def thing_hit(row: np.void, name: str, sureness: float, layer: str) -> Hit:
    """One thing as an answer."""
    return Hit(
        score=sureness,
        why=f"{name} seen {row['times_seen']} times, missed {row['times_missed']} times",
        layer=layer,
        stamp=float(row["last_seen"]),
        position=row["position"].copy(),
        entity=name,
        detail={
            "confidence": sureness,
            "first_seen": float(row["first_seen"]),
            "times_seen": float(row["times_seen"]),
            "times_missed": float(row["times_missed"]),
            "id": float(row["id"]),
            "size": float((row["box"][1] - row["box"][0]).max()),
        },
    )
