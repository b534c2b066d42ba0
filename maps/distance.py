"""Geodesic distances on a grid with blocked cells, and the way down to the nearest source."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8, UInt32
from numba import njit

DIAGONAL = float(np.sqrt(2.0))
# Sums of this many whole and diagonal steps are exact below 131,072 cells, so that they do not depend on their order
# and equal ways compare as equal. It is the square root of 2 to 4e-12.
_DIAGONAL = round(DIAGONAL * 2**36) / 2**36
_EQUAL = 1e-9  # [cells] sums that differ by less are the same; different ones differ by more than 1e-8
# The eight neighbours, straight ones first; a diagonal step needs both straight cells beside it free.
_STEPS = np.array(
    [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1)], dtype=np.int64
)  # (row, column)
_N_BUCKETS = 16  # a power of two
_AHEAD = 12.0  # [cells] that a ray may run ahead of the wave; with a step less than _N_BUCKETS
_SEEN, _WAITING, _FREE, _ALL = np.uint32(8), np.uint32(16), np.uint32(255), np.uint32(255)  # parts of a cell's word
_UNUSED, _USED, _QUEUED = range(3)  # first entry to use again, entries used so far, entries in buckets


def distance_field(
    blocked: Bool[np.ndarray, "h w"], sources: Int[np.ndarray, "n 2"], resolution: float
) -> Float[np.ndarray, "h w"]:
    """Shortest 8-neighbour distance [m] of each cell to the nearest source, inf where no way leads.

    A way never enters a blocked cell and never cuts the corner of one. Sources are (row, column); one in a blocked cell
    still counts, so that a start too close to a wall can be left. Straight steps cost 1 and diagonal ones sqrt(2), at
    most 8 % more than the Euclidean shortest way in free space.

    Raises:
        ValueError: if a source lies outside of the grid.
    """
    if len(sources) and ((sources < 0) | (sources >= blocked.shape)).any():
        raise ValueError(f"sources must lie in a grid of {blocked.shape}, got {sources.tolist()}")
    words = _moves(np.ascontiguousarray(blocked))
    distances = np.full(words.shape, np.inf)
    cells = (np.asarray(sources, dtype=np.int64) + 1) @ np.array([words.shape[1], 1])
    _spread(words.ravel(), words.shape[1], cells, distances.ravel(), _SUCCESSORS, _LISTS)
    return distances[1:-1, 1:-1] * resolution


def descend(
    field: Float[np.ndarray, "h w"], blocked: Bool[np.ndarray, "h w"], start: Int[np.ndarray, "2"]
) -> Int[np.ndarray, "n 2"]:
    """The cells (row, column) of a shortest way from `start` down to a source of `field`, both included.

    Empty if no way leads from `start`. Among equally short ways straight steps come first.
    """
    if ((start < 0) | (start >= field.shape)).any():
        raise ValueError(f"start must lie in a grid of {field.shape}, got {start.tolist()}")
    if not np.isfinite(field[start[0], start[1]]):
        return np.empty((0, 2), dtype=np.int64)
    padded = np.pad(field, 1, constant_values=np.inf)
    walls = np.pad(blocked, 1, constant_values=True)
    return _walk_down(padded, walls, int(start[0]) + 1, int(start[1]) + 1) - 1


def _bit(row: int, column: int) -> int:
    return 1 << _STEPS.tolist().index([row, column])


def _sides(row: int, column: int) -> list[tuple[int, int]]:
    """The two moves across a straight one."""
    return [(column, row), (-column, -row)]


def _successors() -> UInt8[np.ndarray, "65536"]:
    """The moves to try in a cell, as bits, by 256 x the moves that led there + the moves that are free there.

    Of all equally short ways only those count that take their diagonal steps as early as they can. A straight move
    then goes on straight, and turns to a side only where a diagonal step does not lead to the cell behind on that
    side; a diagonal move goes on or splits into its straight parts (Harabor and Grastien, Online graph pruning, AAAI
    2011; Sturtevant and Rabin, Canonical orderings on grids, IJCAI 2016).
    """
    free = np.arange(256)
    after = np.zeros((256, 256), dtype=np.uint8)
    for move, (row, column) in enumerate(_STEPS.tolist()):
        go = np.full(256, 1 << move)
        if row and column:
            go |= _bit(row, 0) | _bit(0, column)
        else:
            for r, c in _sides(row, column):
                is_covered = free & _bit(r - row, c - column) > 0
                go |= np.where(is_covered, 0, _bit(r, c) | _bit(r + row, c + column))
        arrived = np.arange(256) >> move & 1 > 0
        after[arrived] |= (go & free).astype(np.uint8)
    return after.ravel()


def _lists() -> UInt32[np.ndarray, "256"]:
    """The numbers of the bits that are set in a byte, three bits each, and from bit 24 on how many there are."""
    lists = [[bit for bit in range(8) if byte >> bit & 1] for byte in range(256)]
    return np.array([len(bits) << 24 | sum(bit << 3 * i for i, bit in enumerate(bits)) for bits in lists], np.uint32)


def _corridors() -> UInt32[np.ndarray, "8"]:
    """The moves that are free where a straight one has nothing to do but to go on: itself and both behind it.

    A diagonal one has always more to do; bit 8 stands for that, as no cell has it.
    """
    bits = [_bit(r, c) | sum(_bit(a - r, b - c) for a, b in _sides(r, c)) for r, c in _STEPS[:4].tolist()]
    return np.array([*bits, *4 * [256]], np.uint32)


_SUCCESSORS, _LISTS, _CORRIDORS = _successors(), _lists(), _corridors()
_LENGTHS = np.array([*4 * [1.0], *4 * [_DIAGONAL]])


@no_type_check
@njit(cache=True)
def _moves(blocked):
    """(h + 2, w + 2) the free moves out of each cell, as bits; the cell itself may be blocked."""
    h, w = blocked.shape
    free = np.zeros((h + 2, w + 2), np.uint8)  # one blocked cell around spares the test for the border
    for row in range(h):
        for column in range(w):
            free[row + 1, column + 1] = not blocked[row, column]
    words = np.zeros((h + 2, w + 2), np.uint32)
    for row in range(1, h + 1):
        up, here, down, out = free[row - 1], free[row], free[row + 1], words[row]
        for c in range(1, w + 1):
            east, south, west, north = here[c + 1], down[c], here[c - 1], up[c]
            straight = east | south << 1 | west << 2 | north << 3
            south_east, south_west = down[c + 1] & east & south, down[c - 1] & west & south
            north_west, north_east = up[c - 1] & west & north, up[c + 1] & east & north
            out[c] = np.uint8(straight | south_east << 4 | south_west << 5 | north_west << 6 | north_east << 7)
    return words


@no_type_check
@njit(cache=True)
def _queue(words, distances, cell, bit, entries, heads, counts):
    """Let a cell wait in the bucket of its distance for what follows on a move."""
    word = words[cell]
    words[cell] = word | bit << _WAITING
    if word >> _WAITING:
        return
    entry = counts[_UNUSED]
    if entry >= 0:
        counts[_UNUSED] = entries[entry, 1]
    else:
        entry = counts[_USED]
        counts[_USED] += 1
    bucket = int(distances[cell]) & (_N_BUCKETS - 1)
    entries[entry, 0], entries[entry, 1] = cell, heads[bucket]
    heads[bucket] = entry
    counts[_QUEUED] += 1


@no_type_check
@njit(cache=True, inline="always")
def _expand(words, distances, cell, jumps, moves, limit, entries, heads, counts):
    """Follow the listed moves out of a cell: a diagonal step, or a straight ray to a wall, a turn or `limit`.

    A ray also ends where a way is known that is shorter, or as long with the same last move. All the time
    is spent here, and calls would double it.
    """
    for _ in range(moves >> np.uint32(24)):
        move = moves & np.uint32(7)
        moves >>= np.uint32(3)
        bit, jump, length, corridor = np.uint32(1) << move, jumps[move], _LENGTHS[move], _CORRIDORS[move]
        other, there = cell, distances[cell]
        while True:
            other += jump
            there += length
            old, word = distances[other], words[other]
            if there < old - _EQUAL:
                distances[other] = there
                word = word & _FREE | bit << _SEEN
            elif there <= old + _EQUAL and word >> _SEEN & bit == 0:
                word |= bit << _SEEN
            else:
                break
            words[other] = word
            if there >= limit or (word | bit) & corridor != corridor:
                _queue(words, distances, other, bit, entries, heads, counts)
                break
            if word & bit == 0:
                break


@no_type_check
@njit(cache=True)
def _sweep(words, distances, level, jumps, successors, lists, entries, heads, counts):
    """Expand what waits, bucket by bucket; the level that was reached, at the end or where `entries` run out."""
    while counts[_QUEUED] > 0:
        entry = heads[level & (_N_BUCKETS - 1)]
        heads[level & (_N_BUCKETS - 1)] = -1
        while entry >= 0:
            if counts[_USED] + 8 > len(entries):
                heads[level & (_N_BUCKETS - 1)] = entry
                return level
            cell, after = entries[entry, 0], entries[entry, 1]
            entries[entry, 1], counts[_UNUSED] = counts[_UNUSED], entry
            counts[_QUEUED] -= 1
            entry = after
            word = words[cell]
            waiting = word >> _WAITING
            if waiting == 0 or int(distances[cell]) != level:
                continue  # reached on a shorter way meanwhile
            words[cell] = word & (_FREE | _ALL << _SEEN)
            moves = lists[successors[waiting << _SEEN | word & _FREE]]
            _expand(words, distances, cell, jumps, moves, level + _AHEAD, entries, heads, counts)
        level += 1
    return level


@no_type_check
@njit(cache=True)
def _spread(words, width, sources, distances, successors, lists):
    """Dijkstra's algorithm with a queue of buckets one straight step wide, over rays of cells.

    No edge is shorter than a bucket is wide, so the cells of the lowest bucket cannot improve each other and need no
    order (Dial, CACM 1969; Denardo and Fox, Operations Research 1979). A cell enters the queue only where a ray may
    turn, or has run far ahead: what a ray found too early is corrected by the wave, and expanded again.

    Args:
        words: (n,) free moves in bits 0-7; kept in 8-15 are the moves that led there on a shortest way, in 16-23
            those of them that wait for being expanded.
        width: of a row.
        sources: (k,) flat cells.
        distances: (n,) inf, then the distances in cells.
        successors, lists: see `_successors` and `_lists`.
    """
    jumps = _STEPS[:, 0] * width + _STEPS[:, 1]
    entries = np.empty((1024 + len(sources), 2), np.int64)  # a cell and the next entry of its bucket
    heads = np.full(_N_BUCKETS, -1, np.int64)
    counts = np.array([-1, 0, 0])
    for cell in sources:
        if distances[cell] != 0.0:
            distances[cell] = 0.0
            words[cell] |= _ALL << _SEEN
            _queue(words, distances, cell, _ALL, entries, heads, counts)
    level = 0
    while counts[_QUEUED] > 0:
        level = _sweep(words, distances, level, jumps, successors, lists, entries, heads, counts)
        entries = np.concatenate((entries, np.empty_like(entries)))


@no_type_check
@njit(cache=True)
def _walk_down(field, walls, row, column):
    path = [(row, column)]
    while field[row, column] > 0.0:
        best, best_row, best_column = 0.0, row, column
        for s in range(8):
            r, c = row + _STEPS[s, 0], column + _STEPS[s, 1]
            drop = (field[row, column] - field[r, c]) / (1.0 if s < 4 else DIAGONAL)
            if s >= 4 and (walls[r, column] or walls[row, c]):
                continue
            if drop > best * (1.0 + 1e-9) + 1e-12:
                best, best_row, best_column = drop, r, c
        if best == 0.0:
            return np.empty((0, 2), dtype=np.int64)
        row, column = best_row, best_column
        path.append((row, column))
    return np.array(path)
