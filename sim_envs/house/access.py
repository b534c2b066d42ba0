"""Where a body can stand in a room and what it sees from there."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from embmem.sim_envs.house.house import Door, Room

CELL = 0.1  # [m]
CLEARANCE = 0.27  # [m] half the narrowest passage that furnishing leaves; the body's radius is 0.18
EYE_HEIGHT = 0.88  # [m]
_DOORSTEP = 0.35  # [m] from the wall to where a body stands when it has come in


def cell_centres(room: Room) -> tuple[Float[np.ndarray, " w"], Float[np.ndarray, " h"]]:
    """x and y [m] of the centres of the room's cells; rooms are whole cells wide."""
    nx, ny = round((room.x1 - room.x0) / CELL), round((room.y1 - room.y0) / CELL)
    return room.x0 + CELL * (np.arange(nx) + 0.5), room.y0 + CELL * (np.arange(ny) + 0.5)


def free_cells(room: Room, rects: Float[np.ndarray, "n 4"], radius: float = CLEARANCE) -> Bool[np.ndarray, "h w"]:
    """Cells of which a square body of half-width `radius` touches neither a wall nor a rectangle.

    Two neighbouring free cells are connected for such a body: no grown rectangle is thinner than a cell.
    """
    x, y = cell_centres(room)
    blocked = ((x < room.x0 + radius) | (x > room.x1 - radius))[None, :] | (
        (y < room.y0 + radius) | (y > room.y1 - radius)
    )[:, None]
    first_x = np.searchsorted(x, rects[:, 0] - radius, side="right")
    last_x = np.searchsorted(x, rects[:, 2] + radius, side="left")
    first_y = np.searchsorted(y, rects[:, 1] - radius, side="right")
    last_y = np.searchsorted(y, rects[:, 3] + radius, side="left")
    for i in range(len(rects)):
        blocked[first_y[i] : last_y[i], first_x[i] : last_x[i]] = True
    return ~blocked


def doorsteps(room: Room, doors: list[Door]) -> Float[np.ndarray, "n 2"]:
    """The point [m] just inside the room in front of each of its doors."""
    points = []
    for door in doors:
        x, y = (door.x0 + door.x1) / 2, (door.y0 + door.y1) / 2
        x = room.x0 + _DOORSTEP if x < room.x0 else room.x1 - _DOORSTEP if x > room.x1 else x
        y = room.y0 + _DOORSTEP if y < room.y0 else room.y1 - _DOORSTEP if y > room.y1 else y
        points.append((x, y))
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def reachable_cells(
    room: Room, rects: Float[np.ndarray, "n 4"], doors: list[Door], radius: float = CLEARANCE
) -> Bool[np.ndarray, "h w"] | None:
    """The cells that can be reached from the doors; None unless all doors lead to the same ones."""
    labels, _ = ndimage.label(free_cells(room, rects, radius))
    steps = doorsteps(room, doors)
    columns = np.clip(((steps[:, 0] - room.x0) / CELL).astype(int), 0, labels.shape[1] - 1)
    rows = np.clip(((steps[:, 1] - room.y0) / CELL).astype(int), 0, labels.shape[0] - 1)
    entered = labels[rows, columns]
    if entered.size == 0 or entered[0] == 0 or (entered != entered[0]).any():
        return None
    return labels == entered[0]


def distance_to_box(points: Float[np.ndarray, "n 2"], aabb: Float[np.ndarray, "6"]) -> Float[np.ndarray, " n"]:
    """Horizontal distance [m] from points to a box, 0 over it."""
    outside = np.maximum(np.maximum(aabb[[0, 1]] - points, points - aabb[[3, 4]]), 0.0)
    return np.hypot(outside[:, 0], outside[:, 1])


def sees(
    eyes: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "3"], boxes: Float[np.ndarray, "m 6"]
) -> Bool[np.ndarray, " n"]:
    """Whether the straight line from each eye to the target passes through no box (slab test)."""
    ray = target - eyes
    ray = np.where(np.abs(ray) < 1e-9, 1e-9, ray)[:, None, :]
    near = (boxes[None, :, :3] + 1e-6 - eyes[:, None, :]) / ray
    far = (boxes[None, :, 3:] - 1e-6 - eyes[:, None, :]) / ray
    enter = np.minimum(near, far).max(axis=2)
    leave = np.maximum(near, far).min(axis=2)
    hidden = (enter < leave) & (leave > 0.0) & (enter < 1.0)
    return ~hidden.any(axis=1)
