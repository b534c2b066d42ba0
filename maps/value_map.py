"""Where looking is worth most: places never seen first, then those that were seen longest ago."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from scipy.special import expit

from embmem.maps.grid import FREE, UNSEEN, OccupancyGrid
from embmem.maps.voxels.blocks import SIDE, unpack
from embmem.maps.voxels.voxel_map import VoxelMap

SLOPE = 0.1  # [1/s]
MIDDLE = 10.0  # [s]; what was seen that long ago is worth one half


def last_seen(
    voxels: VoxelMap, grid: OccupancyGrid, *, z_floor: float = -0.15, z_max: float = 1.0
) -> Float[np.ndarray, "h w"]:
    """The stamp [s] at which each cell of the grid was last seen, -inf where it never was.

    That is the newest stamp of the blocks over the cell between `z_floor` and `z_max`, which should be the heights that
    the grid was built with; a block is 8 voxels wide, so up to 8 x 8 cells share their stamp.
    """
    pool = voxels.blocks
    stamps = np.full(grid.cells.shape, -np.inf)
    if pool.n == 0 or grid.cells.size == 0:
        return stamps
    columns, rows = grid.cells.shape[1] // SIDE, grid.cells.shape[0] // SIDE
    corner = np.round(grid.origin / (SIDE * voxels.resolution)).astype(np.int64)
    low, high = (round(z / voxels.resolution) for z in (z_floor, z_max))
    blocks = unpack(pool.keys[: pool.n])
    at = blocks[:, :2] - corner
    inside = (blocks[:, 2] >= low // SIDE) & (blocks[:, 2] <= (high - 1) // SIDE)
    inside &= (at >= 0).all(axis=1) & (at < (columns, rows)).all(axis=1)
    newest = np.full((rows, columns), -np.inf)
    np.maximum.at(newest, (at[inside, 1], at[inside, 0]), pool.stamps[: pool.n][inside])
    stamps[:] = newest.repeat(SIDE, axis=0).repeat(SIDE, axis=1)
    stamps[grid.cells == UNSEEN] = -np.inf
    return stamps


def exploration_value(
    age: Float[np.ndarray, "..."], *, slope: float = SLOPE, middle: float = MIDDLE
) -> Float[np.ndarray, "..."]:
    """sigmoid(slope * (age - middle)) of ages [s] since a place was last seen; inf, never seen, is worth 1.

    It grows with age: what was just seen is worth 0.27, after 10 s 0.5, after a minute 0.99 (DynaMem, Liu et al., ICRA
    2025, value map of exploration).
    """
    value: Float[np.ndarray, "..."] = expit(slope * (age - middle))
    return value


def outer_border(grid: OccupancyGrid) -> Bool[np.ndarray, "h w"]:
    """True for the cells beside free ones, diagonals included, that are not free themselves.

    That is where exploring can lead: unseen cells, never seen, and the faces of obstacles, as old as their last look.
    The frontier of `OccupancyGrid.is_frontier` lies on the inner side of it, where everything was seen.
    """
    is_free = grid.cells == FREE
    border: Bool[np.ndarray, "h w"] = ndimage.binary_dilation(is_free, np.ones((3, 3))) & ~is_free
    return border


def value_map(
    grid: OccupancyGrid,
    seen: Float[np.ndarray, "h w"],
    now: float,
    *,
    similarity: Float[np.ndarray, "h w"] | None = None,
    weight: float = 0.5,
    candidates: Bool[np.ndarray, "h w"] | None = None,
) -> Float[np.ndarray, "h w"]:
    """What going to see each candidate cell is worth, NaN elsewhere.

    Args:
        grid: the floor plan.
        seen: stamps [s] from `last_seen`.
        now: [s]; what was seen later than that counts as just seen.
        similarity: of what was seen there to what is looked for, in [0, 1], NaN or 0 where nothing is known. Times
            `weight` it is added: both together then lie in [0, 1 + weight].
        weight: of the similarity.
        candidates: by default the outer border of the free space.

    Raises:
        ValueError: if the arrays are not of the grid's shape or the weight is negative.
    """
    mask = outer_border(grid) if candidates is None else candidates
    shapes = {a.shape for a in (grid.cells, seen, mask, similarity) if a is not None}
    if len(shapes) > 1 or not weight >= 0:
        raise ValueError(f"need arrays of one shape and a weight >= 0, got {shapes} and {weight}")
    value = exploration_value(np.maximum(now - seen, 0.0))
    if similarity is not None:
        value = value + weight * np.nan_to_num(similarity, nan=0.0)
    return np.where(mask, value, np.nan)


def best_cell(
    value: Float[np.ndarray, "h w"], start: tuple[int, int], *, step: float = 0.005
) -> tuple[int, int] | None:
    """The (row, column) of highest value, the nearest to `start` among those equal; None if every value is NaN.

    Values are rounded up to multiples of `step`, so that tiny differences of age do not send the robot across the
    house; of equally near cells the first row and column wins.
    """
    cells = np.argwhere(np.isfinite(value))
    if len(cells) == 0:
        return None
    rank = np.ceil(np.round(value[cells[:, 0], cells[:, 1]] / step, 6))
    cells = cells[rank == rank.max()]
    row, column = cells[np.argmin(((cells - np.array(start)) ** 2).sum(axis=1))].tolist()
    return row, column
