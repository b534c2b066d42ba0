"""Compressors as files: safetensors with kind, version, sizes and checksum; nothing in them is executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embmem.errors import InputError
from embmem.tokens.compressor import TokenCompressor
from embmem.weights import load_weights, save_weights

KIND = "embmem token compressor"
VERSION = 1
_SIZES = ("dim", "cue_dim", "token_dim", "n_blocks", "hidden", "least_code")


def save_compressor(path: Path, compressor: TokenCompressor, *, overwrite: bool = False) -> None:
    """Write the weights to `path`, whole or not at all.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set.
        InputError: if the folder does not exist.
    """
    arrays = {name: t.detach().numpy() for name, t in compressor.state_dict().items()}
    facts = {"sizes": json.dumps(_sizes(compressor))}
    save_weights(path, arrays, kind=KIND, version=VERSION, facts=facts, overwrite=overwrite)


def load_compressor(path: Path) -> TokenCompressor:
    """The compressor that `save_compressor` wrote.

    Raises:
        InputError: if the file is missing, damaged or does not hold what it says.
        FileVersionError: if it is no such file, or of a newer version.
    """
    arrays, facts = load_weights(path, kind=KIND, version=VERSION)
    try:
        return _build(_told_sizes(facts.get("sizes", "")), arrays)
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
