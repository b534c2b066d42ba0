"""The parts that messages are made of: times, headers, points, poses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from embmem.ros.messages import NANOSECONDS

Fields = dict[str, Any]
_MOST_SECONDS = 2**31 - 1  # of builtin_interfaces/Time


def time_of(stamp_ns: int) -> Fields:
    """A builtin_interfaces/Time; what is out of its range becomes its nearest end."""
    sec, nanosec = divmod(min(max(stamp_ns, 0), _MOST_SECONDS * NANOSECONDS), NANOSECONDS)
    return {"sec": sec, "nanosec": nanosec}


def time_of_seconds(stamp: float) -> Fields:
    """A builtin_interfaces/Time of seconds; zero where they are not finite."""
    return time_of(round(min(stamp, _MOST_SECONDS) * NANOSECONDS) if math.isfinite(stamp) else 0)


def header(stamp_ns: int, frame: str) -> Fields:
    """A std_msgs/Header."""
    return {"stamp": time_of(stamp_ns), "frame_id": frame}


def xyz(vector: Float[np.ndarray, "3"]) -> Fields:
    """A geometry_msgs Point or Vector3."""
    x, y, z = np.asarray(vector, dtype=np.float64).tolist()
    return {"x": x, "y": y, "z": z}


def quaternion(R: Float[np.ndarray, "3 3"]) -> Fields:
    """A geometry_msgs/Quaternion with w >= 0."""
    x, y, z, w = Rotation.from_matrix(R).as_quat(canonical=True).tolist()
    return {"x": x, "y": y, "z": z, "w": w}


def pose(T: Float[np.ndarray, "4 4"]) -> Fields:
    """A geometry_msgs/Pose."""
    return {"position": xyz(T[:3, 3]), "orientation": quaternion(T[:3, :3])}


def pose_at(position: Float[np.ndarray, "3"]) -> Fields:
    """A geometry_msgs/Pose of something without a heading."""
    return {"position": xyz(position), "orientation": {"w": 1.0}}


def transform(T: Float[np.ndarray, "4 4"], parent: str, child: str, stamp_ns: int) -> Fields:
    """A geometry_msgs/TransformStamped: `T_parent_child`."""
    moved = {"translation": xyz(T[:3, 3]), "rotation": quaternion(T[:3, :3])}
    return {"header": header(stamp_ns, parent), "child_frame_id": child, "transform": moved}
