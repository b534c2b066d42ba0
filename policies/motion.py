"""Small facts about a body that turns on the spot and steps forward."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from embmem.agent import Action
from embmem.geometry import heading


def planar_pose(T_map_camera: Float[np.ndarray, "4 4"]) -> tuple[Float[np.ndarray, "2"], float, float]:
    """(position (2,) [m], yaw [rad], pitch [rad]) of the body that carries the camera."""
    yaw, pitch = heading(T_map_camera)
    return np.array(T_map_camera[:2, 3], dtype=np.float64), yaw, pitch


def forward_progress(before: Float[np.ndarray, "2"], after: Float[np.ndarray, "2"], yaw: float) -> float:
    """How far [m] the body came along its heading; sliding sideways along a wall is no progress."""
    return float((after - before) @ np.array([np.cos(yaw), np.sin(yaw)]))


def wrap_angle(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def turn_towards(
    position: Float[np.ndarray, "2"], yaw: float, target: Float[np.ndarray, "2"], turn: float
) -> Action | None:
    """The turn that brings the heading nearer to `target`, None if a turn of `turn` [degrees] would not."""
    offset = target - position
    error = wrap_angle(float(np.arctan2(offset[1], offset[0])) - yaw)
    if abs(error) <= np.radians(turn) / 2 + 1e-6:
        return None
    return Action.LEFT if error > 0 else Action.RIGHT


def tilt_towards(pitch: float, elevation: float, look: float) -> Action | None:
    """The look up or down that brings the pitch nearer to `elevation` [rad]; None if `look` [degrees] is too much."""
    error = elevation - pitch
    if abs(error) <= np.radians(look) / 2 + 1e-6:
        return None
    return Action.LOOK_UP if error > 0 else Action.LOOK_DOWN
