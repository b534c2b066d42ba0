"""Short-term memory: the few objects that matter now, found by nearness and by meaning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float

from embmem.observation import Observation
from embmem.protocols import Deformation, LayerState
from embmem.records import Hit, Link, Query, Record
from embmem.short_term.checks import checked_embedding, checked_pose, checked_record, details_of
from embmem.short_term.eviction import EvictionPolicy, Fifo, Merging
from embmem.short_term.rows import Rows
from embmem.short_term.state import load_parts, save_parts


@dataclass(frozen=True, eq=False)
class Entry:
    """An object as the short-term memory holds it."""

    key: str
    record: Record  # its newest sighting, map frame
    count: int  # sightings
    first_seen: float  # [s]

    def to_record(self) -> Record:
        """A new record for a store, derived from the sighting, with `count` and `first_seen` in its payload."""
        source = () if self.record.id is None else (Link("from", self.record.id),)
        payload = {**self.record.payload, "count": self.count, "first_seen": self.first_seen}
        return replace(self.record, id=None, t_ingest=None, links=(*self.record.links, *source), payload=payload)


class ShortTermMemory:
    """A fixed number of objects, one entry an object, held relative to an anchor (KARMA, Mem4Nav).

    The newest sighting of an object tells its position, words and embedding (what it lacks of position and embedding
    is kept); older ones that come late only count. When a new object finds the memory full, `policy` says who leaves.
    With `merging` the most alike neighbours in order of arrival make room first (MemoryVLA merges tokens so): the
    entry with more sightings stays (of equals the earlier), with the mean of both positions and embeddings weighted
    by sightings, the earlier stamps and the sum of the sightings; the other leaves as it was. FIFO-merge is `Fifo`
    with `merging`. Objects that are not alike are never averaged: where no pair is, `policy` decides.

    It is a layer that takes in nothing by itself: pixels carry no identity, so whoever tells objects apart calls
    `put`. Images (`blob`) stay in the store.
    """

    kind: ClassVar[str] = "short_term"
    version: ClassVar[int] = 1

    def __init__(
        self,
        policy: EvictionPolicy,
        *,
        merging: Merging | None = None,
        T_map_anchor: Float[np.ndarray, "4 4"] | None = None,
    ) -> None:
        """An empty memory.

        Args:
            policy: who leaves; it must be empty, and its capacity is that of the memory.
            merging: merge what is alike before anything leaves.
            T_map_anchor: the frame that positions are held in; the map frame if not given.
        """
        if len(policy):
            raise ValueError(f"the policy must be empty, it holds {len(policy)} keys")
        self.policy, self.merging = policy, merging
        self._T_map_anchor = np.eye(4) if T_map_anchor is None else checked_pose(T_map_anchor)
        self._rows = Rows(policy.capacity)

    @property
    def T_map_anchor(self) -> Float[np.ndarray, "4 4"]:
        """The anchor."""
        return self._T_map_anchor.copy()

    @property
    def capacity(self) -> int:
        """The most objects it holds."""
        return self.policy.capacity

    @property
    def n_bytes(self) -> int:
        """Of RAM: arrays exactly, dictionaries by an estimate a key."""
        return self._rows.n_bytes() + self.policy.n_bytes

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: str) -> bool:
        return key in self._rows.row_of

    def put(self, key: str, record: Record) -> list[Entry]:
        """Take a sighting of the object `key`; the entries that left for it, for the long-term memory to take.

        Raises:
            ValueError: if the key is empty or the record not finite, or of another embedding size; nothing changed.
        """
        record = checked_record(key, record, self._rows.n_dimensions)
        details, T_anchor_map = details_of(key, record), np.linalg.inv(self._T_map_anchor)
        if key in self:
            self._rows.sight(key, record, details, T_anchor_map)
            self.policy.touch(key, is_read=False)
            return []
        gone = []
        if len(self) == self.capacity and (merged := self._merge()) is not None:
            gone.append(merged)
        leaving = self.policy.admit(key)
        if leaving is not None:
            gone.append(self._entry(str(leaving)))
            self._rows.drop(str(leaving))
        self._rows.add(key, record, details, T_anchor_map)
        return gone

    def get(self, key: str, *, is_read: bool = True) -> Entry | None:
        """The object, None if it is not held; a read counts as a use."""
        if key not in self:
            return None
        if is_read:
            self.policy.touch(key, is_read=True)
        return self._entry(key)

    def entries(self) -> list[Entry]:
        """Every object in order of arrival; not a read."""
        return [self._entry(self._rows.key_of[row]) for row in self._rows.in_order()]

    def remove(self, key: str) -> Entry:
        """Let go of an object.

        Raises:
            KeyError: if it is not held.
        """
        if key not in self:
            raise KeyError(f"no object {key!r} in the short-term memory")
        entry = self._entry(key)
        self.policy.remove(key)
        self._rows.drop(key)
        return entry

    def query(self, query: Query, *, is_read: bool = True) -> list[Hit]:
        """Objects that match every set field; a read counts as a use of each hit, the best one last.

        With `embedding` the score is the cosine, else with `near` 1 / (1 + distance [m]), else the confidence. Ties:
        the nearer, the one seen last, the one that came first. Text is not searched: without an embedding of it there
        is no answer, nor is there one by frustum, links or ingest time.
        """
        rows, table = self._rows, self._rows.table
        if (query.text is not None and query.embedding is None) or query.frustum is not None:
            return []
        if query.linked_to is not None or query.as_of is not None or query.ingested_since > -np.inf:
            return []
        R, t = self._T_map_anchor[:3, :3], self._T_map_anchor[:3, 3]
        position = np.einsum("ij,nj->ni", R, table["position"]) + t
        match = rows.is_used & self._words_match(query) & _numbers_match(table, position, query)
        distance, score = np.zeros(len(table)), table["confidence"]
        if query.near is not None:
            distance = np.linalg.norm(position - query.near, axis=1)
            match &= distance <= query.radius  # an unknown position is near nothing
            score = 1.0 / (1.0 + distance)
        if query.embedding is not None:
            score = rows.cosine(checked_embedding(query.embedding, rows.n_dimensions))
            match &= (score > -np.inf) & (score >= query.min_similarity)
        found = np.flatnonzero(match)
        ties = (table["arrival"][found], -table["last_seen"][found], distance[found])
        best = found[np.lexsort((*ties, -score[found]))][: max(query.k, 0)]
        hits = [self._hit(int(row), float(score[row]), float(distance[row]), query) for row in best]
        if is_read:
            for hit in reversed(hits):
                self.policy.touch(hit.record.keys[0], is_read=True)  # type: ignore[union-attr]
        return hits

    def reanchor(self, T_map_anchor: Float[np.ndarray, "4 4"]) -> None:
        """Hold positions relative to a new anchor; every object stays where it is in the map."""
        new = checked_pose(T_map_anchor)
        self._move(np.linalg.inv(new) @ self._T_map_anchor)
        self._T_map_anchor = new

    def correct_anchor(self, T_map_anchor: Float[np.ndarray, "4 4"]) -> None:
        """The anchor turned out to be elsewhere (loop closure); every object moves along with it."""
        self._T_map_anchor = checked_pose(T_map_anchor)

    def observe(self, observation: Observation) -> None:
        """Takes in nothing: see `put`."""

    def tick(self, stamp: float) -> None:
        """Time alone changes nothing: policies count uses."""

    def deform(self, deformation: Deformation) -> None:
        """Move every object with the keyframe nearest to its stamp; the anchor stays (`correct_anchor` moves it)."""
        if len(deformation.stamps) == 0 or len(self) == 0:
            return
        T_new_old = deformation.at(self._rows.table["last_seen"])
        self._move(np.linalg.inv(self._T_map_anchor) @ T_new_old @ self._T_map_anchor)

    def stats(self) -> dict[str, float]:
        """Objects, those with an embedding, the capacity, bytes of RAM."""
        n_embedded = np.count_nonzero(self._rows.is_used & (self._rows.table["norm"] > 0))
        return {
            "entries": float(len(self)), "embedded": float(n_embedded), "capacity": float(self.capacity),
            "bytes": float(self.n_bytes),
        }  # fmt: skip

    def save(self) -> LayerState:
        """All entries, the anchor and the policy with what it has counted."""
        return save_parts((self.kind, self.version), (self.policy, self.merging, self._T_map_anchor, self._rows))

    @classmethod
    def load(cls, state: LayerState) -> ShortTermMemory:
        """The memory that was saved; its policy is one of those of embmem.

        Raises:
            InputError: if the state is of another kind, a newer version or malformed.
        """
        policy, merging, T_map_anchor, rows = load_parts((cls.kind, cls.version), state)
        memory = cls(Fifo(policy.capacity), merging=merging, T_map_anchor=T_map_anchor)
        memory.policy, memory._rows = policy, rows
        return memory

    def _entry(self, key: str) -> Entry:
        row = self._rows.row_of[key]
        at = self._rows.table[row]
        record = self._rows.record(row, self._T_map_anchor)
        return Entry(key, record, int(at["count"]), float(at["first_seen"]))

    def _hit(self, row: int, score: float, distance: float, query: Query) -> Hit:
        record, count = self._rows.record(row, self._T_map_anchor), int(self._rows.table["count"][row])
        why, detail = [f"seen {count} times"], {"count": float(count)}
        if query.near is not None:
            why.insert(0, f"{distance:.2f} m away")
            detail["distance"] = distance
        if query.embedding is not None:
            why.insert(0, f"cosine {score:.2f}")
            detail["cosine"] = score
        entity = query.entity if query.entity is not None else next(iter(record.entities), None)
        return Hit(score, ", ".join(why), self.kind, record.t_event, record.position, entity, record, detail)

    def _words_match(self, query: Query) -> Bool[np.ndarray, " capacity"]:
        match = np.ones(self.capacity, dtype=np.bool_)
        words = (("entities", query.entity), ("place", query.place), ("source", query.source), ("keys", query.key))
        for field, word in words:
            if word is not None:
                match &= self._rows.matching(field, word)
        if query.kind is not None and query.kind != self.kind:
            match &= self._rows.matching("kind", query.kind)
        return match

    def _move(self, T: Float[np.ndarray, "*capacity 4 4"]) -> None:
        """Move what every row holds in the anchor frame."""
        table = self._rows.table
        table["position"] = np.einsum("...ij,...j->...i", T[..., :3, :3], table["position"]) + T[..., :3, 3]
        table["T_anchor_obs"] = T @ table["T_anchor_obs"]

    def _merge(self) -> Entry | None:
        """Make one of the two neighbours that are most alike; the entry that left, None if none are alike enough."""
        if self.merging is None or len(self) < 2:
            return None
        rows, order = self._rows, self._rows.in_order()
        cosine = rows.neighbour_cosine(order)
        step = np.linalg.norm(np.diff(rows.table["position"][order], axis=0), axis=1)
        cosine[(step > self.merging.radius) | (cosine < self.merging.similarity)] = -np.inf
        best = int(np.argmax(cosine))
        if cosine[best] == -np.inf:
            return None
        stays, goes = int(order[best]), int(order[best + 1])
        if rows.table["count"][goes] > rows.table["count"][stays]:
            stays, goes = goes, stays
        entry = self._entry(rows.key_of[goes])
        rows.absorb(stays, goes)
        self.policy.remove(entry.key)
        rows.drop(entry.key)
        return entry


def _numbers_match(
    table: np.ndarray, position: Float[np.ndarray, "capacity 3"], query: Query
) -> Bool[np.ndarray, " capacity"]:
    match = (query.since <= table["last_seen"]) & (table["last_seen"] < query.until)
    match &= table["confidence"] >= query.min_confidence
    if query.valid_at is not None:
        match &= (table["valid"][:, 0] <= query.valid_at) & (query.valid_at < table["valid"][:, 1])
    if query.box is not None:
        match &= ((query.box[0] <= position) & (position <= query.box[1])).all(axis=1)
    return match
