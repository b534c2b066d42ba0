"""Episodes: where an agent starts and what it must reach, in the map frame.

The Habitat form of the same episodes is in `episode_files`; nothing here knows about y-up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.agent import Goal
from embmem.errors import InputError

DECIMALS = 5  # of every coordinate in a file, as Habitat's own episodes have
_SCENE = re.compile(r"house_(\d+)_rooms_(\d+)(?:_night_(\d+))?\.glb$")


@dataclass(frozen=True, eq=False)
class Instance:
    """One object that answers a goal, and the places to stand at from which it is seen and near."""

    object_id: int
    position: np.ndarray  # (3,) [m]
    view_points: np.ndarray  # (n, 3) [m], on the floor


@dataclass(frozen=True, eq=False)
class GoalView:
    """The camera that takes the picture of an image goal."""

    T_map_camera: np.ndarray  # (4, 4), optical
    hfov_deg: float
    width: int  # [px]
    height: int  # [px]


@dataclass(frozen=True, eq=False)
class Target:
    """One goal with all that the referee knows about it: any instance counts."""

    goal: Goal
    instances: tuple[Instance, ...] = ()
    view: GoalView | None = None  # where the goal is shown by a picture taken there

    def view_points(self) -> Float[np.ndarray, "n 3"]:
        """Where the goal counts as reached [m]: the view points of all instances, or the goal point itself."""
        if self.goal.position is not None:
            return np.asarray(self.goal.position, dtype=np.float64).reshape(1, 3)
        if not self.instances:
            return np.empty((0, 3))
        return np.concatenate([instance.view_points for instance in self.instances])


@dataclass(frozen=True, eq=False)
class Episode:
    """One task to do: `targets` in the order in which they must be reached (most tasks have one)."""

    task: str
    scene: str  # file name; `scene_name` for our houses
    id: str  # unique within a scene only, as in Habitat
    start: np.ndarray  # (3,) [m], feet
    yaw: float  # [rad], counter-clockwise from +x
    targets: tuple[Target, ...]
    shortest_path: float  # [m], geodesic from the start; inf where unreachable, NaN where nobody computed it
    info: dict[str, Any] = field(default_factory=dict)  # JSON values
    reference_path: np.ndarray | None = None  # (n, 3) [m], the way that an instruction describes


def scene_name(house_seed: int, n_rooms: int, night_seed: int | None = None) -> str:
    """The file name that says how to make a house again; `night_seed` where people have moved things since."""
    night = "" if night_seed is None else f"_night_{night_seed}"
    return f"house_{house_seed}_rooms_{n_rooms}{night}.glb"


def parse_scene(scene: str) -> tuple[int, int, int | None]:
    """(house_seed, n_rooms, night_seed) of a scene that `scene_name` named.

    Raises:
        InputError: if it is somebody else's scene.
    """
    match = _SCENE.search(scene)
    if match is None:
        raise InputError(f"scene {scene!r} is not one of ours (house_<seed>_rooms_<n>.glb)")
    seed, rooms, night = match.groups()
    return int(seed), int(rooms), None if night is None else int(night)


def rounded(array: np.ndarray) -> list[Any]:
    """Nested lists rounded to `DECIMALS`; -0 becomes 0."""
    return (np.round(np.asarray(array, dtype=np.float64), DECIMALS) + 0.0).tolist()


def expect(data: Any, key: str, kind: type, where: str) -> Any:
    """`data[key]`, which must be a `kind`.

    Raises:
        InputError: naming the field and what was found there.
    """
    if not isinstance(data, dict):
        raise InputError(f"{where}: expected an object, got {type(data).__name__}")
    if key not in data:
        raise InputError(f"{where}.{key}: missing")
    if not isinstance(data[key], kind):
        raise InputError(f"{where}.{key}: expected {kind.__name__}, got {data[key]!r:.60}")
    return data[key]


def number(data: Any, key: str, where: str) -> float:
    """`data[key]` as a float, null as NaN; NaN and infinity are let through, as Habitat writes them."""
    value = data.get(key) if isinstance(data, dict) else None
    if value is None and isinstance(data, dict) and key in data:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{where}.{key}: expected a number, got {value!r:.60}")
    return float(value)


def vector(data: Any, key: str, size: int, where: str, *, finite: bool = True) -> np.ndarray:
    """`data[key]` as a vector of `size` numbers.

    Raises:
        InputError: if it is something else, or holds NaN or infinity where `finite` is asked for.
    """
    value = expect(data, key, list, where)
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    if len(value) != size or not numeric:
        raise InputError(f"{where}.{key}: expected {size} numbers, got {value!r:.80}")
    array = np.array(value, dtype=np.float64)
    if finite and not np.isfinite(array).all():
        raise InputError(f"{where}.{key}: expected finite numbers, got {value!r:.80}")
    return array
