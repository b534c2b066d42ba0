"""Read a recording, integrate every frame, save: one plain function that any process can call."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from hydra.utils import instantiate

from embmem.building.plan import BuildPlan
from embmem.building.record import BuildRecord, LoopRecord, write_record
from embmem.errors import InputError, OutputExistsError, RefusedObservation
from embmem.geometry import rotation_angle
from embmem.ingress import FAULTS
from embmem.map_hash import map_hash
from embmem.memory import Memory
from embmem.observation import Observation
from embmem.protocols import PoseCorrector
from embmem.recordings.frames import RawFrame
from embmem.recordings.opening import read_recording
from embmem.recordings.reading import Reading
from embmem.store import RecordStore

Told = Callable[[str, int, int], None]  # what is done now, how many frames of it are, of how many
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Built:
    """A memory that was built and saved, with what it was built from."""

    record: BuildRecord
    memory: Memory
    reading: Reading


def build(plan: BuildPlan, tell: Told | None = None) -> BuildRecord:
    """What happened while the memory at `plan.out` was built; see `build_memory`."""
    return build_memory(plan, tell).record


def build_memory(plan: BuildPlan, tell: Told | None = None) -> Built:
    """Build and save a memory; the file is written whole or not at all.

    Args:
        plan: what is built from what.
        tell: called as frames are done.

    Raises:
        InputError: if the recording, a frame of it or a setting makes no sense.
        OutputExistsError: if the file exists and is not to be replaced.
    """
    check_free(Path(plan.out), is_overwriting=plan.overwrite)
    clock = Clock()
    with clock.part("open"):
        memory: Memory = instantiate(plan.memory)
        perceive = instantiate(plan.perceive) if plan.perceive is not None else None
        reading = read_recording(
            plan.recording,
            plan.read,
            frame=plan.frame,
            on_fault=plan.on_fault,
            every=plan.every,
            rgb=plan.colour,
            policies=memory.gate.policies,
        )
    work = Work(memory, reading, clock, is_skipping=plan.on_fault == "skip", perceive=perceive)
    for n_done in work.frames():
        if tell is not None:
            tell("building", n_done, len(reading))
    with clock.part("save"):
        record = work.record(plan)
        if isinstance(memory.store, RecordStore):
            write_record(memory.store, record)
        memory.save(plan.out, overwrite=plan.overwrite)
    return Built(record, memory, reading)


def check_free(out: Path, *, is_overwriting: bool) -> None:
    """Refuse a file that cannot be written before minutes of work, not after.

    Raises:
        OutputExistsError: if it exists and is not to be replaced.
        InputError: if its folder does not exist.
    """
    if out.exists() and not (is_overwriting and out.is_file()):
        raise OutputExistsError(f"{out} exists; choose another name or set overwrite=true")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent} is not a folder; create it first")


class Clock:
    """Where the time goes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block to a part [s]."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - started

    def timed(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """The items, the time that it takes to get them added to a part."""
        while True:
            with self.part(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item


@dataclass(eq=False)
class Work:
    """A build on its way: the frames observed so far, and where the camera was."""

    memory: Memory
    reading: Reading
    clock: Clock
    is_skipping: bool
    perceive: Callable[[Observation], Observation] | None = None
    n_frames: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by the gate
    stamps: list[float] = field(default_factory=list)
    given: list[np.ndarray] = field(default_factory=list)  # T_map_camera as handed in ...
    admitted: list[np.ndarray] = field(default_factory=list)  # ... and as the memory took it

    def frames(self) -> Iterator[int]:
        """Observe frame after frame; how many were looked at so far."""
        for number, (frame, observations) in enumerate(self.clock.timed("read", self.reading.with_frames()), 1):
            self._observe(frame, observations)
            yield number

    def record(self, plan: BuildPlan) -> BuildRecord:
        """What happened until now."""
        refused = self.refused + Counter(fault.kind for fault in self.reading.faults)
        repaired = {n: k for n, k in sorted((self.memory.gate.counts - refused).items()) if n in FAULTS}
        stamps = np.array(self.stamps, dtype=np.float64)
        return BuildRecord(
            recording=plan.recording,
            out=plan.out,
            n_frames=self.n_frames,
            refused=dict(sorted(refused.items())),
            repaired=repaired,
            seconds=dict(self.clock.seconds),
            peak_bytes=peak_bytes(),
            stamps=stamps,
            T_map_camera=np.array(self.given, dtype=np.float64).reshape(-1, 4, 4),
            T_map_camera_corrected=self._corrected(stamps),
            loops=loop_records(self.memory),
            map_hash=map_hash(self.memory),
            settings=plan.settings(),
        )

    def _observe(self, frame: RawFrame, observations: Sequence[Observation]) -> None:
        first: Observation | None = None
        try:
            for observation in observations:
                if self.perceive is not None:
                    with self.clock.part("perceive"):
                        observation = self.perceive(observation)  # noqa: PLW2901 - the same, with more in it
                with self.clock.part("observe"):
                    admitted = self.memory.observe(observation)
                first = first or admitted
        except RefusedObservation as error:
            if not self.is_skipping:
                raise InputError(f"{frame.describe()}: {error}") from None
            self.refused[error.fault] += 1
            return
        self.n_frames += 1
        if first is not None:
            self.stamps.append(float(first.stamp))
            self.given.append(np.asarray(observations[0].T_map_camera, dtype=np.float64))
            self.admitted.append(np.asarray(first.T_map_camera, dtype=np.float64))

    def _corrected(self, stamps: np.ndarray) -> np.ndarray | None:
        """Where the map has the camera, if a pose graph of the memory has moved anything."""
        graph = next((layer for layer in self.memory.layers if isinstance(layer, LoopCloser)), None)
        if graph is None or not len(graph.loops):
            return None
        return np.asarray(graph.corrections(stamps) @ np.array(self.admitted).reshape(-1, 4, 4))


@runtime_checkable
class LoopCloser(PoseCorrector, Protocol):
    """A pose graph that tells what it closed."""

    keyframes: list[Any]
    loops: list[Any]

    def corrections(self, stamps: np.ndarray) -> np.ndarray:
        """How far what was written down at these times [s] has been moved since."""


def loop_records(memory: Memory) -> tuple[LoopRecord, ...]:
    """The loops that the pose graph of a memory knows, believed or not; what each says against odometry."""
    graph = next((layer for layer in memory.layers if isinstance(layer, LoopCloser)), None)
    if graph is None:
        return ()
    records = []
    for loop in graph.loops:
        i, j = graph.keyframes[loop.i], graph.keyframes[loop.j]
        off = np.linalg.inv(i.T_odom_camera @ loop.T_i_j) @ j.T_odom_camera
        shift, turn = float(np.linalg.norm(off[:3, 3])), float(rotation_angle(off[:3, :3]))
        records.append(LoopRecord(float(i.stamp), float(j.stamp), bool(loop.is_on), shift, turn))
    return tuple(records)


def peak_bytes() -> int:
    """The most RAM that this process has held; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most) * (1 if sys.platform == "darwin" else 1024)
