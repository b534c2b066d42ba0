"""The parts that messages are made of: times, headers, points, poses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float

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
    """A geometry_msgs/Quaternion with w >= 0, of a rotation.

    Shepperd, Quaternion from rotation matrix, 1978: the largest of the four is found first, so that nothing small is
    divided by. SciPy orthogonalises before, which answers cannot wait for.
    """
    (a, b, c), (d, e, f), (g, h, i) = R.tolist()
    fours = (1 + a - e - i, 1 - a + e - i, 1 - a - e + i, 1 + a + e + i)  # of the squares of x, y, z, w
    x, y, z, w = {
        0: (fours[0], b + d, c + g, h - f), 1: (b + d, fours[1], f + h, c - g),
        2: (c + g, f + h, fours[2], d - b), 3: (h - f, c - g, d - b, fours[3]),
    }[fours.index(max(fours))]  # fmt: skip
    length = math.copysign(math.sqrt(x * x + y * y + z * z + w * w), w)
    return {"x": x / length, "y": y / length, "z": z / length, "w": w / length}


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
