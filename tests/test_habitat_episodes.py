"""Habitat's episode files of all kinds, and habitat-lab's measures and sensors, without the simulator."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from embmem.agent import Action, Goal
from embmem.cli.main import main
from embmem.errors import InputError, MissingExtraError
from embmem.geometry import camera_pose
from embmem.sim_envs.episode_files import DATASET, read_episodes, write_episodes
from embmem.sim_envs.episodes import Episode, GoalView, Instance, Target
from embmem.sim_envs.habitat.frames import from_habitat, point_goal, start_pose, yaw_from_habitat
from embmem.sim_envs.habitat.ground import areas, sample_triangles
from embmem.sim_envs.habitat.missing import import_habitat
from embmem.sim_envs.habitat.rollout import measures

VECTORS = json.loads((Path(__file__).parent / "data" / "habitat_lab_measures.json").read_text())
SCENE = "hm3d/val/00800-TEE/TEE.basis.glb"
coordinates = st.floats(-100, 100).map(lambda v: round(v, 4))
points = st.tuples(coordinates, coordinates, coordinates)


def point(raw: tuple[float, float, float]) -> np.ndarray:
    return np.array(raw, dtype=float)


def there_and_back(episodes: list[Episode]) -> list[Episode]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "val.json.gz"
        write_episodes(path, episodes)
        return read_episodes(path)


@given(st.lists(st.tuples(points, points, points, st.floats(-3.1, 3.1)), min_size=1, max_size=3))
def test_routes_in_words_survive_their_file(raw: list[tuple[Any, Any, Any, float]]) -> None:
    """VLN-CE's R2R: instruction, reference path, several goals, trajectory and scene dataset come back."""
    written = []
    for i, (start, goal, via, yaw) in enumerate(raw):
        ends = np.stack([point(goal), point(via)])
        info = {"trajectory_id": 7 * i, DATASET: "hm3d.scene_dataset_config.json"}
        target = Target(Goal(instruction=f"Go past the {i}th chair, then stop."), (Instance(0, ends[0], ends),))
        way = np.stack([point(start), point(via), point(goal)])
        written.append(Episode("r2r", SCENE, str(i), point(start), yaw, (target,), 4.0, info, way))
    for a, b in zip(there_and_back(written), written, strict=True):
        assert (a.task, a.scene, a.id, a.info[DATASET]) == (b.task, b.scene, b.id, b.info[DATASET])
        assert a.info["trajectory_id"] == b.info["trajectory_id"]
        assert a.targets[0].goal.instruction == b.targets[0].goal.instruction
        np.testing.assert_allclose(a.targets[0].view_points(), b.targets[0].view_points(), atol=2e-5)
        assert a.reference_path is not None
        assert b.reference_path is not None
        np.testing.assert_allclose(a.reference_path, b.reference_path, atol=2e-5)


@given(st.lists(st.tuples(points, points, st.floats(-3, 3), st.floats(-1, 1)), min_size=1, max_size=4))
def test_pictures_of_objects_survive_their_file(raw: list[tuple[Any, Any, float, float]]) -> None:
    """InstanceImageNav: object, view points and the camera of the picture; equal pictures are stored once."""
    written = []
    for i, (at, eye, yaw, pitch) in enumerate([*raw, raw[0]]):
        view = GoalView(camera_pose(point(eye), yaw, pitch), 70.0, width=640, height=480)
        thing = Instance(5, point(at), point(eye)[None])
        target = Target(Goal(), (thing,), view)
        written.append(Episode("imagenav", SCENE, str(i), np.zeros(3), yaw, (target,), 2.0, {"object_category": "tv"}))
    for a, b in zip(there_and_back(written), written, strict=True):
        seen, wanted = a.targets[0].view, b.targets[0].view
        assert seen is not None
        assert wanted is not None
        assert (seen.hfov_deg, seen.width, seen.height) == (70.0, 640, 480)
        np.testing.assert_allclose(seen.T_map_camera, wanted.T_map_camera, atol=1e-4)
        assert a.targets[0].goal.category is None  # the picture is all that the agent gets
        assert a.info["object_category"] == "tv"
        # Habitat's file knows one place of an object.
        np.testing.assert_allclose(a.targets[0].instances[0].position, point(raw[0][0]), atol=2e-5)


@given(points, points, st.floats(-3, 3))
def test_points_shown_by_a_picture_survive_their_file(goal: Any, eye: Any, yaw: float) -> None:
    """ImageNav has PointNav's form; the camera goes into `info`, where habitat-lab does not look."""
    view = GoalView(camera_pose(point(eye), yaw), 90.0, width=256, height=128)
    target = Target(Goal(position=point(goal)), view=view)
    (back,) = there_and_back([Episode("imagenav", SCENE, "0", np.zeros(3), yaw, (target,), math.inf)])
    assert back.targets[0].view is not None
    np.testing.assert_allclose(back.targets[0].view.T_map_camera, view.T_map_camera, atol=1e-4)
    np.testing.assert_allclose(back.targets[0].view_points()[0], point(goal), atol=2e-5)
    assert back.info == {}
    assert math.isinf(back.shortest_path)


def r2r_file() -> dict[str, Any]:
    """As VLN-CE writes them (v1-3, preprocessed)."""
    episode = {
        "episode_id": 1, "trajectory_id": 4, "scene_id": "mp3d/8WUmhLawc2A/8WUmhLawc2A.glb",
        "start_position": [1.0, 0.5, -3.0], "start_rotation": [0.0, 0.70711, 0.0, -0.70711],
        "info": {"geodesic_distance": 6.4}, "goals": [{"position": [0.0, 0.5, -9.0], "radius": 3.0}],
        "instruction": {"instruction_text": "Walk out.", "instruction_tokens": [9, 4]},
        "reference_path": [[1.0, 0.5, -3.0], [0.0, 0.5, -9.0]],
    }  # fmt: skip
    return {"episodes": [episode], "instruction_vocab": {"word_list": ["<pad>", "walk", "out"]}}


def written(folder: Path, content: Any) -> Path:
    path = folder / "val.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def test_a_file_of_vlnce_is_read_into_the_map(tmp_path: Path) -> None:
    (episode,) = read_episodes(written(tmp_path, r2r_file()))
    np.testing.assert_allclose(episode.start, [3.0, -1.0, 0.5])
    assert episode.yaw == pytest.approx(-math.pi / 2, abs=1e-4)  # 270 degrees: w < 0 in the file
    assert episode.reference_path is not None
    np.testing.assert_allclose(episode.reference_path, [[3.0, -1.0, 0.5], [9.0, 0.0, 0.5]])
    assert (episode.task, episode.info) == ("r2r", {"trajectory_id": 4, "instruction_tokens": [9, 4]})
    hidden = r2r_file()
    del hidden["episodes"][0]["goals"]  # a test split
    (blind,) = read_episodes(written(tmp_path, hidden))
    assert len(blind.targets[0].view_points()) == 0


def test_object_goals_inside_the_episodes_are_read_as_before_goals_by_category(tmp_path: Path) -> None:
    goal = {"object_id": "sofa_3", "object_category": "sofa", "position": [0, 0, -1], "view_points": []}
    episode = {
        "episode_id": "0", "scene_id": SCENE, "start_position": [0, 0, 0], "start_rotation": [0, 0, 0, 1],
        "goals": [goal],
    }  # fmt: skip
    (found,) = read_episodes(written(tmp_path, {"episodes": [episode]}))
    assert found.targets[0].goal.category == "sofa"
    assert found.targets[0].instances[0].object_id == 3
    assert math.isnan(found.shortest_path)


@pytest.mark.parametrize(
    ("damage", "field"),
    [
        (lambda e: e.update(instruction="go"), "instruction"),
        (lambda e: e["instruction"].pop("instruction_text"), "instruction_text"),
        (lambda e: e.update(reference_path=[[1, 2]]), "reference_path[0]"),
        (lambda e: e.update(reference_path="far"), "reference_path"),
        (lambda e: e.update(goals=[{"position": [1, 2]}]), "goals[0].position"),
        (lambda e: e.update(scene_dataset_config=3), "scene_dataset_config"),
    ],
)
def test_malformed_routes_are_refused_by_their_field(tmp_path: Path, damage: Any, field: str) -> None:
    content = r2r_file()
    damage(content["episodes"][0])
    with pytest.raises(InputError) as error:
        read_episodes(written(tmp_path, content))
    assert field in str(error.value)


@pytest.mark.parametrize("change", [{"goal_image_id": 2}, {"goal_image_id": True}, {"goal_object_id": "9"}])
def test_pictures_that_are_not_there_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    view = GoalView(camera_pose(np.zeros(3), 0.0), 70.0, width=4, height=3)
    target = Target(Goal(), (Instance(5, np.zeros(3), np.zeros((1, 3))),), view)
    path = tmp_path / "ok.json.gz"
    write_episodes(path, [Episode("imagenav", SCENE, "0", np.zeros(3), 0.0, (target,), 1.0)])
    content = json.loads(gzip.decompress(path.read_bytes()))
    content["episodes"][0].update(change)
    with pytest.raises(InputError, match=next(iter(change))):
        read_episodes(written(tmp_path, content))


def test_every_written_file_has_what_habitat_labs_classes_take(tmp_path: Path) -> None:
    """Its episode and goal classes take these names only, and ObjectNav wants two tables with the same names."""
    thing = Target(Goal(category="mug"), (Instance(5, np.zeros(3), np.zeros((1, 3))),))
    path = tmp_path / "o.json.gz"
    write_episodes(path, [Episode("objectnav", "house_1_rooms_6.glb", "0", np.zeros(3), 0.0, (thing,), 1.0)])
    data = json.loads(gzip.decompress(path.read_bytes()))
    assert data["category_to_task_category_id"].keys() == data["category_to_scene_annotation_category_id"].keys()
    assert set(data["episodes"][0]) <= {
        "episode_id", "scene_id", "scene_dataset_config", "additional_obj_config_paths", "start_position",
        "start_rotation", "info", "goals", "start_room", "shortest_paths", "object_category",
    }  # fmt: skip
    ((key, (goal,)),) = data["goals_by_category"].items()
    assert key == "house_1_rooms_6.glb_mug"
    assert set(goal) <= {
        "position", "radius", "object_id", "object_name", "object_name_id", "object_category", "room_id", "room_name",
        "view_points",
    }  # fmt: skip


@pytest.mark.parametrize("case", VECTORS["measures"])
def test_measures_are_habitat_labs(case: dict[str, Any]) -> None:
    """Its classes ran unmodified over the same positions, in its frame; ours takes them in the map."""
    found = measures(
        from_habitat(np.array(case["path"])),
        np.array(case["left"]),
        stop_called=case["stop_called"],
        threshold=case["threshold"],
    )
    for key, value in case["expected"].items():
        assert found[key] == pytest.approx(value, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("case", VECTORS["sensors"])
def test_goal_and_pose_sensors_are_habitat_labs(case: dict[str, Any]) -> None:
    here, start, goal = (from_habitat(np.array(case[key])) for key in ("position", "start", "goal"))
    yaw, start_yaw = (yaw_from_habitat(np.array(case[key])) for key in ("rotation", "start_rotation"))
    gps, compass = start_pose(here, yaw, start, start_yaw)
    np.testing.assert_allclose(gps, case["expected"]["gps"], rtol=1e-4, atol=1e-5)
    assert math.cos(compass - case["expected"]["compass"][0]) == pytest.approx(1.0)
    rho, angle = point_goal(here, yaw, goal)
    assert rho == pytest.approx(case["expected"]["pointgoal_with_gps_compass"][0], rel=1e-5)
    assert math.cos(angle - case["expected"]["pointgoal_with_gps_compass"][1]) == pytest.approx(1.0)


def test_what_the_reference_leaves_undefined_is_defined() -> None:
    still = np.zeros((3, 3))
    assert measures(still, np.zeros(3), stop_called=True, threshold=0.2)["spl"] == 1.0
    lost = measures(still, np.full(3, np.inf), stop_called=True, threshold=0.2)
    assert (lost["spl"], lost["success"], lost["unreachable"]) == (0.0, 0.0, 1.0)
    told = measures(still, np.array([4.0, 4.0, 1.0]), stop_called=True, threshold=3.0, reference=still[:1])
    assert told["vlnce/ndtw"] == pytest.approx(1.0)
    assert told["vlnce/sdtw"] == told["vlnce/sr"] == 1.0


@given(st.lists(st.tuples(points, points, points), min_size=1, max_size=5), st.integers(0, 2**32))
def test_samples_of_an_island_lie_in_its_triangles(raw: list[Any], seed: int) -> None:
    triangles = np.array(raw, dtype=float)
    if not areas(triangles).sum() > 1e-3:
        with pytest.raises(ValueError, match="area"):
            sample_triangles(np.zeros((1, 3, 3)), np.random.default_rng(seed))
        return
    drawn = sample_triangles(triangles, np.random.default_rng(seed))
    parts = []
    for triangle in triangles:  # the three triangles with the point add up to the whole one only where it is inside
        corners = [np.stack([drawn, triangle[i], triangle[(i + 1) % 3]]) for i in range(3)]
        parts.append(areas(np.stack(corners)).sum() - areas(triangle[None])[0])
    assert min(parts) <= 1e-6 * max(areas(triangles).max(), 1.0)


def test_samples_are_uniform_over_area() -> None:
    triangles = np.array([[[0, 0, 0], [3, 0, 0], [0, 2, 0]], [[5, 0, 0], [6, 0, 0], [5, 2, 0]]], dtype=float)
    rng = np.random.default_rng(0)
    left = np.mean([sample_triangles(triangles, rng)[0] < 4 for _ in range(2000)])
    assert left == pytest.approx(0.75, abs=0.04)


habitat_is_missing = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("habitat_sim") is not None, reason="habitat-sim is installed"
)


@habitat_is_missing
def test_without_the_simulator_one_line_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MissingExtraError, match="conda install habitat-sim"):
        import_habitat()
    assert main(["episodes", "task=pointnav", "world=habitat", f"out={tmp_path}/val.json.gz"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "conda install habitat-sim" in err
    assert "aihabitat" in err
    task = OmegaConf.load("configs/task/habitat/pointnav.yaml").task
    with pytest.raises(InstantiationException, match="conda install habitat-sim"):
        instantiate(task, path="val.json.gz")
    assert not list(tmp_path.iterdir())


def test_bodies_and_rules_of_the_configurations_are_those_of_the_datasets() -> None:
    task = OmegaConf.load("configs/task/habitat/objectnav.yaml").task
    body, camera = instantiate(task.body), instantiate(task.intrinsics)
    assert (body.radius, body.height, body.turn) == (0.18, 0.88, 30.0)
    assert (camera.width, camera.height) == (640, 480)
    assert instantiate(task.rules).success_distance == 0.1
    assert [a.value for a in Action] == [0, 1, 2, 3, 4, 5]
