"""The memory of street landmarks and the semi-synthetic world around it, against plain searches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_street_moves import grid

from embmem.maps.streets import Pose, StreetMap, actions_along, move
from embmem.policies.street.agent import StreetInstruction, StreetView
from embmem.policies.street.candidates import Reach
from embmem.policies.street.memory import Parts, StreetMemory
from embmem.policies.street.ranked import RankedStreetAgent
from embmem.policies.street.remembering import RememberingStreetAgent
from embmem.sim_envs.street.episodes import StreetEpisode
from embmem.sim_envs.street.landmarks import DIM, LandmarkWorld, embed, mentions, place_landmarks
from embmem.sim_envs.street.perception import Perception
from embmem.sim_envs.street.picture import draw_walk
from embmem.sim_envs.street.tours import in_groups
from embmem.sim_envs.street.walk import Rules, walk

EXACT = Perception(miss=0.0, false_alarm=0.0, bearing=0.0, distance=0.0, embedding=0.0)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_the_log_answers_as_a_plain_search_over_all_sightings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    memory = StreetMemory(Parts(graph=False, short_term=False, octree=bool(seed % 2), reach=100.0, similar=0.2))
    points = rng.uniform(-200, 200, (40, 2))
    units = rng.normal(size=(40, DIM))
    units[::4] = units[0] + 0.3 * rng.normal(size=(10, DIM))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    for i, (point, unit) in enumerate(zip(points, units, strict=True)):
        memory.write(point, unit, float(i), point)
    here = np.zeros(2)
    fits = units @ units[0] >= 0.2
    if seed % 2:
        fits &= np.abs(points).max(axis=1) <= 100.0
    wanted = sorted((units @ units[0])[fits], reverse=True)[:3]
    found = memory.read(units[0], here)
    np.testing.assert_allclose([r.cosine for r in found], wanted, atol=2e-3)


def test_sightings_of_one_landmark_become_one_and_of_lookalikes_do_not() -> None:
    memory, rng = StreetMemory(Parts()), np.random.default_rng(0)
    for branch in ((0.0, 0.0), (300.0, 0.0)):
        for i in range(10):
            noise = rng.normal(size=DIM)
            unit = embed("duane reade") + 0.5 * noise / np.linalg.norm(noise)
            memory.write(
                np.array(branch) + rng.normal(0, 3, 2), unit / np.linalg.norm(unit), float(i), np.array(branch)
            )
    assert len(memory.graph) == 2
    assert memory.stats()["records"] == 2


def test_the_short_term_answers_first_and_only_from_where_one_stands() -> None:
    memory = StreetMemory(Parts(graph=False))
    unit = embed("starbucks")
    memory.write(np.array([0.0, 0.0]), unit, 0.0, np.array([0.0, 0.0]))
    memory.write(np.array([100.0, 0.0]), unit, 1.0, np.array([100.0, 0.0]))
    assert [r.position for r in memory.read(unit, np.array([100.0, 1.0]))] == [(100.0, 0.0)]
    assert len(memory.read(unit, np.array([50.0, 0.0]))) == 2  # from the long term
    assert memory.read(embed("gnc"), np.array([50.0, 0.0])) == []
    memory.clear()
    assert memory.read(unit, np.array([50.0, 0.0])) == []


@pytest.mark.parametrize("off", ["octree", "graph", "short_term", "long_term"])
def test_every_part_can_be_left_out_and_matters(off: str) -> None:
    full, less = StreetMemory(Parts()), StreetMemory(replace(Parts(), **{off: False}))
    unit = embed("park")
    for memory in (full, less):
        for i in range(6):
            memory.write(np.array([700.0, 5.0 * i]), unit, float(i), np.array([700.0, 0.0]))
        memory.write(np.array([20.0, 0.0]), unit, 9.0, np.array([20.0, 0.0]))
    far, close = np.array([0.0, 0.0]), np.array([700.0, 1.0])
    answers = [
        [(r.position, r.why.split(",")[-1]) for r in m.read(unit, p)] for m in (full, less) for p in (far, close)
    ]
    assert answers[:2] != answers[2:] or full.stats() != less.stats()


def test_a_token_stands_for_the_log_of_a_leaf() -> None:
    pytest.importorskip("torch")
    memory = StreetMemory(Parts(token_dim=256, short_term=False, leaf=20.0))
    memory.write(np.array([7.0, 8.0]), embed("library"), 0.0, np.zeros(2))
    (found,) = memory.read(embed("library"), np.zeros(2))
    assert found.position == (10.0, 10.0)  # the middle of its leaf
    assert found.cosine > 0.9
    assert memory.read(embed("school"), np.zeros(2)) == []


def test_tokens_of_many_leaves_answer_as_each_of_them_does_alone() -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    memory = StreetMemory(Parts(token_dim=128, short_term=False, graph=False, leaf=20.0, reach=150.0, similar=0.3, k=5))
    names, points = rng.normal(size=(6, DIM)), rng.uniform(-300, 300, (40, 2))
    names /= np.linalg.norm(names, axis=1, keepdims=True)
    for i, point in enumerate(np.concatenate([points, points[:10]])):  # some leaves hold several
        memory.write(point, names[i % len(names)], float(i), point)
    for name in names:
        alone = []
        for leaf, centre in memory._leaves.items():
            answer = memory.long_term.read_token(leaf, name)
            cosine = float(answer @ name / np.linalg.norm(answer))
            if np.abs(centre).max() <= 150.0 and cosine >= 0.3:
                alone.append((cosine, *centre))
        found = memory.read(name, np.zeros(2))
        assert found
        wanted = [cosine for cosine, *_ in sorted(alone, reverse=True)[:5]]
        np.testing.assert_allclose([r.cosine for r in found], wanted, atol=1e-5)
        assert {tuple(one[1:]) for one in alone} >= {r.position for r in found}


def test_octree_keys_name_one_leaf_each_and_take_both_signs() -> None:
    memory = StreetMemory(Parts(leaf=10.0))
    cells = {
        (x, y): memory.octree_key(np.array([x * 10 + 5.0, y * 10 + 5.0, 0.0]))
        for x in range(-4, 4)
        for y in range(-4, 4)
    }
    assert len(set(cells.values())) == 64
    assert memory.octree_key(np.array([9.9, 0.1, 0.0])) == cells[0, 0]


def test_phrases_are_found_with_their_leg_and_side() -> None:
    text = "Go past the church. At Duane Reade on the left corner turn left. Stop before Dunkin' Donuts on your right."
    found = {m.phrase: m for m in mentions(text)}
    assert set(found) == {"church", "duane reade", "dunkin' donuts"}
    assert (found["church"].leg, found["duane reade"].leg, found["dunkin' donuts"].leg) == (0, 0, 1)
    assert (found["duane reade"].side, found["dunkin' donuts"].side) == (-1, 1)
    assert found["dunkin' donuts"].is_last
    assert found["duane reade"].is_corner
    assert not found["church"].is_last


def _episode(streets: StreetMap) -> StreetEpisode:
    number = streets.number
    route = [number[str(p)] for p in [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 3), (2, 4)]]
    return StreetEpisode("1", "map2seq_seen", "Turn left at Citibank. Stop at the church.", tuple(route), 90.0)


def test_landmarks_stand_beside_the_route_that_mentions_them() -> None:
    streets = grid(4, 4)
    episode = _episode(streets)
    world = place_landmarks(streets, [episode], np.random.default_rng(0))
    assert set(world.phrases) == {"citibank", "church"}
    apart = np.linalg.norm(world.xy[:, None] - streets.xy[list(episode.route)][None], axis=2).min(axis=1)
    assert (apart <= 12.001).all()


def test_without_noise_all_that_is_near_is_seen_where_it_is_and_with_noise_shares_hold() -> None:
    streets = grid(3, 3)
    world = LandmarkWorld(("a", "b"), np.array([[5.0, 5.0], [500.0, 0.0]]), np.array([embed("a"), embed("b")]))
    (seen,) = EXACT.see(streets, world, Pose(0, 0.0), np.random.default_rng(0))
    angle = np.radians(seen.bearing)
    there = streets.xy[0] + seen.distance * np.array([np.sin(angle), np.cos(angle)])
    np.testing.assert_allclose(there, world.xy[0], atol=1e-9)
    np.testing.assert_allclose(seen.embedding, world.embeddings[0])
    noisy, rng = Perception(miss=0.3, false_alarm=0.0, embedding=0.6), np.random.default_rng(1)
    views = [noisy.see(streets, world, Pose(0, 0.0), rng) for _ in range(800)]
    assert np.mean([len(v) for v in views]) == pytest.approx(0.7, abs=0.04)
    cosines = [float(s.embedding @ world.embeddings[0]) for v in views for s in v]
    assert np.mean(cosines) == pytest.approx(1 / np.sqrt(1 + 0.6**2), abs=0.03)
    alarms = Perception(miss=1.0, false_alarm=0.1)
    assert np.mean([len(alarms.see(streets, world, Pose(0, 0.0), rng)) for _ in range(2000)]) == pytest.approx(
        0.1, abs=0.03
    )


def test_a_recollection_decides_between_walks_that_the_words_leave_open() -> None:
    streets = grid(5, 5)
    heading, _ = streets.exits(0)[0]
    start = move(streets, Pose(0, heading), actions_along(streets, Pose(0, heading), [0, streets.exits(0)[0][1]])[0])
    agent = RememberingStreetAgent("map2seq_unseen", Reach(4, 8), weight=8.0, slack=0.0)
    text = "Go to the church."
    task = StreetInstruction(text, streets, start, (("church", embed("church")),))
    ends = []
    for target in (streets.number["(4, 4)"], streets.number["(6, 2)"]):
        agent.reset(np.random.default_rng(0))
        agent.memory.write(streets.xy[target], embed("church"), 0.0, streets.xy[target])
        agent.begin(task)
        pose = start
        for i in range(30):
            pose = move(streets, pose, agent.act(StreetView(pose, i)))
        ends.append(np.linalg.norm(streets.xy[pose.place] - streets.xy[target]))
        assert agent.known()[0][2] == "church"
    assert max(ends) <= 10.0


def test_who_was_pushed_off_the_way_comes_back_if_it_may() -> None:
    streets = grid(6, 6)
    episode = replace(_episode(streets), text="Go straight. Turn left. Turn right. Stop.")
    rows = {}
    for recovers in (True, False):
        agent = RankedStreetAgent("map2seq_unseen", Reach(5, 7), recovers=recovers)
        free = walk(streets, episode, agent, Rules(60))
        rows[recovers] = walk(streets, episode, agent, Rules(60, 1), shoves=np.random.default_rng(3))
        assert rows[recovers]["shoves"] == 1
        rows[recovers]["same"] = free["trajectory"][-1] == rows[recovers]["trajectory"][-1]
    assert rows[True]["same"]
    assert not rows[False]["same"]


def test_instructions_of_one_route_stay_together_in_a_tour() -> None:
    episodes = tuple(StreetEpisode(str(i), "map2seq_seen", "Go.", (0, i // 2), 0.0) for i in range(20))
    tour = in_groups(episodes, np.random.default_rng(0))
    assert sorted(e.id for e in tour) == sorted(e.id for e in episodes)
    assert all(tour[i].route == tour[i + 1].route for i in range(0, 20, 2))
    assert [e.id for e in tour] != [e.id for e in episodes]


def test_a_picture_is_drawn_with_hostile_words() -> None:
    row = {"trajectory": [[0, 0], [5, 5]], "gold": [[0, 0], [9, 0]], "known": [[3, 3, "$\\frac{$ <b>"]]}
    assert draw_walk(row).startswith(b"\x89PNG")
    assert draw_walk(row, np.array([[[0.0, 0.0], [9.0, 9.0]]])).startswith(b"\x89PNG")
