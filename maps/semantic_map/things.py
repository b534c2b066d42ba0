"""Connected components of one category, seen from above: what a label is written on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from embmem.maps.semantic_map.cells import LabelCells

_KING = np.ones((3, 3), dtype=np.uint8)
_SURE = 5.0  # voxels at which the support of a thing is half the share of its votes


@dataclass(frozen=True, eq=False)
class Thing:
    """One connected piece of a category on the map."""

    category: str
    centroid: Float[np.ndarray, "2"]  # (x, y) [m] mean of its cells
    box: Float[np.ndarray, "2 3"]  # [m] lowest and highest corner
    cells: Int[np.ndarray, "n 2"]  # (x, y), in resolutions of the map
    n_voxels: int
    support: float  # in (0, 1): mean share of the votes, less where there are few voxels
    stamp: float  # [s] when any of it was last measured

    @property
    def area(self) -> float:
        """Of the bounding rectangle [m^2]."""
        width, depth = (self.box[1] - self.box[0])[:2].tolist()
        return float(width * depth)

    def distance(self, point: Float[np.ndarray, "2"]) -> float:
        """[m] from a point (x, y) to its bounding rectangle, 0 inside."""
        gap = np.maximum(np.maximum(self.box[0, :2] - point, point - self.box[1, :2]), 0.0)
        return float(np.hypot(*gap))


@dataclass(frozen=True, eq=False)
class Hidden:
    """Cells into which nobody has looked: what lies on both sides of them may be one thing.

    A hidden cell goes to the category that it is nearest to, so that two counters beside a stove are not joined
    through the stove.
    """

    owner: Int[np.ndarray, "h w"]  # category of each hidden cell, -1 for those that are not; rows along y
    corner: Int[np.ndarray, "2"]  # (x, y) of cell (0, 0)
    reach: int  # cells that a thing may go on through them
    height: float = np.inf  # [m] up to which they hide anything: what hangs higher does not go on through them

    @classmethod
    def around(
        cls,
        cells: LabelCells,
        is_hidden: Bool[np.ndarray, "h w"],
        corner: Int[np.ndarray, "2"],
        reach: int,
        height: float = np.inf,
    ) -> Hidden:
        """Each hidden cell for the nearest of these cells that is low enough."""
        owner = np.full(is_hidden.shape, -1, dtype=np.int64)
        at = (cells.xy - corner)[:, ::-1]
        is_near = (cells.low < height) & ((at >= 0) & (at < is_hidden.shape)).all(axis=1)
        rows, columns = at[is_near].T
        if len(rows) and is_hidden.any():
            owner[rows, columns] = cells.category[is_near]
            row, column = ndimage.distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
            owner = np.where(is_hidden, owner[row, column], -1)
        return cls(owner, corner, reach, height)

    def window(self, category: int, low: Int[np.ndarray, "2"], shape: tuple[int, int]) -> UInt8[np.ndarray, "w h"]:
        """1 for the hidden cells of a category from `low` (x, y) on, first axis x."""
        window = np.zeros(shape, dtype=np.uint8)
        start = np.maximum(self.corner - low, 0)
        end = np.minimum(self.corner + self.owner.shape[::-1] - low, shape)
        if (end > start).all():
            a, b = start + low - self.corner, end + low - self.corner
            owner = self.owner[a[1] : b[1], a[0] : b[0]].T
            window[start[0] : end[0], start[1] : end[1]] = owner == category
        return window


def find_things(
    cells: LabelCells,
    names: Sequence[str],
    *,
    gap: int = 1,
    min_cells: int = 2,
    min_voxels: int = 3,
    min_votes: int = 1,
    hidden: Hidden | None = None,
) -> list[Thing]:
    """The things on the map, in order of category, then from the lowest y and x up.

    Cells of a category belong together if a king of chess gets from one to the other in `gap` + 1 moves, or through
    hidden cells: a counter of which only the front and the back panel were seen is one thing.

    Args:
        cells: of all categories wanted.
        names: of the categories by number.
        gap: cells that may be missing between two parts of one thing.
        min_cells: fewer are no thing.
        min_voxels: fewer are no thing.
        min_votes: frames that must have shown one of its voxels: a detector's slip is no thing.
        hidden: where nobody looked.
    """
    starts = np.flatnonzero(np.diff(cells.category, prepend=-1))
    ends = np.append(starts, len(cells))[1:]
    things = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        flood = None
        if hidden is not None:
            flood = Flood(hidden, int(cells.category[start]), cells.low[start:end] < hidden.height)
        piece = components(cells.xy[start:end], gap, flood)
        for number in range(int(piece.max(initial=-1)) + 1):
            at = start + np.flatnonzero(piece == number)
            is_large = len(at) >= min_cells and cells.n_voxels[at].sum() >= min_voxels
            if is_large and cells.votes[at].max() >= min_votes:
                things.append(_thing(cells, at, names[int(cells.category[start])]))
    return things


@dataclass(frozen=True, eq=False)
class Flood:
    """How cells of one category go on through hidden ones."""

    hidden: Hidden
    category: int
    is_low: Bool[np.ndarray, " n"]  # the cells that do


def components(xy: Int[np.ndarray, "n 2"], gap: int, flood: Flood | None = None) -> Int[np.ndarray, " n"]:
    """Number of the connected component of each cell, from 0 in the order of their first cells; see `find_things`."""
    if len(xy) == 0:
        return np.zeros(0, dtype=np.int64)
    pad = 1 + gap + (flood.hidden.reach if flood else 0)
    low = xy.min(axis=0) - pad
    at = xy - low
    shape: tuple[int, int] = tuple((at.max(axis=0) + pad + 1).tolist())
    mask = np.zeros(shape, dtype=np.uint8)
    mask[at[:, 0], at[:, 1]] = 1
    # a square of gap + 1 cells around each: two squares touch if one cell is gap + 1 moves from the other
    grown: np.ndarray = cv2.dilate(mask, np.ones((gap + 1, gap + 1), dtype=np.uint8))
    if flood is not None:
        water = mask.copy()
        water[at[~flood.is_low, 0], at[~flood.is_low, 1]] = 0
        bed = flood.hidden.window(flood.category, low, shape) | water
        for _ in range((flood.hidden.reach + 1) // 2):
            water = np.bitwise_and(cv2.dilate(water, _KING), bed)
        grown = np.bitwise_or(grown, water)
    _, labels = cv2.connectedComponents(grown, connectivity=8)
    _, first, inverse = np.unique(labels[at[:, 0], at[:, 1]], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse.ravel()]


def _thing(cells: LabelCells, at: np.ndarray, category: str) -> Thing:
    xy, n_voxels = cells.xy[at], int(cells.n_voxels[at].sum())
    low, high = xy.min(axis=0) * cells.resolution, (xy.max(axis=0) + 1) * cells.resolution
    share = float((cells.share[at] * cells.n_voxels[at]).sum() / n_voxels)
    return Thing(
        category=category,
        centroid=(xy.mean(axis=0) + 0.5) * cells.resolution,
        box=np.stack([np.append(low, cells.low[at].min()), np.append(high, cells.top[at].max())]),
        cells=xy,
        n_voxels=n_voxels,
        support=share * n_voxels / (n_voxels + _SURE),
        stamp=float(cells.stamp[at].max()),
    )
