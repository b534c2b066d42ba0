"""Where things stand, and which of these places were looked at from near enough to see what lies there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit

from embmem.observation import Observation

STRUCTURE = ("unlabelled", "wall", "floor", "ceiling", "door frame")
_STRIDE = 4  # every fourth pixel of every fourth row is enough for cells of 10 cm
_EDGE = 0.15  # relative difference of depth beyond which two pixels do not show one surface
_FLAT = 0.7  # vertical part of the normal of a surface that things lie on
_GRAZING = 0.4  # cosine of the steepest angle to the normal of a front that can be looked into
_GROWTH = 4.0  # [m] added at a side where the grid gets too small


class Coverage:
    """A top-down grid of the places that can hold things, with the stamp of the last close look at each.

    A place is a cell above which something was seen that is not part of the building; a close look is one from less
    than `near` metres and not along its front. What is seen from farther away is known to exist, but small things on
    it may have been missed.
    """

    def __init__(
        self,
        *,
        near: float = 2.5,  # [m] up to which a small object fills enough pixels for a detector
        resolution: float = 0.1,  # [m]
        z_min: float = 0.2,  # [m]
        z_max: float = 1.8,  # [m]
        max_range: float = 8.0,  # [m]
        min_hits: int = 3,  # sightings (sampled pixels) that make a place
        structure: Sequence[str] = STRUCTURE,
    ) -> None:
        if not (near > 0 and resolution > 0 and z_min < z_max):
            raise ValueError(f"need near, resolution > 0 and z_min < z_max, got {near}, {resolution}, {z_min}, {z_max}")
        self.near, self.resolution = near, resolution
        self._z_min, self._z_max, self._min_hits = z_min, z_max, min_hits
        self._max_range = max_range
        self._structure = frozenset(structure)
        self._labels: tuple[str, ...] | None = None
        self._is_thing = np.zeros(0, dtype=bool)
        self.origin = np.zeros(2)
        self._hits = np.zeros((0, 0), dtype=np.int32)
        self._looked = np.zeros((0, 0))

    def observe(self, observation: Observation) -> None:
        """Take in what a frame shows; without depth nothing happens."""
        depth = observation.depth
        if depth is None:
            return
        semantic, is_thing = observation.semantic, self._things(observation)
        if semantic is None:
            semantic, is_thing = np.zeros(depth.shape, dtype=np.int32), np.ones(1, dtype=np.bool_)
        k, T = observation.intrinsics, np.ascontiguousarray(observation.T_map_camera, dtype=np.float64)
        self._make_room(T[:2, 3] - self._max_range, T[:2, 3] + self._max_range)
        focal = (float(k.fx), float(k.fy), float(k.cx), float(k.cy))
        limits = (self._z_min, self._z_max, self.near, self._max_range)
        grids = (self._hits, self._looked, float(observation.stamp))
        _mark(depth, semantic, is_thing, focal, T, limits, self.origin, self.resolution, grids)

    def pending(self, since: float) -> tuple[Bool[np.ndarray, "h w"], Float[np.ndarray, "2"]]:
        """(mask, origin) of the places without a close look since the stamp; cells are `resolution` wide."""
        return (self._hits >= self._min_hits) & (self._looked < since), self.origin

    def mark(self, points: Float[np.ndarray, "n 2"], stamp: float) -> None:
        """Count the places under the points [m] as looked at: nothing more can be seen there."""
        cells = np.floor((points - self.origin) / self.resolution).astype(np.int64)[:, ::-1]
        cells = cells[((cells >= 0) & (cells < self._hits.shape)).all(axis=1)]
        self._looked[cells[:, 0], cells[:, 1]] = stamp

    def centres(self, cells: Int[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """(x, y) [m] of the centres of cells (row, col)."""
        return self.origin + (cells[:, ::-1] + 0.5) * self.resolution

    def _things(self, observation: Observation) -> Bool[np.ndarray, " k"]:
        """For each label whether it is a thing, not the building; kept, as labels rarely change."""
        if self._labels != observation.labels:
            self._labels = observation.labels
            self._is_thing = np.array([name not in self._structure for name in observation.labels] or [False])
        return self._is_thing

    def _make_room(self, low: np.ndarray, high: np.ndarray) -> None:
        """Grow the grid so that it holds the box from `low` to `high` [m]."""
        step = self.resolution
        if self._hits.size == 0:
            self.origin = np.floor(low / step) * step
        end = self.origin + np.array(self._hits.shape)[::-1] * step
        before = np.where(low < self.origin, np.ceil((self.origin - low + _GROWTH) / step), 0).astype(int)
        after = np.where(high >= end, np.ceil((high - end + _GROWTH) / step), 0).astype(int)
        if before.any() or after.any():
            pad = ((before[1], after[1]), (before[0], after[0]))
            self._hits = np.pad(self._hits, pad)
            self._looked = np.pad(self._looked, pad, constant_values=-np.inf)
            self.origin = self.origin - before * step


@no_type_check
@njit(cache=True)
def _faces(depth, row, column, focal, T):
    """Whether the surface under a pixel lies flat or is not seen at a grazing angle.

    What stands in a shelf can not be seen along its front. The surface is taken through the pixel and its
    neighbours `_STRIDE` to the right and below; where these are missing there is an edge, which hides nothing.
    """
    if row + _STRIDE >= depth.shape[0] or column + _STRIDE >= depth.shape[1]:
        return True
    fx, fy, cx, cy = focal
    d, dr, db = depth[row, column], depth[row, column + _STRIDE], depth[row + _STRIDE, column]
    if not (abs(dr - d) < _EDGE * d and abs(db - d) < _EDGE * d):
        return True
    u, v = (column - cx) / fx, (row - cy) / fy
    ax, ay, az = dr * (u + _STRIDE / fx) - d * u, (dr - d) * v, dr - d
    bx, by, bz = (db - d) * u, db * (v + _STRIDE / fy) - d * v, db - d
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    length = math.sqrt(nx * nx + ny * ny + nz * nz)
    if abs(T[2, 0] * nx + T[2, 1] * ny + T[2, 2] * nz) > _FLAT * length:
        return True
    return abs(u * nx + v * ny + nz) > _GRAZING * length * math.sqrt(1.0 + u * u + v * v)


@no_type_check
@njit(cache=True)
def _mark(depth, semantic, is_thing, focal, T, limits, origin, resolution, grids):
    """Count the sampled pixels that show things into the hits, and stamp the cells that were near.

    Args:
        depth: (h, w) planar z [m], NaN where invalid.
        semantic: (h, w) index into `is_thing`.
        focal: (fx, fy, cx, cy) [px].
        T: (4, 4) camera to map.
        limits: (z_min, z_max, near, max_range) [m].
        origin, resolution: of the grids [m].
        grids: (hits, looked, stamp), the first two written.
    """
    fx, fy, cx, cy = focal
    z_min, z_max, near, max_range = limits
    hits, looked, stamp = grids
    for row in range(_STRIDE // 2, depth.shape[0], _STRIDE):
        v = (row - cy) / fy
        for column in range(_STRIDE // 2, depth.shape[1], _STRIDE):
            d = float(depth[row, column])
            u = (column - cx) / fx
            distance = d * math.sqrt(1.0 + u * u + v * v)
            if not 0.0 < distance < max_range:
                continue
            z = d * (T[2, 0] * u + T[2, 1] * v + T[2, 2]) + T[2, 3]
            if not z_min < z < z_max:
                continue
            c = math.floor((d * (T[0, 0] * u + T[0, 1] * v + T[0, 2]) + T[0, 3] - origin[0]) / resolution)
            r = math.floor((d * (T[1, 0] * u + T[1, 1] * v + T[1, 2]) + T[1, 3] - origin[1]) / resolution)
            if is_thing[semantic[row, column]]:
                hits[r, c] += 1
            if distance < near and _faces(depth, row, column, focal, T):
                looked[r, c] = stamp
