"""The short-term memory as plain arrays, and back."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.protocols import LayerState
from embmem.short_term.checks import checked_pose, is_details
from embmem.short_term.eviction import EvictionPolicy, Fifo, FrequencyAge, Lfu, Lru, Merging
from embmem.short_term.rows import Rows
from embmem.short_term.tiny_lfu import WTinyLfu

POLICIES: tuple[type[EvictionPolicy], ...] = (Fifo, Lru, Lfu, FrequencyAge, WTinyLfu)
COLUMNS = ("position", "T_anchor_obs", "first_seen", "last_seen", "count", "confidence", "valid")
ARRAYS = (*COLUMNS, "embedding", "has_embedding", "T_map_anchor", "details", "policy")
Parts = tuple[EvictionPolicy, Merging | None, Float[np.ndarray, "4 4"], Rows]


def save_parts(header: tuple[str, int], parts: Parts) -> LayerState:
    """Rows in order of arrival; words and the policy as JSON in bytes."""
    policy, merging, T_map_anchor, rows = parts
    order = rows.in_order()
    embedding = np.zeros((len(rows), 0), dtype=np.float32) if rows.embedding is None else rows.embedding[order]
    has_embedding = rows.table["norm"][order] > 0
    arrays = {
        **{name: np.ascontiguousarray(rows.table[name][order]) for name in COLUMNS},
        "embedding": np.where(has_embedding[:, None], embedding, np.float32(0)),
        "has_embedding": has_embedding.astype(np.uint8),
        "T_map_anchor": T_map_anchor.copy(),
        "details": _bytes("\n".join(rows.details(int(row)) for row in order)),
        "policy": _bytes(json.dumps(policy.state())),
    }
    params = {"policy": policy.name, "capacity": policy.capacity, "merging": merging and asdict(merging)}
    return LayerState(*header, params, arrays)


def load_parts(header: tuple[str, int], state: LayerState) -> Parts:
    """What was saved.

    Raises:
        InputError: if the state is of another kind, a newer version or malformed.
    """
    kind, version = header
    if state.kind != kind or not 1 <= state.version <= version:
        raise InputError(f"a layer {state.kind!r} of version {state.version}, expected {kind!r} up to {version}")
    if absent := [name for name in ARRAYS if name not in state.arrays]:
        raise InputError(f"layer {kind!r} lacks the arrays {absent}")
    try:
        policy = _policy(state)
        merging = state.params["merging"]
        rows = _rows(state.arrays, policy)
        return policy, None if merging is None else Merging(**merging), checked_pose(state.arrays["T_map_anchor"]), rows
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"layer {kind!r} is malformed: {error}") from error


def _policy(state: LayerState) -> EvictionPolicy:
    found = [policy for policy in POLICIES if policy.name == state.params["policy"]]
    if not found:
        raise ValueError(f"an unknown policy {state.params['policy']!r}")
    saved = json.loads(_text(state.arrays["policy"]))
    if not isinstance(saved, dict):
        raise TypeError("the policy is no JSON object")
    policy = found[0].from_state(saved)
    if policy.capacity != state.params["capacity"]:
        raise ValueError(f"a policy of capacity {policy.capacity} in a memory of {state.params['capacity']}")
    return policy


def _rows(arrays: dict[str, np.ndarray], policy: EvictionPolicy) -> Rows:
    lines = _text(arrays["details"]).split("\n") if arrays["details"].size else []
    parsed = [json.loads(line) for line in lines]
    if not all(is_details(values) for values in parsed):
        raise ValueError("a row without the words of a record")
    keys = [values["keys"][0] for values in parsed]
    if set(keys) != set(policy.keys()) or len(keys) != len(policy):
        raise ValueError(f"{len(keys)} rows that are not the {len(policy)} keys of the policy")
    rows = Rows(policy.capacity)
    table = np.zeros(len(keys), dtype=rows.table.dtype)
    for name in COLUMNS:
        if arrays[name].dtype != table[name].dtype or arrays[name].shape != table[name].shape:
            raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}, not {table[name].shape}")
        table[name] = arrays[name]
    _check_numbers(table)
    embedding, has_embedding = arrays["embedding"], arrays["has_embedding"].astype(np.bool_)
    if embedding.dtype != np.float32 or embedding.ndim != 2 or not len(embedding) == len(has_embedding) == len(keys):
        raise ValueError(f"{len(keys)} rows with embeddings of shape {embedding.shape}")
    if not np.isfinite(embedding).all() or (embedding.any(axis=1) != has_embedding).any():
        raise ValueError("embeddings that are not finite or have no direction")
    rows.fill(keys, lines, table, embedding)
    return rows


def _check_numbers(table: np.ndarray) -> None:
    for name in ("position", "T_anchor_obs"):
        values = table[name]
        axes = tuple(range(1, values.ndim))
        if not (np.isfinite(values).all(axis=axes) | np.isnan(values).all(axis=axes)).all():
            raise ValueError(f"a {name} that is neither finite nor unknown")
    stamps, valid = np.stack([table["first_seen"], table["last_seen"]], axis=1), table["valid"]
    if not np.isfinite(stamps).all() or (stamps[:, 0] > stamps[:, 1]).any() or not (valid[:, 0] <= valid[:, 1]).all():
        raise ValueError("stamps that are not finite and in order")
    if (table["count"] < 1).any() or not ((table["confidence"] >= 0) & (table["confidence"] <= 1)).all():
        raise ValueError("a count below 1 or a confidence outside [0, 1]")


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("ascii"), dtype=np.uint8).copy()


def _text(array: np.ndarray) -> str:
    if array.dtype != np.uint8 or array.ndim != 1:
        raise ValueError(f"words as {array.dtype} {array.shape}, not bytes")
    return array.tobytes().decode("ascii")
