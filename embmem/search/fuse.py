"""Several rankings become one: fusion, diversity, and whether anything is good enough to be an answer.

A signal is one way in which a query ranks records: a name with (ids, scores), higher is better. Distances, ages and
hops come in negated. What a signal does not know it leaves out. Equal scores share a rank, and ties of the fused score
go to the newest id, so no result depends on the order in which candidates or signals arrive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from embmem.records import Record

DEPTH = 200  # candidates that each of several rankings brings, at least
RRF_K = 60.0  # Cormack et al.: flattens the head, so that one ranking alone does not decide
UNASKED = {"recency": 0.0, "confidence": 0.0}  # known of every record; they rank only where they are given a weight

Signal: TypeAlias = tuple[np.ndarray, np.ndarray]  # (n,) ids, each once, and (n,) finite scores


class Match(NamedTuple):
    """What one signal says of one record."""

    score: float
    rank: int  # 1 = best


@dataclass(frozen=True, eq=False)
class Fused:
    """Records best first. `ranks` and `scores_by` have one row a signal; rank 0 and NaN where it does not know one."""

    ids: Int[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]
    ranks: dict[str, Int[np.ndarray, " n"]]
    scores_by: dict[str, Float[np.ndarray, " n"]]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Int[np.ndarray, " k"]) -> Fused:
        """Some of the records, in this order."""
        return Fused(
            self.ids[rows],
            self.scores[rows],
            {name: rank[rows] for name, rank in self.ranks.items()},
            {name: score[rows] for name, score in self.scores_by.items()},
        )

    def matches(self, row: int) -> dict[str, Match]:
        """The signals that know the record of a row, by name."""
        return {
            name: Match(float(self.scores_by[name][row]), int(rank[row]))
            for name, rank in self.ranks.items()
            if rank[row] > 0
        }


def fuse(signals: Mapping[str, Signal], *, fusion: str = "rrf", weights: Mapping[str, float] | None = None) -> Fused:
    """All records that any signal knows, best first.

    "rrf" adds weight / (60 + rank) (Cormack et al., Reciprocal rank fusion, SIGIR 2009); "weighted" adds the scores,
    each scaled to [0, 1] over the records that the signal knows (all 1 if they are equal). What a signal does not know
    gets nothing from it. A weight that is not given is 1, of recency and confidence 0; with weight 0 a signal still
    brings its records and its ranks.

    Raises:
        ValueError: if a signal repeats an id or has a score that is not finite, a weight is negative or not finite, or
            the name of the fusion is neither "rrf" nor "weighted".
    """
    if fusion not in ("rrf", "weighted"):
        raise ValueError(f'fusion must be "rrf" or "weighted", got {fusion!r}')
    known = {name: _checked(name, *signals[name]) for name in sorted(signals)}
    ids = np.unique(np.concatenate([np.empty(0, np.int64), *(signal[0] for signal in known.values())]))[::-1]
    total = np.zeros(len(ids))
    ranks, scores_by = {}, {}
    for name, (signal_ids, scores) in known.items():
        rows = len(ids) - 1 - np.searchsorted(ids[::-1], signal_ids)
        rank = competition_ranks(scores)
        points = 1.0 / (RRF_K + rank) if fusion == "rrf" else min_max(scores)
        total[rows] += _weight(name, weights) * points
        ranks[name] = np.zeros(len(ids), np.int64)
        ranks[name][rows] = rank
        scores_by[name] = np.full(len(ids), np.nan)
        scores_by[name][rows] = scores
    return Fused(ids, total, ranks, scores_by).take(np.argsort(-total, kind="stable"))


def competition_ranks(scores: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """1 + the number of higher scores."""
    return (1 + len(scores) - np.searchsorted(np.sort(scores), scores, side="right")).astype(np.int64)


def min_max(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Scores scaled to [0, 1]; 1 if all are equal."""
    if not len(scores) or scores.max() == scores.min():
        return np.ones(len(scores))
    return (scores - scores.min()) / (scores.max() - scores.min())


def mmr(
    relevance: Float[np.ndarray, " n"],
    k: int,
    *,
    diversity: float,
    embeddings: Float[np.ndarray, "n d"] | None = None,
    texts: Sequence[str] | None = None,
) -> Int[np.ndarray, " m"]:
    """Rows of min(k, n) records, each the best of those left: maximal marginal relevance.

    (1 - diversity) * relevance - diversity * (highest similarity to one picked before) (Carbonell and Goldstein, SIGIR
    1998, eq. 1), with the relevance scaled to [0, 1] since similarities are. Similarity is the cosine where both
    records have an embedding (a row of NaN or zeros is none), else the share of common words of their texts (Jaccard),
    0 without either. Ties go to the first row.

    Raises:
        ValueError: if `diversity` is outside [0, 1], `k` is negative, or there is not one embedding or text a row.
    """
    n = len(relevance)
    if not 0.0 <= diversity <= 1.0 or k < 0:
        raise ValueError(f"need diversity in [0, 1] and k >= 0, got {diversity} and {k}")
    if any(rows is not None and len(rows) != n for rows in (embeddings, texts)):
        raise ValueError(f"need one embedding and one text for each of the {n} records, or none at all")
    units, has_vector = _units(embeddings, n)
    words, n_words = _word_matrix([""] * n if texts is None else texts)
    gain = (1.0 - diversity) * min_max(relevance)
    nearest, picked, is_left = np.zeros(n), [], np.ones(n, bool)
    for turn in range(min(k, n)):
        row = int(np.argmax(np.where(is_left, gain - diversity * nearest, -np.inf)))
        picked.append(row)
        is_left[row] = False
        common = words @ words[row]
        overlap = common / np.maximum(n_words + n_words[row] - common, 1.0)
        similarity = np.where(has_vector & has_vector[row], units @ units[row], overlap)
        nearest = similarity if turn == 0 else np.maximum(nearest, similarity)
    return np.array(picked, dtype=np.int64)


def diverse(fused: Fused, k: int, diversity: float, read: Callable[[list[int]], list[Record]]) -> Int[np.ndarray, " m"]:
    """Rows of k records that are good and not alike (`mmr`), among the best; `read` gives their records."""
    first = np.arange(min(len(fused), max(DEPTH, 4 * k)))
    records = read(fused.ids[first].tolist())
    dim = max((len(r.embedding) for r in records if r.embedding is not None), default=0)
    vectors = np.full((len(records), dim), np.nan)
    for row, record in enumerate(records):
        if record.embedding is not None:
            vectors[row] = record.embedding
    texts = [record.text for record in records]
    return first[mmr(fused.scores[first], k, diversity=diversity, embeddings=vectors, texts=texts)]


def abstention(
    signals: Mapping[str, Signal], *, text: str = "", min_similarity: float = -1.0, min_margin: float = 0.0
) -> str | None:
    """Why nothing is good enough to be an answer; None if something is.

    Only what is meant ("text", "embedding") can fail, and one of both suffices: words match if any record holds one,
    an embedding if its best cosine reaches `min_similarity` and lies `min_margin` above the median of the candidates
    (a query about nothing in particular is equally far from everything). `threshold_for` calibrates either number.
    """
    reasons = []
    if "text" in signals:
        if len(signals["text"][0]):
            return None
        reasons.append(f"no record holds a word of {text!r}")
    if "embedding" in signals:
        cosines = signals["embedding"][1]
        best = float(cosines.max()) if len(cosines) else -math.inf
        margin = best - float(np.median(cosines)) if len(cosines) else 0.0
        if not len(cosines):
            reasons.append("no record has an embedding to compare with")
        elif best < min_similarity:
            reasons.append(f"the best cosine {best:.3f} is below {min_similarity:.3f}")
        elif margin < min_margin:
            reasons.append(f"the best cosine {best:.3f} is only {margin:.3f} above the median, not {min_margin:.3f}")
        else:
            return None
    if not reasons and signals and all(len(ids) == 0 for ids, _ in signals.values()):
        return "nothing matches"
    return "; ".join(reasons) or None


def threshold_for(unanswerable: Float[np.ndarray, " n"], *, false_answers: float = 0.05) -> float:
    """The least threshold that a question without an answer reaches with a probability of at most `false_answers`.

    From the best scores of n such questions: the ceil((n + 1) * (1 - false_answers))-th lowest is reached or passed by
    a new, exchangeable one no more often (split conformal prediction: Vovk et al., Algorithmic Learning in a Random
    World, 2005). The threshold lies just above that score. Infinite if n is too small to promise it.

    Raises:
        ValueError: if `false_answers` is outside (0, 1) or a score is not finite.
    """
    if not 0.0 < false_answers < 1.0 or not np.isfinite(unanswerable).all():
        raise ValueError(f"need false_answers in (0, 1) and finite scores, got {false_answers} and {unanswerable}")
    place = math.ceil((len(unanswerable) + 1) * (1.0 - false_answers))
    if place > len(unanswerable):
        return math.inf
    return float(np.nextafter(np.sort(unanswerable)[place - 1], np.inf))


def _checked(name: str, ids: np.ndarray, scores: np.ndarray) -> Signal:
    ids, scores = np.asarray(ids, dtype=np.int64), np.asarray(scores, dtype=np.float64)
    if ids.shape != scores.shape or ids.ndim != 1:
        raise ValueError(f"signal {name!r} needs one score an id, got {ids.shape} ids and {scores.shape} scores")
    if not np.isfinite(scores).all():
        raise ValueError(f"signal {name!r} has a score that is not finite")
    if len(set(ids.tolist())) != len(ids):
        raise ValueError(f"signal {name!r} has an id twice")
    return ids, scores


def _weight(name: str, weights: Mapping[str, float] | None) -> float:
    weight = (weights or {}).get(name, UNASKED.get(name, 1.0))
    if not (math.isfinite(weight) and weight >= 0.0):
        raise ValueError(f"the weight of {name!r} must be finite and >= 0, got {weight}")
    return weight


def _units(embeddings: np.ndarray | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) unit vectors and which rows are known; zeros where not."""
    if embeddings is None:
        return np.zeros((n, 0)), np.zeros(n, bool)
    vectors = embeddings.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    is_known = np.isfinite(lengths) & (lengths > 0)
    units = np.zeros(vectors.shape)
    units[is_known] = vectors[is_known] / lengths[is_known, None]
    return units, is_known


def _word_matrix(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(n, v) which text has which word of all, and (n,) how many different ones each has."""
    words = [set(text.casefold().split()) for text in texts]
    column = {word: j for j, word in enumerate(sorted(set().union(*words)))}
    matrix = np.zeros((len(words), len(column)), np.float32)
    for row, own in enumerate(words):
        matrix[row, [column[word] for word in own]] = 1.0
    return matrix, matrix.sum(axis=1)
