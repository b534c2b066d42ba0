"""Files of OctoMap: binary trees (.bt) and full trees (.ot).

The frame is ours: metres, z up, a voxel with the index i along an axis covers [i, i + 1) times the resolution, which is
OctoMap's key minus 32768. A tree is checked against what its header claims before anything is made of it, so a damaged
or hostile file costs no more memory than its own size and `max_voxels` allow.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from embmem.errors import InputError
from embmem.maps.voxels import morton
from embmem.maps.voxels.blocks import SCALE, SIDE, UNKNOWN, VOLUME, BlockPool, pack, unpack
from embmem.maps.voxels.formats import octomap
from embmem.maps.voxels.voxel_map import MAX_REACH, VoxelMap
from embmem.output import write_atomic

MAX_VOXELS = 2**29  # half a gigabyte: what a file may make of pruned nodes unless the caller allows more
BINARY, FULL = "# Octomap OcTree binary file", "# Octomap OcTree file"  # first lines
_COMMENT = "# (feel free to add / change comments, but leave the first line as it is!)\n#"
_HEADER_LIMIT = 1 << 16  # bytes
_HALF_RANGE = (1 << octomap.DEPTH) // 2 // SIDE  # blocks on either side of the origin
_NODE = np.dtype([("value", "<f4"), ("children", "u1")])
_COLOUR_NODE = np.dtype([("value", "<f4"), ("colour", "u1", 3), ("children", "u1")])
_REPAIR = "get the file again, or write it anew with OctoMap's convert_octree"


class _Tree(NamedTuple):
    """A tree as a file holds it: what the header says and the bytes behind it."""

    path: Path
    is_binary: bool
    kind: str  # OcTree or ColorOcTree
    n_nodes: int
    resolution: float
    data: bytes


class _Leaves(NamedTuple):
    """The leaves of a tree, depth first; `values` are bytes of log-odds, `colours` (n, 4) as the channel has them."""

    codes: np.ndarray
    depths: np.ndarray
    values: np.ndarray
    colours: np.ndarray | None


def read_octomap(path: Path | str, *, stamp: float = 0.0, max_voxels: int = MAX_VOXELS, **settings: Any) -> VoxelMap:
    """The map in a .bt or .ot file of OctoMap.

    A binary tree knows two states, which become the clamps of the map. Log-odds of a full tree are rounded to 1/32 and
    clamped; a voxel of which OctoMap says that it is occupied, which starts at 0 there, becomes at least 1/32.
    The colours of a ColorOcTree become the channel `colour` (`embmem.maps.voxels.meaning.payload`), of weight 1.

    Args:
        path: the file.
        stamp: [s] of all voxels, since OctoMap keeps no times.
        max_voxels: how much space the blocks of the map may cover; a pruned node of a few bytes can stand for 2^45.
        settings: of the `VoxelMap`, all but the resolution.

    Raises:
        InputError: if the file is missing, cut, damaged, of another kind, or covers more than `max_voxels`.
    """
    tree = _read_tree(Path(path))
    settings.setdefault("max_range", min(VoxelMap.max_range, MAX_REACH * tree.resolution))
    voxels = VoxelMap(resolution=tree.resolution, **settings)
    low, high = round(voxels.low * SCALE), round(voxels.high * SCALE)
    if tree.n_nodes == 0:
        return voxels
    leaves = _binary_leaves(tree, low, high) if tree.is_binary else _full_leaves(tree, low, high)
    n_blocks = int(octomap.list_blocks(leaves.codes, leaves.depths, np.empty(0, dtype=np.int64)))
    if n_blocks * VOLUME > max_voxels:
        raise InputError(
            f"{tree.path} covers {n_blocks * VOLUME:,} voxels in blocks of {VOLUME}, more than max_voxels = "
            f"{max_voxels:,}; raise max_voxels if the file is to be trusted"
        )
    voxels.blocks, voxels.epoch = _filled_pool(leaves, n_blocks, stamp), float(stamp)
    return voxels


def write_octomap(path: Path | str, voxels: VoxelMap) -> None:
    """Write the map as a pruned OcTree: log-odds if `path` ends with .ot, free and occupied if it ends with .bt.

    Times and channels are not written. Log-odds of 0, free here and occupied there, become the float below 0.

    Raises:
        ValueError: if `path` ends otherwise.
        InputError: if something is known outside of OctoMap's 2^16 voxels an axis, or the layer is no `VoxelMap`.
    """
    path = Path(path)
    if not isinstance(voxels, VoxelMap):
        raise InputError(f"{path}: only a VoxelMap can be written as an OctoMap tree, not {type(voxels).__name__}")
    if path.suffix not in (".bt", ".ot"):
        raise ValueError(f"the name must end with .bt or .ot, got {path}")
    is_binary = path.suffix == ".bt"
    data, n_nodes = _data(voxels, is_binary=is_binary, name=path)
    short = f"{voxels.resolution:.6g}"  # as OctoMap prints it, unless that is another number
    resolution = short if float(short) == voxels.resolution else repr(float(voxels.resolution))
    title = BINARY if is_binary else FULL
    header = f"{title}\n{_COMMENT}\nid OcTree\nsize {n_nodes}\nres {resolution}\ndata\n"
    write_atomic(path, header.encode("ascii") + data)


def binary_tree(voxels: VoxelMap) -> bytes:
    """What is behind the header of a .bt file, and in an octomap_msgs/Octomap; empty where nothing is known.

    Raises:
        InputError: if something is known outside of OctoMap's 2^16 voxels an axis.
    """
    return _data(voxels, is_binary=True, name=Path("an octree"))[0]


def _data(voxels: VoxelMap, *, is_binary: bool, name: Path) -> tuple[bytes, int]:
    """(bytes, number of nodes) of the pruned tree; `name` is named where the map does not fit."""
    byte = np.arange(256, dtype=np.uint8).view(np.int8)
    kinds = np.where(byte > 0, octomap.OCCUPIED_LEAF, octomap.FREE_LEAF).astype(np.int8)
    value_of_byte = np.where(byte == UNKNOWN, UNKNOWN, kinds) if is_binary else byte
    leaves = _pruned_leaves(voxels.blocks, value_of_byte, name)
    n_inner = int(octomap.count_inner(leaves.codes, leaves.depths)) if len(leaves.codes) else 0
    return (_binary_data if is_binary else _full_data)(leaves, n_inner), n_inner + len(leaves.codes)


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path} is not a file; name a .bt or .ot file of OctoMap")
    return path.read_bytes()


def _read_tree(path: Path) -> _Tree:
    """The file, its header checked."""
    data = _read_bytes(path)
    head, found, _ = data[:_HEADER_LIMIT].partition(b"\ndata\n")
    lines = head.decode("ascii", errors="replace").split("\n")
    title = lines[0].rstrip()
    if title not in (BINARY, FULL) or not found:
        raise InputError(f"{path} has no header of an OctoMap file; {_REPAIR}")
    fields = dict(line.split(maxsplit=1) for line in lines[1:] if not line.startswith("#") and " " in line.strip())
    kind, size, resolution = (fields.get(name, "").strip() for name in ("id", "size", "res"))
    if kind not in ("OcTree", "ColorOcTree"):
        raise InputError(f"{path} holds a tree of class {kind!r}; only OcTree and ColorOcTree can be read")
    if not (size.isascii() and size.isdigit() and len(size) < 19):
        raise InputError(f"{path} has a header with the size {size!r}; {_REPAIR}")
    try:
        edge = float(resolution)
    except ValueError:
        edge = math.nan
    if not 1e-6 <= edge <= 1e6:
        raise InputError(f"{path} has a header with the resolution {resolution!r}; {_REPAIR}")
    return _Tree(path, title == BINARY, kind, int(size), edge, data[len(head) + len(found) :])


def _checked(tree: _Tree, state: int, n_nodes: int, n_rest: int) -> None:
    """Refuse a stream of nodes that did not end as it should."""
    faults = {
        octomap.ENDS_EARLY: f"ends after {n_nodes:,} of {tree.n_nodes:,} nodes",
        octomap.TOO_DEEP: f"has a node below depth {octomap.DEPTH}",
        octomap.NO_CHILDREN: "has an inner node without children",
    }
    if state in faults:
        raise InputError(f"{tree.path} {faults[state]}; {_REPAIR}")
    if n_nodes != tree.n_nodes or n_rest:
        raise InputError(
            f"{tree.path} claims {tree.n_nodes:,} nodes but holds {n_nodes:,} and {n_rest:,} bytes more; {_REPAIR}"
        )


def _binary_leaves(tree: _Tree, low: int, high: int) -> _Leaves:
    words = np.frombuffer(tree.data, dtype="<u2", count=len(tree.data) // 2)
    room = int(octomap.count_leaves(words))
    codes, depths, kinds = np.empty(room, np.int64), np.empty(room, np.int8), np.empty(room, np.int8)
    state, n_words, n, n_nodes = octomap.parse_binary(words, codes, depths, kinds)
    _checked(tree, state, n_nodes, len(tree.data) - 2 * n_words)
    values = np.where(kinds[:n] == octomap.OCCUPIED_LEAF, high, low).astype(np.int8)
    return _Leaves(codes[:n], depths[:n], values, None)


def _full_leaves(tree: _Tree, low: int, high: int) -> _Leaves:
    dtype = _COLOUR_NODE if tree.kind == "ColorOcTree" else _NODE
    n_whole = len(tree.data) // dtype.itemsize
    records = np.frombuffer(tree.data, dtype=dtype, count=n_whole)
    codes, depths, nodes = np.empty(n_whole, np.int64), np.empty(n_whole, np.int8), np.empty(n_whole, np.int64)
    state, n_nodes, n = octomap.parse_full(np.ascontiguousarray(records["children"]), codes, depths, nodes)
    _checked(tree, state, n_nodes, len(tree.data) - n_nodes * dtype.itemsize)
    log_odds = records["value"][nodes[:n]].astype(np.float64)
    if not np.isfinite(log_odds).all():
        raise InputError(f"{tree.path} holds log-odds that are not finite; {_REPAIR}")
    values = np.rint(np.clip(log_odds * SCALE, low, high))
    values[(log_odds >= 0) & (values < 1)] = 1
    colours = _colours(records["colour"][nodes[:n]]) if tree.kind == "ColorOcTree" else None
    return _Leaves(codes[:n], depths[:n], values.astype(np.int8), colours)


def _colours(rgb: np.ndarray) -> np.ndarray:
    """(n, 4) of the channel `colour`: r, g, b in 1/256 and the weight 1; 0 where OctoMap has no colour, only white."""
    known = (rgb != 255).any(axis=1)
    return np.column_stack([rgb.astype(np.uint16) * 256, np.ones(len(rgb), np.uint16)]) * known[:, None]


def _filled_pool(leaves: _Leaves, n_blocks: int, stamp: float) -> BlockPool:
    """The blocks that the leaves lie in."""
    block_codes = np.empty(n_blocks, dtype=np.int64)
    octomap.list_blocks(leaves.codes, leaves.depths, block_codes)
    cells = np.full((n_blocks, VOLUME), UNKNOWN, dtype=np.int8)
    octomap.fill_blocks(leaves.codes, leaves.depths, leaves.values, cells)
    x, y, z = (morton.decode(block_codes) - _HALF_RANGE).T
    pool = BlockPool.from_rows(pack(x, y, z), cells, np.full(n_blocks, float(stamp)))
    if leaves.colours is not None:
        colours = pool.add_channel("colour", np.uint16, (4,))
        octomap.fill_blocks(leaves.codes, leaves.depths, leaves.colours, colours[: pool.n])
    return pool


def _pruned_leaves(pool: BlockPool, value_of_byte: np.ndarray, path: Path) -> _Leaves:
    """The leaves of the map's tree; `path` is named where the map does not fit."""
    n_known = octomap.count_known(np.arange(pool.n), pool.cells)
    rows = np.flatnonzero(n_known)
    blocks = unpack(pool.keys[rows]) + _HALF_RANGE
    if blocks.size and (blocks.min() < 0 or blocks.max() >= 2 * _HALF_RANGE):
        raise InputError(
            f"the map does not fit into {path}: OctoMap has {_HALF_RANGE * SIDE} voxels on either side of the origin; "
            "crop it or use a larger resolution"
        )
    block_codes = morton.encode(blocks)
    order = np.argsort(block_codes)
    room = int(n_known.sum())
    codes, depths, values = np.empty(room, np.int64), np.empty(room, np.int8), np.empty(room, np.int8)
    n = octomap.prune(rows[order], block_codes[order], pool.cells, value_of_byte, codes, depths, values)
    return _Leaves(codes[:n], depths[:n], values[:n], None)


def _binary_data(leaves: _Leaves, n_inner: int) -> bytes:
    words = np.zeros(n_inner, dtype="<u2")
    if n_inner:
        octomap.emit_binary(leaves.codes, leaves.depths, leaves.values, words)
    return words.tobytes()


def _full_data(leaves: _Leaves, n_inner: int) -> bytes:
    n_nodes = n_inner + len(leaves.codes)
    values, children = np.empty(n_nodes, np.int8), np.zeros(n_nodes, np.uint8)
    if n_nodes:
        octomap.emit_full(leaves.codes, leaves.depths, leaves.values, values, children)
    records = np.empty(n_nodes, dtype=_NODE)
    log_odds = values / np.float32(SCALE)
    log_odds[values == 0] = -np.finfo(np.float32).tiny
    records["value"], records["children"] = log_odds, children
    return records.tobytes()
