"""Identity switches and IDF1 against their definitions, and against py-motmetrics where it is installed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.sim_envs.metrics.tracks import track_scores

# frames of (true id, given id) pairs; within a frame neither repeats, 0 is nobody's
frames = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=4,
             unique_by=(lambda pair: pair[0] or object(), lambda pair: pair[1])),
    max_size=8,
)  # fmt: skip


def flat(shown: list[list[tuple[int, int]]]) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.array([pair for frame in shown for pair in frame], dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


@given(frames)
def test_they_are_what_their_definitions_say(shown: list[list[tuple[int, int]]]) -> None:
    true, given_ids = flat(shown)
    scores = track_scores(true, given_ids)
    switches = 0
    last: dict[int, int] = {}
    for who, said in zip(true.tolist(), given_ids.tolist(), strict=True):
        if who:
            switches += last.get(who, said) != said
            last[who] = said
    assert scores.switches == switches
    people = sorted(set(true.tolist()) - {0})
    best = 0
    for ids in itertools.permutations([*range(5), *[-9] * len(people)], len(people)):
        best = max(best, sum(int(((true == p) & (given_ids == i)).sum()) for p, i in zip(people, ids, strict=True)))
    n = int((true > 0).sum())
    assert scores.idf1 == pytest.approx(2 * best / max(n + len(true), 1))
    assert scores.idp == pytest.approx(best / max(len(true), 1))
    assert scores.idr == pytest.approx(best / max(n, 1))


@settings(deadline=None, max_examples=25)
@given(frames)
def test_they_agree_with_motmetrics(shown: list[list[tuple[int, int]]]) -> None:
    mm = pytest.importorskip("motmetrics")
    accumulator = mm.MOTAccumulator(auto_id=True)
    for frame in shown:
        people = [who for who, _ in frame if who]
        ids = [said for _, said in frame]
        distance = np.full((len(people), len(ids)), np.nan)
        for who, said in frame:
            if who:
                distance[people.index(who), ids.index(said)] = 0.0
        accumulator.update(people, ids, distance)
    names = ["num_switches", "idf1", "idp", "idr"]
    told = mm.metrics.create().compute(accumulator, metrics=names, return_dataframe=False)
    scores = track_scores(*flat(shown))
    assert scores.switches == told["num_switches"]
    for name in names[1:]:
        if np.isfinite(told[name]):
            assert getattr(scores, name) == pytest.approx(told[name])


def test_a_sighting_that_nobody_was_named_for_is_missed_and_no_switch() -> None:
    scores = track_scores(np.array([1, 1, 1, 1]), np.array([7, -1, 7, 8]))
    assert scores.switches == 1
    assert scores.idp == pytest.approx(2 / 3)
    assert scores.idr == pytest.approx(2 / 4)


def test_malformed_sightings_are_refused() -> None:
    for true, given_ids in (([-1], [0]), ([1], [-2])):
        with pytest.raises(ValueError, match="need"):
            track_scores(np.array(true), np.array(given_ids))
