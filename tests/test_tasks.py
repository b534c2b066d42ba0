"""Tasks: the rules hold, the referee is strict, what happens to one agent is the same for all, questions are true."""

from __future__ import annotations

import json
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from embmem.agent import Action, Agent, Answer, Body, Goal, NextAction, Question
from embmem.errors import EmbmemError
from embmem.observation import Intrinsics, Observation
from embmem.policies.oracle import OracleAgent
from embmem.policies.simple import RandomAgent
from embmem.sim_envs.episodes import Episode, parse_scene
from embmem.sim_envs.house import House, make_house, night
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.sessions import run_session, stream
from embmem.sim_envs.tasks.after_the_night import AfterTheNight
from embmem.sim_envs.tasks.goals import instances_of
from embmem.sim_envs.tasks.multion import MultiOn
from embmem.sim_envs.tasks.objectnav import ObjectNav
from embmem.sim_envs.tasks.pointnav import PointNav
from embmem.sim_envs.tasks.questions import KINDS, Questions, Sighting, Truth
from embmem.sim_envs.tasks.search_again import SearchAgain
from embmem.sim_envs.tasks.task import Session, Task, house_seed
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

CAMERA = Intrinsics.from_fov(48, 36, 79.0)
make_world = partial(World, intrinsics=CAMERA, body=Body(), rgb=False)
SMALL: dict[str, Any] = {"n_rooms": 4, "per_session": 3}
TASKS: list[Task] = [
    PointNav(**SMALL),
    ObjectNav(**SMALL),
    SearchAgain(**SMALL, tour_steps_per_room=10),
    AfterTheNight(**SMALL, tour_steps_per_room=10),
    MultiOn(**SMALL),
]


class Recorder:
    """Stands at the start, turns left `n_steps` times, stops; keeps what it saw and was told."""

    remembers = True

    def __init__(self, n_steps: int = 2, remembers: bool = True) -> None:
        self.n_steps, self.remembers = n_steps, remembers
        self.tour: list[Observation] = []
        self.seen: list[Observation] = []
        self.goals: list[str] = []
        self.n_resets = 0

    def reset(self, rng: np.random.Generator) -> None:
        self.n_resets += 1

    def watch(self, observation: Observation) -> None:
        self.tour.append(observation)

    def begin(self, goal: Goal, shortest: NextAction | None = None) -> None:
        self.goals.append(str(goal))
        self._left = self.n_steps

    def act(self, observation: Observation) -> Action:
        self.seen.append(observation)
        self._left -= 1
        return Action.STOP if self._left < 0 else Action.LEFT

    def answer(self, question: Question) -> Answer:
        return Answer()


def house_of(task: Task, seed: int = 3) -> House:
    return make_house(seed, task.n_rooms)


def world_in(house: House, **more: Any) -> World:
    return make_world(house, rng=np.random.default_rng(0), **more)


@cache
def plan(task: Task, seed: int = 3, n: int = 3) -> tuple[World, House, Session]:
    house = house_of(task, seed)
    world = world_in(house)
    return world, house, task.plan(world, house, 0, n, np.random.default_rng(seed))


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_episodes_obey_the_rules(task: Task) -> None:
    world, _, session = plan(task)
    world.set_house(session.later or session.house)
    assert [e.id for e in session.episodes] == ["0", "1", "2"]
    for episode in session.episodes:
        first = episode.targets[0].view_points()[:, :2]
        to_first = world.navmesh.distances(episode.start[None, :2], first)[0]
        assert world.navmesh.is_free(episode.start[None, :2])[0]
        assert task.min_path <= to_first <= task.max_path
        assert episode.shortest_path >= to_first - 1e-9
        assert episode.shortest_path >= np.linalg.norm(first - episode.start[:2], axis=1).min() - 1e-9
        assert episode.task == task.name
        for target in episode.targets:
            for instance in target.instances:
                seen_from = world.view_points([instance.object_id])
                np.testing.assert_array_equal(instance.view_points[:, :2], seen_from)


def plain(episode: Episode) -> list[Any]:
    targets = [(str(target.goal), target.view_points().tolist()) for target in episode.targets]
    return [episode.scene, episode.start.tolist(), episode.yaw, episode.shortest_path, targets, episode.info]


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_the_same_seed_gives_the_same_episodes_and_another_seed_others(task: Task) -> None:
    def episodes(world: World, seed: int) -> str:
        world.set_house(house)
        session = task.plan(world, house, 0, 2, np.random.default_rng(seed))
        return json.dumps([plain(e) for e in session.episodes])

    planned, house, _ = plan(task)
    fresh = world_in(house_of(task))
    assert episodes(planned, 3) == episodes(fresh, 3)
    assert episodes(planned, 3) != episodes(planned, 4)


def test_a_search_starts_in_another_room_than_its_goal_where_there_is_one() -> None:
    _, house, session = plan(SearchAgain(n_rooms=6), n=8)
    elsewhere = []
    for episode in session.episodes:
        views = episode.targets[0].view_points()[:, :2]
        goal_rooms = {room.id for v in views if (room := house.room_at(*v.tolist())) is not None}
        start_room = house.room_at(*episode.start[:2].tolist())
        elsewhere.append(start_room is None or start_room.id not in goal_rooms)
    assert np.mean(elsewhere) > 0.8


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_moved_means_that_no_instance_lies_near_where_the_tour_showed_one(seed: int) -> None:
    _, house, session = plan(AfterTheNight(n_rooms=6), seed, n=6)
    assert session.later is not None
    for episode in session.episodes:
        category = str(episode.targets[0].goal.category)
        before, after = dict(instances_of(house, category)), dict(instances_of(session.later, category))
        if episode.info["moved"]:
            gaps = [np.hypot(*(a - b)[:2]) for a in after.values() for b in before.values()]
            assert min(gaps) > 2.0
        else:
            assert all(np.array_equal(before[i], after[i]) for i in before)
    assert 1 <= sum(e.info["moved"] for e in session.episodes) <= 3


def test_the_scene_name_of_a_night_makes_its_morning_again() -> None:
    _, _, session = plan(AfterTheNight(**SMALL))
    seed, n_rooms, night_seed = parse_scene(session.scene)
    again, _ = night(make_house(seed, n_rooms), np.random.default_rng(night_seed))
    assert session.later is not None
    for a, b in zip(again.objects, session.later.objects, strict=True):
        np.testing.assert_array_equal(a.position, b.position)


def test_a_house_without_room_for_the_rules_is_refused_by_name() -> None:
    with pytest.raises(EmbmemError, match="house 3 with 4 rooms gives 0 of 2"):
        plan(SearchAgain(n_rooms=4, min_path=25.0, max_path=30.0), n=2)


@pytest.mark.parametrize("wrong", [{"per_session": 0}, {"min_path": 5.0, "max_path": 4.0}, {"moved_share": 2.0}])
def test_impossible_rules_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"need|must"):
        AfterTheNight(**wrong)


def test_a_guided_tour_looks_into_every_room() -> None:
    house = make_house(3, 6)
    world = world_in(house)
    stops = tour_stops(world, house)
    world.place(stops[0], 0.0)
    visited, steps = set(), 0
    for action in guided_tour(world, stops, 1000):
        world.apply(action)
        room = house.room_at(*world.position.tolist())
        visited.add(None if room is None else room.id)
        steps += 1
    assert visited >= {room.id for room in house.rooms}
    assert steps < SearchAgain(n_rooms=len(house.rooms)).tour_steps


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_the_oracle_succeeds_almost_by_the_shortest_path(task: Task) -> None:
    rows = run_session(task, {"oracle": OracleAgent()}, make_world, seed=1, index=0, n=3)
    assert [row["success"] for row in rows] == [1.0] * 3
    for row in rows:
        assert 0.8 < row["spl"] <= 1.0
        assert row["progress"] == 1.0
        assert row["outcome"] == "found"
        steps = np.diff(np.array(row["trajectory"])[:, :2], axis=0)
        assert np.isclose(np.hypot(*steps.T).sum(), row["path_length"], atol=0.05)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_stopping_at_once_finds_nothing_and_ends_the_episode(task: Task) -> None:
    recorder = Recorder(0)
    rows = run_session(task, {"a": recorder}, make_world, seed=1, index=0, n=2)
    for row in rows:
        assert (row["success"], row["steps"], row["progress"]) == (0.0, 1, 0.0)
        assert row["outcome"] == "stopped elsewhere"
    assert len(recorder.goals) == 2


def test_running_out_of_steps_fails_even_on_the_goal() -> None:
    class Walker(OracleAgent):
        """Goes there and never says so."""

        def act(self, observation: Observation) -> Action:
            action = super().act(observation)
            return Action.LEFT if action is Action.STOP else action

    task = SearchAgain(n_rooms=4, tour="none", max_steps=120)
    (row,) = run_session(task, {"w": Walker()}, make_world, seed=1, index=0, n=1)
    assert (row["success"], row["oracle_success"], row["steps"]) == (0.0, 1.0, 120)
    assert (row["stop_called"], row["outcome"]) == (False, "out of steps")


def test_a_chain_of_goals_is_told_one_by_one_and_a_wrong_report_ends_it() -> None:
    class OneOnly(OracleAgent):
        """Finds the first goal and reports the second one where it stands."""

        def begin(self, goal: Goal, shortest: NextAction | None = None) -> None:
            goals.append(str(goal))
            super().begin(goal, shortest if len(goals) == 1 else lambda: Action.STOP)

    goals: list[str] = []
    (row,) = run_session(MultiOn(n_rooms=4), {"a": OneOnly()}, make_world, seed=1, index=0, n=1)
    assert row["goal"].split(", ")[:2] == goals
    assert (row["progress"], row["success"]) == (pytest.approx(1 / 3), 0.0)
    assert row["distance_to_goal"] > 0.1


def test_all_agents_see_the_same_tour_starts_goals_and_noise() -> None:
    noisy = partial(make_world, noise=CameraNoise(), detector=Detector())
    a, b, forgetful = Recorder(2), Recorder(5), Recorder(2, remembers=False)
    task = AfterTheNight(**SMALL, tour_steps_per_room=8)
    run_session(task, {"b": b, "a": a, "f": forgetful}, noisy, seed=1, index=0, n=3)
    assert a.goals == b.goals == forgetful.goals
    assert len(a.tour) == len(b.tour) == 33
    assert forgetful.tour == []
    assert all(x is y for x, y in zip(a.tour, b.tour, strict=True))
    starts = a.seen[::3], b.seen[::6], forgetful.seen[::3]
    for x, y, z in zip(*starts, strict=True):
        for name in ("T_map_camera", "depth", "semantic", "instance"):
            np.testing.assert_array_equal(getattr(x, name), getattr(y, name))
            np.testing.assert_array_equal(getattr(x, name), getattr(z, name))
    assert [o.stamp for o in a.seen] == [o.stamp for o in forgetful.seen]
    assert a.seen[0].stamp - a.tour[-1].stamp >= 8 * 3600
    assert (a.n_resets, forgetful.n_resets) == (1, 1 + 3)


@pytest.mark.parametrize("tour", ["guided", "self"])
def test_the_rows_of_an_agent_do_not_depend_on_who_else_takes_part(tour: Any) -> None:
    noisy = partial(make_world, noise=CameraNoise(), detector=Detector())
    task = AfterTheNight(**SMALL, tour=tour, tour_steps_per_room=8, max_steps=40)

    def rows(*names: str) -> list[dict[str, Any]]:
        agents: dict[str, Agent] = {"random": RandomAgent(), "oracle": OracleAgent(), "recorder": Recorder()}
        chosen = {name: agents[name] for name in names}
        all_rows = run_session(task, chosen, noisy, seed=1, index=0, n=2)
        return [{k: v for k, v in r.items() if k != "seconds"} for r in all_rows if r["agent"] == "random"]

    assert rows("random") == rows("recorder", "oracle", "random")


def test_a_self_made_tour_is_the_agents_own() -> None:
    recorder = Recorder(7)
    run_session(SearchAgain(**SMALL, tour="self"), {"a": recorder}, make_world, seed=1, index=0, n=1)
    assert recorder.goals[0] == "nowhere"
    assert recorder.tour == []
    assert len(recorder.seen) == 8 + 8


def test_evaluation_houses_are_not_the_tuning_houses() -> None:
    assert {house_seed(0, 0), house_seed(0, 9_999), house_seed(1, 0)} == {10_000, 19_999, 20_000}


def test_streams_of_random_numbers_differ_by_use() -> None:
    keys = [(0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 4, 1)]
    draws = {stream(seed, *key).integers(2**62) for seed in (0, 1) for key in keys}
    assert len(draws) == 2 * len(keys)


def _brute_sightings(frames: list[tuple[float, Any]], task: Questions) -> dict[int, list[tuple[float, bool]]]:
    """By instance: every (stamp, was it clear) at which it had a pixel; no shared code with the task."""
    views: dict[int, list[tuple[float, bool]]] = {}
    for stamp, frame in frames:
        for thing in set(frame.instance.ravel().tolist()) - {0}:
            mask = frame.instance == thing
            n_near = sum(1 for d in frame.depth[mask].tolist() if d <= task.max_range)
            views.setdefault(thing, []).append((stamp, n_near >= task.min_pixels))
    return views


def _expected(kind: str, categories: tuple[str, ...], house: House, views: Any, task: Questions) -> Any:
    """The answer from the definition."""
    clear = {
        o.id: [t for t, is_clear in views.get(o.id, []) if is_clear] for o in house.objects if o.category in categories
    }
    clear = {i: times for i, times in clear.items() if len(times) >= task.min_frames}
    if kind == "where_is":
        return sorted(tuple(o.position) for o in house.objects if o.id in clear)
    if kind == "how_many":
        return len(clear)
    if kind == "last_seen":
        return max(max(t) for t in clear.values()), max(views[i][-1][0] for i in clear)
    category = {o.id: o.category for o in house.objects}
    return category[min(clear, key=lambda i: min(clear[i]))]


def _value(truth: Truth) -> Any:
    if truth.positions is not None:
        return sorted(tuple(p) for p in truth.positions)
    values = [v for v in (truth.between, truth.count, truth.category) if v is not None]
    return values[0]


def test_the_truth_of_questions_is_what_was_visible() -> None:
    task = Questions(n_rooms=5, min_pixels=6, tour_steps_per_room=80)
    house = make_house(8, 5)
    world = make_world(house, rng=np.random.default_rng(0), intrinsics=Intrinsics.from_fov(96, 72, 79.0))
    witness, frames = task.witness(), []
    stops = tour_stops(world, house)
    world.place(stops[0], 0.0)
    for action in guided_tour(world, stops, task.tour_steps):
        world.observe()
        frames.append((world.stamp, world.truth()))
        witness.watch(world.stamp, world.truth().instance, world.truth().depth)
        world.apply(action)
    views = _brute_sightings(frames, task)
    asked = task.ask(witness.sightings, house, 60, np.random.default_rng(0))
    assert {question.kind for question, _ in asked} == set(KINDS)
    for question, truth in asked:
        assert _value(truth) == _expected(question.kind, question.categories, house, views, task)
    assert any(_value(truth) in (0, []) for _, truth in asked)  # some ask for what is not there


def test_grades() -> None:
    task = Questions()
    places = Truth(positions=np.array([[0.0, 0.0, 1.0], [5.0, 0.0, 0.0]]))
    assert task.grade(Question("where_is", ("mug",)), places, Answer(position=np.array([5.3, 0.0, 2.0])))["success"]
    far = task.grade(Question("where_is", ("mug",)), places, Answer(position=np.array([4.0, 0.0, 0.0])))
    assert far == {"success": 0.0, "distance_to_goal": 1.0}
    assert not task.grade(Question("where_is", ("mug",)), places, Answer())["success"]
    nowhere = Truth(positions=np.empty((0, 3)))
    assert task.grade(Question("where_is", ("mug",)), nowhere, Answer())["success"]
    assert not task.grade(Question("where_is", ("mug",)), nowhere, Answer(position=np.zeros(3)))["success"]
    seen = Truth(between=(10.0, 12.0))
    for stamp, right in ((8.9, 0.0), (9.1, 1.0), (11.0, 1.0), (12.9, 1.0), (13.1, 0.0), (None, 0.0)):
        assert task.grade(Question("last_seen", ("mug",)), seen, Answer(stamp=stamp))["success"] == right
    for count, right in ((2, 1.0), (3, 0.0), (None, 0.0)):
        assert task.grade(Question("how_many", ("mug",)), Truth(count=2), Answer(count=count))["success"] == right
    first = Truth(category="mug")
    assert task.grade(Question("which_first", ("cup", "mug")), first, Answer(category="mug"))["success"] == 1.0


def test_what_was_only_glimpsed_is_not_asked_about() -> None:
    task, house = Questions(n_rooms=4), make_house(3, 4)
    category = next(c for c in (o.category for o in house.objects) if len(house.objects_of(c)) > 1)
    first, second, *_ = house.objects_of(category)
    clear = Sighting(task.min_frames, 1.0, 1.0, 2.0, 3.0)
    assert category in task.seen_categories({first.id: clear}, house)
    assert category not in task.seen_categories({first.id: clear, second.id: Sighting(0, 5.0)}, house)


def test_questions_get_rows_for_agents_that_know_nothing() -> None:
    task = Questions(n_rooms=4, tour_steps_per_room=30, min_pixels=4)
    rows = run_session(task, {"a": Recorder(), "b": RandomAgent()}, make_world, seed=1, index=0, n=8)
    by_agent = [[(r["goal"], r["success"]) for r in rows if r["agent"] == name] for name in "ab"]
    assert by_agent[0] == by_agent[1]
    assert len(by_agent[0]) == 8
