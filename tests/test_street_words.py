"""Reading instructions and weighing walks: against plain searches, finite differences and hand-made texts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from test_street_moves import crossing, grid

from embmem.errors import InputError
from embmem.maps.streets import Pose, StreetAction, move, validated
from embmem.maps.streets.legs import crossings, hops_ahead
from embmem.policies.street import features, ranking
from embmem.policies.street.agent import StreetInstruction, StreetView
from embmem.policies.street.candidates import Reach, candidates
from embmem.policies.street.features import EDITS, featurise
from embmem.policies.street.ranked import RankedStreetAgent, best_walk
from embmem.policies.street.ranking import Example, fit
from embmem.policies.street.rule import RuleStreetAgent
from embmem.policies.street.weights import RegionRankers, load_rankers, save_rankers
from embmem.policies.street.words import parse


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("Go to the light and turn right. At the next light make a left and stop.", "RL"),
        ("Head past the 1st light. At the 2nd light turn left.", "SL"),
        ("Go straight through the next two traffic lights and make a left at the 3rd light.", "SSL"),
        ("Don't take the right at the park. Turn left at the second intersection.", "SL"),
        ("Take the second left. Stop with the deli on your right.", "SL"),
        ("Turn right. Go through 2 lights and stop.", "RSS"),
        ("Turn left, then stop in the next intersection.", "LS"),
        ("The church will be on your left and the bank on the right corner.", ""),
    ],
)
def test_phrases_mean_what_a_driver_means(text: str, symbols: str) -> None:
    assert parse(text).symbols == symbols


def test_texts_of_any_kind_are_read() -> None:
    for text in ("", "...", "turn", "left " * 500, "\u2019\n\t", "turn left" * 200):
        assert set(parse(text).symbols) <= set("SLR")


@given(seed=st.integers(0, 2**32 - 1), is_shortest=st.booleans())
def test_the_candidates_are_all_walks_and_each_once(seed: int, is_shortest: bool) -> None:
    rng = np.random.default_rng(seed)
    streets = grid(3, 3)
    start = int(rng.integers(len(streets)))
    heading, second = streets.exits(start)[0]
    reach = Reach(3, 6, is_shortest=is_shortest)
    found = candidates(streets, Pose(second, heading, start), reach)
    graph = streets.networkx()
    number = streets.number
    wanted = set()
    for end in graph:
        for path in nx.all_simple_paths(graph, streets.names[start], end, cutoff=6):
            hops = len(path) - 1
            is_in = hops >= 3 and number[path[1]] == second
            if is_in and (not is_shortest or hops == nx.shortest_path_length(graph, streets.names[start], end)):
                wanted.add(tuple(number[p] for p in path))
    ours = [found.path(i) for i in range(len(found))]
    assert len(ours) == len(set(ours))
    assert set(ours) == wanted
    assert all(found.index(path) == i for i, path in enumerate(ours))


@given(st.text("SLR", max_size=5), st.text("SLR", max_size=4), st.text("SlrLR", max_size=7))
def test_the_alignment_is_the_cheapest(body: str, tail: str, walked: str) -> None:
    tail = "S" * len(tail)
    text = body + tail

    def cheapest(i: int, j: int) -> float:
        if not i and not j:
            return 0.0
        ways = []
        if i and j:
            ways.append(cheapest(i - 1, j - 1) + features._substitution(text[i - 1], walked[j - 1])[1])
        if i:
            ways.append(cheapest(i - 1, j) + (1 if text[i - 1] == "S" else 2))
        if j:
            ways.append(cheapest(i, j - 1) + (2 if walked[j - 1] in "LR" else 1))
        return min(ways)

    row = dict(zip(EDITS, features._edits(f"{body}|{tail}", walked, False), strict=True))
    cost = {"S~bend": 0.4, "S~turn": 2.5, "turn~bend": 0.3, "turn~S": 2.0, "turn~other": 3.5}
    cost |= dict.fromkeys(("extra turn", "extra turn at the end", "missing turn"), 2.0) | {"extra bend": 1.0}
    cost |= {f"{kind} S {leg}": 1.0 for kind in ("extra", "missing") for leg in ("first", "middle", "last")}
    total = sum(cost.get(name, 0.0) * n for name, n in row.items())
    if len(text) + len(walked) <= 9:
        assert total == pytest.approx(cheapest(len(text), len(walked)))
    told = sum(n for name, n in row.items() if not name.startswith(("extra", "exact")))
    gone = sum(n for name, n in row.items() if not name.startswith(("missing", "exact")))
    assert (told, gone) == (len(text), len(walked))


def test_crossings_are_counted_and_bend_as_drawn() -> None:
    streets = crossing([0.0, 90.0, 180.0, 270.0])  # from the south: 6, 5, then the middle
    for path, symbol in (([6, 5, 0, 1, 2], "S"), ([6, 5, 0, 3, 4], "R"), ([6, 5, 0, 7, 8], "L")):
        (only,) = crossings(streets, path)
        assert (only.symbol, only.first, only.last, only.n_ways, only.goes_on) == (symbol, 2, 2, 4, True)
    assert hops_ahead(streets, 6, 5) == 1
    streets = crossing([90.0, 180.0, 270.0])
    assert not crossings(streets, [4, 3, 0, 1])[0].goes_on  # the street ends in another


def _examples(n: int, seed: int) -> list[Example]:
    """Texts that say truly which way the walk goes in a grid."""
    rng = np.random.default_rng(seed)
    streets = grid(5, 5)
    made: list[Example] = []
    while len(made) < n:
        start = int(rng.integers(len(streets)))
        heading, second = streets.exits(start)[0]
        found = candidates(streets, Pose(second, heading, start), Reach(4, 8, is_shortest=False))
        if not len(found):
            continue
        gold = int(rng.integers(len(found)))
        symbols = [c.symbol for c in crossings(streets, found.path(gold))]
        say = {"S": "go through a light", "L": "turn left", "R": "turn right"}
        text = ". ".join(say[s] for s in symbols) + ". stop"
        program = parse(text)
        made.append(Example(text, program, featurise(streets, program, found, heading), gold))
    return made


def test_the_gradient_of_the_fit_is_that_of_finite_differences() -> None:
    examples = _examples(3, 0)
    ends = [ranking.end_words(e.text, e.program) for e in examples]
    begins = [ranking.begin_words(e.text) for e in examples]
    phi = ranking._matrix(ends, ranking._vocabulary(ends, 3))
    psi = ranking._matrix(begins, ranking._vocabulary(begins, 3))
    problem = ranking._Problem.stacked(examples, phi, psi)
    rng = np.random.default_rng(0)
    shape = len(features.EDITS) + len(features.PLACES) * phi.shape[1] + len(features.WAYS) * psi.shape[1]
    x, penalty = rng.normal(size=shape + features.N_LENGTHS) * 0.1, rng.random(shape + features.N_LENGTHS)
    numeric = approx_fprime(x, lambda v: problem.loss(v, penalty)[0], 1e-6)
    np.testing.assert_allclose(problem.loss(x, penalty)[1], numeric, atol=2e-3)


def test_a_fit_ranks_the_meant_walk_above_chance_on_texts_that_it_has_not_seen() -> None:
    ranker = fit(_examples(40, 1))
    held_out = _examples(20, 2)
    share, chance = [], []
    for e in held_out:
        scores = ranker.scores(e.features, e.text, e.program)
        assert np.exp(scores).sum() == pytest.approx(1)
        share.append((scores >= scores[e.gold]).mean())
        chance.append(0.5)
    assert np.mean(share) < 0.25 < np.mean(chance)


def test_saved_weights_rank_alike_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    examples = _examples(8, 3)
    made = RegionRankers(np.zeros((1, 2)), (fit(examples, min_count=2),), Reach(4, 8), {"seed": 3})
    file = tmp_path / "w.safetensors"
    save_rankers(file, made)
    back = load_rankers(file)
    assert (back.reach, back.about) == (made.reach, made.about)
    for e in examples[:5]:
        ours, theirs = (r.rankers[0].scores(e.features, e.text, e.program) for r in (made, back))
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:200])
    for bad in ("cut", "missing"):
        with pytest.raises(InputError):
            load_rankers(tmp_path / f"{bad}.safetensors")


def test_the_best_walk_gathers_the_chances_of_its_neighbours() -> None:
    streets = grid(4, 4)
    heading, second = streets.exits(0)[0]
    found = candidates(streets, Pose(second, heading, 0), Reach(2, 6, is_shortest=False))
    rng = np.random.default_rng(0)
    log_odds = np.log(rng.dirichlet(np.ones(len(found))))
    ends = [found.path(i)[-1] for i in range(len(found))]
    graph = streets.networkx().to_undirected()

    def completes(i: int) -> float:
        near = {ends[i], *(streets.number[p] for p in graph[streets.names[ends[i]]])}
        return sum(float(np.exp(s)) for s, end in zip(log_odds, ends, strict=True) if end in near)

    best = best_walk(streets, found, log_odds)
    assert completes(best) == pytest.approx(max(completes(i) for i in range(len(found))))


@pytest.mark.parametrize("name", ["map2seq_seen", "map2seq_unseen", "touchdown_unseen"])
def test_the_weights_of_the_package_load(name: str) -> None:
    agent = RankedStreetAgent(name)
    assert agent.reach.most in (44, 45)


def test_agents_take_what_the_map_offers_and_stop() -> None:
    streets = grid(4, 4)
    start = Pose(0, streets.exits(0)[0][0])
    for agent in (RankedStreetAgent("map2seq_unseen", Reach(4, 9)), RuleStreetAgent(9)):
        pose, actions = start, list[StreetAction]()
        agent.reset(np.random.default_rng(0))
        agent.begin(StreetInstruction("Turn left at the first light, then stop.", streets, pose))
        while StreetAction.STOP not in actions:
            actions.append(agent.act(StreetView(pose, len(actions))))
            pose = move(streets, pose, validated(streets, pose.place, actions[-1]))
            assert len(actions) < 30
        assert 4 <= sum(action is StreetAction.FORWARD for action in actions) <= 9
    lost = RankedStreetAgent("map2seq_unseen")
    lost.begin(StreetInstruction("Go.", streets, start))
    assert lost.act(StreetView(start, 0)) is StreetAction.STOP  # no walk is long enough


def test_grids_of_the_tests_are_what_they_seem() -> None:
    streets = grid(3, 3)
    assert all(np.linalg.norm(streets.xy[a] - streets.xy[b]) == 10 for a, b in pairwise([0, 1, 2]))
