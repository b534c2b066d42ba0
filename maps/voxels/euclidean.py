"""Signed Euclidean distance to what is solid, kept beside a voxel map where a planner asks for it."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from embmem.maps.voxels.blocks import AXIS_LIMIT, SIDE, UNKNOWN, BlockPool, find, insert, pack, unpack
from embmem.maps.voxels.cast import cell_index
from embmem.maps.voxels.edt import FAR, MAX_REACH, coordinate, fill_tiles
from embmem.maps.voxels.voxel_map import VoxelMap

_TILE = 8  # blocks along the edge of the cubes that are computed at once
_CORNERS = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(8, 3)


class EuclideanField:
    """Distances between voxel centres: exact, whatever the way on which the map became what it is.

    Outside of solid voxels the distance to the nearest solid one, > 0; inside, minus the distance to the nearest that
    is not solid; so none is nearer to zero than one voxel. Solid is what is occupied, and with `unknown="occupied"`
    what was never seen as well. What is farther than `max_distance` counts as `max_distance` away.

    The field holds what the map was at the last `update`. An update computes the blocks within `max_distance` of voxels
    that became solid or ceased to be, and the blocks that are new in the map. A block beside the map is computed when
    it is first asked for, and kept up to date from then on.
    """

    def __init__(self, voxels: VoxelMap, max_distance: float = 2.0, *, unknown: str = "free") -> None:
        if not voxels.resolution <= max_distance <= MAX_REACH * voxels.resolution:
            raise ValueError(f"max_distance must be 1 to {MAX_REACH} voxels, got {max_distance} m")
        if unknown not in ("free", "occupied"):
            raise ValueError(f"unknown must be 'free' or 'occupied', got {unknown!r}")
        self.voxels = voxels
        self.max_distance = max_distance
        self.unknown = unknown
        # 1e-6 so that 20 voxels of 5 cm are within 1 m; squares are rounded down to whole numbers
        self._limit = int((max_distance / voxels.resolution) ** 2 * (1.0 + 1e-6))
        self._reach = int(np.sqrt(self._limit))
        self._restart()

    def _restart(self) -> None:
        self._map = self.voxels.blocks
        self._field = BlockPool(np.int16)  # its cells are squared distances in voxels, < 0 inside of what is set
        self._masks = np.zeros((len(self._map.keys), 8), dtype=np.uint64)  # a bit a voxel of the map's blocks
        self._highest = np.zeros(len(self._field.keys), dtype=np.int16)  # what no voxel of a field's block exceeds
        self._n_map, self._revision = 0, -1

    def update(self) -> int:
        """Follow the map; returns the number of blocks that were computed."""
        if self.voxels.blocks is not self._map:
            self._restart()
        source, field = self._map, self._field
        self._masks = _grown(self._masks, len(source.keys))
        is_changed = source.revisions[: source.n] > self._revision
        is_changed[self._n_map :] = True
        rows = np.flatnonzero(is_changed)
        boxes = np.empty((len(rows), 2, 3), dtype=np.int64)
        n = _update_masks(rows, source.keys, source.cells, self._masks, boxes, self.unknown == "occupied")
        is_stale = np.zeros(field.n, dtype=np.bool_)
        _mark_stale(boxes[:n], field.table, field.keys, self._highest, is_stale, self._reach)
        first = self._add_blocks(source.keys[self._n_map : source.n])
        self._n_map, self._revision = source.n, source.revision
        stale = np.append(np.flatnonzero(is_stale), np.arange(first, field.n))
        self._compute(stale)
        return len(stale)

    def distance(self, points: Float[np.ndarray, "n 3"], *, interpolate: bool = False) -> Float[np.ndarray, " n"]:
        """Signed distance [m] of the voxels that hold the points [m], or interpolated between the nearest 8 centres.

        NaN for points that are not finite or out of the map's range.
        """
        if not interpolate:
            voxels, _, inside = self._locate(points, 0.0)
            return np.where(inside, self._distances(voxels), np.nan)
        corners, weights = self._corners(points)
        return np.einsum("nijk,ni,nj,nk->n", corners, *weights)

    def gradient(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Gradient of the interpolated distance, about 1 long: the way from the nearest solid; 0 where all is far."""
        corners, (x, y, z) = self._corners(points)
        d = np.array([-1.0, 1.0]) / self.voxels.resolution
        axes = [
            np.einsum("nijk,i,nj,nk->n", corners, d, y, z),
            np.einsum("nijk,ni,j,nk->n", corners, x, d, z),
            np.einsum("nijk,ni,nj,k->n", corners, x, y, d),
        ]
        return np.stack(axes, axis=1)

    def n_bytes(self) -> int:
        """Bytes of RAM."""
        return self._field.n_bytes() + self._masks[: self._n_map].nbytes

    def _add_blocks(self, keys: Int[np.ndarray, " n"]) -> int:
        """Make room for the blocks `keys` where they lack; returns the first new row, and none is computed yet."""
        field = self._field
        field.reserve(len(keys))
        self._highest = _grown(self._highest, len(field.keys))
        first, field.n = field.n, _add_blocks(keys, field.table, field.keys, field.cells, field.n)
        return first

    def _compute(self, rows: Int[np.ndarray, " n"]) -> None:
        field, source = self._field, self._map
        tiles = unpack(field.keys[rows]) // _TILE
        tile = pack(tiles[:, 0], tiles[:, 1], tiles[:, 2])
        order = np.argsort(tile, kind="stable")
        starts = np.flatnonzero(np.diff(tile[order], prepend=-1, append=-1))
        map_blocks = (source.table, source.keys, self._masks, self._n_map)
        fill_tiles(rows[order], starts, field.keys, field.cells, *map_blocks, self._reach, self._limit)
        _find_highest(rows, field.cells, self._highest, self._limit)

    def _locate(self, points: Float[np.ndarray, "n 3"], shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """((n, 3) voxels, (n, 3) places in them in [0, 1), which points are within the map's range)."""
        scaled = np.asarray(points, dtype=np.float64) / self.voxels.resolution - shift
        inside = np.abs(scaled).max(axis=1) < (AXIS_LIMIT - 1) * SIDE
        scaled = np.where(inside[:, None], scaled, 0.0)
        voxels = np.floor(scaled)
        return voxels.astype(np.int64), scaled - voxels, inside

    def _corners(self, points: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Distances (n, 2, 2, 2) of the 8 centres around each point, and their (n, 2) weights along x, y and z."""
        voxels, place, inside = self._locate(points, 0.5)
        distances = self._distances((voxels[:, None] + _CORNERS).reshape(-1, 3)).reshape(-1, 2, 2, 2)
        place[~inside] = np.nan
        return distances, [np.stack([1.0 - place[:, axis], place[:, axis]], axis=1) for axis in range(3)]

    def _distances(self, voxels: Int[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Signed distances [m] of voxels; blocks that lack are added if anything is near them."""
        field = self._field
        squares = np.empty(len(voxels), dtype=np.int16)
        if _read(field.table, field.keys, field.cells, voxels, squares) < len(voxels):
            blocks = voxels[squares == 0] // SIDE
            keys = np.unique(pack(blocks[:, 0], blocks[:, 1], blocks[:, 2]))
            halo = (self._reach + SIDE - 1) // SIDE
            source = self._map
            keys = keys[_are_near(unpack(keys), source.table, source.keys, self._masks, self._n_map, halo)]
            self._compute(np.arange(self._add_blocks(keys), field.n))
            _read(field.table, field.keys, field.cells, voxels, squares)
            squares[squares == 0] = FAR
        lengths = np.sqrt(np.abs(squares, dtype=np.float64)) * self.voxels.resolution
        lengths = np.minimum(lengths, self.max_distance)
        return np.where((squares > 0) == (self.unknown == "free"), lengths, -lengths)


@no_type_check
@njit(cache=True)
def _update_masks(rows, keys, cells, masks, boxes, want_free):
    """Renew the masks of the rows; writes the boxes (n, 2, 3) of voxels whose bits changed and returns their number."""
    n = 0
    for row in rows:
        is_changed = False
        for x in range(SIDE):
            mask = np.uint64(0)
            for i in range(SIDE * SIDE):
                value = cells[row, x * SIDE * SIDE + i]
                is_set = value != UNKNOWN and value <= 0 if want_free else value > 0
                mask |= np.uint64(is_set) << np.uint64(i)
            difference = mask ^ masks[row, x]
            masks[row, x] = mask
            if difference != 0:
                if not is_changed:
                    is_changed = True
                    boxes[n, 0], boxes[n, 1] = SIDE, -1
                _extend(boxes[n], x, difference)
        if is_changed:
            for axis in range(3):
                boxes[n, :, axis] += coordinate(keys[row], axis) * SIDE
            n += 1
    return n


@no_type_check
@njit(cache=True)
def _extend(box, x, difference):
    """Extend the box by the bits of a plane x."""
    for i in range(SIDE * SIDE):
        if (difference >> np.uint64(i)) & np.uint64(1):
            for axis, value in enumerate((x, i // SIDE, i % SIDE)):
                box[0, axis] = min(box[0, axis], value)
                box[1, axis] = max(box[1, axis], value)


@no_type_check
@njit(cache=True)
def _add_blocks(new, table, keys, cells, n):
    for key in new:
        _, n = insert(table, keys, cells, n, key)
    return n


@no_type_check
@njit(cache=True, inline="always")
def _gap(block, low, high):
    """Voxels between the voxels of a block and the range [low, high] along one axis."""
    return max(0, low - (block * SIDE + SIDE - 1), block * SIDE - high)


@no_type_check
@njit(cache=True)
def _mark_stale(boxes, table, keys, highest, is_stale, reach):
    """Mark the blocks with a voxel that a change in a box may concern: one that is not nearer to anything else."""
    for i in range(len(boxes)):
        low, high = boxes[i]
        for x in range((low[0] - reach) // SIDE, (high[0] + reach) // SIDE + 1):
            gap_x = _gap(x, low[0], high[0])
            for y in range((low[1] - reach) // SIDE, (high[1] + reach) // SIDE + 1):
                gap_y = _gap(y, low[1], high[1])
                for z in range((low[2] - reach) // SIDE, (high[2] + reach) // SIDE + 1):
                    gap_z = _gap(z, low[2], high[2])
                    row = find(table, keys, pack(x, y, z))
                    if row >= 0 and gap_x * gap_x + gap_y * gap_y + gap_z * gap_z <= highest[row]:
                        is_stale[row] = True


@no_type_check
@njit(cache=True)
def _find_highest(rows, values, highest, limit):
    """The highest squared distance of the voxels of each row, at most `limit`."""
    for row in rows:
        top = np.int16(0)
        for i in range(values.shape[1]):
            value = np.int16(abs(values[row, i]))
            top = value if value > top else top
        highest[row] = min(top, limit)


@no_type_check
@njit(cache=True)
def _are_near(blocks, table, keys, masks, n, halo):
    """Which (m, 3) blocks have a voxel that is set within `halo` blocks."""
    near = np.zeros(len(blocks), dtype=np.bool_)
    for i in range(len(blocks)):
        bx, by, bz = blocks[i]
        for x in range(bx - halo, bx + halo + 1):
            for y in range(by - halo, by + halo + 1):
                for z in range(bz - halo, bz + halo + 1):
                    if near[i]:
                        break
                    row = find(table, keys, pack(x, y, z))
                    near[i] = 0 <= row < n and masks[row].any()
    return near


@no_type_check
@njit(cache=True)
def _read(table, keys, values, voxels, out):
    """Write the value of each (m, 3) voxel, 0 where there is no block; returns how many have one."""
    n = 0
    row, last = -1, np.int64(-1)
    for i in range(len(voxels)):
        x, y, z = voxels[i]
        key = pack(x // SIDE, y // SIDE, z // SIDE)
        if key != last:
            row, last = find(table, keys, key), key
        out[i] = values[row, cell_index(x, y, z)] if row >= 0 else 0
        n += row >= 0
    return n


def _grown(array: np.ndarray, n: int) -> np.ndarray:
    """The array with at least n rows, the new ones zero."""
    if len(array) >= n:
        return array
    return np.concatenate([array, np.zeros_like(array, shape=(n - len(array), *array.shape[1:]))])
