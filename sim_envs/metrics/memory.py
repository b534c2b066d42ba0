"""What a memory is worth: does it find things, does it know what it does not know, what does it cost.

A rate whose denominator is 0 is NaN, never 0 or 1.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

NEAR = 0.5  # [m], an object of the memory and a true one may be the same thing within this distance


def recall_at_k(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """The share of what should be found that is among the first `k` hits."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return _ratio(len(set(ranked[:k]) & set(relevant)), len(set(relevant)))


def not_found_scores(said_absent: Bool[np.ndarray, " n"], is_absent: Bool[np.ndarray, " n"]) -> dict[str, float]:
    """Precision and recall of the answer "it is not here"."""
    both = int((said_absent & is_absent).sum())
    return {
        "not_found_precision": _ratio(both, int(said_absent.sum())),
        "not_found_recall": _ratio(both, int(is_absent.sum())),
    }


def staleness(
    evidence: Float[np.ndarray, " n"], asked: Float[np.ndarray, " n"], is_correct: Bool[np.ndarray, " n"]
) -> dict[str, float]:
    """How old the evidence behind *wrong* answers was: median and greatest age [s], and how many were wrong.

    Args:
        evidence: stamp of the latest evidence behind each answer [s].
        asked: stamp of each question [s].
        is_correct: whether the answer was right.
    """
    ages = (asked - evidence)[~is_correct]
    if len(ages) == 0:
        return {"staleness_median": np.nan, "staleness_max": np.nan, "n_wrong": 0.0}
    return {
        "staleness_median": float(np.median(ages)),
        "staleness_max": float(ages.max()),
        "n_wrong": float(len(ages)),
    }


def object_scores(
    positions: Float[np.ndarray, "n d"],
    categories: Sequence[str],
    true_positions: Float[np.ndarray, "m d"],
    true_categories: Sequence[str],
    *,
    near: float = NEAR,
) -> dict[str, float]:
    """How a memory's objects compare with those that exist.

    Objects are paired one to one within their category, as many as possible at distances up to `near` [m], with the
    least summed distance. An unpaired object of the memory is a *duplicate* if a true one of its category is near,
    else a *ghost*.

    Returns:
        recall (true objects that are paired), precision, ghost_rate and duplicate_rate (these three sum to 1 over
        the memory's objects), position_error (mean over pairs [m]).
    """
    matched = match_objects(positions, categories, true_positions, true_categories, near=near)
    is_paired = np.zeros(len(positions), bool)
    is_paired[[i for i, _ in matched]] = True
    near_any = _distances(positions, categories, true_positions, true_categories).min(axis=1, initial=np.inf) <= near
    errors = [float(np.linalg.norm(positions[i] - true_positions[j])) for i, j in matched]
    n = len(positions)
    return {
        "object_recall": _ratio(len(matched), len(true_positions)),
        "object_precision": _ratio(len(matched), n),
        "ghost_rate": _ratio(int((~is_paired & ~near_any).sum()), n),
        "duplicate_rate": _ratio(int((~is_paired & near_any).sum()), n),
        "position_error": float(np.mean(errors)) if errors else np.nan,
    }


def match_objects(
    positions: Float[np.ndarray, "n d"],
    categories: Sequence[str],
    true_positions: Float[np.ndarray, "m d"],
    true_categories: Sequence[str],
    *,
    near: float = NEAR,
) -> list[tuple[int, int]]:
    """Pairs (memory, truth) of the one-to-one matching that `object_scores` describes."""
    distance = _distances(positions, categories, true_positions, true_categories)
    # A forbidden pair costs more than all allowed ones together, so as many pairs as possible are allowed ones.
    forbidden = (min(distance.shape, default=0) + 1) * max(near, 1.0)
    rows, columns = linear_sum_assignment(np.where(distance <= near, distance, forbidden))
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if distance[i, j] <= near]


def identity_switches(matches: Sequence[Mapping[Hashable, Hashable]]) -> int:
    """How often a true object is suddenly known under another identity (CLEAR MOT, Bernardin and Stiefelhagen 2008).

    Args:
        matches: for each moment, the memory's identity of every true object that is matched then. A gap does not
            forget the identity that came before it.
    """
    known: dict[Hashable, Hashable] = {}
    switches = 0
    for match in matches:
        switches += sum(known.get(thing, identity) != identity for thing, identity in match.items())
        known.update(match)
    return switches


def bytes_per_square_metre(n_bytes: int | float, area: float) -> float:
    """Storage for each square metre of explored floor [B/m²]; `area` in m²."""
    return _ratio(n_bytes, area)


def latency(seconds: Float[np.ndarray, " n"]) -> dict[str, float]:
    """Median and 99th percentile of a read or write [ms]."""
    if len(seconds) == 0:
        return {"ms_p50": np.nan, "ms_p99": np.nan}
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return {"ms_p50": float(p50), "ms_p99": float(p99)}


def recall_lost_per_byte(recall: tuple[float, float], n_bytes: tuple[int | float, int | float]) -> float:
    """What forgetting cost: recall lost for each byte freed, from the values (before, after)."""
    return _ratio(recall[0] - recall[1], n_bytes[0] - n_bytes[1])


def _distances(
    positions: Float[np.ndarray, "n d"],
    categories: Sequence[str],
    true_positions: Float[np.ndarray, "m d"],
    true_categories: Sequence[str],
) -> Float[np.ndarray, "n m"]:
    """Distance of every pair [m], inf where the categories differ."""
    if len(positions) != len(categories) or len(true_positions) != len(true_categories):
        raise ValueError("every position needs a category")
    is_same = np.array(categories, dtype=object)[:, None] == np.array(true_categories, dtype=object)[None]
    return np.where(is_same, cdist(positions, true_positions), np.inf)


def _ratio(part: int | float, whole: int | float) -> float:
    return part / whole if whole else np.nan
