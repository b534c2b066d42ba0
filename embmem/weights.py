"""Weights on disk: safetensors with kind, version, facts in words and a checksum; nothing in them is executed."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from embmem.errors import FileVersionError, InputError
from embmem.output import new_file


def save_weights(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    *,
    kind: str,
    version: int,
    facts: Mapping[str, str],
    overwrite: bool = False,
) -> None:
    """Write arrays as float32 with what is to be known of them (`facts`), whole or not at all.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set.
        InputError: if the folder does not exist.
    """
    dense = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}
    metadata = {"kind": kind, "version": str(version), "sha256": _checksum(dense), **facts}
    with new_file(path, overwrite=overwrite) as part:
        part.write_bytes(save(dense, metadata=metadata))


def load_weights(path: Path, *, kind: str, version: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the facts that `save_weights` wrote with this kind; `version` is the newest that is understood.

    Raises:
        InputError: if the file is missing, damaged or holds anything but finite float32 numbers.
        FileVersionError: if it is of another kind or of a newer version.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    data = path.read_bytes()
    try:
        arrays, facts = load(data), _metadata(data)
    except (SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is damaged or not a safetensors file: {error}") from error
    if facts.get("kind") != kind:
        raise FileVersionError(f"{path} is no {kind.removeprefix('embmem ')} (kind {facts.get('kind')!r:.80})")
    told = facts.get("version", "")
    if not (told.isascii() and told.isdigit() and len(told) < 9 and 1 <= int(told) <= version):
        raise FileVersionError(f"{path} is of version {told!r:.80}, this embmem reads up to {version}; update embmem")
    if facts.get("sha256") != _checksum(arrays):
        raise InputError(f"{path} is damaged: its weights do not have the checksum it tells")
    for name, array in arrays.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise InputError(f"{path} is damaged: {name} is not of finite float32 numbers")
    return arrays, facts


def _metadata(data: bytes) -> dict[str, str]:
    (length,) = struct.unpack_from("<Q", data)
    told = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    if not isinstance(told, dict):
        raise ValueError("its metadata are no JSON object")
    return {str(name): str(value) for name, value in told.items()}


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} ".encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
