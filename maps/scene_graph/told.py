"""Relations that somebody told: found in the graph by meaning, with conflicts resolved where they can have arisen.

The local update of RoboMemory (Lei et al., arXiv 2508.01415): nodes that mean about the same as what was told, and what
is a few hops around them, are the only part of the graph that is looked at; the result is that of looking at all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import networkx as nx
import numpy as np
from jaxtyping import Float

from embmem.maps.scene_graph.relations import RELATIONS

ONE_OF = ("on", "in", "part of")  # a thing stands in at most one of these, to one other
_Edge = tuple[str, str, str]  # subject, relation, target


@dataclass(frozen=True, eq=False)
class Mention:
    """Something that was spoken of."""

    name: str
    embedding: Float[np.ndarray, " d"]  # of the name, or of a view


@dataclass(frozen=True, eq=False)
class Statement:
    """Somebody says that one thing stands in a relation to another."""

    subject: Mention
    relation: str  # one of `RELATIONS`
    target: Mention
    stamp: float  # [s] when it was so
    confidence: float = 1.0


@dataclass(eq=False)
class ToldGraph:
    """Nodes with embeddings, and relations with the time they were said for. Conflicts:

    - Of what a node is said to be on, in or part of the latest holds; of one time the surest, then the first by name.
    - Nothing is on or in itself by way of others: the oldest relation of such a ring is dropped.
    - What is on, in or part of another is not next to it; "next to" is kept once, from the lower key to the higher.
    - A node that was only told of and has no relation left is dropped.
    """

    n_similar: int = 5  # nodes that a mention may mean
    hops: int = 2  # around them
    same: float = 0.85  # cosine from which a mention is a node that is there
    names: dict[str, str] = field(default_factory=dict, init=False)  # of all nodes
    edges: dict[_Edge, tuple[float, float]] = field(default_factory=dict, init=False)  # (stamp, confidence)

    def __post_init__(self) -> None:
        if self.n_similar < 1 or self.hops < 1 or not -1.0 < self.same <= 1.0:
            raise ValueError(
                f"need n_similar, hops >= 1 and same in (-1, 1], got {self.n_similar, self.hops, self.same}"
            )
        self._rows: dict[str, np.ndarray] = {}  # unit vectors
        self._fixed: set[str] = set()
        self._beside: dict[str, set[_Edge]] = {}
        self._next = 0

    def add(self, graph: nx.DiGraph, embeddings: dict[str, Float[np.ndarray, " d"]], stamp: float) -> None:
        """Add the nodes of a scene graph that have an embedding, with their relations as of a time; they stay.

        Raises:
            ValueError: if an embedding or the stamp is not valid, or names no node; nothing is added then.
        """
        if not np.isfinite(stamp) or not all(key in graph for key in embeddings):
            raise ValueError(f"need a finite stamp and nodes of the graph, got {stamp} and {sorted(embeddings)}")
        self._check([Mention(key, embedding) for key, embedding in embeddings.items()])
        for key, embedding in embeddings.items():
            self._add(key, str(graph.nodes[key]["name"]), embedding)
            self._fixed.add(key)
        for a, b, edge in graph.edges(data=True):
            if a in embeddings and b in embeddings:
                self._put((a, edge["relation"], b), (stamp, 1.0))

    def tell(self, statements: Sequence[Statement]) -> int:
        """Take in statements and resolve conflicts around them; returns how many relations were looked at.

        Raises:
            ValueError: if a relation or a number is not valid; nothing is taken in then.
        """
        for each in statements:
            if each.relation not in RELATIONS or not (np.isfinite(each.stamp) and 0.0 <= each.confidence <= 1.0):
                raise ValueError(f"cannot take in {each.relation!r} at {each.stamp} with confidence {each.confidence}")
        self._check([mention for each in statements for mention in (each.subject, each.target)])
        around: set[str] = set()
        for each in statements:
            ends = []
            for mention in (each.subject, each.target):
                similar = self._similar(mention.embedding)
                around.update(key for key, _ in similar)
                ends.append(self._node(mention, similar))
            if ends[0] != ends[1]:
                self._put((ends[0], each.relation, ends[1]), (each.stamp, each.confidence))
            around.update(ends)
        return self._resolve(self._within(around))

    def resolve(self) -> int:
        """Resolve the conflicts of the whole graph; returns how many relations were looked at."""
        return self._resolve(set(self.names))

    def _check(self, mentions: Sequence[Mention]) -> None:
        """Refuse embeddings without direction, or of another length than those that are here."""
        for mention in mentions:
            if not np.isfinite(mention.embedding).all() or not np.any(mention.embedding):
                raise ValueError(f"the embedding of {mention.name!r} has no direction")
        lengths = {len(row) for row in (*self._rows.values(), *(mention.embedding for mention in mentions))}
        if len(lengths) > 1:
            raise ValueError(f"embeddings must keep one length, got {sorted(lengths)}")

    def _similar(self, embedding: np.ndarray) -> list[tuple[str, float]]:
        """The most similar nodes with their cosine, best first; ties by key."""
        if not self._rows:
            return []
        keys = list(self._rows)
        cosines = np.stack([self._rows[key] for key in keys]) @ (embedding / np.linalg.norm(embedding))
        best = sorted(range(len(keys)), key=lambda i: (-cosines[i], keys[i]))[: self.n_similar]
        return [(keys[i], float(cosines[i])) for i in best]

    def _node(self, mention: Mention, similar: list[tuple[str, float]]) -> str:
        """The key of what a mention means: the most similar node, one of the same name first; or a new one."""
        fits = [(key, cosine) for key, cosine in similar if cosine >= self.same]
        named = [key for key, _ in fits if self.names[key].casefold() == mention.name.casefold()]
        if named or fits:
            return named[0] if named else fits[0][0]
        key = f"told:{self._next}"
        self._next += 1
        self._add(key, mention.name, mention.embedding)
        return key

    def _add(self, key: str, name: str, embedding: np.ndarray) -> None:
        self.names[key] = name
        self._rows[key] = np.asarray(embedding, dtype=np.float64) / np.linalg.norm(embedding)
        self._beside.setdefault(key, set())

    def _put(self, edge: _Edge, said: tuple[float, float]) -> None:
        """Add a relation; of one that is there the later time, then the greater confidence stays."""
        if edge[1] == "next to":
            edge = (min(edge[0], edge[2]), edge[1], max(edge[0], edge[2]))
        self.edges[edge] = max(self.edges.get(edge, said), said)
        for end in (edge[0], edge[2]):
            self._beside[end].add(edge)

    def _drop(self, edge: _Edge) -> None:
        del self.edges[edge]
        for end in (edge[0], edge[2]):
            self._beside[end].discard(edge)

    def _within(self, keys: Iterable[str]) -> set[str]:
        """The nodes at most `hops` from these."""
        found = set(keys)
        front = found
        for _ in range(self.hops):
            front = {end for key in front for edge in self._beside[key] for end in (edge[0], edge[2])} - found
            found = found | front
        return found

    def _resolve(self, keys: set[str]) -> int:
        looked_at: set[_Edge] = {edge for key in keys for edge in self._beside[key]}
        touched = set(keys)
        for key in sorted(keys):
            for edge in self._places(key)[1:]:
                self._drop(edge)
                touched |= {edge[0], edge[2]}
        for key in sorted(keys):
            ring, walked = self._ring(key)
            looked_at |= walked
            if ring:
                oldest = min(ring, key=lambda edge: (self.edges[edge], edge))
                self._drop(oldest)
                touched |= {oldest[0], oldest[2]}
        for edge in sorted(edge for edge in looked_at if edge in self.edges and edge[1] == "next to"):
            ends = {edge[0], edge[2]}
            if any({other[0], other[2]} == ends and other[1] in ONE_OF for other in self._beside[edge[0]]):
                self._drop(edge)
                touched |= ends
        for key in sorted(touched - self._fixed):
            if not self._beside[key]:
                del self.names[key], self._rows[key], self._beside[key]
        return len(looked_at)

    def _places(self, key: str) -> list[_Edge]:
        """What a node is said to be on, in or part of, the relation that holds first."""
        found = [edge for edge in self._beside[key] if edge[0] == key and edge[1] in ONE_OF]
        return sorted(found, key=lambda edge: (*(-v for v in self.edges[edge]), self.names[edge[2]], edge))

    def _ring(self, key: str) -> tuple[list[_Edge], set[_Edge]]:
        """The relations of the ring that a node's places lead into, if any, and all that were followed."""
        way: list[_Edge] = []
        at: dict[str, int] = {}
        while key not in at:
            at[key] = len(way)
            places = self._places(key)
            if not places:
                return [], set(way)
            way.append(places[0])
            key = places[0][2]
        return way[at[key] :], set(way)
