"""Where things stand, and which of these places were looked at from near enough to see what lies there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from embmem.geometry import backproject, transform_points
from embmem.observation import Intrinsics, Observation

STRUCTURE = ("unlabelled", "wall", "floor", "ceiling", "door frame")
_STRIDE = 4  # every fourth pixel of every fourth row is enough for cells of 10 cm
_GROWTH = 10.0  # [m] added at a side where the grid gets too small


class Coverage:
    """A top-down grid of the places that can hold things, with the stamp of the last close look at each.

    A place is a cell above which something was seen that is not part of the building; a close look is one from less
    than `near` metres. What is seen from farther away is known to exist, but small things on it may have been missed.
    """

    def __init__(
        self,
        *,
        near: float = 2.5,  # [m] up to which a small object fills enough pixels for a detector
        resolution: float = 0.1,  # [m]
        z_min: float = 0.2,  # [m]
        z_max: float = 1.8,  # [m]
        min_hits: int = 3,  # sightings (sampled pixels) that make a place
        structure: Sequence[str] = STRUCTURE,
    ) -> None:
        if not (near > 0 and resolution > 0 and z_min < z_max):
            raise ValueError(f"need near, resolution > 0 and z_min < z_max, got {near}, {resolution}, {z_min}, {z_max}")
        self.near, self.resolution = near, resolution
        self._z_min, self._z_max, self._min_hits = z_min, z_max, min_hits
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
        rows, columns = slice(_STRIDE // 2, None, _STRIDE), slice(_STRIDE // 2, None, _STRIDE)
        points, distance = _sampled_points(depth[rows, columns], observation)
        valid = np.isfinite(distance) & (points[:, 2] > self._z_min) & (points[:, 2] < self._z_max)
        if not valid.any():
            return
        is_thing = valid
        if observation.semantic is not None:
            is_thing = valid & self._things(observation)[observation.semantic[rows, columns].ravel()]
        self._make_room(points[valid, :2])
        cells = self._cells(points[:, :2], valid)
        things = cells[is_thing]
        np.add.at(self._hits, (things[:, 0], things[:, 1]), 1)
        close = cells[valid & (distance < self.near)]
        self._looked[close[:, 0], close[:, 1]] = observation.stamp

    def pending(self, since: float) -> tuple[Bool[np.ndarray, "h w"], Float[np.ndarray, "2"]]:
        """(mask, origin) of the places without a close look since the stamp; cells are `resolution` wide."""
        return (self._hits >= self._min_hits) & (self._looked < since), self.origin

    def mark(self, points: Float[np.ndarray, "n 2"], stamp: float) -> None:
        """Count the places under the points [m] as looked at: nothing more can be seen there."""
        cells = self._cells(points, np.ones(len(points), dtype=bool))
        inside = ((cells >= 0) & (cells < self._hits.shape)).all(axis=1)
        self._looked[cells[inside, 0], cells[inside, 1]] = stamp

    def centres(self, cells: Int[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """(x, y) [m] of the centres of cells (row, col)."""
        return self.origin + (cells[:, ::-1] + 0.5) * self.resolution

    def _cells(self, xy: np.ndarray, valid: np.ndarray) -> Int[np.ndarray, "n 2"]:
        scaled = np.where(valid[:, None], (xy - self.origin) / self.resolution, 0.0)
        return np.floor(scaled).astype(np.int64)[:, ::-1]

    def _things(self, observation: Observation) -> Bool[np.ndarray, " k"]:
        """For each label whether it is a thing, not the building; kept, as labels rarely change."""
        if self._labels != observation.labels:
            self._labels = observation.labels
            self._is_thing = np.array([name not in self._structure for name in observation.labels] or [False])
        return self._is_thing

    def _make_room(self, xy: np.ndarray) -> None:
        """Grow the grid so that it holds the points."""
        low, high = xy.min(axis=0), xy.max(axis=0)
        step = self.resolution
        if self._hits.size == 0:
            self.origin = np.floor((low - _GROWTH) / step) * step
        size = np.array(self._hits.shape)[::-1] * step
        before = np.where(low < self.origin, np.ceil((self.origin - low + _GROWTH) / step), 0).astype(int)
        over = high - (self.origin + size)
        after = np.where(over >= 0, np.ceil((over + _GROWTH) / step), 0).astype(int)
        if not (before.any() or after.any()):
            return
        pad = ((before[1], after[1]), (before[0], after[0]))
        self._hits = np.pad(self._hits, pad)
        self._looked = np.pad(self._looked, pad, constant_values=-np.inf)
        self.origin = self.origin - before * step


def _sampled_points(
    depth: Float[np.ndarray, "h w"], observation: Observation
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
    """(map points [m], distances from the camera [m]) of every `_STRIDE`-th pixel."""
    k = observation.intrinsics
    offset = _STRIDE // 2
    coarse = Intrinsics(
        depth.shape[1],
        depth.shape[0],
        k.fx / _STRIDE,
        k.fy / _STRIDE,
        (k.cx - offset) / _STRIDE,
        (k.cy - offset) / _STRIDE,
    )
    camera = backproject(depth, coarse).reshape(-1, 3)
    return transform_points(observation.T_map_camera, camera), np.linalg.norm(camera, axis=1)
