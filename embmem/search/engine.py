"""One answer from everything that a query asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embmem.protocols import Answer, Ranking
from embmem.records import Hit, Query

if TYPE_CHECKING:
    from embmem.store import RecordStore


def search(store: RecordStore, query: Query, ranking: Ranking) -> Answer:
    """The records that match, newest first."""
    if query.embedding is not None:
        return Answer([], abstained="records are not searched by embedding")
    hits = [
        Hit(score=r.confidence, why="in the time asked for", layer="store", stamp=r.t_event, position=r.where, record=r)
        for r in store.read(query)
    ]
    return Answer(hits)
