"""Intervals and paired tests for per-episode values.

Episodes of one session share a house and a memory, so they are not independent: the bootstrap draws whole clusters
(Field and Welsh, JRSS B 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import binom

N_RESAMPLES = 10_000
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean and its confidence interval; `low` and `high` are NaN where fewer than two clusters exist."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: Float[np.ndarray, " n"],
    clusters: Sequence[Any] | np.ndarray | None = None,
    *,
    rng: np.random.Generator,
    n: int = N_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The mean over all values with its percentile bootstrap interval.

    Args:
        values: one value an episode.
        clusters: the cluster of each value, e.g. its session; by default every value is its own.
        rng: draws the resamples.
        n: number of resamples.
        confidence: coverage that the interval aims at; with few clusters (< 20) it covers somewhat less.

    Raises:
        ValueError: if there are no values, or a value is not finite.
    """
    curve = bootstrap_curve(values[:, None], clusters, rng=rng, n=n, confidence=confidence)
    return Interval(*(float(column[0]) for column in curve))


def bootstrap_curve(
    values: Float[np.ndarray, "n k"],
    clusters: Sequence[Any] | np.ndarray | None = None,
    *,
    rng: np.random.Generator,
    n: int = N_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Mean, low and high of each column, from the same resamples of clusters; see `bootstrap_mean`."""
    if len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"need finite values, got {len(values)} with {np.isnan(values).sum()} NaN")
    if clusters is not None and len(clusters) != len(values):
        raise ValueError(f"{len(values)} values need as many clusters, got {len(clusters)}")
    mean = values.mean(axis=0)
    members = _inverse(clusters, len(values))
    n_clusters = int(members.max()) + 1
    if n_clusters < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    sums = np.zeros((n_clusters, values.shape[1]))
    np.add.at(sums, members, values)
    sizes = np.bincount(members).astype(float)
    # How often each cluster is drawn: all that the mean of a resample depends on.
    drawn = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n).astype(float)
    means = (drawn @ sums) / (drawn @ sizes)[:, None]
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return mean, low, high


def paired_difference(
    a: Float[np.ndarray, " n"],
    b: Float[np.ndarray, " m"],
    clusters: Sequence[Any] | np.ndarray | None = None,
    *,
    rng: np.random.Generator,
    n: int = N_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The mean of a - b with its interval, `a` and `b` being the values of the same episodes in the same order."""
    if len(a) != len(b):
        raise ValueError(f"paired values need equal lengths, got {len(a)} and {len(b)}")
    return bootstrap_mean(a - b, clusters, rng=rng, n=n, confidence=confidence)


def mcnemar(a: Bool[np.ndarray, " n"], b: Bool[np.ndarray, " m"]) -> float:
    """The exact two-sided p that `a` and `b` succeed equally often on the same episodes (McNemar 1947).

    Only episodes where they disagree count; their split is binomial with 1/2 if both are equally good. Episodes are
    taken as independent: within a session they are not quite, so read it beside the clustered interval.
    """
    if len(a) != len(b):
        raise ValueError(f"paired outcomes need equal lengths, got {len(a)} and {len(b)}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return float(min(1.0, 2 * binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)))


def _inverse(clusters: Sequence[Any] | np.ndarray | None, n: int) -> np.ndarray:
    """The number of each value's cluster, counted from 0 in order of appearance."""
    if clusters is None:
        return np.arange(n)
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(c, len(numbers)) for c in clusters])
