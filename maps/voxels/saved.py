"""The blocks as plain arrays, and back: what a file holds of them is checked in full before any of it is used."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from embmem.errors import InputError
from embmem.maps.states import checked_array, shaped_array
from embmem.maps.voxels import morton
from embmem.maps.voxels.blocks import AXIS_BITS, UNKNOWN, VOLUME, BlockPool
from embmem.protocols import LayerState

CHANNEL = "channel_"  # before the name of a channel


def saved_arrays(pool: BlockPool) -> dict[str, np.ndarray]:
    """`keys`, `cells`, `stamps` and the channels, rows in Morton order."""
    order = pool.order()
    arrays = {"keys": pool.keys[order], "cells": pool.cells[order], "stamps": pool.stamps[order]}
    return arrays | {CHANNEL + name: channel[order] for name, channel in pool.channels.items()}


def checked_pool(state: LayerState, *, low: int, high: int, mapped: bool = False) -> BlockPool:
    """The pool that was saved; known cells must lie in [low, high].

    Version 1 had ascending keys and no channels. With `mapped` the cells and the channels stay where they lie and are
    not read: any byte is a voxel, and one outside of its range is back in it with its next update.

    Raises:
        InputError: if an array is missing or malformed, keys repeat or are out of order, or a cell is out of range.
    """
    keys = checked_array(state, "keys", np.int64, (None,))
    cells = shaped_array(state, "cells", np.int8, (len(keys), VOLUME))
    stamps = checked_array(state, "stamps", np.float64, (len(keys),))
    if len(keys) and keys.min() < 0:
        raise InputError(f"layer {state.kind!r} holds the block key {keys.min()}")
    if (np.diff(keys) <= 0).any() if state.version == 1 else not _is_in_morton_order(keys):
        raise InputError(f"the block keys of layer {state.kind!r} are not in order")
    channels = {
        name.removeprefix(CHANNEL): shaped_array(state, name, array.dtype, (len(keys), VOLUME, *array.shape[2:]))
        for name, array in state.arrays.items()
        if name.startswith(CHANNEL)
    }
    if mapped:
        return BlockPool.in_place(keys, cells, stamps, channels)
    if _is_out_of_range(cells, low, high):
        raise InputError(f"layer {state.kind!r} holds log-odds outside its clamps")
    pool = BlockPool.from_rows(keys, cells, stamps)
    for name, values in channels.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"channel {name!r} of layer {state.kind!r} holds numbers that are not finite")
        pool.add_channel(name, values.dtype, values.shape[2:])[: pool.n] = values
    return pool


@no_type_check
@njit(cache=True)
def _is_in_morton_order(keys):
    """True if the codes of the blocks ascend."""
    last, mask = np.int64(-1), (1 << AXIS_BITS) - 1
    for key in keys:
        code = morton.code(key >> (2 * AXIS_BITS), (key >> AXIS_BITS) & mask, key & mask)
        if code <= last:
            return False
        last = code
    return True


@no_type_check
@njit(cache=True)
def _is_out_of_range(cells, low, high):
    """True if a known cell lies outside of [low, high]."""
    for row in range(len(cells)):
        n = 0
        for i in range(cells.shape[1]):
            n += cells[row, i] != UNKNOWN and (cells[row, i] < low or cells[row, i] > high)
        if n > 0:
            return True
    return False
