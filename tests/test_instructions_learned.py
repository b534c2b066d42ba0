"""Told routes for learned policies: what tokens say and do not say, the teacher, training, and the agent that walks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

pytest.importorskip("torch")
fabrics = pytest.importorskip("lightning_fabric")

from embmem.agent import Agent, Body  # noqa: E402
from embmem.maps import spatial_memory  # noqa: E402
from embmem.observation import Intrinsics  # noqa: E402
from embmem.policies.instructions.atlas import Atlas  # noqa: E402
from embmem.policies.instructions.learned import LearnedInstructionAgent  # noqa: E402
from embmem.policies.instructions.tokens import FAR_THING, Moment, Reader, make_row  # noqa: E402
from embmem.policies.learned.checkpoints import load_policy, save_policy  # noqa: E402
from embmem.policies.learned.imitation import Imitation, evaluate, play  # noqa: E402
from embmem.policies.learned.networks import MEMORIES, PolicyNetwork, Shape, build  # noqa: E402
from embmem.sim_envs.house import House, make_house  # noqa: E402
from embmem.sim_envs.instructions.perfect import known_perfectly  # noqa: E402
from embmem.sim_envs.instructions.task import Instructions  # noqa: E402
from embmem.sim_envs.instructions.token_world import HouseWorld  # noqa: E402
from embmem.sim_envs.sessions import run_session  # noqa: E402
from embmem.sim_envs.world import World  # noqa: E402

SMALL = {"first_house": 70, "n_houses": 2, "rooms": [3, 4], "per_house": 6, "tour": 6, "steps": 5}


def small_world(n: int, **more: object) -> HouseWorld:
    return HouseWorld(n, **{**SMALL, **more})  # type: ignore[arg-type]


def small_network(memory: str = "attention", seed: int = 0) -> PolicyNetwork:
    return build(small_world(1).spec, Shape(memory, width=16, reads_words=True, points=True, by_ways=True), seed=seed)


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return Atlas.of(known_perfectly(make_house(70, 6)))


def test_ways_are_the_shortest_of_a_graph_of_doors(atlas: Atlas) -> None:
    rng = np.random.default_rng(0)
    for _ in range(12):
        here = int(rng.choice(atlas.rooms))
        seen = [room for room in atlas.rooms if room == here or rng.uniform() < 0.7]
        position = atlas.middles[here]
        graph = nx.Graph()
        graph.add_nodes_from(range(len(atlas.doors)))
        for room in seen:
            own = [d for d, sides in enumerate(atlas.sides.tolist()) if room in sides]
            graph.add_weighted_edges_from(
                (a, b, float(np.linalg.norm(atlas.doors[a] - atlas.doors[b]))) for a in own for b in own if a < b
            )
        for d, sides in enumerate(atlas.sides.tolist()):
            if here in sides:
                graph.add_edge("here", d, weight=float(np.linalg.norm(atlas.doors[d] - position)))
        told = nx.single_source_dijkstra_path_length(graph, "here") if "here" in graph else {}
        _, lengths = atlas.ways(here, position, seen)
        wanted = [told.get(d, np.inf) for d in range(len(atlas.doors))]
        np.testing.assert_allclose(lengths, wanted)


def test_nothing_is_told_of_rooms_that_were_not_seen(atlas: Atlas) -> None:
    here = atlas.rooms[0]
    moment = Moment(here, atlas.middles[here], np.array([1.0, 0.0]), seen=frozenset([here]))
    things = tuple(
        thing if thing.room == here else replace(thing, category="piano", low=thing.low + 0.3, high=thing.high + 0.3)
        for thing in atlas.house.landmarks
    )
    kinds = {room: kind if room == here else "library" for room, kind in atlas.kinds.items()}
    other = Atlas.of(replace(atlas.house, landmarks=things, kinds=kinds))
    a, b = make_row(atlas, moment), make_row(other, moment)
    assert (a.kinds < FAR_THING).all()
    np.testing.assert_array_equal(a.kinds, b.kinds)
    np.testing.assert_array_equal(a.features, b.features)
    assert (a.names, a.choices) == (b.names, b.choices)
    everything = make_row(atlas, replace(moment, seen=None))
    assert (everything.kinds == FAR_THING).sum() > 0


def test_a_far_thing_says_by_which_exit_it_is_reached(atlas: Atlas) -> None:
    here = atlas.rooms[0]
    row = make_row(atlas, Moment(here, atlas.middles[here], np.array([0.0, 1.0])))
    exits = np.flatnonzero([choice[0] == "door" for choice in row.choices.values()])
    ways = row.features[:, 8:16] > 0
    assert (ways[row.kinds == FAR_THING].sum(axis=1) == 1).all()
    assert np.flatnonzero(ways.any(axis=0)).tolist() == list(range(len(exits)))


def test_names_are_one_word_whatever_they_are_called_and_the_last_word_comes_first() -> None:
    words = "Depart from the lounge; next halt facing the shelf of books."
    assert Reader().read(words) == "bookshelf the facing halt next , living_room the from depart"
    assert Reader({}).read(words).split()[0] == "books"


def test_the_teacher_walks_what_was_told() -> None:
    world = small_world(24)
    world.reset(np.random.default_rng(0))
    for _ in range(world.n_steps):
        world.step(world.expert().argmax(axis=1))
    scores = world.scores()
    assert scores["followed"].mean() == 1.0
    np.testing.assert_allclose(scores["spl"], 1.0)
    assert 0 < scores["hidden"].sum() < 24


def test_without_a_tour_only_the_room_of_the_start_is_known() -> None:
    world = small_world(8, toured=0.0)
    tokens = world.reset(np.random.default_rng(0))
    for _ in range(world.tour):
        tokens = world.step(np.zeros(8, np.int64))
    assert (tokens.is_visible == (tokens.kinds > 0)).all()
    assert (tokens.words > 0).any(axis=1).all()


@pytest.mark.parametrize("wrong", [{"toured": 1.5}, {"rooms": [1, 4]}, {"steps": 0}])
def test_worlds_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="need"):
        small_world(4, **wrong)


def test_the_policies_are_of_equal_size() -> None:
    sizes = [small_network(memory).n_parameters() for memory in MEMORIES]
    assert max(sizes) / min(sizes) < 1.05


def test_training_learns_and_the_seed_fixes_it() -> None:
    fabric, metrics = fabrics.Fabric(accelerator="cpu", devices=1), []
    test = small_world(40, in_view=1.0)
    before = evaluate(small_network(seed=1), test, np.random.default_rng(2))["success"].mean()
    for iterations in (1, 6):
        network = small_network(seed=1)
        world = small_world(12, in_view=0.8)
        learner = Imitation(network, world, fabric, seed=1, iterations=6, updates=6, batch=12, rate=0.01)
        metrics.append([learner.iterate(i) for i in range(iterations)])
    assert metrics[0] == metrics[1][:1]
    assert evaluate(network, test, np.random.default_rng(2))["success"].mean() > before + 0.15


def test_a_policy_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    network, world = small_network(), small_world(6)
    save_policy(tmp_path / "a.safetensors", network, {"seed": 0})
    again, _ = load_policy(tmp_path / "a.safetensors")
    assert (again.shape, again.spec) == (network.shape, network.spec)
    a, b = (play(each, world, np.random.default_rng(0)) for each in (network, again))
    np.testing.assert_array_equal(a["features"], b["features"])


def test_an_agent_does_not_take_a_recurrent_policy(tmp_path: Path) -> None:
    save_policy(tmp_path / "a.safetensors", small_network("recurrent"), {})
    with pytest.raises(ValueError, match="recurrent"):
        LearnedInstructionAgent(spatial_memory, True, checkpoint=str(tmp_path / "a.safetensors"))


def test_the_agent_walks_in_a_rendered_house_as_its_policy_says() -> None:
    task = Instructions(n_rooms=3, per_session=1, max_steps=60, tour="guided", min_path=3.0)
    learned = LearnedInstructionAgent(spatial_memory, True)
    agents: dict[str, Agent] = {"learned": learned}

    def make_world(house: House, *, rng: np.random.Generator) -> World:
        return World(house, intrinsics=Intrinsics.from_fov(96, 72, 79.0), body=Body(), rng=rng, rgb=False)

    (row,) = run_session(task, agents, make_world, seed=1, index=0, n=1)
    assert learned._n_choices >= 1
    assert row["steps"] >= 1
    assert 0.0 <= row["vlnce/ndtw"] <= 1.0
