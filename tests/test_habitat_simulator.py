"""The adapter on the real simulator: where Habitat puts our houses, what it shows there, and how bodies move.

Runs where habitat-sim is installed (docs/habitat.md) and is skipped elsewhere; it renders without a GPU.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embmem.agent import Action, Body, Goal
from embmem.geometry import camera_pose
from embmem.observation import Intrinsics
from embmem.policies.oracle import OracleAgent
from embmem.sim_envs.env import EmbeddedEnv
from embmem.sim_envs.episode_files import write_episodes
from embmem.sim_envs.episode_sets import write_episode_set
from embmem.sim_envs.episodes import Episode, GoalView, Target
from embmem.sim_envs.habitat.ground import HabitatGround
from embmem.sim_envs.habitat.navmesh_settings import house_settings
from embmem.sim_envs.habitat.rollout import Rules
from embmem.sim_envs.habitat.scene_files import ensure_scene, stage_path, write_scene
from embmem.sim_envs.habitat.simulator import HabitatScene, SceneSettings
from embmem.sim_envs.habitat.task import HabitatEpisodes, close_scene
from embmem.sim_envs.habitat.world import HabitatWorld, habitat_world
from embmem.sim_envs.house import House, make_house, night
from embmem.sim_envs.house.gltf import write_gltf
from embmem.sim_envs.sessions import run_session
from embmem.sim_envs.tasks.from_file import FromFile
from embmem.sim_envs.tasks.pointnav import PointNav
from embmem.sim_envs.world import World

pytestmark = [
    pytest.mark.habitat,
    pytest.mark.skipif(importlib.util.find_spec("habitat_sim") is None, reason="habitat-sim is not installed"),
    pytest.mark.filterwarnings("default"),  # the simulator's own libraries
]

BODY = Body()
CAMERA = Intrinsics.from_fov(128, 96, 79.0)
EDGE = 0.08  # [m]: two cells of 3 cm, and what Recast's contours cut


@pytest.fixture(scope="module")
def house() -> House:
    return make_house(7, 4)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def embedded(house: House) -> World:
    return World(house, intrinsics=CAMERA, body=BODY, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def blind(house: House, scenes: Path) -> Iterator[HabitatScene]:
    """Without sensors nothing is rendered, so no EGL is needed."""
    glb = ensure_scene(house, scenes, BODY)
    scene = HabitatScene(
        SceneSettings(
            scene=str(stage_path(glb)), intrinsics=CAMERA, body=BODY, navmesh=house_settings(BODY), sensors=(), gpu=-1
        )
    )
    yield scene
    scene.close()


@pytest.fixture
def world(house: House, scenes: Path) -> Iterator[HabitatWorld]:
    made = HabitatWorld(
        house, intrinsics=CAMERA, body=BODY, rng=np.random.default_rng(0), rgb=False, scenes=str(scenes), gpu=-1
    )
    yield made
    made.close()


def inside(embedded: World, n: int, margin: float) -> np.ndarray:
    """Points with that much free space around them, on one floor."""
    rng = np.random.default_rng(1)
    around = margin * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, -1], [1, -1], [-1, 1]])
    found: list[np.ndarray] = []
    while len(found) < n:
        point = embedded.navmesh.sample(rng)
        if embedded.navmesh.is_free(point + around).all():
            found.append(point)
    return np.stack(found)


def test_the_navigation_mesh_is_our_free_floor(blind: HabitatScene, embedded: World) -> None:
    ground = HabitatGround(blind)
    assert ground.is_free(inside(embedded, 100, EDGE)).all()
    rng = np.random.default_rng(2)
    drawn = np.stack([ground.sample(rng) for _ in range(200)])
    around = EDGE * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, -1], [1, -1], [-1, 1]])
    near = [embedded.navmesh.is_free(point + around).any() for point in drawn]
    assert np.mean(near) > 0.99
    assert (ground.island(drawn) == 1).all()
    assert not ground.is_free(np.array([[np.nan, 0.0], [500.0, 500.0]])).any()


def test_distances_are_ours_to_a_few_per_cent(blind: HabitatScene, embedded: World) -> None:
    ground = HabitatGround(blind)
    places = inside(embedded, 41, EDGE)
    goals, starts = places[:1], places[1:]
    ours, theirs = embedded.navmesh.distances(starts, goals), ground.distances(starts, goals)
    assert np.isfinite(theirs).all()
    ratio = theirs / np.maximum(ours, 0.5)
    assert abs(np.median(ratio) - 1.0) < 0.03
    assert np.percentile(ratio, 95) < 1.25
    path = ground.path(starts[0], goals)
    np.testing.assert_allclose(path[[0, -1]], [starts[0], goals[0]], atol=0.05)
    length = np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    assert length == pytest.approx(theirs[0], abs=0.05)


@pytest.mark.parametrize("yaw", [0.0, math.pi / 2, 2.5, -1.0])
def test_the_body_stands_and_turns_where_it_is_told(blind: HabitatScene, embedded: World, yaw: float) -> None:
    place = inside(embedded, 1, 0.4)[0]
    blind.place(np.append(place, 0.02), yaw)
    position, seen = blind.pose()
    np.testing.assert_allclose(position[:2], place, atol=1e-5)
    assert math.cos(seen - yaw) == pytest.approx(1.0, abs=1e-6)
    assert not blind.apply(Action.FORWARD)
    moved = blind.pose()[0][:2] - place
    np.testing.assert_allclose(moved, 0.25 * np.array([math.cos(yaw), math.sin(yaw)]), atol=2e-3)
    blind.apply(Action.LEFT)
    assert math.remainder(blind.pose()[1] - yaw, math.tau) == pytest.approx(math.radians(30), abs=1e-4)
    blind.apply(Action.RIGHT)
    assert math.cos(blind.pose()[1] - yaw) == pytest.approx(1.0, abs=1e-6)


def test_walls_stop_the_body(blind: HabitatScene, embedded: World) -> None:
    place = inside(embedded, 1, 0.2)[0]
    blind.place(np.append(place, 0.02), 0.3)
    touched = [blind.apply(Action.FORWARD) for _ in range(80)]
    assert any(touched)
    end = blind.pose()[0][:2]
    assert embedded.navmesh.is_free(end + EDGE * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])).any()
    ends, collided = HabitatGround(blind).steps(end, np.array([[0.25, 0.0], [-0.25, 0.0], [0.0, 0.25], [0.0, -0.25]]))
    assert ends.shape == (4, 2)
    assert not collided.all()


def test_images_and_poses_are_those_of_the_embedded_world(world: HabitatWorld, embedded: World) -> None:
    """Depth, categories and instances of one camera: frames, meshes and semantic colours are all right, or none is."""
    for i, place in enumerate(inside(embedded, 4, 0.3)):
        world.place(place, 1.3 * i)
        if i == 3:
            world.apply(Action.LOOK_DOWN)
        seen = world.observe()
        expected = camera_pose(np.array([*place, BODY.height]), 1.3 * i, world.pitch)
        np.testing.assert_allclose(seen.T_map_camera, expected, atol=0.05)  # the mesh floats by a layer or two
        frame = embedded._renderer.render(seen.T_map_camera, CAMERA)
        depth = np.asarray(seen.depth)
        both = np.isfinite(depth) & np.isfinite(frame.depth)
        assert both.mean() > 0.98
        off = np.abs(depth - frame.depth)[both]
        assert np.median(off) < 0.005
        assert (off < 0.02).mean() > 0.95
        assert (np.asarray(seen.semantic) == frame.semantic).mean() > 0.93
        assert (np.asarray(seen.instance) == frame.instance).mean() > 0.93
    assert world.truth().semantic.max() > 0


def test_looks_stop_at_60_degrees_and_come_back(world: HabitatWorld) -> None:
    world.place(world.position, 0.0)
    for action, expected in [(Action.LOOK_UP, 30), (Action.LOOK_UP, 60), (Action.LOOK_UP, 60), (Action.LOOK_DOWN, 30)]:
        world.apply(action)
        assert world.pitch == pytest.approx(math.radians(expected))
        forward = world.observe().T_map_camera[:3, 2]
        assert math.asin(forward[2]) == pytest.approx(math.radians(expected), abs=1e-4)


def test_a_place_in_a_wall_is_refused(world: HabitatWorld) -> None:
    for place, yaw in ((np.array([500.0, 0.0]), 0.0), (world.position, math.nan)):
        with pytest.raises(ValueError, match="no free place"):
            world.place(place, yaw)


def test_after_a_night_the_same_house_shows_other_places(house: House, scenes: Path) -> None:
    world = HabitatWorld(
        house, intrinsics=CAMERA, body=BODY, rng=np.random.default_rng(0), rgb=False, scenes=str(scenes), gpu=-1
    )
    with closing(world):
        before = world.position
        world.set_house(night(house, np.random.default_rng(3))[0])
        np.testing.assert_allclose(world.position, before, atol=1e-4)
        assert len(list(scenes.glob(f"house_{house.seed}_*.stage_config.json"))) == 2


def test_episodes_of_the_embedded_world_are_solved_in_habitat(scenes: Path, tmp_path: Path) -> None:
    """The same file in both worlds; the oracle follows Habitat's distances and finds every goal."""
    path = tmp_path / "val.json.gz"

    def embedded_world(house: House, *, rng: np.random.Generator) -> World:
        return World(house, intrinsics=CAMERA, body=BODY, rng=rng)

    episodes = write_episode_set(PointNav(n_rooms=4, per_session=2), embedded_world, 2, 0, path)
    make = habitat_world(intrinsics=CAMERA, body=BODY, rgb=False, scenes=str(scenes), gpu=-1)
    task = FromFile(path=str(path), success_distance=0.2)
    for index in range(2):
        (row,) = run_session(task, {"oracle": OracleAgent()}, make, seed=0, index=index, n=1)
        assert row["success"] == 1.0
        assert row["spl"] > 0.8
        assert row["shortest_path"] == pytest.approx(episodes[index].shortest_path, rel=0.25)


def test_a_dataset_names_its_scenes_by_glb_and_is_measured_in_three_dimensions(
    house: House, embedded: World, tmp_path: Path
) -> None:
    """A bare .glb is found with its stage configuration; habitat-lab's measures, Habitat's own follower."""
    (tmp_path / "houses").mkdir()
    glb = tmp_path / "houses" / "mine.glb"
    write_gltf(house, glb)
    write_scene(glb, BODY)
    start, goal = inside(embedded, 2, 0.3)
    length = float(embedded.navmesh.distances(start[None], goal[None])[0])
    target = Target(Goal(position=np.append(goal, 0.02)))
    name = "data/scene_datasets/houses/mine.glb"
    episode = Episode("pointnav", name, "0", np.append(start, 0.02), 0.5, (target,), length)
    write_episodes(tmp_path / "val.json.gz", [episode])
    task = HabitatEpisodes(
        path=str(tmp_path / "val.json.gz"), scenes=str(tmp_path), intrinsics=CAMERA, body=Body(turn=10.0), gpu=-1,
        rules=Rules(shows_image=True),
    )  # fmt: skip
    try:
        (row,) = task.play({"oracle": OracleAgent()}, seed=0, index=0, n=1, on_row=lambda row: None)
    finally:
        close_scene()
    assert row["goal"] == "what the picture shows"
    assert row["success"] == 1.0
    assert row["spl"] > 0.7
    assert len(row["trajectory"][0]) == 4


def test_a_picture_from_where_the_body_stands_is_what_it_sees(house: House, scenes: Path, embedded: World) -> None:
    glb = ensure_scene(house, scenes, BODY)
    scene = HabitatScene(
        SceneSettings(scene=str(glb), intrinsics=CAMERA, body=BODY, navmesh=house_settings(BODY), gpu=-1)
    )
    place = inside(embedded, 1, 0.3)[0]
    with closing(scene):
        scene.place(np.append(place, 0.02), 0.7)
        images, T_map_camera = scene.images()
        view = GoalView(T_map_camera, 79.0, width=CAMERA.width, height=CAMERA.height)
        scene.place(np.append(place, 0.02), -2.0)
        off = np.abs(scene.picture(view).astype(int) - images["rgb"][..., :3])
        assert (off > 2).mean() < 0.01  # the pose comes back through float32
        assert math.cos(scene.pose()[1] + 2.0) == pytest.approx(1.0, abs=1e-6)
        assert set(scene.images()[0]) == {"rgb", "depth", "semantic"}


def test_a_scene_without_annotation_or_mesh_still_opens(tmp_path: Path) -> None:
    """A plain floor as a single .glb, z-up as Habitat takes those: a navigation mesh is made, semantics are none."""
    import trimesh

    floor = trimesh.creation.box([6.0, 6.0, 0.1])  # z-up: this box is flat in z
    floor.export(tmp_path / "floor.glb")
    scene = HabitatScene(
        SceneSettings(scene=str(tmp_path / "floor.glb"), intrinsics=CAMERA, body=BODY, sensors=("depth",), gpu=-1)
    )
    with closing(scene):
        assert scene.things() == []
        ground = HabitatGround(scene, floor=0.05)
        assert ground.is_free(np.array([[0.0, 0.0], [2.0, -2.0], [3.5, 0.0]])).tolist() == [True, True, False]
        scene.place(np.array([0.0, 0.0, 0.05]), 0.0)
        images, _ = scene.images()
        assert images["depth"].shape == (96, 128)
        assert images["depth"].dtype == np.float32


def test_the_gymnasium_environment_runs_in_habitat(scenes: Path) -> None:
    """The same spaces, rewards and scores; the oracle's way ends with a success."""
    small: dict[str, Any] = {"n_rooms": 3, "n_houses": 2, "width": 64, "height": 48}
    env = EmbeddedEnv("pointnav", make_world=habitat_world(scenes=str(scenes), gpu=-1), **small)
    seen, _ = env.reset(seed=1)
    with closing(env):
        for _ in range(200):
            assert env.observation_space.contains(seen)
            seen, _, terminated, truncated, info = env.step(env.world.next_action(env._goals))
            if terminated or truncated:
                break
        assert info["success"] == 1.0


def test_a_second_scene_is_refused_while_one_renders(world: HabitatWorld, blind: HabitatScene) -> None:
    """They would share one GL context; scenes without sensors do not."""
    with pytest.raises(ValueError, match="still open"):
        HabitatScene(world.scene.settings)
    assert blind.pathfinder.is_loaded
