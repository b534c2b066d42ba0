"""Habitat's `{split}.json.gz` episode files: PointNav, ImageNav, ObjectNav, InstanceImageNav and VLN-CE's R2R.

Habitat's world is y-up (`habitat.frames`); quaternions in the files are x, y, z, w. ImageNav has PointNav's files. What
is written here, habitat-lab's dataset classes read.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embmem.agent import Goal
from embmem.errors import InputError, OutputExistsError
from embmem.geometry import UNIT_TOLERANCE
from embmem.sim_envs.episode_goals import (
    IMAGE_GOAL,
    POINT_RADIUS,
    ROUTE_RADIUS,
    category_key,
    object_key,
    read_instances,
    read_picture_target,
    read_point_target,
    read_route_target,
    write_instance,
    write_object_goals,
    write_points,
    write_view,
)
from embmem.sim_envs.episodes import DECIMALS, Episode, Instance, Target, expect, number, rounded, vector
from embmem.sim_envs.habitat.frames import (
    from_habitat,
    to_habitat,
    yaw_from_habitat,
    yaw_to_habitat,
)

DATASET = "scene_dataset_config"
_ROUTE_KEYS = ("trajectory_id", "instruction_tokens")  # of R2R, kept in an episode's info
_VOCABULARY = ("<pad>", "<s>", "</s>", "<unk>")

Goals = Mapping[str, Any]


def write_episodes(path: Path, episodes: Sequence[Episode], *, overwrite: bool = False) -> None:
    """Write episodes with one target each as a Habitat dataset; the same episodes give the same bytes.

    Which one follows from the goals: words make R2R, pictures of objects InstanceImageNav, categories ObjectNav, points
    PointNav (with the camera of a picture in `info`, which habitat-lab leaves alone).

    Raises:
        ValueError: if an episode has several targets, or goals of several kinds are mixed.
        OutputExistsError: if `path` exists and `overwrite` is not set.
    """
    if any(len(episode.targets) != 1 for episode in episodes):
        raise ValueError("Habitat's form holds episodes with one target only")
    kinds = {_kind(episode.targets[0]) for episode in episodes} or {"points"}
    if len(kinds) > 1:
        raise ValueError(f"{' and '.join(sorted(kinds))} cannot share a file: Habitat has one dataset class for each")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists")
    content = _WRITERS[kinds.pop()](episodes)
    data = json.dumps(content, sort_keys=True).encode()
    part = path.with_name(path.name + ".part")
    part.write_bytes(gzip.compress(data, mtime=0))
    part.replace(path)


def read_episodes(path: Path) -> list[Episode]:
    """The episodes of a file and of the `content` folder beside it, if there is one.

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
    episodes = expect(data, "episodes", list, str(path))
    objects: dict[str, tuple[Instance, ...]] | None = None
    if "goals_by_category" in data:
        by_category = expect(data, "goals_by_category", dict, str(path))
        objects = {key: read_instances(items, f"{path}: {key}") for key, items in by_category.items()}
    pictures = expect(data, "goals", dict, str(path)) if "goals" in data else None
    return [_episode(item, objects, pictures, f"{path}: episodes[{i}]") for i, item in enumerate(episodes)]


def _episode(data: Any, objects: Goals | None, pictures: Goals | None, where: str) -> Episode:
    quat = vector(data, "start_rotation", 4, where)
    if abs(float(np.linalg.norm(quat)) - 1.0) > UNIT_TOLERANCE:
        raise InputError(f"{where}.start_rotation: quaternion is not of unit length: {quat.tolist()}")
    scene = expect(data, "scene_id", str, where)
    info = dict(data.get("info") or {})
    length = number(info, "geodesic_distance", f"{where}.info") if "geodesic_distance" in info else np.nan
    task, target = _target(data, info, objects, pictures, where)
    if data.get(DATASET, "default") != "default":
        info[DATASET] = expect(data, DATASET, str, where)
    reference = None
    if "reference_path" in data:
        info |= _route_info(data)
        points = expect(data, "reference_path", list, where)
        rows = [vector({"point": p}, "point", 3, f"{where}.reference_path[{i}]") for i, p in enumerate(points)]
        reference = from_habitat(np.array(rows, dtype=np.float64).reshape(-1, 3))
    return Episode(
        task=str(info.pop("task", task)),
        scene=scene,
        id=str(data.get("episode_id", "")),
        start=from_habitat(vector(data, "start_position", 3, where)),
        yaw=yaw_from_habitat(quat),
        targets=(target,),
        shortest_path=float(length),
        info={key: value for key, value in info.items() if key not in ("geodesic_distance", IMAGE_GOAL)},
        reference_path=reference,
    )


def _target(
    data: Any, info: dict[str, Any], objects: Goals | None, pictures: Goals | None, where: str
) -> tuple[str, Target]:
    """(task, target) of an episode; what only the dataset's class tells is found by the fields that it has."""
    if objects is not None:
        category = expect(data, "object_category", str, where)
        key = category_key(expect(data, "scene_id", str, where), category)
        if key not in objects:
            raise InputError(f"{where}.object_category: goals_by_category has no {key!r}")
        return "objectnav", Target(Goal(category=category), objects[key])
    if pictures is not None:
        info["object_category"] = data.get("object_category")
        return "imagenav", read_picture_target(data, pictures, where)
    if "instruction" in data:
        return "r2r", read_route_target(data, where)
    goals = data.get("goals")
    if isinstance(goals, list) and goals and isinstance(goals[0], dict) and "object_category" in goals[0]:
        category = expect(goals[0], "object_category", str, f"{where}.goals[0]")  # files before goals_by_category
        return "objectnav", Target(Goal(category=category), read_instances(goals, f"{where}.goals"))
    return "pointnav", read_point_target(data, info, where)


def _route_info(data: Any) -> dict[str, Any]:
    told = data.get("instruction") if isinstance(data.get("instruction"), dict) else {}
    found = {"trajectory_id": data.get("trajectory_id"), "instruction_tokens": told.get("instruction_tokens")}
    return {key: value for key, value in found.items() if value is not None}


def _kind(target: Target) -> str:
    if target.goal.instruction is not None:
        return "routes"
    if target.goal.category is not None:
        return "categories"
    return "points" if target.goal.position is not None else "pictures"


def _base(episode: Episode) -> dict[str, Any]:
    kept = {key: value for key, value in episode.info.items() if key not in (DATASET, *_ROUTE_KEYS)}
    return {
        "episode_id": episode.id,
        "scene_id": episode.scene,
        DATASET: episode.info.get(DATASET, "default"),
        "start_position": rounded(to_habitat(episode.start)),
        "start_rotation": yaw_to_habitat(episode.yaw),
        "info": {
            **kept,
            "task": episode.task,
            "geodesic_distance": round(float(episode.shortest_path), DECIMALS),
        },
        "shortest_paths": None,
    }


def _point_nav(episodes: Sequence[Episode]) -> dict[str, Any]:
    rows = []
    for episode in episodes:
        (target,) = episode.targets
        row = {**_base(episode), "goals": write_points(target.view_points(), POINT_RADIUS)}
        if target.view is not None:
            row["info"][IMAGE_GOAL] = write_view(target.view)
        rows.append(row)
    return {"episodes": rows}


def _object_nav(episodes: Sequence[Episode]) -> dict[str, Any]:
    rows = [{**_base(e), "goals": [], "object_category": str(e.targets[0].goal.category)} for e in episodes]
    numbers = {name: i for i, name in enumerate(sorted({row["object_category"] for row in rows}))}
    return {
        "episodes": rows,
        "goals_by_category": write_object_goals(episodes),
        "category_to_task_category_id": numbers,
        "category_to_scene_annotation_category_id": numbers,  # habitat-lab wants both, with the same names
    }


def _image_nav(episodes: Sequence[Episode]) -> dict[str, Any]:
    goals: dict[str, Any] = {}
    rows = []
    for episode in episodes:
        (target,) = episode.targets
        if target.view is None or len(target.instances) != 1:
            raise ValueError(f"episode {episode.id} has no goal: no words, category or point, nor one object's picture")
        (instance,), category = target.instances, episode.info.get("object_category") or "object"
        key = object_key(episode.scene, instance.object_id)
        goal = goals.setdefault(key, {**write_instance(instance, category), "image_goals": []})
        picture = write_view(target.view)
        if picture not in goal["image_goals"]:
            goal["image_goals"].append(picture)
        base = _base(episode)
        base["info"].pop("object_category", None)
        base |= {"goals": [], "object_category": category, "goal_object_id": str(instance.object_id)}
        rows.append({**base, "goal_image_id": goal["image_goals"].index(picture)})
    return {"episodes": rows, "goals": goals}


def _r2r(episodes: Sequence[Episode]) -> dict[str, Any]:
    words = sorted({word for episode in episodes for word in _words(episode)} - set(_VOCABULARY))
    vocabulary = [*_VOCABULARY, *words]
    index = {word: i for i, word in enumerate(vocabulary)}
    rows = []
    for number_, episode in enumerate(episodes):
        (target,) = episode.targets
        tokens = episode.info.get("instruction_tokens", [index[word] for word in _words(episode)])
        gold = episode.reference_path
        if gold is None:
            gold = np.concatenate([episode.start[None], target.view_points()[:1]])
        rows.append(
            {
                **_base(episode),
                "goals": write_points(target.view_points(), ROUTE_RADIUS),
                "instruction": {"instruction_text": target.goal.instruction, "instruction_tokens": tokens},
                "reference_path": rounded(to_habitat(gold)),
                "trajectory_id": episode.info.get("trajectory_id", number_),
            }
        )
    return {"episodes": rows, "instruction_vocab": {"word_list": vocabulary}}


def _words(episode: Episode) -> list[str]:
    text = str(episode.targets[0].goal.instruction).lower()
    return "".join(c if c.isalnum() or c == "'" else " " for c in text).split()


_WRITERS = {"points": _point_nav, "categories": _object_nav, "pictures": _image_nav, "routes": _r2r}
