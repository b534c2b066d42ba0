"""Floor plans of generated houses as occupancy grids, and how well rooms found in them fit the true ones."""

from __future__ import annotations

import numpy as np

from embmem.maps.grid import FREE, OCCUPIED, UNSEEN, OccupancyGrid
from embmem.maps.scene_graph.rooms import RoomMap
from embmem.sim_envs.house import House


def house_grid(house: House, resolution: float = 0.05, band: tuple[float, float] = (1.45, 1.85)) -> OccupancyGrid:
    """What stands between two heights [m] of a house, sampled at the centres of the cells; unseen outside."""
    x0, y0, x1, y1 = house.bounds()
    origin = np.array([x0 - 0.5, y0 - 0.5])
    w, h = int((x1 - x0 + 1.0) / resolution), int((y1 - y0 + 1.0) / resolution)
    cells = np.full((h, w), UNSEEN, dtype=np.int8)
    grid = OccupancyGrid(origin, resolution, cells)
    floors = [(r.x0, r.y0, r.x1, r.y1) for r in house.rooms] + [(d.x0, d.y0, d.x1, d.y1) for d in house.doors]
    for floor in floors:
        cells[_inside(grid, *floor)] = FREE
    for box in house.solid_boxes():
        if box[2] < band[1] and box[5] > band[0]:
            cells[_inside(grid, box[0], box[1], box[3], box[4])] = OCCUPIED
    return grid


def _inside(grid: OccupancyGrid, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    h, w = grid.cells.shape
    points = grid.to_points(np.indices((h, w)).reshape(2, -1).T)
    inside: np.ndarray = ((points > (x0, y0)) & (points < (x1, y1))).all(axis=1).reshape(h, w)
    return inside


def true_rooms(house: House, like: RoomMap) -> np.ndarray:
    """(h, w) the id of the true room at each cell, -1 where there is none."""
    truth = np.full(like.labels.shape, -1)
    grid = OccupancyGrid(like.origin, like.resolution, np.zeros(truth.shape, dtype=np.int8))
    for room in house.rooms:
        truth[_inside(grid, room.x0, room.y0, room.x1, room.y1)] = room.id
    return truth


def room_ious(truth: np.ndarray, labels: np.ndarray) -> dict[int, float]:
    """Of each true room, the intersection over union with the room found that fits it best."""
    best = {}
    for room in np.unique(truth[truth >= 0]).tolist():
        own = truth == room
        found = [label for label in np.unique(labels[own]).tolist() if label >= 0]
        best[room] = max((float((own & (labels == i)).sum() / (own | (labels == i)).sum()) for i in found), default=0.0)
    return best
