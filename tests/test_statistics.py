"""Intervals cover what they promise, agree with scipy, and pairs are compared as pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from embmem.sim_envs.metrics.statistics import (
    bootstrap_curve,
    bootstrap_mean,
    mcnemar,
    paired_difference,
)

outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def test_without_clusters_the_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).exponential(size=60)
    mean, low, high = bootstrap_mean(values, rng=np.random.default_rng(1))
    peer = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(tuple(peer), abs=0.02)


def _covered(n_clusters: int, *, is_clustered: bool) -> float:
    """How often the interval holds the true mean 0 when a cluster's eight values share most of their luck."""
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(n_clusters), 8)
    hits = 0
    for _ in range(120):
        values = rng.normal(size=n_clusters)[clusters] + 0.5 * rng.normal(size=len(clusters))
        _, low, high = bootstrap_mean(values, clusters if is_clustered else None, rng=rng, n=300)
        hits += low <= 0 <= high
    return hits / 120


def test_clustered_intervals_cover_95_percent_where_naive_ones_do_not() -> None:
    assert _covered(40, is_clustered=True) >= 0.9
    assert _covered(40, is_clustered=False) < 0.7


def test_the_order_and_names_of_clusters_do_not_matter() -> None:
    values = np.random.default_rng(4).normal(size=12)
    numbers = bootstrap_mean(values, np.repeat([7, 3, 5], 4), rng=np.random.default_rng(5))
    names = bootstrap_mean(values, list("aaaabbbbcccc"), rng=np.random.default_rng(5))
    assert numbers == names


def test_one_cluster_gives_no_interval() -> None:
    mean, low, high = bootstrap_mean(np.array([1.0, 2.0]), [0, 0], rng=np.random.default_rng(0))
    assert mean == 1.5
    assert math.isnan(low)
    assert math.isnan(high)


def test_equal_values_give_an_interval_without_width() -> None:
    assert bootstrap_mean(np.full(9, 0.3), rng=np.random.default_rng(0)) == pytest.approx((0.3, 0.3, 0.3))


def test_a_curve_is_its_columns_from_the_same_resamples() -> None:
    values = np.random.default_rng(6).normal(size=(20, 3))
    curve = np.array(bootstrap_curve(values, rng=np.random.default_rng(7)))
    columns = [bootstrap_mean(values[:, i], rng=np.random.default_rng(7)) for i in range(3)]
    np.testing.assert_allclose(curve, np.array(columns).T)


@pytest.mark.parametrize("values", [np.zeros(0), np.array([1.0, np.nan]), np.array([np.inf])])
def test_values_that_are_no_numbers_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite values"):
        bootstrap_mean(values, rng=np.random.default_rng(0))


def test_lengths_must_agree() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="as many clusters"):
        bootstrap_mean(np.zeros(3), [1, 2], rng=rng)
    with pytest.raises(ValueError, match="equal lengths"):
        paired_difference(np.zeros(3), np.zeros(2), rng=rng)
    with pytest.raises(ValueError, match="equal lengths"):
        mcnemar(np.zeros(3, bool), np.zeros(2, bool))


def test_pairing_finds_a_small_difference_that_unpaired_intervals_hide() -> None:
    rng = np.random.default_rng(8)
    hard = rng.normal(size=100)  # episodes differ far more than agents do
    a, b = hard + 0.1 + 0.05 * rng.normal(size=100), hard
    _, low, high = paired_difference(a, b, rng=rng)
    assert 0 < low < 0.1 < high + 0.02
    assert bootstrap_mean(b, rng=rng).high > bootstrap_mean(a, rng=rng).low


@given(outcomes)
def test_mcnemar_is_the_binomial_test_of_the_disagreements(pairs: list[tuple[bool, bool]]) -> None:
    a, b = (np.array(column) for column in zip(*pairs, strict=True))
    only_a, only_b = sum(x and not y for x, y in pairs), sum(y and not x for x, y in pairs)
    peer = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b) == pytest.approx(peer)
    assert mcnemar(a, b) == mcnemar(b, a)
