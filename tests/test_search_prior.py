"""The search prior: against plain sums, its files, FILM's schedule, and that it knows homes better than chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from embmem.errors import InputError
from embmem.maps.search_prior import CELL, WEIGHTS, CoarseMap, GoalChooser, SearchPrior, coarse_map, uniform
from embmem.maps.semantic_map import SemanticMap
from embmem.testing import wall_ahead

seeds = st.integers(0, 2**32 - 1)
NAMES = ("bed", "sink")


def random_map(seed: int) -> CoarseMap:
    rng = np.random.default_rng(seed)
    present = (rng.random((8, 8, 2)) < 0.1).astype(float)
    return CoarseMap(rng.uniform(-5, 5, 2), rng.random((8, 8)), NAMES, present)


def random_prior(seed: int) -> SearchPrior:
    return SearchPrior(NAMES, np.random.default_rng(seed).normal(size=(8, 2)))


@given(seeds)
def test_scores_are_the_plain_sums_of_the_weights(seed: int) -> None:
    known, prior = random_map(seed), random_prior(seed)
    told = prior(known, "sink").probability
    scores = np.zeros((8, 8))
    for row in range(8):
        for column in range(8):
            square = [(row + r, column + c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)]
            near = [(r, c) for r, c in square if 0 <= r < 8 and 0 <= c < 8]
            seen = known.explored[row, column]
            around = sum(known.explored[r, c] for r, c in near) / 8
            beside = np.sum([known.present[r, c] for r, c in near], axis=0)
            values = [*known.present[row, column], *beside, 1 - seen, seen, around, seen * (1 - seen)]
            scores[row, column] = np.dot(values, prior.weights[:, 1])
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(told, expected, atol=1e-12)


@given(seeds)
def test_every_prior_sums_to_one_and_draws_inside_its_cells(seed: int) -> None:
    known, rng = random_map(seed), np.random.default_rng(seed)
    for told in (random_prior(seed)(known, "bed"), random_prior(seed)(known, "unicorn"), uniform(known)):
        assert told.probability.sum() == pytest.approx(1.0)
        point = told.draw(rng)
        assert ((point >= known.origin) & (point <= known.origin + 8 * CELL)).all()


def test_a_category_without_training_is_sought_where_nobody_looked() -> None:
    known = random_map(1)
    told = random_prior(1)(known, "unicorn").probability
    np.testing.assert_allclose(told, (1 - known.explored) / (1 - known.explored).sum())
    seen = CoarseMap(known.origin, np.ones((8, 8)), NAMES, known.present)
    np.testing.assert_allclose(uniform(seen).probability, 1 / 64)


def test_a_map_of_other_categories_is_refused() -> None:
    known = random_map(1)
    with pytest.raises(ValueError, match="categories"):
        random_prior(1)(CoarseMap(known.origin, known.explored, NAMES[::-1], known.present), "bed")
    with pytest.raises(ValueError, match="weights"):
        SearchPrior(NAMES, np.zeros((3, 2)))


def test_the_coarse_map_tells_what_the_semantic_map_knows() -> None:
    semantic = SemanticMap(min_votes=1)
    for i in range(4):
        semantic.observe(wall_ahead(float(i)))
    known = coarse_map(semantic, ("mug", "bed"))
    (thing,) = semantic.things()
    column, row = np.floor((thing.centroid - known.origin) / CELL).astype(int)
    assert known.present[row, column, 0] == 1
    assert known.present.sum() == 1
    explored = np.count_nonzero(semantic.channels([])["explored"]) * 0.05**2
    assert known.explored.sum() * CELL**2 == pytest.approx(explored)
    assert coarse_map(SemanticMap(), ("mug",)).explored.sum() == 0.0


def test_goals_are_uniform_at_first_and_change_every_25_steps() -> None:
    semantic = SemanticMap()
    weights = np.zeros((8, 2))
    weights[4, 0] = 1e3  # all for cells that nobody saw: the first of them would win without the others
    prior = SearchPrior(NAMES, weights)
    chooser = GoalChooser(prior, "bed", np.random.default_rng(0))
    goals = [tuple(chooser.step(semantic).tolist()) for _ in range(100)]
    changes = [i for i in range(1, 100) if goals[i] != goals[i - 1]]
    assert changes == [25, 50, 75]
    again = GoalChooser(prior, "bed", np.random.default_rng(0))
    assert [tuple(again.step(semantic).tolist()) for _ in range(100)] == goals


def test_after_thirty_steps_goals_follow_the_prior() -> None:
    semantic = SemanticMap(min_votes=1)
    semantic.observe(wall_ahead(0.0))
    weights = np.zeros((6, 1))
    weights[0, 0] = 1e3  # where a mug is, there are more
    prior = SearchPrior(("mug",), weights)
    chooser = GoalChooser(prior, "mug", np.random.default_rng(0))
    goals = [chooser.step(semantic) for _ in range(60)]
    known = coarse_map(semantic, ("mug",))
    cell = np.argwhere(known.present[..., 0])[0][::-1]
    inside = [bool((np.floor((goal - known.origin) / CELL) == cell).all()) for goal in goals]
    assert inside[50:] == [True] * 10
    assert not all(inside[:30])


def test_the_weights_that_come_along_know_homes_better_than_chance() -> None:
    prior = SearchPrior.load()
    n = len(prior.categories)
    explored = np.zeros((8, 8))
    explored[:, :4] = 1.0
    present = np.zeros((8, 8, n))
    present[2, 3, prior.categories.index("stove")] = 1.0
    present[6, 3, prior.categories.index("bed")] = 1.0
    known = CoarseMap(np.zeros(2), explored, prior.categories, present)
    fridge = prior(known, "refrigerator").probability
    nightstand = prior(known, "nightstand").probability
    assert fridge[1:4, 2:5].sum() > 1.2 * fridge[5:8, 2:5].sum()
    assert nightstand[5:8, 2:5].sum() > 1.2 * nightstand[1:4, 2:5].sum()


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    good = load_file(WEIGHTS)
    bad = tmp_path / "bad.safetensors"
    for change in (
        {"weights": good["weights"][:-1]},
        {"weights": np.full_like(good["weights"], np.nan)},
        {"categories": good["categories"][:5]},
        {"categories": np.full(4, 255, np.uint8)},
    ):
        save_file({**good, **change}, bad)
        with pytest.raises(InputError):
            SearchPrior.load(bad)
    bad.write_bytes(b"nothing")
    with pytest.raises(InputError):
        SearchPrior.load(bad)
    with pytest.raises(InputError):
        SearchPrior.load(tmp_path / "missing")
