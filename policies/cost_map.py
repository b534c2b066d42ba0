"""What it costs to walk through each cell of a grid, and the cheapest way from everywhere to somewhere.

Distances come from Dial's bucket queue (Dial, Communications of the ACM 12(11), 1969) over integer edge lengths:
exact for the weights, and linear in the cells.
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
_FAR = np.int32(2**30)


@no_type_check
@njit(cache=True)
def _push(cell, bucket, head, after, before):
    first = head[bucket]
    after[cell] = first
    before[cell] = -1
    if first >= 0:
        before[first] = cell
    head[bucket] = cell


@no_type_check
@njit(cache=True)
def _remove(cell, bucket, head, after, before):
    if before[cell] >= 0:
        after[before[cell]] = after[cell]
    else:
        head[bucket] = after[cell]
    if after[cell] >= 0:
        before[after[cell]] = before[cell]


@no_type_check
@njit(cache=True)
def _edge(flat, cell, dr, dc):
    """Length of the edge to the neighbour `dr` cells up and `dc` cells right in flat steps; 0 where none leads."""
    other = cell + dr + dc
    if flat[other] == 0:
        return 0
    if dr == 0 or dc == 0:
        return _STRAIGHT * (flat[cell] + flat[other])
    if flat[cell + dr] == 0 or flat[cell + dc] == 0:
        return 0  # no cutting of corners
    return _DIAGONAL * (flat[cell] + flat[other])


@no_type_check
@njit(cache=True)
def _dial(weight, sources):
    """Integer distances from the flat `sources`; `weight` (h, w) is 0 where blocked, and on its whole border."""
    w = weight.shape[1]
    flat = weight.ravel()
    distance = np.full(flat.size, _FAR, np.int32)
    n_buckets = 2 * _DIAGONAL * int(flat.max()) + 1
    head = np.full(n_buckets, -1, np.int32)
    after = np.full(flat.size, -1, np.int32)
    before = np.full(flat.size, -1, np.int32)
    n_queued = 0
    for s in sources:
        if flat[s] > 0 and distance[s] != 0:
            distance[s] = 0
            _push(s, 0, head, after, before)
            n_queued += 1
    level = 0
    while n_queued > 0:
        cell = head[level % n_buckets]
        if cell < 0:
            level += 1
            continue
        _remove(cell, level % n_buckets, head, after, before)
        n_queued -= 1
        for dr in (-w, 0, w):
            for dc in (-1, 0, 1):
                edge = _edge(flat, cell, dr, dc)
                other = cell + dr + dc
                if edge == 0 or level + edge >= distance[other]:
                    continue
                if distance[other] == _FAR:
                    n_queued += 1
                else:
                    _remove(other, distance[other] % n_buckets, head, after, before)
                distance[other] = level + edge
                _push(other, distance[other] % n_buckets, head, after, before)
    return distance.reshape(weight.shape)


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
        distance = _dial(weight, rc[:, 0] * (w + 2) + rc[:, 1])[1:-1, 1:-1]
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
