"""One pass over the whole recording without decoding images: stamps, frames, sizes, poses, and what cannot be read."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from embmem.doctor.finding import Content
from embmem.errors import InputError
from embmem.recordings.raw import RawCamera, RawPose, RawTransforms, Sample
from embmem.recordings.recording import Recording, Stream

NANOSECONDS = 1e9
_POSES = ("pose", "odometry", "tf", "tf_static")
_DECODED = (*_POSES, "camera")  # small enough to be read whole
_MAX_CAMERAS = 2000  # intrinsics that are looked at, of a stream


@dataclass(eq=False)
class Track:
    """What one stream said about time and place, one number a sample."""

    stream: Stream
    stamps: np.ndarray  # (n,) int64 [ns]; of samples whose stamp is a number
    received: np.ndarray  # (n,) float64 [s], NaN where the recorder kept none
    n_bad_stamps: int
    frames: Counter[str]
    sizes: Counter[tuple[int, int]]  # (width, height) where known without decoding
    faults: dict[str, list[str]]  # by fault: messages
    poses: list[RawPose]  # of streams of poses
    pose_stamps: np.ndarray  # (n,) int64 [ns] of `poses`
    pose_received: np.ndarray  # (n,) float64 [s]
    cameras: list[RawCamera]
    bad: set[str]  # sources of samples that cannot be read


@dataclass(eq=False)
class Links:
    """Transforms of one child frame."""

    child: str
    parents: Counter[str] = field(default_factory=Counter)
    stamps: array[int] = field(default_factory=lambda: array("q"))  # [ns], in the order of the recording
    is_static: bool = True


@dataclass(eq=False)
class Survey:
    """All tracks by name of stream, and TF by child frame."""

    recording: Recording
    tracks: dict[str, Track]
    links: dict[str, Links]

    def contents(self) -> tuple[Content, ...]:
        """The streams as rows of a table."""
        return tuple(_content(track, self.links) for track in self.tracks.values())

    @property
    def bad(self) -> set[str]:
        """Sources of all samples that cannot be read."""
        return {source for track in self.tracks.values() for source in track.bad}

    def of_kind(self, *kinds: str) -> list[Track]:
        """Tracks of these kinds that hold a sample."""
        return [t for t in self.tracks.values() if t.stream.kind in kinds and len(t.stamps)]


class _Recorder:
    """Collects one track."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.stamps, self.received = array("q"), array("d")
        self.n_bad_stamps = 0
        self.frames: Counter[str] = Counter()
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.faults: dict[str, list[str]] = {}
        self.poses: list[RawPose] = []
        self.pose_stamps, self.pose_received = array("q"), array("d")
        self.cameras: list[RawCamera] = []
        self.bad: set[str] = set()

    def add(self, sample: Sample, links: dict[str, Links]) -> None:
        try:
            stamp = sample.nanoseconds
        except InputError:
            self.n_bad_stamps += 1
            return
        self.stamps.append(stamp)
        self.received.append(sample.received)
        self.frames[sample.frame_id] += 1
        try:
            size = sample.check()
            if size is not None:
                self.sizes[size] += 1
            if self.stream.kind in _DECODED and len(self.cameras) < _MAX_CAMERAS:
                self._decode(sample, stamp, links)
        except InputError as error:
            self.faults.setdefault(getattr(error, "fault", "unreadable"), []).append(str(error))
            self.bad.add(sample.source)

    def _decode(self, sample: Sample, stamp: int, links: dict[str, Links]) -> None:
        data = sample.read()
        if isinstance(data, RawPose):
            self.poses.append(data)
            self.pose_stamps.append(stamp)
            self.pose_received.append(sample.received)
        elif isinstance(data, RawCamera):
            self.cameras.append(data)
        elif isinstance(data, RawTransforms):
            for at, pose in zip(data.stamps_ns, data.poses, strict=True):
                link = links.setdefault(pose.child.removeprefix("/"), Links(pose.child.removeprefix("/")))
                link.parents[pose.parent.removeprefix("/")] += 1
                link.is_static &= data.is_static
                if not data.is_static:
                    link.stamps.append(at)
                self.poses.append(pose)
                self.pose_stamps.append(at)
                self.pose_received.append(sample.received)

    def track(self) -> Track:
        return Track(
            self.stream, np.array(self.stamps, dtype=np.int64), np.array(self.received, dtype=np.float64),
            self.n_bad_stamps, self.frames, self.sizes, self.faults, self.poses,
            np.array(self.pose_stamps, dtype=np.int64), np.array(self.pose_received, dtype=np.float64), self.cameras,
            self.bad,
        )  # fmt: skip


def survey(recording: Recording, on_progress: Callable[[int, int], None] | None = None) -> Survey:
    """Look at every sample of a recording once; poses and intrinsics are decoded, images are not."""
    recorders = {stream.name: _Recorder(stream) for stream in recording.streams}
    links: dict[str, Links] = {}
    total = sum(stream.n_samples for stream in recording.streams)
    for number, sample in enumerate(recording.samples()):
        recorders[sample.stream].add(sample, links)
        if on_progress is not None and number % 50 == 0:
            on_progress(number, total)
    return Survey(recording, {name: recorder.track() for name, recorder in recorders.items()}, links)


def period(stamps: np.ndarray) -> float | None:
    """The usual step between stamps [s]; None for less than two."""
    steps = np.diff(stamps)
    steps = steps[steps > 0]
    return float(np.median(steps)) / NANOSECONDS if len(steps) else None


def _content(track: Track, links: dict[str, Links]) -> Content:
    stamps = track.pose_stamps if track.stream.kind in ("tf", "tf_static") else track.stamps
    step = period(track.stamps)
    frames = ", ".join(sorted(name for name in track.frames if name)[:3])
    if track.stream.kind in ("tf", "tf_static"):
        of_kind = sorted(link.child for link in links.values() if link.is_static == (track.stream.kind == "tf_static"))
        frames = ", ".join(of_kind[:4]) + (f" and {len(of_kind) - 4} more" if len(of_kind) > 4 else "")
    sizes = ", ".join(f"{w}x{h}" for w, h in sorted(track.sizes))
    cameras = sorted({(c.width, c.height) for c in track.cameras})
    sizes = sizes or ", ".join(f"{w}x{h}" for w, h in cameras)
    return Content(
        stream=track.stream.name,
        kind=track.stream.kind,
        type=track.stream.type,
        n_samples=track.stream.n_samples,
        rate=1.0 / step if step else None,
        first=float(stamps.min()) / NANOSECONDS if len(stamps) else None,
        last=float(stamps.max()) / NANOSECONDS if len(stamps) else None,
        frame=frames,
        detail=sizes or track.stream.detail,
    )
