"""Sparse storage of voxels: blocks of 8^3 bytes in one pool, found through a hash table of packed block keys.

A voxel is one byte, its log-odds in 1/32; `UNKNOWN` marks what was never seen. Kernels carry `no_type_check` because
a run-time type checker would wrap the Python function before numba compiles it.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Int
from numba import njit
from numpy.typing import DTypeLike

from embmem.maps.voxels import morton

SIDE = 8  # voxels along the edge of a block
VOLUME = SIDE**3
UNKNOWN = np.int8(-128)
SCALE = 32.0  # bytes per unit of log-odds
AXIS_BITS = 21
AXIS_LIMIT = 1 << (AXIS_BITS - 1)  # block coordinates lie in [-limit, limit)
_AXIS_MASK = (1 << AXIS_BITS) - 1
RESERVED = 1 << 20  # blocks, half a gigabyte of cells
_FIRST_TABLE = 1 << 12


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


class BlockPool:
    """One row a block in arrays of lazily touched zero pages; rows >= `n` are spare.

    Growing costs address space, not copies, up to `RESERVED` blocks: doubling an array that is full would make one
    frame in a while take a hundred times as long. Never copy a whole array: only `[: n]` was ever touched.

    `revisions` holds the revision of the pool at which a block last changed, so that whatever is derived from the
    blocks can ask for those that changed since. `channels` hold what else is known of each voxel, (rows, 512, ...)
    by name; in every channel 0 means that nothing is known.
    """

    def __init__(self, dtype: DTypeLike = np.int8, reserved: int = RESERVED) -> None:
        self.n = 0
        self.revision = 0
        self.cells = _zero_pages(reserved, 0, dtype, (VOLUME,))
        self.keys = np.zeros(len(self.cells), dtype=np.int64)
        self.stamps = np.zeros(len(self.cells), dtype=np.float64)
        self.revisions = np.zeros(len(self.cells), dtype=np.int64)
        self.table = np.full(_FIRST_TABLE, -1, dtype=np.int32)
        self.channels: dict[str, np.ndarray] = {}

    @classmethod
    def from_rows(
        cls, keys: Int[np.ndarray, " n"], cells: Int[np.ndarray, "n volume"], stamps: np.ndarray
    ) -> BlockPool:
        """A pool that holds these blocks, whose keys are unique."""
        pool = cls()
        pool.reserve(len(keys))
        pool.n = len(keys)
        pool.keys[: pool.n], pool.cells[: pool.n], pool.stamps[: pool.n] = keys, cells, stamps
        _fill_table(pool.table, pool.keys, pool.n)
        return pool

    @classmethod
    def in_place(
        cls, keys: np.ndarray, cells: np.ndarray, stamps: np.ndarray, channels: dict[str, np.ndarray]
    ) -> BlockPool:
        """A pool of just these rows in these arrays, which are copied when the first new block needs room."""
        pool = cls(reserved=0)
        pool.keys, pool.cells, pool.stamps, pool.channels = keys, cells, stamps, channels
        pool.revisions = np.zeros(len(keys), dtype=np.int64)
        pool.reserve(len(keys))
        pool.n = len(keys)
        _fill_table(pool.table, pool.keys, pool.n)
        return pool

    def add_channel(self, name: str, dtype: DTypeLike, shape: tuple[int, ...] = ()) -> np.ndarray:
        """The channel `name`, made of zeros if it is not there yet: (at least n rows, 512, *shape)."""
        if name not in self.channels:
            self.channels[name] = _zero_pages(len(self.keys), self.n, dtype, (VOLUME, *shape))
        channel = self.channels[name]
        if channel.dtype != np.dtype(dtype) or channel.shape[2:] != shape:
            raise ValueError(f"channel {name!r} is {channel.dtype}{channel.shape[2:]}, not {np.dtype(dtype)}{shape}")
        return channel

    def reserve(self, n_more: int) -> None:
        """Make room for `n_more` new blocks; the table stays at most half full."""
        need = self.n + n_more
        if 2 * need > len(self.table):
            size = len(self.table)
            while 2 * need > size:
                size *= 2
            self.table = np.empty(size, dtype=np.int32)
            _fill_table(self.table, self.keys, self.n)
        for name in ("keys", "cells", "stamps", "revisions"):
            setattr(self, name, self._grown(getattr(self, name), need))
        for name, channel in self.channels.items():
            self.channels[name] = self._grown(channel, need)

    def order(self) -> Int[np.ndarray, " n"]:
        """The rows in Morton order of their blocks, so that answers do not depend on the order of insertion."""
        return np.argsort(morton.encode(unpack(self.keys[: self.n]) + AXIS_LIMIT))

    def n_bytes(self) -> int:
        """Bytes of RAM that hold blocks: what was never touched is address space only."""
        arrays = (self.keys, self.cells, self.stamps, self.revisions, *self.channels.values())
        return self.table.nbytes + sum(a[: self.n].nbytes for a in arrays)

    def _grown(self, old: np.ndarray, need: int) -> np.ndarray:
        """The array with room for `need` rows."""
        if need <= len(old):
            return old
        new = _zero_pages(max(2 * len(old), RESERVED), need, old.dtype, old.shape[1:])
        new[: self.n] = old[: self.n]
        return new


def _zero_pages(n: int, least: int, dtype: DTypeLike, shape: tuple[int, ...]) -> np.ndarray:
    """n rows of zeros that take no memory until they are written to; fewer where the system refuses so many.

    Raises:
        MemoryError: if it refuses even `least` rows.
    """
    n = max(n, least)
    while True:
        try:
            return np.zeros((n, *shape), dtype=dtype)
        except MemoryError:
            if n <= least:
                raise
            n = max(n // 2, least)


def unpack(keys: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n 3"]:
    """The block coordinates of packed keys."""
    axes = [keys >> (2 * AXIS_BITS), (keys >> AXIS_BITS) & _AXIS_MASK, keys & _AXIS_MASK]
    return np.stack(axes, axis=1) - AXIS_LIMIT
