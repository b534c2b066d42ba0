"""Morton codes of block coordinates: blocks in their order are the leaves of an octree, every octant one range.

Morton, A computer oriented geodetic data base, IBM 1966; x takes the lowest bit.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Int
from numba import njit

BITS = 21  # an axis; 63 bits in all
# (shift, mask): each step moves the upper half of every group of bits up until two zeros follow every bit
_SPREAD = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)
_LOW_BITS = (1 << BITS) - 1


@no_type_check
@njit(cache=True)
def code(x, y, z):
    """The Morton code of one coordinate with 0 <= x, y, z < 2**BITS."""
    return _spread_one(x) | (_spread_one(y) << 1) | (_spread_one(z) << 2)


@no_type_check
@njit(cache=True)
def _spread_one(v):
    for shift, mask in _SPREAD:
        v = (v | (v << shift)) & mask
    return v


def encode(xyz: Int[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """Morton codes of integer coordinates.

    Raises:
        ValueError: if a coordinate is outside [0, 2**BITS).
    """
    if xyz.size and (xyz.min() < 0 or xyz.max() >= 1 << BITS):
        raise ValueError(f"coordinates must lie in [0, 2**{BITS}), got [{xyz.min()}, {xyz.max()}]")
    v = xyz.astype(np.int64)
    for shift, mask in _SPREAD:
        v = (v | v << shift) & mask
    return v[:, 0] | v[:, 1] << 1 | v[:, 2] << 2


def decode(codes: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n 3"]:
    """The coordinates of Morton codes, the inverse of `encode`."""
    v = np.stack([codes >> axis for axis in range(3)], axis=1) & _SPREAD[-1][1]
    for (shift, _), (_, mask) in zip(_SPREAD[::-1], (*_SPREAD[-2::-1], (0, _LOW_BITS)), strict=True):
        v = (v | v >> shift) & mask
    return v
