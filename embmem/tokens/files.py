"""Compressors as files: safetensors with kind, version, sizes and checksum; nothing in them is executed."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from embmem.errors import FileVersionError, InputError
from embmem.output import new_file
from embmem.tokens.compressor import TokenCompressor

KIND = "embmem token compressor"
VERSION = 1
_SIZES = ("dim", "cue_dim", "token_dim", "n_blocks", "hidden", "least_code")


def save_compressor(path: Path, compressor: TokenCompressor, *, overwrite: bool = False) -> None:
    """Write the weights to `path`, whole or not at all.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set.
        InputError: if the folder does not exist.
    """
    arrays = {name: np.ascontiguousarray(t.detach().numpy()) for name, t in compressor.state_dict().items()}
    metadata = {
        "kind": KIND,
        "version": str(VERSION),
        "sizes": json.dumps(_sizes(compressor)),
        "sha256": _checksum(arrays),
    }
    with new_file(path, overwrite=overwrite) as part:
        part.write_bytes(save(arrays, metadata=metadata))


def load_compressor(path: Path) -> TokenCompressor:
    """The compressor that `save_compressor` wrote.

    Raises:
        InputError: if the file is missing, damaged or does not hold what it says.
        FileVersionError: if it is no such file, or of a newer version.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    data = path.read_bytes()
    try:
        arrays, metadata = load(data), _metadata(data)
    except (SafetensorError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged or not a safetensors file: {error}") from error
    if metadata.get("kind") != KIND:
        raise FileVersionError(f"{path} is no token compressor (kind {metadata.get('kind')!r})")
    version = metadata.get("version", "")
    if not (version.isascii() and version.isdigit() and 1 <= int(version) <= VERSION):
        raise FileVersionError(f"{path} is of version {version!r}, this embmem reads up to {VERSION}; update embmem")
    if metadata.get("sha256") != _checksum(arrays):
        raise InputError(f"{path} is damaged: its weights do not have the checksum it tells")
    try:
        return _build(_told_sizes(metadata.get("sizes", "")), arrays)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path} does not hold a token compressor: {error}") from error


def _build(sizes: dict[str, int], arrays: dict[str, np.ndarray]) -> TokenCompressor:
    """The compressor of these sizes with these weights; nothing larger than the weights themselves is allocated."""
    told = {
        "rotation": (sizes["dim"], sizes["dim"]),
        "phases": (sizes["cue_dim"], sizes["token_dim"] // 2 - 1),
        "stack.blocks.0.f.inner": (sizes["hidden"], sizes["dim"] // 2),
    }
    for name, shape in told.items():
        if name not in arrays or arrays[name].shape != shape:
            raise ValueError(f"{name} should have shape {shape}")
    if len(arrays) != 4 + 8 * sizes["n_blocks"]:
        raise ValueError(f"{len(arrays)} tensors are not those of {sizes['n_blocks']} blocks")
    for name, array in arrays.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"{name} is not of finite float32 numbers")
    compressor = TokenCompressor(**sizes)
    compressor.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    return compressor


def _sizes(compressor: TokenCompressor) -> dict[str, int]:
    stack = compressor.stack
    values = (
        compressor.dim, compressor.cue_dim, compressor.token_dim, len(stack.blocks), stack.hidden,
        compressor.least_code,
    )  # fmt: skip
    return dict(zip(_SIZES, values, strict=True))


def _told_sizes(text: str) -> dict[str, int]:
    sizes: Any = json.loads(text)
    if not isinstance(sizes, dict) or set(sizes) != set(_SIZES) or any(type(n) is not int for n in sizes.values()):
        raise ValueError(f"sizes {text[:200]!r} are not those of a token compressor")
    return sizes


def _metadata(data: bytes) -> dict[str, str]:
    (length,) = struct.unpack_from("<Q", data)
    told = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    if not isinstance(told, dict):
        raise ValueError("its metadata are no JSON object")
    return {str(name): str(value) for name, value in told.items()}


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} ".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
