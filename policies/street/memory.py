"""Mem4Nav's idea as far as streets go: octree keys, landmark graph, short-term store, long-term log, tokens.

Built from the description of He et al. (arXiv:2506.19433, withdrawn by its authors) and corrected where that is wrong:
see `embmem.long_term` and `embmem.maps.landmarks`. Every part can be left out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from embmem.forgetting.budgets import used_bytes
from embmem.long_term import Compressor, LongTermMemory
from embmem.maps import LandmarkGraph
from embmem.maps.voxels import morton
from embmem.records import Query, Record
from embmem.short_term.eviction import FrequencyAge
from embmem.short_term.memory import ShortTermMemory
from embmem.store import RecordStore
from embmem.store.purge import forget

FORGOTTEN = 16  # of so many records one is forgotten at a time
ORIGIN = 1 << (morton.BITS - 1)  # cells are counted from there, so that both signs have codes


@dataclass(frozen=True)
class Recollection:
    """Where something was seen that looks like what is asked for."""

    position: tuple[float, float]  # [m]
    cosine: float
    why: str


@dataclass(frozen=True)
class Parts:
    """Which parts of the memory there are, and their sizes."""

    octree: bool = True  # the long term is asked around the place where one stands, not in the whole city
    graph: bool = True  # sightings of one landmark become one node with a mean descriptor
    short_term: bool = True
    long_term: bool = True
    token_dim: int | None = None  # numbers of a token that stands for the log of a leaf; None: the exact log
    leaf: float = 25.0  # [m], edge of an octree leaf
    reach: float = 480.0  # [m] east, west, north and south, within which leaves are asked
    similar: float = 0.7  # cosine from which on a memory answers
    radius: float = 3.0  # [m] around the walker, within which the short term answers
    k: int = 3
    capacity: int = 64  # of the short term
    same: float = 30.0  # [m] within which two alike sightings are one landmark
    most: int | None = None  # records of the long term: the oldest are forgotten; None: no limit

    def __post_init__(self) -> None:
        sizes = (self.leaf, self.reach, self.radius, self.same, self.k, self.capacity, self.most or 1)
        if not all(0 < size < np.inf for size in sizes) or not -1 <= self.similar <= 1 or self.most == 0:
            raise ValueError(f"need sizes > 0 and similar in [-1, 1], got {self}")


class StreetMemory:
    """Takes sightings, answers where something was seen: short term first, else the long term's best."""

    def __init__(self, parts: Parts) -> None:
        """Args: parts: what there is of it."""
        self.parts = parts
        self._compressor: Compressor | None = None
        if parts.token_dim is not None:
            from embmem.tokens import TokenCompressor

            self._compressor = TokenCompressor(64, token_dim=parts.token_dim)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        p = self.parts
        self._store = RecordStore(clock=lambda: 0.0)
        self.long_term = LongTermMemory(self._store, edge=p.leaf, compressor=self._compressor)
        self.short_term = ShortTermMemory(FrequencyAge(p.capacity))
        self.graph = LandmarkGraph(near=p.same, similar=p.similar)
        self._known: set[int] = set()  # landmarks that the long term holds
        self._leaves: dict[str, Float[np.ndarray, "2"]] = {}
        self._kept: deque[tuple[int, int, str]] = deque()  # (record, landmark, leaf), oldest first
        self.n_written = 0

    def octree_key(self, position: Float[np.ndarray, "3"]) -> str:
        """The leaf that holds a point, by its Morton code; a shorter code would name the cell around it."""
        cell = np.floor(np.asarray(position) / self.parts.leaf).astype(np.int64) + ORIGIN
        return f"octree:{int(morton.encode(cell[None])[0]):x}"

    def write(
        self, position: Float[np.ndarray, "2"], embedding: Float[np.ndarray, " d"], stamp: float, here: np.ndarray
    ) -> None:
        """Take a sighting.

        Args:
            position: where it seems to be [m].
            embedding: unit vector of what it looks like.
            stamp: of the sighting [s].
            here: (2,) where it was seen from [m].

        Raises:
            ValueError: if something is not finite or of another shape; nothing is taken then.
        """
        for name, values in (("position", position), ("here", here)):
            if np.shape(values) != (2,) or not np.isfinite(values).all():
                raise ValueError(f"{name} must be two finite numbers, got {values}")
        if np.ndim(embedding) != 1 or not np.isfinite(embedding).all() or not np.any(embedding):
            raise ValueError(f"an embedding must be a finite vector, not all 0, got shape {np.shape(embedding)}")
        p, point = self.parts, np.append(position, 0.0)
        leaf = self.octree_key(point)
        self.n_written += 1
        landmark = -1
        if p.graph:
            landmark = self.graph.visit(point, np.asarray(embedding, dtype=np.float64), stamp)
        key = f"landmark:{landmark}" if p.graph else f"sighting:{self.n_written}"
        unit = np.asarray(embedding, dtype=np.float32)
        payload = {"x": float(position[0]), "y": float(position[1]), "landmark": landmark}
        if p.short_term:  # kept under the place from which it was seen
            seen = Record("sighting", stamp, "camera", position=np.append(here, 0.0), embedding=unit, payload=payload)
            self.short_term.put(key, seen)
        if p.long_term and landmark not in self._known:
            record = Record("sighting", stamp, "camera", position=point, keys=(leaf,), embedding=unit, payload=payload)
            self._kept.append((self.long_term.write(record).id, landmark, leaf))
            self._leaves.setdefault(leaf, (np.floor(position / p.leaf) + 0.5) * p.leaf)
            if p.graph:
                self._known.add(landmark)
            if p.most is not None and len(self._kept) > p.most:
                self._forget(max(1, p.most // FORGOTTEN))

    def read(self, embedding: Float[np.ndarray, " d"], here: Float[np.ndarray, "2"]) -> list[Recollection]:
        """Where something like that was seen, most alike first; empty where nothing is like it.

        Args:
            embedding: unit vector of what is looked for.
            here: where the walker stands [m].
        """
        p, unit = self.parts, np.asarray(embedding, dtype=np.float32)
        if p.short_term:
            near = Query(embedding=unit, near=np.append(here, 0.0), radius=p.radius, min_similarity=p.similar, k=p.k)
            found = [self._told(h.record, h.score, h.why) for h in self.short_term.query(near) if h.record is not None]
            if found:
                return found
        if not p.long_term or not self._leaves:
            return []
        if self._compressor is not None:
            return self._from_tokens(unit, here)
        around = np.array([[*(here - p.reach), -1.0], [*(here + p.reach), 1.0]]) if p.octree else None
        asked = Query(embedding=unit, box=around, min_similarity=p.similar, k=p.k)  # `near` would rank by distance too
        hits = self.long_term.search(asked)
        told = [(h.record, float(np.dot(_unit(h.record.embedding), unit)), h.why) for h in hits if h.record is not None]
        return [self._told(*one) for one in sorted(told, key=lambda one: -one[1])]

    def _forget(self, n: int) -> None:
        """Remove the oldest records of the long term; what was a landmark of it may become one again."""
        oldest = [self._kept.popleft() for _ in range(n)]
        forget(self._store, [record for record, _, _ in oldest])
        self._known.difference_update(landmark for _, landmark, _ in oldest)
        filled = {leaf for _, _, leaf in self._kept}
        self._leaves = {leaf: centre for leaf, centre in self._leaves.items() if leaf in filled}
        self.long_term.drop_tokens()

    def stats(self) -> dict[str, float]:
        """Sightings taken, landmarks, leaves, records of the long term, bytes of graph and short term, of the log."""
        n_records = len(self._store)
        with self._store.reading() as db:
            n_log = used_bytes(db)
        return {
            "sightings": float(self.n_written),
            "landmarks": float(len(self.graph)),
            "leaves": float(len(self._leaves)),
            "records": float(n_records),
            "short_term": float(len(self.short_term)),
            "bytes": self.graph.stats()["bytes"] + float(self.short_term.n_bytes),
            "log_bytes": float(n_log),
        }

    def _from_tokens(self, unit: np.ndarray, here: np.ndarray) -> list[Recollection]:
        """The leaves whose tokens hold something alike; a token does not tell where in its leaf."""
        centres, leaves = np.array(list(self._leaves.values())), list(self._leaves)
        rows = np.arange(len(leaves))
        if self.parts.octree:
            rows = np.flatnonzero(np.abs(centres - here).max(axis=1) <= self.parts.reach)
        answers = self.long_term.read_tokens([leaves[i] for i in rows.tolist()], unit).astype(np.float64)
        cosines = answers @ unit / np.maximum(np.linalg.norm(answers, axis=1), 1e-12)
        best = np.argsort(-cosines, kind="stable")[: self.parts.k]
        return [
            Recollection((float(x), float(y)), float(cosine), f"token of {leaves[row]}")
            for row, (x, y), cosine in zip(rows[best], centres[rows[best]], cosines[best], strict=True)
            if cosine >= self.parts.similar
        ]

    def _told(self, record: Record, cosine: float, why: str) -> Recollection:
        return Recollection((record.payload["x"], record.payload["y"]), cosine, why)


def _unit(vector: np.ndarray | None) -> np.ndarray:
    if vector is None:
        return np.zeros(1)
    vector = np.asarray(vector, dtype=np.float64)
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
