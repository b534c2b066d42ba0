"""Trained policies as files: safetensors with kind, version, JSON config and checksum; nothing in them is executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embmem.errors import InputError
from embmem.policies.learned.networks import PolicyNetwork, Shape
from embmem.policies.learned.tokens import Spec
from embmem.weights import load_weights, save_weights

KIND = "embmem learned policy"
VERSION = 1
SHIPPED = Path(__file__).parent / "checkpoints"


def save_policy(path: Path, network: PolicyNetwork, made_by: dict[str, Any], *, overwrite: bool = False) -> None:
    """Write the weights with the sizes and what made them (`made_by`, JSON values), whole or not at all.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is not set.
        InputError: if the folder does not exist.
    """
    arrays = {name: t.detach().cpu().numpy() for name, t in network.state_dict().items()}
    facts = {
        "config": json.dumps(network.config(), sort_keys=True),
        "made_by": json.dumps(made_by, sort_keys=True),
    }
    save_weights(path, arrays, kind=KIND, version=VERSION, facts=facts, overwrite=overwrite)


def load_policy(path: Path) -> tuple[PolicyNetwork, dict[str, Any]]:
    """The network that `save_policy` wrote, and what made it.

    Raises:
        InputError: if the file is missing, damaged or does not hold what it says.
        FileVersionError: if it is no such file, or of a newer version.
    """
    arrays, facts = load_weights(path, kind=KIND, version=VERSION)
    try:
        network = _build(json.loads(facts.get("config", "null")), arrays)
        return network, _mapping(json.loads(facts.get("made_by", "null")))
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
    with torch.random.fork_rng(devices=[]):
        network = PolicyNetwork(spec, shape)
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    return network.eval()


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {value!r:.100}")
    return value
