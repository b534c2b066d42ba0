"""What street agents are told, what they must not know, and what one instruction leaves behind for the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from test_street_moves import grid

from embmem.maps.streets import Pose, StreetAction, StreetMap, move, validated
from embmem.policies.street.agent import StreetInstruction, StreetView
from embmem.policies.street.candidates import Reach, candidates
from embmem.policies.street.memory import Parts, StreetMemory
from embmem.policies.street.ranked import RankedStreetAgent
from embmem.policies.street.remembering import RememberingStreetAgent
from embmem.policies.street.simple import GoldStreetAgent
from embmem.sim_envs.street.episodes import StreetEpisode
from embmem.sim_envs.street.landmarks import embed
from embmem.sim_envs.street.walk import Rules, walk

REACH = Reach(4, 8)
TEXTS = ("Turn left at the light.", "Go straight, then turn right at the church.", "Stop.")


def walked(streets: StreetMap, agent: RankedStreetAgent, text: str, start: Pose) -> list[tuple[StreetAction, int]]:
    """The actions of an agent, with the places that they lead to."""
    task = StreetInstruction(text, streets, start, (("church", embed("church")),))
    agent.begin(task)
    pose, done = start, list[tuple[StreetAction, int]]()
    while not done or done[-1][0] is not StreetAction.STOP:
        action = validated(streets, pose.place, agent.act(StreetView(pose, len(done))))
        pose = move(streets, pose, action)
        done.append((action, pose.place))
        assert len(done) < 60
    return done


@pytest.mark.parametrize("kind", [RankedStreetAgent, RememberingStreetAgent])
def test_the_instruction_before_does_not_matter(kind: type[RankedStreetAgent]) -> None:
    streets = grid(5, 5)
    tasks = [(text, Pose(i, streets.exits(i)[0][0])) for i, text in zip((0, 30, 40), TEXTS, strict=True)]
    agent = kind("map2seq_unseen", REACH)
    for text, start in [*tasks, *reversed(tasks)]:
        fresh = kind("map2seq_unseen", REACH)
        assert walked(streets, agent, text, start) == walked(streets, fresh, text, start)


@pytest.mark.parametrize("kind", [RankedStreetAgent, RememberingStreetAgent])
def test_who_has_nowhere_to_go_stops_whatever_it_did_before(kind: type[RankedStreetAgent]) -> None:
    streets = StreetMap.from_exits(["a", "b", "c"], np.zeros((3, 2)), [(0, 0.0, 1)])
    town, agent = grid(5, 5), kind("map2seq_unseen", REACH)
    walked(town, agent, TEXTS[0], Pose(0, town.exits(0)[0][0]))
    for place in range(3):  # a street of one step, its end, and a place without any street
        assert walked(streets, agent, TEXTS[1], Pose(place, 0.0)) == [(StreetAction.STOP, place)]


class Curious:
    """Stops at once, and keeps all that it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def reset(self, rng: np.random.Generator) -> None:
        """There is nothing to forget."""

    def begin(self, instruction: StreetInstruction, gold: Sequence[int] | None = None) -> None:
        """Keep everything."""
        self.told += [gold, instruction]

    def act(self, view: StreetView) -> StreetAction:
        """Stop."""
        self.told.append(view)
        return StreetAction.STOP


def test_the_route_is_told_to_nobody_but_the_privileged() -> None:
    streets, agent = grid(4, 4), Curious()
    route = tuple(candidates(streets, Pose(0, 0.0), Reach(5, 5)).path(0))
    episode = StreetEpisode("1", "map2seq_seen", "Go.", route, 0.0)
    walk(streets, episode, agent, Rules())
    gold, instruction, view = agent.told
    assert gold is None
    assert isinstance(instruction, StreetInstruction)
    assert isinstance(view, StreetView)
    assert set(vars(instruction)) == {"text", "streets", "start", "landmarks"}
    assert set(vars(view)) == {"pose", "step", "sightings"}
    assert walk(streets, episode, GoldStreetAgent(), Rules())["success"]


def test_a_push_says_nothing_of_what_is_meant() -> None:
    streets = grid(6, 6)
    start = Pose(0, streets.exits(0)[0][0])
    church = streets.xy[streets.number["(10, 4)"]]
    agent = RememberingStreetAgent("map2seq_unseen", Reach(5, 14), weight=9.0, slack=0.0)
    task = StreetInstruction("Go straight to the church.", streets, start, (("church", embed("church")),))
    agent.memory.write(church, embed("church"), 0.0, church)
    agent.begin(task)
    pose, step = start, 0
    while pose.place == start.place:
        pose, step = move(streets, pose, agent.act(StreetView(pose, step))), step + 1
    ways = [(h, end) for h, end in streets.exits(start.place) if end != pose.place]
    pose = Pose(ways[0][1], ways[0][0], start.place)  # pushed into the other street
    agent.take_in(task, StreetView(pose, step))
    agent._decide(StreetInstruction(task.text, streets, pose, task.landmarks))  # as it does when it sees a landmark
    while (action := agent.act(StreetView(pose, step))) is not StreetAction.STOP:
        pose, step = move(streets, pose, action), step + 1
        assert step < 60
    assert np.linalg.norm(streets.xy[pose.place] - church) <= 10.0


def test_two_exits_to_one_place_are_one_walk() -> None:
    xy = np.array([[0.0, 0.0], [0.0, 10.0], [0.0, 20.0]])
    streets = StreetMap.from_exits(["a", "b", "c"], xy, [(0, 0.0, 1), (1, 0.0, 2), (1, 5.0, 2)])
    found = candidates(streets, Pose(1, 0.0, 0), Reach(1, 3, is_shortest=False))
    assert [found.path(i) for i in range(len(found))] == [(0, 1), (0, 1, 2)]
    assert found.last.tolist() == [1, 2]


@pytest.mark.parametrize("part", ["graph", "token"])
def test_a_budget_forgets_the_oldest_and_what_is_left_is_found(part: str) -> None:
    if part == "token":
        pytest.importorskip("torch")
    parts = Parts(most=8, short_term=False, graph=part == "graph", token_dim=64 if part == "token" else None)
    memory = StreetMemory(parts)
    for i in range(20):
        memory.write(np.array([30.0 * i, 0.0]), embed(str(i)), float(i), np.zeros(2))
        assert memory.stats()["records"] <= 8
    assert memory.read(embed("0"), np.array([0.0, 0.0])) == []
    assert memory.read(embed("19"), np.array([570.0, 0.0]))
    memory.write(np.zeros(2), embed("0"), 20.0, np.zeros(2))  # seen again, so known again
    assert memory.read(embed("0"), np.zeros(2))


def test_what_is_not_finite_is_refused_whole() -> None:
    memory, here, unit = StreetMemory(Parts()), np.zeros(2), embed("park")
    bad = [
        (np.array([np.nan, 0.0]), unit, here), (here, unit * np.inf, here),
        (here, np.zeros(64), here), (here, unit, np.array([0.0, np.inf])), (np.array([1e9, 0.0]), unit, here),
    ]  # fmt: skip
    for position, embedding, seen_from in bad:
        with pytest.raises(ValueError, match=r"finite|code|coordinates"):
            memory.write(position, embedding, 0.0, seen_from)
    assert memory.stats()["sightings"] == memory.stats()["records"] == memory.stats()["landmarks"] == 0
    for settings in ({"leaf": np.nan}, {"most": 0}, {"k": 0}, {"similar": 2.0}, {"reach": np.inf}):
        with pytest.raises(ValueError, match="sizes"):
            Parts(**settings)
