"""Requests as questions, hits as answers: what the services of the memory node say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.live import LiveMemory
from embmem.observation import Observation
from embmem.records import Hit, Query, Record
from embmem.replay.frame_codec import unpack
from embmem.ros.messages import seconds, stamp_ns, vector_of
from embmem.ros.outgoing import images
from embmem.ros.outgoing.parts import Fields, header, pose

MOST = 1000  # items of an answer
VOXELS = "voxels"  # the kind of that layer
VIEW = "view"  # the kind of records that have embeddings of images
# The layers whose answers come first; space that is occupied says least.
_ORDER = ("objects", "scene_graph", "semantic_map", "records", "landmarks")


def query_of(request: Any, position: Float[np.ndarray, "3"] | None) -> Query:
    """The question of a QueryMemory request.

    Args:
        request: it.
        position: `near` in the map; None where there is none.

    Raises:
        InputError: if it makes no sense.
    """
    k, radius, confidence = int(request.k) or 10, float(request.radius), float(request.min_confidence)
    if k > MOST or not (math.isfinite(radius) and radius >= 0 and 0.0 <= confidence <= 1.0):
        raise InputError(f"need k <= {MOST}, radius >= 0, min_confidence in [0, 1], got {k}, {radius}, {confidence}")
    since, until = seconds(stamp_ns(request.since)), seconds(stamp_ns(request.until))
    return Query(
        text=request.text or None,
        entity=request.entity or None,
        kind=request.kind or (VIEW if len(request.image.data) else None),
        place=request.place or None,
        source=request.source or None,
        near=position,
        radius=radius if radius and position is not None else np.inf,
        since=since or -np.inf,
        until=until or np.inf,
        min_confidence=confidence,
        k=k,
    )


def ask(memory: LiveMemory, query: Query) -> list[Hit]:
    """The best hits of every layer and of the records in turn, at most `query.k`.

    Words that are the name of a category find its things, too. Single voxels are answers only where they are asked for.
    An embedding is compared with the records alone.
    """
    if query.embedding is not None:
        return memory.query(query, without=[layer.kind for layer in memory.layers])
    has_meaning = query.text is not None or query.entity is not None
    hits = memory.query(query, without=() if has_meaning or query.kind == VOXELS else (VOXELS,))
    if query.text is not None and query.entity is None:
        hits += [hit for hit in memory.query(replace(query, text=None, entity=query.text)) if hit.record is None]
    by_layer: dict[str, list[Hit]] = {}
    for hit in hits:
        by_layer.setdefault("records" if hit.record is not None else hit.layer, []).append(hit)
    order = sorted(by_layer, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    turns: Iterable[Sequence[Hit | None]] = zip_longest(*(by_layer[name] for name in order))
    return [hit for hit in chain.from_iterable(turns) if hit is not None][: query.k]


def point_in(request_point: Any, T_map_frame: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3"]:
    """The point of a PointStamped in the map.

    Raises:
        InputError: if it is not finite.
    """
    point = vector_of(request_point.point)
    if not np.isfinite(point).all():
        raise InputError(f"the point {point.tolist()} is not finite")
    return np.asarray(T_map_frame[:3, :3] @ point + T_map_frame[:3, 3])


def keyframe(memory: LiveMemory, record_id: int, map_frame: str) -> Fields:
    """A GetKeyframe response: the images of a frame, or of that which a view was made from.

    Raises:
        InputError: if there is no such record, or it has no images (any more).
    """
    record = _frame_of(memory, record_id)
    seen = unpack(record)
    stamp = round(seen.stamp * 1e9)
    fields: Fields = {
        "success": True, "pose": {"header": header(stamp, map_frame), "pose": pose(seen.T_map_camera)},
        "camera_info": images.camera_info(seen.intrinsics, stamp, map_frame),
        "message": f"frame {record.id} of {seen.stamp:.3f} s",
    }  # fmt: skip
    if seen.rgb is not None:
        fields["color"] = images.jpeg(seen.rgb, stamp, map_frame)
    if seen.depth is not None:
        fields["depth"] = images.png(_millimetres(seen), stamp, map_frame)
    return fields


def _frame_of(memory: LiveMemory, record_id: int) -> Record:
    found = memory.acknowledged.get([record_id])
    if not found:
        raise InputError(f"there is no record {record_id}")
    if found[0].kind == "frame":
        return found[0]
    frames = memory.acknowledged.get([link.to for link in found[0].links if link.relation == "from"])
    if not frames or frames[0].kind != "frame":
        raise InputError(f"record {record_id} is a {found[0].kind} without images, or they were forgotten")
    return frames[0]


def _millimetres(seen: Observation) -> np.ndarray:
    depth = np.nan_to_num(np.asarray(seen.depth, dtype=np.float64) * 1000.0, nan=0.0)
    return np.where((depth > 0) & (depth < 65535.5), np.rint(depth), 0.0).astype(np.uint16)
