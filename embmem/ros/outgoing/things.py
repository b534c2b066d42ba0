"""Things as vision_msgs/Detection3DArray and as markers for RViz."""

from __future__ import annotations

import colorsys
import zlib

import numpy as np

from embmem.ros.outgoing.parts import Fields, header, pose_at, xyz
from embmem.ros.shown import ThingsShown

_CUBE, _TEXT, _DELETE_ALL = 1, 9, 3  # of visualization_msgs/Marker
_LEAST_SIZE = 0.02  # [m] of a box that is drawn
_LETTERS = 0.12  # [m]


def detections(things: ThingsShown, stamp_ns: int, frame: str) -> Fields:
    """A vision_msgs/Detection3DArray: one hypothesis a thing, whose id is the thing's own."""
    head = header(stamp_ns, frame)
    found = []
    for i, number in enumerate(things.ids.tolist()):
        low, high = things.box[i]
        known = {"class_id": things.labels[i], "score": float(things.confidence[i])}
        found.append(
            {
                "header": head,
                "results": [{"hypothesis": known, "pose": {"pose": pose_at(things.position[i])}}],
                "bbox": {"center": pose_at((low + high) / 2.0), "size": xyz(high - low)},
                "id": str(number),
            }
        )
    return {"header": head, "detections": found}


def markers(things: ThingsShown, stamp_ns: int, frame: str) -> Fields:
    """A visualization_msgs/MarkerArray that takes the place of the one before: a box and a name for each thing."""
    head = header(stamp_ns, frame)
    drawn: list[Fields] = [{"header": head, "action": _DELETE_ALL}]
    for i, number in enumerate(things.ids.tolist()):
        low, high = things.box[i]
        size = np.maximum(high - low, _LEAST_SIZE)
        drawn.append(
            {
                "header": head, "ns": "things", "id": number % 2**31, "type": _CUBE,
                "pose": pose_at((low + high) / 2.0), "scale": xyz(size), "color": _colour(things.labels[i], 0.5),
            }
        )  # fmt: skip
        top = np.array([*((low + high) / 2.0)[:2], high[2] + _LETTERS])
        drawn.append(
            {
                "header": head, "ns": "names", "id": number % 2**31, "type": _TEXT, "pose": pose_at(top),
                "scale": {"z": _LETTERS}, "color": {"r": 1.0, "g": 1.0, "b": 1.0, "a": 0.9},
                "text": f"{things.labels[i]} {things.confidence[i]:.2f}",
            }
        )  # fmt: skip
    return {"markers": drawn}


def _colour(label: str, alpha: float) -> Fields:
    """The same colour for a name on every machine."""
    r, g, b = colorsys.hsv_to_rgb(zlib.crc32(label.encode()) / 2**32, 0.6, 0.9)
    return {"r": r, "g": g, "b": b, "a": alpha}
