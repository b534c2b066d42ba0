"""A box-shaped room with exact depth, the smallest world that a camera can be carried through in tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from embmem.geometry import backproject, camera_pose
from embmem.observation import Intrinsics, Observation

CAMERA = Intrinsics.from_fov(64, 48, 75.0)
SIZE = np.array([5.0, 4.0, 2.5])  # [m], from the corner at the origin
LABELS = ("unlabelled", "wall", "floor", "ceiling", "mug")
MUG = np.array([2.5, 0.0, 1.2])  # [m], centre of a picture of a mug on the wall y = 0


class WordVectors:
    """A text encoder for tests: a text that names something of the room gets that thing's axis."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), 8), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            named = [i for i, label in enumerate(LABELS) if label in text]
            vector[named[0] if named else 7] = 1.0
        return vectors


def observe_room(T_map_camera: np.ndarray, stamp: float, intrinsics: Intrinsics = CAMERA) -> Observation:
    """What a camera inside the room sees: planar depth by the slab method, labels by the wall that was hit."""
    rays = backproject(np.ones((intrinsics.height, intrinsics.width), np.float32), intrinsics).astype(np.float64)
    directions = rays @ T_map_camera[:3, :3].T
    origin = T_map_camera[:3, 3]
    with np.errstate(divide="ignore"):
        distances = np.where(directions > 0, SIZE - origin, -origin) / directions
    axis = distances.argmin(axis=2)
    depth = distances.min(axis=2)
    points = origin + directions * depth[..., None]
    is_up = np.take_along_axis(directions, axis[..., None], 2)[..., 0] > 0
    semantic = np.where(axis == 2, np.where(is_up, 3, 2), 1)
    is_mug = np.linalg.norm(points - MUG, axis=2) < 0.2
    semantic[is_mug] = 4
    rgb = np.stack([semantic * 60, axis * 80, 255 - semantic * 50], axis=2).astype(np.uint8)
    return Observation(
        stamp=stamp,
        T_map_camera=T_map_camera,
        intrinsics=intrinsics,
        depth=depth.astype(np.float32),
        rgb=rgb,
        semantic=semantic.astype(np.int32),
        instance=is_mug.astype(np.int32),
        labels=LABELS,
    )


def walk(n_frames: int = 12, pitch: float = -0.3) -> Iterator[Observation]:
    """A full turn on a small circle in the middle of the room, looking a little down as a person does."""
    for i in range(n_frames):
        angle = 2 * np.pi * i / n_frames
        position = np.array([2.5 + 0.6 * np.cos(angle), 2.0 + 0.6 * np.sin(angle), 1.5])
        yield observe_room(camera_pose(position, angle - np.pi / 2, pitch), stamp=i / 10)
