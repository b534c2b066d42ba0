"""Where the camera was: from the pose that came with a frame, from TF, or from a stream of poses between whose stamps
is interpolated.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from embmem.errors import InputError
from embmem.recordings.conventions import Conventions
from embmem.recordings.frames import RawFrame
from embmem.recordings.interpret import camera_pose_of, matrix_of
from embmem.recordings.raw import RawPose, RawTransforms, Sample, named
from embmem.recordings.recording import Recording, Stream
from embmem.ros.tf_buffer import TfBuffer, TransformError

TF = "tf"
_WORLDS = ("map", "odom", "world", "earth")  # REP 105, best first
_CAMERA, _WORLD, _POSED = "camera", "world", "what the poses move"  # names for frames that have none


class NoPosesError(InputError):
    """The recording does not say where the camera was."""


class Poses:
    """The poses of a recording in RAM, 64 bytes each, and which of them move the camera.

    `describe` says in words where they come from; `skipped` counts what was no pose, by reason.
    """

    def __init__(self, recording: Recording, conventions: Conventions, *, camera_frame: str) -> None:
        """Read all poses, decide by which the camera moves.

        Args:
            recording: whose poses they are.
            conventions: `pose`, `map_frame` and `camera_frame` overrule the proposal.
            camera_frame: frame_id of the images; empty where the recording names none.

        Raises:
            NoPosesError: if nothing says where the camera was; the message says what is missing.
        """
        self._conventions = conventions
        self._recording = recording
        self.skipped: Counter[str] = Counter()
        self.buffer = TfBuffer()
        self.camera_frame = (conventions.camera_frame or camera_frame).removeprefix("/") or _CAMERA
        self._moved = self.camera_frame  # the frame that is looked up
        self.is_grouped = False
        self._load_transforms()
        self.world, self.describe = self._decide()

    def _load_transforms(self) -> None:
        for sample in self._recording.samples(("tf", "tf_static")):
            transforms = self._read(sample)
            if isinstance(transforms, RawTransforms):
                for stamp, pose in zip(transforms.stamps_ns, transforms.poses, strict=True):
                    self._add(pose, stamp, is_static=transforms.is_static)

    def _read(self, sample: Sample) -> object:
        try:
            return sample.read()
        except InputError:
            self.skipped["cannot be decoded"] += 1
            return None

    def _add(self, pose: RawPose, stamp_ns: int, *, is_static: bool = False) -> None:
        try:
            position, quat_xyzw = self._numbers(pose, is_static=is_static)
            parent, child = pose.parent or _WORLD, pose.child or self.camera_frame
            self.buffer.add(parent, child, position, quat_xyzw, stamp_ns=stamp_ns, is_static=is_static)
        except TransformError as error:
            self.skipped[error.fault] += 1
        except InputError:
            self.skipped["bad_transform"] += 1

    def _numbers(self, pose: RawPose, *, is_static: bool) -> tuple[np.ndarray, np.ndarray]:
        """Position [m] and quaternion x y z w by the conventions; static transforms come from a description."""
        c = self._conventions
        if is_static and pose.position is not None and pose.quaternion is not None:
            return pose.position, pose.quaternion
        is_plain = c.quaternion == "xyzw" and c.pose_direction == "camera_to_world"
        if is_plain and pose.position is not None and pose.quaternion is not None:
            return pose.position * c.pose_scale, pose.quaternion
        T = matrix_of(pose, c)
        if not np.isfinite(T).all():
            raise InputError("a pose that is not finite")
        return T[:3, 3], Rotation.from_matrix(T[:3, :3]).as_quat()

    def _decide(self) -> tuple[str, str]:
        """(frame of the map, in words); loads the stream of poses where it is one."""
        named = self._conventions.pose
        streams = self._recording.of_kind("pose", "odometry")
        if named not in (None, TF) and self._recording.stream(str(named)) is None:
            raise InputError(
                f"{self._recording.path}: no stream {named!r} for read.pose, only {_names(streams)} and tf"
            )
        # poses that come with the frames are looked up by stamp only if the stamps are to be shifted
        if named is None and self._recording.is_grouped and streams and not self._conventions.time_offset:
            self.is_grouped = True
            return _WORLD, "a pose with each frame"
        if named in (None, TF):
            world = self._world_of_tf()
            if world is not None:
                return world, f"TF from {world} to {self.camera_frame}"
            if named == TF:
                raise NoPosesError(f"{self._recording.path}: {self._why_not_tf()}")
        for stream in self._by_use(streams, named):
            world = self._load_poses(stream)
            if world is not None:
                return world, f"{stream.name} from {world}"
        raise NoPosesError(f"{self._recording.path}: {self._why_none(streams)}")

    def _world_of_tf(self) -> str | None:
        """The frame of the map in whose tree the camera moves; None where TF does not move the camera."""
        chain = [self.camera_frame]
        while (parent := self.buffer.parent(chain[-1])) is not None and parent not in chain:
            chain.append(parent)
        named = self._conventions.map_frame
        if named is not None:
            return named if named in chain else None
        moves = any(not self.buffer.is_static(child) for child in chain[:-1])
        return next((w for w in _WORLDS if w in chain), chain[-1]) if moves else None

    def _by_use(self, streams: list[Stream], named: str | None) -> list[Stream]:
        """The streams of poses to try: the one that was named, or first those that are likely the camera's own."""
        if named is not None:
            return [stream for stream in self._recording.streams if stream.name == named]
        return sorted(streams, key=lambda s: (s.kind == "odometry", "amcl" in s.name, -s.n_samples))

    def _load_poses(self, stream: Stream) -> str | None:
        """The parent frame of a stream of poses that move the camera; None if they do not."""
        parent = child = ""
        for sample in self._recording.samples_of(frozenset({stream.name})):
            pose = self._read(sample)
            if not isinstance(pose, RawPose):
                continue
            parent, child = (pose.parent or _WORLD).removeprefix("/"), pose.child.removeprefix("/")
            if child and not self._is_fixed_to(child):
                return None
            if not child:  # TF may know the camera as a part of something else
                pose, self._moved = replace(pose, child=_POSED), _POSED
            try:
                self._add(pose, sample.nanoseconds)
            except InputError:
                self.skipped["stamp_not_finite"] += 1
        return parent or None

    def _is_fixed_to(self, child: str) -> bool:
        """Whether a transform leads from that frame to the camera's at all times."""
        frame, seen = self.camera_frame, set[str]()
        while frame != child and self.buffer.is_static(frame) and frame not in seen:
            seen.add(frame)
            frame = self.buffer.parent(frame) or ""
        return frame == child

    def _why_not_tf(self) -> str:
        frames = self.buffer.frames
        if not frames:
            return "there is no TF in this recording"
        if self.camera_frame not in frames:
            return (
                f"TF does not know the frame {self.camera_frame!r} of the images, only {', '.join(frames)}; "
                "name the camera's frame with read.camera_frame"
            )
        return f"TF does not move {self.camera_frame!r}, it is fixed in {self.buffer.root(self.camera_frame)!r}"

    def _why_none(self, streams: list[Stream]) -> str:
        if streams:
            return (
                f"{_names(streams)} moves another frame than {self.camera_frame!r} of the images, and no transform "
                "between them was recorded; name the frame that is the camera's with read.camera_frame, and where it "
                "looks along x, read.camera_axes=body"
            )
        return f"nothing says where the camera was: no stream of poses, and {self._why_not_tf()}"

    def at(self, frame: RawFrame) -> Float[np.ndarray, "4 4"]:
        """`T_world_camera` of the optical camera at the frame's stamp.

        Raises:
            InputError: if there is none; `fault` names the reason where there is one.
        """
        if self.is_grouped:
            if "pose" not in frame.parts:
                raise InputError(f"{frame.main.source}: no pose was recorded with this frame")
            sample = frame.parts["pose"]
            pose = named(sample, sample.read)
            if not isinstance(pose, RawPose):
                raise InputError(f"{sample.source}: no pose")
            return camera_pose_of(named(sample, lambda: matrix_of(pose, self._conventions)), self._conventions)
        stamp = frame.main.nanoseconds + round(self._conventions.time_offset * 1e9)
        T = self.buffer.lookup(self.world, self._moved, stamp, max_gap=self._conventions.max_gap)
        return camera_pose_of(T, self._conventions)


def _names(streams: list[Stream]) -> str:
    return ", ".join(stream.name for stream in streams) or "none"
