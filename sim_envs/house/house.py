"""What a house is made of: rooms, doors, walls, furniture and small objects, all in the `map` frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

WALL_THICKNESS = 0.1  # [m] between rooms; the outer wall is twice as thick
DOOR_HEIGHT = 2.0  # [m]
BODY_HEIGHT = 1.0  # [m] what hangs higher than this does not block the floor


@dataclass(frozen=True)
class Room:
    """The rectangle of floor between the walls of one room [m]."""

    id: int
    kind: str
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area(self) -> float:
        """Floor area [m^2]."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def contains(self, x: float, y: float) -> bool:
        """Whether the point [m] lies on this floor."""
        return self.x0 <= x <= self.x1 and self.y0 <= y <= self.y1


@dataclass(frozen=True)
class Door:
    """An opening through the wall between two rooms: its rectangle on the floor [m], `DOOR_HEIGHT` high."""

    room_a: int
    room_b: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, eq=False)
class Furniture:
    """A piece of furniture built of axis-aligned boxes."""

    id: int  # instance id, unique in the house, >= 1
    category: str
    room: int
    x0: float
    y0: float
    x1: float
    y1: float
    boxes: np.ndarray  # (n, 6) x0 y0 z0 x1 y1 z1 [m]
    surfaces: np.ndarray  # (m, 5) x0 y0 x1 y1 z [m], where things can lie
    facing: int = 1  # direction of its front: 0 +x, 1 +y, 2 -x, 3 -y

    @property
    def blocks_floor(self) -> bool:
        """Whether a body of 1 m height bumps into it."""
        return bool(self.boxes[:, 2].min() < BODY_HEIGHT)


@dataclass(frozen=True, eq=False)
class SmallObject:
    """A thing that lies on a surface of a piece of furniture."""

    id: int  # instance id, unique in the house, >= 1
    category: str
    room: int
    furniture: int  # id of the furniture that carries it
    position: np.ndarray  # (3,) centre of its bottom [m]
    yaw: float  # [rad]
    size: np.ndarray  # (3,) width, depth, height [m] before the turn by `yaw`


@dataclass(frozen=True, eq=False)
class House:
    """A furnished single-level home. `id`s of rooms, furniture and objects never change over nights."""

    seed: int
    rooms: tuple[Room, ...]
    doors: tuple[Door, ...]
    furniture: tuple[Furniture, ...]
    objects: tuple[SmallObject, ...]
    walls: np.ndarray  # (n, 6) boxes [m], lintels over the doors included
    height: float = 2.5  # [m] of the ceiling

    def obstacles(self) -> Float[np.ndarray, "n 4"]:
        """Rectangles x0 y0 x1 y1 [m] that block a body of 1 m height: walls and furniture standing on the floor."""
        walls = self.walls[self.walls[:, 2] < BODY_HEIGHT][:, [0, 1, 3, 4]]
        pieces = [(f.x0, f.y0, f.x1, f.y1) for f in self.furniture if f.blocks_floor]
        return np.concatenate([walls, np.array(pieces, dtype=np.float64).reshape(-1, 4)])

    def bounds(self) -> tuple[float, float, float, float]:
        """x0 y0 x1 y1 [m] around the outer walls."""
        low, high = self.walls[:, :2].min(axis=0), self.walls[:, 3:5].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def objects_of(self, category: str) -> list[SmallObject]:
        """All objects of a category, in the order of their ids."""
        return [o for o in self.objects if o.category == category]

    def object_aabb(self, obj: SmallObject) -> Float[np.ndarray, "6"]:
        """The axis-aligned box x0 y0 z0 x1 y1 z1 [m] around a (turned) object."""
        return object_aabb(obj.position, obj.yaw, obj.size)

    def room_at(self, x: float, y: float) -> Room | None:
        """The room whose floor holds the point [m]; None in walls, doors and outside."""
        return next((room for room in self.rooms if room.contains(x, y)), None)

    def solid_boxes(self) -> Float[np.ndarray, "n 6"]:
        """Everything that hides what is behind it, small objects excepted: walls and parts of furniture [m]."""
        return np.concatenate([self.walls, *(f.boxes for f in self.furniture)])

    def with_objects(self, objects: tuple[SmallObject, ...]) -> House:
        """The same house with its small objects lying elsewhere."""
        return replace(self, objects=objects)


def object_aabb(position: Float[np.ndarray, "3"], yaw: float, size: Float[np.ndarray, "3"]) -> Float[np.ndarray, "6"]:
    """The axis-aligned box x0 y0 z0 x1 y1 z1 [m] around a box of `size` standing on `position`, turned by `yaw`."""
    c, s = abs(np.cos(yaw)), abs(np.sin(yaw))
    half = np.array([c * size[0] + s * size[1], s * size[0] + c * size[1]]) / 2.0
    x, y, z = position
    return np.array([x - half[0], y - half[1], z, x + half[0], y + half[1], z + size[2]])
