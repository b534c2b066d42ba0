"""A voxel map in a file of its own: mapped when it is opened, or compressed for the archive.

The file is safetensors (`tensor_files`): the arrays of `VoxelMap.save`, and `kind`, `version` and `params` beside them.
In a compressed file each array of many rows is a stream of bytes `NAME.zlib`, zlib by chunks of `CHUNK` rows, with
the end of every chunk in `NAME.ends` and its type and shape in the metadata.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from embmem.errors import FileVersionError, InputError
from embmem.maps.voxels.formats.tensor_files import MAX_AXES, map_tensors, read_tensors, write_tensors
from embmem.maps.voxels.voxel_map import VoxelMap
from embmem.protocols import LayerState

CHUNK = 1024  # rows
LEVEL = 6  # of zlib
_MAX_RATIO = 1032  # zlib cannot make more bytes of one
_STREAM, _ENDS = ".zlib", ".ends"
_NUMBERS = {np.dtype(kind).name: np.dtype(kind) for kind in (
    "i1", "u1", "i2", "u2", "f2", "i4", "u4", "f4", "i8", "u8", "f8",
)}  # fmt: skip


def write_voxels(path: str | Path, voxels: VoxelMap, *, compressed: bool = False, overwrite: bool = False) -> None:
    """Write the map to `path`, whole or not at all.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set.
        InputError: if the folder does not exist.
    """
    state = voxels.save()
    arrays, metadata = state.arrays, {"kind": state.kind, "version": str(state.version)}
    metadata["params"] = json.dumps(state.params, allow_nan=False)
    if compressed:
        packed = {name for name, array in arrays.items() if array.ndim > 0 and len(array) > 0}
        specs = {name: [arrays[name].dtype.name, list(arrays[name].shape)] for name in sorted(packed)}
        metadata["compressed"] = json.dumps(specs)
        arrays = {name: array for name, array in arrays.items() if name not in packed}
        for name in packed:
            arrays[name + _STREAM], arrays[name + _ENDS] = _compress(state.arrays[name])
    write_tensors(Path(path), arrays, metadata, overwrite=overwrite)


def read_voxels(path: str | Path) -> VoxelMap:
    """The map in a file, in memory of its own, all of it checked.

    Raises:
        InputError: if the file is missing, damaged or not what a voxel map writes.
        FileVersionError: if it is of a newer version or not a safetensors file.
    """
    arrays, metadata = read_tensors(Path(path))
    return _load(path, arrays, metadata, mapped=False)


def open_voxels(path: str | Path) -> VoxelMap:
    """The map in a file that is mapped, not read: a cell is read from the disk when it is asked for.

    The map can go on growing and changing; the file never changes. It must not be cut short meanwhile; replacing it, as
    `write_voxels` does, is safe. Cells are not checked, for which they would have to be read: damage there is wrong
    occupancy, no crash. A compressed file is read as by `read_voxels`.

    Raises:
        InputError: if the file is missing, damaged or not what a voxel map writes.
        FileVersionError: if it is of a newer version or not a safetensors file.
    """
    arrays, metadata = map_tensors(Path(path))
    return _load(path, arrays, metadata, mapped="compressed" not in metadata)


def _load(path: str | Path, arrays: dict[str, np.ndarray], metadata: dict[str, str], *, mapped: bool) -> VoxelMap:
    try:
        if metadata.get("kind") != VoxelMap.kind:
            raise FileVersionError(f"not a file of voxels, but of kind {metadata.get('kind')!r}")
        version = metadata.get("version", "")
        params = _json_object(metadata, "params")
        if "compressed" in metadata:
            arrays = _decompressed(arrays, _json_object(metadata, "compressed"))
        number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
        return VoxelMap.load(LayerState(VoxelMap.kind, number, params, arrays), mapped=mapped)
    except InputError as error:
        raise type(error)(f"{path}: {error}") from error


def _json_object(metadata: dict[str, str], name: str) -> dict[str, Any]:
    try:
        value = json.loads(metadata.get(name, ""))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{name!r} is not a JSON object")
    return value


def _compress(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the stream of all chunks, where each ends)."""
    rows = np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
    chunks = [zlib.compress(rows[i : i + CHUNK].data, LEVEL) for i in range(0, len(rows), CHUNK)]
    ends = np.cumsum([len(chunk) for chunk in chunks], dtype=np.int64)
    return np.frombuffer(b"".join(chunks), dtype=np.uint8), ends


def _decompressed(arrays: dict[str, np.ndarray], specs: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays with those of `specs` in place of their streams."""
    plain = {name: array for name, array in arrays.items() if not name.endswith((_STREAM, _ENDS))}
    for name, spec in specs.items():
        stream, ends = arrays.get(name + _STREAM), arrays.get(name + _ENDS)
        if stream is None or ends is None or stream.dtype != np.uint8 or stream.ndim != 1 or ends.dtype != np.int64:
            raise InputError(f"the array {name!r} lacks its stream")
        plain[name] = _decompress(name, spec, stream, ends)
    return plain


def _decompress(name: str, spec: Any, stream: np.ndarray, ends: np.ndarray) -> np.ndarray:
    if not (isinstance(spec, list) and len(spec) == 2 and str(spec[0]) in _NUMBERS and isinstance(spec[1], list)):
        raise InputError(f"the compressed array {name!r} is described by {str(spec)[:80]}")
    dtype, shape = _NUMBERS[str(spec[0])], spec[1]
    if not (1 <= len(shape) <= MAX_AXES and all(type(n) is int and 0 < n < 1 << 40 for n in shape)):
        raise InputError(f"the compressed array {name!r} has the shape {str(shape)[:80]}")
    row = math.prod(shape[1:]) * dtype.itemsize
    if row * shape[0] > _MAX_RATIO * len(stream):
        raise InputError(f"{len(stream)} bytes cannot hold the array {name!r} of {row * shape[0]}")
    starts = np.append(0, ends)
    if ends.shape != (-(-shape[0] // CHUNK),) or starts[-1] != len(stream) or (np.diff(starts) < 0).any():
        raise InputError(f"the chunks of the array {name!r} do not cover its stream")
    data = np.empty((shape[0], row), dtype=np.uint8)
    for i in range(len(ends)):
        rows = data[i * CHUNK : (i + 1) * CHUNK]
        try:
            inflater = zlib.decompressobj()
            chunk = inflater.decompress(stream[starts[i] : starts[i + 1]].data, rows.nbytes + 1)
        except zlib.error as error:
            raise InputError(f"chunk {i} of the array {name!r} is damaged: {error}") from error
        if len(chunk) != rows.nbytes or not inflater.eof or inflater.unused_data:
            raise InputError(f"chunk {i} of the array {name!r} does not hold {rows.nbytes} bytes")
        rows[:] = np.frombuffer(chunk, dtype=np.uint8).reshape(rows.shape)
    return data.view(dtype).reshape(shape)
