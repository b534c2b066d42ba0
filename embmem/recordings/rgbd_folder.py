"""A folder of posed RGB-D frames, the layout of 7-Scenes (Shotton et al., CVPR 2013) and 3DMatch (Zeng et al., 2017).

camera-intrinsics.txt      3x3 K
frame-NNNNNN.pose.txt      4x4 camera-to-world, or seven numbers x y z qx qy qz qw
frame-NNNNNN.depth.png     16 bit [mm], 0 and 65535 invalid
frame-NNNNNN.color.jpg|png optional, like the next two: every frame or none
frame-NNNNNN.semantic.png  16 bit category ids, lines of labels.txt
frame-NNNNNN.instance.png  16 bit segment ids
timestamps.txt             optional, one stamp [s] a frame; otherwise N / 30 s
T_map_world.txt            optional 4x4 from the poses' world to a z-up map
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embmem.errors import InputError, RefusedObservation
from embmem.ingress import IngressGate, Policy
from embmem.observation import Observation
from embmem.recordings.images import image_size, read_rgb, read_u16
from embmem.recordings.level import level_transform
from embmem.recordings.rgbd_files import (
    frame_files,
    read_intrinsics,
    read_labels,
    read_pose,
    read_stamps,
)

KINDS = ("pose", "depth", "color", "semantic", "instance")
FRAMES = ("auto", "level", "identity")


@dataclass(frozen=True)
class Fault:
    """One frame that cannot be used: why in a word, and in a sentence that names the file."""

    number: int
    kind: str
    detail: str


class RgbdFolder:
    """An RGB-D folder that has been checked as a whole; iterating reads one observation at a time.

    `faults` lists the unusable frames and is empty unless they may be skipped. `T_map_world` took the poses to the map:
    `auto` reads T_map_world.txt where there is one and levels the recording otherwise (`embmem.recordings.level`).
    """

    def __init__(
        self,
        path: Path | str,
        *,
        frame: str = "auto",
        on_fault: str = "refuse",
        every: int = 1,
        rgb: bool = True,
        policies: Mapping[str, Policy] | None = None,
    ) -> None:
        """Check every file's presence, integrity and size, and every pose.

        Args:
            path: the folder.
            frame: how T_map_world is found: `auto`, `level` or `identity`.
            on_fault: `refuse` the folder for one bad frame, or `skip` bad frames and list them in `faults`.
            every: use each n-th frame only.
            rgb: whether to read colour.
            policies: of the gate that the observations will meet, so that what it repairs is let through.

        Raises:
            InputError: naming the file that is missing, damaged or senseless.
        """
        self.path = Path(path)
        if every < 1 or frame not in FRAMES or on_fault not in ("refuse", "skip"):
            raise ValueError(
                f"need every >= 1, frame auto, level or identity, on_fault refuse or skip; "
                f"got {every}, {frame}, {on_fault}"
            )
        files = frame_files(self.path)
        stamps = read_stamps(self.path / "timestamps.txt", sorted(files))
        files = {number: files[number] for number in sorted(files)[::every]}
        present = {kind for found in files.values() for kind in found}
        self._kinds = [kind for kind in KINDS if kind in present or kind in ("pose", "depth")]
        self.labels = read_labels(self.path / "labels.txt") if "semantic" in present else ()
        self.intrinsics = read_intrinsics(self.path, files)
        self.faults: list[Fault] = []
        self._files: dict[int, dict[str, Path]] = {}
        self._poses: dict[int, np.ndarray] = {}
        self._stamps = stamps
        self._rgb = rgb and "color" in present
        self._policies = dict(policies or {})
        for number, found in files.items():
            fault = self._check(number, found)
            if fault is not None and on_fault == "refuse":
                raise InputError(fault.detail)
            if fault is not None:
                self.faults.append(fault)
        if not self._files:
            raise InputError(f"{self.path}: no usable frame; the first fault: {self.faults[0].detail}")
        self.T_map_world = np.eye(4)
        self.T_map_world = self._find_map_frame(frame)

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Observation]:
        return (self.read(number) for number in self._files)

    def read(self, number: int) -> Observation:
        """The observation of frame `number`, depth [m] with NaN where it is invalid."""
        files = self._files[number]
        raw = read_u16(files["depth"])
        depth = raw.astype(np.float32) / np.float32(1000.0)  # correctly rounded, unlike * 0.001
        depth[(raw == 0) | (raw == 65535)] = np.nan
        return Observation(
            stamp=self._stamps[number],
            T_map_camera=self.T_map_world @ self._poses[number],
            intrinsics=self.intrinsics,
            depth=depth,
            rgb=read_rgb(files["color"]) if self._rgb else None,
            semantic=read_u16(files["semantic"]) if "semantic" in files else None,
            instance=read_u16(files["instance"]) if "instance" in files else None,
            labels=self.labels,
        )

    def pose_file(self, index: int) -> Path:
        """The pose file of the `index`-th usable frame, to name a frame in a message."""
        return list(self._files.values())[index]["pose"]

    def _check(self, number: int, files: dict[str, Path]) -> Fault | None:
        """What is wrong with a frame; a good one is kept."""
        k = self.intrinsics
        for kind in self._kinds:
            if kind not in files:
                return Fault(number, "missing_file", f"{self.path}/frame-{number:06d}.{kind}.*: no such file")
            if kind == "pose":
                continue
            try:
                width, height = image_size(files[kind], is_u16=kind != "color")
            except InputError as error:
                return Fault(number, "damaged_image", str(error))
            if (width, height) != (k.width, k.height):
                size = f"{width}x{height}, the first depth image is {k.width}x{k.height}"
                return Fault(number, "wrong_shape", f"{files[kind]}: {size}")
        try:
            pose = self._read_rigid(files["pose"], self._stamps[number])
        except InputError as error:
            return Fault(number, getattr(error, "fault", "bad_pose"), str(error))
        self._files[number], self._poses[number] = files, pose
        return None

    def _read_rigid(self, file: Path, stamp: float = 0.0) -> np.ndarray:
        """A pose that a memory's gate will not refuse: better before the work than after it."""
        pose = read_pose(file)
        try:
            IngressGate(self._policies).admit(Observation(stamp, pose, self.intrinsics))
        except RefusedObservation as error:
            detail = str(error).removeprefix(f"{error.fault}: ")
            raise RefusedObservation(error.fault, f"{file}: {detail}") from None
        return pose

    def _find_map_frame(self, frame: str) -> np.ndarray:
        given = self.path / "T_map_world.txt"
        if frame == "identity":
            return np.eye(4)
        if frame == "auto" and given.is_file():
            return self._read_rigid(given)
        numbers = list(self._files)
        chosen = [numbers[i] for i in np.unique(np.linspace(0, len(numbers) - 1, 24).astype(int))]
        rgb, self._rgb = self._rgb, False
        try:
            return level_transform([self.read(number) for number in chosen])
        finally:
            self._rgb = rgb
