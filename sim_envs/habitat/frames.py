"""Habitat's frames and ours.

Habitat's world is +x right, +y up, -z forward with yaw counter-clockwise about +y, so (x, y, z) of the map are
(-z, -x, y) of Habitat and yaw keeps its sign. Quaternions in its files and lists are x, y, z, w; its quaternion objects
are w, x, y, z. The sign of a quaternion is not canonical there.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from embmem.sim_envs.episodes import rounded

# Takes vectors of Habitat's world to the map: R_map = C R C^T.
C = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
# Takes vectors of an optical camera (x right, y down, z ahead) to Habitat's sensor (x right, y up, -z ahead).
SENSOR_OPTICAL = np.diag([1.0, -1.0, -1.0])


def to_habitat(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Map points as Habitat points."""
    return np.stack([-points[..., 1], points[..., 2], -points[..., 0]], axis=-1)


def from_habitat(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Habitat points as map points."""
    return np.stack([-points[..., 2], -points[..., 0], points[..., 1]], axis=-1)


def canonical(quat_xyzw: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """Of the two quaternions of a rotation the one whose first number that is not 0 of w, z, y, x is positive."""
    for value in quat_xyzw[::-1]:
        if value != 0:
            return quat_xyzw if value > 0 else -quat_xyzw
    return quat_xyzw


def yaw_to_habitat(yaw: float) -> list[float]:
    """Habitat's rotation [x, y, z, w] of a heading [rad], with w >= 0: the sign is not canonical there."""
    half = (yaw + np.pi) % (2.0 * np.pi) / 2.0 - np.pi / 2.0
    return rounded(np.array([0.0, np.sin(half), 0.0, np.cos(half)]))


def yaw_from_habitat(quat_xyzw: Float[np.ndarray, "4"]) -> float:
    """Heading [rad] of a rotation: where it turns Habitat's forward, -z; tilt is dropped."""
    forward = from_habitat(Rotation.from_quat(quat_xyzw).apply([0.0, 0.0, -1.0]))
    return float(np.arctan2(forward[1], forward[0]))


def rotation_to_habitat(R_map: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """A rotation of the map as one of Habitat's world."""
    return C.T @ R_map @ C


def rotation_from_habitat(R: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """A rotation of Habitat's world as one of the map."""
    return C @ R @ C.T


def camera_from_habitat(
    position: Float[np.ndarray, "3"], quat_xyzw: Float[np.ndarray, "4"]
) -> Float[np.ndarray, "4 4"]:
    """`T_map_camera` (optical) of a sensor whose absolute pose Habitat tells.

    Raises:
        ValueError: if a number is not finite or the quaternion is 0.
    """
    if not (np.isfinite(position).all() and np.isfinite(quat_xyzw).all() and quat_xyzw.any()):
        raise ValueError(f"the sensor has no pose: position {position}, rotation {quat_xyzw} (x, y, z, w)")
    T = np.eye(4)
    T[:3, :3] = C @ Rotation.from_quat(quat_xyzw).as_matrix() @ SENSOR_OPTICAL
    T[:3, 3] = from_habitat(position)
    return T


def camera_to_habitat(T_map_camera: Float[np.ndarray, "4 4"]) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "4"]]:
    """(position, rotation x y z w) of Habitat's sensor at an optical camera pose, with a canonical sign."""
    R = C.T @ T_map_camera[:3, :3] @ SENSOR_OPTICAL
    return to_habitat(T_map_camera[:3, 3]), canonical(Rotation.from_matrix(R).as_quat())


def start_pose(
    position: Float[np.ndarray, "3"], yaw: float, start: Float[np.ndarray, "3"], start_yaw: float
) -> tuple[Float[np.ndarray, "2"], float]:
    """(gps, compass) as habitat-lab's EpisodicGPS and EpisodicCompass give them, of map poses [m, rad].

    gps is (ahead, right) of the start - (-z, x) in its frame -, compass the heading relative to it, left positive.
    """
    dx, dy = (position - start)[:2]
    c, s = np.cos(start_yaw), np.sin(start_yaw)
    gps = np.array([c * dx + s * dy, s * dx - c * dy])
    return gps, float(np.arctan2(np.sin(yaw - start_yaw), np.cos(yaw - start_yaw)))


def point_goal(position: Float[np.ndarray, "3"], yaw: float, goal: Float[np.ndarray, "3"]) -> Float[np.ndarray, "2"]:
    """(rho [m], -phi [rad]) as habitat-lab's PointGoalWithGPSCompass gives them, of map poses: left is positive."""
    dx, dy = (goal - position)[:2]
    return np.array([np.hypot(dx, dy), np.arctan2(np.sin(a := np.arctan2(dy, dx) - yaw), np.cos(a))])
