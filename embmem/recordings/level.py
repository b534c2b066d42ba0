"""Which way is up: a z-up map frame for recordings whose world frame is some camera's frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from embmem.geometry import backproject, transform_points
from embmem.observation import Observation

# The cone around the cameras' mean "down" that must hold the floor's normal, narrowed step by step.
_CONES_DEG = (45.0, 35.0, 25.0, 18.0, 12.0, 8.0, 8.0, 8.0)
_FLOOR_BIN = 0.02  # [m]
_FLOOR_SHARE = 0.1  # of what the largest level surface shows: a worktop may hide most of the floor


def level_transform(observations: Sequence[Observation]) -> Float[np.ndarray, "4 4"]:
    """`T_map_world` that makes z point up, puts the floor at z = 0 and starts at the origin looking along +x.

    People and robots hold cameras about upright, so the mean image-down direction is within 45 degrees of gravity;
    floors, tables and ceilings then pull the estimate to their common normal. Needs poses in one frame, here called
    world, with any orientation.

    Args:
        observations: frames spread over the recording, poses `T_world_camera`, depth where there is any.
    """
    if not observations:
        raise ValueError("need at least one observation to level a recording")
    first = observations[0].T_map_camera
    down = np.sum([o.T_map_camera[:3, 1] for o in observations], axis=0)
    points, normals = _surfaces(observations)
    up = -_common_normal(down / np.linalg.norm(down), normals)

    forward = first[:3, 2] - up * (first[:3, 2] @ up)
    if np.linalg.norm(forward) < 1e-3:  # looking straight down: the image's top is ahead
        forward = -first[:3, 1] - up * (-first[:3, 1] @ up)
    forward /= np.linalg.norm(forward)
    T = np.eye(4)
    T[:3, :3] = forward, np.cross(up, forward), up
    T[:3, 3] = -T[:3, :3] @ first[:3, 3]
    T[2, 3] = -_floor_height(points @ up, normals @ up, otherwise=float(first[:3, 3] @ up))
    return T


def is_upright(observations: Sequence[Observation]) -> bool:
    """Whether z of the poses' frame may be up: as many surfaces face along it as along what else could be.

    Half as many will do, as a frame that claims to have z up mostly has, and levelling is a guess.
    """
    _, normals = _surfaces(observations)
    up = level_transform(observations)[2, :3]
    cosine = np.cos(np.radians(_CONES_DEG[-1]))
    n_up, n_z = (int(np.count_nonzero(np.abs(normals @ axis) > cosine)) for axis in (up, np.array([0.0, 0.0, 1.0])))
    return bool(n_z >= 0.5 * n_up and (len(normals) > 0 or up[2] > np.cos(np.radians(45.0))))


def _surfaces(observations: Sequence[Observation]) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Points and normals of all depth images."""
    surfaces = [_surface(o) for o in observations if o.depth is not None]
    points = np.concatenate([p for p, _ in surfaces]) if surfaces else np.empty((0, 3))
    return points, np.concatenate([n for _, n in surfaces]) if surfaces else np.empty((0, 3))


def _surface(
    observation: Observation,
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """World points of a coarse depth image and their unit normals, which face the camera."""
    depth, T = np.asarray(observation.depth), observation.T_map_camera
    step = max(1, depth.shape[1] // 80)
    grid = backproject(depth, observation.intrinsics)[::step, ::step]
    normal = np.cross(grid[2:, 1:-1] - grid[:-2, 1:-1], grid[1:-1, 2:] - grid[1:-1, :-2])
    length = np.linalg.norm(normal, axis=2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        normal = normal / length
    centre = grid[1:-1, 1:-1]
    keep = np.isfinite(normal).all(axis=2) & np.isfinite(centre).all(axis=2)
    rotated = normal[keep].astype(np.float64) @ T[:3, :3].T
    return transform_points(T, centre[keep].astype(np.float64)), rotated


def _common_normal(direction: Float[np.ndarray, "3"], normals: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "3"]:
    """The axis near `direction` that most normals share, either way round."""
    for cone in _CONES_DEG:
        inside = normals[np.abs(normals @ direction) > np.cos(np.radians(cone))]
        if len(inside) < 100:  # too little surface to know better than the cameras
            return direction
        axis = np.linalg.eigh(inside.T @ inside)[1][:, 2]
        direction = axis * np.sign(axis @ direction)
    return direction


def _floor_height(height: Float[np.ndarray, " n"], facing: Float[np.ndarray, " n"], *, otherwise: float) -> float:
    """Height along `up` of the lowest large surface that faces up, or of the lowest points where none does."""
    level = height[facing > 0.95]
    if len(level) < 100:
        return float(np.percentile(height, 1)) if len(height) else otherwise
    bins = np.floor((level - level.min()) / _FLOOR_BIN).astype(np.int64)
    counts = np.convolve(np.bincount(bins), np.ones(3), mode="same")
    lowest = int(np.argmax(counts >= _FLOOR_SHARE * counts.max()))
    peak = lowest + int(np.argmax(counts[lowest : lowest + 5]))
    return float(level.min() + (peak + 0.5) * _FLOOR_BIN)
