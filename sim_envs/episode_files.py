"""Habitat's `{split}.json.gz` episode files, PointNav and ObjectNav; the only place where episodes are y-up.

Habitat's world is +x right, +y up, -z forward with yaw counter-clockwise about +y, so (x, y, z) of the map are
(-z, -x, y) of Habitat and yaw keeps its sign. Quaternions in the files are x, y, z, w.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from embmem.agent import Goal
from embmem.errors import InputError, OutputExistsError
from embmem.geometry import UNIT_TOLERANCE
from embmem.sim_envs.episodes import DECIMALS, Episode, Instance, Target, expect, number, rounded, vector

POINT_RADIUS = 0.2  # [m], success distance of PointNav (Habitat challenge 2020)


def to_habitat(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Map points as Habitat points."""
    return np.stack([-points[..., 1], points[..., 2], -points[..., 0]], axis=-1)


def from_habitat(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Habitat points as map points."""
    return np.stack([-points[..., 2], -points[..., 0], points[..., 1]], axis=-1)


def yaw_to_habitat(yaw: float) -> list[float]:
    """Habitat's rotation [x, y, z, w] of a heading [rad], with w >= 0: the sign is not canonical there."""
    half = (yaw + np.pi) % (2.0 * np.pi) / 2.0 - np.pi / 2.0
    return rounded(np.array([0.0, np.sin(half), 0.0, np.cos(half)]))


def yaw_from_habitat(quat_xyzw: Float[np.ndarray, "4"]) -> float:
    """Heading [rad] of a rotation: where it turns Habitat's forward, -z; tilt is dropped."""
    forward = from_habitat(Rotation.from_quat(quat_xyzw).apply([0.0, 0.0, -1.0]))
    return float(np.arctan2(forward[1], forward[0]))


def write_episodes(path: Path, episodes: Sequence[Episode], *, overwrite: bool = False) -> None:
    """Write episodes with one target each as a Habitat dataset; the same episodes give the same bytes.

    Raises:
        ValueError: if an episode has several targets or is told in words, or points and categories are mixed.
        OutputExistsError: if `path` exists and `overwrite` is not set.
    """
    if any(len(episode.targets) != 1 for episode in episodes):
        raise ValueError("Habitat's form holds episodes with one target only")
    if any(episode.targets[0].goal.instruction is not None for episode in episodes):
        raise ValueError("Habitat's PointNav and ObjectNav hold no instructions; write pointnav or objectnav")
    kinds = {episode.targets[0].goal.category is not None for episode in episodes}
    if len(kinds) > 1:
        raise ValueError("points and categories cannot share a file: Habitat has one dataset class for each")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists")
    content = _object_nav(episodes) if kinds == {True} else {"episodes": [_point_nav(e) for e in episodes]}
    data = json.dumps(content, sort_keys=True).encode()
    part = path.with_name(path.name + ".part")
    part.write_bytes(gzip.compress(data, mtime=0))
    part.replace(path)


def read_episodes(path: Path) -> list[Episode]:
    """The episodes of a PointNav or ObjectNav file and of the `content` folder beside it, if there is one.

    NaN and infinity are kept where Habitat writes them; view points that are not finite are dropped.

    Raises:
        InputError: if a file is missing or malformed; the message names the file and the field.
    """
    content = path.parent / "content"
    files = [path, *sorted(content.glob("*.json.gz"))] if content.is_dir() else [path]
    return [episode for file in files for episode in _read_file(file)]


def _read_file(path: Path) -> list[Episode]:
    try:
        data = json.loads(gzip.decompress(path.read_bytes()))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{path}: not a readable .json.gz ({error})") from error
    goals: dict[str, tuple[Instance, ...]] | None = None
    if isinstance(data, dict) and "goals_by_category" in data:
        by_category = expect(data, "goals_by_category", dict, str(path))
        goals = {key: _instances(items, f"{path}: {key}") for key, items in by_category.items()}
    episodes = expect(data, "episodes", list, str(path))
    return [_episode(item, goals, f"{path}: episodes[{i}]") for i, item in enumerate(episodes)]


def _episode(data: Any, goals: dict[str, tuple[Instance, ...]] | None, where: str) -> Episode:
    quat = vector(data, "start_rotation", 4, where)
    if abs(float(np.linalg.norm(quat)) - 1.0) > UNIT_TOLERANCE:
        raise InputError(f"{where}.start_rotation: quaternion is not of unit length: {quat.tolist()}")
    scene = expect(data, "scene_id", str, where)
    info = dict(data.get("info") or {})
    length = number(info, "geodesic_distance", f"{where}.info") if "geodesic_distance" in info else np.nan
    if goals is None:
        target = _point_target(data, where)
    else:
        category = expect(data, "object_category", str, where)
        key = _goal_key(scene, category)
        if key not in goals:
            raise InputError(f"{where}.object_category: goals_by_category has no {key!r}")
        target = Target(Goal(category=category), goals[key])
    return Episode(
        task=str(info.pop("task", "pointnav" if goals is None else "objectnav")),
        scene=scene,
        id=str(data.get("episode_id", "")),
        start=from_habitat(vector(data, "start_position", 3, where)),
        yaw=yaw_from_habitat(quat),
        targets=(target,),
        shortest_path=float(length),
        info={key: value for key, value in info.items() if key != "geodesic_distance"},
    )


def _point_target(data: Any, where: str) -> Target:
    goals = expect(data, "goals", list, where)
    if len(goals) != 1:
        raise InputError(f"{where}.goals: expected one goal, got {len(goals)}")
    return Target(Goal(position=from_habitat(vector(goals[0], "position", 3, f"{where}.goals[0]"))))


def _instances(items: Any, where: str) -> tuple[Instance, ...]:
    if not isinstance(items, list):
        raise InputError(f"{where}: expected a list of goals, got {type(items).__name__}")
    instances = []
    for i, item in enumerate(items):
        here = f"{where}[{i}]"
        points = []
        for j, view in enumerate(item.get("view_points") or []):
            state = expect(view, "agent_state", dict, f"{here}.view_points[{j}]")
            points.append(vector(state, "position", 3, f"{here}.view_points[{j}]", finite=False))
        array = from_habitat(np.array(points).reshape(-1, 3))
        position = from_habitat(vector(item, "position", 3, here, finite=False))
        object_id = _object_id(item.get("object_id"), here)
        instances.append(Instance(object_id, position, array[np.isfinite(array).all(axis=1)]))
    return tuple(instances)


def _object_id(value: Any, where: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}.object_id: expected an integer, got {value!r}") from error


def _goal_key(scene: str, category: str) -> str:
    return f"{Path(scene).name}_{category}"


def _base(episode: Episode) -> dict[str, Any]:
    return {
        "episode_id": episode.id,
        "scene_id": episode.scene,
        "scene_dataset_config": "default",
        "start_position": rounded(to_habitat(episode.start)),
        "start_rotation": yaw_to_habitat(episode.yaw),
        "info": {
            **episode.info,
            "task": episode.task,
            "geodesic_distance": round(float(episode.shortest_path), DECIMALS),
        },
        "shortest_paths": None,
    }


def _point_nav(episode: Episode) -> dict[str, Any]:
    point = rounded(to_habitat(episode.targets[0].view_points()[0]))
    return {**_base(episode), "goals": [{"position": point, "radius": POINT_RADIUS}]}


def _object_nav(episodes: Iterable[Episode]) -> dict[str, Any]:
    goals: dict[str, list[Any]] = {}
    rows = []
    for episode in episodes:
        (target,) = episode.targets
        category = str(target.goal.category)
        goals[_goal_key(episode.scene, category)] = [_object_goal(i, category) for i in target.instances]
        rows.append({**_base(episode), "goals": [], "object_category": category})
    names = sorted({row["object_category"] for row in rows})
    return {
        "episodes": rows,
        "goals_by_category": goals,
        "category_to_task_category_id": {name: i for i, name in enumerate(names)},
    }


def _object_goal(instance: Instance, category: str) -> dict[str, Any]:
    views = []
    for point in instance.view_points:
        toward = instance.position - point
        rotation = yaw_to_habitat(float(np.arctan2(toward[1], toward[0])))
        state = {"position": rounded(to_habitat(point)), "rotation": rotation}
        views.append({"agent_state": state, "iou": None})  # the coverage of the view is not measured here
    return {
        "object_id": instance.object_id,
        "object_category": category,
        "object_name": f"{category}_{instance.object_id}",
        "position": rounded(to_habitat(instance.position)),
        "view_points": views,
    }
