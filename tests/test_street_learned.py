"""A learned policy on the streets: it learns, it acts on what it is told alone, and it keeps to what is offered."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
fabrics = pytest.importorskip("lightning_fabric")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from embmem.errors import InputError  # noqa: E402
from embmem.maps.streets import Pose, StreetAction, move, validated  # noqa: E402
from embmem.maps.streets.legs import crossings  # noqa: E402
from embmem.policies.learned.checkpoints import SHIPPED, load_policy, save_policy  # noqa: E402
from embmem.policies.learned.imitation import Imitation, evaluate  # noqa: E402
from embmem.policies.learned.networks import MEMORIES, PolicyNetwork, Shape, as_inputs, build  # noqa: E402
from embmem.policies.learned.tokens import Tokens  # noqa: E402
from embmem.policies.street.agent import StreetAgent, StreetInstruction, StreetView  # noqa: E402
from embmem.policies.street.learned import LearnedStreetAgent  # noqa: E402
from embmem.policies.street.memory import Parts, StreetMemory  # noqa: E402
from embmem.policies.street.tokens import MOVES, RECALLED, Walker, street_spec  # noqa: E402
from embmem.policies.street.words import parse  # noqa: E402
from embmem.sim_envs.street.episodes import StreetEpisode  # noqa: E402
from embmem.sim_envs.street.landmarks import embed, mentions  # noqa: E402
from embmem.sim_envs.street.token_world import PlainMemory, StreetTokenWorld  # noqa: E402
from embmem.sim_envs.street.told_routes import Lengths, made_up_town, sample_routes  # noqa: E402
from embmem.sim_envs.street.walk import Rules, walk  # noqa: E402

SHAPE = Shape(width=16, n_heads=2, points=True)
SHIPPED_POLICIES = sorted(path.stem for path in SHIPPED.glob("streets-*.safetensors"))


@cache
def world(n: int, knows: float = 0.5) -> StreetTokenWorld:
    return StreetTokenWorld(n, town=5, n_routes=12, least=6, most=8, steps=10, knows=knows)


def trained(seed: int, iterations: int = 5) -> PolicyNetwork:
    place = world(6)
    fabric = fabrics.Fabric(accelerator="cpu", devices=1)
    network = build(place.spec, SHAPE, seed=seed)
    learner = Imitation(network, place, fabric, seed=seed, iterations=iterations, updates=10, batch=12, rate=0.01)
    for i in range(iterations):
        learner.iterate(i)
    return network


def some(n: int = 6) -> tuple[StreetTokenWorld, Tokens]:
    place = world(n, knows=1.0)
    return place, place.reset(np.random.default_rng(0))


def test_training_in_a_made_up_town_finds_more_goals_than_chance_and_the_seed_fixes_it() -> None:
    network = trained(0)
    before, after = (
        evaluate(policy, world(16), np.random.default_rng(5))["success"].mean()
        for policy in (build(network.spec, SHAPE, seed=0), network)
    )
    assert after >= before + 0.25
    one, same, other = (trained(seed, iterations=1).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("memory", MEMORIES)
def test_the_order_of_tokens_does_not_matter_and_nothing_is_taken_that_is_not_offered(memory: str) -> None:
    place, tokens = some()
    network = build(place.spec, replace(SHAPE, memory=memory), seed=0)
    order = np.random.default_rng(1).permutation(tokens.kinds.shape[1])
    mixed = Tokens(**{**tokens.arrays(), **{
        name: tokens.arrays()[name][:, order] for name in ("kinds", "names", "features", "is_visible")
    }})  # fmt: skip
    kept = network.begin(place.n)
    one, other = (network.act(as_inputs(told), kept)[0].softmax(-1).numpy() for told in (tokens, mixed))
    np.testing.assert_allclose(one, other, atol=1e-5)
    for row, walker in zip(one, place.walkers, strict=True):
        assert set(np.flatnonzero(row)) <= {0, *walker.moves()}


def test_policies_of_one_shape_differ_in_the_memory_alone() -> None:
    sizes = [build(street_spec([]), Shape(m, width=32, points=True), seed=0).n_parameters() for m in MEMORIES]
    assert max(sizes) / min(sizes) < 1.05


def test_only_attention_reads_what_the_memory_says() -> None:
    place, tokens = some()
    assert (tokens.kinds == RECALLED).any()
    forgotten = np.where(tokens.kinds == RECALLED, 0, tokens.kinds)
    features = tokens.features.copy()
    features[..., place.spec.n_now :] = 0.0
    less = Tokens(**{**tokens.arrays(), "kinds": forgotten, "features": features})
    for memory in MEMORIES:
        network = build(place.spec, replace(SHAPE, memory=memory), seed=0)
        a, b = (network.act(as_inputs(told), network.begin(place.n))[0] for told in (tokens, less))
        assert torch.equal(a, b) == (memory != "attention")


def test_the_teacher_reaches_every_goal_by_the_shortest_way() -> None:
    place = world(16)
    place.reset(np.random.default_rng(2))
    for _ in range(place.n_steps):
        place.step(place.expert().argmax(axis=1))
    assert place.has_ended.all()
    for walker, episode in zip(place.walkers, place.episodes, strict=True):
        assert walker.walked[-1] == episode.route[-1]
        assert len(walker.walked) == len(episode.route)


def test_told_routes_say_the_turns_and_their_counts_are_those_of_the_route() -> None:
    town = made_up_town(7)
    routes = sample_routes(town, np.ones(len(town), bool), 40, np.random.default_rng(0), Lengths(14, 24))
    n_right = 0
    for episode in routes:
        parts = [c for c in crossings(town, episode.route) if c.last < len(episode.route) - 1]
        symbols = "".join(c.symbol for c in parts)
        told = parse(episode.text).symbols
        assert told.replace("S", "") == symbols.replace("S", ""), episode.text
        n_right += told.rstrip("S") == symbols.rstrip("S")
        assert mentions(episode.text)
    assert n_right >= 12  # the others leave counts out
    for episode in routes:
        hops = town.hops_from(episode.route[0])
        assert hops[episode.route[-1]] == len(episode.route) - 1


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=4)
def test_the_plain_memory_of_training_answers_as_the_street_memory_without_a_short_term(seed: int) -> None:
    rng, parts = np.random.default_rng(seed), Parts(short_term=False, reach=150.0)
    plain, memory = PlainMemory(parts), StreetMemory(parts)
    units = rng.normal(size=(6, 64))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    for i in range(8):
        point, unit = rng.uniform(-4, 4, 2) * 60.0, units[rng.integers(6)]
        for one in (plain, memory):
            one.write(point, unit, float(i), point)
    for unit in units:
        a, b = (sorted(r.position for r in one.read(unit, np.zeros(2))) for one in (plain, memory))
        assert len(a) == len(b)
        if len(a) < parts.k:
            assert a == b


def agent(network: PolicyNetwork | str, **more: Any) -> LearnedStreetAgent:
    made = LearnedStreetAgent(network, **more)
    assert isinstance(made, StreetAgent)
    made.reset(np.random.default_rng(0))
    return made


def test_no_truth_reaches_the_policy() -> None:
    town = made_up_town(5)
    network = build(street_spec(["turn", "left"]), SHAPE, seed=3)
    for episode in sample_routes(town, np.ones(len(town), bool), 3, np.random.default_rng(1), Lengths(8, 12)):
        other = StreetEpisode("x", episode.split, episode.text, episode.route[:5], episode.start_heading)
        rows = [walk(town, one, agent(network, most=20), Rules(40)) for one in (episode, other)]
        assert rows[0]["trajectory"] == rows[1]["trajectory"]
        assert rows[0]["gold"] != rows[1]["gold"]


@pytest.mark.parametrize("seed", range(2))
def test_it_takes_only_moves_that_are_offered_and_stops_within_its_limit(seed: int) -> None:
    place = world(3, knows=1.0)
    place.reset(np.random.default_rng(seed))
    network = build(place.spec, SHAPE, seed=seed)
    for episode in place.episodes:
        who = agent(network, most=12, stops_at=1.0)
        pose = move(place.streets, episode.start(place.streets), StreetAction.FORWARD)
        who.begin(StreetInstruction(episode.text, place.streets, pose))
        assert who.walker is not None
        for step in range(30):
            here = Walker(who.walker.task, who.memory, network.spec)
            here.see(pose, (), 0.0)
            action = who.act(StreetView(pose, step))
            assert action is StreetAction.STOP or MOVES.index(action) in here.moves()
            assert validated(place.streets, pose.place, action) is action
            if action is StreetAction.STOP:
                break
            pose = move(place.streets, pose, action)
        assert action is StreetAction.STOP


def test_a_remembered_landmark_is_recalled_and_named() -> None:
    town = made_up_town(6)
    who = agent(build(street_spec([]), SHAPE, seed=0))
    point = town.xy[town.number["(8, 4)"]]
    who.memory.write(point, embed("church"), 0.0, point)
    start = Pose(town.number["(4, 1)"], 0.0)
    who.begin(StreetInstruction("Stop at the church.", town, start, (("church", embed("church")),)))
    assert who.known() == [(80.0, 40.0, "church")]
    assert who.walker is not None
    tokens = who.walker.tokens()
    (recalled,) = tokens["features"][tokens["kinds"] == RECALLED]
    spec = who.network.spec
    assert recalled[spec.n_now + 8] == pytest.approx(7 / 40)  # hops, by the map
    who.reset(np.random.default_rng(0))
    who.begin(StreetInstruction("Stop at the church.", town, start, (("church", embed("church")),)))
    assert who.known() == []


@pytest.mark.parametrize("name", SHIPPED_POLICIES)
def test_shipped_policies_are_made_for_streets_and_say_how_they_were_made(name: str) -> None:
    who = agent(name)
    made_by = load_policy(SHIPPED / f"{name}.safetensors")[1]
    assert name == f"streets-{who.network.shape.memory}-{made_by['seed']}"
    assert (SHIPPED / f"{name}.safetensors").stat().st_size < 300_000
    assert made_by["train"]["world"]["judged"] == ["map2seq_unseen", "touchdown_unseen"]


def test_other_policies_and_wrong_settings_are_refused(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="not a policy for streets"):
        LearnedStreetAgent("errands_small-attention-0")
    with pytest.raises(InputError, match="not a file"):
        LearnedStreetAgent("no such policy")
    small = build(replace(street_spec(["left"]), n_state=3), SHAPE, seed=0)
    save_policy(tmp_path / "small.safetensors", small, {})
    with pytest.raises(InputError, match="not a policy for streets"):
        LearnedStreetAgent(str(tmp_path / "small.safetensors"))
    with pytest.raises(ValueError, match="stops_at"):
        LearnedStreetAgent(build(street_spec([]), SHAPE, seed=0), stops_at=0.0)
    with pytest.raises(ValueError, match="only 0 of 5 routes"):
        sample_routes(made_up_town(2), np.zeros(16, bool), 5, np.random.default_rng(0), Lengths(3, 4))
    with pytest.raises(ValueError, match="out of range"):
        StreetTokenWorld(0, town=4)
    with pytest.raises(ValueError, match="no return"):
        Shape(points=True, has_value=True)
