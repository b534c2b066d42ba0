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
        dx = box[3 * (i & 1)] - camera.position[0]
        dy = box[1 + 3 * (i >> 1 & 1)] - camera.position[1]
        dz = box[2 + 3 * (i >> 2)] - camera.position[2]
        for k in range(3):
            R = camera.rotation
            corner[i, k] = R[0, k] * dx + R[1, k] * dy + R[2, k] * dz
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
def _rooms_of_camera(portals, camera, rectangles):
    """Open the whole image for the rooms that the camera stands in; False if it stands in none."""
    x, y, z = camera.position
    if not portals.z_range[0] <= z <= portals.z_range[1]:
        return False
    full = np.array([0.0, 0.0, camera.width - 1.0, camera.height - 1.0])
    found = False
    for r in range(portals.rooms.shape[0]):
        x0, y0, x1, y1 = portals.rooms[r]
        if x0 <= x <= x1 and y0 <= y <= y1:
            rectangles[r] = full
            found = True
    for d in range(portals.boxes.shape[0]):
        box = portals.boxes[d]
        if box[0] <= x <= box[3] and box[1] <= y <= box[4]:
            rectangles[portals.links[d, 0]] = full
            rectangles[portals.links[d, 1]] = full
            found = True
    return found


@njit(cache=True, error_model="numpy")
@no_type_check
def visible_rooms(portals, camera):
    """Pixel rectangle (r, 4) through which each room is seen, empty (u0 > u1) if it is not."""
    n_rooms, n_doors = portals.rooms.shape[0], portals.boxes.shape[0]
    rectangles = np.empty((n_rooms, 4))
    rectangles[:, :2], rectangles[:, 2:] = np.inf, -np.inf
    if not _rooms_of_camera(portals, camera, rectangles):
        rectangles[:, :2] = 0.0
        rectangles[:, 2], rectangles[:, 3] = camera.width - 1.0, camera.height - 1.0
        return rectangles
    openings = np.empty((n_doors, 4))
    for d in range(n_doors):
        openings[d] = _box_rectangle(portals.boxes[d], camera)
    changed = True
    while changed:  # rectangles only grow and have whole-pixel corners, so this ends
        changed = False
        for d in range(n_doors):
            for side in range(2):
                seen, beyond = rectangles[portals.links[d, side]], rectangles[portals.links[d, 1 - side]]
                u0, v0 = max(seen[0], openings[d, 0]), max(seen[1], openings[d, 1])
                u1, v1 = min(seen[2], openings[d, 2]), min(seen[3], openings[d, 3])
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
        d2 = 0.0
        for k in range(3):
            d = max(box[k] - camera.position[k], camera.position[k] - box[k + 3], 0.0)
            d2 += d * d
        found[n], distance[n] = p, d2
        n += 1
    return found[:n][np.argsort(distance[:n], kind="mergesort")]
