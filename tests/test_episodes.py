"""Episodes and Habitat's files: round trips, the frame change, and files that are not what they should be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from embmem.agent import Goal
from embmem.errors import InputError, OutputExistsError
from embmem.sim_envs.episode_files import read_episodes, write_episodes
from embmem.sim_envs.episodes import (
    Episode,
    Instance,
    Target,
    parse_scene,
    scene_name,
)
from embmem.sim_envs.habitat.frames import from_habitat, to_habitat, yaw_from_habitat, yaw_to_habitat

coordinates = st.floats(-100, 100).map(lambda v: round(v, 5))
points = st.tuples(coordinates, coordinates, coordinates).map(np.array)


# Strategies draw plain values only: the run-time type checks draw random numbers, which hypothesis forbids there.
raw_instances = st.tuples(st.integers(1, 999), points, st.lists(points, max_size=3))
raw_episodes = st.fixed_dictionaries(
    {
        "category": st.sampled_from(["mug", "desk lamp"]),
        "goal": points,
        "instances": st.lists(raw_instances, max_size=2),
        "start": points,
        "yaw": st.floats(-3.1, 3.1).map(lambda v: round(v, 3)),
        "shortest_path": st.one_of(coordinates, st.sampled_from([np.inf, np.nan])),
        "moved": st.booleans(),
    }
)


def make_episode(raw: dict[str, Any], has_category: bool, number: int = 0) -> Episode:
    """One house an episode: the goals of a file are shared within a scene."""
    target = Target(Goal(position=raw["goal"]))
    if has_category:
        found = [Instance(i, p, np.array(v).reshape(-1, 3)) for i, p, v in raw["instances"]]
        target = Target(Goal(category=raw["category"]), tuple(found))
    return Episode(
        task="objectnav" if has_category else "pointnav",
        scene=scene_name(number, 6),
        id=str(number),
        start=raw["start"],
        yaw=raw["yaw"],
        targets=(target,),
        shortest_path=raw["shortest_path"],
        info={"session": number, "moved": raw["moved"]},
    )


def assert_same(a: Episode, b: Episode, tolerance: float = 2e-5) -> None:
    assert (a.task, a.scene, a.id, a.info) == (b.task, b.scene, b.id, b.info)
    np.testing.assert_allclose(a.start, b.start, atol=tolerance)
    np.testing.assert_allclose(np.cos(a.yaw - b.yaw), 1.0, atol=tolerance)
    np.testing.assert_allclose(a.shortest_path, b.shortest_path, atol=tolerance)
    assert len(a.targets) == len(b.targets)
    for s, t in zip(a.targets, b.targets, strict=True):
        assert s.goal.category == t.goal.category
        np.testing.assert_allclose(s.view_points(), t.view_points(), atol=tolerance)
        assert [i.object_id for i in s.instances] == [i.object_id for i in t.instances]
        for i, j in zip(s.instances, t.instances, strict=True):
            np.testing.assert_allclose(i.position, j.position, atol=tolerance)
            np.testing.assert_allclose(i.view_points, j.view_points, atol=tolerance)


@given(st.lists(raw_episodes, min_size=3, max_size=3), st.booleans())
def test_habitat_file_round_trip(raw: list[dict[str, Any]], has_category: bool) -> None:
    written = [make_episode(r, has_category, number) for number, r in enumerate(raw)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "val.json.gz"
        write_episodes(path, written)
        for a, b in zip(read_episodes(path), written, strict=True):
            assert_same(a, b)


def test_the_same_episodes_give_the_same_bytes(tmp_path: Path) -> None:
    episode = Episode("pointnav", scene_name(1, 6), "0", np.zeros(3), 0.0, (Target(Goal(position=np.ones(3))),), 1.0)
    for name in ("a.json.gz", "b.json.gz"):
        write_episodes(tmp_path / name, [episode])
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    with pytest.raises(OutputExistsError):
        write_episodes(tmp_path / "a.json.gz", [episode])


@given(points)
def test_habitat_frame_is_a_rotation_and_its_inverse(point: np.ndarray) -> None:
    np.testing.assert_allclose(from_habitat(to_habitat(point)), point)
    # HABITAT.md: (x, y, z)_map = (-z, -x, y), written as its matrix C; R_map = C R C^T.
    C = np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]], dtype=float)
    np.testing.assert_allclose(C @ to_habitat(point), point)


@given(st.floats(-10, 10))
def test_yaw_keeps_its_sign(yaw: float) -> None:
    quat = np.array(yaw_to_habitat(yaw))
    assert quat[3] >= 0
    np.testing.assert_allclose(np.cos(yaw_from_habitat(quat) - yaw), 1.0, atol=1e-6)
    about_y = Rotation.from_euler("y", yaw)
    np.testing.assert_allclose((about_y * Rotation.from_quat(quat).inv()).magnitude(), 0.0, atol=1e-4)


def _habitat_object_nav() -> dict[str, Any]:
    """A small file as Habitat writes them: NaN, an unreachable episode, ids that are text."""
    view = {"agent_state": {"position": [1.0, 0.1, -2.0], "rotation": [0, 0, 0, 1]}, "iou": float("nan")}
    lost = {"agent_state": {"position": [float("nan")] * 3, "rotation": [0, 0, 0, 1]}, "iou": 0.0}
    episode = {
        "episode_id": "7",
        "scene_id": "hm3d/val/00800-TEE/TEE.basis.glb",
        "start_position": [0.5, 0.1, -1.5],
        "start_rotation": [0.0, 0.7071068, 0.0, 0.7071068],
        "info": {"geodesic_distance": float("inf")},
        "goals": [],
        "object_category": "chair",
    }
    goal = {"object_id": "12", "position": [1.0, 0.4, -3.0], "view_points": [view, lost]}
    return {"episodes": [episode], "goals_by_category": {"TEE.basis.glb_chair": [goal]}}


def _write(path: Path, content: Any) -> Path:
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def test_reads_what_habitat_writes_also_from_content_files(tmp_path: Path) -> None:
    path = _write(tmp_path / "val.json.gz", {"episodes": []})
    (tmp_path / "content").mkdir()
    _write(tmp_path / "content" / "TEE.json.gz", _habitat_object_nav())
    (episode,) = read_episodes(path)
    np.testing.assert_allclose(episode.start, [1.5, -0.5, 0.1])
    np.testing.assert_allclose(episode.yaw, np.pi / 2, atol=1e-6)  # yaw 90 faces Habitat's -x, our +y
    assert np.isinf(episode.shortest_path)
    np.testing.assert_allclose(episode.targets[0].view_points(), [[2.0, -1.0, 0.1]])


@pytest.mark.parametrize(
    ("damage", "field"),
    [
        (lambda d: d.pop("episodes"), "episodes"),
        (lambda d: d["episodes"][0].pop("start_position"), "episodes[0].start_position"),
        (lambda d: d["episodes"][0].update(start_position=[1, 2]), "episodes[0].start_position"),
        (lambda d: d["episodes"][0].update(start_position=[1, 2, float("nan")]), "episodes[0].start_position"),
        (lambda d: d["episodes"][0].update(start_rotation=[0, 0, 0, 2]), "episodes[0].start_rotation"),
        (lambda d: d["episodes"][0].update(object_category="sofa"), "episodes[0].object_category"),
        (lambda d: d["episodes"][0]["info"].update(geodesic_distance="far"), "info.geodesic_distance"),
        (lambda d: d["goals_by_category"]["TEE.basis.glb_chair"][0].pop("object_id"), "chair[0].object_id"),
        (lambda d: d["goals_by_category"]["TEE.basis.glb_chair"][0].pop("position"), "chair[0].position"),
    ],
)
def test_a_malformed_file_is_refused_by_name_of_file_and_field(tmp_path: Path, damage: Any, field: str) -> None:
    content = _habitat_object_nav()
    damage(content)
    with pytest.raises(InputError) as error:
        read_episodes(_write(tmp_path / "val.json.gz", content))
    assert "val.json.gz" in str(error.value)
    assert field in str(error.value)


def test_missing_truncated_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_episodes(tmp_path / "none.json.gz")
    whole = gzip.compress(json.dumps(_habitat_object_nav()).encode())
    for name, data in (("short", whole[: len(whole) // 2]), ("text", b"hello"), ("empty", b"")):
        path = tmp_path / f"{name}.json.gz"
        path.write_bytes(data)
        with pytest.raises(InputError, match=name):
            read_episodes(path)


def test_several_targets_or_mixed_goals_do_not_fit_habitat(tmp_path: Path) -> None:
    point, thing = Target(Goal(position=np.ones(3))), Target(Goal(category="mug"))
    scene = scene_name(1, 6)

    def episode(*targets: Target) -> Episode:
        return Episode("t", scene, "0", np.zeros(3), 0.0, targets, 1.0)

    for wrong in ([episode(point, point)], [episode(point), episode(thing)]):
        with pytest.raises(ValueError, match="Habitat"):
            write_episodes(tmp_path / "x.json.gz", wrong)
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 10**9), st.integers(3, 60), st.one_of(st.none(), st.integers(0, 2**32)))
def test_a_scene_name_says_how_to_make_the_house(seed: int, rooms: int, night: int | None) -> None:
    assert parse_scene("scenes/" + scene_name(seed, rooms, night)) == (seed, rooms, night)


def test_a_foreign_scene_is_refused() -> None:
    with pytest.raises(InputError, match="TEE"):
        parse_scene("hm3d/TEE.basis.glb")
