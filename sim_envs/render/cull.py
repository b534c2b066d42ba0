"""Which parts of a scene can be seen: frustum, rooms and doors. All tests are conservative.

Rooms are convex cells and doors the only openings between them, so what is seen of a neighbouring room lies inside
the door's rectangle on the image (Luebke and Georges, Portals and mirrors, I3D 1995).

`@no_type_check` keeps the test suite's run-time type checker away from functions that numba compiles.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from embmem.sim_envs.render.scene import NEAR


@njit(cache=True, error_model="numpy")
@no_type_check
def _box_rectangle(box, camera):
    """Conservative pixel rectangle (u0, v0, u1, v1) of a box in front of the near plane; empty if u0 > u1."""
    corner = np.empty((8, 3))
    for i in range(8):
        dx = box[3 * (i & 1)] - camera.x
        dy = box[1 + 3 * (i >> 1 & 1)] - camera.y
        dz = box[2 + 3 * (i >> 2)] - camera.z
        corner[i, 0] = camera.right[0] * dx + camera.right[1] * dy + camera.right[2] * dz
        corner[i, 1] = camera.down[0] * dx + camera.down[1] * dy + camera.down[2] * dz
        corner[i, 2] = camera.forward[0] * dx + camera.forward[1] * dy + camera.forward[2] * dz
    u0, v0, u1, v1 = np.inf, np.inf, -np.inf, -np.inf
    for i in range(8):
        for bit in range(4):  # bit 3: the corner itself; bits 0-2: where the edge to a neighbour pierces the near plane
            x, y, z = corner[i, 0], corner[i, 1], corner[i, 2]
            if bit < 3:
                j = i ^ (1 << bit)
                if z < NEAR or corner[j, 2] >= NEAR:
                    continue
                s = (NEAR - z) / (corner[j, 2] - z)
                x, y, z = x + s * (corner[j, 0] - x), y + s * (corner[j, 1] - y), NEAR
            elif z < NEAR:
                continue
            u, v = x / z * camera.fx + camera.cx, y / z * camera.fy + camera.cy
            u0, v0, u1, v1 = min(u0, u), min(v0, v), max(u1, u), max(v1, v)
    # One pixel of margin on each side absorbs rounding.
    return (
        max(np.floor(u0) - 1.0, 0.0),
        max(np.floor(v0) - 1.0, 0.0),
        min(np.ceil(u1) + 1.0, camera.width - 1.0),
        min(np.ceil(v1) + 1.0, camera.height - 1.0),
    )


@njit(cache=True, error_model="numpy")
@no_type_check
def _open(rectangles, room, camera):
    rectangles[room, 0], rectangles[room, 1] = 0.0, 0.0
    rectangles[room, 2], rectangles[room, 3] = camera.width - 1.0, camera.height - 1.0


@njit(cache=True, error_model="numpy")
@no_type_check
def _rooms_of_camera(portals, camera, rectangles):
    """Open the whole image for the rooms that the camera stands in; False if it stands in none."""
    x, y, z = camera.x, camera.y, camera.z
    if not portals.z_range[0] <= z <= portals.z_range[1]:
        return False
    found = False
    for r in range(portals.rooms.shape[0]):
        x0, y0, x1, y1 = portals.rooms[r]
        if x0 <= x <= x1 and y0 <= y <= y1:
            _open(rectangles, r, camera)
            found = True
    for d in range(portals.boxes.shape[0]):
        box = portals.boxes[d]
        if box[0] <= x <= box[3] and box[1] <= y <= box[4]:
            _open(rectangles, portals.links[d, 0], camera)
            _open(rectangles, portals.links[d, 1], camera)
            found = True
    return found


@njit(cache=True, error_model="numpy")
@no_type_check
def visible_rooms(portals, camera):
    """Pixel rectangle (r, 4) through which each room is seen, empty (u0 > u1) if it is not."""
    n_rooms, n_doors = portals.rooms.shape[0], portals.boxes.shape[0]
    rectangles = np.empty((n_rooms, 4))
    for r in range(n_rooms):
        rectangles[r, 0], rectangles[r, 1], rectangles[r, 2], rectangles[r, 3] = np.inf, np.inf, -np.inf, -np.inf
    if not _rooms_of_camera(portals, camera, rectangles):
        for r in range(n_rooms):
            _open(rectangles, r, camera)
        return rectangles
    openings = [_box_rectangle(portals.boxes[d], camera) for d in range(n_doors)]
    changed = True
    while changed:  # rectangles only grow and have whole-pixel corners, so this ends
        changed = False
        for d in range(n_doors):
            for side in range(2):
                seen, beyond = rectangles[portals.links[d, side]], rectangles[portals.links[d, 1 - side]]
                u0, v0 = max(seen[0], openings[d][0]), max(seen[1], openings[d][1])
                u1, v1 = min(seen[2], openings[d][2]), min(seen[3], openings[d][3])
                inside = u0 >= beyond[0] and v0 >= beyond[1] and u1 <= beyond[2] and v1 <= beyond[3]
                if u0 > u1 or v0 > v1 or inside:
                    continue
                beyond[0], beyond[1] = min(beyond[0], u0), min(beyond[1], v0)
                beyond[2], beyond[3] = max(beyond[2], u1), max(beyond[3], v1)
                changed = True
    return rectangles


@njit(cache=True, error_model="numpy")
@no_type_check
def visible_parts(scene, portals, camera):
    """Ids of the parts that may be visible, nearest first."""
    rectangles = visible_rooms(portals, camera)
    n_rooms = portals.rooms.shape[0]
    found = np.empty(scene.part_aabb.shape[0], np.int64)
    distance = np.empty(scene.part_aabb.shape[0])
    n = 0
    for p in range(scene.part_aabb.shape[0]):
        room = scene.part_room[p]
        has_room = 0 <= room < n_rooms
        if has_room and rectangles[room, 0] > rectangles[room, 2]:
            continue
        box = scene.part_aabb[p]
        u0, v0, u1, v1 = _box_rectangle(box, camera)
        if has_room:
            u0, v0 = max(u0, rectangles[room, 0]), max(v0, rectangles[room, 1])
            u1, v1 = min(u1, rectangles[room, 2]), min(v1, rectangles[room, 3])
        if u0 > u1 or v0 > v1:
            continue
        dx = max(box[0] - camera.x, camera.x - box[3], 0.0)
        dy = max(box[1] - camera.y, camera.y - box[4], 0.0)
        dz = max(box[2] - camera.z, camera.z - box[5], 0.0)
        key = dx * dx + dy * dy + dz * dz
        i = n  # insertion keeps the order of equal distances, and a few hundred parts are few
        while i > 0 and distance[i - 1] > key:
            found[i], distance[i] = found[i - 1], distance[i - 1]
            i -= 1
        found[i], distance[i] = p, key
        n += 1
    return found[:n]
