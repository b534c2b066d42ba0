"""Memory metrics on worlds small enough to count by hand, and their invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embmem.sim_envs.metrics.memory import (
    bytes_per_square_metre,
    identity_switches,
    latency,
    match_objects,
    not_found_scores,
    object_scores,
    recall_at_k,
    recall_lost_per_byte,
    staleness,
)

points = st.integers(0, 6).flatmap(lambda n: arrays(np.float64, (n, 2), elements=st.floats(-2, 2)))


def test_a_ghost_a_duplicate_and_a_miss_are_told_apart() -> None:
    truth = np.array([[0.0, 0.0, 0.8], [5.0, 0.0, 0.8]])
    found = np.array([[0.1, 0.0, 0.8], [0.2, 0.0, 0.8], [3.0, 0.0, 0.8], [5.0, 0.0, 0.8]])
    got = object_scores(found, ["mug", "mug", "mug", "lamp"], truth, ["mug", "mug"])
    assert got == pytest.approx(
        {
            "object_recall": 1 / 2,  # the second mug was never seen: the lamp there is none
            "object_precision": 1 / 4,
            "ghost_rate": 2 / 4,  # the mug at 3 m and the lamp
            "duplicate_rate": 1 / 4,
            "position_error": 0.1,
        }
    )


def test_as_many_objects_as_possible_are_matched_even_if_that_is_farther() -> None:
    # The nearest pair (1, 0) would leave the other two alone.
    found, truth = np.array([[0.0], [0.4]]), np.array([[0.35], [0.8]])
    assert match_objects(found, ["a", "a"], truth, ["a", "a"]) == [(0, 0), (1, 1)]


@given(points, points, st.randoms(use_true_random=False))
def test_object_rates_sum_to_one_and_do_not_depend_on_the_order(
    found: np.ndarray, truth: np.ndarray, shuffle: object
) -> None:
    categories, true_categories = ["mug"] * len(found), ["mug"] * len(truth)
    got = object_scores(found, categories, truth, true_categories)
    again = object_scores(found[::-1], categories, truth[::-1], true_categories)
    assert got == pytest.approx(again, nan_ok=True)
    if len(found):
        assert got["object_precision"] + got["ghost_rate"] + got["duplicate_rate"] == pytest.approx(1)


@given(points)
def test_a_perfect_memory_has_no_ghosts(truth: np.ndarray) -> None:
    names = ["mug"] * len(truth)
    got = object_scores(truth, names, truth, names)
    if len(truth):
        assert got["object_recall"] == got["object_precision"] == 1
        assert got["ghost_rate"] == got["duplicate_rate"] == got["position_error"] == 0


def test_rates_of_nothing_are_unknown() -> None:
    empty = np.zeros((0, 3))
    assert all(math.isnan(v) for v in object_scores(empty, [], empty, []).values())
    assert all(math.isnan(v) for v in latency(np.zeros(0)).values())
    assert math.isnan(recall_at_k(["a"], [], 1))
    assert math.isnan(bytes_per_square_metre(10, 0.0))


def test_a_position_without_category_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a category"):
        object_scores(np.zeros((1, 3)), [], np.zeros((0, 3)), [])


def test_recall_counts_each_relevant_thing_once_within_k() -> None:
    assert recall_at_k(["a", "a", "b", "c"], {"a", "c"}, 3) == 0.5
    assert recall_at_k(["a", "a", "b", "c"], {"a", "c"}, 4) == 1
    with pytest.raises(ValueError, match="k must be at least 1"):
        recall_at_k([], {"a"}, 0)


@given(st.lists(st.integers(0, 9), max_size=10), st.sets(st.integers(0, 9), min_size=1), st.integers(1, 9))
def test_recall_never_falls_with_k(ranked: list[int], relevant: set[int], k: int) -> None:
    assert 0 <= recall_at_k(ranked, relevant, k) <= recall_at_k(ranked, relevant, k + 1) <= 1


def test_not_found_is_scored_like_a_detector_of_absence() -> None:
    got = not_found_scores(np.array([True, True, False, False]), np.array([True, False, True, True]))
    assert got == pytest.approx({"not_found_precision": 1 / 2, "not_found_recall": 1 / 3})


def test_staleness_looks_at_wrong_answers_only() -> None:
    got = staleness(np.array([0.0, 4.0, 9.0]), np.array([10.0, 10.0, 10.0]), np.array([True, False, False]))
    assert got == {"staleness_median": 3.5, "staleness_max": 6.0, "n_wrong": 2.0}
    assert math.isnan(staleness(np.zeros(1), np.zeros(1), np.array([True]))["staleness_median"])


def test_an_identity_that_changes_after_a_gap_is_one_switch() -> None:
    assert identity_switches([{"mug": 1, "cup": 2}, {"cup": 2}, {"mug": 3}, {"mug": 3}]) == 1
    assert identity_switches([{"mug": 1, "cup": 2}, {"mug": 2, "cup": 1}]) == 2
    assert identity_switches([]) == 0


def test_costs_are_per_unit() -> None:
    assert latency(np.full(100, 0.002)) == pytest.approx({"ms_p50": 2.0, "ms_p99": 2.0})
    assert bytes_per_square_metre(3000, 100.0) == 30
    assert recall_lost_per_byte((0.9, 0.8), (2000, 1000)) == pytest.approx(1e-4)
