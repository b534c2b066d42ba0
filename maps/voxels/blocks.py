"""Sparse storage of voxels: blocks of 8^3 bytes in one pool, found through a hash table of packed block keys.

A voxel is one byte, its log-odds in 1/32; `UNKNOWN` marks what was never seen. Kernels carry `no_type_check` because
a run-time type checker would wrap the Python function before numba compiles it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import no_type_check

import numpy as np
from jaxtyping import Int
from numba import njit

SIDE = 8  # voxels along the edge of a block
VOLUME = SIDE**3
UNKNOWN = np.int8(-128)
SCALE = 32.0  # bytes per unit of log-odds
AXIS_BITS = 21
AXIS_LIMIT = 1 << (AXIS_BITS - 1)  # block coordinates lie in [-limit, limit)
_AXIS_MASK = (1 << AXIS_BITS) - 1
_FIRST_CAPACITY = 1024


@no_type_check
@njit(cache=True)
def pack(bx, by, bz):
    """The key of a block; keys ascend with x, then y, then z."""
    return ((bx + AXIS_LIMIT) << (2 * AXIS_BITS)) | ((by + AXIS_LIMIT) << AXIS_BITS) | (bz + AXIS_LIMIT)


@no_type_check
@njit(cache=True)
def _slot(table, keys, key):
    """Where `key` is in the table, or the empty slot where it belongs (Fibonacci hashing, linear probing)."""
    mask = len(table) - 1
    product = key * 0x9E3779B97F4A7C1  # wraps around; only its high bits depend on all of the key
    slot = (product ^ (product >> 40)) & mask
    while table[slot] >= 0 and keys[table[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@no_type_check
@njit(cache=True)
def find(table, keys, key):
    """The index of the block `key` in the pool, -1 if it is not there."""
    return table[_slot(table, keys, key)]


@no_type_check
@njit(cache=True)
def insert(table, keys, cells, n, key):
    """(index, new n) of the block `key`, appended as unknown if it is new; the arrays must have room."""
    slot = _slot(table, keys, key)
    if table[slot] >= 0:
        return table[slot], n
    table[slot] = n
    keys[n] = key
    cells[n, :] = UNKNOWN
    return n, n + 1


@no_type_check
@njit(cache=True)
def _fill_table(table, keys, n):
    table[:] = -1
    for i in range(n):
        table[_slot(table, keys, keys[i])] = i


@dataclass(eq=False)
class BlockPool:
    """Growing arrays with one row a block; rows >= `n` are spare.

    `revisions` holds the revision of the pool at which a block last changed, so that whatever is derived from the
    blocks can ask for those that changed since.
    """

    n: int = 0
    revision: int = 0
    keys: np.ndarray = field(default_factory=lambda: np.empty(_FIRST_CAPACITY, dtype=np.int64))
    cells: np.ndarray = field(default_factory=lambda: np.empty((_FIRST_CAPACITY, VOLUME), dtype=np.int8))
    stamps: np.ndarray = field(default_factory=lambda: np.empty(_FIRST_CAPACITY, dtype=np.float64))
    revisions: np.ndarray = field(default_factory=lambda: np.empty(_FIRST_CAPACITY, dtype=np.int64))
    table: np.ndarray = field(default_factory=lambda: np.full(2 * _FIRST_CAPACITY, -1, dtype=np.int32))

    @classmethod
    def from_rows(
        cls, keys: Int[np.ndarray, " n"], cells: Int[np.ndarray, "n volume"], stamps: np.ndarray
    ) -> BlockPool:
        """A pool that holds these blocks, whose keys are unique."""
        pool = cls()
        pool.reserve(len(keys))
        pool.n = len(keys)
        pool.keys[: pool.n], pool.cells[: pool.n], pool.stamps[: pool.n] = keys, cells, stamps
        pool.revisions[: pool.n] = 0
        _fill_table(pool.table, pool.keys, pool.n)
        return pool

    def reserve(self, n_more: int) -> None:
        """Make room for `n_more` new blocks; the table stays at most half full."""
        capacity = len(self.keys)
        if self.n + n_more <= capacity:
            return
        while capacity < self.n + n_more:
            capacity *= 2
        for name in ("keys", "cells", "stamps", "revisions"):
            old = getattr(self, name)
            new = np.empty((capacity, *old.shape[1:]), dtype=old.dtype)
            new[: self.n] = old[: self.n]
            setattr(self, name, new)
        self.table = np.empty(2 * capacity, dtype=np.int32)
        _fill_table(self.table, self.keys, self.n)

    def order(self) -> Int[np.ndarray, " n"]:
        """The rows in ascending order of their keys, so that answers do not depend on the order of insertion."""
        return np.argsort(self.keys[: self.n])

    def n_bytes(self) -> int:
        """Bytes of RAM, spare rows included."""
        return sum(a.nbytes for a in (self.keys, self.cells, self.stamps, self.revisions, self.table))


def unpack(keys: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n 3"]:
    """The block coordinates of packed keys."""
    axes = [keys >> (2 * AXIS_BITS), (keys >> AXIS_BITS) & _AXIS_MASK, keys & _AXIS_MASK]
    return np.stack(axes, axis=1) - AXIS_LIMIT
