"""A session is found in a saved map, or refused with a reason; it is never put in a wrong place."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from box_room import observe_room
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from embmem.agent import Action, Body
from embmem.geometry import camera_pose, invert_pose
from embmem.maps import VoxelMap
from embmem.maps.relocalise import Acceptance, Relocaliser
from embmem.maps.relocalise.slices import HeightWeights, Seen, SliceSearch, lifts, thinned
from embmem.maps.voxels.meaning.payload import Payload
from embmem.observation import Intrinsics, Observation
from embmem.sim_envs.house import make_house
from embmem.sim_envs.noise import CameraNoise
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

CAMERA = Intrinsics.from_fov(96, 72, 79.0)
LOOK_AROUND = (Action.LEFT, Action.LEFT, Action.FORWARD) * 3


@cache
def world(seed: int) -> World:
    return World(
        make_house(seed, n_rooms=3), intrinsics=CAMERA, body=Body(), noise=CameraNoise(),
        rng=np.random.default_rng(seed), rgb=False,
    )  # fmt: skip


@cache
def relocaliser(seed: int, *, with_labels: bool = True) -> Relocaliser:
    """Of the map of a house after a guided tour."""
    robot = world(seed)
    stops = tour_stops(robot, robot.house)
    robot.place(stops[0], 0.0)
    voxels = VoxelMap(0.1, payload=Payload(("labels",)) if with_labels else None)
    for i, action in enumerate(guided_tour(robot, stops, 240)):
        robot.apply(action)
        if i % 2 == 0:
            voxels.observe(robot.observe())
    return Relocaliser(voxels, n_candidates=6)


@cache
def cold_start(seed: int, stop: int = 1) -> tuple[Observation, ...]:
    """What a robot sees that turns around and walks a little, in the frame of the house."""
    robot = world(seed)
    robot.place(tour_stops(robot, robot.house)[stop], 1.0 + seed)
    frames = [robot.observe()]
    for action in LOOK_AROUND:
        robot.apply(action)
        frames.append(robot.observe())
    return tuple(frames)


def in_own_frame(frames: tuple[Observation, ...], T_map_session: np.ndarray) -> list[Observation]:
    T = invert_pose(T_map_session)
    return [replace(frame, T_map_camera=T @ frame.T_map_camera) for frame in frames]


def off_by(T: np.ndarray, truth: np.ndarray, at: np.ndarray) -> tuple[float, float]:
    """([m] of the camera at `at` in the session, [degrees])."""
    distance = np.linalg.norm((T @ at)[:3, 3] - (truth @ at)[:3, 3])
    angle = Rotation.from_matrix(truth[:3, :3].T @ T[:3, :3]).magnitude()
    return float(distance), float(np.degrees(angle))


@settings(max_examples=2, deadline=None)
@given(yaw=st.floats(-3.1, 3.1), x=st.floats(-20.0, 20.0), z=st.floats(-3.0, 3.0))
def test_a_session_is_found_whatever_its_frame(yaw: float, x: float, z: float) -> None:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_euler("z", yaw).as_matrix(), [x, 1.0, z]
    frames = in_own_frame(cold_start(2), T)
    found = relocaliser(2).locate(frames)
    assert found.is_accepted, found.why
    distance, angle = off_by(found.T_map_session, T, frames[0].T_map_camera)
    assert distance < 0.1
    assert angle < 2.0
    sigma = np.sqrt(np.diag(found.covariance))
    assert (sigma < [0.05] * 3 + [0.1] * 3).all()


def test_the_wrong_house_is_refused_with_a_reason() -> None:
    found = relocaliser(2).locate(cold_start(3))
    assert not found.is_accepted
    assert found.why


def test_a_frame_that_does_not_fit_the_others_is_refused() -> None:
    """A session whose odometry jumped half way is not one session."""
    jump = camera_pose(np.array([4.0, 1.0, 0.0]), 1.0)
    frames = [*cold_start(2, 0)[:5], *in_own_frame(cold_start(2)[:5], jump)]
    assert not relocaliser(2).locate(frames).is_accepted


def test_geometry_alone_finds_it_too() -> None:
    found = relocaliser(2, with_labels=False).locate(cold_start(2))
    assert found.is_accepted, found.why
    distance, angle = off_by(found.T_map_session, np.eye(4), cold_start(2)[0].T_map_camera)
    assert (distance, angle) < (0.1, 2.0)


@cache
def empty_room() -> tuple[VoxelMap, tuple[Observation, ...]]:
    """A room that looks the same after half a turn, and a look around in it."""
    frames = [
        observe_room(camera_pose(np.array([2.3, 1.9, 1.2]), 2 * np.pi * i / 12, -0.1), float(i)) for i in range(12)
    ]
    voxels = VoxelMap(0.1)
    for frame in frames:
        voxels.observe(frame)
    return voxels, tuple(replace(frame, semantic=None, instance=None, labels=()) for frame in frames)


def test_a_symmetric_room_is_refused() -> None:
    voxels, frames = empty_room()
    found = Relocaliser(voxels).locate(frames)
    assert not found.is_accepted
    assert "another place" in found.why


@pytest.mark.parametrize("frames", [[], [replace(cold_start(2)[0], depth=None)], cold_start(2)[:1]])
def test_too_little_is_refused(frames: list[Observation]) -> None:
    found = relocaliser(2).locate(frames)
    assert not found.is_accepted
    assert found.why


def test_an_empty_map_finds_nothing() -> None:
    found = Relocaliser(VoxelMap(0.1)).locate(cold_start(2))
    assert not found.is_accepted
    assert "map" in found.why


def test_two_poses_are_compared_at_least() -> None:
    with pytest.raises(ValueError, match="second"):
        Relocaliser(VoxelMap(0.1), n_candidates=1)


def test_what_is_accepted_can_be_made_stricter() -> None:
    strict = copy(relocaliser(2))
    strict.acceptance = Acceptance(min_margin=1.99)
    assert not strict.locate(cold_start(2)).is_accepted


def test_floors_and_ceilings_say_nothing() -> None:
    voxels, _ = empty_room()
    weights = HeightWeights(Seen(voxels.occupied(), voxels.free()), 0.2)
    assert weights.of(np.array([0.05])) == 0.0
    assert weights.of(np.array([1.25])) > 0.2
    assert weights.of(np.array([-1.0, 9.0])).tolist() == [0.0, 0.0]


@settings(max_examples=20, deadline=None)
@given(lift=st.floats(-5.0, 5.0))
def test_a_lift_brings_the_floors_together(lift: float) -> None:
    voxels, _ = empty_room()
    seen = Seen(voxels.occupied(), voxels.free())
    assert abs(lifts(seen, seen.at(np.eye(3), np.array([0.0, 0.0, lift])))[0] + lift) < 0.15


@settings(max_examples=3, deadline=None)
@given(yaw=st.floats(-3.1, 3.1), seed=st.integers(0, 99))
def test_the_search_holds_the_true_pose(yaw: float, seed: int) -> None:
    """Of random towers, seen whole, against the pose that they were moved by."""
    rng = np.random.default_rng(seed)
    towers = rng.uniform(0.0, 8.0, (25, 2))
    up = np.arange(0.0, 2.0, 0.1)
    solid = np.column_stack([np.repeat(towers, len(up), axis=0), np.tile(up, len(towers))])
    empty = np.column_stack([rng.uniform(0.0, 8.0, (4000, 2)), rng.uniform(0.0, 2.0, 4000)])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_euler("z", yaw).as_matrix(), [3.0, -2.0, 0.0]
    seen = Seen(solid, empty)
    session = seen.at(T[:3, :3].T, -T[:3, :3].T @ T[:3, 3])
    best = SliceSearch(seen).candidates(session)[0]
    distance, angle = off_by(best.T_map_session, T, camera_pose(np.array([0.0, 0.0, 1.0]), 0.0))
    assert distance < 1.0
    assert angle < 5.0


@given(st.lists(st.tuples(*[st.floats(-9, 9)] * 3), min_size=1, max_size=40))
def test_thinning_keeps_one_point_a_cell(points: list[tuple[float, float, float]]) -> None:
    cloud = np.array(points)
    kept = thinned(cloud, 0.5)
    cells = {tuple(cell) for cell in np.floor(cloud / 0.5).astype(int).tolist()}
    assert len(kept) == len(cells)
    assert {tuple(cell) for cell in np.floor(kept / 0.5).astype(int).tolist()} == cells
