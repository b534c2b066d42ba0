"""The triangles of a house, grouped by part, with colour, pattern, semantic id and instance id per triangle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from embmem.sim_envs.house.categories import LABEL_IDS, OBJECTS
from embmem.sim_envs.house.furniture import FURNITURE, PLAIN, RGB
from embmem.sim_envs.house.house import Furniture, House, SmallObject
from embmem.sim_envs.house.shapes import box_mesh, unit_shape
from embmem.sim_envs.house.shell import door_faces, room_faces


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in the `map` frame, counter-clockwise seen from the side that can be seen.

    A part is a room's shell (facing inward), the opening of a door, a piece of furniture or an object (closed,
    facing outward); its triangles follow each other.
    """

    vertices: np.ndarray  # (v, 3) float32 [m]
    triangles: np.ndarray  # (t, 3) int32
    colour: np.ndarray  # (t, 3) uint8 albedo
    pattern: np.ndarray  # (t,) uint8: 0 plain, 1 checker, 2 wood, 3 tiles; drawn by map coordinates
    semantic: np.ndarray  # (t,) int32 index into LABELS
    instance: np.ndarray  # (t,) int32, 0 for walls, floors, ceilings and door frames
    part_start: np.ndarray  # (p + 1,) int32: triangles of part i are part_start[i]:part_start[i + 1]
    part_aabb: np.ndarray  # (p, 6) float32 x0 y0 z0 x1 y1 z1 [m]
    part_room: np.ndarray  # (p,) int32, -1 = seen from several rooms


@dataclass(frozen=True, eq=False)
class Part:
    """One part before it is joined to the others."""

    room: int
    vertices: Float[np.ndarray, "v 3"]
    triangles: Int[np.ndarray, "t 3"]
    colour: np.ndarray  # (t, 3)
    pattern: np.ndarray  # (t,)
    semantic: np.ndarray  # (t,)
    instance: int


def build_mesh(house: House) -> Mesh:
    """The mesh of everything in the house: shells of the rooms, doors, furniture, objects, in this order."""
    return join(
        [
            *(_shell(house, room_id) for room_id in range(len(house.rooms))),
            *(_door(house, i) for i in range(len(house.doors))),
            *(_furniture_part(f) for f in house.furniture),
            *(_object_part(o) for o in house.objects),
        ]
    )


def join(parts: list[Part]) -> Mesh:
    """All parts in one mesh."""
    n_vertices = np.cumsum([0, *(len(p.vertices) for p in parts)])
    n_triangles = [len(p.triangles) for p in parts]
    boxes = [np.concatenate([p.vertices.min(axis=0), p.vertices.max(axis=0)]) for p in parts]
    return Mesh(
        vertices=np.concatenate([p.vertices for p in parts]).astype(np.float32),
        triangles=np.concatenate([p.triangles + n for p, n in zip(parts, n_vertices, strict=False)]).astype(np.int32),
        colour=np.concatenate([p.colour for p in parts]).astype(np.uint8),
        pattern=np.concatenate([p.pattern for p in parts]).astype(np.uint8),
        semantic=np.concatenate([p.semantic for p in parts]).astype(np.int32),
        instance=np.repeat([p.instance for p in parts], n_triangles).astype(np.int32),
        part_start=np.cumsum([0, *n_triangles]).astype(np.int32),
        part_aabb=np.array(boxes, dtype=np.float32),
        part_room=np.array([p.room for p in parts], dtype=np.int32),
    )


def _shell(house: House, room_id: int) -> Part:
    faces = room_faces(house, house.rooms[room_id])
    return Part(room_id, faces.vertices, faces.triangles, faces.colour, faces.pattern, faces.semantic, instance=0)


def _door(house: House, index: int) -> Part:
    faces = door_faces(house.doors[index])
    return Part(-1, faces.vertices, faces.triangles, faces.colour, faces.pattern, faces.semantic, instance=0)


def _furniture_part(f: Furniture) -> Part:
    kind = FURNITURE[f.category]
    vertices, triangles = box_mesh(f.boxes)
    is_accent = np.repeat(np.arange(len(f.boxes)) >= kind.accent_from, 12)
    n = len(triangles)
    pattern = np.where(is_accent, PLAIN, kind.pattern)
    semantic = np.full(n, LABEL_IDS[f.category])
    colour = np.where(is_accent[:, None], kind.accent, kind.colour)
    return Part(f.room, vertices, triangles, colour, pattern, semantic, f.id)


def _object_part(obj: SmallObject) -> Part:
    kind = OBJECTS[obj.category]
    shape = unit_shape(kind.shape)
    local = shape.vertices * obj.size
    c, s = np.cos(obj.yaw), np.sin(obj.yaw)
    turned = np.stack([c * local[:, 0] - s * local[:, 1], s * local[:, 0] + c * local[:, 1], local[:, 2]], axis=1)
    n = len(shape.triangles)
    colour = np.where(shape.is_accent[:, None], _shade(kind.colour), kind.colour)
    semantic = np.full(n, LABEL_IDS[obj.category])
    return Part(obj.room, turned + obj.position, shape.triangles, colour, np.full(n, PLAIN), semantic, obj.id)


def _shade(colour: RGB) -> RGB:
    """A second colour that tells the parts of a thing apart: darker, or lighter where it is dark already."""
    red, green, blue = ((c * 3 // 5) if sum(colour) > 200 else (c + 70) for c in colour)
    return red, green, blue
