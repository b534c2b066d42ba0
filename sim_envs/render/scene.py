"""The arrays that the kernels read: triangles with everything that does not depend on the camera."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from embmem.observation import Intrinsics

NEAR = 1e-3  # [m] nothing nearer is drawn
# Two bounces of a bright room instead of a sun: every one of the six box directions gets its own brightness,
# so that edges between faces of one colour stay readable.
_LIGHTS = np.array([[0.35, 0.25, 0.9], [-0.8, 0.45, 0.4], [0.5, -0.85, 0.15]])
_LIGHT_WEIGHTS = np.array([0.30, 0.20, 0.12])
_AMBIENT = 0.68


class Scene(NamedTuple):
    """Triangles grouped by part; `corners` are CCW seen from the visible side (map frame, metres)."""

    corners: np.ndarray  # (t, 3, 3) float64
    planes: np.ndarray  # (t, 4) float64, unit normal n and offset o: visible where n.x + o > 0
    semantic: np.ndarray  # (t,) int32
    instance: np.ndarray  # (t,) int32
    lit: np.ndarray  # (t, 3) float32, colour times light, 0-255
    pattern: np.ndarray  # (t,) uint8, row of the texture table
    part_start: np.ndarray  # (p + 1,) int32
    part_aabb: np.ndarray  # (p, 6) float64, x0 y0 z0 x1 y1 z1
    part_room: np.ndarray  # (p,) int32, -1 = belongs to no single room


class Portals(NamedTuple):
    """Convex cells and the openings between them; empty arrays switch room culling off."""

    rooms: np.ndarray  # (r, 4) float64, x0 y0 x1 y1
    boxes: np.ndarray  # (d, 6) float64, x0 y0 z0 x1 y1 z1
    links: np.ndarray  # (d, 2) int32, the rooms on both sides
    z_range: np.ndarray  # (2,) float64, from floor to ceiling


class Camera(NamedTuple):
    """A pinhole camera in the map frame. Scalars only: numba counts references of every array it hands around."""

    x: float  # position [m]
    y: float
    z: float
    right: tuple[float, float, float]  # the camera's axes in the map frame, columns of T_map_camera
    down: tuple[float, float, float]
    forward: tuple[float, float, float]
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float


def make_camera(T_map_camera: Float[np.ndarray, "4 4"], intrinsics: Intrinsics) -> Camera:
    """The kernels' form of a pose and its intrinsics."""
    T = [[float(value) for value in row] for row in T_map_camera]
    return Camera(
        x=T[0][3],
        y=T[1][3],
        z=T[2][3],
        right=(T[0][0], T[1][0], T[2][0]),
        down=(T[0][1], T[1][1], T[2][1]),
        forward=(T[0][2], T[1][2], T[2][2]),
        width=intrinsics.width,
        height=intrinsics.height,
        fx=float(intrinsics.fx),
        fy=float(intrinsics.fy),
        cx=float(intrinsics.cx),
        cy=float(intrinsics.cy),
    )


def make_portals(
    rooms: Float[np.ndarray, "r 4"], doors: Float[np.ndarray, "d 6"], part_aabb: Float[np.ndarray, "p 6"]
) -> Portals:
    """Portals from floor rectangles and door openings `x0 y0 x1 y1 room_a room_b`.

    A door is taken to be open from the lowest to the highest point of the scene: culling stays conservative
    whatever the height of the lintel.
    """
    z = (part_aabb[:, 2].min(), part_aabb[:, 5].max()) if len(part_aabb) else (0.0, 0.0)
    d = np.asarray(doors, dtype=np.float64).reshape(-1, 6)
    low, high = np.full(len(d), z[0]), np.full(len(d), z[1])
    boxes = np.stack([d[:, 0], d[:, 1], low, d[:, 2], d[:, 3], high], axis=1)
    links = d[:, 4:].astype(np.int32)
    if links.size and (links.min() < 0 or links.max() >= len(rooms)):
        raise ValueError(f"doors name rooms {links.min()}..{links.max()}, but there are {len(rooms)} rooms")
    return Portals(np.ascontiguousarray(rooms, dtype=np.float64), boxes, links, np.array(z, dtype=np.float64))


def planes_of(corners: Float[np.ndarray, "t 3 3"]) -> Float[np.ndarray, "t 4"]:
    """Unit normal and offset of each triangle; zeros where it has no area, so that it is never visible."""
    n = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(n, axis=1, keepdims=True)
    n = np.divide(n, length, out=np.zeros_like(n), where=length > 0)
    return np.concatenate([n, -np.sum(n * corners[:, 0], axis=1, keepdims=True)], axis=1)


def light(normals: Float[np.ndarray, "t 3"]) -> Float[np.ndarray, " t"]:
    """Brightness of a face, about 0.5 to 1: half-Lambert terms of three fixed directions over an ambient term.

    Half-Lambert (Mitchell, McTaggart and Green, Shading in Valve's Source Engine, 2006) keeps faces that are
    turned away from a light apart from each other.
    """
    directions = _LIGHTS / np.linalg.norm(_LIGHTS, axis=1, keepdims=True)
    return _AMBIENT + np.square(0.5 + 0.5 * normals @ directions.T) @ _LIGHT_WEIGHTS


def lit_colours(colour: Integer[np.ndarray, "t 3"], normals: Float[np.ndarray, "t 3"]) -> np.ndarray:
    """(t, 3) float32 colours under the fixed lights, 0-255."""
    return np.ascontiguousarray(colour * light(normals)[:, None], dtype=np.float32)
