"""Views are found by what they look like: a picture taken near a recorded view leads back to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from house_frames import house_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from embmem.agent import Body
from embmem.durable import DurableMemory
from embmem.encoders import ImageEncoder, LayoutEncoder, ViewEncoder, image_encoder
from embmem.errors import InputError
from embmem.geometry import heading, rotation_angle
from embmem.live import LiveMemory
from embmem.map_hash import map_hash
from embmem.maps import VoxelMap
from embmem.memory import Memory
from embmem.observation import Intrinsics, Observation
from embmem.records import Query
from embmem.sim_envs.house import make_house
from embmem.sim_envs.noise import CameraNoise
from embmem.sim_envs.tasks.tours import guided_tour, tour_stops
from embmem.sim_envs.world import World

LAYOUT = ViewEncoder(LayoutEncoder())


class Mean:
    """Three numbers an image."""

    def encode_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        means = np.array([image.reshape(-1, 3).mean(axis=0) + 1.0 for image in images], np.float32)
        return means / np.linalg.norm(means, axis=1, keepdims=True)


@pytest.fixture(scope="module", params=[11, 3])
def house(request: pytest.FixtureRequest) -> tuple[list[Observation], list[Observation]]:
    """Frames of a tour, and frames from near places of it that the tour has not seen."""
    seed = int(request.param)
    plan, rng = make_house(seed, n_rooms=3), np.random.default_rng(seed)
    camera = Intrinsics.from_fov(96, 72, 79.0)
    world = World(plan, intrinsics=camera, body=Body(), noise=CameraNoise(), rng=rng)
    stops = tour_stops(world, plan)
    world.place(stops[0], 0.0)
    tour, held = [], []
    for action in guided_tour(world, stops, 400):
        tour.append(world.observe())
        world.apply(action)
    for frame in tour[::2]:
        position = frame.T_map_camera[:2, 3] + rng.uniform(-0.3, 0.3, 2)
        if world.navmesh.is_free(position[None])[0]:
            world.place(position, heading(frame.T_map_camera)[0] + float(rng.uniform(-0.3, 0.3)))
            held.append(world.observe())
    return tour, held


def embedding_of(frame: Observation) -> np.ndarray:
    embedding = LAYOUT(frame)
    assert embedding is not None
    return embedding


def found_and_chance(memory: Memory, held: Sequence[Observation], *, far: float, turned: float) -> tuple[float, float]:
    """How often the best view lies where a picture was taken, at most `far` [m] and `turned` [degrees] from there, and
    how often one does that is drawn by lot."""

    def near(T: np.ndarray, other: np.ndarray) -> bool:
        is_turned = np.degrees(rotation_angle(T[:3, :3].T @ other[:3, :3])) > turned
        return not is_turned and float(np.linalg.norm(T[:3, 3] - other[:3, 3])) <= far

    views = memory.store.read(Query(kind="view", k=1000))
    is_near = [[near(view.T_map_obs, o.T_map_camera) for view in views if view.T_map_obs is not None] for o in held]
    n_found = 0
    for frame in held:
        (best,) = memory.query(Query(kind="view", embedding=LAYOUT(frame), k=1))
        assert best.record is not None
        assert best.record.T_map_obs is not None
        n_found += near(best.record.T_map_obs, frame.T_map_camera)
    return n_found / len(held), float(np.mean(is_near))


def test_in_a_house_a_picture_leads_to_where_it_was_taken(house: tuple[list[Observation], list[Observation]]) -> None:
    tour, held = house
    memory = Memory([], encode_view=LAYOUT)
    for frame in tour:
        memory.observe(frame)
    found, chance = found_and_chance(memory, held, far=1.0, turned=45.0)
    assert len(held) >= 40
    assert found >= 0.7  # measured: 0.80 and 0.84
    assert chance < 0.1


def test_in_a_real_kitchen_too(data_dir: Path) -> None:
    folder = data_dir / "rgbd" / "seven_scenes"
    poses = sorted(folder.glob("*.pose.txt"))
    if not poses:
        pytest.skip(f"no 7-Scenes frames at {folder}")
    memory, held = Memory([], view_distance=0.2, view_angle=0.2, encode_view=LAYOUT), []
    for i, file in enumerate(poses[::4]):
        rgb = cv2.imread(str(file).replace(".pose.txt", ".color.jpg"))
        assert rgb is not None
        camera = Intrinsics.from_fov(640, 480, 57.0)
        frame = Observation(float(i), np.loadtxt(file), camera, rgb=np.ascontiguousarray(rgb[..., ::-1]))
        if i % 3:
            memory.observe(frame)
        else:
            held.append(frame)
    found, chance = found_and_chance(memory, held, far=0.3, turned=20.0)
    assert found >= 0.85  # measured: all of 34
    assert chance < 0.3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.integers(1, 200))
def test_every_image_is_one_unit_vector_and_always_the_same(seed: int, height: int, width: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    vectors = LayoutEncoder().encode_images([image, image[:, ::-1].copy(), image])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert vectors.shape == (3, LayoutEncoder.dim)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_mirrored_image_has_the_mirrored_cells_and_directions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (128, 128), interpolation=cv2.INTER_CUBIC)
    vector, mirrored = LayoutEncoder().encode_images([image, np.ascontiguousarray(image[:, ::-1])])
    edges, colours = vector[:144].reshape(4, 4, 9), vector[144:192].reshape(4, 4, 3)
    turned = edges[:, ::-1][..., (9 - np.arange(9)) % 9]
    np.testing.assert_allclose(mirrored[:144].reshape(4, 4, 9), turned, atol=1e-3)
    np.testing.assert_allclose(mirrored[144:192].reshape(4, 4, 3), colours[:, ::-1], atol=1e-3)


def test_light_and_size_change_little_and_nothing_to_see_is_no_error() -> None:
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    darker, small = (image * 0.7).astype(np.uint8), cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA)
    other = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    encoder = LayoutEncoder()
    assert isinstance(encoder, ImageEncoder)
    vectors = encoder.encode_images([image, darker, small, other, np.zeros_like(image)])
    cosines = vectors @ vectors[0]
    assert (cosines[1:3] > 0.97).all()
    assert abs(cosines[3]) < 0.4
    assert abs(cosines[4]) < 0.01
    assert encoder.encode_images([]).shape == (0, encoder.dim)
    with pytest.raises(ValueError, match="no pixels"):
        encoder.encode_images([np.zeros((0, 4, 3), np.uint8)])


def test_a_setting_names_an_encoder(tmp_path: Path) -> None:
    assert image_encoder("") is None
    assert isinstance(image_encoder("layout"), LayoutEncoder)
    with pytest.raises(InputError, match="no folder"):
        image_encoder(str(tmp_path / "clip"))


def test_without_an_encoder_nothing_changes_and_with_one_only_the_views(tmp_path: Path) -> None:
    frames = house_frames(12)
    memories = [DurableMemory(tmp_path / name, [VoxelMap(0.2)], encode_view=encode) for name, encode in (
        ("with", LAYOUT), ("without", None))]  # fmt: skip
    for memory in memories:
        for frame in frames:
            memory.observe(frame)
        memory.flush()
    kept, bare = memories
    assert map_hash(kept) == map_hash(bare)
    views, others = (memory.store.read(Query(kind="view", k=99)) for memory in memories)
    assert len(views) == len(others) > 2
    assert all(view.embedding is None for view in others)
    by_stamp = {frame.stamp: frame for frame in frames}
    for view in views:
        assert view.embedding is not None
        np.testing.assert_allclose(view.embedding, embedding_of(by_stamp[view.t_event]), atol=1e-3)
    assert not kept.store.read(Query(kind="frame", k=99))[0].embedding
    for memory in memories:
        memory.close()


def test_a_frame_without_colours_is_a_view_without_embedding() -> None:
    frame = house_frames(12)[0]
    memory = Memory([], encode_view=LAYOUT)
    memory.observe(replace(frame, rgb=None))
    (view,) = memory.store.read(Query(kind="view"))
    assert view.embedding is None


def test_a_memory_is_opened_again_with_its_own_encoder_only(tmp_path: Path) -> None:
    file, frames = tmp_path / "memory.embmem", house_frames(12)
    with LiveMemory(file, [VoxelMap(0.2)], encode_view=LAYOUT) as memory:
        for frame in frames:
            memory.observe(frame)
    with pytest.raises(InputError, match=r"of 193 numbers; this one gives 3.*begin another memory"):
        LiveMemory(file, [VoxelMap(0.2)], encode_view=ViewEncoder(Mean()))
    with pytest.raises(InputError, match="not what this one makes of its image"):
        LiveMemory(file, [VoxelMap(0.2)], encode_view=lambda observation: -embedding_of(observation))
    with LiveMemory(file, [VoxelMap(0.2)]):
        pass  # nothing is compared where nothing is encoded
    with LiveMemory(file, [VoxelMap(0.2)], encode_view=LAYOUT) as memory:
        best = memory.query(Query(kind="view", embedding=LAYOUT(frames[0]), k=1))[-1]
        assert best.record is not None
        np.testing.assert_allclose(np.asarray(best.record.T_map_obs), frames[0].T_map_camera, atol=1e-9)
        assert best.detail["cosine"] > 0.999
