"""Where the robot stands in the plane, by TF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from embmem.ros.outgoing.parts import Fields, header
from embmem.ros.tf_buffer import MAX_DEPTH, TfBuffer, TransformError


@dataclass(frozen=True)
class Pose:
    """In a frame, upright."""

    x: float  # [m]
    y: float  # [m]
    yaw: float  # [rad]
    stamp_ns: int

    @property
    def position(self) -> Float[np.ndarray, "2"]:
        """x, y [m]."""
        return np.array([self.x, self.y])


def newest_stamp(tf: TfBuffer, target: str, source: str) -> int | None:
    """[ns] of the newest moment at which one frame is known in the other, as tf2's latest common time; None: any."""
    up, down = _ancestors(tf, target.removeprefix("/")), _ancestors(tf, source.removeprefix("/"))
    common = next((frame for frame in down if frame in up), None)
    stamps = [
        tf.span(frame)[1]
        for chain in (up, down)
        for frame in chain[: chain.index(common) if common is not None else len(chain)]
        if tf.parent(frame) is not None and not tf.is_static(frame)
    ]
    return min(stamps, default=None)


def _ancestors(tf: TfBuffer, frame: str) -> list[str]:
    """The frame, its latest parent and so on."""
    chain: list[str] = []
    at: str | None = frame
    while at is not None and at not in chain and len(chain) < MAX_DEPTH:
        chain.append(at)
        at = tf.parent(at)
    return chain


def newest_transform(tf: TfBuffer, target: str, source: str, now_ns: int) -> tuple[Float[np.ndarray, "4 4"], int]:
    """(`T_target_source`, [ns] when it was so): the newest that is known.

    Raises:
        TransformError: if there is none.
    """
    stamp = newest_stamp(tf, target, source)
    stamp = now_ns if stamp is None else stamp
    return tf.lookup(target, source, stamp), stamp


def robot_pose(tf: TfBuffer, frame: str, base: str, now_ns: int) -> Pose | None:
    """The newest pose of the base; None where TF does not know it."""
    try:
        T, stamp = newest_transform(tf, frame, base, now_ns)
    except TransformError:
        return None
    return Pose(float(T[0, 3]), float(T[1, 3]), float(np.arctan2(T[1, 0], T[0, 0])), stamp)


def upright(yaw: float) -> Fields:
    """A geometry_msgs/Quaternion about z."""
    return {"z": float(np.sin(yaw / 2)), "w": float(np.cos(yaw / 2))}


def yaw_of(quat_xyzw: Float[np.ndarray, "4"]) -> float:
    """[rad] to which the x axis of a turned frame points, seen from above."""
    x, y, z, w = map(float, quat_xyzw)
    return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


def pose_stamped(frame: str, stamp_ns: int, x: float, y: float, yaw: float) -> Fields:
    """A geometry_msgs/PoseStamped on the floor."""
    pose = {"position": {"x": x, "y": y}, "orientation": upright(yaw)}
    return {"header": header(stamp_ns, frame), "pose": pose}
