"""What one frame measured, marked in a local grid and folded into the blocks.

The local grid covers the frame's box; where that would take more than `tile_bytes`, one tile of it after the other.
Work is split among threads by disjoint ranges of pixels, rays or blocks, taken by kernels without the GIL from a pool
of plain threads: numba's `prange` would compile every kernel twice, and its default threading layer must not be
entered by two threads at once, as callers may be.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from embmem.geometry import invert_pose
from embmem.maps.voxels.blocks import AXIS_LIMIT, SIDE, BlockPool
from embmem.maps.voxels.integrate import FREE, HIT, byte_steps, fold, locate_blocks, touched_blocks
from embmem.maps.voxels.project import PATCH, depth_ends, farthest_in_patches, mark_free, view_planes
from embmem.maps.voxels.ranges import farthest_in_cells, mark_seen, range_ends
from embmem.maps.voxels.rays import distinct_rays, mark_ends, mark_rays, point_ends
from embmem.maps.voxels.sensors import Sensor, is_plain, pixel_angle, sensor_cells, sensor_model, sensor_rays
from embmem.maps.voxels.tiles import Tile, TiledRays, Tiling, mark_tiled_rays
from embmem.observation import Intrinsics

INTEGRATORS = ("projective", "ends", "rays")


class Marker:
    """Integrates frames into blocks and keeps its scratch memory in between.

    Args:
        resolution: edge of a voxel [m].
        max_range: [m]; of what is farther only the free space up to here is used.
        steps: (hit, miss, low, high) log-odds.
        threads: how many work on a frame; the result does not depend on it.
    """

    def __init__(
        self, resolution: float, max_range: float, steps: tuple[float, float, float, float], threads: int
    ) -> None:
        self.resolution, self.max_range = float(resolution), float(max_range)
        self.steps = byte_steps(*steps)
        self.tile_bytes = 64 << 20
        self.ends = np.empty((0, 4), dtype=np.int32)  # by flat index of the pixel: x, y, z, mark
        self._words = np.zeros(0, dtype=np.uint64)  # the local grid's marks, all zero between frames
        self._reach = np.empty((0, 0), dtype=np.float32)
        self._points = np.empty((0, 3))
        self._targets, self._distinct_ends = np.empty((0, 3)), np.empty((0, 4), dtype=np.int32)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def n_bytes(self) -> int:
        """Bytes of RAM."""
        return sum(
            a.nbytes for a in (self.ends, self._words, self._reach, self._points, self._targets, self._distinct_ends)
        )

    def integrate_image(
        self,
        blocks: BlockPool,
        image: np.ndarray,
        sensor: Sensor,
        T_map_sensor: np.ndarray,
        stamp: float,
        integrator: str,
    ) -> None:
        """Integrate the depth image of a pinhole, or the range image of another sensor, by one of `INTEGRATORS`."""
        T = np.ascontiguousarray(T_map_sensor, dtype=np.float64)
        self._make_room(image.size, with_points=integrator == "rays")
        if self._reach.shape != image.shape:
            self._reach = np.empty(image.shape, dtype=np.float32)
        parts = self._image_ends(image, sensor, T, every_ray=integrator == "rays")
        bounds, is_cut = _bounds(parts), any(part[3] > 0 for part in parts)
        if integrator != "projective":
            starts = T[None, :3, 3] / self.resolution
            self._integrate_rays(blocks, bounds, starts, image.size, stamp, integrator == "rays")
            return
        # a pixel's rays spread by half a pixel around the one whose end voxel bounds the box
        spread = self.max_range * 0.5 * pixel_angle(sensor)
        if isinstance(sensor, Intrinsics):
            spread = self.max_range * 0.5 / min(sensor.fx, sensor.fy)
        low, high = _blocks_of(bounds, padding=int(spread / self.resolution) + 1)
        M = invert_pose(T)[:3]  # takes voxels, counted from the block `low` (integers are centres), to the sensor [m]
        M[:, 3] += M[:, :3] @ ((low * SIDE + 0.5) * self.resolution)
        M[:, :3] *= self.resolution
        kernel, view = self._view(sensor, M, max(part[2] for part in parts))

        def mark_space(marks: np.ndarray, tile: Tile, _: int) -> None:
            inside = (*(int(tile[i] - SIDE * low[i]) for i in range(3)), *tile[3:])
            self._split(kernel, tile[3] // SIDE, marks, inside, *view)

        tiling = Tiling(low, high, np.stack([low, low]), self.tile_bytes)
        ends = self.ends[: image.size]
        self._integrate(blocks, tiling, mark_space, ends, stamp, (FREE, HIT) if is_cut else (HIT,))

    def _image_ends(self, image: np.ndarray, sensor: Sensor, T: np.ndarray, *, every_ray: bool) -> list[Any]:
        """Fill `ends`, `_reach` and, for every ray, `_points`; what `depth_ends` returns for each part."""
        # a surface point at least half a diagonal behind a voxel's centre is outside of the voxel
        limits = (self.resolution, self.max_range, self.resolution * np.sqrt(3.0) / 2.0)
        home = np.floor(T[:3, 3] / self.resolution).astype(np.int32)
        targets = (self.ends, self._reach, self._points[: image.size if every_ray else 0])
        if is_plain(sensor):
            return self._split(depth_ends, len(image), image, _focal(sensor), T, limits, home, *targets)
        return self._split(range_ends, len(image), image, sensor_rays(sensor), T, limits, home, *targets)

    def _view(self, sensor: Sensor, M: np.ndarray, farthest: float) -> tuple[Callable[..., None], tuple[Any, ...]]:
        """(kernel, arguments) that mark what the image sees through."""
        height, width = self._reach.shape
        if not is_plain(sensor):
            cells = farthest_in_cells(self._reach, sensor_rays(sensor), sensor_cells(sensor))
            return mark_seen, (self._reach, cells, 0.5 * pixel_angle(sensor), sensor_model(sensor), M)
        patches = np.empty((-(-height // PATCH), -(-width // PATCH)), dtype=np.float32)
        self._split(farthest_in_patches, len(patches), self._reach, patches)
        planes = view_planes(M, _focal(sensor), (height, width), farthest)
        return mark_free, (self._reach, patches, planes, _focal(sensor), M)

    def integrate_points(
        self, blocks: BlockPool, points: np.ndarray, origins: np.ndarray, stamp: float, *, every_ray: bool
    ) -> int:
        """Integrate points (n, 3) [m] seen from origins (n, 3), or (1, 3) for all; how many were skipped."""
        self._make_room(len(points), with_points=True)
        farthest = AXIS_LIMIT * SIDE * self.resolution - 2.0 * self.max_range
        is_usable = (np.abs(origins) < farthest).all(axis=1)
        if not is_usable.any():
            return len(points)
        first = origins[is_usable.argmax()]
        home = np.floor(first / self.resolution).astype(np.int32)
        limits = (self.resolution, self.max_range, farthest)
        arguments = (points, origins, limits, home, self.ends, self._points)
        parts = self._split(point_ends, len(points), *arguments)
        starts = np.where(is_usable[:, None], origins, first) / self.resolution
        self._integrate_rays(blocks, _bounds(parts), starts, len(points), stamp, every_ray)
        return int(sum(part[2] for part in parts))

    def _integrate_rays(
        self,
        blocks: BlockPool,
        bounds: tuple[np.ndarray, np.ndarray],
        starts: np.ndarray,
        n_ends: int,
        stamp: float,
        every_ray: bool,
    ) -> None:
        """Integrate the first n ends by one ray each, or one ray to each distinct end voxel."""
        low, high = _blocks_of(bounds, padding=1)  # a ray that ends on a face may walk past it by one
        home = np.floor(np.stack([starts.min(axis=0), starts.max(axis=0)]) / SIDE).astype(np.int64)
        tiling = Tiling(low, high, home, self.tile_bytes)
        ends, targets, n = self.ends[:n_ends], self._points[:n_ends], n_ends
        if not every_ray:
            starts, n = self._distinct(tiling, starts, n_ends)
            ends, targets = self._distinct_ends[:n], self._targets[:n]
        rays = TiledRays(tiling, starts, targets, n, self._threads) if len(tiling) > 1 else None

        def mark_space(marks: np.ndarray, tile: Tile, number: int) -> None:
            if rays is None:
                self._split(mark_rays, n, marks, tile, starts, targets)
            else:
                self._split(mark_tiled_rays, self._threads, marks, tile, *rays.arguments(number))

        self._integrate(blocks, tiling, mark_space, ends, stamp, (HIT,) if every_ray else (FREE, HIT))

    def _distinct(self, tiling: Tiling, starts: np.ndarray, n_ends: int) -> tuple[np.ndarray, int]:
        """(starts, how many) of the rays to distinct ends, which go to `_distinct_ends` and `_targets`."""
        if len(self._targets) < n_ends:
            self._targets, self._distinct_ends = np.empty((n_ends, 3)), np.empty((n_ends, 4), dtype=np.int32)
        chosen = np.empty_like(starts)
        n = 0
        for _, tile in tiling:
            marks = self._open(tile)
            n = distinct_rays(marks, tile, self.ends[:n_ends], starts, n, self._distinct_ends, self._targets, chosen)
        return chosen if len(starts) > 1 else starts, n

    def _integrate(
        self,
        blocks: BlockPool,
        tiling: Tiling,
        mark_space: Callable[[np.ndarray, Tile, int], None],
        ends: np.ndarray,
        stamp: float,
        kinds: tuple[int, ...],
    ) -> None:
        """Mark free space, then the ends of these kinds, and fold the marks, tile by tile."""
        blocks.revision += 1
        for number, tile in tiling:
            marks = self._open(tile)
            mark_space(marks, tile, number)
            for kind in kinds:
                self._split(mark_ends, len(ends), marks, tile, ends, kind)
            self._fold(blocks, tile, stamp)

    def _open(self, tile: Tile) -> np.ndarray:
        """The flat marks of a tile, all zero."""
        n_words = tile[3] * tile[4] * tile[5] // SIDE + 1  # `mark_rays` takes one voxel more
        if len(self._words) < n_words:
            self._words = np.zeros(n_words, dtype=np.uint64)
        return self._words.view(np.uint8)

    def _fold(self, blocks: BlockPool, tile: Tile, stamp: float) -> None:
        """Fold the marks of a tile into the blocks; they are zero again afterwards."""
        x, y, z = (side // SIDE for side in tile[3:])
        words = self._words[: x * y * z * SIDE**2].reshape(x * SIDE, y * SIDE, z)
        is_touched = np.empty((x, y, z), dtype=np.bool_)
        self._split(touched_blocks, x, words, is_touched)
        touched = np.argwhere(is_touched)
        blocks.reserve(len(touched))
        rows = np.empty(len(touched), dtype=np.int64)
        arrays = (blocks.table, blocks.keys, blocks.cells, blocks.stamps, blocks.revisions)
        low = np.array(tile[:3]) // SIDE
        blocks.n = locate_blocks(touched, low, arrays, blocks.n, float(stamp), blocks.revision, rows)
        self._split(fold, len(touched), words, touched, rows, blocks.cells, self.steps)

    def _make_room(self, n: int, *, with_points: bool) -> None:
        if len(self.ends) < n:
            self.ends = np.empty((n, 4), dtype=np.int32)
        if with_points and len(self._points) < n:
            self._points = np.empty((n, 3))

    def _split(self, kernel: Callable[..., Any], n: int, *arguments: Any) -> list[Any]:
        """What the kernel returns for each range of 0 <= i < n, one a thread."""
        if self._pool is None:
            return [kernel(*arguments, 0, n)]
        edges = [n * i // self._threads for i in range(self._threads + 1)]
        waiting = [self._pool.submit(kernel, *arguments, a, b) for a, b in itertools.pairwise(edges)]
        return [each.result() for each in waiting]


def _bounds(parts: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) voxel of all parts together."""
    return np.min([part[0] for part in parts], axis=0), np.max([part[1] for part in parts], axis=0)


def _blocks_of(bounds: tuple[np.ndarray, np.ndarray], *, padding: int) -> tuple[np.ndarray, np.ndarray]:
    """(first, last) block of a box in voxels that grows by `padding` on each side."""
    low, high = (bound.astype(np.int64) for bound in bounds)
    return (low - padding) // SIDE, (high + padding) // SIDE


def _focal(sensor: Intrinsics) -> tuple[float, float, float, float]:
    return float(sensor.fx), float(sensor.fy), float(sensor.cx), float(sensor.cy)
