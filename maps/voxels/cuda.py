"""Frames integrated on an NVIDIA GPU, by the same inner functions as on the CPU.

The leaf functions of `project`, `rays` and `integrate` are plain Python underneath; here they are compiled once more,
as device functions. Marks and cells live on the GPU; keys and the hash table stay with the CPU, which learns from the
GPU which blocks a frame touched. Needs the extra `cuda`.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float

from embmem.errors import import_extra
from embmem.geometry import invert_pose, project
from embmem.maps.voxels.blocks import SIDE, UNKNOWN, VOLUME
from embmem.maps.voxels.formats.tensors import as_array
from embmem.maps.voxels.integrate import FREE, HIT, byte_steps, locate_blocks, new_byte
from embmem.maps.voxels.project import end_coordinate, interval, measured, pixel_of, view_planes
from embmem.maps.voxels.rays import crossings, flat_index, next_axis
from embmem.maps.voxels.voxel_map import VoxelMap
from embmem.observation import Intrinsics, Observation

import_extra("numba_cuda", "cuda")
from numba import cuda  # noqa: E402 (numba-cuda takes the place of numba's own, which has no successor)

_THREADS = 64  # in a block of threads
_end_coordinate, _interval, _measured, _pixel_of, _crossings, _flat_index, _next_axis, _new_byte = (
    cuda.jit(device=True)(leaf.py_func)  # type: ignore[no-untyped-call]
    for leaf in (end_coordinate, interval, measured, pixel_of, crossings, flat_index, next_axis, new_byte)
)


class CudaVoxels:
    """A voxel map whose cells are on the GPU while frames come in.

    The map answers from the CPU's copy, which is as new as the last `sync`. With `integrator="rays"`, a frame is the
    same set of rays as on the CPU; its rounding may differ from the CPU's where a point lies on a face of a voxel,
    since a GPU fuses multiplication and addition.

    Args:
        voxels: the map; payload, removal and change tracking work on the CPU only and must be off.
        capacity: blocks that the GPU has room for at first.

    Raises:
        ValueError: if the map does more than occupancy.
        MissingExtraError: (on import) without numba-cuda.
    """

    def __init__(self, voxels: VoxelMap, *, capacity: int = 1 << 14) -> None:
        if voxels.payload is not None or voxels.removal is not None or voxels.blocks.channels:
            raise ValueError("on the GPU a map holds occupancy only: no payload, no removal, no change tracking")
        self.voxels = voxels
        self._steps = byte_steps(voxels.hit, voxels.miss, voxels.low, voxels.high)
        self._words = cuda.device_array(0, dtype=np.uint64)
        self._images: tuple[Any, Any] = (cuda.device_array((0, 4), dtype=np.int32), cuda.device_array((0, 0)))
        pool = voxels.blocks
        self.cells = _unknown_cells(max(capacity, pool.n))  # (capacity, 512) int8 on the GPU, rows as in `blocks`
        if pool.n:
            self.cells[: pool.n].copy_to_device(pool.cells[: pool.n])

    def observe(self, observation: Observation) -> None:
        """Integrate the depth image; without one nothing happens."""
        if observation.depth is not None:
            T = np.asarray(observation.T_map_camera, dtype=np.float64)
            self.integrate_depth(observation.depth, observation.intrinsics, T, observation.stamp)

    def integrate_depth(
        self, depth: Any, intrinsics: Intrinsics, T_map_camera: Float[np.ndarray, "4 4"], stamp: float
    ) -> None:
        """Integrate a depth image (h, w) float32 [m]: of any library; on the GPU without a copy.

        Raises:
            ValueError: if the image does not have the size that the intrinsics say, or these have distortion.
        """
        shape = (intrinsics.height, intrinsics.width)
        if tuple(depth.shape) != shape or intrinsics.distortion:
            raise ValueError(f"need depth of {shape} from a pinhole without distortion, got {tuple(depth.shape)}")
        is_there = hasattr(depth, "__cuda_array_interface__")
        image = cuda.as_cuda_array(depth) if is_there else cuda.to_device(as_array(depth))  # type: ignore[no-untyped-call]
        if self._images[1].shape != shape:
            self._images = (cuda.device_array((image.size, 4), np.int32), cuda.device_array(shape, np.float32))
        v = self.voxels
        T = np.ascontiguousarray(T_map_camera, dtype=np.float64)
        focal = (float(intrinsics.fx), float(intrinsics.fy), float(intrinsics.cx), float(intrinsics.cy))
        limits = (v.resolution, v.max_range, v.resolution * np.sqrt(3.0) / 2.0)
        low, high = view_box(intrinsics, T, v.resolution, v.max_range)
        tile = (*(low * SIDE).tolist(), *((high - low + 1) * SIDE).tolist())
        marks = self._open(tile)
        ends, reach = self._images
        _launch(_measure, image.size, image, focal, T, limits, ends, reach)
        if v.integrator == "projective":
            M = invert_pose(T)[:3]
            M[:, 3] += M[:, :3] @ ((low * SIDE + 0.5) * v.resolution)
            M[:, :3] *= v.resolution
            planes = view_planes(M, focal, shape, v.max_range)
            n_words = tile[3] * tile[4] * tile[5] // SIDE
            _launch(_mark_free, n_words, marks, tile, reach, planes, focal, M)
        else:
            _launch(_mark_rays, image.size, image, focal, T, limits, ends, marks, tile, v.integrator == "rays")
        for kind in (HIT,) if v.integrator == "rays" else (FREE, HIT):
            _launch(_mark_ends, image.size, ends, kind, marks, tile)
        self._fold(tile, stamp)

    def sync(self) -> VoxelMap:
        """The map, with the cells as they are on the GPU."""
        pool = self.voxels.blocks
        if pool.n:
            self.cells[: pool.n].copy_to_host(pool.cells[: pool.n])
        return self.voxels

    def _open(self, tile: tuple[int, ...]) -> Any:
        """The flat marks of a tile as bytes on the GPU, all zero."""
        n_words = tile[3] * tile[4] * tile[5] // SIDE
        if self._words.size < n_words:
            self._words = cuda.to_device(np.zeros(n_words, dtype=np.uint64))
        return self._words.view(np.uint8)

    def _fold(self, tile: tuple[int, ...], stamp: float) -> None:
        """Fold the marks of a tile into the cells; they are zero again afterwards."""
        sides = tuple(side // SIDE for side in tile[3:])
        n_blocks = sides[0] * sides[1] * sides[2]
        flags = cuda.device_array(n_blocks, dtype=np.uint8)
        _launch(_find_touched, n_blocks, self._words, tile, flags)
        touched = np.argwhere(flags.copy_to_host().reshape(sides))
        pool = self.voxels.blocks
        pool.reserve(len(touched))
        pool.revision += 1
        rows = np.empty(len(touched), dtype=np.int64)
        arrays = (pool.table, pool.keys, pool.cells, pool.stamps, pool.revisions)
        low = np.array(tile[:3]) // SIDE
        pool.n = locate_blocks(touched, low, arrays, pool.n, float(stamp), pool.revision, rows)
        if np.isnan(self.voxels.epoch):
            self.voxels.epoch = float(stamp)
        if pool.n > len(self.cells):
            grown = _unknown_cells(2 * pool.n)
            grown[: len(self.cells)].copy_to_device(self.cells)
            self.cells = grown
        if len(touched):
            marks = self._words.view(np.uint8)
            n_threads = len(touched) * _THREADS
            _launch(_fold_marks, n_threads, marks, tile, cuda.to_device(touched), cuda.to_device(rows), self.cells,
                    self._steps)  # fmt: skip


def view_box(
    intrinsics: Intrinsics, T_map_camera: Float[np.ndarray, "4 4"], resolution: float, max_range: float
) -> tuple[np.ndarray, np.ndarray]:
    """(first, last) block of a box that holds all that a pinhole camera can see up to `max_range` [m].

    A direction that goes farthest along an axis is that axis itself or lies on the border of the image.
    """
    k, R = intrinsics, T_map_camera[:3, :3]
    v, u = (grid.ravel() for grid in np.mgrid[-1 : k.height + 1, -1 : k.width + 1])
    on_border = (u == -1) | (u == k.width) | (v == -1) | (v == k.height)
    rays = np.stack([(u - k.cx) / k.fx, (v - k.cy) / k.fy, np.ones(len(u))], axis=1)[on_border] @ R.T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    axes = np.concatenate([np.eye(3), -np.eye(3)])
    pixel = project(axes @ R, k)
    seen = ((pixel >= -1) & (pixel <= (k.width, k.height))).all(axis=1)
    points = T_map_camera[:3, 3] + np.concatenate([np.zeros((1, 3)), max_range * rays, max_range * axes[seen]])
    low, high = points.min(axis=0) / resolution, points.max(axis=0) / resolution
    # one voxel, as a ray that ends on a face may walk past it
    return (np.floor(low).astype(np.int64) - 1) // SIDE, (np.floor(high).astype(np.int64) + 1) // SIDE


def _unknown_cells(capacity: int) -> Any:
    return cuda.to_device(np.full((capacity, VOLUME), UNKNOWN, dtype=np.int8))


def _launch(kernel: Any, n: int, *arguments: Any) -> None:
    """Run a kernel with at least n threads; at least one block, since an empty grid is an error."""
    kernel[max(-(-n // _THREADS), 1), _THREADS](*arguments)


@no_type_check
@cuda.jit
def _measure(depth, focal, T, limits, ends, reach):
    """One thread a pixel: its end voxel and how far it clears, as `depth_ends` does."""
    i = cuda.grid(1)
    if i >= depth.size:
        return
    row, column = i // depth.shape[1], i % depth.shape[1]
    u, v = (column - focal[2]) / focal[0], (row - focal[3]) / focal[1]
    mark, z, clear = _measured(np.float64(depth[row, column]), 1.0 + u * u + v * v, limits[2], limits[1])
    reach[row, column] = clear
    ends[i, 3] = mark
    for axis in range(3):
        slope = T[axis, 0] * u + (T[axis, 1] * v + T[axis, 2])
        ends[i, axis] = np.int32(np.floor(_end_coordinate(z, slope, T[axis, 3], 1.0 / limits[0])))


@no_type_check
@cuda.jit
def _mark_free(marks, tile, reach, planes, focal, M):
    """One thread for 8 voxels above each other: free if in front of what was measured in their pixel."""
    i = cuda.grid(1)
    n_z = tile[5] // SIDE
    if i >= tile[3] * tile[4] * n_z:
        return
    x, y, z = i // (tile[4] * n_z), i // n_z % tile[4], i % n_z * SIDE
    first, last = _interval(planes, x, y, z, z + SIDE - 1)
    camera_x = M[0, 0] * x + M[0, 1] * y + M[0, 3]
    camera_y = M[1, 0] * x + M[1, 1] * y + M[1, 3]
    camera_z = M[2, 0] * x + M[2, 1] * y + M[2, 3]
    for k in range(first, last + 1):
        depth = camera_z + k * M[2, 2]
        row, column = _pixel_of(camera_x + k * M[0, 2], camera_y + k * M[1, 2], depth, focal, reach.shape)
        if depth <= reach[row, column]:
            marks[i * SIDE + k - z] = FREE


@no_type_check
@cuda.jit
def _mark_rays(depth, focal, T, limits, ends, marks, tile, is_exact):
    """One thread a pixel: what its ray passes on the way to its point, or to the centre of its end voxel."""
    i = cuda.grid(1)
    if i >= depth.size or ends[i, 3] == 0:
        return
    row, column = i // depth.shape[1], i % depth.shape[1]
    u, v = (column - focal[2]) / focal[0], (row - focal[3]) / focal[1]
    inverse = 1.0 / limits[0]
    _, z, _ = _measured(np.float64(depth[row, column]), 1.0 + u * u + v * v, limits[2], limits[1])
    start_x, start_y, start_z = T[0, 3] / limits[0], T[1, 3] / limits[0], T[2, 3] / limits[0]
    end_x, end_y, end_z = ends[i, 0] + 0.5, ends[i, 1] + 0.5, ends[i, 2] + 0.5
    if is_exact:
        end_x = _end_coordinate(z, T[0, 0] * u + (T[0, 1] * v + T[0, 2]), T[0, 3], inverse)
        end_y = _end_coordinate(z, T[1, 0] * u + (T[1, 1] * v + T[1, 2]), T[1, 3], inverse)
        end_z = _end_coordinate(z, T[2, 0] * u + (T[2, 1] * v + T[2, 2]), T[2, 3], inverse)
    step_x, t_x, dt_x = _crossings(start_x, end_x)
    step_y, t_y, dt_y = _crossings(start_y, end_y)
    step_z, t_z, dt_z = _crossings(start_z, end_z)
    x, y, k = int(np.floor(start_x)), int(np.floor(start_y)), int(np.floor(start_z))
    for _ in range(abs(ends[i, 0] - x) + abs(ends[i, 1] - y) + abs(ends[i, 2] - k)):
        index = _flat_index(x, y, k, tile)
        if index >= 0:
            marks[index] = FREE
        axis = _next_axis(t_x, t_y, t_z)
        if axis == 0:
            x, t_x = x + step_x, t_x + dt_x
        elif axis == 1:
            y, t_y = y + step_y, t_y + dt_y
        else:
            k, t_z = k + step_z, t_z + dt_z


@no_type_check
@cuda.jit
def _mark_ends(ends, kind, marks, tile):
    """One thread an end voxel: store its mark if it is of this kind; every racing store has the same value."""
    i = cuda.grid(1)
    if i < len(ends) and ends[i, 3] == kind:
        index = _flat_index(ends[i, 0], ends[i, 1], ends[i, 2], tile)
        if index >= 0:
            marks[index] = kind


@no_type_check
@cuda.jit
def _find_touched(words, tile, flags):
    """One thread a block: whether it holds a mark."""
    i = cuda.grid(1)
    if i >= flags.size:
        return
    n_y, n_z = tile[4] // SIDE, tile[5] // SIDE
    x, y, z = i // (n_y * n_z) * SIDE, i // n_z % n_y * SIDE, i % n_z
    seen = np.uint64(0)
    for row in range(SIDE * SIDE):
        seen |= words[((x + row // SIDE) * tile[4] + y + row % SIDE) * n_z + z]
    flags[i] = seen != 0


@no_type_check
@cuda.jit
def _fold_marks(marks, tile, touched, rows, cells, steps):
    """One block of threads a touched block: its new bytes; the marks become zero."""
    i = cuda.blockIdx.x
    x, y, z = touched[i, 0] * SIDE, touched[i, 1] * SIDE, touched[i, 2] * SIDE
    for j in range(cuda.threadIdx.x, VOLUME, cuda.blockDim.x):
        index = ((x + j // (SIDE * SIDE)) * tile[4] + y + j // SIDE % SIDE) * tile[5] + z + j % SIDE
        cells[rows[i], j] = _new_byte(marks[index], cells[rows[i], j], steps)
        marks[index] = 0
