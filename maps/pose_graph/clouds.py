"""Clouds of keyframes: thinned, packed, and put together to what was seen around a place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Int16
from scipy.spatial import cKDTree

from embmem.geometry import backproject, transform_points
from embmem.maps.pose_graph.graph import STEP, Keyframe
from embmem.maps.pose_graph.se3 import inverse
from embmem.observation import Observation

_MAX_PIXELS = 40_000  # of an image that are looked at


def thinned(points: Float[np.ndarray, "n 3"], voxel: float) -> Float[np.ndarray, "m 3"]:
    """The mean of the points in every voxel [m], in a fixed order."""
    if len(points) == 0:
        return np.zeros((0, 3))
    cell = np.floor(points / voxel).astype(np.int64)
    cell -= cell.min(axis=0)
    size = cell.max(axis=0) + 1
    rows = np.unique((cell[:, 0] * size[1] + cell[:, 1]) * size[2] + cell[:, 2], return_inverse=True)[1].ravel()
    sums = [np.bincount(rows, weights=points[:, axis]) for axis in range(3)]
    return np.stack(sums, axis=1) / np.bincount(rows)[:, None]


def visible(observation: Observation, max_range: float) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
    """(points [m] in the camera frame, their pixels) of a depth image, not all where it is large."""
    if observation.depth is None:
        return np.zeros((0, 3)), np.zeros(0, dtype=np.int64)
    points = backproject(np.asarray(observation.depth, dtype=np.float32), observation.intrinsics).reshape(-1, 3)
    stride = max(int(np.ceil(np.sqrt(observation.depth.size / _MAX_PIXELS))), 1)
    pixels = np.arange(observation.depth.size).reshape(observation.depth.shape)[::stride, ::stride].ravel()
    with np.errstate(invalid="ignore"):
        good = pixels[points[pixels, 2] <= max_range]  # NaN compares false
    return points[good].astype(np.float64), good


def packed(points: Float[np.ndarray, "n 3"], voxel: float) -> Int16[np.ndarray, "m 3"]:
    """One point a voxel in steps of STEP; what is out of reach of 16 bits is left out."""
    steps = np.rint(thinned(points, voxel) / STEP)
    return steps[(np.abs(steps) < 32767).all(axis=1)].astype(np.int16)


def upright(T_map_camera: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """`T_level_camera`: a frame at the camera whose axes are those of the map."""
    T = np.eye(4)
    T[:3, :3] = T_map_camera[:3, :3]
    return T


def submap(
    keyframes: Sequence[Keyframe], middle: int, members: Sequence[int], voxel: float
) -> Float[np.ndarray, "n 3"]:
    """What the members saw [m], around the middle one, z up; their places to each other are those of odometry."""
    centre = keyframes[middle]
    level = upright(centre.T_map_camera) @ inverse(centre.T_odom_camera)
    parts = [transform_points(level @ keyframes[k].T_odom_camera, keyframes[k].points()) for k in members]
    return thinned(np.concatenate(parts), voxel)


def redundant(keyframes: Sequence[Keyframe], n_drop: int, *, radius: float = 1.0) -> list[int]:
    """The keyframes whose cloud is missed least: those that most newer ones with a like view lie near to."""
    at = np.array([k for k, keyframe in enumerate(keyframes) if len(keyframe.cloud)], dtype=np.int64)
    if len(at) == 0 or n_drop <= 0:
        return []
    T = np.stack([keyframes[k].T_map_camera for k in at])
    pairs = cKDTree(T[:, :3, 3]).query_pairs(radius, output_type="ndarray")
    alike = np.einsum("ni,ni->n", T[pairs[:, 0], :3, 2], T[pairs[:, 1], :3, 2]) > np.cos(np.pi / 4)
    n_newer = np.bincount(pairs[alike].min(axis=1), minlength=len(at))
    order = np.argsort(-n_newer, kind="stable")
    return [int(k) for k in at[order[:n_drop]]]
