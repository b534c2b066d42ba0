"""Goals in Habitat's episode files: points, objects with view points, pictures of objects, routes in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embmem.agent import Goal
from embmem.errors import InputError
from embmem.sim_envs.episodes import Episode, GoalView, Instance, Target, expect, number, rounded, vector
from embmem.sim_envs.habitat.frames import (
    camera_from_habitat,
    camera_to_habitat,
    from_habitat,
    to_habitat,
    yaw_to_habitat,
)

POINT_RADIUS = 0.2  # [m], success distance of PointNav (Habitat challenge 2020)
ROUTE_RADIUS = 3.0  # [m], of R2R
IMAGE_GOAL = "image_goal"  # key in an episode's info: the camera of a picture, where the file has no place for it


def category_key(scene: str, category: str) -> str:
    """Key of ObjectNav's `goals_by_category`."""
    return f"{Path(scene).name}_{category}"


def object_key(scene: str, object_id: object) -> str:
    """Key of InstanceImageNav's `goals`."""
    name = Path(scene).name
    for ending in (".glb", ".basis"):
        name = name.removesuffix(ending)
    return f"{name}_{object_id}"


def read_points(data: Any, where: str, *, limit: int | None = None) -> np.ndarray:
    """(n, 3) positions [m] of an episode's `goals`.

    Raises:
        InputError: if there is none, or there are more than `limit`.
    """
    goals = expect(data, "goals", list, where)
    if not goals or (limit is not None and len(goals) > limit):
        wanted = "one goal" if limit == 1 else "a goal"
        raise InputError(f"{where}.goals: expected {wanted}, got {len(goals)}")
    return from_habitat(np.stack([vector(goal, "position", 3, f"{where}.goals[{i}]") for i, goal in enumerate(goals)]))


def read_point_target(data: Any, info: Mapping[str, Any], where: str) -> Target:
    """PointNav's goal; the camera of a picture of it, if `info` tells one."""
    (point,) = read_points(data, where, limit=1)
    view = None if IMAGE_GOAL not in info else read_view(info[IMAGE_GOAL], f"{where}.info.{IMAGE_GOAL}")
    return Target(Goal(position=point), view=view)


def read_route_target(data: Any, where: str) -> Target:
    """R2R's instruction and where it leads; test splits do not tell where."""
    told = expect(data, "instruction", dict, where)
    text = expect(told, "instruction_text", str, f"{where}.instruction")
    if not data.get("goals"):
        return Target(Goal(instruction=text))
    points = read_points(data, where)
    return Target(Goal(instruction=text), (Instance(0, points[0], points),))


def read_instance(item: Any, where: str) -> Instance:
    """An object and the places from which it is seen; view points that are not finite are dropped."""
    points = []
    for j, view in enumerate((item.get("view_points") if isinstance(item, dict) else None) or []):
        state = expect(view, "agent_state", dict, f"{where}.view_points[{j}]")
        points.append(vector(state, "position", 3, f"{where}.view_points[{j}]", finite=False))
    array = from_habitat(np.array(points).reshape(-1, 3))
    position = from_habitat(vector(item, "position", 3, where, finite=False))
    object_id = _object_id(item.get("object_id"), where)
    return Instance(object_id, position, array[np.isfinite(array).all(axis=1)])


def read_instances(items: Any, where: str) -> tuple[Instance, ...]:
    """The objects of one category."""
    if not isinstance(items, list):
        raise InputError(f"{where}: expected a list of goals, got {type(items).__name__}")
    return tuple(read_instance(item, f"{where}[{i}]") for i, item in enumerate(items))


def read_picture_target(data: Any, goals: Mapping[str, Any], where: str) -> Target:
    """InstanceImageNav's object, and the camera of the picture that is shown."""
    key = object_key(expect(data, "scene_id", str, where), data.get("goal_object_id"))
    if key not in goals:
        raise InputError(f"{where}.goal_object_id: goals has no {key!r}")
    pictures = expect(goals[key], "image_goals", list, f"{where}: {key}")
    index = data.get("goal_image_id")
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(pictures):
        raise InputError(f"{where}.goal_image_id: expected 0 to {len(pictures) - 1}, got {index!r:.40}")
    view = read_view(pictures[index], f"{where}: {key}.image_goals[{index}]")
    return Target(Goal(), (read_instance(goals[key], f"{where}: {key}"),), view)


def read_view(data: Any, where: str) -> GoalView:
    """The camera of a picture."""
    position, quat = vector(data, "position", 3, where), vector(data, "rotation", 4, where)
    size = vector(data, "image_dimensions", 2, where)
    hfov = number(data, "hfov", where)
    if not (size >= 1).all() or not 0 < hfov < 180 or not quat.any():
        raise InputError(f"{where}: no camera has {size.tolist()} pixels, hfov {hfov} and rotation {quat.tolist()}")
    return GoalView(camera_from_habitat(position, quat), hfov, width=int(size[1]), height=int(size[0]))


def write_points(points: np.ndarray, radius: float) -> list[dict[str, Any]]:
    """Habitat's `goals` at map points."""
    return [{"position": point, "radius": radius} for point in rounded(to_habitat(points))]


def write_instance(instance: Instance, category: str) -> dict[str, Any]:
    """An ObjectGoal."""
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


def write_view(view: GoalView) -> dict[str, Any]:
    """An InstanceImageParameters."""
    position, quat = camera_to_habitat(view.T_map_camera)
    return {
        "position": rounded(position),
        "rotation": rounded(quat),
        "hfov": view.hfov_deg,
        "image_dimensions": [view.height, view.width],
    }


def write_object_goals(episodes: Sequence[Episode]) -> dict[str, list[Any]]:
    """ObjectNav's `goals_by_category`."""
    goals: dict[str, list[Any]] = {}
    for episode in episodes:
        category = str(episode.targets[0].goal.category)
        goals[category_key(episode.scene, category)] = [
            write_instance(instance, category) for instance in episode.targets[0].instances
        ]
    return goals


def _object_id(value: Any, where: str) -> int:
    """A whole number, also where it is written as text or as the end of a name, as in InstanceImageNav's files."""
    try:
        return int(str(value).rsplit("_", 1)[-1])
    except ValueError as error:
        raise InputError(f"{where}.object_id: expected an integer, got {value!r}") from error
