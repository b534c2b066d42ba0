"""Rigid transforms and the pinhole camera.

Frames: `map` is right-handed, metres, z up (REP 103). A camera frame is optical: x right, y down, z forward.
`T_a_b` takes points of frame b to frame a. Integer pixel coordinates lie at pixel centres.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from embmem.observation import Intrinsics

UNIT_TOLERANCE = 1e-3


def pose_matrix(position: Float[np.ndarray, "3"], quat_xyzw: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4 4"]:
    """The 4x4 transform of a position [m] and a unit quaternion.

    Raises:
        ValueError: if a number is not finite or the quaternion is not of unit length.
    """
    from scipy.spatial.transform import Rotation  # costs more to import than the rest of the core together

    position = np.asarray(position, dtype=np.float64)
    quat_xyzw = np.asarray(quat_xyzw, dtype=np.float64)
    if position.shape != (3,) or quat_xyzw.shape != (4,):
        raise ValueError(f"need a position (3,) and a quaternion (4,), got {position.shape}, {quat_xyzw.shape}")
    if not (np.isfinite(position).all() and np.isfinite(quat_xyzw).all()):
        raise ValueError(f"pose is not finite: position {position}, quat_xyzw {quat_xyzw}")
    norm = float(np.linalg.norm(quat_xyzw))
    if abs(norm - 1.0) > UNIT_TOLERANCE:
        raise ValueError(f"quaternion has length {norm:.6g}, not 1: {quat_xyzw}")
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat(quat_xyzw).as_matrix()
    T[:3, 3] = position
    return T


def invert_pose(T: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The inverse of a rigid transform."""
    inverse = np.eye(4)
    inverse[:3, :3] = T[:3, :3].T
    inverse[:3, 3] = -T[:3, :3].T @ T[:3, 3]
    return inverse


def rotation_angle(R: Float[np.ndarray, "3 3"]) -> float:
    """[rad] by which a rotation turns, in [0, pi]."""
    return float(np.arccos(np.clip((np.trace(R) - 1.0) / 2.0, -1.0, 1.0)))


def camera_pose(position: Float[np.ndarray, "3"], yaw: float, pitch: float = 0.0) -> Float[np.ndarray, "4 4"]:
    """`T_map_camera` of an upright camera at `position` [m].

    Args:
        yaw: heading [rad] about map z, 0 along +x, counter-clockwise.
        pitch: elevation of the optical axis [rad], positive looks up.
    """
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    forward = np.array([cp * cy, cp * sy, sp])
    right = np.array([sy, -cy, 0.0])
    T = np.eye(4)
    T[:3, 0], T[:3, 1], T[:3, 2], T[:3, 3] = right, np.cross(forward, right), forward, position
    return T


def heading(T_map_camera: Float[np.ndarray, "4 4"]) -> tuple[float, float]:
    """(yaw, pitch) [rad] of the optical axis, the inverse of `camera_pose`."""
    forward = T_map_camera[:3, 2]
    right = T_map_camera[:3, 0]
    return float(np.arctan2(right[0], -right[1])), float(np.arcsin(np.clip(forward[2], -1.0, 1.0)))


def transform_points(T: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """The points in the target frame of `T`."""
    return points @ T[:3, :3].T.astype(points.dtype) + T[:3, 3].astype(points.dtype)


def distort(points: Float[np.ndarray, "*n 2"], coefficients: tuple[float, ...]) -> Float[np.ndarray, "*n 2"]:
    """Where a lens with OpenCV's coefficients k1 k2 p1 p2 [k3 [k4 k5 k6]] shows points (x / z, y / z).

    Brown, Decentering distortion of lenses, Photogrammetric Engineering 1966; the rational form is OpenCV's.
    """
    k1, k2, p1, p2, k3, k4, k5, k6 = (*coefficients, *[0.0] * (8 - len(coefficients)))
    x, y = points[..., 0], points[..., 1]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([u, v], axis=-1)


def undistort(points: Float[np.ndarray, "*n 2"], coefficients: tuple[float, ...]) -> Float[np.ndarray, "*n 2"]:
    """The inverse of `distort`, by Newton's method from the distorted points; NaN where it finds no inverse."""
    straight, step = np.array(points, dtype=np.float64), 1e-6
    with np.errstate(all="ignore"):
        for _ in range(20):
            error = distort(straight, coefficients) - points
            columns = [
                (distort(straight + move, coefficients) - distort(straight - move, coefficients)) / (2 * step)
                for move in np.eye(2) * step
            ]
            (a, c), (b, d) = ((column[..., 0], column[..., 1]) for column in columns)
            x, y = error[..., 0], error[..., 1]
            straight -= np.stack([d * x - b * y, a * y - c * x], axis=-1) / (a * d - b * c)[..., None]
        error = distort(straight, coefficients) - points
        straight[~(np.abs(error).max(axis=-1) < 1e-6)] = np.nan
    return straight


def pixel_rays(intrinsics: Intrinsics) -> Float[np.ndarray, "h w 3"]:
    """The camera-frame point at planar depth 1 that each pixel sees."""
    u = (np.arange(intrinsics.width) - intrinsics.cx) / intrinsics.fx
    v = (np.arange(intrinsics.height) - intrinsics.cy) / intrinsics.fy
    plane = np.stack(np.broadcast_arrays(u[None, :], v[:, None]), axis=-1)
    if intrinsics.distortion:
        plane = undistort(plane, intrinsics.distortion)
    return np.concatenate([plane, np.ones((*plane.shape[:2], 1))], axis=-1)


def backproject(depth: Float[np.ndarray, "h w"], intrinsics: Intrinsics) -> Float[np.ndarray, "h w 3"]:
    """Camera-frame points [m] of a planar depth image; invalid depth (NaN) stays NaN."""
    if intrinsics.distortion:
        return (pixel_rays(intrinsics) * depth[..., None]).astype(np.float32)
    u = (np.arange(intrinsics.width, dtype=np.float32) - intrinsics.cx) / intrinsics.fx
    v = (np.arange(intrinsics.height, dtype=np.float32) - intrinsics.cy) / intrinsics.fy
    points = np.empty((*depth.shape, 3), dtype=np.float32)
    points[..., 0] = depth * u[None, :]
    points[..., 1] = depth * v[:, None]
    points[..., 2] = depth
    return points


def project(points: Float[np.ndarray, "n 3"], intrinsics: Intrinsics) -> Float[np.ndarray, "n 2"]:
    """Pixel coordinates (u, v) of camera-frame points; points behind the camera give NaN."""
    z = np.where(points[:, 2] > 0, points[:, 2], np.nan)
    if intrinsics.distortion:
        plane = distort(points[:, :2] / z[:, None], intrinsics.distortion)
        return plane * [intrinsics.fx, intrinsics.fy] + [intrinsics.cx, intrinsics.cy]
    u = points[:, 0] / z * intrinsics.fx + intrinsics.cx
    v = points[:, 1] / z * intrinsics.fy + intrinsics.cy
    return np.stack([u, v], axis=1)
