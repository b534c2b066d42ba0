"""The searching agent in small real houses: it sees everything, finds what is there, and claims nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from embmem.agent import Action, Body, Goal
from embmem.maps import ObjectMemory, VoxelMap, spatial_memory
from embmem.observation import Intrinsics
from embmem.policies.search import SearchAgent
from embmem.sim_envs.house import OBJECT_CATEGORIES, House, make_house
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.world import World

CAMERA = Intrinsics.from_fov(160, 120, 79.0)
HOUSE = make_house(7, 3)


def world_in(house: House, *, noisy: bool = True, turn: float = 30.0) -> World:
    return World(
        house,
        intrinsics=CAMERA,
        body=Body(turn=turn),
        noise=CameraNoise() if noisy else None,
        detector=Detector() if noisy else None,
        rng=np.random.default_rng(3),
        rgb=False,
    )


def drive(world: World, agent: SearchAgent, goal: Goal, max_steps: int = 500) -> list[Action]:
    """The actions of one search, from where the world stands."""
    agent.begin(goal)
    actions: list[Action] = []
    while len(actions) < max_steps:
        actions.append(agent.act(world.observe()))
        if actions[-1] is Action.STOP:
            break
        world.apply(actions[-1])
    return actions


def distance_to(world: World, category: str) -> float:
    """Geodesic distance [m] to the nearest view point of the category, as the referee measures it."""
    points = world.view_points([obj.id for obj in world.house.objects_of(category)])
    return float(world.navmesh.distances(world.position[None], points)[0])


def reachable_category(world: World, index: int) -> str:
    """A category of the house that can be seen from somewhere, not from here."""
    names = sorted({obj.category for obj in world.house.objects})
    names = [name for name in names if len(world.view_points([o.id for o in world.house.objects_of(name)]))]
    far = [name for name in names if distance_to(world, name) > 3.0]
    return far[index % len(far)]


@pytest.fixture(scope="module")
def explored() -> tuple[World, SearchAgent, list[Action]]:
    """An agent that was asked to look at a whole house."""
    world = world_in(HOUSE)
    agent = SearchAgent(spatial_memory, True)
    agent.reset(np.random.default_rng(0))
    return world, agent, drive(world, agent, Goal(), 700)


def test_exploring_ends_by_itself_when_the_whole_house_is_known(
    explored: tuple[World, SearchAgent, list[Action]],
) -> None:
    world, agent, actions = explored
    assert actions[-1] is Action.STOP
    rng = np.random.default_rng(1)
    points = np.array([world.navmesh.sample(rng, island_of=world.position) for _ in range(200)])
    heights = np.full(len(points), 0.6)
    known = np.isfinite(agent.memory.layer(VoxelMap).log_odds(np.column_stack([points, heights])))
    assert known.mean() > 0.97


def test_exploring_sees_nearly_all_objects_that_can_be_seen(
    explored: tuple[World, SearchAgent, list[Action]],
) -> None:
    world, agent, _ = explored
    objects = agent.memory.layer(ObjectMemory)
    visible = [obj for obj in world.house.objects if len(world.view_points([obj.id]))]
    found = [obj for obj in visible if objects.count(obj.category) > 0]
    assert len(found) >= 0.9 * len(visible)


def test_finds_a_thing_stops_beside_it_and_walks_less_the_second_time() -> None:
    world = world_in(HOUSE)
    start, yaw = world.position, world.yaw
    category = reachable_category(world, 2)
    agent = SearchAgent(spatial_memory, True)
    agent.reset(np.random.default_rng(0))
    first = drive(world, agent, Goal(category))
    assert first[-1] is Action.STOP
    assert distance_to(world, category) < 0.1
    world.place(start, yaw)
    again = drive(world, agent, Goal(category))
    assert again[-1] is Action.STOP
    assert distance_to(world, category) < 0.1
    assert len(again) < len(first)


def test_stops_beside_furniture_that_is_wider_than_its_reach() -> None:
    world = world_in(HOUSE)
    piece = max(HOUSE.furniture, key=lambda f: min(f.x1 - f.x0, f.y1 - f.y0) if f.blocks_floor else 0.0)
    assert min(piece.x1 - piece.x0, piece.y1 - piece.y0) > 0.7
    alike = [f.id for f in HOUSE.furniture if f.category == piece.category]
    actions = drive(world, SearchAgent(spatial_memory, False), Goal(piece.category))
    assert actions[-1] is Action.STOP
    assert world.navmesh.distances(world.position[None], world.view_points(alike))[0] < 0.1


def test_looks_elsewhere_when_the_thing_has_been_taken_away(
    explored: tuple[World, SearchAgent, list[Action]],
) -> None:
    world, agent, _ = explored
    category = next(n for n in OBJECT_CATEGORIES if agent.memory.layer(ObjectMemory).count(n) == 1)
    emptied = House(**{**vars(HOUSE), "objects": tuple(o for o in HOUSE.objects if o.category != category)})
    world.set_house(emptied)
    world.advance(8 * 3600.0)
    actions = drive(world, agent, Goal(category), 120)
    world.set_house(HOUSE)
    assert Action.STOP not in actions
    assert actions.count(Action.FORWARD) > 25


def test_never_claims_what_is_not_in_the_house() -> None:
    absent = next(name for name in OBJECT_CATEGORIES if not HOUSE.objects_of(name))
    agent = SearchAgent(spatial_memory, False)
    assert Action.STOP not in drive(world_in(HOUSE), agent, Goal(absent), 100)


def test_forgetting_and_remembering_agents_search_alike_the_first_time_and_not_the_second() -> None:
    actions = {}
    for remembers in (False, True):
        world = world_in(HOUSE, noisy=False)
        start, yaw = world.position, world.yaw
        agent = SearchAgent(spatial_memory, remembers)
        category = reachable_category(world, 4)
        first = drive(world, agent, Goal(category))
        world.place(start, yaw)
        actions[remembers] = first, drive(world, agent, Goal(category))
    assert actions[False][0] == actions[True][0]
    assert actions[False][1] == actions[False][0]
    assert len(actions[True][1]) < len(actions[False][1])


def test_the_same_seed_gives_the_same_actions() -> None:
    runs = [drive(world_in(HOUSE), SearchAgent(spatial_memory, False), Goal("nothing"), 40) for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("turn", [10.0, 30.0])
def test_reaches_a_point_in_an_unknown_house(turn: float) -> None:
    world = world_in(HOUSE, turn=turn)
    goal = world.navmesh.sample(np.random.default_rng(8), island_of=world.position)
    agent = SearchAgent(spatial_memory, False, body=world.body)
    actions = drive(world, agent, Goal(position=np.append(goal, 0.0)))
    assert actions[-1] is Action.STOP
    assert np.hypot(*(world.position - goal)) < 0.2


def test_refuses_to_replan_never() -> None:
    with pytest.raises(ValueError, match="replan"):
        SearchAgent(spatial_memory, True, replan=0)
