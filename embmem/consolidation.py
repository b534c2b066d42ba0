"""From short-term to long-term memory: what leaves, has not been seen for long, or was seen often becomes a record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from embmem.long_term import LongTermMemory
from embmem.records import Link, Query, Record
from embmem.short_term.memory import Entry, ShortTermMemory

MOST_STAYS = 32  # stays in the short-term memory that a record tells apart, so that no sighting counts twice


@dataclass(frozen=True)
class Consolidation:
    """Writes entries of a short-term memory to a long-term memory, each state of an entry once.

    Entries of the same things that lie within `radius` and look alike are one: position and embedding become means
    weighted by sightings, the sightings add up, the times span both. With a record that is in the long-term memory
    already, the new one corrects it, so that one of them is believed and the other can be restored. A record links
    "from" all sightings that it came from: what happens to them happens to it. A state of an entry has a key of its
    own ("entry:...") by which it is found again after a crash and not written twice.
    """

    long_term: LongTermMemory
    radius: float = 0.5  # [m]
    similarity: float = 0.9  # least cosine, where both have an embedding
    max_age: float = 600.0  # [s] after which what was not seen again goes to the long-term memory
    min_count: int = 5  # sightings that make an entry worth a record while it stays

    def __post_init__(self) -> None:
        if not (self.radius >= 0 and -1 <= self.similarity <= 1 and self.max_age > 0 and self.min_count >= 1):
            raise ValueError(f"need radius >= 0, a cosine, max_age > 0 and min_count >= 1, got {self}")

    def take(self, entries: Iterable[Entry]) -> list[int]:
        """Write entries, those that left a short-term memory for instance; ids of the new records, on the disk."""
        unwritten = [entry for entry in entries if not self._is_written(entry)]
        ids = []
        for group in self._groups([_as_record(entry) for entry in unwritten]):
            record = reduce(_merged, group)
            known = self._known(record)
            if known is not None:
                record = _merged(_as_source(known), record)
            ids.append(self.long_term.write(record).wait())
        return ids

    def sweep(self, short_term: ShortTermMemory, now: float) -> list[int]:
        """Move what is older than `max_age` [s], copy what was seen `min_count` times; ids of the new records.

        Nothing leaves the short-term memory before its record is on the disk.
        """
        entries = short_term.entries()
        aged = [entry for entry in entries if now - entry.record.t_event > self.max_age]
        old = {entry.key for entry in aged}
        confirmed = [entry for entry in entries if entry.count >= self.min_count and entry.key not in old]
        ids = self.take([*aged, *confirmed])
        for entry in aged:
            short_term.remove(entry.key)
        return ids

    def _is_written(self, entry: Entry) -> bool:
        return bool(self.long_term.store.read(Query(key=_state_key(entry), k=1, with_hidden=True)))

    def _groups(self, records: Sequence[Record]) -> list[list[Record]]:
        """Records of one thing together; each joins the first group whose first member it is like."""
        groups: list[list[Record]] = []
        for record in records:
            group = next((group for group in groups if self._is_alike(group[0], record)), None)
            if group is None:
                groups.append([record])
            else:
                group.append(record)
        return groups

    def _known(self, record: Record) -> Record | None:
        """The newest record of the long-term memory that tells of the same."""
        if record.where is None or not record.entities:
            return None
        query = Query(entity=record.entities[0], near=record.where, radius=self.radius, kind=record.kind, k=64)
        found = [each for each in self.long_term.store.read(query) if "stays" in each.payload]
        return next((each for each in found if self._is_alike(each, record)), None)

    def _is_alike(self, a: Record, b: Record) -> bool:
        if (a.kind, a.place, a.text, sorted(a.entities)) != (b.kind, b.place, b.text, sorted(b.entities)):
            return False
        if a.where is None or b.where is None or float(np.linalg.norm(a.where - b.where)) > self.radius:
            return False
        if a.embedding is None or b.embedding is None:
            return True
        one, other = (np.asarray(r.embedding, dtype=np.float64) for r in (a, b))
        return float(one @ other) >= self.similarity * float(np.linalg.norm(one) * np.linalg.norm(other))


def _state_key(entry: Entry) -> str:
    """Names this state of the entry: another sighting makes another state."""
    said = [entry.key, entry.count, entry.first_seen, entry.record.t_event]
    return "entry:" + hashlib.sha256(json.dumps(said).encode()).hexdigest()[:24]


def _as_record(entry: Entry) -> Record:
    record = entry.to_record()
    keys = [key for key in record.keys if key != entry.key]
    payload = {**record.payload, "stays": {f"{entry.key} since {entry.first_seen!r}": entry.count}}
    return replace(
        record, keys=(*keys, f"object:{entry.key}", _state_key(entry)), position=record.where, payload=payload
    )


def _as_source(known: Record) -> Record:
    """A stored record as the older part of the one that takes its place: it stands for its own sources."""
    keys = tuple(key for key in known.keys if not key.startswith(("voxel:", "place:", "entry:")))
    links = (Link("from", known.id or 0), Link("corrects", known.id or 0))
    return replace(known, id=None, t_ingest=None, keys=keys, links=links)


def _merged(a: Record, b: Record) -> Record:
    """One record for two, the newer one's words; stays of an entry that both have seen count as `b` has them."""
    stays, later = a.payload["stays"], b.payload["stays"]
    n_a = int(a.payload["count"]) - sum(stays[name] for name in later if name in stays)
    n_b = int(b.payload["count"])
    share = n_b / (max(n_a, 0) + n_b)
    newer = a if a.t_event > b.t_event else b
    payload: dict[str, Any] = {
        **newer.payload,
        "count": max(n_a, 0) + n_b,
        "first_seen": min(float(r.payload["first_seen"]) for r in (a, b)),
        "stays": dict(list({**stays, **later}.items())[-MOST_STAYS:]),
    }
    return replace(
        newer,
        position=_mean(a.where, b.where, share),
        embedding=_mean_direction(a.embedding, b.embedding, share),
        keys=tuple(dict.fromkeys((*a.keys, *b.keys))),
        links=tuple(dict.fromkeys((*a.links, *b.links))),
        confidence=max(a.confidence, b.confidence),
        payload=payload,
    )


def _mean(a: np.ndarray | None, b: np.ndarray | None, share: float) -> np.ndarray | None:
    if a is None or b is None:
        return a if b is None else b
    return np.asarray((1.0 - share) * np.asarray(a, dtype=np.float64) + share * np.asarray(b, dtype=np.float64))


def _mean_direction(a: np.ndarray | None, b: np.ndarray | None, share: float) -> np.ndarray | None:
    mean = _mean(a, b, share)
    is_lost = mean is not None and not mean.astype(np.float16).any()  # opposite vectors cancel out
    return b if is_lost else mean
