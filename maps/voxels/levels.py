"""The octree over the voxels: coarse nodes with bounds of what they hold, made from the blocks when asked for.

A node of level L is a cube of 2^L voxels: 0 are the voxels, 3 the blocks, 24 the root around all that can be mapped.
In Morton order the children of a node follow each other, so every node is one run of blocks or of cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from embmem.maps.voxels import morton
from embmem.maps.voxels.blocks import AXIS_BITS, AXIS_LIMIT, SCALE, SIDE, UNKNOWN, VOLUME, find, unpack
from embmem.maps.voxels.cast import address
from embmem.maps.voxels.summary import Voxels, unpack_one

BLOCK_LEVEL = SIDE.bit_length() - 1
ROOT_LEVEL = BLOCK_LEVEL + AXIS_BITS
_PLACES = morton.decode(np.arange(VOLUME))  # x, y, z in a block by Morton code
_CELLS = (_PLACES[:, 0] * SIDE + _PLACES[:, 1]) * SIDE + _PLACES[:, 2]
_CODES = np.argsort(_CELLS)  # Morton code by cell


@dataclass(frozen=True, eq=False)
class Level:
    """The n nodes of one level that hold a known voxel, in Morton order."""

    level: int
    edge: float  # of a node [m]
    nodes: Int[np.ndarray, "n 3"]  # in edges from the lowest corner of the root; `nodes >> 1` are the parents
    centres: Float[np.ndarray, "n 3"]  # [m]
    min_log_odds: Float[np.ndarray, " n"]  # over the known voxels
    max_log_odds: Float[np.ndarray, " n"]
    n_occupied: Int[np.ndarray, " n"]
    n_free: Int[np.ndarray, " n"]

    def n_unknown(self) -> Float[np.ndarray, " n"]:
        """Voxels of each node that were never seen, not whole numbers since the root has 2^72 of them."""
        return 8.0**self.level - self.n_occupied - self.n_free


@dataclass(frozen=True, eq=False)
class Leaves:
    """n cubes that do not overlap and hold all known voxels, in Morton order."""

    levels: Int[np.ndarray, " n"]
    edges: Float[np.ndarray, " n"]  # [m]
    centres: Float[np.ndarray, "n 3"]  # [m]
    log_odds: Float[np.ndarray, " n"]


def level(voxels: Voxels, depth: int) -> Level:
    """The nodes of level `depth`: 0 for voxels, 3 for blocks, 24 for the root.

    Raises:
        ValueError: if there is no such level.
    """
    _check_level(depth)
    rows, codes = _known_blocks(voxels)
    if depth < BLOCK_LEVEL:
        nodes, values = _split_blocks(rows, voxels.blocks.keys, voxels.blocks.cells, depth, (_CELLS, _PLACES))
        low, high, n_occupied, n_free = values.T
    else:
        shift = depth - BLOCK_LEVEL
        parents = codes >> (3 * shift)
        first = np.flatnonzero(np.diff(parents, prepend=-1))
        nodes, summary = morton.decode(parents[first]), voxels.summary()
        low, high, n_occupied, n_free = (
            reduce.reduceat(of_blocks[rows].astype(np.int64), first) if len(rows) else rows
            for reduce, of_blocks in (
                (np.minimum, summary.lowest),
                (np.maximum, summary.highest),
                (np.add, summary.n_occupied),
                (np.add, summary.n_free),
            )
        )
    edge = voxels.resolution * 2.0**depth
    return Level(depth, edge, nodes, _centres(nodes, depth, voxels), low / SCALE, high / SCALE, n_occupied, n_free)


def log_odds_bounds(
    voxels: Voxels, points: Float[np.ndarray, "n 3"], depth: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """(min, max) log-odds of the known voxels in the node of level `depth` around each point [m], NaN if it has none.

    Raises:
        ValueError: if there is no such level.
    """
    _check_level(depth)
    points = np.ascontiguousarray(points, dtype=np.float64)
    if depth < BLOCK_LEVEL:
        pool, found = voxels.blocks, np.empty((len(points), 2))
        _bounds_in_blocks(
            (pool.table, pool.keys, pool.cells), points, voxels.resolution, depth, (found, _CELLS, _CODES)
        )
        return found[:, 0], found[:, 1]
    coarse, limit = level(voxels, depth), AXIS_LIMIT * SIDE
    at = np.floor(points / voxels.resolution)
    inside = np.all(np.abs(at) < limit, axis=1)  # NaN is not
    wanted = morton.encode((np.where(inside[:, None], at, 0.0).astype(np.int64) + limit) >> depth)
    low, high = np.full((2, len(points)), np.nan)
    if len(coarse.nodes):
        codes = morton.encode(coarse.nodes)
        place = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
        is_known = np.flatnonzero(inside & (codes[place] == wanted))
        low[is_known], high[is_known] = coarse.min_log_odds[place[is_known]], coarse.max_log_odds[place[is_known]]
    return low, high


def octree(voxels: Voxels, *, finest: int = 0, coarsest: int = ROOT_LEVEL) -> Leaves:
    """The leaves of the pruned octree (Hornung et al., OctoMap, 2013, sec. 3.4): the largest cubes in which all voxels
    are known with the same log-odds.

    Args:
        finest: nodes of this level are leaves whatever they hold, with the largest log-odds in them.
        coarsest: no leaf is larger.

    Raises:
        ValueError: unless 0 <= finest <= coarsest <= 24.
    """
    _check_level(finest)
    _check_level(coarsest)
    if finest > coarsest:
        raise ValueError(f"need finest <= coarsest, got {finest} and {coarsest}")
    parts = []
    bottom = max(finest, min(BLOCK_LEVEL, coarsest))
    above = level(voxels, bottom)
    nodes, values = above.nodes, np.round(above.max_log_odds * SCALE).astype(np.int64)
    is_uniform = (above.min_log_odds == above.max_log_odds) & (above.n_unknown() == 0)
    if bottom > finest:
        rows, _ = _known_blocks(voxels)
        pool = voxels.blocks
        parts.append(_leaves_in_blocks(rows, pool.keys, pool.cells, (finest, bottom), (_CELLS, _PLACES)))
    else:
        parts.append((nodes[~is_uniform], values[~is_uniform], np.full(np.sum(~is_uniform), bottom)))
    nodes, values = nodes[is_uniform], values[is_uniform]
    for depth in range(bottom, coarsest + 1):
        is_merged = _agreeing(nodes, values) if depth < coarsest else np.zeros(len(nodes), dtype=bool)
        parts.append((nodes[~is_merged], values[~is_merged], np.full(np.sum(~is_merged), depth)))
        nodes, values = nodes[is_merged][::8] >> 1, values[is_merged][::8]
    return _leaves(parts, voxels)


def _leaves(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], voxels: Voxels) -> Leaves:
    """Parts of (nodes, bytes, levels) as leaves in Morton order."""
    nodes, values, levels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    corners = nodes << levels[:, None]
    inner = morton.encode(corners & (SIDE - 1))
    order = np.lexsort((inner, morton.encode(corners >> BLOCK_LEVEL)))
    nodes, values, levels = nodes[order], values[order], levels[order]
    return Leaves(levels, voxels.resolution * 2.0**levels, _centres(nodes, levels[:, None], voxels), values / SCALE)


def _agreeing(nodes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Which nodes, blocks or larger and in Morton order, have all their siblings and share a value with them."""
    parents = morton.encode(nodes) >> 3
    merged = np.zeros(len(nodes), dtype=bool)
    if len(nodes) >= 8:
        first = np.flatnonzero(parents[7:] == parents[:-7])  # nodes are distinct: these 8 are all children of one
        siblings = first[:, None] + np.arange(8)
        merged[siblings[(values[siblings] == values[siblings[:, :1]]).all(axis=1)]] = True
    return merged


def _check_level(depth: int) -> None:
    if not 0 <= depth <= ROOT_LEVEL:
        raise ValueError(f"levels are 0 to {ROOT_LEVEL}, got {depth}")


def _known_blocks(voxels: Voxels) -> tuple[np.ndarray, np.ndarray]:
    """(rows, Morton codes) of the blocks that hold a known voxel, in ascending order of the codes."""
    pool, summary = voxels.blocks, voxels.summary()
    rows = np.flatnonzero(summary.highest[: pool.n] != UNKNOWN)
    codes = morton.encode(unpack(pool.keys[rows]) + AXIS_LIMIT)
    order = np.argsort(codes)
    return rows[order], codes[order]


def _centres(nodes: np.ndarray, depth: int | np.ndarray, voxels: Voxels) -> np.ndarray:
    return ((nodes + 0.5) * 2.0**depth - AXIS_LIMIT * SIDE) * voxels.resolution


@no_type_check
@njit(cache=True)
def _reduce(cells, row, run, order):
    """(lowest, highest, occupied, free) over the known voxels of a run of Morton codes in a block."""
    low, high, n_occupied, n_known = np.int8(127), UNKNOWN, 0, 0
    for i in range(run[0], run[1]):
        cell = cells[row, order[i]]
        if cell != UNKNOWN:
            low, high = min(low, cell), max(high, cell)
            n_known += 1
            n_occupied += cell > 0
    return low, high, n_occupied, n_known - n_occupied


@no_type_check
@njit(cache=True)
def _split_blocks(rows, keys, cells, depth, tables):
    """((n, 3) nodes, (n, 4) of `_reduce`) of the nodes of a level below the blocks that hold a known voxel."""
    order, places = tables
    size, n = 8**depth, 0
    for row in rows:
        for i in range(0, cells.shape[1], size):
            n += _reduce(cells, row, (i, i + size), order)[1] != UNKNOWN
    nodes, values = np.empty((n, 3), dtype=np.int64), np.empty((n, 4), dtype=np.int64)
    n = 0
    for row in rows:
        for i in range(0, cells.shape[1], size):
            found = _reduce(cells, row, (i, i + size), order)
            if found[1] != UNKNOWN:
                _write_node(nodes, n, keys[row], places[i], depth)
                values[n, 0], values[n, 1], values[n, 2], values[n, 3] = found
                n += 1
    return nodes, values


@no_type_check
@njit(cache=True)
def _leaves_in_blocks(rows, keys, cells, levels, tables):
    """((n, 3) nodes, (n,) bytes, (n,) levels) of the leaves that are smaller than a level of at most the blocks.

    Args:
        levels: (finest, the level above the largest of these leaves).
        tables: (cells, places) by Morton code.
    """
    above = levels[1]
    n = 0
    for is_listing in (False, True):
        if is_listing:
            nodes, values, depths = np.empty((n, 3), np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
            n = 0
        for row in rows:
            i = 0
            while i < cells.shape[1]:
                depth, found = _leaf(cells, row, i, levels, tables[0])
                if depth < above and found[1] != UNKNOWN:
                    if is_listing:
                        _write_node(nodes, n, keys[row], tables[1][i], depth)
                        values[n], depths[n] = found[1], depth
                    n += 1
                i += 8**depth
    return nodes, values, depths


@no_type_check
@njit(cache=True)
def _leaf(cells, row, i, levels, order):
    """(level, what it holds) of the largest node from code i on that is a leaf, of level `above` where that is one."""
    finest, above = levels
    depth = above
    while True:
        size = 8**depth
        if i % size == 0:
            found = _reduce(cells, row, (i, i + size), order)
            is_full = found[2] + found[3] == size
            if depth == finest or found[1] == UNKNOWN or (found[0] == found[1] and is_full):
                return depth, found
        depth -= 1


@no_type_check
@njit(cache=True)
def _write_node(nodes, n, key, place, depth):
    """Write the coordinates of the node of a level around one place in a block."""
    block = unpack_one(key)
    for axis in range(3):
        nodes[n, axis] = ((block[axis] + AXIS_LIMIT) * SIDE + place[axis]) >> depth


@no_type_check
@njit(cache=True, error_model="numpy")
def _bounds_in_blocks(blocks, points, resolution, depth, tables):
    """Write (min, max) log-odds of the nodes around points, NaN where nothing is known."""
    table, keys, cells = blocks
    bounds, order, codes = tables
    size = 8**depth
    for i in range(len(points)):
        bounds[i] = np.nan
        key, cell = address(points[i], resolution)
        row = find(table, keys, key) if key >= 0 else -1
        if row >= 0:
            first = codes[cell] // size * size
            low, high, _, _ = _reduce(cells, row, (first, first + size), order)
            if high != UNKNOWN:
                bounds[i, 0], bounds[i, 1] = low / SCALE, high / SCALE
