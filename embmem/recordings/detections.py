"""Detections of a recording as segments of its frames: boxes in the image, boxes in space."""

from __future__ import annotations

from functools import partial

import numpy as np
from jaxtyping import Float

from embmem.detection.segments import Box, SpaceBox, painted, segments_of, space_segments_of
from embmem.errors import InputError
from embmem.geometry import backproject, invert_pose, project, transform_points
from embmem.observation import Intrinsics, Observation
from embmem.recordings.choice import Choice, color_camera_of
from embmem.recordings.conventions import Conventions
from embmem.recordings.frames import RawFrame
from embmem.recordings.interpret import AXES, intrinsics_of, matrix_of
from embmem.recordings.raw import RawCamera, RawDetection, RawDetections, Sample, named
from embmem.recordings.recording import Recording
from embmem.ros.tf_buffer import TfBuffer, TransformError

MAX_SIZE = 100.0  # [m] of a box in space


class Detections:
    """Labels the frames of a recording by what a detector wrote into it.

    A box in the image lies in the pixels of the camera that the detections name as their frame, in those of the depth
    image where they name none or the same. A box in space lies in their frame, which TF must know.
    """

    def __init__(
        self, recording: Recording, conventions: Conventions, choice: Choice, buffer: TfBuffer | None = None
    ) -> None:
        self._conventions, self._buffer = conventions, buffer
        self._color: tuple[RawCamera, str] | None = None  # with its frame
        if "detections" in choice.others:
            self._color = _camera(recording, color_camera_of(recording, conventions))

    def label(self, frame: RawFrame, observation: Observation) -> Observation:
        """The frame with what was detected in it; as it is without detections, or where ids were recorded.

        Raises:
            InputError: if a detection makes no sense.
        """
        sample = frame.parts.get("detections")
        if sample is None or observation.semantic is not None or observation.depth is None:
            return observation
        detections = named(sample, sample.read)
        if not isinstance(detections, RawDetections):
            raise InputError(f"{sample.source}: no detections")
        least = self._conventions.least_score
        items = [item for item in detections.items if not item.score < least]  # a score that is not known passes
        flat = [named(sample, partial(_box, item)) for item in items if item.box is not None]
        segments = segments_of(flat, observation, self._pixels(sample, frame, observation)) if flat else []
        solid = [item for item in items if item.pose is not None]
        if solid and (T := self._to_camera(sample, frame)) is not None:
            boxes = [named(sample, partial(_space_box, item, T)) for item in solid]
            segments += space_segments_of(boxes, observation)
        return painted(observation, segments)

    def _pixels(self, sample: Sample, frame: RawFrame, observation: Observation) -> Float[np.ndarray, "h w 2"] | None:
        """Where each pixel of the depth image lies in the image of the detections; None where they are one."""
        if self._color is None or observation.depth is None:
            return None
        camera, camera_frame = self._color
        k = observation.intrinsics
        is_same_size = (camera.width, camera.height) == (k.width, k.height)
        if sample.frame_id not in ("", camera_frame) or (is_same_size and sample.frame_id in ("", frame.main.frame_id)):
            return None
        T = self._lookup(camera_frame, frame.main.frame_id, frame)
        T = np.eye(4) if T is None else T
        if is_same_size and np.allclose(T, np.eye(4), atol=1e-6):
            return None
        seen: Intrinsics = named(sample, lambda: intrinsics_of(camera, Conventions(), (camera.width, camera.height)))
        points = transform_points(T, backproject(observation.depth, k).reshape(-1, 3).astype(np.float64))
        return project(points, seen).reshape(k.height, k.width, 2)

    def _to_camera(self, sample: Sample, frame: RawFrame) -> Float[np.ndarray, "4 4"] | None:
        """From the frame of the detections to the optical camera; None where nothing tells."""
        T_optical = invert_pose(AXES[self._conventions.camera_axes])
        if sample.frame_id in ("", frame.main.frame_id):
            return T_optical
        T = self._lookup(frame.main.frame_id, sample.frame_id, frame)
        return None if T is None else T_optical @ T

    def _lookup(self, target: str, source: str, frame: RawFrame) -> np.ndarray | None:
        if target == source:
            return np.eye(4)
        if self._buffer is None or not target or not source:
            return None
        try:
            return self._buffer.lookup(target, source, frame.main.nanoseconds)
        except TransformError:
            return None


def _camera(recording: Recording, name: str | None) -> tuple[RawCamera, str] | None:
    for sample in recording.samples_of(frozenset({name} if name else ())):
        camera = named(sample, sample.read)
        if isinstance(camera, RawCamera):
            return camera, sample.frame_id
    return None


def _box(item: RawDetection) -> Box:
    left, top, right, bottom = item.box or (np.nan,) * 4
    if not np.isfinite([left, top, right, bottom]).all() or right < left or bottom < top:
        raise InputError(f"a detection with the box {item.box}")
    return Box(item.label, float(item.score), float(left), float(top), float(right), float(bottom))


def _space_box(item: RawDetection, T_camera_frame: Float[np.ndarray, "4 4"]) -> SpaceBox:
    size = np.asarray(item.size, dtype=np.float64)
    if item.pose is None or size.shape != (3,) or not ((size >= 0) & (size <= MAX_SIZE)).all():
        raise InputError(f"a detection with a box of size {size.tolist()} m")
    return SpaceBox(item.label, float(item.score), T_camera_frame @ matrix_of(item.pose, Conventions()), size)
