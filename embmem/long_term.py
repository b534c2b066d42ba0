"""Long-term memory: an exact append log per place, in any store, with an optional token of a fixed size beside it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from embmem.protocols import Store, Ticket
from embmem.records import Hit, Query, Record

MOST_TOKENS = 4096  # that are held in RAM
_MOST = 2**31 - 1


@runtime_checkable
class Compressor(Protocol):
    """What `embmem.tokens.TokenCompressor` offers."""

    def summarise(self, log: np.ndarray, cues: np.ndarray | None = None) -> np.ndarray:
        """The token of a log, one fact a row."""

    def empty(self) -> np.ndarray:
        """The token of an empty log."""

    def read(self, token: np.ndarray, query: np.ndarray) -> np.ndarray:
        """What the token holds under a query."""

    def read_each(self, tokens: np.ndarray, query: np.ndarray) -> np.ndarray:
        """What each of several tokens, one a row, holds under one query."""


class LongTermMemory:
    """Files every record under the voxel that it lies in and under its place, the node of a graph.

    The log of a key is exact: all that was written there and is believed, in the order of writing. A token is derived
    from it and is made again whenever it is asked for and not at hand.
    """

    def __init__(self, store: Store, *, edge: float = 1.0, compressor: Compressor | None = None) -> None:
        """On a store, which may hold other records as well.

        Args:
            store: where records go.
            edge: of a voxel [m].
            compressor: makes tokens of the embeddings of a log.
        """
        if not 0 < edge < np.inf:
            raise ValueError(f"the edge of a voxel must be > 0, got {edge}")
        self.store, self.edge, self._compressor = store, edge, compressor
        self._tokens: OrderedDict[str, np.ndarray] = OrderedDict()

    def voxel_key(self, position: Float[np.ndarray, "3"]) -> str:
        """The key of the voxel that holds a point [m]."""
        x, y, z = (int(i) for i in np.floor(np.asarray(position, dtype=np.float64) / self.edge))
        return f"voxel:{x},{y},{z}"

    def keys_of(self, record: Record) -> tuple[str, ...]:
        """What a record is filed under: its own keys, its voxel, its place."""
        voxel = () if record.where is None else (self.voxel_key(record.where),)
        place = () if record.place is None else (f"place:{record.place}",)
        return tuple(dict.fromkeys((*record.keys, *voxel, *place)))

    def filed(self, record: Record) -> Record:
        """The record as it is written.

        Raises:
            ValueError: if it has neither key nor position nor place.
        """
        keys = self.keys_of(record)
        if not keys:
            raise ValueError(f"a record {record.kind!r} without key, position and place can be filed under nothing")
        return replace(record, keys=keys)

    def write(self, record: Record) -> Ticket:
        """File a record.

        Raises:
            ValueError: if it can be filed under nothing, or is not fit to be stored.
        """
        record = self.filed(record)
        ticket = self.store.write(record)
        for key in record.keys:
            self._tokens.pop(key, None)
        return ticket

    def history(self, key: str, *, since: float = -np.inf, until: float = np.inf) -> list[Record]:
        """All that is believed of a key, in the order of writing; events in [since, until) [s]."""
        found = self.store.read(Query(key=key, since=since, until=until, k=_MOST))
        return sorted(found, key=lambda record: record.id or 0)

    def near(self, position: Float[np.ndarray, "3"], radius: float) -> dict[str, list[Record]]:
        """The logs of the voxels around a point, only what lies within the radius [m]; nearest voxel first."""
        logs: dict[str, list[Record]] = {}
        found = self.store.read(Query(near=position, radius=radius, k=_MOST))
        apart = [0.0 if r.where is None else float(np.linalg.norm(r.where - position)) for r in found]
        for i in sorted(range(len(found)), key=lambda i: (apart[i], found[i].id or 0)):
            where = found[i].where
            key = None if where is None else self.voxel_key(where)
            if key is not None and key in found[i].keys:
                logs.setdefault(key, []).append(found[i])
        return {key: sorted(log, key=lambda r: r.id or 0) for key, log in logs.items()}

    def search(self, query: Query) -> list[Hit]:
        """The best `query.k` of what is filed; see `Store.search`."""
        wanted, n = query.k, query.k
        while True:
            hits = self.store.search(replace(query, k=n)).hits
            filed = [hit for hit in hits if hit.record is not None and hit.record.keys]
            if len(filed) >= wanted or len(hits) < n:
                return [replace(hit, layer="long_term") for hit in filed[:wanted]]
            n *= 4  # the others were not filed here

    def token(self, key: str) -> Float[np.ndarray, " token"]:
        """The token of a key's log, whatever its length; entries without embedding are not in it.

        Raises:
            ValueError: if the memory has no compressor, or the embeddings are not of its size.
        """
        compressor = self._needed()
        if key in self._tokens:
            self._tokens.move_to_end(key)
            return self._tokens[key]
        facts = [r.embedding for r in self.history(key) if r.embedding is not None]
        if facts:
            token = compressor.summarise(np.stack([np.asarray(fact, dtype=np.float32) for fact in facts]))
        else:
            token = compressor.empty()
        self._tokens[key] = token
        if len(self._tokens) > MOST_TOKENS:
            self._tokens.popitem(last=False)
        return token

    def read_token(self, key: str, embedding: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        """What a key's token holds under a cue, a unit vector: an approximation of the nearest entry of its log."""
        return np.asarray(self._needed().read(self.token(key), np.asarray(embedding, dtype=np.float32)))

    def read_tokens(self, keys: Sequence[str], embedding: Float[np.ndarray, " d"]) -> Float[np.ndarray, "n d"]:
        """What the tokens of several keys hold under a cue, one a row; see `read_token`."""
        compressor, cue = self._needed(), np.asarray(embedding, dtype=np.float32)
        if not keys:
            return np.zeros((0, len(cue)), dtype=np.float32)
        return np.asarray(compressor.read_each(np.stack([self.token(key) for key in keys]), cue))

    def drop_tokens(self) -> None:
        """Make all tokens again from their logs, after records were corrected, withdrawn or removed elsewhere."""
        self._tokens.clear()

    def _needed(self) -> Compressor:
        if self._compressor is None:
            raise ValueError("tokens need a compressor; see embmem.tokens")
        return self._compressor
