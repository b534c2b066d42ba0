"""Kernels that carry what the pixels of one frame show to the voxels that they end in.

First every pixel learns its slot, one slot a voxel of the frame; then each image is summed up by slot and written to
its channel once a voxel. Sums and votes are whole numbers, so the order of the pixels does not matter.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.blocks import SIDE, VOLUME, find, pack
from embmem.maps.voxels.integrate import HIT

COLOUR_SCALE = 256  # steps of the mean colour per level
_LOW = (1 << 32) - 1
_NEAR = 4096  # blocks, 16 along each axis
COUNT_LIMIT = 65535  # votes that a slot of a label histogram holds


@no_type_check
@njit(cache=True)
def locate(table, keys, voxels, rows, cells):
    """Write the block (-1 if there is none) and the position in it of each of the (n, 3) voxels."""
    for i in range(len(voxels)):
        x, y, z = voxels[i]
        rows[i] = find(table, keys, pack(x // SIDE, y // SIDE, z // SIDE))
        cells[i] = ((x % SIDE) * SIDE + y % SIDE) * SIDE + z % SIDE


@no_type_check
@njit(cache=True, error_model="numpy")
def group_pixels(ends, table, keys, block_of, slot_of, slots, rows, cells):
    """(voxels hit, blocks hit); where `slot_of` is too short for the blocks only as many of them are regarded as fit.

    Args:
        ends: (n, 4) int32 rows (x, y, z, mark) of the pixels' end voxels.
        table: of the pool, as are `keys`.
        keys: packed keys of the blocks.
        block_of: int32 by row of the pool; all zero, before and after.
        slot_of: int32 scratch, 512 a block of the frame; all zero, before and after.
        slots: (n,) int32, written: the slot of each pixel, -1 for no surface.
        rows: (n,) int32, written: the block of each slot.
        cells: (n,) int32, written: its place in the block.
    """
    # noise makes neighbouring pixels flip between blocks: those met lately are found without the hash table
    met = np.full((_NEAR, 2), -1, dtype=np.int64)  # (key, first cell in slot_of)
    row_of_block = np.empty(len(slot_of) // VOLUME, dtype=np.int32)
    n, n_blocks = 0, 0
    for i in range(len(slots)):
        slots[i] = -1
        if ends[i, 3] != HIT:
            continue
        x, y, z = np.int64(ends[i, 0]), np.int64(ends[i, 1]), np.int64(ends[i, 2])
        key = pack(x >> 3, y >> 3, z >> 3)
        near = (((x >> 3) & 15) << 8) | (((y >> 3) & 15) << 4) | ((z >> 3) & 15)
        if met[near, 0] != key:
            row = find(table, keys, key)
            if row < 0:
                continue
            if block_of[row] == 0:
                if n_blocks < len(row_of_block):
                    row_of_block[n_blocks] = row
                    block_of[row] = n_blocks + 1
                n_blocks += 1
            if block_of[row] == 0:
                continue
            met[near, 0], met[near, 1] = key, (block_of[row] - 1) * VOLUME
        at = met[near, 1] + (((x & 7) << 6) | ((y & 7) << 3) | (z & 7))
        if slot_of[at] == 0:
            cells[n], n = at, n + 1
            slot_of[at] = n
        slots[i] = slot_of[at] - 1
    for s in range(n):
        slot_of[cells[s]] = 0
        rows[s], cells[s] = row_of_block[cells[s] // VOLUME], cells[s] % VOLUME
    for block in range(min(n_blocks, len(row_of_block))):
        block_of[row_of_block[block]] = 0
    return n, n_blocks


@no_type_check
@njit(cache=True, error_model="numpy")
def mix_colours(slots, rgb, rows, cells, colour, max_weight):
    """Move the running mean of each voxel towards the frame's mean colour in it.

    Args:
        slots: (n,) slot of each pixel.
        rgb: (n, 3) uint8.
        rows: (m,) block of each slot.
        cells: (m,) its cell.
        colour: the channel (.., 512, 4) uint16: mean r, g, b in 1/256, weight.
        max_weight: frames after which the mean forgets.
    """
    sums = np.zeros((len(rows), 2), dtype=np.int64)  # red and green, blue and pixels, in 32 bits each
    for i in range(len(slots)):
        slot = slots[i]
        if slot >= 0:
            sums[slot, 0] += (np.int64(rgb[i, 0]) << 32) + np.int64(rgb[i, 1])
            sums[slot, 1] += (np.int64(rgb[i, 2]) << 32) + 1
    for s in range(len(rows)):
        row, cell, count = rows[s], cells[s], sums[s, 1] & _LOW
        weight = np.int64(colour[row, cell, 3])
        for channel in range(3):
            total = sums[s, channel // 2] >> 32 if channel != 1 else sums[s, 0] & _LOW
            mean = (total * COLOUR_SCALE + count // 2) // count
            colour[row, cell, channel] = (colour[row, cell, channel] * weight + mean + (weight + 1) // 2) // (
                weight + 1
            )
        colour[row, cell, 3] = min(weight + 1, max_weight)


@no_type_check
@njit(cache=True, error_model="numpy")
def vote(slots, image, ids, n_slots):
    """(n_slots,) the id that most pixels of each slot show, the smallest of those with equally many; 0 for none.

    Args:
        slots: (n,) slot of each pixel.
        image: (n,) numbers that the pixels show.
        ids: int32 by number, what each number means, several may mean the same; 0 and numbers beyond mean nothing.
        n_slots: how many slots there are.
    """
    first = np.zeros((n_slots, 2), dtype=np.int32)  # (id, pixels) of the id met first; most slots meet no other
    more = np.empty((len(slots), 4), dtype=np.int32)  # (id, pixels, next of this slot, slot) of all others
    heads = np.full(n_slots, -1, dtype=np.int32)
    n = 0
    for i in range(len(slots)):
        slot, number = slots[i], image[i]
        if slot < 0 or number < 0 or number >= len(ids) or ids[number] == 0:
            continue
        shown = ids[number]
        if first[slot, 1] == 0:
            first[slot, 0] = shown
        if first[slot, 0] == shown:
            first[slot, 1] += 1
            continue
        at = heads[slot]
        while at >= 0 and more[at, 0] != shown:
            at = more[at, 2]
        if at < 0:
            more[n, 0], more[n, 1], more[n, 2], more[n, 3] = shown, 0, heads[slot], slot
            heads[slot], at, n = n, n, n + 1
        more[at, 1] += 1
    for at in range(n):
        shown, count, slot = more[at, 0], more[at, 1], more[at, 3]
        if count > first[slot, 1] or (count == first[slot, 1] and shown < first[slot, 0]):
            first[slot, 0], first[slot, 1] = shown, count
    return first[:, 0]


@no_type_check
@njit(cache=True)
def count_votes(winners, rows, cells, histograms):
    """Count one vote a voxel in its histogram of few slots (Misra and Gries, Sci. Comput. Program. 1982).

    A vote for a label without a slot takes an empty one; if there is none it is set off against one vote of every slot.
    """
    for s in range(len(rows)):
        if winners[s] != 0:
            _count_vote(histograms[rows[s], cells[s]], winners[s])


@no_type_check
@njit(cache=True)
def _count_vote(here, winner):
    empty = -1
    for slot in range(len(here) - 1, -1, -1):
        if here[slot, 1] == 0:
            empty = slot
        elif here[slot, 0] == winner:
            if here[slot, 1] == COUNT_LIMIT:
                for each in range(len(here)):
                    here[each, 1] //= 2
                    here[each, 0] *= here[each, 1] > 0
            here[slot, 1] += 1
            return
    if empty >= 0:
        here[empty, 0], here[empty, 1] = winner, 1
        return
    for slot in range(len(here)):
        here[slot, 1] -= 1
        here[slot, 0] *= here[slot, 1] > 0


@no_type_check
@njit(cache=True)
def keep_latest(values, rows, cells, value):
    """Raise the entries of a channel to `value`; those that are 0 were never written and take it whatever its sign."""
    for s in range(len(rows)):
        old = values[rows[s], cells[s]]
        if old == 0 or old < value:
            values[rows[s], cells[s]] = value


@no_type_check
@njit(cache=True)
def replace_known(values, rows, cells, new):
    """Write the entries of `new` that are not 0 to a channel."""
    for s in range(len(rows)):
        if new[s] != 0:
            values[rows[s], cells[s]] = new[s]
