"""Channels that hold per voxel how often and when it flipped between occupied and free."""

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
    "settled": np.uint8,  # what it was when last known: 1 free, 2 occupied
    "first_known": np.float32,  # [s] since the map's epoch
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


def track_changes(blocks: BlockPool, seconds: float) -> None:
    """Compare the blocks of the newest revision with what they were when last known; `seconds` since the epoch.

    What becomes unknown keeps what it was: a voxel that removal forgets and the frame brings back did not flip.
    """
    flips, flipped, settled, first_known = (blocks.add_channel(name, dtype) for name, dtype in CHANNELS.items())
    rows = np.flatnonzero(blocks.revisions[: blocks.n] == blocks.revision)
    _note_flips(rows, blocks.cells, (flips, flipped, settled, first_known), np.float32(seconds))


@no_type_check
@njit(cache=True)
def _note_flips(rows, cells, channels, seconds):
    flips, flipped, settled, first_known = channels
    for row in rows:
        is_new = np.int8(0)
        for i in range(VOLUME):  # no branches: compiles to vector instructions, and most blocks end here
            state = np.int8(cells[row, i] > 0) + np.int8(cells[row, i] != UNKNOWN)
            is_new |= np.int8(state != 0) & np.int8(state != np.int8(settled[row, i]))
        if is_new == 0:
            continue
        for i in range(VOLUME):
            if cells[row, i] == UNKNOWN:
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
