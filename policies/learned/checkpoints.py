"""Trained policies as files: safetensors with kind, version, JSON config and checksum; nothing in them is executed."""

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
from embmem.policies.learned.networks import PolicyNetwork, Shape
from embmem.policies.learned.tokens import Spec

KIND = "embmem learned policy"
VERSION = 1
SHIPPED = Path(__file__).parent / "checkpoints"


def save_policy(path: Path, network: PolicyNetwork, made_by: dict[str, Any], *, overwrite: bool = False) -> None:
    """Write the weights with the sizes and what made them (`made_by`, JSON values), whole or not at all.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set.
        InputError: if the folder does not exist.
    """
    arrays = {name: np.ascontiguousarray(t.detach().cpu().numpy()) for name, t in network.state_dict().items()}
    metadata = {
        "kind": KIND,
        "version": str(VERSION),
        "config": json.dumps(network.config(), sort_keys=True),
        "made_by": json.dumps(made_by, sort_keys=True),
        "sha256": _checksum(arrays),
    }
    with new_file(path, overwrite=overwrite) as part:
        part.write_bytes(save(arrays, metadata=metadata))


def load_policy(path: Path) -> tuple[PolicyNetwork, dict[str, Any]]:
    """The network that `save_policy` wrote, and what made it.

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
        raise FileVersionError(f"{path} is no learned policy (kind {metadata.get('kind')!r})")
    version = metadata.get("version", "")
    if not (version.isascii() and version.isdigit() and 1 <= int(version) <= VERSION):
        raise FileVersionError(f"{path} is of version {version!r}, this embmem reads up to {VERSION}; update embmem")
    if metadata.get("sha256") != _checksum(arrays):
        raise InputError(f"{path} is damaged: its weights do not have the checksum it tells")
    try:
        network = _build(json.loads(metadata.get("config", "null")), arrays)
        return network, _mapping(json.loads(metadata.get("made_by", "null")))
    except (ValueError, TypeError, RuntimeError, RecursionError) as error:
        raise InputError(f"{path} does not hold a learned policy: {error}") from error


def _build(config: Any, arrays: dict[str, np.ndarray]) -> PolicyNetwork:
    """The network of this config; its shapes are compared with those of the file before memory is taken."""
    told = _mapping(config)
    if set(told) != {"spec", "shape"}:
        raise ValueError(f"its config has {sorted(told)}, not spec and shape")
    spec, shape = Spec.from_json(told["spec"]), Shape(**_mapping(told["shape"]))
    with torch.device("meta"):
        wanted = {name: tuple(t.shape) for name, t in PolicyNetwork(spec, shape).state_dict().items()}
    found = {name: array.shape for name, array in arrays.items()}
    if wanted != found:
        wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise ValueError(f"tensors are missing, unknown or of another shape than the config says: {wrong[:5]}")
    for name, array in arrays.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"{name} is not of finite float32 numbers")
    with torch.random.fork_rng(devices=[]):
        network = PolicyNetwork(spec, shape)
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    return network.eval()


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {value!r:.100}")
    return value


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
