"""Rows of a vector index in slabs that never move and are never copied to grow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from embmem.search import row_kernels
from embmem.search import vector_kernels as kernels
from embmem.search.row_kernels import ROWS


class Slab(NamedTuple):
    """`ROWS` rows; memory that no row has touched yet is not taken. The order is that of the columns of `table`."""

    codes: np.ndarray  # (ROWS, stride) int8
    factors: np.ndarray  # (ROWS, 2) float32: scale and error of the code
    ids: np.ndarray  # (ROWS,) int64
    places: np.ndarray  # (ROWS, 4) float64: x, y, z [m], stamp [s]
    flags: np.ndarray  # (ROWS,) uint8
    zones: np.ndarray  # (N_ZONES, 2) float64: range of stamps
    floats: np.ndarray  # (ROWS, d) uint16, the bits of the float16 originals; (0, d) where they are fetched

    @classmethod
    def fields(cls, dim: int, *, with_floats: bool) -> dict[str, tuple[tuple[int, ...], type]]:
        """Shape and type of every field."""
        return {
            "codes": ((ROWS, stride_of(dim)), np.int8),
            "factors": ((ROWS, 2), np.float32),
            "ids": ((ROWS,), np.int64),
            "places": ((ROWS, 4), np.float64),
            "flags": ((ROWS,), np.uint8),
            "zones": ((row_kernels.N_ZONES, 2), np.float64),
            "floats": ((ROWS if with_floats else 0, dim), np.uint16),
        }

    @classmethod
    def empty(cls, dim: int, *, with_floats: bool) -> Slab:
        """A slab without rows."""
        slab = cls(*(np.empty(shape, kind) for shape, kind in cls.fields(dim, with_floats=with_floats).values()))
        slab.zones[:] = (np.inf, -np.inf)
        return slab


def stride_of(dim: int) -> int:
    """Bytes of a row of codes: the next multiple of a vector register, so that loops have no remainder."""
    return (dim + 31) // 32 * 32


class Slabs(NamedTuple):
    """What a reader holds on to while a writer goes on: slabs, their addresses, and how many rows are whole."""

    slabs: tuple[Slab, ...]
    table: np.ndarray  # (n_slabs, fields) uint64
    n: int

    @classmethod
    def of(cls, slabs: tuple[Slab, ...], n: int) -> Slabs:
        """With the addresses of the slabs' arrays."""
        addresses = [[field.ctypes.data for field in slab] for slab in slabs]
        return cls(slabs, np.array(addresses, np.uint64).reshape(len(slabs), len(Slab._fields)), n)

    def append(self, ids: np.ndarray, halves: np.ndarray, places: np.ndarray) -> Slabs:
        """With more rows: ids (m,), embeddings (m, d) float16, places (m, 4). Earlier holders see no change."""
        dim, with_floats = halves.shape[1], not self.slabs or bool(len(self.slabs[0].floats))
        n, end = self.n, self.n + len(ids)
        missing = -(-end // ROWS) - len(self.slabs)
        grown = self
        if missing > 0:
            fresh = tuple(Slab.empty(dim, with_floats=with_floats) for _ in range(missing))
            added = Slabs.of(fresh, 0)
            grown = Slabs(self.slabs + fresh, np.concatenate([self.table, added.table]), n)
        while n < end:
            slab, at = grown.slabs[n // ROWS], n % ROWS
            m = min(ROWS - at, end - n)
            taken = slice(n - self.n, n - self.n + m)
            slab.ids[at : at + m] = ids[taken]
            slab.places[at : at + m] = places[taken]
            slab.flags[at : at + m] = 0
            if with_floats:
                slab.floats[at : at + m] = halves[taken].view(np.uint16)
            kernels.encode(halves[taken].astype(np.float32), slab.codes[at : at + m], slab.factors[at : at + m])
            row_kernels.widen(slab.zones, slab.places, at, at + m)
            n += m
        return Slabs(grown.slabs, grown.table, end)
