"""Furnished rooms in which a cardboard box is moved, or hidden behind a panel, and the frames of a robot that looks.

The rooms are the largest ones of houses of three rooms; every place and view is drawn from the seed of the house.
Depth is rasterised and then disturbed as in `configs/noise/mild.yaml`; labels are true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embmem.geometry import camera_pose
from embmem.observation import Intrinsics, Observation
from embmem.sim_envs.house import LABELS, House, Room, SmallObject, build_mesh, make_house
from embmem.sim_envs.noise import CameraNoise
from embmem.sim_envs.render import Renderer

CAMERA = Intrinsics.from_fov(256, 192, 79.0)
NOISE = CameraNoise(
    depth_sigma_quadratic=0.0005, disparity_step=0.0, hole_rate=0.002, edge_hole_rate=0.1, near=0.1, far=8.0
)
BOX, PANEL = "cardboard box", "microwave"  # of the shape "box"; the panel's category is never asked for
CLEARANCE = 0.15  # [m] between the box and everything else
APART = 1.0  # [m] at least between the old and the new place
DISTANCES = (0.8, 2.3)  # [m] from which a place is looked at
TRIES = 2000


@dataclass(frozen=True, eq=False)
class MovedBox:
    """One room and the places of its box."""

    house: House  # without boxes
    room: Room
    size: np.ndarray  # (3,) [m]
    old: np.ndarray  # (3,) centre of the bottom [m]
    new: np.ndarray
    rng: np.random.Generator


def moved_box(seed: int) -> MovedBox | None:
    """A room with two places for a box; None if there is no room for them."""
    house = make_house(seed, n_rooms=3)
    house = house.with_objects(tuple(o for o in house.objects if o.category != BOX))
    room = max(house.rooms, key=lambda r: r.area)
    rng = np.random.default_rng([seed, 1])
    size = rng.uniform(0.3, 0.5, 3)
    radius = float(np.hypot(size[0], size[1])) / 2.0 + CLEARANCE
    places: list[np.ndarray] = []
    for _ in range(TRIES):
        place = np.append(rng.uniform((room.x0, room.y0), (room.x1, room.y1)), 0.0)
        is_apart = all(np.linalg.norm(place - other) >= APART for other in places)
        if is_apart and _is_clear(house, room, place[:2], radius):
            places.append(place)
            if len(places) == 2:
                return MovedBox(house, room, size, places[0], places[1], rng)
    return None


def look(scene: MovedBox, at: np.ndarray, targets: list[np.ndarray], *, n: int, stamp: float) -> Iterator[Observation]:
    """`n` frames with the box `at` its place: in turn a look at one of the targets and one in any direction."""
    renderer = Renderer(build_mesh(scene.house.with_objects((*scene.house.objects, box_at(scene, at)))))
    for i in range(n):
        target = targets[i // 2 % len(targets)]
        position = viewpoint(scene, target)
        if i % 2 == 0:
            pose = aimed(position, _middle(scene, target), scene.rng)
        else:
            pose = camera_pose(position, scene.rng.uniform(-np.pi, np.pi), scene.rng.uniform(-0.6, 0.0))
        yield frame(renderer, pose, stamp + i, scene.rng)


def hidden_looks(scene: MovedBox, *, n: int, stamp: float) -> list[Observation]:
    """`n` frames in which a panel hides the box at its old place; fewer if no such views are found."""
    frames: list[Observation] = []
    for _ in range(4 * n):
        position = viewpoint(scene, scene.old)
        way = scene.old - position
        middle = position[:2] + way[:2] * scene.rng.uniform(0.4, 0.6)
        panel = SmallObject(
            id=9001, category=PANEL, room=scene.room.id, furniture=0, position=np.append(middle, 0.0),
            yaw=float(np.arctan2(way[1], way[0]) + np.pi / 2), size=np.array([scene.rng.uniform(0.8, 1.1), 0.05, 1.3]),
        )  # fmt: skip
        objects = (*scene.house.objects, box_at(scene, scene.old), panel)
        renderer = Renderer(build_mesh(scene.house.with_objects(objects)))
        pose = aimed(position, _middle(scene, scene.old), scene.rng)
        observation = frame(renderer, pose, stamp + len(frames), scene.rng)
        if LABELS.index(BOX) not in np.asarray(observation.semantic):
            frames.append(observation)
            if len(frames) == n:
                break
    return frames


def box_at(scene: MovedBox, place: np.ndarray) -> SmallObject:
    """The box standing at a place."""
    return SmallObject(9000, BOX, scene.room.id, 0, place, 0.0, scene.size)


def viewpoint(scene: MovedBox, target: np.ndarray) -> np.ndarray:
    """A free place for the camera, 0.6 to 1.3 m high, at a good distance from the target."""
    for _ in range(TRIES):
        distance, angle = scene.rng.uniform(*DISTANCES), scene.rng.uniform(-np.pi, np.pi)
        p = target[:2] + distance * np.array([np.cos(angle), np.sin(angle)])
        is_beside = all(np.linalg.norm(p - place[:2]) > 0.5 for place in (scene.old, scene.new))
        if is_beside and _is_clear(scene.house, scene.room, p, 0.2):
            return np.append(p, scene.rng.uniform(0.6, 1.3))
    raise RuntimeError(f"house {scene.house.seed} has no free place near {target}")


def aimed(position: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The pose of a camera that looks at the target, a little off."""
    x, y, z = target - position
    yaw, pitch = np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))
    return camera_pose(position, yaw + rng.uniform(-0.15, 0.15), pitch + rng.uniform(-0.1, 0.1))


def frame(renderer: Renderer, pose: np.ndarray, stamp: float, rng: np.random.Generator) -> Observation:
    """What the noisy camera sees."""
    image = renderer.render(pose, CAMERA, rgb=False)
    depth = NOISE.apply(image.depth, rng)
    return Observation(stamp, pose, CAMERA, depth=depth, semantic=image.semantic, labels=tuple(LABELS))


def _middle(scene: MovedBox, place: np.ndarray) -> np.ndarray:
    middle: np.ndarray = place + np.array([0.0, 0.0, scene.size[2] / 2.0])
    return middle


def _is_clear(house: House, room: Room, p: np.ndarray, radius: float) -> bool:
    """Whether a disc on the floor of the room meets neither walls nor furniture."""
    inside = room.x0 + radius < p[0] < room.x1 - radius and room.y0 + radius < p[1] < room.y1 - radius
    rects = house.obstacles()
    gap = np.maximum(np.maximum(rects[:, :2] - p, p - rects[:, 2:]), 0.0)
    return bool(inside and (np.linalg.norm(gap, axis=1) > radius).all())
