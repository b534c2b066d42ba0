"""One answer of the whole fleet: what `embmem.search.engine` does, in the words of Postgres.

Every ranking is exact: the words are scored by the BM25 of SQLite's FTS5, cosines by pgvector over all records that
pass the filters. Only where a graph of embeddings was built, and there are no filters, it is asked instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from embmem.fleet.log import origins_of
from embmem.fleet.rows import select_records
from embmem.fleet.schema import GRAPH
from embmem.fleet.select import HUGE, Conditions, conditions, holds_any, squared, stems_of
from embmem.fleet.server import Database
from embmem.fleet.words import hash_of
from embmem.protocols import Answer, Ranking
from embmem.records import Hit, Query, Record
from embmem.search.fuse import DEPTH, Fused, Signal, abstention, diverse, fuse
from embmem.search.plan import Plan
from embmem.search.why import DETAILS, explain_hit

K1, B = 1.2, 0.75  # of FTS5
_COSINE = "1.0 - (embedding <=> %(unit)s::vector)"
MAX_LOOKED = 1000  # records that pgvector looks at in a graph
_DIM = f"""SELECT dim, EXISTS(SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('{GRAPH}') AND indisvalid)
    FROM head"""


class Asked:
    """A query in one state of the database: who passes, and by which expressions of SQL they are ranked."""

    def __init__(self, db: Database, query: Query, robots: Sequence[str] | None) -> None:
        """Raises ValueError if the query asks for what cannot be."""
        self.db = db
        self.query = query
        self.found = conditions(query, db, robots)
        self.scores = {"recency": "t_event - %(now)s::float8", "confidence": "confidence"}
        latest = db.execute("SELECT max(t_event) FROM records").fetchone()[0]
        self.now = 0.0 if latest is None else float(latest)
        self.found.values["now"] = self.now
        # What a record must hold: one of these suffices. To be ranked by one it must hold that one.
        self.meant: dict[str, str] = {}
        self.dim, self.has_graph = 0, False  # of embeddings that can be compared
        self.least: dict[str, str] = {}  # the least score that counts
        if query.text is not None:
            self.meant["text"] = self._add_text(query.text)
        if query.embedding is not None:
            self.meant["embedding"] = self._add_embedding(query.embedding, query.min_similarity)
        self.filters = self.found.filters
        self.has_no_filters = self.filters == Conditions().filters
        if self.meant:
            self.found.add(" OR ".join(self.meant.values()))
        if query.near is not None:
            near = " AND ".join(f"abs({a}) < {HUGE}" for a in "xyz")
            self.scores["near"] = f"CASE WHEN {near} THEN -sqrt({squared()}) END"
        if query.linked_to is not None:
            hops = self.found.hops
            self.found.values |= {"hop_ids": list(hops), "hop_counts": [-float(n) for n in hops.values()]}
            self.scores["graph"] = "(%(hop_counts)s::float8[])[array_position(%(hop_ids)s::bigint[], records.id)]"

    @property
    def names(self) -> list[str]:
        """The rankings that the query itself asks for."""
        return [name for name in ("text", "embedding", "near", "graph") if name in self.scores]

    def best(self, name: str, n: int) -> list[int]:
        """Ids of the n best of a ranking; ties newest id first."""
        if name == "embedding" and self.dim == 0:
            return []
        if name == "embedding" and self.has_graph and self.has_no_filters:
            found = self._best_of_the_graph(n)
            if len(found) == n:
                return found
        score, table, where = self.scores[name], "records", self.found.filters
        if name == "text":
            where = f"{self.filters} AND ({self.meant[name]})"
        elif name == "embedding":
            score, table, where = _COSINE, "records JOIN vectors ON record_id = id", self.filters
            if self.has_no_filters:
                table = "(SELECT record_id AS id, embedding FROM vectors) AS all_vectors"
        # OFFSET 0: each score is computed once, and before the join with what is hidden.
        sql = f"""SELECT id FROM (SELECT id, {score} AS score FROM {table} WHERE {where} OFFSET 0) AS ranked
            WHERE score >= {self.least.get(name, "'-Infinity'")} AND {self.found.belief.format("ranked")}
            ORDER BY score DESC, id DESC LIMIT %(n)s"""
        if name == "recency":  # an index is in this order
            sql = f"SELECT id FROM records WHERE {self.found.where} ORDER BY t_event DESC, id DESC LIMIT %(n)s"
        return [row[0] for row in self.db.execute(sql, {**self.found.values, "n": n})]

    def _best_of_the_graph(self, n: int) -> list[int]:
        """As many of the n most similar as can be reached; without filters."""
        n_looked = min(max(2 * n, 100), MAX_LOOKED)
        self.db.execute("SELECT set_config('hnsw.ef_search', %s, true)", (str(n_looked),))
        distance = f"embedding::vector({self.dim}) <=> %(unit)s::vector({self.dim})"
        sql = f"""SELECT id FROM (SELECT record_id AS id, 1.0 - ({distance}) AS score FROM vectors ORDER BY {distance}
                LIMIT %(n_looked)s OFFSET 0) AS ranked
            WHERE score >= %(min_similarity)s AND {self.found.belief.format("ranked")}
            ORDER BY score DESC, id DESC LIMIT %(n)s"""
        values = {**self.found.values, "n": n, "n_looked": n_looked}
        return [row[0] for row in self.db.execute(sql, values)]

    def scored(self, ids: Sequence[int], names: Sequence[str]) -> dict[str, Signal]:
        """The scores of records that pass, by ranking; what it does not know is left out."""
        columns = ", ".join(f"{self.scores[name]} AS {name}" for name in names)
        sql = f"SELECT id, {columns} FROM records WHERE id = ANY(%(pool)s::bigint[]) ORDER BY id"
        rows = self.db.execute(sql, {**self.found.values, "pool": list(ids)}).fetchall()
        known = np.array([row[0] for row in rows], np.int64)
        table = np.array([row[1:] for row in rows], np.float64).reshape(len(rows), len(names))
        if "embedding" in names:  # what is not similar enough does not rank
            cosines = table[:, names.index("embedding")]
            cosines[~(cosines >= self.query.min_similarity)] = np.nan
        return {name: (known[keep], table[keep, i]) for i, name in enumerate(names)
                for keep in [~np.isnan(table[:, i])]}  # fmt: skip

    def why_nothing(self) -> str:
        """Why no record is good enough."""
        signals: dict[str, Signal] = {}
        if self.query.text is not None:
            signals["text"] = (np.zeros(0, np.int64), np.zeros(0))
        if self.query.embedding is not None:
            where = f"{self.filters} AND {self.found.belief.format('records')}"
            sql = f"""SELECT id, {_COSINE} FROM records JOIN vectors ON record_id = id WHERE {where}
                ORDER BY 2 DESC LIMIT 1"""
            rows = self.db.execute(sql, self.found.values).fetchall() if self.dim else []
            signals["embedding"] = (np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], float))
        reason = abstention(signals, text=self.query.text or "", min_similarity=self.query.min_similarity)
        return reason or "nothing matches"

    def _add_text(self, text: str) -> str:
        """Okapi BM25 as FTS5 computes it (Robertson and Zaragoza, 2009, with the weight of a word at least 1e-6)."""
        stems = stems_of(text)
        condition, hashes = holds_any(stems)
        n_documents, n_words = self.db.execute("SELECT n_documents, n_words FROM head").fetchone()
        values: dict[str, object] = {"stems": hashes, "mean": max(n_words / max(n_documents, 1), 1e-9)}
        terms = ["0.0"]
        counts = {}
        for stem in dict.fromkeys(stems):
            alone, value = holds_any([stem])
            sql = f"SELECT count(*) FROM records WHERE {alone}"
            counts[stem] = self.db.execute(sql, {"stems": value}).fetchone()[0]
        length = f"{K1} * ({1.0 - B} + {B} * n_words / %(mean)s::float8)"
        for i, stem in enumerate(stems):
            weight = math.log((n_documents - counts[stem] + 0.5) / (counts[stem] + 0.5))
            values |= {f"word{i}": hash_of("word", stem), f"weight{i}": max(weight, 1e-6)}
            n = f"coalesce(counts[array_position(words, %(word{i})s::bigint)], 0)"
            terms.append(f"%(weight{i})s::float8 * {n} * {K1 + 1.0} / ({n} + {length})")
        self.found.values |= values
        self.scores["text"] = f"CASE WHEN {condition} THEN {' + '.join(terms)} END"
        return condition

    def _add_embedding(self, embedding: np.ndarray, least: float) -> str:
        vector = np.asarray(embedding, np.float64)
        if vector.ndim != 1 or not np.isfinite(vector).all() or not vector.any():
            raise ValueError(f"an embedding must be one finite vector, not all 0, got one of shape {vector.shape}")
        dim, self.has_graph = self.db.execute(_DIM).fetchone()
        if dim != len(vector):
            self.scores["embedding"] = "NULL::float8"
            return "false"
        unit = vector / np.abs(vector).max()
        self.found.values |= {"unit": str((unit / np.linalg.norm(unit)).tolist()), "min_similarity": float(least)}
        self.dim = dim
        self.scores["embedding"] = f"(SELECT {_COSINE} FROM vectors WHERE record_id = records.id)"
        self.least["embedding"] = "%(min_similarity)s"
        return f"coalesce({self.scores['embedding']} >= %(min_similarity)s, false)"


def search(db: Database, query: Query, ranking: Ranking, robots: Sequence[str] | None) -> Answer:
    """The best records in one state of the database, with what speaks for each and which robot has it."""
    plan = Plan()
    question = Asked(db, query, robots)
    asked = question.names
    if not asked or ranking.weights.get("recency"):
        asked = [*asked, "recency"]
    weighed = [name for name in ("recency", "confidence") if ranking.weights.get(name) and name not in asked]
    weights = {"recency": 1.0, **ranking.weights} if asked == ["recency"] else ranking.weights
    n = max(DEPTH, 4 * query.k) if len(asked) + len(weighed) > 1 or ranking.diversity else query.k
    pool: set[int] = set()
    for name in asked:
        best = question.best(name, n)
        pool |= set(best)
        plan.note(f"{name}: {len(best)} candidates")
    if not pool:
        return Answer([], tuple(plan.lines), question.why_nothing())
    fused = fuse(question.scored(sorted(pool), asked + weighed), fusion=ranking.fusion, weights=weights)
    rows = np.arange(min(query.k, len(fused)))
    if ranking.diversity:
        rows = diverse(fused, query.k, ranking.diversity, partial(select_records, db, with_blobs=False))
    chosen = fused.take(rows)
    hits = _hits(db, chosen, question)
    plan.note(f"{len(pool)} candidates ranked, {len(hits)} records read")
    return Answer(hits, tuple(plan.lines))


def newest(db: Database, query: Query, robots: Sequence[str] | None) -> list[Record]:
    """At most `query.k` records that pass the filters, of `text` any word, newest first; ties newest id first."""
    found = conditions(query, db, robots)
    if query.text is not None:
        condition, stems = holds_any(stems_of(query.text))
        found.add(condition, stems=stems)
    sql = f"SELECT id FROM records WHERE {found.where} ORDER BY t_event DESC, id DESC LIMIT %(k)s"
    return select_records(db, [row[0] for row in db.execute(sql, {**found.values, "k": query.k})])


def _hits(db: Database, chosen: Fused, question: Asked) -> list[Hit]:
    ids = chosen.ids.tolist()
    origins = origins_of(db, ids)
    hits = []
    for row, record in enumerate(select_records(db, ids)):
        matches = chosen.matches(row)
        why = explain_hit(matches, text=question.query.text or "", age=question.now - record.t_event)
        hits.append(
            Hit(
                score=float(chosen.scores[row]),
                why=f"{why}, robot {origins[ids[row]].robot}",
                layer="store",
                stamp=record.t_event,
                position=record.where,
                record=record,
                detail={DETAILS[name][0]: DETAILS[name][1] * match.score for name, match in matches.items()},
            )
        )
    return hits
