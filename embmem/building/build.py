"""Read a recording, integrate every frame, save: one plain function that any process can call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate

from embmem.building.checkpoint import Checkpoints, State
from embmem.building.clock import Clock, peak_bytes
from embmem.building.closed import loop_closer, loop_records
from embmem.building.keyframes import Keyframes
from embmem.building.moving import Moving
from embmem.building.plan import BuildPlan, made
from embmem.building.record import BuildRecord, write_record
from embmem.building.track import Odometry, Track, close_loops, follow
from embmem.building.work import Work
from embmem.errors import InputError, OutputExistsError
from embmem.ingress import FAULTS
from embmem.map_hash import map_hash
from embmem.memory import Memory
from embmem.recordings.frames import RawFrame
from embmem.recordings.opening import open_recording
from embmem.recordings.poses import NoPosesError
from embmem.recordings.reading import Reading
from embmem.recordings.recording import Recording
from embmem.store import RecordStore

Told = Callable[[str, int, int], None]  # what is done now, how many frames of it are, of how many


@dataclass(frozen=True, eq=False)
class Built:
    """A memory that was built and saved, with what it was built from."""

    record: BuildRecord
    memory: Memory
    reading: Reading
    resumed_at: int = 0  # frames that an earlier, killed build of the same had done


def build(plan: BuildPlan, tell: Told | None = None) -> BuildRecord:
    """What happened while the memory at `plan.out` was built; see `build_memory`."""
    return build_memory(plan, tell).record


def build_memory(
    plan: BuildPlan, tell: Told | None = None, *, remember: Callable[[dict[str, Any]], Memory] = instantiate
) -> Built:
    """Build and save a memory; the file is written whole or not at all.

    A build that was killed left `OUT.building` beside; the same plan goes on from there, to the same bits.

    Args:
        plan: what is built from what.
        tell: called as frames are done.
        remember: makes the empty memory of `plan.memory`, whose `save` writes the file.

    Raises:
        InputError: if the recording, a frame of it or a setting makes no sense, or what a killed build left is of
            something else.
        OutputExistsError: if the file exists and is not to be replaced.
    """
    check_free(Path(plan.out), is_overwriting=plan.overwrite)
    checkpoints = Checkpoints(Path(plan.out), plan.settings(), seconds=plan.checkpoint)
    if plan.fresh:
        checkpoints.forget()
    clock, tell = Clock(), tell or (lambda part, done, total: None)
    with clock.part("open"):
        memory = remember(plan.memory)
        recording = open_recording(plan.recording)
    saved = checkpoints.load(recording, [type(layer) for layer in memory.layers])
    track = None
    with checkpoints.forgotten_on(InputError):  # it would end there again
        if plan.odometry is not None:
            track = saved.track() if saved is not None else Track()
            find_track(plan, memory, recording, (track, clock, checkpoints), tell)
        work = begin(plan, memory, recording, track, clock)
    if saved is not None:
        saved.resume(work)
    resumed_at = work.n_looked
    with checkpoints.forgotten_on(InputError):
        for n_done in work.frames():
            tell("building", n_done, len(work.reading))
            checkpoints.write_if_due(memory, recording, partial(_state, track, work), clock)
    checkpoints.strip(memory)
    record = _save(work, plan, track)
    checkpoints.forget()
    return Built(record, memory, work.reading, resumed_at)


def begin(plan: BuildPlan, memory: Memory, recording: Recording, track: Track | None, clock: Clock) -> Work:
    """Everything opened and checked, nothing observed yet."""
    with clock.part("open"):
        perceive = instantiate(plan.perceive) if plan.perceive is not None else None
        keyframes = made(Keyframes, plan.keyframes, "keyframes")
        moving = None if plan.moving is None else made(Moving, plan.moving, "moving")
        if track is None:
            try:
                reading = _reading(plan, memory, recording, None)
            except NoPosesError as error:
                raise NoPosesError(f"{error}; odometry=depth works them out (extra recon)") from None
        else:  # what the recording says of its frame holds for its poses only; frames that are lost are left out
            frame = "level" if plan.frame == "auto" else plan.frame
            tracked = replace(plan, frame=frame, on_fault="skip")
            reading = _reading(tracked, memory, recording, track.pose_at())
    is_skipping = plan.on_fault == "skip" or track is not None
    return Work(memory, reading, clock, is_skipping, perceive=perceive, keyframes=keyframes, moving=moving)


def find_track(
    plan: BuildPlan, memory: Memory, recording: Recording, so_far: tuple[Track, Clock, Checkpoints], tell: Told
) -> None:
    """Work out where the camera was at every frame, loops closed."""
    track, clock, checkpoints = so_far
    if track.is_done or plan.odometry is None:
        return
    with clock.part("odometry"):
        odometry: Odometry = instantiate(plan.odometry["track"])
        graph = instantiate(plan.odometry["loops"]) if plan.odometry.get("loops") is not None else None
        untracked = replace(plan, frame="identity")
        reading = _reading(untracked, memory, recording, lambda frame: np.eye(4))
    for n_done in follow(track, odometry, reading, clock):
        tell("odometry", n_done, len(reading))
        checkpoints.write_if_due(memory, recording, partial(_state, track, None), clock)
    if graph is not None:
        with clock.part("loops"):
            level = replace(plan, frame="level", on_fault="skip")
            close_loops(track, graph, _reading(level, memory, recording, track.odometry_at()))
    track.is_done = True
    is_long = clock.seconds["odometry"] > (plan.checkpoint or 0.0)
    checkpoints.write_if_due(memory, recording, partial(_state, track, None), clock, is_forced=is_long)


def _reading(
    plan: BuildPlan, memory: Memory, recording: Recording, pose_at: Callable[[RawFrame], np.ndarray] | None
) -> Reading:
    """The recording as the plan wants it."""
    return Reading(
        recording,
        recording.conventions.but(plan.read),
        frame=plan.frame,
        on_fault=plan.on_fault,
        every=plan.every,
        rgb=plan.colour,
        policies=memory.gate.policies,
        pose_at=pose_at,
    )


def _state(track: Track | None, work: Work | None) -> State:
    """All that it takes to go on, besides layers and records."""
    params, arrays = ({}, {}) if work is None else work.state()
    state = {} if work is None else {"work": params}
    if track is None:
        return state, arrays
    of_track, arrays_of_track = track.state()
    return {**state, "track": of_track}, {**arrays, **arrays_of_track}


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


def _save(work: Work, plan: BuildPlan, track: Track | None) -> BuildRecord:
    """Close what loops are left, write the file with the record in it, which cannot know there how long that took."""
    memory = work.memory
    if loop_closer(memory) is not None:
        with work.clock.part("loops"):
            memory.close_loops()
    with work.clock.part("derive"):
        memory.derive()
        record = record_of(work, plan, track)
    with work.clock.part("save"):
        if isinstance(memory.store, RecordStore):
            write_record(memory.store, record)
        memory.save(plan.out, overwrite=plan.overwrite)
    return replace(record, seconds=dict(work.clock.seconds), peak_bytes=peak_bytes())


def record_of(work: Work, plan: BuildPlan, track: Track | None) -> BuildRecord:
    """What happened until now."""
    refused = work.refused + Counter(fault.kind for fault in work.reading.faults)
    repaired = {n: k for n, k in sorted((work.memory.gate.counts - refused).items()) if n in FAULTS}
    given, corrected = np.array(work.given, dtype=np.float64).reshape(-1, 4, 4), work.corrected()
    if track is not None and track.corrected is not None:
        corrected = given if corrected is None else corrected
        given = track.before(work.stamps, work.reading.T_map_world)
    return BuildRecord(
        recording=plan.recording,
        out=plan.out,
        n_frames=work.n_frames,
        refused=dict(sorted(refused.items())),
        repaired=repaired,
        seconds=dict(work.clock.seconds),
        peak_bytes=peak_bytes(),
        stamps=np.array(work.stamps, dtype=np.float64),
        T_map_camera=given,
        T_map_camera_corrected=corrected,
        loops=(() if track is None else track.loops) + loop_records(work.memory),
        map_hash=map_hash(work.memory),
        settings=plan.settings(),
    )
