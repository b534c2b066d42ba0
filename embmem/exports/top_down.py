"""A map seen from above: what a person wants to look at, and what the preview draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True, eq=False)
class TopDown:
    """Columns of a voxel map; row 0 is the lowest y, column 0 the lowest x.

    `height` is the top of what stands in a column [m], NaN where nothing does; `known` marks columns with any voxel.
    """

    origin: Float[np.ndarray, "2"]  # map x, y of the outer corner of cell (0, 0) [m]
    resolution: float  # [m]
    height: Float[np.ndarray, "rows columns"]
    known: Bool[np.ndarray, "rows columns"]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top) [m] in the map frame."""
        rows, columns = self.known.shape
        x, y = float(self.origin[0]), float(self.origin[1])
        return x, x + columns * self.resolution, y, y + rows * self.resolution


def top_down(
    occupied: Float[np.ndarray, "n 3"],
    free: Float[np.ndarray, "m 3"],
    resolution: float,
    *,
    floor: float = 0.1,
    ceiling: float = 2.0,
) -> TopDown:
    """The columns of the voxels with these centres.

    Args:
        occupied: centres of occupied voxels [m].
        free: centres of free voxels [m].
        resolution: edge of a voxel [m].
        floor: what ends below this height [m] is floor, not an obstacle.
        ceiling: what lies above this height [m] hangs out of the picture.

    Raises:
        ValueError: if there is no voxel at all.
    """
    if len(occupied) + len(free) == 0:
        raise ValueError("the map is empty: there is no voxel to draw")
    occupied = occupied[occupied[:, 2] < ceiling]
    every = np.concatenate([occupied[:, :2], free[:, :2]]).astype(np.float64)
    cells = np.floor(every / resolution).astype(np.int64)
    low = cells.min(axis=0)
    cells -= low
    columns, rows = cells.max(axis=0) + 1
    known = np.zeros((rows, columns), dtype=bool)
    known[cells[:, 1], cells[:, 0]] = True
    height = np.full((rows, columns), -np.inf)
    standing = cells[: len(occupied)]
    np.maximum.at(height, (standing[:, 1], standing[:, 0]), occupied[:, 2].astype(np.float64) + resolution / 2)
    height[height <= floor] = np.nan
    return TopDown(low * resolution, resolution, height, known)
