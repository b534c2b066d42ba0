"""A recording read as posed observations: streams chosen, frames assembled, conventions applied, faults counted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from embmem.errors import InputError, RefusedObservation
from embmem.ingress import IngressGate, Policy
from embmem.observation import Intrinsics, Observation
from embmem.recordings.choice import NONE, choose
from embmem.recordings.conventions import Conventions
from embmem.recordings.frames import RawFrame, assemble
from embmem.recordings.interpret import matrix_of
from embmem.recordings.level import is_upright, level_transform
from embmem.recordings.observer import Observer
from embmem.recordings.poses import Poses
from embmem.recordings.raw import RawPose, named
from embmem.recordings.recording import Recording

FRAMES = ("auto", "level", "identity")
_N_LEVEL = 24  # frames that tell which way is up


@dataclass(frozen=True)
class Fault:
    """One frame that cannot be used: why in a word, and in a sentence that names the file or the message."""

    number: int
    kind: str
    detail: str


class Reading:
    """Observations of a recording; each pass reads them anew, one at a time.

    `faults` lists the frames that cannot be used and is empty unless they may be skipped: of files it is complete now,
    of a bag when a pass has come to its end. `T_map_world` takes the recorded poses' world to the map.
    """

    def __init__(
        self,
        recording: Recording,
        conventions: Conventions | None = None,
        *,
        frame: str = "auto",
        on_fault: str = "refuse",
        every: int = 1,
        rgb: bool = True,
        policies: Mapping[str, Policy] | None = None,
        pose_at: Callable[[RawFrame], np.ndarray] | None = None,
    ) -> None:
        """Decide what the frames are made of; where samples are files, check all of them.

        Args:
            recording: what was opened.
            conventions: what its numbers mean; what its format says if not given.
            frame: how `T_map_world` is found. `level`: from gravity (`embmem.recordings.level`); `identity`; `auto`:
                what the recording brings, else the identity where it promises z up and surfaces agree, else `level`.
            on_fault: `refuse` the recording for one bad frame, or `skip` bad frames and list them in `faults`.
            every: use each n-th frame only.
            rgb: whether to read colour.
            policies: of the gate that the observations will meet, so that what it repairs is let through.
            pose_at: `T_world_camera` of a frame, instead of the recorded poses; raises InputError where it knows none.

        Raises:
            InputError: naming what is missing, damaged or senseless.
        """
        if every < 1 or frame not in FRAMES or on_fault not in ("refuse", "skip"):
            raise ValueError(
                f"need every >= 1, frame auto, level or identity, on_fault refuse or skip; "
                f"got {every}, {frame}, {on_fault}"
            )
        self.recording = recording
        self.conventions = recording.conventions if conventions is None else conventions
        choosable = self.conventions if rgb or self.conventions.depth == NONE else replace(self.conventions, color=NONE)
        self.choice = choose(recording, choosable)
        self.faults: list[Fault] = []
        self._every, self._is_skipping, self._policies = every, on_fault == "skip", dict(policies or {})
        self.poses: Poses | None = None
        if pose_at is None:
            self.poses = Poses(recording, self.conventions, camera_frame=self._camera_frame())
            pose_at = self.poses.at
        self._pose_at = pose_at
        buffer = None if self.poses is None else self.poses.buffer
        self.observer = Observer(recording, self.conventions, self.choice, buffer)
        self._listed: list[RawFrame] | None = self._checked() if recording.is_listed else None
        self.T_map_world = np.eye(4)
        self.T_map_world = self._find_map_frame(frame)

    def __len__(self) -> int:
        """Number of frames; of a bag as many as there are messages."""
        if self._listed is not None:
            return len(self._listed)
        return (self.choice.main.n_samples + self._every - 1) // self._every

    def __iter__(self) -> Iterator[Observation]:
        for _, observations in self.with_frames():
            yield from observations

    def with_frames(self) -> Iterator[tuple[RawFrame, list[Observation]]]:
        """Each frame with its observations: one, or one a face of a point cloud."""
        for _, frame, observations in self.numbered():
            yield frame, observations

    def numbered(
        self, start: int = 0, keep: Callable[[np.ndarray], bool] | None = None, among: Collection[int] | None = None
    ) -> Iterator[tuple[int, RawFrame, list[Observation]]]:
        """Frames with their numbers from `start` on; those before cost no decoding, nor do those not to be kept.

        Args:
            start: number of the first frame.
            keep: asked for the pose in the map of every frame that has one, in their order.
            among: numbers of the frames that are wanted; None wants all.
        """
        for number, frame in enumerate(islice(self.frames(), start, None), start):
            if among is not None and number not in among:
                continue
            try:
                T_map_camera = self.T_map_world @ self._pose_at(frame)
                if keep is None or keep(T_map_camera):
                    yield number, frame, self.observer.observe(frame, T_map_camera)
            except InputError as error:
                self._note(number, error, frame)

    def frames(self) -> Iterator[RawFrame]:
        """The raw frames that make the observations, in their order."""
        return iter(self._listed) if self._listed is not None else self._assembled()

    def _camera_frame(self) -> str:
        first = next(iter(self.recording.samples_of(frozenset({self.choice.main.name}))), None)
        return "" if first is None else first.frame_id

    def _assembled(self) -> Iterator[RawFrame]:
        main, others = self.choice.main.name, dict(self.choice.others)
        if self.recording.is_grouped:
            others |= {s.kind: s.name for s in self.recording.of_kind("pose")}
        samples = self.recording.samples_of(frozenset({main, *others.values()}))
        frames = assemble(samples, main, others, gap=self.conventions.color_gap)
        return islice(frames, 0, None, self._every)

    def _checked(self) -> list[RawFrame]:
        """The frames whose files are there and whole and whose pose the gate will take: better before the work."""
        good = []
        for number, frame in enumerate(self._assembled()):
            try:
                self._check(frame)
            except InputError as error:
                self._note(number, error, frame)
            else:
                good.append(frame)
        if not good:
            first = f"; the first fault: {self.faults[0].detail}" if self.faults else ""
            raise InputError(f"{self.recording.path}: no usable frame{first}")
        return good

    def _check(self, frame: RawFrame) -> None:
        for sample in (frame.main, *frame.parts.values()):
            size = sample.check()
            expected = None if size is None else self.observer.camera_of(sample.kind, size)
            if size is None or expected is None:
                continue
            if size != (expected.width, expected.height):
                detail = f"{size[0]}x{size[1]}, the intrinsics are for {expected.width}x{expected.height}"
                raise RefusedObservation("wrong_shape", f"{sample.source}: {detail}")
        self._admit(self._pose_at(frame), frame.describe(), frame.stamp)

    def _admit(self, T: np.ndarray, source: str, stamp: float = 0.0) -> np.ndarray:
        """The pose, if a memory's gate will not refuse it."""
        try:
            IngressGate(self._policies).admit(Observation(stamp, T, Intrinsics(1, 1, 1.0, 1.0, 0.0, 0.0)))
        except RefusedObservation as error:
            detail = str(error).removeprefix(f"{error.fault}: ")
            raise RefusedObservation(error.fault, f"{source}: {detail}") from None
        return T

    def _note(self, number: int, error: InputError, frame: RawFrame) -> None:
        """Count a frame that cannot be used, or refuse the recording."""
        detail = str(error) if str(self.recording.path) in str(error) else f"{frame.main.source}: {error}"
        if not self._is_skipping:
            raise InputError(detail) from None
        number = frame.main.group if frame.main.group >= 0 else number
        fault = Fault(number, getattr(error, "fault", "damaged"), detail)
        if fault not in self.faults:
            self.faults.append(fault)

    def _find_map_frame(self, frame: str) -> np.ndarray:
        given = self.recording.T_map_world
        if frame == "identity":
            return np.eye(4)
        if frame == "auto" and given is not None:
            pose = given.read()
            if not isinstance(pose, RawPose):
                raise InputError(f"{given.source}: no transform")
            return self._admit(named(given, lambda: matrix_of(pose, Conventions())), given.source)
        spread = self._spread()
        if frame == "auto" and self.recording.is_z_up and is_upright(spread):
            return np.eye(4)
        return level_transform(spread)

    def _spread(self) -> list[Observation]:
        """Observations spread over the recording, without colour; frames that cannot be read are left out."""
        n = len(self)
        chosen = set(np.unique(np.linspace(0, n - 1, _N_LEVEL).astype(int)).tolist())
        found: list[Observation] = []
        for number, frame in enumerate(self.frames()):
            if number in chosen:
                try:
                    plain = RawFrame(frame.main, {k: v for k, v in frame.parts.items() if k == "pose"})
                    T = self._admit(self._pose_at(plain), plain.describe())
                    found += self.observer.observe(plain, T)
                except InputError as error:
                    self._note(number, error, frame)
        if not found:
            first = f"; the first fault: {self.faults[0].detail}" if self.faults else ""
            raise InputError(f"{self.recording.path}: no usable frame{first}")
        return found
