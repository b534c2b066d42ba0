"""Following told routes: words into steps, ways that fit them, and the agents that walk."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.agent import Action, Agent, Body, Goal
from embmem.maps import spatial_memory
from embmem.maps.scene_graph.rooms import RoomMap
from embmem.observation import Intrinsics
from embmem.policies.instructions.agent import InstructionAgent
from embmem.policies.instructions.blind import TurnsAgent
from embmem.policies.instructions.known import Doorway, KnownHouse, Landmark
from embmem.policies.instructions.matching import METRE, best_match, fit, promise
from embmem.policies.instructions.parsing import LANDMARK_NAMES, ROOM_NAMES, Parser
from embmem.policies.instructions.steps import Step
from embmem.policies.oracle import OracleAgent
from embmem.sim_envs.house import House, make_house
from embmem.sim_envs.instructions.drawing import draw_told_route
from embmem.sim_envs.instructions.perfect import known_perfectly
from embmem.sim_envs.instructions.task import Instructions
from embmem.sim_envs.instructions.wording import say
from embmem.sim_envs.sessions import run_session
from embmem.sim_envs.world import World

rooms = st.sampled_from(sorted(set(ROOM_NAMES.values())))
landmarks = st.sampled_from(sorted(set(LANDMARK_NAMES.values()) - {"nightstand"}))
sides = st.sampled_from([None, "left", "right"])
middle_steps = st.one_of(
    st.builds(Step, st.just("leave"), rooms, st.none() | landmarks),
    st.builds(Step, st.just("cross"), rooms),
    st.builds(Step, st.just("enter"), rooms),
    st.builds(lambda turn: Step("turn", turn=turn), st.sampled_from(["left", "right", "straight"])),
    st.builds(lambda name: Step("door", landmark=name), landmarks),
    st.builds(lambda name, side: Step("pass", landmark=name, side=side), landmarks, sides),
)
told_steps = st.builds(
    lambda steps, stop: (*steps, Step("stop", landmark=stop)), st.lists(middle_steps, max_size=7), landmarks
)


@given(told_steps, st.integers(0, 2**32 - 1), st.sampled_from(["train", "held_out"]))
@settings(max_examples=40, deadline=None)
def test_whatever_is_said_is_read_back(steps: tuple[Step, ...], seed: int, split: str) -> None:
    words = say(steps, np.random.default_rng(seed), "train" if split == "train" else "held_out")
    assert Parser().parse(words) == steps


@given(told_steps, st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_names_of_training_suffice_for_training(steps: tuple[Step, ...], seed: int) -> None:
    assert Parser({}).parse(say(steps, np.random.default_rng(seed), "train")) == steps


@given(st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_any_text_is_read_without_error_and_stops_at_most_once(text: str) -> None:
    steps = Parser().parse(text)
    assert [step.kind for step in steps[:-1]].count("stop") == 0


def test_a_name_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="neither room nor landmark"):
        Parser({"abyss": "chasm"})


@pytest.mark.parametrize("seed", [3])
def test_in_a_house_known_perfectly_the_best_way_is_the_one_that_was_told(seed: int) -> None:
    house = make_house(seed, 6)
    world = World(house, intrinsics=Intrinsics.from_fov(64, 48, 79.0), body=Body(), rng=np.random.default_rng(0))
    rng, ours = np.random.default_rng(seed), known_perfectly(house)
    right: list[bool] = []
    while len(right) < 4:
        told = draw_told_route(world, house, rng)
        if told is not None:
            match = best_match(ours, told.route.start, Parser().parse(told.words))
            assert match is not None
            assert match.landmark is not None
            right.append(match.landmark.id == told.route.goal.id and match.rooms == told.route.rooms)
    assert np.mean(right) >= 0.9


def two_rooms() -> KnownHouse:
    """A kitchen (x below 4) and a bedroom, a door at (4, 1) in the wall x = 4; a bed at the left behind it."""
    labels = np.zeros((40, 80), dtype=np.int32)
    labels[:, 40:] = 1
    plan = RoomMap(np.zeros(2), 0.1, labels)
    bed = Landmark(7, "bed", np.array([4.2, 3.0]), np.array([5.5, 3.9]), 1)
    desk = Landmark(8, "desk", np.array([7.0, 0.1]), np.array([7.9, 0.7]), 1)
    middles = {0: np.array([2.0, 2.0]), 1: np.array([6.0, 2.0])}
    doors = (Doorway((0, 1), np.array([4.0, 1.0])),)
    return KnownHouse({0: "kitchen", 1: "bedroom"}, middles, doors, (bed, desk), plan)


def test_turns_and_rooms_decide_what_a_way_is_worth() -> None:
    house, origin = two_rooms(), np.array([1.0, 1.0])
    told = (Step("leave", room="kitchen"), Step("turn", turn="left"), Step("enter", room="bedroom"))
    stop = Step("stop", landmark="bed")
    match = best_match(house, origin, (*told, stop))
    assert match is not None
    # leave, and enter with twice the weight; the turn comes after the door, so it is told too late for one of them
    ordered = best_match(house, origin, (told[0], told[2], told[1], stop))
    assert ordered is not None
    length = 3.0 + float(np.hypot(0.85, 2.45))
    assert ordered.score == pytest.approx(1.0 - METRE * length)
    assert match.score == pytest.approx(3.0 / 4.0 - METRE * length)
    wrong = best_match(house, origin, (told[0], told[2], Step("turn", turn="right"), stop))
    assert wrong is not None
    assert wrong.score < match.score + 1e-9
    assert best_match(house, origin, (*told, stop), without=[np.array([4.8, 3.4])]) is None
    assert best_match(house, origin, told) is None
    assert promise(house, origin, np.array([6.0, 2.0]), told) > promise(house, origin, np.array([2.0, 2.0]), told)
    assert promise(house, np.array([-5.0, 1.0]), origin, told) == 0.0


@given(st.lists(middle_steps, max_size=4).map(tuple))
@settings(max_examples=60, deadline=None)
def test_the_fit_is_that_of_the_best_of_all_alignments(told: tuple[Step, ...]) -> None:
    house, origin, end = two_rooms(), np.array([1.0, 1.0]), np.array([4.8, 3.4])
    score = fit(house, origin, (0, 1), house.doors, end, told)
    length = 3.0 + float(np.hypot(0.8, 2.4))
    if not told:
        assert score == pytest.approx(1.0 - METRE * length)
        return
    # what happens, written down by hand: pass 0, cross, door, leave, enter, turn, pass 1
    agreed = {
        1: lambda s: float(s.kind == "cross" and s.room == "kitchen"),
        3: lambda s: float(s.kind == "leave" and s.room == "kitchen") * (1.0 if s.landmark is None else 0.6),
        4: lambda s: float(s.kind == "enter" and s.room == "bedroom"),
        5: lambda s: float(s.turn == "left"),
        6: lambda s: float(s.kind == "pass" and s.landmark == "bed") * (1.0 if s.side in (None, "right") else 0.6),
    }
    weight = {"enter": 2.0}
    total = sum(weight.get(s.kind, 1.0) for s in told)
    best = 0.0
    for at in combinations_with_replacement(range(7), len(told)):
        gains = []
        used: set[int] = set()
        for step, j in zip(told, at, strict=True):
            gain = agreed[j](step) * weight.get(step.kind, 1.0) if j in agreed else 0.0
            if j in used and step.kind != "pass":
                gain = 0.0
            if gain > 0:
                used.add(j)
            gains.append(gain)
        best = max(best, sum(gains))
    assert score == pytest.approx(best / total - METRE * length)


def test_nothing_is_known_before_anything_is_seen() -> None:
    agent = InstructionAgent(spatial_memory, True)
    assert isinstance(agent, Agent)
    assert isinstance(TurnsAgent(), Agent)
    house = KnownHouse.of(agent._graph)
    assert house.room_at(np.zeros(2)) is None
    assert best_match(house, np.zeros(2), (Step("stop", landmark="bed"),)) is None
    with pytest.raises(ValueError, match="renew"):
        InstructionAgent(spatial_memory, True, renew=0)


def test_the_agent_that_hears_turns_takes_one_at_each_wall_and_stops_after_the_last() -> None:
    house = make_house(5, 5)
    world = World(house, intrinsics=Intrinsics.from_fov(32, 24, 79.0), body=Body(), rng=np.random.default_rng(0))
    agent = TurnsAgent()
    agent.begin(Goal(instruction="Turn left, then take a right and stop at the bed."))
    actions: list[Action] = []
    while len(actions) < 300 and (action := agent.act(world.observe())) is not Action.STOP:
        actions.append(action)
        world.apply(action)
    assert len(actions) < 300
    turns = [a for a in actions if a is not Action.FORWARD]
    assert turns == [Action.LEFT] * 3 + [Action.RIGHT] * 3


def test_with_a_tour_before_the_agent_walks_a_told_route_nearly_as_short_as_the_oracle() -> None:
    task = Instructions(n_rooms=3, per_session=1, max_steps=80, tour="guided", min_path=3.0)
    agents: dict[str, Agent] = {"oracle": OracleAgent(), "memory": InstructionAgent(spatial_memory, True)}

    def make_world(house: House, *, rng: np.random.Generator) -> World:
        return World(house, intrinsics=Intrinsics.from_fov(96, 72, 79.0), body=Body(), rng=rng, rgb=False)

    rows = run_session(task, agents, make_world, seed=0, index=0, n=1)
    assert rows[0]["success"] == 1.0
    assert rows[1]["vlnce/sr"] == 1.0
    assert rows[1]["vlnce/ndtw"] > 0.8
    for row in rows:
        assert 0.0 <= row["rooms/cls"] <= 1.0
        assert row["goal"]
        assert row["vlnce/osr"] >= row["vlnce/sr"]
