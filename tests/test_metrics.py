"""Continuous scores and sequence distances against closed forms, naive models and properties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embmem.sim_envs.metrics.continuous import ndtw, path_length, score, vlnce_habitat
from embmem.sim_envs.metrics.sequences import dtw, dtw_points, edit_distance

coordinates = st.floats(-50, 50, width=32).map(float)
paths = st.integers(1, 12).flatmap(lambda n: arrays(np.float64, (n, 3), elements=coordinates))
words = st.text("abc", max_size=6)


@given(paths, st.booleans(), st.floats(0, 20), st.floats(0, 20), st.floats(0, 20), st.floats(0.1, 5))
def test_scores_lie_in_zero_to_one_and_spl_never_exceeds_success(
    path: np.ndarray, stop: bool, end: float, closest: float, shortest: float, threshold: float
) -> None:
    got = score(
        path, stop_called=stop, distance_to_goal=end, distance_min=closest, shortest=shortest, threshold=threshold
    )
    assert all(0 <= got[key] <= 1 for key in ("success", "oracle_success", "spl", "soft_spl", "unreachable"))
    assert got["spl"] <= got["success"]


def _score(**changes: float | bool) -> dict[str, float]:
    path = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])  # 7 m walked, 5 m would do
    values = {"distance_to_goal": 0.0, "distance_min": 0.0, "shortest": 5.0, "threshold": 0.2} | changes
    return score(path, stop_called=bool(values.pop("stop_called", True)), **values)


def test_a_detour_costs_its_share_of_spl() -> None:
    got = _score()
    assert got["spl"] == got["soft_spl"] == pytest.approx(5 / 7)
    assert got["path_length"] == pytest.approx(7)


def test_success_needs_stop_and_is_strict_at_the_threshold() -> None:
    assert _score(stop_called=False)["success"] == 0
    assert _score(distance_to_goal=0.2)["success"] == 0
    assert _score(distance_to_goal=math.nextafter(0.2, 0))["success"] == 1
    assert _score(stop_called=False)["oracle_success"] == 1


def test_half_of_the_way_without_stop_gives_half_of_soft_spl() -> None:
    assert _score(stop_called=False, distance_to_goal=2.5)["soft_spl"] == pytest.approx(0.5 * 5 / 7)


def test_a_goal_at_the_start_scores_the_success_itself() -> None:
    got = _score(shortest=0.0)
    assert got["spl"] == got["success"] == got["soft_spl"] == 1
    assert _score(shortest=0.0, distance_to_goal=1.0)["spl"] == 0


def test_an_unreachable_goal_scores_zero_and_is_flagged() -> None:
    got = _score(shortest=math.inf, distance_to_goal=math.inf, distance_min=math.inf)
    assert got["unreachable"] == 1
    assert got["success"] == got["spl"] == got["soft_spl"] == 0


@pytest.mark.parametrize("changes", [{"shortest": math.nan}, {"distance_to_goal": -1.0}, {"threshold": 0.0}])
def test_impossible_distances_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="distances >= 0"):
        _score(**changes)


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(ValueError, match="its start"):
        score(np.zeros((0, 2)), stop_called=True, distance_to_goal=0.0, distance_min=0.0, shortest=1.0, threshold=1.0)
    with pytest.raises(ValueError, match="at least one place"):
        dtw_points(np.zeros((0, 2)), np.zeros((1, 2)))


@given(paths)
def test_following_the_gold_path_exactly_gives_one(path: np.ndarray) -> None:
    got = vlnce_habitat(path, path, path[-1], stop_called=True)
    assert got["ndtw_exact"] == got["ndtw_fastdtw"] == got["sdtw_exact"] == got["success"] == 1


@given(paths, paths, arrays(np.float64, (3,), elements=coordinates))
def test_scores_do_not_change_when_the_world_is_shifted(path: np.ndarray, gold: np.ndarray, by: np.ndarray) -> None:
    before = vlnce_habitat(path, gold, gold[-1], stop_called=True)
    after = vlnce_habitat(path + by, gold + by, gold[-1] + by, stop_called=True)
    # A standstill below the resolution of a float may appear or vanish; it costs nothing in DTW but its own distance.
    for key in ("distance_to_goal", "path_length", "oracle_navigation_error"):
        assert after[key] == pytest.approx(before[key], abs=1e-6)


@given(paths, paths, st.integers(0, 11))
def test_standing_still_does_not_change_ndtw(path: np.ndarray, gold: np.ndarray, where: int) -> None:
    i = where % len(path)
    waited = np.insert(path, i, path[i], axis=0)
    assert ndtw(waited, gold) == pytest.approx(ndtw(path, gold))


@given(paths, paths)
def test_ndtw_lies_in_zero_to_one_and_fastdtw_never_exceeds_exact(path: np.ndarray, gold: np.ndarray) -> None:
    exact, fast = ndtw(path, gold), ndtw(path, gold, radius=1)
    assert 0 <= fast <= exact * (1 + 1e-9)
    assert exact <= 1


def _every_alignment(n: int, m: int, i: int = 0, j: int = 0) -> list[list[tuple[int, int]]]:
    if (i, j) == (n - 1, m - 1):
        return [[(i, j)]]
    steps = [(i + 1, j), (i, j + 1), (i + 1, j + 1)]
    return [[(i, j), *rest] for p, q in steps if p < n and q < m for rest in _every_alignment(n, m, p, q)]


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.floats(0, 9)))
def test_dtw_is_the_cheapest_of_all_alignments(cost: np.ndarray) -> None:
    cheapest = min(sum(cost[i, j] for i, j in way) for way in _every_alignment(*cost.shape))
    assert dtw(cost) == pytest.approx(cheapest)


def test_dtw_goes_around_pairs_without_a_way_and_says_so_where_it_cannot() -> None:
    cost = np.array([[1.0, np.inf], [2.0, 3.0]])
    assert dtw(cost) == 4  # the diagonal; down and right would be 6
    assert dtw(np.array([[1.0, 5.0], [2.0, np.inf]])) == np.inf


@given(words, words)
def test_edit_distance_is_a_metric_with_the_known_bounds(a: str, b: str) -> None:
    assert edit_distance(a, b) == edit_distance(b, a)
    assert abs(len(a) - len(b)) <= edit_distance(a, b, transposition=True) <= edit_distance(a, b) <= max(len(a), len(b))
    assert (edit_distance(a, b) == 0) == (a == b)


@given(words, words)
def test_edit_distance_matches_its_recursive_definition(a: str, b: str) -> None:
    def naive(s: str, t: str) -> int:
        if not s or not t:
            return len(s) + len(t)
        ways = [naive(s[1:], t) + 1, naive(s, t[1:]) + 1, naive(s[1:], t[1:]) + (s[0] != t[0])]
        if s[:2] == t[:2][::-1] and len(s) > 1 < len(t):
            ways.append(naive(s[2:], t[2:]) + 1)
        return min(ways)

    assert edit_distance(a, b, transposition=True) == naive(a, b)


def test_a_swap_counts_once_and_is_not_edited_again() -> None:
    assert edit_distance("ab", "ba", transposition=True) == 1
    assert edit_distance("ab", "ba") == 2
    assert edit_distance("ca", "abc", transposition=True) == 3  # unrestricted Damerau-Levenshtein says 2


@given(paths)
def test_path_length_is_the_sum_of_its_steps(path: np.ndarray) -> None:
    assert path_length(path) == pytest.approx(sum(math.dist(a, b) for a, b in itertools.pairwise(path)))
