"""What a raw frame shows, by its conventions: the way from samples to `Observation`s."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from embmem.errors import InputError
from embmem.observation import Intrinsics, Observation
from embmem.recordings.choice import Choice, color_camera_of
from embmem.recordings.clouds import depth_faces, face_camera
from embmem.recordings.conventions import Conventions
from embmem.recordings.detections import Detections
from embmem.recordings.files import IDS
from embmem.recordings.frames import RawFrame
from embmem.recordings.interpret import depth_of, ids_of, intrinsics_of, rgb_of, steady
from embmem.recordings.raw import RawCamera, RawCloud, RawImage, Sample, named
from embmem.recordings.recording import Recording
from embmem.recordings.register import color_on_depth, ids_on_depth
from embmem.ros.tf_buffer import TfBuffer, TransformError


class Observer:
    """Makes observations of raw frames.

    Args:
        recording: whose frames they are.
        conventions: what its numbers mean.
        choice: which streams make the frames.
        buffer: tells the colour camera from the depth camera; None where they are one.

    Raises:
        InputError: if the intrinsics cannot be read.
    """

    def __init__(
        self, recording: Recording, conventions: Conventions, choice: Choice, buffer: TfBuffer | None = None
    ) -> None:
        self._conventions = conventions
        self._choice = choice
        self._labels = recording.labels
        self._buffer = buffer
        needs_camera = conventions.intrinsics is None
        self.camera = _read_camera(recording, choice.camera) if needs_camera else None
        self.color_camera = _read_camera(recording, choice.color_camera)
        self._intrinsics: Intrinsics | None = None
        self._ids_camera: RawCamera | None = None  # of ids that were made in the colour image
        if set(IDS) & set(choice.others):
            self._ids_camera = _read_camera(recording, color_camera_of(recording, conventions))
        self._detections = Detections(recording, conventions, choice, buffer)

    def observe(self, frame: RawFrame, T_map_camera: Float[np.ndarray, "4 4"]) -> list[Observation]:
        """What a frame shows, seen from there: one observation, or one a face of a point cloud.

        Raises:
            InputError: if something of it cannot be read, or makes no sense.
        """
        T = steady(T_map_camera)
        main = named(frame.main, frame.main.read)
        if isinstance(main, RawCloud):
            camera = face_camera()
            return [Observation(frame.stamp, T @ T_face, camera, depth) for T_face, depth in depth_faces(main.points)]
        if not isinstance(main, RawImage):
            raise InputError(f"{frame.main.source}: no image and no points")
        height, width = main.pixels.shape[:2]
        intrinsics = self.intrinsics((width, height))
        parts = {kind: part for kind, part in frame.parts.items() if kind not in ("pose", frame.main.kind)}
        depth = None
        if self._choice.main.kind == "depth":
            depth = named(frame.main, lambda: depth_of(main, self._conventions))
        color = main if depth is None else self._image(parts.get("color"))
        rgb = None if color is None else named(parts.get("color", frame.main), lambda: rgb_of(color))
        if rgb is not None and depth is not None:
            rgb = self._registered(rgb, frame, depth, intrinsics)
        observation = Observation(
            stamp=frame.stamp,
            T_map_camera=T,
            intrinsics=intrinsics,
            depth=depth,
            rgb=rgb,
            semantic=self._ids(parts.get("semantic"), frame, depth, intrinsics),
            instance=self._ids(parts.get("instance"), frame, depth, intrinsics),
            labels=self._labels,
        )
        return [self._detections.label(frame, observation)]

    def intrinsics(self, size: tuple[int, int]) -> Intrinsics:
        """The camera of main images of that size (width, height).

        Raises:
            InputError: if none was recorded or it does not fit.
        """
        if self._intrinsics is None or (self._intrinsics.width, self._intrinsics.height) != size:
            self._intrinsics = intrinsics_of(
                self.camera, self._conventions, size, is_rectified=self._choice.is_rectified
            )
        return self._intrinsics

    def _image(self, sample: Sample | None) -> RawImage | None:
        if sample is None:
            return None
        image = named(sample, sample.read)
        if not isinstance(image, RawImage):
            raise InputError(f"{sample.source}: no image")
        return image

    def camera_of(self, kind: str, size: tuple[int, int]) -> RawCamera | None:
        """The camera that images of that kind and size (width, height) must be of, where it is known."""
        color, ids = self.color_camera, self._ids_camera
        if kind == "color" and color is not None:
            return color
        return ids if kind in IDS and ids is not None and size == (ids.width, ids.height) else self.camera

    def _ids(
        self, sample: Sample | None, frame: RawFrame, depth: np.ndarray | None, intrinsics: Intrinsics
    ) -> np.ndarray | None:
        """Ids in the pixels of the main image."""
        image = self._image(sample)
        if image is None or sample is None:
            return None
        ids, color = named(sample, lambda: ids_of(image)), self._ids_camera
        size = ids.shape[1], ids.shape[0]
        if size == (intrinsics.width, intrinsics.height) or color is None or size != (color.width, color.height):
            return ids
        seen = named(sample, lambda: intrinsics_of(color, Conventions(), size))
        return ids_on_depth(ids, seen, depth, intrinsics, self._between(sample.frame_id, frame))

    def _registered(self, rgb: np.ndarray, frame: RawFrame, depth: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
        """Colour in the pixels of the depth image, where another camera took it."""
        size = rgb.shape[1], rgb.shape[0]
        color, sample = self.color_camera, frame.parts["color"]
        T_color_depth = self._between(sample.frame_id, frame)
        is_same = size == (intrinsics.width, intrinsics.height) and np.allclose(T_color_depth, np.eye(4), atol=1e-6)
        if is_same or color is None:  # another size without a camera is for the gate to refuse
            return rgb
        seen = named(sample, lambda: intrinsics_of(color, Conventions(), size))
        return color_on_depth(rgb, seen, depth, intrinsics, T_color_depth)

    def _between(self, color_frame: str, frame: RawFrame) -> np.ndarray:
        """`T_color_depth`; the identity where the recording does not tell the cameras apart."""
        if self._buffer is None or not color_frame or color_frame == frame.main.frame_id:
            return np.eye(4)
        try:
            return self._buffer.lookup(color_frame, frame.main.frame_id, frame.main.nanoseconds)
        except TransformError:
            return np.eye(4)


def _read_camera(recording: Recording, name: str | None) -> RawCamera | None:
    """The first intrinsics of a stream."""
    if name is None:
        return None
    for sample in recording.samples_of(frozenset({name})):
        camera = named(sample, sample.read)
        if isinstance(camera, RawCamera):
            return camera
    return None
