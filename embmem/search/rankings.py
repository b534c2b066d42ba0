"""What a query ranks by, each ranking over the records that pass its filters."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from embmem.protocols import Ranking
from embmem.records import Query
from embmem.search.embeddings import Embeddings
from embmem.search.finder import FIRST_RADIUS, IN_WINDOW, LAST_RADIUS, Finder, nearest_first
from embmem.search.fuse import Signal, abstention
from embmem.search.plan import HANDFUL, Gathering, Plan
from embmem.search.window import Window
from embmem.search.words import Words
from embmem.store.frustum import bounds
from embmem.store.schema import Connection

FEW = 4096  # records whose embeddings are read from the store rather than loading the index
FURTHER = 4  # times as many are looked for where too few pass
BY_QUERY = ("text", "embedding", "near", "graph")
BY_WEIGHT = ("recency", "confidence")


def asked(query: Query, ranking: Ranking) -> list[str]:
    """The rankings that bring candidates."""
    fields = (query.text, query.embedding, query.near, query.linked_to)
    names = [name for name, value in zip(BY_QUERY, fields, strict=True) if value is not None]
    return names if names and not ranking.weights.get("recency") else [*names, "recency"]


def gathering(names: list[str], drive: str | None = None) -> Gathering:
    """Which filters are worth reading from their indexes first, where these rankings bring candidates."""
    if names in (["recency"], ["near"]):
        return Gathering(limit=HANDFUL, drive=drive)
    if names == ["text"]:
        return Gathering(beside=frozenset({"text"}), drive=drive)
    if "embedding" in names and "text" not in names:
        return Gathering(beside=IN_WINDOW, drive=drive)
    return Gathering(drive=drive)


class Rankings:
    """The rankings of one query, in one state of the database; higher scores are better in all of them."""

    def __init__(
        self, db: Connection, embeddings: Embeddings, query: Query, unit: np.ndarray | None, plan: Plan
    ) -> None:
        self._db = db
        self._embeddings = embeddings
        self._query = query
        self._unit = unit
        self._plan = plan
        self._words = None if query.text is None else Words(db, query.text, plan)
        self._cosines: dict[int, float] = {}
        self._finder: Finder
        self._hops: dict[int, int] = {}

    @property
    def match(self) -> str | None:
        """The words that a record must hold, in the language of FTS5."""
        return None if self._words is None else self._words.match

    def attach(self, finder: Finder, hops: dict[int, int]) -> None:
        """The records to rank, which from now on must hold what is meant, and their links away."""
        self._finder = finder
        self._hops = hops
        if self._unit is not None or (self._words is not None and not finder.knows("text")):
            finder.is_meant = self._is_meant

    def bring(self, name: str, n: int) -> np.ndarray:
        """Ids of the n best of a ranking; ties newest id first."""
        if name == "text":
            return self._best_words(n)
        if name == "embedding":
            return self._most_similar(n, self._query.min_similarity)[0]
        if name == "near":
            return self._nearest(n)
        if name == "recency":
            return self._finder.newest(n)
        order = sorted(self._hops, key=lambda i: (self._hops[i], -i))
        return self._admitted(np.array(order, np.int64), n)

    def scored(self, ids: np.ndarray, names: list[str]) -> dict[str, Signal]:
        """The scores of admitted records, by ranking; what it does not know is left out."""
        known: dict[str, dict[int, float]] = {}
        for name in names:
            if name == "text" and self._words is not None:
                known[name] = self._words.scores(ids)
            elif name == "embedding":
                known[name] = self._similar(ids)
            elif name == "near":
                distances = self._finder.distances(ids, np.asarray(self._query.near, np.float64))
                is_placed = np.isfinite(distances)
                known[name] = dict(zip(ids[is_placed].tolist(), (-distances[is_placed]).tolist(), strict=True))
            elif name == "graph":
                known[name] = {i: -float(self._hops[i]) for i in ids.tolist()}
            elif name == "recency":
                known[name] = {i: self._finder.facts(i).stamp - self.now for i in ids.tolist()}
            else:
                known[name] = {i: self._finder.facts(i).confidence for i in ids.tolist()}
        return {
            name: (np.array(list(scores), np.int64), np.array(list(scores.values()), np.float64))
            for name, scores in known.items()
        }

    @cached_property
    def now(self) -> float:
        """[s] event time of the newest record, so that ages do not depend on when the question is asked."""
        latest = self._db.execute("SELECT max(t_event) FROM records").fetchone()[0]
        return 0.0 if latest is None else float(latest)

    def why_nothing(self) -> str:
        """Why no record is good enough."""
        signals: dict[str, Signal] = {}
        if self._words is not None:
            signals["text"] = (np.zeros(0, np.int64), np.zeros(0))
        if self._unit is not None:
            self._finder.is_meant = None
            self._finder.forget_checks()
            signals["embedding"] = self._most_similar(1, -1.0)
        reason = abstention(signals, text=self._query.text or "", min_similarity=self._query.min_similarity)
        return reason or "nothing matches"

    def _best_words(self, n: int) -> np.ndarray:
        if self._words is None:
            raise ValueError("no words were asked for")
        if self._finder.ids is None:
            return self._words.best(n, self._finder.admit)[0]
        passing = self._finder.all_if_short()  # to score a row costs more than to check it
        ids = self._finder.ids if passing is None else passing
        scores = self._words.scores(ids)
        self._plan.note(f"words: {len(scores)} of {len(ids)} records match")
        return self._admitted(_best_first(scores), n)

    def _most_similar(self, n: int, least: float) -> tuple[np.ndarray, np.ndarray]:
        """The n most similar that pass, and their cosines."""
        if self._unit is None:
            raise ValueError("no embedding was asked for")
        among = self._finder.ids
        if among is not None and not self._embeddings.is_loaded and len(among) <= FEW:
            cosines = self._embeddings.cosines(self._db, self._unit, among)
            self._cosines |= cosines
            self._plan.note(f"embedding: exact, {len(cosines)} read from the store")
            ids = self._admitted(_best_first({i: c for i, c in cosines.items() if c >= least}), n)
            return ids, np.array([cosines[i] for i in ids.tolist()], np.float64)
        index = self._embeddings.index(self._db)
        if index is None or index.dim != len(self._unit):
            self._plan.note("embedding: the memory holds none of this length")
            return np.zeros(0, np.int64), np.zeros(0)
        count, ids = n if self._finder.is_settled else FURTHER * n, np.zeros(0, np.int64)
        while True:
            found = index.search(
                self._unit, count, window=self._window(), ids=among, min_similarity=least, with_removed=True
            )
            self._cosines |= dict(zip(found.ids.tolist(), found.cosines.tolist(), strict=True))
            ids = self._admitted(found.ids, n)
            self._plan.note(f"embedding: {found.how}, {len(found.ids)} found, {len(ids)} of them pass")
            if len(ids) >= n or len(found.ids) < count:
                break
            count = min(max(FURTHER * count, 2 * n * count // max(len(ids), 1)), 16 * count)
        return ids, np.array([self._cosines[i] for i in ids.tolist()], np.float64)

    def _nearest(self, n: int) -> np.ndarray:
        """The n nearest that pass; where all that can pass has an embedding, from the vector index."""
        index = None
        if self._unit is not None and self._words is None and self._finder.ids is None:
            index = self._embeddings.index(self._db)
        if self._unit is None or index is None or index.dim != len(self._unit):
            return self._finder.nearest(self._query, n)[0]
        window, radius = self._window(), min(self._query.radius, 4.0 * FIRST_RADIUS)
        while True:
            ids, places = index.select(replace(window, radius=radius), with_removed=True)
            ids, distances = nearest_first(ids, np.sqrt(((places[:, :3] - window.near) ** 2).sum(axis=1)), len(ids))
            admitted = self._admitted(ids[distances <= radius] if radius < self._query.radius else ids, n)
            if len(admitted) >= n or radius >= self._query.radius:
                break
            radius = min(self._query.radius, 4.0 * radius if radius < LAST_RADIUS else np.inf)
        self._plan.note(f"places of the vector index to {radius:.2f} m: {len(ids)} read for {len(admitted)}")
        return admitted

    def _window(self) -> Window:
        """The filters that the vector index knows of itself."""
        query, box = self._query, self._query.box
        if query.frustum is not None:
            view = bounds(query.frustum)
            box = view if box is None else np.stack([np.maximum(box[0], view[0]), np.minimum(box[1], view[1])])
        near = None if query.near is None else np.asarray(query.near, np.float64)
        return Window(
            near=near, radius=float(query.radius), box=box, since=float(query.since), until=float(query.until)
        )

    def _admitted(self, ids: np.ndarray, n: int) -> np.ndarray:
        """The first n that pass, looking no further than needed."""
        admitted: list[int] = []
        start, size = 0, max(n, 16)
        while start < len(ids) and len(admitted) < n:
            admitted += self._finder.admit(ids[start : start + size]).tolist()
            start, size = start + size, 4 * size
        return np.array(admitted[:n], np.int64)

    def _similar(self, ids: np.ndarray) -> dict[int, float]:
        """Cosines of those that are similar enough."""
        if self._unit is None:
            return {}
        unknown = np.array([i for i in ids.tolist() if i not in self._cosines], np.int64)
        if len(unknown):
            self._cosines |= self._embeddings.cosines(self._db, self._unit, unknown)
        known = {i: self._cosines[i] for i in ids.tolist() if i in self._cosines}
        return {i: cosine for i, cosine in known.items() if cosine >= self._query.min_similarity}

    def _is_meant(self, ids: np.ndarray) -> np.ndarray:
        meant = set(self._similar(ids))
        if self._words is not None:
            rest = np.array([i for i in ids.tolist() if i not in meant], np.int64)
            meant |= set(rest[self._words.hold(rest)].tolist())
        return np.array([i in meant for i in ids.tolist()], np.bool_)


def _best_first(scores: dict[int, float]) -> np.ndarray:
    ids, values = np.array(list(scores), np.int64), np.array(list(scores.values()), np.float64)
    return ids[np.lexsort((-ids, -values))]
