"""Detected things as segments of a frame: a category, and the pixels that belong to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from embmem.detection.foreground import MIN_PIXELS, foreground
from embmem.geometry import backproject
from embmem.observation import Observation

MAX_THINGS = 500  # of a frame, the surest
MAX_LABEL = 100  # characters
UNLABELLED, UNNAMED = "unlabelled", "thing"
_SAME, _SAME_PLACE = 0.6, 0.85  # overlap of two boxes of one thing: of one label, of any
_SLACK = 0.02  # [m] that a box in space may be too small


@dataclass(frozen=True)
class Box:
    """A box in the image [px]; integer coordinates lie at pixel centres."""

    label: str
    score: float  # [0, 1], NaN where it is not known
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, eq=False)
class SpaceBox:
    """A box in space."""

    label: str
    score: float
    T_camera_box: Float[np.ndarray, "4 4"]
    size: Float[np.ndarray, "3"]  # [m]


@dataclass(frozen=True, eq=False)
class Segment:
    """Pixels of a frame that belong to one thing."""

    label: str
    score: float
    mask: Bool[np.ndarray, "h w"]


def segments_of(
    boxes: Sequence[Box], observation: Observation, uv: Float[np.ndarray, "h w 2"] | None = None
) -> list[Segment]:
    """The things in boxes of an image, told from what is around them by depth.

    Of boxes that lie on each other the surest is taken: those of one label if they overlap by 60 %, of any by 85 %.

    Args:
        boxes: in pixels of the image that the detector saw.
        observation: with depth.
        uv: where each pixel of the depth image lies in that image [px]; None where they are one.
    """
    depth = observation.depth
    if depth is None:
        return []
    found = []
    for box in _surest(boxes):
        region = _inside(box, depth.shape) if uv is None else _projected(box, uv)
        if region is None:
            continue
        rows, columns, is_in = region
        crop = np.where(is_in, depth[rows, columns], np.nan)
        mask: np.ndarray = np.zeros(depth.shape, dtype=bool)
        mask[rows, columns] = foreground(crop, observation.intrinsics.fx)
        if mask.sum() >= MIN_PIXELS:
            found.append(Segment(box.label, box.score, mask))
    return found


def space_segments_of(boxes: Sequence[SpaceBox], observation: Observation) -> list[Segment]:
    """The pixels whose points lie inside of boxes in space."""
    if observation.depth is None or not boxes:
        return []
    points = backproject(observation.depth, observation.intrinsics).astype(np.float64)
    found = []
    for box in _best(boxes):
        inverse = np.linalg.inv(box.T_camera_box)
        inside = points @ inverse[:3, :3].T + inverse[:3, 3]
        with np.errstate(invalid="ignore"):
            mask = (np.abs(inside) <= np.asarray(box.size) / 2 + _SLACK).all(axis=2)
        if mask.sum() >= MIN_PIXELS:
            found.append(Segment(box.label, box.score, mask))
    return found


def painted(observation: Observation, segments: Sequence[Segment]) -> Observation:
    """The frame with the segments as `semantic`, `instance` and `labels`; where they overlap the smaller one is on top.

    Labels are data, as long as `MAX_LABEL` at most; a segment that has none is called a thing.
    """
    shape = observation.intrinsics.height, observation.intrinsics.width
    names = [" ".join(segment.label.split())[:MAX_LABEL] or UNNAMED for segment in segments]
    labels = (UNLABELLED, *sorted(set(names) - {UNLABELLED}))
    numbers = {name: i for i, name in enumerate(labels)}
    semantic, instance = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    areas = [int(segment.mask.sum()) for segment in segments]
    for i in sorted(range(len(segments)), key=lambda i: (-areas[i], _known(segments[i].score), i)):
        semantic[segments[i].mask] = numbers[names[i]]
        instance[segments[i].mask] = i + 1
    return replace(observation, semantic=semantic, instance=instance, labels=labels)


def _best(boxes: Sequence[Box] | Sequence[SpaceBox]) -> list:  # type: ignore[type-arg]
    return sorted(boxes, key=lambda box: -_known(box.score))[:MAX_THINGS]


def _known(score: float) -> float:
    return score if np.isfinite(score) else 0.0


def _surest(boxes: Sequence[Box]) -> list[Box]:
    """Without those that lie on a surer one; surest first."""
    kept: list[Box] = []
    for box in _best(boxes):
        limits = ((_overlap(box, other), _SAME if box.label == other.label else _SAME_PLACE) for other in kept)
        if all(overlap < most for overlap, most in limits):
            kept.append(box)
    return kept


def _overlap(a: Box, b: Box) -> float:
    """Area that two boxes share, of that of both together."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    shared = max(width, 0.0) * max(height, 0.0)
    both = (a.right - a.left) * (a.bottom - a.top) + (b.right - b.left) * (b.bottom - b.top) - shared
    return shared / both if both > 0 else 0.0


Region = tuple[slice, slice, np.ndarray]


def _inside(box: Box, shape: tuple[int, ...]) -> Region | None:
    """Rows, columns and which of their pixels lie inside the box; None where there are none."""
    edges = ((box.top, box.bottom, shape[0]), (box.left, box.right, shape[1]))
    rows, columns = (
        slice(int(np.clip(np.ceil(low), 0, n)), int(np.clip(np.floor(high) + 1, 0, n))) for low, high, n in edges
    )
    size = rows.stop - rows.start, columns.stop - columns.start
    return (rows, columns, np.ones(size, dtype=bool)) if min(size) > 0 else None


def _projected(box: Box, uv: Float[np.ndarray, "h w 2"]) -> Region | None:
    with np.errstate(invalid="ignore"):
        is_in = np.asarray(((uv >= [box.left, box.top]) & (uv <= [box.right, box.bottom])).all(axis=2))
    at: np.ndarray = np.argwhere(is_in)
    if not len(at):
        return None
    (top, left), (bottom, right) = at.min(axis=0).tolist(), at.max(axis=0).tolist()
    rows, columns = slice(top, bottom + 1), slice(left, right + 1)
    return rows, columns, is_in[rows, columns]
