"""Arrays with text beside them in one safetensors file, written whole or not at all and read without trust.

The form is https://huggingface.co/docs/safetensors: 8 bytes with the length of the header, a JSON header, the arrays
one after the other. Any program that reads safetensors reads these files. Ours are laid out so that they can be mapped:
the data begin at a multiple of a page and the arrays with the widest numbers come first.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from embmem.errors import FileVersionError, InputError
from embmem.output import new_file

PAGE = 4096
MAX_HEADER = 1 << 24  # bytes
MAX_AXES = 8
_DTYPES = {
    "I8": "i1", "U8": "u1", "I16": "<i2", "U16": "<u2", "F16": "<f2",
    "I32": "<i4", "U32": "<u4", "F32": "<f4", "I64": "<i8", "U64": "<u8", "F64": "<f8",
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}


def write_tensors(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], *, overwrite: bool = False
) -> None:
    """Write `path`, whole or not at all: what stood there stays until the new file is safe on the disk.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set, or is no file.
        InputError: if the folder does not exist.
    """
    dense = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    names = sorted(dense, key=lambda name: (-dense[name].dtype.itemsize, name))
    header = _make_header({name: dense[name] for name in names}, metadata)
    with new_file(path, overwrite=overwrite) as part, part.open("wb") as file:
        file.write(header)
        for name in names:
            file.write(dense[name].reshape(-1).view(np.uint8).data)


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays, metadata) of a file, in memory of our own.

    Raises:
        InputError: if the file is missing or damaged.
        FileVersionError: if it is no safetensors file.
    """
    with _open(path) as file:
        specs, metadata, start, size = _read_header(path, file)
        data = np.empty(size - start, dtype=np.uint8)
        file.seek(start)
        if file.readinto(data.data) != len(data):
            raise InputError(f"{path} ends early")
    return {name: _view(data, spec, 0) for name, spec in specs.items()}, metadata


def map_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(arrays, metadata) as views of the mapped file; writing to an array copies the page and leaves the file alone.

    Only pages that are used are read. The file must not be cut short while the arrays are in use.

    Raises:
        InputError: if the file is missing or damaged.
        FileVersionError: if it is no safetensors file.
    """
    with _open(path) as file:
        specs, metadata, start, _ = _read_header(path, file)
        data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), dtype=np.uint8)
    return {name: _view(data, spec, start) for name, spec in specs.items()}, metadata


def _make_header(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % PAGE)
    if len(text) > MAX_HEADER:
        raise ValueError(f"names and settings of {len(text)} bytes do not fit into a header of {MAX_HEADER}")
    return len(text).to_bytes(8, "little") + text


def _open(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    return path.open("rb")


def _read_header(
    path: Path, file: Any
) -> tuple[dict[str, tuple[np.dtype, tuple[int, ...], int]], dict[str, str], int, int]:
    """((dtype, shape, offset) by name, metadata, where the data begin, size of the file)."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 2 <= length <= min(size - 8, MAX_HEADER):
        raise FileVersionError(f"{path} is cut short or not a safetensors file ({size} bytes, header of {length})")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise FileVersionError(f"{path} is not a safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise FileVersionError(f"{path} is not a safetensors file: its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(f"the metadata of {path} is not texts by name")
    specs, end = {}, 0
    ranges = {name: _checked_range(path, name, entry) for name, entry in header.items()}
    for name, (dtype, shape, low, high) in sorted(ranges.items(), key=lambda item: item[1][2:]):
        if low != end:
            raise InputError(f"array {name!r} of {path} begins at byte {low}, not {end}")
        specs[name], end = (dtype, shape, low), high
    if end != size - 8 - length:
        raise InputError(f"{path} holds {size - 8 - length} bytes of arrays, its header tells of {end}")
    return specs, metadata, 8 + length, size


def _checked_range(path: Path, name: str, entry: object) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """(dtype, shape, first byte, end) of an array in the header."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise InputError(f"array {name!r} of {path} is described by {str(entry)[:80]!r}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise InputError(f"array {name!r} of {path} has the type {str(dtype)[:80]!r}")
    for numbers in (shape, offsets):
        # bool is an int
        if not isinstance(numbers, list) or not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
            raise InputError(f"array {name!r} of {path} has the shape or place {str(numbers)[:80]}")
    if len(shape) > MAX_AXES or len(offsets) != 2:
        raise InputError(f"array {name!r} of {path} has {len(shape)} axes and {len(offsets)} offsets")
    kind = np.dtype(_DTYPES[dtype])
    is_huge = math.prod(n or 1 for n in shape) >= 1 << 60  # numpy refuses such shapes even where nothing is in them
    if is_huge or offsets[1] - offsets[0] != math.prod(shape) * kind.itemsize:
        raise InputError(f"array {name!r} of {path} has shape {shape} and the bytes {offsets}")
    return kind, tuple(shape), offsets[0], offsets[1]


def _view(data: np.ndarray, spec: tuple[np.dtype, tuple[int, ...], int], start: int) -> np.ndarray:
    dtype, shape, offset = spec
    begin = start + offset
    array = data[begin : begin + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
    return array if array.flags.aligned else array.copy()
