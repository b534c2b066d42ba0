"""Depth, semantic, instance and colour images of a triangle scene, on one CPU core and bit for bit repeatable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from embmem.observation import Intrinsics
from embmem.sim_envs.house.mesh import Mesh
from embmem.sim_envs.render import cull, raster, resolve
from embmem.sim_envs.render.patterns import FEATURE, PATTERNS, textures
from embmem.sim_envs.render.scene import Scene, lit_colours, make_camera, make_portals, planes_of

_NO_ROOMS = np.empty((0, 4))
_NO_DOORS = np.empty((0, 6))


@dataclass(frozen=True, eq=False)
class Frame:
    """What a perfect camera sees."""

    depth: Float32[np.ndarray, "h w"]  # planar z [m], NaN where nothing was hit
    semantic: Int32[np.ndarray, "h w"]
    instance: Int32[np.ndarray, "h w"]
    rgb: UInt8[np.ndarray, "h w 3"] | None


class Renderer:
    """Draws one scene from any pose.

    Rooms and doors, where given, must tell the truth: what belongs to a room (`part_room`) is seen from other rooms
    through doors only. From outside every room (or above them) nothing is culled by room.
    An instance keeps scratch images, so it must not be shared between threads.

    Args:
        mesh: what to draw.
        rooms: floor rectangles `x0 y0 x1 y1` [m]; none = no culling by room.
        doors: openings on the floor and the two rooms they join, `x0 y0 x1 y1 room_a room_b`.

    Raises:
        ValueError: if a pattern is unknown, a door names a missing room or the parts do not cover the triangles.
    """

    def __init__(
        self,
        mesh: Mesh,
        rooms: Float[np.ndarray, "r 4"] = _NO_ROOMS,
        doors: Float[np.ndarray, "d 6"] = _NO_DOORS,
    ) -> None:
        self._scene = _make_scene(mesh)
        self._portals = make_portals(rooms, doors, self._scene.part_aabb)
        self._textures = textures().reshape(len(PATTERNS), -1)
        self._inverse = np.empty((0, 0), dtype=np.float32)
        self._ids = np.empty((0, 0), dtype=np.int32)

    def render(self, T_map_camera: Float[np.ndarray, "4 4"], intrinsics: Intrinsics, *, rgb: bool = True) -> Frame:
        """The images of a camera at `T_map_camera` (optical frame); surfaces nearer than 1 mm are not drawn.

        Args:
            rgb: False leaves `Frame.rgb` None and saves about half of the time.
        """
        camera = make_camera(T_map_camera, intrinsics)
        shape = (intrinsics.height, intrinsics.width)
        if self._ids.shape != shape:
            self._inverse, self._ids = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.int32)
        parts = cull.visible_parts(self._scene, self._portals, camera)
        raster.rasterise(self._scene, parts, camera, self._inverse, self._ids)
        depth = np.empty(shape, dtype=np.float32)
        semantic, instance = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.int32)
        resolve.resolve_geometry(self._scene, self._inverse, self._ids, depth, semantic, instance)
        image = None
        if rgb:
            image = np.empty((*shape, 3), dtype=np.uint8)
            resolve.resolve_colour(
                self._scene, camera, self._textures, FEATURE, depth, self._ids, image.reshape(shape[0], -1)
            )
        return Frame(depth, semantic, instance, image)


def _make_scene(mesh: Mesh) -> Scene:
    """The kernels' arrays of a mesh."""
    n = len(mesh.triangles)
    start = np.ascontiguousarray(mesh.part_start, dtype=np.int32)
    if len(start) == 0 or start[0] != 0 or start[-1] != n or np.any(np.diff(start) < 0):
        raise ValueError(f"part_start must ascend from 0 to the {n} triangles, got {start}")
    if n and int(np.max(mesh.pattern)) >= len(PATTERNS):
        raise ValueError(f"pattern {int(np.max(mesh.pattern))} is unknown, there are {len(PATTERNS)}")
    corners = np.ascontiguousarray(mesh.vertices[mesh.triangles], dtype=np.float64).reshape(n, 3, 3)
    planes = planes_of(corners)
    return Scene(
        corners,
        planes,
        np.ascontiguousarray(mesh.semantic, dtype=np.int32),
        np.ascontiguousarray(mesh.instance, dtype=np.int32),
        lit_colours(mesh.colour, planes[:, :3]),
        np.ascontiguousarray(mesh.pattern, dtype=np.uint8),
        start,
        np.ascontiguousarray(mesh.part_aabb, dtype=np.float64).reshape(-1, 6),
        np.ascontiguousarray(mesh.part_room, dtype=np.int32),
    )
