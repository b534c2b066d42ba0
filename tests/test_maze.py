"""Mazes: dug, flooded and walked as a plain search says; errands that the teacher can carry out, seen by the tokens."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embmem.policies.learned.reinforcement import RewardWorld
from embmem.policies.learned.tokens import Tokens, TokenWorld
from embmem.sim_envs.maze import ImageGoalWorld, MazeWorld
from embmem.sim_envs.maze.grids import FAR, MOVES, dig, routes, wander
from embmem.sim_envs.maze.instructions import KINDS, LANDMARKS, N_WORDS, PHRASES

seeds = st.integers(0, 1000)


def graph(ways: np.ndarray) -> nx.Graph:
    """The maze as a graph of networkx."""
    return nx.Graph([(a, int(b)) for a, row in enumerate(ways) for b in row if b != a])


@given(seeds, st.integers(2, 6))
def test_without_loops_a_maze_is_a_spanning_tree_of_the_grid(seed: int, size: int) -> None:
    for ways in dig(3, size, loops=0.0, rng=np.random.default_rng(seed)):
        maze = graph(ways)
        assert nx.is_tree(maze)
        assert len(maze) == size * size
        for a, b in maze.edges:
            assert abs(a % size - b % size) + abs(a // size - b // size) == 1


@given(seeds)
def test_moves_lead_where_their_direction_says_and_back(seed: int) -> None:
    ways = dig(2, 5, loops=0.3, rng=np.random.default_rng(seed))
    for maze in ways:
        for a, row in enumerate(maze):
            for k, b in enumerate(row):
                if b != a:
                    assert (b % 5 - a % 5, b // 5 - a // 5) == tuple(MOVES[k])
                    assert maze[b, (k + 2) % 4] == a


def test_with_every_wall_open_the_maze_is_the_grid() -> None:
    maze = graph(dig(1, 4, loops=1.0, rng=np.random.default_rng(0))[0])
    assert maze.number_of_edges() == 2 * 4 * 3


@given(seeds, st.integers(0, 24), st.integers(0, 6))
def test_routes_are_those_of_a_plain_search_over_what_is_known(seed: int, source: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    ways = dig(1, 5, loops=0.3, rng=rng)
    known = rng.uniform(size=(1, 25)) < 0.6
    steps, first = routes(ways, np.array([source]), is_expanded=known, most=most)
    maze = nx.Graph([(a, b) for a, b in graph(ways[0]).edges if known[0, a] or known[0, b]])
    maze.add_node(source)
    told = nx.single_source_shortest_path_length(maze, source, cutoff=most)
    assert {c: d for c, d in enumerate(steps[0]) if d < FAR} == told
    for cell, distance in told.items():
        starts = {way[1] for way in nx.all_shortest_paths(maze, source, cell)} if distance else set()
        assert {int(b) for b in ways[0, source][first[0, cell]]} == starts


def test_a_walk_takes_ways_that_are_open() -> None:
    ways = dig(4, 5, loops=0.1, rng=np.random.default_rng(0))
    walk = wander(ways, 30, np.random.default_rng(1))
    for maze, cells in zip(ways, walk, strict=True):
        assert all(b in maze[a] and a != b for a, b in pairwise(cells))


def follow(world: MazeWorld, seed: int) -> dict[str, np.ndarray]:
    """The scores of the teacher itself."""
    world.reset(np.random.default_rng(seed))
    for _ in range(world.n_steps):
        best = world.expert()
        assert np.allclose(best.sum(axis=1), world.is_acting)
        world.step(best.argmax(axis=1))
    return world.scores()


def test_the_teacher_carries_out_nearly_every_errand_by_nearly_the_shortest_way() -> None:
    scores = follow(MazeWorld(256, steps=40), 0)
    assert scores["success"].mean() > 0.99
    assert scores["spl"].mean() > 0.9
    assert (scores["spl"] <= scores["success"]).all()
    assert set(scores["kind"]) == set(range(len(KINDS)))


def test_the_same_seed_is_the_same_world() -> None:
    worlds = [MazeWorld(8), MazeWorld(8)]
    tokens = [world.reset(np.random.default_rng(3)) for world in worlds]
    for _ in range(worlds[0].n_steps):
        for name, array in tokens[0].arrays().items():
            np.testing.assert_array_equal(array, tokens[1].arrays()[name])
        tokens = [world.step(world.expert().argmax(axis=1)) for world in worlds]


def test_tokens_are_what_was_seen_and_where_it_lies() -> None:
    world = MazeWorld(16)
    tokens = world.reset(np.random.default_rng(0))
    assert isinstance(world, TokenWorld)
    seen: list[set[str]] = [set() for _ in range(world.n)]
    for t in range(world.n_steps):
        for i in range(world.n):
            visible = {LANDMARKS[name - 1] for name in tokens.names[i][tokens.is_visible[i] & (tokens.names[i] > 0)]}
            seen[i] |= visible
            assert {LANDMARKS[name - 1] for name in tokens.names[i] if name} == seen[i]
        assert tokens.words.any() == (t >= world.tour)
        away = np.abs(tokens.features[..., :2]).sum(axis=-1) * world.size
        assert (away[tokens.is_visible] <= world.view + 1e-5).all()
        tokens = world.step(world.expert().argmax(axis=1))


def test_ways_can_be_kept_from_the_tokens() -> None:
    worlds = [MazeWorld(8, with_ways=True), MazeWorld(8, with_ways=False)]
    with_ways, without = (world.reset(np.random.default_rng(0)).features for world in worlds)
    assert with_ways.shape == without.shape == (8, 7, worlds[0].spec.n_features)
    is_way = np.isin(np.arange(worlds[0].spec.n_features), np.arange(3, 8))
    np.testing.assert_array_equal(without, np.where(is_way, np.float32(0.0), with_ways))


def test_hidden_means_that_the_goal_is_out_of_view_when_the_errand_is_given() -> None:
    world = MazeWorld(64)
    tokens = world.reset(np.random.default_rng(5))
    for _ in range(world.tour):
        tokens = world.step(np.zeros(world.n, np.int64))
    goal_is_seen = tokens.is_visible[world._rows, np.argmax(world._landmarks == world._goals[:, :1], axis=1)]
    np.testing.assert_array_equal(world.scores()["hidden"] == 0, goal_is_seen)


def test_goals_are_put_in_view_as_often_as_asked() -> None:
    shares = []
    for chance in (0.0, 0.5, 1.0):
        world = MazeWorld(512, kinds=["named", "back"], in_view=chance)
        world.reset(np.random.default_rng(5))
        assert chance < 1.0 or (world._goals[:, 0] != world._walk[:, -1]).all()
        shares.append(1.0 - world.scores()["hidden"].mean())
        assert all(len(set(row)) == world.n_landmarks for row in world._landmarks.tolist())
    assert shares[2] == 1.0
    assert abs(shares[1] - (0.5 + 0.5 * shares[0])) < 0.06


def test_who_stops_at_once_fails_where_the_goal_is_elsewhere() -> None:
    world = MazeWorld(64)
    world.reset(np.random.default_rng(5))
    for _ in range(world.n_steps):
        world.step(np.zeros(world.n, np.int64))
    scores = world.scores()
    assert not scores["success"][scores["hidden"] > 0].any()


def test_instructions_fit_and_the_words_kept_for_the_test_are_known() -> None:
    world = MazeWorld(1)
    known = set(world.spec.vocabulary)
    for ways in PHRASES.values():
        for way in ways:
            words = way.format(a="lamp", b="sofa").split()
            assert len(words) <= N_WORDS
            assert set(words) <= known
    assert (world.spec.encode(["find the zebra"])[0, :3] != 0).all()


@pytest.mark.parametrize(
    "wrong",
    [{"n": 0}, {"n_landmarks": 1}, {"tour": 0}, {"loops": 2.0}, {"kinds": ["fly"]}, {"size": 1}, {"in_view": 2.0}],
)
def test_worlds_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need"):
        MazeWorld(**{"n": 2, **wrong}).reset(np.random.default_rng(0))  # type: ignore[arg-type]


def shown(world: ImageGoalWorld, seed: int) -> Tokens:
    """What is told after the tour, with the first goal."""
    told = world.reset(np.random.default_rng(seed))
    for _ in range(world.tour):
        assert not world.expert().any()
        told = world.step(np.zeros(world.n, np.int64))
    return told


def test_the_teacher_finds_the_places_of_all_pictures_and_is_paid_for_it() -> None:
    world = ImageGoalWorld(32, n_goals=2, steps=40)
    assert isinstance(world, RewardWorld)
    shown(world, 0)
    gains = np.zeros(world.n)
    for _ in range(40):
        world.step(world.expert().argmax(axis=1))
        gains += world.rewards
    assert world.scores()["success"].mean() == 1.0
    assert ((gains > 2 - 0.02 * 40) & (gains < 2)).all()


def test_a_picture_leads_to_the_place_where_it_was_taken() -> None:
    world = ImageGoalWorld(16, n_goals=1)
    told = shown(world, 3)
    for i in range(world.n):
        is_used = told.kinds[i] > 0
        likeness, cells = told.features[i, is_used, 0], world._cells[i, is_used]
        assert len(set(cells)) == len(cells)  # no place is kept twice
        assert (world._goal[i] in cells) == world._is_seen[i, world._goal[i]]
        if world._goal[i] in cells:
            assert cells[likeness.argmax()] == world._goal[i]


def test_tokens_of_pictures_are_what_was_seen_and_lie_where_they_say() -> None:
    world = ImageGoalWorld(8)
    tokens = world.reset(np.random.default_rng(1))
    seen: list[set[int]] = [set() for _ in range(world.n)]
    for t in range(world.n_steps):
        for i in range(world.n):
            near = nx.single_source_shortest_path_length(graph(world._ways[i]), int(world._at[i]), cutoff=world.view)
            seen[i] |= set(near)
            assert set(world._cells[i, tokens.kinds[i] > 0].tolist()) == seen[i]
            assert set(world._cells[i, tokens.is_visible[i]].tolist()) == set(near)
        assert tokens.state[:, -world.dim :].any() == (t >= world.tour)
        tokens = world.step(np.full(world.n, t % 4))


@pytest.mark.parametrize("in_view", [0.0, 1.0])
def test_hidden_pictures_were_seen_and_are_not_in_view(in_view: float) -> None:
    world = ImageGoalWorld(64, n_goals=1, in_view=in_view)
    told = shown(world, 2)
    is_goal = (world._cells == world._goal[:, None]) & (told.kinds > 0)
    is_hidden = is_goal.any(axis=1) & ~(is_goal & told.is_visible).any(axis=1)
    np.testing.assert_array_equal(world.scores()["hidden"] > 0, is_hidden)
    assert is_hidden.any() == (in_view == 0.0)


@pytest.mark.parametrize("wrong", [{"n": 0}, {"tour": 0}, {"noise": -1.0}, {"novelty": 2.0}, {"in_view": -0.1}])
def test_worlds_of_pictures_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need"):
        ImageGoalWorld(**{"n": 2, **wrong})  # type: ignore[arg-type]
