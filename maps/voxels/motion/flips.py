"""Channels that hold per voxel how often and when it flipped between occupied and free.

A voxel settles where the map is sure: free at the lowest log-odds there are, occupied from those of one hit. In between
it keeps what it was (hysteresis, as in Schmitt's trigger): where surfaces end, noise crosses 0 all the time.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from embmem.errors import InputError
from embmem.maps.voxels.blocks import UNKNOWN, VOLUME, BlockPool

FREE, OCCUPIED = 1, 2
CHANNELS = {
    "flips": np.uint16,  # between occupied and free, saturating
    "flipped": np.float32,  # [s] since the map's epoch, of the last flip; where there was none 0
    "settled": np.uint8,  # what it surely was last: 1 free, 2 occupied
    "first_known": np.float32,  # [s] since the map's epoch, when it settled first
}


def is_tracked(blocks: BlockPool) -> bool:
    """Whether the blocks, read from a file, hold these channels.

    Raises:
        InputError: if they hold some but not all, or one of another type.
    """
    if not CHANNELS.keys() & blocks.channels.keys():
        return False
    for name, dtype in CHANNELS.items():
        channel = blocks.channels.get(name)
        if channel is None or channel.dtype != dtype or channel.ndim != 2:
            raise InputError(f"channel {name!r} of tracked changes is missing or not of {np.dtype(dtype)}")
    return True


def track_changes(blocks: BlockPool, seconds: float, sure: tuple[int, int]) -> None:
    """Compare the blocks with what they were when last sure.

    What becomes unknown keeps what it was: a voxel that removal forgets and the frame brings back did not flip.

    Args:
        blocks: of which those with the newest revision are compared.
        seconds: since the map's epoch.
        sure: (free up to this byte, occupied from this byte).
    """
    flips, flipped, settled, first_known = (blocks.add_channel(name, dtype) for name, dtype in CHANNELS.items())
    rows = np.flatnonzero(blocks.revisions[: blocks.n] == blocks.revision)
    _note_flips(rows, blocks.cells, (flips, flipped, settled, first_known), np.float32(seconds), sure)


@no_type_check
@njit(cache=True)
def _note_flips(rows, cells, channels, seconds, sure):
    flips, flipped, settled, first_known = channels
    sure_free, sure_occupied = sure
    for row in rows:
        is_new = np.int8(0)
        for i in range(VOLUME):  # no branches: compiles to vector instructions, and most blocks end here
            is_free = np.int8(cells[row, i] <= sure_free) & np.int8(cells[row, i] != UNKNOWN)
            state = is_free * np.int8(FREE) + np.int8(cells[row, i] >= sure_occupied) * np.int8(OCCUPIED)
            is_new |= np.int8(state != 0) & np.int8(state != np.int8(settled[row, i]))
        if is_new == 0:
            continue
        for i in range(VOLUME):
            if cells[row, i] == UNKNOWN or sure_free < cells[row, i] < sure_occupied:
                continue
            state = np.uint8(OCCUPIED if cells[row, i] > 0 else FREE)
            before = settled[row, i]
            if before == state:
                continue
            settled[row, i] = state
            if before == 0:
                first_known[row, i] = seconds
            else:
                flipped[row, i] = seconds
                flips[row, i] = min(flips[row, i] + 1, 65535)
