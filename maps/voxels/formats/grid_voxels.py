"""A floor plan of map_server as voxels: walls of one height, and a floor below whatever is known."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Int8

from embmem.errors import InputError
from embmem.imports.map_server import GridMap
from embmem.maps.voxels.blocks import AXIS_LIMIT, SCALE, SIDE, UNKNOWN, VOLUME, BlockPool, pack
from embmem.maps.voxels.formats.octomap_files import MAX_VOXELS
from embmem.maps.voxels.voxel_map import MAX_REACH, VoxelMap

_SPREAD = 4  # cells that are looked at for one that is known, at most, where all voxels are taken
HEIGHT = 2.0  # [m] of walls: above what furniture reaches, so that rooms are told by them


def voxels_of_grid(
    grid: GridMap, *, height: float = HEIGHT, floor: bool = True, stamp: float = 0.0, max_voxels: int = MAX_VOXELS
) -> VoxelMap:
    """The voxels over each known cell: occupied or free from z = 0 up to `height`; unknown cells stay unknown.

    Voxels lie on multiples of the resolution, so a grid is moved by half a cell at most; one that is turned is looked
    up at the centre of each voxel. Cells between 1 and 99 become the log-odds of that probability, at most the map's.

    Args:
        grid: the floor plan.
        height: [m] of walls and of the free space between them.
        floor: whether an occupied layer lies below z = 0 where the plan is known.
        stamp: [s] of all voxels.
        max_voxels: how many the blocks of the map may hold.

    Raises:
        InputError: if nothing is known, or it takes more than `max_voxels` or lies too far away.
        ValueError: if the height is no whole voxel.
    """
    resolution = grid.resolution
    n_up = round(height / resolution)
    if n_up < 1 or not np.isfinite(height):
        raise ValueError(f"height must be at least one voxel of {resolution:g} m, got {height}")
    bottoms = [-1, *range(-(-n_up // SIDE))] if floor else list(range(-(-n_up // SIDE)))
    _check_size(grid, len(bottoms) * SIDE, max_voxels)
    columns, values = _columns(grid)
    if not len(columns):
        raise InputError("the grid is unknown everywhere: there is nothing to import")
    if np.abs(columns).max() >= (AXIS_LIMIT - 1) * SIDE:
        raise InputError(f"the grid lies more than {AXIS_LIMIT * SIDE:,} cells from the origin of its map")
    voxels = VoxelMap(resolution, max_range=min(VoxelMap.max_range, MAX_REACH * resolution))
    odds = _log_odds(voxels)
    places, inverse = np.unique(columns // SIDE, axis=0, return_inverse=True)
    if len(places) * len(bottoms) * VOLUME > max_voxels:
        raise InputError(
            f"a grid of {len(columns):,} known cells up to {height:g} m takes {len(places) * len(bottoms) * VOLUME:,} "
            f"voxels, more than {max_voxels:,}; lower the height"
        )
    plane = np.full((len(places), SIDE, SIDE), UNKNOWN, dtype=np.int8)
    within = columns % SIDE
    plane[inverse.reshape(-1), within[:, 0], within[:, 1]] = odds[values]
    keys, cells = [], []
    for bottom in bottoms:
        keys.append(pack(places[:, 0], places[:, 1], np.full(len(places), bottom)))
        cells.append(_layer(plane, bottom, n_up, odds[100]).reshape(-1, VOLUME))
    voxels.blocks = BlockPool.from_rows(
        np.concatenate(keys), np.concatenate(cells), np.full(len(places) * len(bottoms), float(stamp))
    )
    voxels.epoch = float(stamp)
    return voxels


def _check_size(grid: GridMap, n_each: int, max_voxels: int) -> None:
    """Refuse what cannot fit, before numbers of each cell are made: pictures of one colour are small files.

    Raises:
        InputError: if the known cells alone, `n_each` voxels each, are too many, or a turned grid spans too much.
    """
    n_known = int(np.count_nonzero(grid.cells >= 0))
    if n_known * n_each > max_voxels:
        raise InputError(f"a grid of {n_known:,} known cells takes more than {max_voxels:,} voxels; lower the height")
    rows, columns = grid.cells.shape
    if grid.yaw != 0.0 and _area_around(grid) * n_each > _SPREAD * max_voxels:
        raise InputError(
            f"a grid of {columns:,} x {rows:,} cells turned by {grid.yaw:g} rad spans too much for {max_voxels:,} "
            "voxels; lower the height, or turn the picture instead"
        )


def _area_around(grid: GridMap) -> float:
    """Cells of the upright box around a turned grid."""
    rows, columns = grid.cells.shape
    c, s = abs(np.cos(grid.yaw)), abs(np.sin(grid.yaw))
    return float((columns * c + rows * s) * (columns * s + rows * c))


def _layer(plane: Int8[np.ndarray, "n x y"], bottom: int, n_up: int, solid: np.int8) -> Int8[np.ndarray, "n x y z"]:
    """The blocks at one height; the highest layer of those below z = 0 is the floor."""
    z = bottom * SIDE + np.arange(SIDE)
    if bottom < 0:
        known = np.where(plane == UNKNOWN, UNKNOWN, solid)
        return np.where(z == -1, known[..., None], UNKNOWN).astype(np.int8)
    return np.where((z >= 0) & (z < n_up), plane[..., None], UNKNOWN).astype(np.int8)


def _log_odds(voxels: VoxelMap) -> Int8[np.ndarray, " 101"]:
    """The byte of each cell value from 0 to 100."""
    share = np.arange(101) / 100.0
    with np.errstate(divide="ignore"):
        odds = np.log(share / (1.0 - share))
    return np.rint(np.clip(odds, voxels.low, voxels.high) * SCALE).astype(np.int8)


def _columns(grid: GridMap) -> tuple[Int[np.ndarray, "n 2"], Int[np.ndarray, " n"]]:
    """(x, y) of the columns of voxels over known cells, and the value of each."""
    if grid.yaw == 0.0:
        rows, columns = np.nonzero(grid.cells >= 0)
        shift = np.rint(grid.origin / grid.resolution).astype(np.int64)
        return np.stack([columns, rows], axis=1) + shift, grid.cells[rows, columns].astype(np.int64)
    h, w = grid.cells.shape
    turn = np.array([[np.cos(grid.yaw), -np.sin(grid.yaw)], [np.sin(grid.yaw), np.cos(grid.yaw)]])
    corners = np.array([[0, 0], [w, 0], [0, h], [w, h]]) @ turn.T + grid.origin / grid.resolution
    low, high = np.floor(corners.min(axis=0)).astype(np.int64), np.ceil(corners.max(axis=0)).astype(np.int64)
    found, values = [], []
    for y in range(int(low[1]), int(high[1])):  # a row at a time: the grid may be large
        x = np.arange(low[0], high[0])
        centres = np.stack([x + 0.5, np.full(len(x), y + 0.5)], axis=1) - grid.origin / grid.resolution
        column, row = np.floor(centres @ turn).astype(np.int64).T
        is_in = (column >= 0) & (column < w) & (row >= 0) & (row < h)
        value = grid.cells[row[is_in], column[is_in]].astype(np.int64)
        found.append(np.stack([x[is_in], np.full(int(is_in.sum()), y)], axis=1)[value >= 0])
        values.append(value[value >= 0])
    return np.concatenate(found), np.concatenate(values)
