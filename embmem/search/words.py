"""Records by the words of a text: BM25 by SQLite's FTS5, bounded where a word is in very many records.

FTS5 scores every match, at some microseconds each. So all records are scored that hold a word which at most `COMMON`
records hold; where the other words alone could still do better (the bound of Turtle and Flood, Query evaluation:
strategies and optimizations, 1995), the newest records with all of those are scored, then the newest with any, until
enough of them pass the filters. Beside rarer words, those that more than `EMPTY` records hold are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator

import numpy as np

from embmem.search.plan import Plan
from embmem.store.schema import Connection
from embmem.store.select import any_of, words_of

COMMON = 1000  # records
EMPTY = 1 << 14  # records
K1 = 1.2  # of FTS5's BM25: a word adds at most its weight times k1 + 1
Admit = Callable[[np.ndarray], np.ndarray]
_SCORES = "SELECT rowid, -bm25(texts) FROM texts WHERE texts MATCH :match"
_HOLDERS = "SELECT rowid FROM texts WHERE texts MATCH :match"
_AMONG = " AND rowid BETWEEN :low AND :high AND +rowid IN (SELECT value FROM json_each(:asked))"
_NEWEST = " AND rowid < :below ORDER BY rowid DESC LIMIT :n"
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM texts WHERE texts MATCH ? LIMIT ?)"


class Words:
    """The words of one query, in one state of the database. A score is FTS5's BM25, higher is better.

    Words match by their English stem; the entities and the place of a record count as words of it.
    """

    def __init__(self, db: Connection, text: str, plan: Plan, *, is_ranking: bool = True) -> None:
        """Where words only narrow (`is_ranking` false), none is left out for being in too many records."""
        self._db = db
        self._plan = plan
        self._words = words_of(text)
        self._n_holding: dict[str, int] = {}
        if is_ranking:
            self._words, self._n_holding = self._weighed(self._words)
        self._scores: dict[int, float] = {}
        self._without: set[int] = set()
        self._is_complete = not self._words  # True where every match has its score

    @property
    def match(self) -> str:
        """What a record must hold, in the language of FTS5."""
        return any_of(self._words)

    def scores(self, ids: np.ndarray) -> dict[int, float]:
        """Of those that hold a word."""
        asked = [i for i in ids.tolist() if i not in self._scores and i not in self._without]
        if asked and not self._is_complete:
            values = {"match": self.match, "low": min(asked), "high": max(asked), "asked": json.dumps(asked)}
            self._scores |= dict(self._db.execute(_SCORES + _AMONG, values).fetchall())
            self._without |= {i for i in asked if i not in self._scores}
        return {i: self._scores[i] for i in ids.tolist() if i in self._scores}

    def hold(self, ids: np.ndarray) -> np.ndarray:
        """(n,) bool: which of them hold a word."""
        asked = [i for i in ids.tolist() if i not in self._scores and i not in self._without]
        if asked and not self._is_complete:
            values = {"match": self.match, "low": min(asked), "high": max(asked), "asked": json.dumps(asked)}
            found = {row[0] for row in self._db.execute(_HOLDERS + _AMONG, values).fetchall()}
            self._without |= set(asked) - found
        is_held = [i in self._scores if self._is_complete else i not in self._without for i in ids.tolist()]
        return np.array(is_held, np.bool_)

    def best(self, n: int, admit: Admit) -> tuple[np.ndarray, np.ndarray]:
        """The n best that are admitted, and their scores; ties newest id first."""
        rare = [word for word in self._words if self._n_holding[word] <= COMMON]
        common = [word for word in self._words if self._n_holding[word] > COMMON]
        chosen: dict[int, float] = {}
        n_scored = 0
        for scores in self._batches(rare, common, chosen, n):
            n_scored += len(scores)
            chosen |= _best_admitted(scores, n, admit)
        self._is_complete = self._is_complete or not common
        self._plan.note(f"words: {n_scored} matches scored" + (f", in many records: {common}" if common else ""))
        ids = np.array(list(chosen), np.int64)
        scores_of = np.array(list(chosen.values()), np.float64)
        order = np.lexsort((-ids, -scores_of))[:n]
        return ids[order], scores_of[order]

    def _weighed(self, words: list[str]) -> tuple[list[str], dict[str, int]]:
        """The words that are looked for, and how many records hold each, counted to `EMPTY` + 1 at most."""
        counts = {word: self._count(word, COMMON) for word in words}
        if len(words) > 1:
            counts |= {word: self._count(word, EMPTY) for word in words if counts[word] > COMMON}
        telling = [word for word in words if counts[word] <= EMPTY]
        return (telling if any(counts[word] for word in telling) else words), counts

    def _count(self, word: str, limit: int) -> int:
        return int(self._db.execute(_COUNT, (f'"{word}"', limit + 1)).fetchone()[0])

    def _batches(
        self, rare: list[str], common: list[str], chosen: dict[int, float], n: int
    ) -> Iterator[dict[int, float]]:
        """Scores of matches not seen before, until the n best are among `chosen`, as far as that can be told."""
        if rare and common:
            yield self._scored(f"({any_of(rare)}) AND ({any_of(common)})")
            yield self._scored(f"({any_of(rare)}) NOT ({any_of(common)})")
        elif rare:
            yield self._scored(any_of(rare))
        if not common or (len(chosen) >= n and sorted(chosen.values())[-n] > self._most(len(common))):
            return
        n_before = len(chosen)
        levels = [" AND ".join(f'"{word}"' for word in common), any_of(common)]
        for match in levels[-1:] if len(common) == 1 else levels:
            below = 1 << 62
            while len(chosen) - n_before < n and below:
                rows = self._db.execute(_SCORES + _NEWEST, {"match": match, "below": below, "n": COMMON}).fetchall()
                below = rows[-1][0] if rows else 0
                scores = {i: score for i, score in rows if i not in self._scores}
                self._scores |= scores
                yield scores

    def _scored(self, match: str) -> dict[int, float]:
        scores = dict(self._db.execute(_SCORES, {"match": match}).fetchall())
        self._scores |= scores
        return scores

    def _most(self, n_words: int) -> float:
        """What n words that are in more than `COMMON` records can add to a score."""
        n_records = self._db.execute("SELECT coalesce(max(id), 0) FROM records").fetchone()[0]
        weight = math.log(max((n_records - COMMON) / COMMON, 1.0))
        return n_words * max(weight, 1e-6) * (K1 + 1.0)


def _best_admitted(scores: dict[int, float], n: int, admit: Admit) -> dict[int, float]:
    """The n best that are admitted, looking no further than needed."""
    ids, values = np.array(list(scores), np.int64), np.array(list(scores.values()), np.float64)
    ids = ids[np.lexsort((-ids, -values))]
    admitted: list[int] = []
    start, size = 0, max(n, 16)
    while start < len(ids) and len(admitted) < n:
        admitted += admit(ids[start : start + size]).tolist()
        start, size = start + size, 4 * size
    return {i: scores[i] for i in admitted[:n]}
