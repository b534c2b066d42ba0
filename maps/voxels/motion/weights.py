"""Channels that hold the weight of occupied voxels: it decays by the step, and being seen adds to it.

What is stored is the weight w0 when it was last written and the step of that. The weight n steps later is w0 * d^n,
worked out where it is asked for, so that a step costs nothing however large the map is.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from embmem.errors import InputError
from embmem.maps.voxels.blocks import SIDE, UNKNOWN, VOLUME, BlockPool, find, pack
from embmem.maps.voxels.cast import cell_index
from embmem.maps.voxels.integrate import HIT

CHANNELS = {
    "weight": np.float32,  # when it was written
    "weighed": np.int32,  # 1 + the step at which it was written
}


def add_channels(blocks: BlockPool) -> tuple[np.ndarray, np.ndarray]:
    """The channels `weight` and `weighed`, made if they are not there yet."""
    weight, weighed = (blocks.add_channel(name, dtype) for name, dtype in CHANNELS.items())
    return weight, weighed


def check_channels(blocks: BlockPool, step: int) -> None:
    """Refuse blocks from a file whose channels are not those written up to `step`.

    Raises:
        InputError: if one is missing or of another type, or holds a negative weight or a later step.
    """
    for name, dtype in CHANNELS.items():
        channel = blocks.channels.get(name)
        if channel is None or channel.dtype != dtype or channel.ndim != 2:
            raise InputError(f"the channel {name!r} of weights is missing or not of {np.dtype(dtype)}")
        if channel[: blocks.n].min(initial=0) < 0:
            raise InputError(f"the channel {name!r} of weights holds a negative number")
    if blocks.channels["weighed"][: blocks.n].max(initial=0) > step + 1:
        raise InputError(f"weights were written after step {step}")


def weights_at(
    blocks: BlockPool, rows: Int[np.ndarray, " n"], cells: Int[np.ndarray, " n"], *, step: int, decay: float
) -> Float[np.ndarray, " n"]:
    """The weights of voxels at `step`: w0 * decay^(steps since)."""
    weight, weighed = add_channels(blocks)
    written = weighed[rows, cells].astype(np.int64)
    return np.where(written > 0, weight[rows, cells].astype(np.float64) * decay ** (step + 1.0 - written), 0.0)


def add_weight(
    blocks: BlockPool, ends: Int[np.ndarray, "n 4"], *, step: int, decay: float, gain: float, most: float
) -> None:
    """Add `gain`, once a step and up to `most`, to the weight of every voxel (x, y, z, mark) that was hit."""
    weight, weighed = add_channels(blocks)
    _add(blocks.table, blocks.keys, ends, (weight, weighed), step + 1, (decay, gain, most))


def drop_weights(blocks: BlockPool, since: int) -> None:
    """Take the weight from what is not occupied, in the blocks that changed after the revision `since`."""
    rows = np.flatnonzero(blocks.revisions[: blocks.n] > since)
    _drop(rows, blocks.cells, *add_channels(blocks))


def forget_light(blocks: BlockPool, *, step: int, decay: float, least: float) -> int:
    """How many occupied voxels were forgotten, unknown from now on, because their weight is below `least`."""
    weight, weighed = add_channels(blocks)
    revision = blocks.revision + 1
    limits = (float(decay), float(least))
    n = _forget(blocks.n, blocks.cells, (weight, weighed), step + 1, limits, blocks.revisions, revision)
    if n:
        blocks.revision = revision
    return int(n)


@no_type_check
@njit(cache=True)
def _add(table, keys, ends, channels, now, numbers):
    weight, weighed = channels
    decay, gain, most = numbers
    for i in range(len(ends)):
        if ends[i, 3] != HIT:
            continue
        x, y, z = ends[i, 0], ends[i, 1], ends[i, 2]
        row = find(table, keys, pack(np.int64(x // SIDE), np.int64(y // SIDE), np.int64(z // SIDE)))
        cell = cell_index(x, y, z)
        if row < 0 or weighed[row, cell] == now:
            continue
        old = weight[row, cell] * decay ** float(now - weighed[row, cell]) if weighed[row, cell] > 0 else 0.0
        weight[row, cell] = min(old + gain, most)
        weighed[row, cell] = now


@no_type_check
@njit(cache=True)
def _drop(rows, cells, weight, weighed):
    for row in rows:
        for i in range(VOLUME):
            if weighed[row, i] > 0 and cells[row, i] <= 0:
                weight[row, i] = 0.0
                weighed[row, i] = 0


@no_type_check
@njit(cache=True)
def _forget(n_rows, cells, channels, now, limits, revisions, revision):
    weight, weighed = channels
    decay, least = limits
    n = 0
    for row in range(n_rows):
        for i in range(VOLUME):
            if cells[row, i] <= 0:
                continue
            if weighed[row, i] == 0 or weight[row, i] * decay ** float(now - weighed[row, i]) < least:
                cells[row, i] = UNKNOWN
                weight[row, i] = 0.0
                weighed[row, i] = 0
                revisions[row] = revision
                n += 1
    return n
