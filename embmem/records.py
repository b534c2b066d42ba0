"""Records, queries and hits: what is written to a memory and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from embmem.observation import Intrinsics


class Link(NamedTuple):
    """From the record that holds it to an earlier one.

    Relations that the stores themselves act on: "from" (derived from it: what happens to it happens to me),
    "withdraws" (it is no longer believed) and "corrects" (I stand in its place, and in that of what it corrected).
    Any other name is a plain edge.
    """

    relation: str
    to: int  # id of a record


@dataclass(frozen=True, eq=False)
class Record:
    """One remembered event.

    Two clocks: `t_event` is when it happened, `t_ingest` when the store took it in (set by the store, as `id` is).
    """

    kind: str  # e.g. "view", "note"
    t_event: float  # [s]
    source: str  # who says so, e.g. "camera"
    id: int | None = None
    t_ingest: float | None = None  # [s]
    place: str | None = None  # a named region or a node of a graph
    T_map_obs: np.ndarray | None = None  # (4, 4), where it was observed from
    position: np.ndarray | None = None  # (3,) [m] where it is, map frame; that of `T_map_obs` if not given
    entities: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()  # what a long-term log files it under, e.g. "voxel:3,4,1"
    text: str = ""
    embedding: np.ndarray | None = None  # (d,), one d a memory; kept as float16
    payload: dict[str, Any] = field(default_factory=dict)  # JSON values
    blob: bytes | None = None  # images and the like
    confidence: float = 1.0  # [0, 1]
    valid: tuple[float, float] = (-np.inf, np.inf)  # [t0, t1) in event time
    links: tuple[Link, ...] = ()  # provenance and other edges, to earlier records

    @property
    def where(self) -> np.ndarray | None:
        """(3,) [m] position, or where it was observed from; None if neither is known."""
        if self.position is not None or self.T_map_obs is None:
            return self.position
        return self.T_map_obs[:3, 3]


@dataclass(frozen=True, eq=False)
class Frustum:
    """What a camera sees between two depths."""

    T_map_camera: np.ndarray  # (4, 4)
    intrinsics: Intrinsics
    far: float  # [m] of depth
    near: float = 0.0  # [m] of depth


@dataclass(frozen=True, eq=False)
class Query:
    """A question to a memory; every field that is set narrows the answer.

    `text`, `embedding`, `near` and `linked_to` also rank it: what matches several of them comes first. Of `text` and
    `embedding` one suffices; `near` leaves out what has no place.
    """

    entity: str | None = None  # a category or a name
    kind: str | None = None
    place: str | None = None
    source: str | None = None
    key: str | None = None  # of a long-term log
    text: str | None = None  # free words: BM25 in a store; for layers that embed text, what is meant
    embedding: np.ndarray | None = None  # (d,) what is meant, embedded already
    near: np.ndarray | None = None  # (3,) [m], map frame
    radius: float = np.inf  # [m] around `near`
    box: np.ndarray | None = None  # (2, 3) [m] lowest and highest corner, inclusive
    frustum: Frustum | None = None
    since: float = -np.inf  # [s], inclusive, event time
    until: float = np.inf  # [s], exclusive
    ingested_since: float = -np.inf  # [s], inclusive, ingest time
    as_of: float | None = None  # [s] ingest time: what was known and believed then; now if not given
    valid_at: float | None = None  # [s] event time inside the record's validity
    min_confidence: float = 0.0
    linked_to: int | None = None  # id of a record ...
    hops: int = 1  # ... and how many links away, either direction
    min_similarity: float = -1.0  # cosine below which an embedding does not match
    with_hidden: bool = False  # also what was withdrawn or corrected
    k: int = 10


@dataclass(frozen=True, eq=False)
class Hit:
    """One answer. `why` names what matched, so that an answer can be debugged."""

    score: float  # higher is better; comparable within one layer only
    why: str
    layer: str
    stamp: float  # [s], age of the evidence
    position: np.ndarray | None = None  # (3,) [m], map frame
    entity: str | None = None
    record: Record | None = None
    detail: dict[str, float] = field(default_factory=dict)
