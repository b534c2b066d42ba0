"""Recordings that are files in a folder: frames of files become samples, checked without decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

from embmem.errors import InputError, RefusedObservation
from embmem.recordings.conventions import Conventions
from embmem.recordings.images import image_size, read_ids, read_rgb, read_u16
from embmem.recordings.raw import RawCamera, RawData, RawImage, RawPose, Sample
from embmem.recordings.recording import Recording, Stream

FRAME_RATE = 30.0  # [1/s], of a Kinect, where the folder has no timestamps
IDS = ("semantic", "instance")  # kinds of images that hold numbers of categories and of segments
CAMERA, COLOR_CAMERA = "camera", "color/camera"  # streams of the intrinsics


@dataclass(frozen=True, eq=False)
class FrameFiles:
    """The files of one frame by kind; what should be there and is not is a file that does not exist."""

    number: int
    stamp: float  # [s]
    files: dict[str, Path]
    pose: Callable[[], RawPose] | None = None  # raises InputError
    pose_source: str = ""


@dataclass(frozen=True, eq=False)
class Folder:
    """What a reader found out about a folder."""

    path: Path
    format: str
    frames: Sequence[FrameFiles]  # in the order in which they were recorded
    camera: Callable[[], RawCamera] | None = None  # raises InputError
    color_camera: Callable[[], RawCamera] | None = None
    conventions: Conventions = field(default_factory=Conventions)
    labels: tuple[str, ...] = ()
    T_map_world: Sample | None = None
    notes: tuple[str, ...] = ()

    def recording(self) -> Recording:
        """The folder as a recording, whose streams are called by their kinds."""
        counts: dict[str, int] = {}
        for frame in self.frames:
            for kind in (*frame.files, *(("pose",) if frame.pose else ())):
                counts[kind] = counts.get(kind, 0) + 1
        streams = [Stream(kind, kind, self._type(kind), n) for kind, n in counts.items()]
        streams += [Stream(name, "camera", "intrinsics", 1) for name, read in self._cameras() if read is not None]
        return Recording(
            path=self.path,
            format=self.format,
            streams=tuple(streams),
            samples_of=self._samples,
            conventions=self.conventions,
            is_listed=True,
            is_grouped=True,
            labels=self.labels,
            T_map_world=self.T_map_world,
            notes=self.notes,
        )

    def _cameras(self) -> tuple[tuple[str, Callable[[], RawCamera] | None], ...]:
        return (CAMERA, self.camera), (COLOR_CAMERA, self.color_camera)

    def _type(self, kind: str) -> str:
        if kind == "pose":
            return "pose"
        suffixes = sorted({f.files[kind].suffix.lstrip(".").upper() for f in self.frames if kind in f.files})
        return " and ".join(suffixes)

    def _samples(self, names: frozenset[str]) -> Iterator[Sample]:
        for name, read in self._cameras():
            if name in names and read is not None:
                stamp = self.frames[0].stamp if self.frames else 0.0
                yield Sample(name, "camera", stamp, f"{self.path}: {name}", read)
        for frame in self.frames:
            for kind, file in frame.files.items():
                if kind in names:
                    yield image_sample(kind, file, frame.stamp, group=frame.number)
            if frame.pose is not None and "pose" in names:
                yield Sample("pose", "pose", frame.stamp, frame.pose_source, frame.pose, group=frame.number)


def image_sample(kind: str, file: Path, stamp: float, *, group: int = -1, stream: str | None = None) -> Sample:
    """The sample of an image file: colour of 8 bits, one channel of ids of 8 or 16, of anything else of 16."""
    check, read = partial(_check_image, file, kind not in ("color", *IDS)), partial(_read_image, file, kind)
    return Sample(stream or kind, kind, stamp, str(file), read, group=group, check=check)


def image_samples(kind: str, images: Iterable[tuple[float, Path]]) -> Iterator[Sample]:
    """The samples of (stamp [s], file)."""
    for stamp, file in images:
        yield image_sample(kind, file, stamp)


def _check_image(file: Path, is_u16: bool) -> tuple[int, int]:
    if not file.is_file():
        missing(file)
    try:
        return image_size(file, is_u16=is_u16)
    except InputError as error:
        raise _Damaged(str(error)) from None


class _Damaged(InputError):
    """A file that is cut or damaged."""

    fault = "damaged_image"


def missing(file: Path) -> NoReturn:
    """Say that a file is not there."""
    raise RefusedObservation("missing_file", f"{file}: no such file")


def _read_image(file: Path, kind: str) -> RawData:
    if not file.is_file():
        missing(file)
    if kind in IDS:
        return RawImage(read_ids(file), "ids")
    if kind != "color":
        return RawImage(read_u16(file), "16UC1")
    return RawImage(read_rgb(file), file.suffix.lstrip(".").lower())
