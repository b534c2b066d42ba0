"""Where the camera was when a message was made, of TF or of odometry, looked up at the message's own stamp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from embmem.recordings.conventions import Conventions
from embmem.recordings.frames import RawFrame
from embmem.recordings.interpret import camera_pose_of
from embmem.ros.messages import pose_of, stamp_ns
from embmem.ros.tf_buffer import TfBuffer, TransformError

KEEP = 30.0  # [s] of odometry


@dataclass(frozen=True)
class Frames:
    """Names of frames, prefixes put before them."""

    map: str
    world: str  # in which poses are told
    camera: str  # empty: what the images say

    @classmethod
    def of(cls, *, map: str, world: str, camera: str, prefix: str) -> Frames:
        """The frames by the parameters; a name that begins with / is not prefixed, an empty world is the map."""

        def full(name: str) -> str:
            return name.removeprefix("/") if not name or name.startswith("/") else prefix + name

        return cls(full(map), full(world or map), full(camera))


class PoseSource:
    """The camera's pose in the world frame.

    Args:
        tf: filled by the shell.
        frames: their names.
        conventions: time offset, gap and axes.
        is_odometry: whether odometry messages tell where the robot is; TF then only where the camera is on it.
    """

    def __init__(self, tf: TfBuffer, frames: Frames, conventions: Conventions, *, is_odometry: bool) -> None:
        self._tf, self._frames, self._conventions = tf, frames, conventions
        self._is_odometry = is_odometry
        self._odometry = TfBuffer(keep=KEEP)
        self._base = ""  # the frame that odometry moves
        self.world = "" if is_odometry else frames.world

    def add_odometry(self, message: Any) -> None:
        """Keep an odometry message.

        Raises:
            TransformError: if it is no pose of a frame in another.
        """
        pose = pose_of(message)
        if pose.position is None or pose.quaternion is None:
            raise TransformError("bad_transform", "odometry without a pose")
        self._odometry.add(
            pose.parent, pose.child, pose.position, pose.quaternion, stamp_ns=stamp_ns(message.header.stamp)
        )
        self.world, self._base = pose.parent.removeprefix("/"), pose.child.removeprefix("/")

    def forget(self) -> None:
        """Begin anew, after time has run backwards."""
        self._odometry = TfBuffer(keep=KEEP)

    def at(self, frame: RawFrame) -> Float[np.ndarray, "4 4"]:
        """`T_world_camera` of the optical camera at the stamp of the frame.

        Raises:
            TransformError: if it is not known (yet); `fault` says why.
        """
        c = self._conventions
        stamp = frame.main.nanoseconds + round(c.time_offset * 1e9)
        camera = self._frames.camera or frame.main.frame_id
        if not self._is_odometry:
            return camera_pose_of(self._tf.lookup(self.world, camera, stamp, max_gap=c.max_gap), c)
        if not self._base:
            raise TransformError("unknown_frame", "no odometry yet")
        T_world_base = self._odometry.lookup(self.world, self._base, stamp, max_gap=c.max_gap)
        if camera == self._base:
            return camera_pose_of(T_world_base, c)
        return camera_pose_of(T_world_base @ self._tf.lookup(self._base, camera, stamp, max_gap=c.max_gap), c)
