"""Fusion, diversity and abstention against plain loops, and the words that say why."""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.search.fuse import Match, Signal, abstention, fuse, mmr, threshold_for
from embmem.search.why import age_of, explain_hit, ordinal

NAMES = ("text", "embedding", "near", "graph", "recency", "confidence")
# A coarse grid of scores, so that ties are common.
ranking = st.dictionaries(st.integers(0, 12), st.integers(-8, 8).map(lambda v: v / 4), max_size=10)
rankings = st.dictionaries(st.sampled_from(NAMES), ranking, max_size=5)


def signal(scores: dict[int, float]) -> Signal:
    return np.array(list(scores), np.int64), np.array(list(scores.values()), float)


def plain_fusion(given: dict[str, dict[int, float]], fusion: str, weights: dict[str, int]) -> dict[int, Fraction]:
    """Exact, by the definitions."""
    total = dict.fromkeys((i for scores in given.values() for i in scores), Fraction(0))
    for name, scores in given.items():
        weight = weights.get(name, 0 if name in ("recency", "confidence") else 1)
        for i, score in scores.items():
            if fusion == "rrf":
                points = Fraction(1, 61 + sum(other > score for other in scores.values()))
            else:
                low, high = min(scores.values()), max(scores.values())
                points = Fraction(score - low) / Fraction(high - low) if high > low else Fraction(1)
            total[i] += weight * points
    return total


@given(rankings, st.sampled_from(["rrf", "weighted"]), st.dictionaries(st.sampled_from(NAMES), st.integers(0, 3)))
def test_fusion_is_the_plain_sum_over_the_signals(
    given: dict[str, dict[int, float]], fusion: str, weights: dict[str, int]
) -> None:
    fused = fuse(
        {n: signal(s) for n, s in given.items()}, fusion=fusion, weights={n: float(w) for n, w in weights.items()}
    )
    expected = plain_fusion(given, fusion, weights)
    assert set(fused.ids.tolist()) == set(expected)
    np.testing.assert_allclose(fused.scores, [float(expected[i]) for i in fused.ids.tolist()], atol=1e-12)
    assert (np.diff(fused.scores) <= 0).all()
    for row, i in enumerate(fused.ids.tolist()):
        known = {n: Match(s[i], 1 + sum(v > s[i] for v in s.values())) for n, s in given.items() if i in s}
        assert fused.matches(row) == known


@given(rankings, st.sampled_from(["rrf", "weighted"]), st.randoms(use_true_random=False))
def test_neither_the_order_of_signals_nor_of_candidates_changes_a_bit(
    given: dict[str, dict[int, float]], fusion: str, shuffle: Random
) -> None:
    names = list(given)
    shuffle.shuffle(names)
    other = {}
    for name in names:
        pairs = list(given[name].items())
        shuffle.shuffle(pairs)
        other[name] = signal(dict(pairs))
    first, second = fuse({n: signal(s) for n, s in given.items()}, fusion=fusion), fuse(other, fusion=fusion)
    np.testing.assert_array_equal(first.ids, second.ids)
    np.testing.assert_array_equal(first.scores, second.scores)


@given(ranking)
def test_one_signal_keeps_its_order_and_ties_go_to_the_newest_id(scores: dict[int, float]) -> None:
    for fusion in ("rrf", "weighted"):
        fused = fuse({"near": signal(scores)}, fusion=fusion)
        assert fused.ids.tolist() == sorted(scores, key=lambda i: (-scores[i], -i))


def test_what_two_signals_agree_on_comes_before_the_favourite_of_one() -> None:
    fused = fuse({"text": signal({1: 9.0, 2: 8.0}), "near": signal({3: -0.1, 2: -0.2})})
    assert fused.ids.tolist() == [2, 3, 1]
    assert fused.scores[0] == pytest.approx(2 / 62)


@pytest.mark.parametrize(
    ("signals", "settings"),
    [
        ({"text": (np.array([1, 1]), np.array([1.0, 2.0]))}, {}),
        ({"text": (np.array([1]), np.array([np.nan]))}, {}),
        ({"text": (np.array([1, 2]), np.array([1.0]))}, {}),
        ({"text": signal({1: 1.0})}, {"weights": {"text": -1.0}}),
        ({"text": signal({1: 1.0})}, {"fusion": "borda"}),
    ],
)
def test_malformed_signals_are_refused(signals: dict[str, Signal], settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"text|borda"):
        fuse(signals, **settings)  # type: ignore[arg-type]


def plain_similarity(a: np.ndarray | None, b: np.ndarray | None, text_a: str, text_b: str) -> float:
    if a is not None and b is not None:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    words_a, words_b = set(text_a.lower().split()), set(text_b.lower().split())
    return len(words_a & words_b) / len(words_a | words_b) if words_a | words_b else 0.0


vector = st.none() | st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any)
words = st.lists(st.sampled_from(["red", "mug", "Mug", "sofa", "blue"]), max_size=3).map(" ".join)
items = st.lists(st.tuples(st.integers(0, 8), vector, words), max_size=8)


@given(items, st.sampled_from([0.0, 0.3, 0.7, 1.0]), st.integers(0, 9))
def test_each_pick_has_the_largest_marginal_relevance_of_those_left(
    items: list[tuple[int, list[int] | None, str]], diversity: float, k: int
) -> None:
    relevance = np.array([item[0] for item in items], float)
    vectors = [None if v is None else np.array(v, float) for _, v, _ in items]
    rows = np.array([np.full(3, np.nan) if v is None else v for v in vectors]).reshape(-1, 3)
    picked = mmr(relevance, k, diversity=diversity, embeddings=rows, texts=[t for *_, t in items]).tolist()
    assert len(picked) == len(set(picked)) == min(k, len(items))
    low, high = (relevance.min(), relevance.max()) if items else (0.0, 0.0)
    scaled = (relevance - low) / (high - low) if high > low else np.ones(len(items))

    def marginal(i: int, before: list[int]) -> float:
        near = max((plain_similarity(vectors[i], vectors[j], items[i][2], items[j][2]) for j in before), default=0.0)
        return float((1 - diversity) * scaled[i] - diversity * near)

    for turn, row in enumerate(picked):
        before = picked[:turn]
        best = max(marginal(i, before) for i in range(len(items)) if i not in before)
        assert marginal(row, before) >= best - 1e-9


@given(st.lists(st.integers(0, 8), max_size=12), st.integers(0, 12))
def test_without_diversity_the_order_is_that_of_relevance(relevance: list[int], k: int) -> None:
    expected = sorted(range(len(relevance)), key=lambda i: (-relevance[i], i))[:k]
    assert mmr(np.array(relevance, float), k, diversity=0.0).tolist() == expected


def test_the_same_thing_said_twice_makes_room_for_another_with_or_without_vectors() -> None:
    relevance = np.array([1.0, 0.99, 0.6])
    texts = ["red mug on table", "red mug on table", "green sofa"]
    float16 = np.array([[1, 0], [1, 0], [0, 1]], np.float16)
    assert mmr(relevance, 2, diversity=0.5, texts=texts).tolist() == [0, 2]
    assert mmr(relevance, 2, diversity=0.5, embeddings=float16).tolist() == [0, 2]
    assert mmr(relevance, 2, diversity=0.5).tolist() == [0, 1]
    with pytest.raises(ValueError, match="diversity"):
        mmr(relevance, 2, diversity=1.5)
    with pytest.raises(ValueError, match="one embedding"):
        mmr(relevance, 2, diversity=0.5, texts=["mug"])


def cosines(*values: float) -> Signal:
    return signal(dict(enumerate(values)))


def test_abstains_exactly_where_neither_words_nor_meaning_are_good_enough() -> None:
    nothing, found = signal({}), signal({4: 2.0})
    assert abstention({"text": found}, text="mug") is None
    assert abstention({"near": found, "recency": found}) is None
    assert abstention({}) is None
    assert abstention({"near": nothing}) == "nothing matches"
    assert abstention({"text": nothing, "near": found}, text="mug") == "no record holds a word of 'mug'"
    low = {"embedding": cosines(0.21, 0.2, 0.1)}
    assert abstention(low) is None
    assert abstention(low, min_similarity=0.21) is None
    assert abstention(low, min_similarity=0.25) == "the best cosine 0.210 is below 0.250"
    assert "only 0.010 above the median" in str(abstention(low, min_margin=0.05))
    assert abstention({"embedding": cosines(0.6, 0.2, 0.1)}, min_similarity=0.25, min_margin=0.05) is None
    assert abstention({**low, "text": found}, text="mug", min_similarity=0.25) is None
    both = str(abstention({"embedding": nothing, "text": nothing}, text="mug"))
    assert "'mug'; no record has an embedding" in both


@pytest.mark.parametrize("false_answers", [0.02, 0.1, 0.3])
def test_the_calibrated_threshold_keeps_its_promise_on_new_questions(false_answers: float) -> None:
    rng = np.random.default_rng(3)
    passed = []
    for _ in range(2000):
        scores = rng.gumbel(0.2, 0.05, size=80)  # maxima of many cosines look like that
        passed.append(scores[-1] >= threshold_for(scores[:-1], false_answers=false_answers))
    # Exchangeable, so the expected share is at most the promise and at least a rank less (1 / 80).
    spread = 4 * math.sqrt(false_answers / 2000)
    assert false_answers - 1 / 80 - spread <= np.mean(passed) <= false_answers + spread


def test_too_few_questions_promise_nothing() -> None:
    assert threshold_for(np.linspace(0, 1, 18), false_answers=0.05) == np.inf
    assert threshold_for(np.linspace(0, 1, 19), false_answers=0.05) > 1.0
    with pytest.raises(ValueError, match="false_answers"):
        threshold_for(np.zeros(3), false_answers=0.0)


def test_the_why_names_each_signal_with_its_value_and_rank() -> None:
    matches = {"near": Match(-0.42, 3), "text": Match(3.1, 1), "graph": Match(-1.0, 2), "embedding": Match(0.731, 12)}
    assert explain_hit(matches, text="red mug", age=750.0) == (
        'text "red mug" BM25 3.10 (1st), cosine 0.73 (12th), 0.42 m away (3rd), 1 link away (2nd), 12 min old'
    )
    assert explain_hit({"recency": Match(-90.0, 1), "novelty": Match(0.5, 2)}, age=1.0) == (
        "1 min old (1st), novelty 0.50 (2nd)"
    )
    assert explain_hit({}) == ""
    assert "\n" not in explain_hit({"text": Match(1.0, 1)}, text="two\nlines" + "x" * 900)


def test_ages_and_ordinals_read_as_people_write_them() -> None:
    ages = (0.2, 59.9, 60.0, 7_300.0, 86_400.0 * 9.5, -0.5, -120.0)
    assert [age_of(s) for s in ages] == [
        "0 s old",
        "59 s old",
        "1 min old",
        "2 h old",
        "9 d old",
        "0 s old",
        "in 2 min",
    ]
    numbers = (1, 2, 3, 4, 11, 12, 13, 21, 102, 111, 113)
    assert " ".join(ordinal(n) for n in numbers) == "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th 113th"
