"""The world: motion, clock, poses, sensors, view points and the oracle."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from embmem.agent import Action, Body
from embmem.geometry import backproject, heading, transform_points
from embmem.observation import Intrinsics, Observation
from embmem.sim_envs.house import LABELS, House, make_house, night
from embmem.sim_envs.noise import CameraNoise, Detector
from embmem.sim_envs.render import Frame
from embmem.sim_envs.view_points import MIN_SHARE, REACH, surface_samples
from embmem.sim_envs.world import MAX_PITCH, STEP_SECONDS, World

CAMERA = Intrinsics.from_fov(64, 48, 79.0)
HOUSE = make_house(11, 5)
actions = st.lists(st.sampled_from([a for a in Action if a is not Action.STOP]), max_size=40)


def world_in(house: House, turn: float = 30.0, noisy: bool = False) -> World:
    return World(
        house,
        intrinsics=CAMERA,
        body=Body(turn=turn),
        noise=CameraNoise() if noisy else None,
        detector=Detector() if noisy else None,
        rng=np.random.default_rng(5),
    )


def images(seen: Observation | Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth, semantic and instance."""
    return np.asarray(seen.depth), np.asarray(seen.semantic), np.asarray(seen.instance)


@settings(max_examples=20)
@given(actions)
def test_the_body_stays_clear_of_everything_and_the_clock_ticks(taken: list[Action]) -> None:
    world = world_in(HOUSE)
    obstacles = HOUSE.obstacles()
    for action in taken:
        before, yaw = world.position, world.yaw
        collided = world.apply(action)
        gap = np.maximum(obstacles[:, :2] - world.position, world.position - obstacles[:, 2:]).max(axis=1)
        assert (gap > world.body.radius).all()
        moved = world.position - before
        if action is not Action.FORWARD:
            assert not moved.any()
            assert not collided
        elif not collided:
            assert moved == pytest.approx([0.25 * math.cos(yaw), 0.25 * math.sin(yaw)], abs=1e-12)
        assert -math.pi <= world.yaw <= math.pi
        assert abs(world.pitch) <= MAX_PITCH
    assert world.stamp == pytest.approx(STEP_SECONDS * len(taken))


def test_turns_and_looks_have_the_signs_of_the_map_frame() -> None:
    world = world_in(HOUSE)
    world.place(world.position, 0.0)
    world.apply(Action.LEFT)
    world.apply(Action.LOOK_UP)
    assert (world.yaw, world.pitch) == pytest.approx((math.radians(30), math.radians(30)))
    pose = world.observe().T_map_camera
    assert pose[:3, 3] == pytest.approx([*world.position, world.body.height])
    assert heading(pose) == pytest.approx((world.yaw, world.pitch))
    for _ in range(12):
        world.apply(Action.RIGHT)
    assert world.yaw == pytest.approx(math.radians(30))


def test_what_is_seen_lies_on_the_things_of_the_house() -> None:
    world = world_in(HOUSE)
    boxes = {f.id: np.concatenate([f.boxes[:, :3].min(axis=0), f.boxes[:, 3:].max(axis=0)]) for f in HOUSE.furniture}
    boxes |= {o.id: HOUSE.object_aabb(o) for o in HOUSE.objects}
    names = {f.id: f.category for f in HOUSE.furniture} | {o.id: o.category for o in HOUSE.objects}
    seen_ids = set()
    for _ in range(12):
        world.apply(Action.LEFT)
        seen = world.observe()
        depth, semantic, instance = images(seen)
        points = transform_points(seen.T_map_camera, backproject(depth, CAMERA).reshape(-1, 3))
        for i in np.unique(instance[instance > 0]):
            mine = instance.ravel() == i
            assert (points[mine] > boxes[i][:3] - 2e-3).all()
            assert (points[mine] < boxes[i][3:] + 2e-3).all()
            assert {LABELS[k] for k in np.unique(semantic.ravel()[mine])} == {names[i]}
            seen_ids.add(i)
    assert len(seen_ids) > 3


def test_noise_is_repeatable_and_leaves_the_truth_alone() -> None:
    runs = []
    for _ in range(2):
        world = world_in(HOUSE, noisy=True)
        runs.append((images(world.observe()), images(world.observe()), images(world.truth())))
    for a, b in zip(*runs, strict=True):
        assert all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))
    first, second, truth = runs[0]
    assert not np.array_equal(first[0], second[0], equal_nan=True)
    assert not np.array_equal(second[0], truth[0], equal_nan=True)
    assert np.array_equal(truth[0], images(world_in(HOUSE).observe())[0], equal_nan=True)


def test_a_night_moves_things_but_neither_body_nor_clock() -> None:
    world = world_in(HOUSE)
    later, moves = night(HOUSE, np.random.default_rng(0))
    assert moves
    world.apply(Action.LEFT)
    position, yaw, stamp, navmesh = world.position, world.yaw, world.stamp, world.navmesh
    before = images(world.observe())
    world.set_house(later)
    world.advance(8 * 3600.0)
    assert world.house is later
    assert world.navmesh is navmesh  # the furniture stays
    assert np.array_equal(world.position, position)
    assert (world.yaw, world.stamp) == (yaw, stamp + 8 * 3600.0)
    with pytest.raises(ValueError, match="observe"):
        world.truth()
    moved = moves[0].object_id
    assert not np.array_equal(world_in(HOUSE).view_points([moved]), world.view_points([moved]))
    world.set_house(HOUSE)
    assert np.array_equal(images(world.observe())[0], before[0], equal_nan=True)


def test_another_house_finds_the_body_a_free_place() -> None:
    world = world_in(HOUSE)
    for seed in range(3):
        world.set_house(make_house(seed, 4))
        assert world.navmesh.is_free(world.position[None])[0]


def brute_share(boxes: np.ndarray, eye: np.ndarray, samples: np.ndarray) -> float:
    """Walks along every line of sight in steps of about a millimetre."""
    t = np.linspace(0, 1, 2500)[:, None]
    seen = 0
    for sample in samples:
        line = eye + t * (sample - eye)
        inside = (line[:, None] > boxes[:, :3] + 1e-4) & (line[:, None] < boxes[:, 3:] - 1e-4)
        seen += not inside.all(axis=2).any()
    return seen / len(samples)


def test_view_points_are_near_free_and_in_sight() -> None:
    world = world_in(HOUSE)
    rng = np.random.default_rng(1)
    solid = HOUSE.solid_boxes()
    for obj in rng.choice(np.array(HOUSE.objects, dtype=object), 4, replace=False):
        points, aabb = world.view_points([obj.id]), HOUSE.object_aabb(obj)
        assert len(points) > 0
        assert points == pytest.approx(np.round(points * 10) / 10, abs=1e-9)
        gap = np.maximum(np.maximum(aabb[:2] - points, points - aabb[3:5]), 0.0)
        assert (np.hypot(*gap.T) <= REACH + 1e-9).all()
        assert world.navmesh.is_free(points).all()
        near = solid[((solid[:, :2] < aabb[3:5] + 1) & (solid[:, 3:5] > aabb[:2] - 1)).all(axis=1)]
        for point in rng.choice(points, 3):
            share = brute_share(near, np.array([*point, world.body.height]), surface_samples(aabb))
            assert share >= MIN_SHARE - 0.03  # the walk may miss a sliver


def test_a_wall_between_hides_an_object() -> None:
    world = world_in(HOUSE)
    for obj in HOUSE.objects:
        room = HOUSE.rooms[obj.room]
        for x, y in world.view_points([obj.id]).tolist():
            at = HOUSE.room_at(x, y)
            assert at is room or at is None or _is_door_near(x, y)


def _is_door_near(x: float, y: float) -> bool:
    return any(max(d.x0 - x, x - d.x1, d.y0 - y, y - d.y1) < 1.5 for d in HOUSE.doors)


def test_furniture_has_view_points_and_unknown_ids_are_refused() -> None:
    world = world_in(HOUSE)
    standing = [f for f in HOUSE.furniture if f.blocks_floor]
    assert all(len(world.view_points([f.id])) for f in standing)
    both = world.view_points([standing[0].id, standing[1].id])
    each = [world.view_points([f.id]) for f in standing[:2]]
    assert np.array_equal(both, np.unique(np.concatenate(each), axis=0))
    assert world.view_points([]).shape == (0, 2)
    with pytest.raises(ValueError, match="99999"):
        world.view_points([99999])


def walk(world: World, goals: np.ndarray) -> tuple[float, float, int]:
    """(path length, distance left, actions) of the oracle."""
    length, n = 0.0, 0
    while n < 500 and (action := world.next_action(goals)) is not Action.STOP:
        before = world.position
        world.apply(action)
        length += float(np.linalg.norm(world.position - before))
        n += 1
    return length, float(world.navmesh.distances(world.position[None], goals)[0]), n


@pytest.mark.parametrize(("turn", "spl"), [(10.0, 0.97), (30.0, 0.94)])
def test_the_oracle_reaches_objects_by_nearly_the_shortest_path(turn: float, spl: float) -> None:
    ratios = []
    for seed in range(2):
        house = make_house(seed, 6)
        world = world_in(house, turn)
        rng = np.random.default_rng(seed)
        for obj in rng.choice(np.array(house.objects, dtype=object), 10):
            goals = world.view_points([obj.id])
            world.place(world.navmesh.sample(rng), float(rng.uniform(-4, 4)))
            shortest = float(world.navmesh.distances(world.position[None], goals)[0])
            length, left, n = walk(world, goals)
            assert left < 0.1, (seed, obj.id)
            assert n < 500
            if shortest > 1.0:
                ratios.append(shortest / max(length, shortest))
    assert len(ratios) > 10
    assert np.mean(ratios) > spl
    assert min(ratios) > 0.75


@pytest.mark.parametrize("turn", [10.0, 30.0, 25.0])
def test_the_oracle_lands_on_a_single_point(turn: float) -> None:
    world = world_in(HOUSE, turn)
    rng = np.random.default_rng(2)
    for _ in range(10):
        goal = world.navmesh.sample(rng)[None]
        world.place(world.navmesh.sample(rng), 0.3)
        assert walk(world, goal)[1] < 0.09


def test_the_oracle_recovers_when_it_is_not_obeyed() -> None:
    world = world_in(HOUSE)
    rng = np.random.default_rng(3)
    goal = world.navmesh.sample(rng)[None]
    world.place(world.navmesh.sample(rng), 0.0)
    for _ in range(40):
        world.next_action(goal)
        world.apply(Action(int(rng.integers(1, 4))))
    assert walk(world, goal)[1] < 0.09


def test_the_oracle_stops_where_nothing_can_be_reached() -> None:
    world = world_in(HOUSE)
    assert world.next_action(np.array([[-50.0, 0.0]])) is Action.STOP
    assert world.next_action(np.empty((0, 2))) is Action.STOP


def test_impossible_requests_are_refused() -> None:
    world = world_in(HOUSE)
    wall = HOUSE.walls[0]
    with pytest.raises(ValueError, match="no free place"):
        world.place((wall[:2] + wall[3:5]) / 2, 0.0)
    with pytest.raises(ValueError, match="no free place"):
        world.place(world.position, math.nan)
    with pytest.raises(ValueError, match="forwards"):
        world.advance(-1.0)


def test_the_world_of_the_config_is_habitats_body() -> None:
    make_world = instantiate(OmegaConf.load("configs/world/house.yaml"))
    world = make_world(HOUSE, rng=np.random.default_rng(0))
    assert world.body == replace(Body(), turn=30.0)
    assert world.intrinsics == Intrinsics.from_fov(256, 192, 79.0)
