"""Rooms cut out of a floor plan: where free space narrows to the width of a door, a room ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import no_type_check

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, Int32
from numba import njit
from scipy import ndimage

from embmem.maps.grid import FREE, OccupancyGrid

_BESIDE = np.array([(-1, 0), (0, -1), (0, 1), (1, 0)], dtype=np.int64)


@dataclass(frozen=True)
class RoomRules:
    """What makes a room.

    Two parts of the free space are two rooms if the way between them is as narrow as a door: its clearance (half its
    width) is at most half of `door_width`, and at most `narrowing` times the largest clearance of the narrower part,
    so that a corridor that is no wider than a wide door stays one room.
    """

    door_width: float = 1.2  # [m] widest door
    narrowing: float = 0.78
    least_area: float = 1.5  # [m^2] what is smaller belongs to the neighbour with the widest way, or is no room
    clutter: float = 1.5  # [m^2] what stands free in the space and is smaller is furniture, not a wall

    def __post_init__(self) -> None:
        if not (self.door_width > 0 and 0 < self.narrowing <= 1 and self.least_area >= 0 and self.clutter >= 0):
            raise ValueError(f"need door_width > 0, narrowing in (0, 1] and areas >= 0, got {self}")


@dataclass(frozen=True, eq=False)
class Doors:
    """The passages between rooms, in the order of their rooms."""

    rooms: Int[np.ndarray, "n 2"] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))  # lower first
    position: Float[np.ndarray, "n 2"] = field(default_factory=lambda: np.zeros((0, 2)))  # [m] of the middle
    width: Float[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0))  # [m]

    def __len__(self) -> int:
        return len(self.rooms)


@dataclass(frozen=True, eq=False)
class RoomMap:
    """A room number for each cell of a floor plan."""

    origin: Float[np.ndarray, "2"]  # [m] corner of cell (0, 0)
    resolution: float  # [m]
    labels: Int32[np.ndarray, "h w"]  # -1 = no room
    doors: Doors = field(default_factory=Doors)

    def ids(self) -> Int[np.ndarray, " n"]:
        """The rooms there are, ascending."""
        return self._ids.copy()

    def at(self, points: Float[np.ndarray, "n c"]) -> Int[np.ndarray, " n"]:
        """The room that holds each point [m], x first; -1 where there is none."""
        cells = np.floor((points[:, 1::-1] - self.origin[::-1]) / self.resolution).astype(np.int64)
        is_in = np.all((cells >= 0) & (cells < self.labels.shape), axis=1)
        rooms = np.full(len(points), -1, dtype=np.int64)
        rooms[is_in] = self.labels[cells[is_in, 0], cells[is_in, 1]]
        return rooms

    @cached_property
    def _ids(self) -> Int[np.ndarray, " n"]:
        found = np.unique(self.labels).astype(np.int64)
        return found[found >= 0]

    @cached_property
    def _windows(self) -> dict[int, tuple[slice, slice]]:
        """The rows and columns that each room spans; numbers may be large, so they are counted through first."""
        ids = self.ids()
        ranks = np.where(self.labels >= 0, np.searchsorted(ids, self.labels) + 1, 0)
        return dict(zip(ids.tolist(), ndimage.find_objects(ranks), strict=True))

    def _cells(self, room: int) -> Int[np.ndarray, "n 2"]:
        """(row, column) of the cells of a room."""
        window = self._window(room)
        return np.argwhere(self.labels[window] == room) + np.array([window[0].start, window[1].start])

    def _window(self, room: int) -> tuple[slice, slice]:
        window = self._windows.get(room)
        if window is None:
            raise ValueError(f"there is no room {room}")
        return window

    def middle(self, room: int) -> Float[np.ndarray, "2"]:
        """[m] the cell of a room that is nearest to the mean of all its cells; the room lies around it."""
        cells = self._cells(room)
        centre = cells[np.argmin(((cells - cells.mean(axis=0)) ** 2).sum(axis=1))]
        return (centre[::-1] + 0.5) * self.resolution + self.origin

    def area(self, room: int) -> float:
        """[m^2] of free space."""
        return len(self._cells(room)) * self.resolution**2

    def bounds(self, room: int) -> Float[np.ndarray, "2 2"]:
        """[m] lowest and highest corner of a room."""
        rows, columns = self._window(room)
        corners = np.array([[columns.start, rows.start], [columns.stop, rows.stop]])
        return corners * self.resolution + self.origin


def segment_rooms(grid: OccupancyGrid, rules: RoomRules = RoomRules()) -> RoomMap:
    """The rooms of a floor plan, numbered from the lowest row and column on.

    A watershed of the clearance (the distance to the nearest wall) whose basins become one where they meet, unless
    they meet in a door. That is the distance transform method of Bormann et al. (Room segmentation: survey,
    implementation, and analysis, ICRA 2016) with a threshold of its own for each door. Give it a grid of walls
    (`walls.wall_grid`): in one of all that a robot can hit, furniture along the walls makes the rooms smaller.
    """
    free = without_clutter(grid.cells == FREE, grid.resolution, rules.clutter)
    height = _clearance(free) * grid.resolution
    labels = np.full(free.shape, -1, dtype=np.int64)
    cells = np.flatnonzero(free)
    order = cells[np.argsort(-height.ravel()[cells], kind="stable")]
    _flood(order, height, labels, rules.door_width / 2.0, rules.narrowing)
    labels = _without_small(labels, height, rules.least_area / grid.resolution**2)
    labels = _numbered(labels)
    return RoomMap(grid.origin, grid.resolution, labels, find_doors(labels, height, grid))


def without_clutter(
    free: Bool[np.ndarray, "h w"],
    resolution: float,
    most_area: float,
    *,
    speck: float = 0.03,
    thickest: float = 0.2,
    longest: float = 2.5,
) -> Bool[np.ndarray, "h w"]:
    """The free space with its islands of at most `most_area` [m^2] filled in, but for those that look like a wall.

    A piece of wall between doors is an island too, down to the post at a corner where three doors meet. So an island
    that is longer than `longest` [m] is a wall, and one that is on the whole no thicker than `thickest` [m], if it is
    no `speck` [m^2]. Furniture is thicker, as what a robot cannot see inside of a thing counts as part of the island.
    """
    islands, n = ndimage.label(np.pad(~free, 1, constant_values=True), structure=np.ones((3, 3)))
    area = np.bincount(islands.ravel()) * resolution**2
    length = np.array([0, *(max(s.stop - s.start for s in found) for found in ndimage.find_objects(islands))])
    is_thin = area <= thickest * resolution * _half_outline(islands, n)
    is_wall = (length * resolution > longest) | (is_thin & (area > speck))
    is_clutter = (area <= most_area) & ~is_wall
    is_clutter[[0, islands[0, 0]]] = False  # the free space itself, and what lies around all of it
    filled: Bool[np.ndarray, "h w"] = free | is_clutter[islands[1:-1, 1:-1]]
    return filled


def _half_outline(islands: Int32[np.ndarray, "h w"], n: int) -> Float[np.ndarray, " m"]:
    """Half the length [cells] of the outline of each island from 0 to n: of what is thin, its length."""
    neighbours = ((islands[1:], islands[:-1]), (islands[:, 1:], islands[:, :-1]))
    edges = [np.concatenate([a[a != b], b[a != b]]) for a, b in neighbours]
    return np.bincount(np.concatenate(edges), minlength=n + 1) / 2.0


def _clearance(free: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """[cells] from the centre of each free cell to the edge of the nearest other one."""
    if free.size == 0:
        return np.zeros(free.shape)
    distance = cv2.distanceTransform(np.pad(free, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.maximum(distance[1:-1, 1:-1].astype(np.float64) - 0.5, 0.0)


@no_type_check
@njit(cache=True)
def _root(parents, basin):
    while parents[basin] != basin:
        parents[basin] = parents[parents[basin]]
        basin = parents[basin]
    return basin


@no_type_check
@njit(cache=True)
def _flood(order, height, labels, door, narrowing):
    """Label the cells from the widest place down; `labels` (h, w) holds -1 and then a basin for each cell of `order`.

    When two basins meet, the cell is the widest place of the way between them, and their peaks are final: whatever
    comes later is lower. So the decision whether they are one room is made once and needs no second pass.
    """
    h, w = labels.shape
    parents, peaks = np.empty(len(order), np.int64), np.empty(len(order))
    n = 0
    for cell in order:
        row, column = cell // w, cell % w
        here, best, most = height[row, column], -1, -1.0
        for step in range(4):
            r, c = row + _BESIDE[step, 0], column + _BESIDE[step, 1]
            if r < 0 or c < 0 or r >= h or c >= w or labels[r, c] < 0:
                continue
            basin = _root(parents, labels[r, c])
            if best >= 0 and basin != best:
                low, high = (basin, best) if peaks[basin] < peaks[best] else (best, basin)
                if here > door or here > narrowing * peaks[low]:
                    parents[low] = high
                    basin = best = high
                    most = np.inf  # the two are connected by this cell only
            if height[r, c] > most:
                best, most = basin, height[r, c]
        if best < 0:
            best, parents[n], peaks[n] = n, n, here
            n += 1
        labels[row, column] = best
    for cell in order:
        labels[cell // w, cell % w] = _root(parents, labels[cell // w, cell % w])


def _borders(
    labels: Int[np.ndarray, "h w"], height: Float[np.ndarray, "h w"]
) -> tuple[Int[np.ndarray, "n 2"], Int[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
    """Neighbouring cells of different rooms: the rooms (lower first), the cell with more clearance, and how much."""
    pairs, cells, clearance = [], [], []
    index = np.moveaxis(np.indices(labels.shape), 0, -1)
    for a, b in (((slice(None), slice(-1)), (slice(None), slice(1, None))), ((slice(-1),), (slice(1, None),))):
        at = (labels[a] != labels[b]) & (labels[a] >= 0) & (labels[b] >= 0)
        pairs.append(np.sort(np.stack([labels[a][at], labels[b][at]], axis=-1), axis=1))
        is_first = height[a][at] >= height[b][at]
        cells.append(np.where(is_first[:, None], index[a][at], index[b][at]))
        clearance.append(np.minimum(height[a][at], height[b][at]))
    return np.concatenate(pairs).astype(np.int64), np.concatenate(cells), np.concatenate(clearance)


def _without_small(
    labels: Int[np.ndarray, "h w"], height: Float[np.ndarray, "h w"], least: float
) -> Int[np.ndarray, "h w"]:
    """The smallest room joins the neighbour with the widest way, until none is small or has a neighbour."""
    pairs, _, clearance = _borders(labels, height)
    areas = np.bincount(labels[labels >= 0], minlength=1).astype(np.float64)
    becomes = np.arange(len(areas))
    left = np.flatnonzero((areas > 0) & (areas < least)).tolist()
    while left:
        room = min(left, key=lambda i: (areas[i], i))
        left.remove(room)
        touches = (pairs == room).any(axis=1) & (pairs[:, 0] != pairs[:, 1])
        if not touches.any():
            continue
        others = pairs[touches].sum(axis=1) - room
        to = int(others[np.lexsort((others, -clearance[touches]))[0]])
        becomes[becomes == room] = to
        pairs[pairs == room] = to
        areas[to] += areas[room]
        areas[room] = 0.0
        left = [i for i in left if areas[i] < least]
    merged = np.where(labels >= 0, becomes[labels], -1)
    return np.where((merged >= 0) & (areas[merged] >= least), merged, -1)


def _numbered(labels: Int[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """The same rooms numbered in the order of their first cells."""
    names, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    first = np.where(names < 0, -1, first)  # what is no room comes first and becomes -1
    rank = np.empty(len(names), dtype=np.int32)
    rank[np.argsort(first)] = np.arange(len(names)) - int((names < 0).any())
    return rank[inverse].reshape(labels.shape)


def find_doors(labels: Int32[np.ndarray, "h w"], height: Float[np.ndarray, "h w"], grid: OccupancyGrid) -> Doors:
    """Where rooms touch: one door for each connected piece of the border of two rooms, at its widest place."""
    pairs, cells, clearance = _borders(labels, height)
    found: list[tuple[int, int, float, float, float]] = []
    for a, b in np.unique(pairs, axis=0).tolist():
        own = (pairs == (a, b)).all(axis=1)
        mask = np.zeros(labels.shape, dtype=np.bool_)
        mask[cells[own, 0], cells[own, 1]] = True
        pieces, n = ndimage.label(mask, structure=np.ones((3, 3)))
        piece = pieces[cells[own, 0], cells[own, 1]]
        for i in range(1, n + 1):
            members = np.flatnonzero(own)[piece == i]
            best = members[np.argmax(clearance[members])]
            x, y = grid.to_points(cells[best][None])[0].tolist()
            found.append((a, b, x, y, 2.0 * float(clearance[best])))
    table = np.array(found, dtype=np.float64).reshape(-1, 5)
    return Doors(table[:, :2].astype(np.int64), table[:, 2:4], table[:, 4])
