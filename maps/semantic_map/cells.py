"""What a labelled voxel map shows from above: for every category the cells over which something of it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit

from embmem.maps.voxels.blocks import SIDE, unpack
from embmem.maps.voxels.voxel_map import VoxelMap

_COLUMNS = ("x", "y", "z", "label", "votes", "total")


@dataclass(frozen=True, eq=False)
class LabelCells:
    """Cells with at least one occupied voxel of a category, in order of category, then y, then x.

    Cell (x, y) reaches from x to x + 1 resolutions along the axes of the map.
    """

    resolution: float  # [m]
    category: Int[np.ndarray, " n"]  # number of the name in the map's payload
    xy: Int[np.ndarray, "n 2"]
    n_voxels: Int[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]  # [m] bottom of the lowest of these voxels
    top: Float[np.ndarray, " n"]  # [m] top of the highest
    share: Float[np.ndarray, " n"]  # mean share of the votes that went to the category, in (0, 1]
    votes: Int[np.ndarray, " n"]  # most frames that showed the category in one of these voxels
    stamp: Float[np.ndarray, " n"]  # [s] when one of the voxels was last measured

    def __len__(self) -> int:
        return len(self.category)


def label_cells(
    voxels: VoxelMap,
    is_wanted: Bool[np.ndarray, " names"],
    *,
    z_min: float,
    z_max: float,
) -> LabelCells:
    """The cells of the wanted categories between two heights [m], which are rounded to whole voxels.

    A voxel counts for the label with most votes, of equals the lower number.

    Raises:
        ValueError: if the map keeps no labels.
    """
    payload = voxels.payload
    if payload is None or not {"labels", "seen"} <= set(payload.channels):
        raise ValueError("a semantic map needs voxels with the payload channels 'labels' and 'seen'")
    pool, resolution = voxels.blocks, voxels.resolution
    channels = payload.open_channels(pool)
    low, high = round(z_min / resolution), round(z_max / resolution)
    coordinates = unpack(pool.keys[: pool.n])
    rows = np.flatnonzero((coordinates[:, 2] * SIDE < high) & ((coordinates[:, 2] + 1) * SIDE > low))
    wanted = np.append(False, is_wanted)  # numbers in the channel begin at 1
    source = (coordinates, rows, pool.cells, channels["labels"], channels["seen"])
    found = np.empty((0, len(_COLUMNS)), dtype=np.int32)
    seen = np.empty(0, dtype=np.float32)
    n = _surface_voxels(*source, wanted, (low, high), found, seen)
    found, seen = np.empty((n, len(_COLUMNS)), dtype=np.int32), np.empty(n, dtype=np.float32)
    _surface_voxels(*source, wanted, (low, high), found, seen)
    return _by_cell(found, seen.astype(np.float64) + (voxels.epoch - 1.0), resolution)


def _by_cell(found: np.ndarray, stamps: np.ndarray, resolution: float) -> LabelCells:
    """The voxels (`_COLUMNS`) summed up by category and cell."""
    x, y, z, category, votes, total = found.T.astype(np.int64)
    order = np.lexsort((x, y, category))
    x, y, z, category = x[order], y[order], z[order], category[order]
    is_first = np.ones(len(x), dtype=np.bool_)
    is_first[1:] = (np.diff(x) != 0) | (np.diff(y) != 0) | (np.diff(category) != 0)
    first = np.flatnonzero(is_first)
    if len(first) == 0:
        nothing = np.zeros(0, dtype=np.int64)
        empty = np.zeros(0)
        return LabelCells(resolution, nothing, np.zeros((0, 2), np.int64), nothing, empty, empty, empty, nothing, empty)
    n_voxels = np.diff(np.append(first, len(x)))
    share = np.add.reduceat((votes / np.maximum(total, 1))[order], first) / n_voxels
    return LabelCells(
        resolution,
        category[first] - 1,
        np.stack([x[first], y[first]], axis=1),
        n_voxels,
        np.minimum.reduceat(z, first) * resolution,
        (np.maximum.reduceat(z, first) + 1) * resolution,
        share,
        np.maximum.reduceat(votes[order], first),
        np.maximum.reduceat(stamps[order], first),
    )


@no_type_check
@njit(cache=True)
def _surface_voxels(coordinates, rows, cells, labels, seen, is_wanted, limits, found, stamps):
    """How many occupied voxels have a wanted label; they are written to `found`, `stamps` unless these are empty."""
    low, high = limits
    n = 0
    for i in range(len(rows)):
        row = rows[i]
        for cell in range(cells.shape[1]):
            if cells[row, cell] <= 0:
                continue
            z = coordinates[row, 2] * SIDE + cell % SIDE
            if z < low or z >= high:
                continue
            best, votes, total = 0, 0, 0
            for slot in range(labels.shape[2]):
                label, count = np.int64(labels[row, cell, slot, 0]), np.int64(labels[row, cell, slot, 1])
                total += count
                if count > votes or (count == votes and count > 0 and label < best):
                    best, votes = label, count
            if votes == 0 or not is_wanted[best]:
                continue
            if len(found) > 0:
                found[n, 0] = coordinates[row, 0] * SIDE + cell // (SIDE * SIDE)
                found[n, 1] = coordinates[row, 1] * SIDE + cell // SIDE % SIDE
                found[n, 2], found[n, 3], found[n, 4], found[n, 5] = z, best, votes, total
                stamps[n] = seen[row, cell]
            n += 1
    return n
