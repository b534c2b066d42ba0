"""Forgetting what moved: occupied voxels that a depth image sees again or looks through."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import floor, sqrt
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from embmem.errors import InputError
from embmem.geometry import invert_pose, transform_points
from embmem.maps.states import checked_numbers
from embmem.maps.voxels.blocks import SIDE, UNKNOWN, VOLUME, BlockPool, find, pack, unpack
from embmem.maps.voxels.motion import flips, weights
from embmem.maps.voxels.sensors import pixel_of_point, sensor_model, sensor_rays
from embmem.observation import Intrinsics, Observation
from embmem.protocols import LayerState

Extent = tuple[float, float, float, float]
Z_MIN = 0.01  # [m] voxel centres nearer to the camera plane are left alone


@dataclass(frozen=True)
class Removal:
    """Forgets occupied voxels that the depth image sees again or sees past; a frame's own points then come back.

    An occupied voxel whose centre projects into the image at planar depth z is removed if 0.01 m < z <= `z_max` and
    the depth measured there is valid and not less than z - `margin`: what lies behind an occluder stays (DynaMem, Liu
    et al., ICRA 2025).
    """

    z_max: float = 2.5  # [m] planar depth
    margin: float = 0.1  # [m] that a surface may be measured in front of the voxel's centre and still count as it

    def __post_init__(self) -> None:
        if not (Z_MIN < self.z_max < np.inf and 0.0 <= self.margin < np.inf):
            raise ValueError(f"need {Z_MIN} < z_max and margin >= 0, both finite, got {self}")

    def apply(self, blocks: BlockPool, resolution: float, observation: Observation) -> int:
        """How many voxels were removed: they are unknown now, their channels zero; `resolution` in metres.

        Costs time by the blocks in view, however large the map is.
        """
        if observation.depth is None:
            return 0
        k, depth = observation.intrinsics, observation.depth
        if depth.shape != (k.height, k.width):
            raise ValueError(f"the depth image is {depth.shape}, the camera {k.height, k.width}")
        T = np.asarray(observation.T_map_camera, dtype=np.float64)
        T_camera_voxel = invert_pose(T)[:3]
        T_camera_voxel[:, :3] *= resolution
        extent = _extent(k)
        focal = (float(k.fx), float(k.fy), float(k.cx), float(k.cy))
        model = (not k.distortion, focal, sensor_model(k))
        box = _box_of_view(T, extent, self.z_max, resolution)
        rows = _rows_in_view(blocks.table, blocks.keys, box, T_camera_voxel, (extent, float(self.z_max)))
        removed = np.empty(len(rows) * VOLUME, dtype=np.int64)
        limits = (float(self.z_max), float(self.margin))
        revision = blocks.revision + 1
        corners = unpack(blocks.keys[rows]) * SIDE
        arrays = (blocks.cells, blocks.revisions, depth)
        n = _remove(rows, corners, arrays, model, T_camera_voxel, limits, revision, removed)
        if n:
            blocks.revision = revision
            clear_channels(blocks, removed[:n])
        return int(n)


def checked_removal(kind: str, params: Any) -> Removal | None:
    """The removal that a layer of that kind was saved with, from its JSON form; None if it had none.

    Raises:
        InputError: if it is neither null nor the numbers of a removal.
    """
    if params is None:
        return None
    if not isinstance(params, dict):
        raise InputError(f"the removal of layer {kind!r} is {params!r}")
    try:
        return Removal(**checked_numbers(LayerState(kind, 1, params, {}), ("z_max", "margin")))
    except ValueError as error:
        raise InputError(f"layer {kind!r}: {error}") from error


def clear_channels(blocks: BlockPool, voxels: Int[np.ndarray, " n"]) -> None:
    """Zero what the channels hold of the voxels, given as row * 512 + cell.

    Two kinds stay: what changed there is of the place, and weights are kept up by the layers that give them.
    """
    for name, channel in blocks.channels.items():
        if name not in flips.CHANNELS and name not in weights.CHANNELS:
            channel.reshape(-1, *channel.shape[2:])[voxels] = 0


@lru_cache(maxsize=4)
def _extent(k: Intrinsics) -> Extent:
    """(x0, x1, y0, y1) of the image in the plane z = 1, borders of pixels included."""
    if not k.distortion:
        x0, x1 = ((u - k.cx) / k.fx for u in (-0.5, k.width - 0.5))
        y0, y1 = ((v - k.cy) / k.fy for v in (-0.5, k.height - 0.5))
        return x0, x1, y0, y1
    x, y = (sensor_rays(k)[..., axis] for axis in (0, 1))
    x_rim, y_rim = (2.0 * np.nanmax(np.abs(np.diff(a, axis=axis)), initial=0.0) for a, axis in ((x, 1), (y, 0)))
    ends = (np.nanmin(x) - x_rim, np.nanmax(x) + x_rim, np.nanmin(y) - y_rim, np.nanmax(y) + y_rim)
    x0, x1, y0, y1 = (float(end) for end in ends)
    return x0, x1, y0, y1


def _box_of_view(
    T_map_camera: Float[np.ndarray, "4 4"], extent: Extent, z_max: float, resolution: float
) -> tuple[Int[np.ndarray, "3"], Int[np.ndarray, "3"]]:
    """(low, high) block coordinates, inclusive, of the box around the camera and its image at `z_max`."""
    x0, x1, y0, y1 = extent
    corners = [(x * z_max, y * z_max, z_max) for x in (x0, x1) for y in (y0, y1)]
    points = transform_points(T_map_camera, np.array([(0.0, 0.0, 0.0), *corners]))
    blocks = np.floor(points / (resolution * SIDE)).astype(np.int64)
    return blocks.min(axis=0), blocks.max(axis=0)


@no_type_check
@njit(cache=True, error_model="numpy")
def _rows_in_view(table, keys, box, M, view):
    """The rows of the blocks whose bounding sphere meets the view frustum up to z_max."""
    low, high = box
    (x0, x1, y0, y1), z_max = view
    slopes = np.array([-x0, x1, -y0, y1])  # inside: sign * lateral + slope * z >= 0
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    lengths = np.sqrt(slopes**2 + 1.0)
    radius = SIDE * 0.5 * sqrt(3.0) * sqrt(M[0, 0] ** 2 + M[1, 0] ** 2 + M[2, 0] ** 2)
    rows = np.empty((high[0] - low[0] + 1) * (high[1] - low[1] + 1) * (high[2] - low[2] + 1), dtype=np.int64)
    n = 0
    for bx in range(low[0], high[0] + 1):
        for by in range(low[1], high[1] + 1):
            for bz in range(low[2], high[2] + 1):
                x, y, z = bx * SIDE + 4.0, by * SIDE + 4.0, bz * SIDE + 4.0
                pz = M[2, 0] * x + M[2, 1] * y + M[2, 2] * z + M[2, 3]
                if pz + radius <= Z_MIN or pz - radius > z_max:
                    continue
                px = M[0, 0] * x + M[0, 1] * y + M[0, 2] * z + M[0, 3]
                py = M[1, 0] * x + M[1, 1] * y + M[1, 2] * z + M[1, 3]
                is_in = True
                for i in range(4):
                    lateral = px if i < 2 else py
                    is_in &= signs[i] * lateral + slopes[i] * pz >= -radius * lengths[i]
                if not is_in:
                    continue
                row = find(table, keys, pack(bx, by, bz))
                if row >= 0:
                    rows[n] = row
                    n += 1
    return rows[:n]


@no_type_check
@njit(cache=True, error_model="numpy")
def _remove(rows, corners, arrays, model, M, limits, revision, removed):
    """Forget the voxels of these blocks that are seen again or past; returns how many, written as row * 512 + cell."""
    cells, revisions, depth = arrays
    is_plain, focal, (kind, numbers, borders) = model
    z_max, margin = limits
    n = 0
    for block in range(len(rows)):
        n_before, row, corner = n, rows[block], corners[block]
        for i in range(VOLUME):
            if cells[row, i] <= 0:
                continue
            x = corner[0] + i // (SIDE * SIDE) + 0.5
            y = corner[1] + i // SIDE % SIDE + 0.5
            z = corner[2] + i % SIDE + 0.5
            pz = M[2, 0] * x + M[2, 1] * y + M[2, 2] * z + M[2, 3]
            if not Z_MIN < pz <= z_max:
                continue
            px = M[0, 0] * x + M[0, 1] * y + M[0, 2] * z + M[0, 3]
            py = M[1, 0] * x + M[1, 1] * y + M[1, 2] * z + M[1, 3]
            if is_plain:
                measured = _measured(px / pz, py / pz, focal, depth)
            else:
                v, u, _ = pixel_of_point(px, py, pz, kind, numbers, borders)
                measured = float(depth[v, u]) if v >= 0 else np.nan
            if 0.0 < measured < np.inf and not measured < pz - margin:
                cells[row, i] = UNKNOWN
                removed[n] = row * VOLUME + i
                n += 1
        if n > n_before:
            revisions[row] = revision
    return n


@no_type_check
@njit(cache=True, error_model="numpy", inline="always")
def _measured(x, y, focal, depth):
    """The depth of the pixel that (x, y, 1) projects to without distortion, NaN outside of the image."""
    fx, fy, cx, cy = focal
    u, v = floor(fx * x + cx + 0.5), floor(fy * y + cy + 0.5)
    if 0 <= u < depth.shape[1] and 0 <= v < depth.shape[0]:
        return float(depth[int(v), int(u)])
    return np.nan
