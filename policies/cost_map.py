"""What it costs to walk through each cell of a grid, and the cheapest way from everywhere to somewhere.

Distances come from Dijkstra's algorithm with a queue of buckets over integer edge lengths (Dial, Communications of the
ACM 12(11), 1969; Denardo and Fox, Operations Research 27, 1979): exact for the weights, and linear in the cells.
`embmem.maps.distance` does the same where all cells cost the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit

UNIT = 4  # price of an open cell in the integer field; prices are multiples of 1 / UNIT
TIGHT = 6.0  # price where the body just fits
PRICE_MAX = 16.0  # bounds the number of buckets
_STRAIGHT, _DIAGONAL = 5, 7  # 7/5 stands for the square root of 2, 1 % low
_SHIFT = 5  # buckets are 2**5 wide, no wider than the shortest edge, 2 * UNIT * _STRAIGHT
_N_BUCKETS = 64  # a power of two, more than the longest edge over the width
_FAR = np.int32(2**30)


@no_type_check
@njit(cache=True)
def _spread(weight, sources):
    """Integer distances from the flat `sources`; `weight` (h, w) is 0 where blocked, and on its whole border.

    A bucket is no wider than the shortest edge, so its cells can not improve each other and need no order. A cell that
    was improved stays in its old bucket too and is skipped there.
    """
    w = weight.shape[1]
    flat = weight.ravel()
    distance = np.where(flat > 0, _FAR, np.int32(-1))  # nothing is nearer than -1: blocked cells are never reached
    jumps = np.array([1, w, -1, -w, w + 1, w - 1, -w - 1, 1 - w])  # straight steps first
    head = np.full(_N_BUCKETS, -1, np.int32)  # of each bucket's chain of entries
    cells = np.empty(8 * flat.size + len(sources), np.int32)  # an edge makes at most one entry
    after = np.empty(len(cells), np.int32)
    unused, n_entries, n_queued = -1, 0, 0
    for s in sources:
        if flat[s] > 0 and distance[s] != 0:
            distance[s] = 0
            cells[n_entries], after[n_entries], head[0] = s, head[0], n_entries
            n_entries += 1
            n_queued += 1
    level = 0
    while n_queued > 0:
        entry = head[level & (_N_BUCKETS - 1)]
        head[level & (_N_BUCKETS - 1)] = -1
        while entry >= 0:
            cell, following = cells[entry], after[entry]
            after[entry], unused, entry = unused, entry, following  # used again: what is hot in the cache stays so
            n_queued -= 1
            here = distance[cell]
            if here >> _SHIFT != level:
                continue
            own = flat[cell]
            for move in range(8):
                other = cell + jumps[move]
                there = here + (_STRAIGHT if move < 4 else _DIAGONAL) * (own + flat[other])
                if there >= distance[other]:
                    continue
                if move >= 4 and (flat[cell + jumps[move - 4]] == 0 or flat[cell + jumps[(move - 3) & 3]] == 0):
                    continue  # no cutting of corners
                distance[other] = there
                slot = unused
                if slot >= 0:
                    unused = after[slot]
                else:
                    slot = n_entries
                    n_entries += 1
                bucket = (there >> _SHIFT) & (_N_BUCKETS - 1)
                cells[slot], after[slot], head[bucket] = other, head[bucket], slot
                n_queued += 1
        level += 1
    return np.where(flat > 0, distance, _FAR).reshape(weight.shape)


@dataclass(frozen=True, eq=False)
class CostMap:
    """A price per metre for every cell: 1 in the open, more near obstacles, infinite where the body can not be."""

    price: Float[np.ndarray, "h w"]
    origin: Float[np.ndarray, "2"]  # lower left corner of cell (0, 0) [m], map frame
    resolution: float  # [m]

    def cells(self, points: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "n 2"]:
        """(row, col) of the points [m], clipped to the grid."""
        rc = np.floor((points - self.origin) / self.resolution).astype(np.int64)[:, ::-1]
        return np.clip(rc, 0, np.array(self.price.shape) - 1)

    def centres(self, cells: Int[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """(x, y) [m] of the centres of the cells (row, col)."""
        return self.origin + (cells[:, ::-1] + 0.5) * self.resolution

    def field(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "h w"]:
        """Price-weighted distance [m] from every cell to the nearest of the points; inf where there is no way."""
        h, w = self.price.shape
        weight = np.zeros((h + 2, w + 2), np.int32)
        weight[1:-1, 1:-1] = np.where(np.isfinite(self.price), np.rint(self.price * UNIT), 0)
        rc = self.cells(points) + 1
        distance = _spread(weight, rc[:, 0] * (w + 2) + rc[:, 1])[1:-1, 1:-1]
        metres = distance * (self.resolution / (2 * UNIT * _STRAIGHT))
        return np.where(distance < _FAR, metres, np.inf).astype(np.float32)

    def at(self, field: Float[np.ndarray, "h w"], points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
        """The field's values under the points."""
        rc = self.cells(points)
        return field[rc[:, 0], rc[:, 1]]


def clearance_price(
    occupied: Bool[np.ndarray, "h w"], resolution: float, *, radius: float, comfort: float, slack: float
) -> Float[np.ndarray, "h w"]:
    """Prices that keep a body of `radius` [m] off obstacles and, where there is room, `comfort` [m] away.

    The price rises with the square of the missing clearance, from 1 at `comfort` to `TIGHT` at `radius`. Within
    `slack` [m] below the radius it is `PRICE_MAX`: a gap that looks a cell too narrow is a last resort, since maps
    round. Nearer than that it is infinite. Clearance is measured to the centres of occupied cells.
    """
    clearance = cv2.distanceTransform((~occupied).astype(np.uint8), cv2.DIST_L2, 5) * resolution
    missing = np.clip((comfort - clearance) / (comfort - radius), 0.0, 1.0)
    price = (1.0 + (TIGHT - 1.0) * missing**2).astype(np.float32)
    price[clearance < radius] = PRICE_MAX
    price[clearance < radius - slack] = np.inf
    return price
