"""Answers of a memory as embmem_msgs/MemoryItem."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from embmem.records import Hit
from embmem.ros.outgoing.parts import Fields, header, pose, pose_at, time_of_seconds, xyz


def items(hits: Iterable[Hit], revision: int, stamp_ns: int, frame: str) -> Fields:
    """An embmem_msgs/MemoryItems."""
    return {"header": header(stamp_ns, frame), "revision": revision, "items": [item(hit) for hit in hits]}


def item(hit: Hit) -> Fields:
    """An embmem_msgs/MemoryItem of one hit, of a record or of what a layer holds."""
    record = hit.record
    fields: Fields = {
        "id": int(hit.detail["id"]) if math.isfinite(hit.detail.get("id", math.nan)) else -1,
        "layer": hit.layer, "kind": hit.layer, "label": hit.entity or "", "score": float(hit.score),
        "confidence": float(hit.detail.get("confidence", math.nan)), "stamp": time_of_seconds(hit.stamp),
        "why": hit.why,
    }  # fmt: skip
    where = hit.position
    if record is not None:
        fields |= {
            "id": -1 if record.id is None else record.id, "layer": "records", "kind": record.kind,
            "label": ", ".join(record.entities), "text": record.text, "place": record.place or "",
            "source": record.source, "confidence": float(record.confidence),
            "provenance": np.array([link.to for link in record.links if link.relation == "from"], dtype=np.int64),
        }  # fmt: skip
        where = record.where if where is None else where
    if where is not None:
        fields |= {"has_pose": True, "pose": pose_at(where)}
        if record is not None and record.position is None and record.T_map_obs is not None:
            fields["pose"] = pose(record.T_map_obs)
    corners = [hit.detail.get(name, math.nan) for name in ("x0", "y0", "z0", "x1", "y1", "z1")]
    if all(map(math.isfinite, corners)):
        fields["size"] = xyz(np.array(corners[3:]) - np.array(corners[:3]))
    return fields
