"""A recording of any format: what streams it has, and its samples in the order in which they were recorded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from embmem.recordings.conventions import Conventions
from embmem.recordings.raw import Sample

# What the streams of a recording can be. An odometry is a pose with a frame that drifts; `ids` are numbers of segments.
KINDS = (
    "depth", "color", "semantic", "instance", "camera", "pose", "odometry", "tf", "tf_static",
    "imu", "cloud", "scan", "detections", "other",
)  # fmt: skip


@dataclass(frozen=True)
class Stream:
    """One topic of a bag, one kind of file of a folder, one column of a table."""

    name: str
    kind: str  # one of KINDS
    type: str  # message type or file format
    n_samples: int
    detail: str = ""  # whatever else is known without reading it


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording that was opened and not yet read; holds no sample in RAM but the names of files.

    `samples_of(names)` makes a new pass over the samples of those streams, in the order in which they were recorded,
    each decoded only when its `read` is called. It may be called as often as one likes.
    """

    path: Path
    format: str  # in words
    streams: tuple[Stream, ...]
    samples_of: Callable[[frozenset[str]], Iterator[Sample]]
    conventions: Conventions = field(default_factory=Conventions)  # what the format says; the user may know better
    is_listed: bool = False  # True where samples are names of files, so that a pass over them costs nothing
    is_grouped: bool = False  # True where samples come in groups of one frame, pose included, whatever their stamps
    is_z_up: bool = False  # True where the format promises that the poses' world has z up (REP 103)
    labels: tuple[str, ...] = ()  # of the semantic images' ids
    T_map_world: Sample | None = None  # from the poses' world to a z-up map, where the recording says
    notes: tuple[str, ...] = ()  # what could not be read and why, for a person

    def samples(self, kinds: Collection[str] | None = None) -> Iterator[Sample]:
        """A pass over all samples of these kinds, or of all."""
        return self.samples_of(frozenset(s.name for s in self.streams if kinds is None or s.kind in kinds))

    def stream(self, name: str) -> Stream | None:
        """The stream of that name."""
        return next((stream for stream in self.streams if stream.name == name), None)

    def of_kind(self, *kinds: str) -> list[Stream]:
        """The streams of these kinds that hold samples, in the order of the recording."""
        return [stream for stream in self.streams if stream.kind in kinds and stream.n_samples]
