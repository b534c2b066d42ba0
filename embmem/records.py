"""Records, queries and hits: what is written to a memory and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


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
    place: str | None = None
    T_map_obs: np.ndarray | None = None  # (4, 4), where it was observed from
    entities: tuple[str, ...] = ()
    text: str = ""
    payload: dict[str, Any] = field(default_factory=dict)  # JSON values
    confidence: float = 1.0
    valid: tuple[float, float] = (-np.inf, np.inf)  # [t0, t1) in event time


@dataclass(frozen=True, eq=False)
class Query:
    """A question to a memory; every field that is set narrows the answer."""

    entity: str | None = None  # a category or a name
    kind: str | None = None
    place: str | None = None
    text: str | None = None  # described in free words; for layers that embed text
    embedding: np.ndarray | None = None  # (d,) the same, by what has already been embedded
    near: np.ndarray | None = None  # (3,) [m], map frame
    radius: float = np.inf  # [m] around `near`
    since: float = -np.inf  # [s], inclusive, event time
    until: float = np.inf  # [s], exclusive
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
