"""What a GoToMemory goal asks for: whether it makes sense, how the memory is asked, what it answered."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.driving import Target
from embmem.errors import InputError
from embmem.geometry import heading, pose_matrix
from embmem.ros.messages import NANOSECONDS, quaternion_of, vector_of
from embmem.ros.outgoing.parts import Fields, pose, pose_at

MAX_TEXT = 1000  # characters
MAX_IMAGE = 16 << 20  # bytes
MAX_ITEMS = 1000
FAR = 1e5  # [m] beyond which nothing is meant
PLACES = ("view", "landmarks", "pose_graph")  # kinds of items to stand on; in front of all others
_SAME = 0.3  # [m] between two items that are one
_ROOM = 2.5  # [m] along both sides from which something is a place, e.g. a room


@dataclass(frozen=True, eq=False)
class Candidate:
    """An item of the memory that can be driven to."""

    target: Target
    item: Fields  # an embmem_msgs/MemoryItem, as it came
    name: str
    confidence: float  # 0 to 1
    position: Float[np.ndarray, "3"]  # [m], frame of the answer


def refusal(request: Any) -> str | None:
    """Why a GoToMemory goal is not taken; None if it is."""
    n_bytes, frame = len(request.image.data), str(request.pose.header.frame_id)
    given = [str(request.text).strip() != "", str(request.object).strip() != "", n_bytes > 0, frame != ""]
    if sum(given) != 1:
        return f"a goal is one of text, object, image and pose with a frame; {sum(given)} of them are set"
    if max(len(request.text), len(request.object)) > MAX_TEXT:
        return f"a text of more than {MAX_TEXT} characters"
    if n_bytes > MAX_IMAGE:
        return f"an image of {n_bytes:,} bytes; at most {MAX_IMAGE:,} are taken"
    if frame:
        try:
            T = pose_matrix(vector_of(request.pose.pose.position), quaternion_of(request.pose.pose.orientation))
        except ValueError as error:
            return f"a pose that is none: {error}"
        if np.abs(T[:3, 3]).max() > FAR:
            return f"a pose farther away than {FAR:g} m"
    if not (math.isfinite(request.tolerance) and 0 <= request.tolerance <= FAR):
        return f"a tolerance of {request.tolerance} m"
    if seconds_of(request.timeout) < 0:
        return "a timeout below zero"
    return None


def seconds_of(duration: Any) -> float:
    """[s] of a builtin_interfaces/Duration."""
    return int(duration.sec) + int(duration.nanosec) / NANOSECONDS


def describe(request: Any) -> str:
    """What a goal is about, in a word or two for people."""
    if str(request.text).strip():
        return " ".join(str(request.text).split())
    if str(request.object).strip():
        return " ".join(str(request.object).split())
    if len(request.image.data):
        return "what the image shows"
    position = request.pose.pose.position
    return f"({position.x:.2f}, {position.y:.2f}) in {request.pose.header.frame_id}"


def question(request: Any, words: str, k: int, min_confidence: float) -> Fields:
    """A QueryMemory request.

    Args:
        request: a goal that is no pose.
        words: of this stop, where the goal is a text.
        k: most items.
        min_confidence: of an item.
    """
    asked: dict[str, Any] = {"k": k, "min_confidence": min_confidence}
    if words:
        asked["text"] = words
    elif str(request.object).strip():
        asked["entity"] = str(request.object).strip()
    else:
        image = request.image
        asked["image"] = {"format": str(image.format), "data": np.frombuffer(bytes(image.data), dtype=np.uint8)}
    return asked


def candidates(found: Any, *, tolerance: float, stand_distance: float, min_confidence: float) -> list[Candidate]:
    """The items of an answer that have a place, in its order; of several in one place the first.

    Args:
        found: an embmem_msgs/MemoryItems.
        tolerance: [m] from a place.
        stand_distance: [m] from the edge of a thing.
        min_confidence: of those that say how sure they are.
    """
    kept: list[Candidate] = []
    for item in list(found.items)[:MAX_ITEMS]:
        candidate = _candidate(item, tolerance, stand_distance)
        if candidate is None or candidate.confidence < min_confidence:
            continue
        is_thing = candidate.target.is_thing
        if all(
            is_thing != other.target.is_thing or np.linalg.norm(candidate.position - other.position) > _SAME
            for other in kept
        ):
            kept.append(candidate)
    return kept


def _candidate(item: Any, tolerance: float, stand_distance: float) -> Candidate | None:
    """None for what has no place, or one that makes no sense."""
    if not item.has_pose:
        return None
    position = vector_of(item.pose.position)
    if not (np.isfinite(position).all() and np.abs(position).max() <= FAR):
        return None
    sides = vector_of(item.size)[:2]
    sides = sides if np.isfinite(sides).all() and (sides >= 0).all() else np.zeros(2)
    is_room = float(sides.min()) >= _ROOM
    is_thing = str(item.kind) not in PLACES and not is_room
    target = Target(
        position[:2],
        heading=_view_heading(item) if str(item.kind) == "view" else None,
        is_thing=is_thing,
        size=float(sides.max()) if is_thing else 0.0,
        tolerance=stand_distance if is_thing else max(tolerance, float(sides.min()) / 4.0 if is_room else 0.0),
    )
    confidence = float(item.confidence)
    name = str(item.label) or str(item.text) or str(item.kind)
    return Candidate(
        target, item_fields(item), name[:MAX_TEXT], confidence if math.isfinite(confidence) else 1.0, position
    )


def _view_heading(item: Any) -> float | None:
    """[rad] in which the camera looked, whose optical frame the pose is; None where that says nothing."""
    try:
        return heading(pose_matrix(vector_of(item.pose.position), quaternion_of(item.pose.orientation)))[0]
    except ValueError:
        return None


def item_fields(item: Any) -> Fields:
    """An embmem_msgs/MemoryItem of any library as a plain mapping."""
    texts = ("layer", "kind", "label", "text", "place", "source", "why")
    return {
        "id": int(item.id),
        **{name: str(getattr(item, name)) for name in texts},
        "score": float(item.score),
        "confidence": float(item.confidence),
        "stamp": {"sec": int(item.stamp.sec), "nanosec": int(item.stamp.nanosec)},
        "has_pose": bool(item.has_pose),
        "pose": {"position": _xyz(item.pose.position), "orientation": _xyz(item.pose.orientation, "xyzw")},
        "size": _xyz(item.size),
        "provenance": np.asarray(item.provenance, dtype=np.int64),
    }


def _xyz(value: Any, axes: str = "xyz") -> Fields:
    return {axis: float(getattr(value, axis)) for axis in axes}


def in_frame(candidate: Candidate, T: Float[np.ndarray, "4 4"]) -> Candidate:
    """The candidate with its place in another frame, whose floor is level too.

    Raises:
        InputError: if it lies nowhere there.
    """
    position = T[:3, :3] @ candidate.position + T[:3, 3]
    if not np.isfinite(position).all():
        raise InputError("a transform that is not finite")
    turn, target = float(np.arctan2(T[1, 0], T[0, 0])), candidate.target
    turned = None if target.heading is None else target.heading + turn
    target, item = replace(target, position=position[:2], heading=turned), dict(candidate.item)
    try:
        old = item["pose"]["orientation"]
        own = pose_matrix(candidate.position, np.array([old[axis] for axis in "xyzw"]))
        item["pose"] = pose(T @ own)
    except ValueError:  # it says nothing about how it is turned
        item["pose"] = pose_at(position)
    return replace(candidate, target=target, item=item, position=position)
