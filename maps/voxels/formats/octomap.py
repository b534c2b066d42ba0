"""Kernels between blocks of voxels and the octree of OctoMap (Hornung et al., Autonomous Robots 2013).

OctoMap's tree has 16 levels below the root and child 0-7 of a node is x + 2 y + 4 z, so its leaves, depth first, are in
Morton order and a block of 8^3 voxels is a node at depth 13. A tree is handled as the list of its leaves: `codes`
(Morton code of the lowest voxel), `depths` (16 is one voxel) and `values`. Nothing here recurses, and what a file
claims is checked before it is followed.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from embmem.maps.voxels.blocks import SIDE, UNKNOWN, VOLUME
from embmem.maps.voxels.morton import decode

DEPTH = 16
BLOCK_DEPTH = 13
CELL_BITS = 3 * (DEPTH - BLOCK_DEPTH)  # of a code, its place in the block
FREE_LEAF, OCCUPIED_LEAF, INNER = 1, 2, 3  # what two bits of a binary tree say of a child; 0 is unknown
OK, ENDS_EARLY, TOO_DEEP, NO_CHILDREN = 0, 1, 2, 3  # of a stream of nodes

_WITHIN = decode(np.arange(VOLUME))
CELL_OF_CODE = (_WITHIN[:, 0] * SIDE + _WITHIN[:, 1]) * SIDE + _WITHIN[:, 2]  # index in a block by Morton code


@no_type_check
@njit(cache=True, nogil=True)
def count_leaves(words):
    """How many leaves the words of a binary tree name."""
    n = 0
    for word in words:
        one_bit = (word ^ (word >> 1)) & 0x5555
        while one_bit:
            one_bit &= one_bit - 1
            n += 1
    return n


@no_type_check
@njit(cache=True, nogil=True)
def parse_binary(words, codes, depths, kinds):
    """(state, words read, leaves, nodes) of a binary tree, whose leaves are written with FREE_LEAF or OCCUPIED_LEAF.

    Args:
        words: (n,) uint16, one an inner node, depth first; child i has the bits 2 i and 2 i + 1.
        codes, depths, kinds: with room for `count_leaves`.
    """
    word, child, start = np.zeros(DEPTH, np.int64), np.zeros(DEPTH, np.int64), np.zeros(DEPTH, np.int64)
    if len(words) == 0:
        return ENDS_EARLY, 0, 0, 0
    word[0] = words[0]
    depth, n_read, n_leaves, n_nodes = 0, 1, 0, 1
    if word[0] == 0:
        return NO_CHILDREN, n_read, n_leaves, n_nodes
    while depth >= 0:
        i = child[depth]
        if i == 8:
            depth -= 1
            continue
        child[depth] += 1
        kind = (word[depth] >> (2 * i)) & 3
        if kind == 0:
            continue
        n_nodes += 1
        code = start[depth] | (i << (3 * (DEPTH - 1 - depth)))
        if kind != INNER:
            codes[n_leaves], depths[n_leaves], kinds[n_leaves] = code, depth + 1, kind
            n_leaves += 1
            continue
        if depth + 1 == DEPTH:
            return TOO_DEEP, n_read, n_leaves, n_nodes
        if n_read == len(words):
            return ENDS_EARLY, n_read, n_leaves, n_nodes
        depth += 1
        word[depth], child[depth], start[depth] = words[n_read], 0, code
        n_read += 1
        if word[depth] == 0:
            return NO_CHILDREN, n_read, n_leaves, n_nodes
    return OK, n_read, n_leaves, n_nodes


@no_type_check
@njit(cache=True, nogil=True)
def parse_full(children, codes, depths, nodes):
    """(state, nodes read, leaves) of a full tree, whose leaves are written with their place in the stream.

    Args:
        children: (n,) uint8, one a node, depth first; bit i is set if there is a child i, a leaf has none.
        codes, depths, nodes: with room for n leaves.
    """
    mask, child, start = np.zeros(DEPTH, np.int64), np.zeros(DEPTH, np.int64), np.zeros(DEPTH, np.int64)
    depth, code, n_read, n_leaves = 0, np.int64(0), 0, 0
    while True:
        if n_read == len(children):
            return ENDS_EARLY, n_read, n_leaves
        if children[n_read] == 0:
            codes[n_leaves], depths[n_leaves], nodes[n_leaves] = code, depth, n_read
            n_leaves += 1
            depth -= 1
        elif depth == DEPTH:
            return TOO_DEEP, n_read, n_leaves
        else:
            mask[depth], child[depth], start[depth] = children[n_read], 0, code
        n_read += 1
        while depth >= 0 and (mask[depth] >> child[depth]) == 0:
            depth -= 1
        if depth < 0:
            return OK, n_read, n_leaves
        while (mask[depth] >> child[depth]) & 1 == 0:
            child[depth] += 1
        code = start[depth] | (child[depth] << (3 * (DEPTH - 1 - depth)))
        child[depth] += 1
        depth += 1


@no_type_check
@njit(cache=True, nogil=True)
def list_blocks(codes, depths, block_codes):
    """How many blocks the leaves lie in; as many of their codes as there is room for are written, ascending."""
    n, last = 0, np.int64(-1)
    for i in range(len(codes)):
        first = codes[i] >> CELL_BITS
        if depths[i] > BLOCK_DEPTH and first == last:
            continue
        n_new = 1 if depths[i] > BLOCK_DEPTH else np.int64(1) << (3 * (BLOCK_DEPTH - depths[i]))
        last = first + n_new - 1
        for k in range(min(n_new, len(block_codes) - n)):
            block_codes[n + k] = first + k
        n += n_new
    return n


@no_type_check
@njit(cache=True, nogil=True)
def fill_blocks(codes, depths, values, cells):
    """Write the value of each leaf to its voxels in the blocks that `list_blocks` gave, (n, 512) or (n, 512, k)."""
    block, last = -1, np.int64(-1)
    for i in range(len(codes)):
        first = codes[i] >> CELL_BITS
        if depths[i] <= BLOCK_DEPTH:
            n_blocks = np.int64(1) << (3 * (BLOCK_DEPTH - depths[i]))
            cells[block + 1 : block + 1 + n_blocks] = values[i]
            block += n_blocks
            last = first + n_blocks - 1
            continue
        if first != last:
            block += 1
            last = first
        start = codes[i] & (VOLUME - 1)
        for k in range(np.int64(1) << (3 * (DEPTH - depths[i]))):
            cells[block, CELL_OF_CODE[start + k]] = values[i]


@no_type_check
@njit(cache=True, nogil=True)
def count_known(rows, cells):
    """How many voxels of each of the rows are known."""
    counts = np.zeros(len(rows), np.int64)
    for i in range(len(rows)):
        for value in cells[rows[i]]:
            counts[i] += value != UNKNOWN
    return counts


@no_type_check
@njit(cache=True, nogil=True)
def prune(rows, block_codes, cells, value_of_byte, codes, depths, values):
    """How many leaves are written: the voxels of the rows, eight equal siblings made one leaf as OctoMap does it.

    Args:
        rows: (n,) of `cells`, in ascending order of `block_codes`.
        value_of_byte: (256,) int8 by the byte as unsigned; UNKNOWN is left out.
        codes, depths, values: with room for all known voxels.
    """
    n = 0
    for i in range(len(rows)):
        for k in range(VOLUME):
            value = value_of_byte[np.uint8(cells[rows[i], CELL_OF_CODE[k]])]
            if value == UNKNOWN:
                continue
            codes[n], depths[n], values[n] = (block_codes[i] << CELL_BITS) | k, DEPTH, value
            n += 1
            while n >= 8 and _are_equal_siblings(codes, depths, values, n - 8):
                n -= 7
                depths[n - 1] -= 1
    return n


@no_type_check
@njit(cache=True, nogil=True)
def _are_equal_siblings(codes, depths, values, first):
    """Whether eight leaves are all children of one node and equal; those of the root stay, as in OctoMap."""
    depth = depths[first]
    if depth == 1 or codes[first] & ((np.int64(8) << (3 * (DEPTH - depth))) - 1) != 0:
        return False
    for i in range(first + 1, first + 8):
        if depths[i] != depth or values[i] != values[first]:
            return False
    return codes[first] >> (3 * (DEPTH + 1 - depth)) == codes[first + 7] >> (3 * (DEPTH + 1 - depth))


@no_type_check
@njit(cache=True, nogil=True)
def _shared_depth(code, depth, previous, previous_depth):
    """Depth of the deepest node above both leaves."""
    shared = min(depth, previous_depth) - 1
    while (code ^ previous) >> (3 * (DEPTH - shared)) != 0:
        shared -= 1
    return shared


@no_type_check
@njit(cache=True, nogil=True)
def count_inner(codes, depths):
    """The number of nodes above the leaves."""
    n = np.int64(depths[0])
    for i in range(1, len(codes)):
        n += depths[i] - 1 - _shared_depth(codes[i], depths[i], codes[i - 1], depths[i - 1])
    return n


@no_type_check
@njit(cache=True, nogil=True)
def emit_binary(codes, depths, kinds, words):
    """Write the words of a binary tree, one an inner node, as `parse_binary` reads them; `words` are zero."""
    open_at = np.zeros(DEPTH, np.int64)  # where the last node of each depth lies
    n = 1
    for i in range(len(codes)):
        shared = 0 if i == 0 else _shared_depth(codes[i], depths[i], codes[i - 1], depths[i - 1])
        for depth in range(shared, depths[i]):
            child = (codes[i] >> (3 * (DEPTH - 1 - depth))) & 7
            is_leaf = depth + 1 == depths[i]
            words[open_at[depth]] |= np.int64(kinds[i] if is_leaf else INNER) << (2 * child)
            if not is_leaf:
                open_at[depth + 1] = n
                n += 1


@no_type_check
@njit(cache=True, nogil=True)
def emit_full(codes, depths, values, node_values, children):
    """Write the nodes of a full tree as `parse_full` reads them; an inner node has the maximum of its children."""
    open_at = np.zeros(DEPTH + 1, np.int64)
    node_values[0], n = values[0], 1
    for i in range(len(codes)):
        shared = 0 if i == 0 else _shared_depth(codes[i], depths[i], codes[i - 1], depths[i - 1])
        for depth in range(shared + 1):
            node_values[open_at[depth]] = max(node_values[open_at[depth]], values[i])
        for depth in range(shared, depths[i]):
            child = (codes[i] >> (3 * (DEPTH - 1 - depth))) & 7
            children[open_at[depth]] |= 1 << child
            node_values[n], open_at[depth + 1] = values[i], n
            n += 1
