"""What a short-term memory takes: finite numbers, one size of embedding, JSON values."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.records import Record


def checked_record(key: str, record: Record, n_dimensions: int | None) -> Record:
    """The record of the object `key` with arrays of the types that are held, and without images.

    Raises:
        ValueError: if it cannot be held.
    """
    if not key:
        raise ValueError("an object needs a key that is not empty")
    record = _plain(record)
    low, high = record.valid
    if not np.isfinite(record.t_event) or not 0.0 <= record.confidence <= 1.0 or not low <= high:
        raise ValueError(
            f"object {key!r} needs a finite t_event, a confidence in [0, 1] and an interval of validity, "
            f"got {record.t_event}, {record.confidence}, {record.valid}"
        )
    if record.position is not None and not (record.position.shape == (3,) and np.isfinite(record.position).all()):
        raise ValueError(f"the position of {key!r} must be finite and (3,), got {record.position}")
    if record.T_map_obs is not None:
        checked_pose(record.T_map_obs)
    if record.embedding is not None:
        checked_embedding(record.embedding, n_dimensions)
    return record


def checked_embedding(embedding: np.ndarray, n_dimensions: int | None) -> Float[np.ndarray, " d"]:
    """The embedding as float64, if it has a direction and the size of the others."""
    embedding = np.asarray(embedding, dtype=np.float64)
    if embedding.ndim != 1 or not np.isfinite(embedding).all() or not embedding.any():
        raise ValueError(f"an embedding must be one finite vector, not all 0, got one of shape {embedding.shape}")
    if n_dimensions is not None and len(embedding) != n_dimensions:
        raise ValueError(f"the embeddings here have {n_dimensions} numbers, not {len(embedding)}")
    return embedding


def checked_pose(T: np.ndarray) -> Float[np.ndarray, "4 4"]:
    """A float64 copy of a rigid transform."""
    T = np.array(T, dtype=np.float64)
    if T.shape != (4, 4) or not np.isfinite(T).all() or not np.array_equal(T[3], [0.0, 0.0, 0.0, 1.0]):
        raise ValueError(f"a pose must be a finite (4, 4) rigid transform, got {T.tolist()}")
    if not np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-3) or np.linalg.det(T[:3, :3]) < 0:
        raise ValueError(f"a pose must rotate and neither scale nor mirror, got {T[:3, :3].tolist()}")
    return T


def details_of(key: str, record: Record) -> str:
    """What is kept of a record besides its numbers, as JSON in ASCII; the key comes first among its keys.

    Raises:
        ValueError: if it is not made of JSON values.
    """
    keys = [key, *(other for other in dict.fromkeys(record.keys) if other != key)]
    values: dict[str, Any] = {
        "kind": record.kind, "source": record.source, "id": record.id, "t_ingest": record.t_ingest,
        "place": record.place, "entities": list(dict.fromkeys(record.entities)), "keys": keys, "text": record.text,
        "payload": record.payload, "links": [list(link) for link in record.links],
    }  # fmt: skip
    try:
        return json.dumps(values, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the record of {key!r} holds what is no JSON value: {error}") from error


def is_details(values: Any) -> bool:
    """True if the parsed JSON is what `details_of` writes."""
    if not isinstance(values, dict) or not isinstance(values.get("payload"), dict):
        return False
    words = [values.get(name) for name in ("kind", "source", "text")]
    place, t_ingest, source_id = (values.get(name, ...) for name in ("place", "t_ingest", "id"))
    lists = [values.get(name) for name in ("entities", "keys")]
    links = values.get("links")
    return (
        all(isinstance(word, str) for word in words)
        and (place is None or isinstance(place, str))
        and (t_ingest is None or isinstance(t_ingest, float | int))
        and (source_id is None or isinstance(source_id, int))
        and all(isinstance(each, list) and all(isinstance(word, str) for word in each) for each in lists)
        and isinstance(links, list)
        and all(isinstance(link, list) and list(map(type, link)) == [str, int] for link in links)
        and bool(values["keys"]) and bool(values["keys"][0])
    )  # fmt: skip


def _plain(record: Record) -> Record:
    with np.errstate(over="ignore"):  # what overflows float32 is refused as not finite
        return replace(
            record,
            T_map_obs=_array(record.T_map_obs, np.float64),
            position=_array(record.position, np.float64),
            embedding=_array(record.embedding, np.float32),
            blob=None,
        )


def _array(values: np.ndarray | None, dtype: type[np.floating[Any]]) -> np.ndarray | None:
    return None if values is None else np.asarray(values, dtype=dtype)
