"""Which points a camera sees."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from embmem.geometry import invert_pose, project, undistort
from embmem.records import Frustum

_BORDER = np.linspace(0.0, 1.0, 17)


def sees(frustum: Frustum, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    """Points (map frame) whose depth is within [near, far] and above 0 and whose pixel is on the image.

    The image reaches half a pixel beyond the centres of its outermost pixels. A point that is NaN is not seen.
    """
    T = invert_pose(frustum.T_map_camera)
    in_camera = points @ T[:3, :3].T + T[:3, 3]
    depth = in_camera[:, 2]
    is_seen = (depth > 0.0) & (frustum.near <= depth) & (depth <= frustum.far)
    size = np.array([frustum.intrinsics.width, frustum.intrinsics.height])
    pixel = project(in_camera, frustum.intrinsics)
    is_seen &= ((pixel >= -0.5) & (pixel <= size - 0.5)).all(axis=1)
    if frustum.intrinsics.distortion:  # far outside the image a lens model folds back into it
        low, high = _plane_bounds(frustum)
        with np.errstate(divide="ignore", invalid="ignore"):
            plane = in_camera[:, :2] / depth[:, None]
        is_seen &= ((plane >= low) & (plane <= high)).all(axis=1)
    return is_seen


def bounds(frustum: Frustum) -> Float[np.ndarray, "2 3"]:
    """Lowest and highest corner (map frame) of a box that holds all that is seen."""
    low, high = _plane_bounds(frustum)
    plane = np.array([(x, y, 1.0) for x in (low[0], high[0]) for y in (low[1], high[1])])
    corners = np.concatenate([plane * depth for depth in (max(frustum.near, 0.0), frustum.far)])
    in_map = corners @ frustum.T_map_camera[:3, :3].T + frustum.T_map_camera[:3, 3]
    margin = 1e-9 * (1.0 + np.abs(in_map).max())  # of rounding
    return np.stack([in_map.min(axis=0) - margin, in_map.max(axis=0) + margin])


def checked(frustum: Frustum) -> Frustum:
    """The frustum.

    Raises:
        ValueError: if its pose or its depths are not those of a camera.
    """
    if np.shape(frustum.T_map_camera) != (4, 4) or not np.isfinite(frustum.T_map_camera).all():
        raise ValueError(f"a frustum needs a finite (4, 4) pose, got {frustum.T_map_camera}")
    if not (0.0 <= frustum.near <= frustum.far < np.inf):
        raise ValueError(f"a frustum needs 0 <= near <= far < inf, got {frustum.near} and {frustum.far}")
    return frustum


def _plane_bounds(frustum: Frustum) -> tuple[np.ndarray, np.ndarray]:
    """Range of x / z and y / z on the border of the image."""
    camera = frustum.intrinsics
    along, zeros, ones = _BORDER, np.zeros(len(_BORDER)), np.ones(len(_BORDER))
    edge = np.concatenate([np.stack(side, axis=1) for side in
                           ((along, zeros), (along, ones), (zeros, along), (ones, along))])  # fmt: skip
    pixel = edge * [camera.width, camera.height] - 0.5
    plane = (pixel - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    if not camera.distortion:
        return plane.min(axis=0), plane.max(axis=0)
    straight = undistort(plane, camera.distortion)
    straight = np.where(np.isnan(straight), plane, straight)
    span = 0.02 * (straight.max(axis=0) - straight.min(axis=0))  # what lies between the samples
    return straight.min(axis=0) - span, straight.max(axis=0) + span
