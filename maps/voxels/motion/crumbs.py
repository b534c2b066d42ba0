"""Crumbs: occupied voxels that belong to nothing, left by noise and by things that were carried away."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Int
from numba import njit

from embmem.maps.voxels.blocks import SIDE, UNKNOWN, VOLUME, find, pack, unpack
from embmem.maps.voxels.motion.removal import clear_channels
from embmem.maps.voxels.voxel_map import VoxelMap


def remove_crumbs(voxels: VoxelMap, eps: float = 4.0, min_points: int = 10) -> int:
    """How many occupied voxels were removed because they belong to no cluster; they are unknown now.

    Clusters are those of DBSCAN (Ester et al., KDD 1996) over the centres of the occupied voxels: a voxel with at least
    `min_points` occupied ones within `eps`, itself included, is a core, and what is within `eps` of a core belongs.

    Args:
        voxels: changed in place.
        eps: [voxels], inclusive.
        min_points: how many make a core.

    Raises:
        ValueError: if eps < 1 or min_points < 1.
    """
    if not 1.0 <= eps < np.inf or min_points < 1:
        raise ValueError(f"need a finite eps >= 1 voxel and min_points >= 1, got {eps} and {min_points}")
    blocks = voxels.blocks
    is_solid = blocks.cells[: blocks.n] > 0
    pool = (blocks.table, blocks.keys, unpack(blocks.keys[: blocks.n]), is_solid)
    offsets = _ball(eps)
    is_core = np.zeros(is_solid.shape, dtype=np.bool_)
    _mark_cores(pool, offsets, int(min_points), is_core)
    crumbs = np.empty(np.count_nonzero(is_solid), dtype=np.int64)
    crumbs = crumbs[: _find_crumbs(pool, offsets, is_core, crumbs)]
    if len(crumbs):
        blocks.revision += 1
        blocks.cells.reshape(-1)[crumbs] = UNKNOWN
        blocks.revisions[crumbs // VOLUME] = blocks.revision
        clear_channels(blocks, crumbs)
    return len(crumbs)


def _ball(eps: float) -> Int[np.ndarray, "n 3"]:
    """All whole steps no longer than `eps`, short ones first: most voxels are decided by their nearest neighbours."""
    axis = np.arange(-int(eps), int(eps) + 1)
    steps = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    square = (steps**2).sum(axis=1)
    return steps[np.argsort(square, kind="stable")][: np.count_nonzero(square <= eps * eps)]


@no_type_check
@njit(cache=True)
def _mark_cores(pool, offsets, min_points, is_core):
    """Mark the solid voxels with at least `min_points` solid ones around."""
    is_solid = pool[3]
    around, reach = _neighbourhood(offsets)
    for row in range(len(is_solid)):
        is_current = False
        for i in range(VOLUME):
            if not is_solid[row, i]:
                continue
            if not is_current:
                _read_neighbours(pool, row, reach, around)
                is_current = True
            is_core[row, i] = _count(is_solid, around, reach, offsets, i, min_points) >= min_points


@no_type_check
@njit(cache=True)
def _find_crumbs(pool, offsets, is_core, crumbs):
    """How many solid voxels have no core around, written as row * 512 + cell."""
    is_solid = pool[3]
    around, reach = _neighbourhood(offsets)
    n = 0
    for row in range(len(is_solid)):
        is_current = False
        for i in range(VOLUME):
            if not is_solid[row, i] or is_core[row, i]:
                continue
            if not is_current:
                _read_neighbours(pool, row, reach, around)
                is_current = True
            if _count(is_core, around, reach, offsets, i, 1) == 0:
                crumbs[n] = row * VOLUME + i
                n += 1
    return n


@no_type_check
@njit(cache=True)
def _neighbourhood(offsets):
    """(rows of the blocks around a block, still unset; how many blocks away the farthest is)."""
    reach = (offsets.max() + SIDE - 1) // SIDE
    side = 2 * reach + 1
    return np.empty((side, side, side), dtype=np.int64), reach


@no_type_check
@njit(cache=True)
def _read_neighbours(pool, row, reach, around):
    """Look up the rows of the blocks around the block of `row`, -1 where there is none."""
    table, keys, coordinates, _ = pool
    bx, by, bz = coordinates[row]
    for x in range(around.shape[0]):
        for y in range(around.shape[1]):
            for z in range(around.shape[2]):
                around[x, y, z] = find(table, keys, pack(bx + x - reach, by + y - reach, bz + z - reach))


@no_type_check
@njit(cache=True)
def _count(is_counted, around, reach, offsets, i, enough):
    """How many voxels around voxel i of the middle block are counted; counting ends at `enough`."""
    x0, y0, z0 = i // (SIDE * SIDE) + reach * SIDE, i // SIDE % SIDE + reach * SIDE, i % SIDE + reach * SIDE
    n = 0
    for j in range(len(offsets)):
        x, y, z = x0 + offsets[j, 0], y0 + offsets[j, 1], z0 + offsets[j, 2]
        row = around[x // SIDE, y // SIDE, z // SIDE]
        if row >= 0:
            n += is_counted[row, ((x % SIDE) * SIDE + y % SIDE) * SIDE + z % SIDE]
            if n >= enough:
                break
    return n
