"""Which ids occur in each block, so that a query looks only into blocks that can answer it."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int, UInt16
from numba import njit

from embmem.maps.voxels import morton
from embmem.maps.voxels.blocks import AXIS_LIMIT, VOLUME, BlockPool, unpack

LENGTH = 8  # ids in the list of a block; one with more has all of its voxels looked at
_CHUNK = 4096  # blocks listed at a time


class BlockLists:
    """The distinct ids of the occupied voxels of every block of a pool, kept up to date with its revisions.

    A surface block holds the voxels of one or two things, so a list of a few ids stands for dozens of voxels.
    """

    def __init__(self, channel: str) -> None:
        """Lists of the ids in `channel`, 0 for none: one id a voxel, or a histogram, of which the top id counts."""
        self.channel = channel
        self._pool: BlockPool | None = None
        self._revision = -1
        self._ids = np.zeros((0, LENGTH), dtype=np.uint16)
        self._lengths = np.zeros(0, dtype=np.uint8)

    def select(
        self, pool: BlockPool, scores: Float[np.ndarray, " ids"], threshold: float
    ) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], UInt16[np.ndarray, " n"], float]:
        """(blocks in Morton order, cells, ids) of the occupied voxels with score >= threshold, and the best score.

        Args:
            pool: the blocks; it must have the channel.
            scores: by id; the first is not read, voxels without an id are never selected.
            threshold: least score.
        """
        self._refresh(pool)
        by_id = np.array(scores, dtype=np.float32)
        by_id[0] = -np.inf
        candidates = np.empty(pool.n, dtype=np.int64)
        n, best = _find_blocks(self._ids[: pool.n], self._lengths, by_id, np.float32(threshold), candidates)
        rows = candidates[:n]
        rows = rows[np.argsort(morton.encode(unpack(pool.keys[rows]) + AXIS_LIMIT))]
        values, value_rows = pool.channels[self.channel], rows
        if values.ndim > 2:
            values, value_rows = top_ids(values, rows), np.arange(n)
        found, best_of_these = _find_voxels(values, value_rows, pool.cells, rows, by_id, np.float32(threshold))
        return *found, float(max(best, best_of_these))

    def _refresh(self, pool: BlockPool) -> None:
        """Bring the lists up to date with the blocks that changed since the last time."""
        if pool is not self._pool:
            self._pool, self._revision = pool, -1
        if len(self._ids) < len(pool.keys) or self._revision < 0:
            self._revision = -1
            self._ids = np.zeros((len(pool.keys), LENGTH), dtype=np.uint16)
            self._lengths = np.zeros(len(pool.keys), dtype=np.uint8)
        changed = np.flatnonzero(pool.revisions[: pool.n] > self._revision)
        channel = pool.channels[self.channel]
        for start in range(0, len(changed), _CHUNK):
            rows = changed[start : start + _CHUNK]
            values = channel[rows] if channel.ndim == 2 else top_ids(channel, rows)
            _list_ids(values, pool.cells, rows, self._ids, self._lengths)
        self._revision = pool.revision


@no_type_check
@njit(cache=True)
def top_ids(histograms, rows):
    """(n, 512) ids with most votes of the blocks `rows`, the lowest of those with equally many; 0 for none."""
    top = np.zeros((len(rows), VOLUME), dtype=np.uint16)
    for i in range(len(rows)):
        for cell in range(VOLUME):
            here, most = histograms[rows[i], cell], 0
            for slot in range(len(here)):
                if here[slot, 1] > most or (most > 0 and here[slot, 1] == most and here[slot, 0] < top[i, cell]):
                    top[i, cell], most = here[slot, 0], here[slot, 1]
    return top


@no_type_check
@njit(cache=True)
def _list_ids(values, cells, rows, ids, lengths):
    """Write the distinct ids of the occupied voxels of each block; length LENGTH + 1 says that they are too many."""
    for i in range(len(rows)):
        row, n = rows[i], 0
        for cell in range(VOLUME):
            value = values[i, cell]
            if value == 0 or cells[row, cell] <= 0:
                continue
            at = 0
            while at < n and ids[row, at] != value:
                at += 1
            if at == n:
                if n == LENGTH:
                    n += 1
                    break
                ids[row, n] = value
                n += 1
        lengths[row] = n


@no_type_check
@njit(cache=True)
def _find_blocks(ids, lengths, scores, threshold, candidates):
    """(how many blocks may hold a voxel of at least `threshold`, best score in the lists); `candidates` is written."""
    n, best = 0, np.float32(-np.inf)
    for row in range(len(ids)):
        top = np.float32(-np.inf)
        if lengths[row] > LENGTH:
            candidates[n] = row
            n += 1
            continue
        for at in range(lengths[row]):
            if ids[row, at] < len(scores):  # a file that is mapped, not read, may hold anything
                top = max(top, scores[ids[row, at]])
        best = max(best, top)
        if top >= threshold and lengths[row] > 0:
            candidates[n] = row
            n += 1
    return n, best


@no_type_check
@njit(cache=True)
def _find_voxels(values, value_rows, cells, rows, scores, threshold):
    """((blocks, cells, ids) of the occupied voxels of at least `threshold`, the best score met)."""
    # room for all of them: memory that is not written to costs nothing
    most = len(rows) * VOLUME
    found_rows, found_cells = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int16)
    found_ids = np.empty(most, dtype=np.uint16)
    n, best = 0, np.float32(-np.inf)
    for i in range(len(rows)):
        row, value_row = rows[i], value_rows[i]
        for cell in range(VOLUME):
            value = values[value_row, cell]
            if value == 0 or value >= len(scores) or cells[row, cell] <= 0:
                continue
            best = max(best, scores[value])
            if scores[value] >= threshold:
                found_rows[n], found_cells[n], found_ids[n] = row, cell, value
                n += 1
    return (found_rows[:n], found_cells[:n], found_ids[:n]), best
