"""Read a recording, integrate every frame, save: one plain function that any process can call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from hydra.utils import instantiate

from embmem.building.checkpoint import Checkpoints
from embmem.building.clock import Clock, peak_bytes
from embmem.building.closed import loop_closer, loop_records
from embmem.building.keyframes import Keyframes
from embmem.building.moving import Moving
from embmem.building.plan import BuildPlan, made
from embmem.building.record import BuildRecord, write_record
from embmem.building.work import Work
from embmem.errors import InputError, OutputExistsError
from embmem.ingress import FAULTS
from embmem.map_hash import map_hash
from embmem.memory import Memory
from embmem.recordings.opening import read_recording
from embmem.recordings.reading import Reading
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


def build_memory(plan: BuildPlan, tell: Told | None = None) -> Built:
    """Build and save a memory; the file is written whole or not at all.

    A build that was killed left `OUT.building` beside; the same plan goes on from there, to the same bits.

    Args:
        plan: what is built from what.
        tell: called as frames are done.

    Raises:
        InputError: if the recording, a frame of it or a setting makes no sense, or what a killed build left is of
            something else.
        OutputExistsError: if the file exists and is not to be replaced.
    """
    check_free(Path(plan.out), is_overwriting=plan.overwrite)
    checkpoints = Checkpoints(Path(plan.out), plan.settings(), seconds=plan.checkpoint)
    if plan.fresh:
        checkpoints.forget()
    work = begin(plan)
    checkpoints.resume(work)
    resumed_at = work.n_looked
    try:
        for n_done in work.frames():
            if tell is not None:
                tell("building", n_done, len(work.reading))
            checkpoints.write_if_due(work)
    except InputError:
        checkpoints.forget()  # it would end there again
        raise
    checkpoints.forget(work)
    return Built(_save(work, plan), work.memory, work.reading, resumed_at)


def begin(plan: BuildPlan) -> Work:
    """Everything opened and checked, nothing observed yet."""
    clock = Clock()
    with clock.part("open"):
        memory: Memory = instantiate(plan.memory)
        perceive = instantiate(plan.perceive) if plan.perceive is not None else None
        keyframes = made(Keyframes, plan.keyframes, "keyframes")
        moving = None if plan.moving is None else made(Moving, plan.moving, "moving")
        reading = read_recording(
            plan.recording,
            plan.read,
            frame=plan.frame,
            on_fault=plan.on_fault,
            every=plan.every,
            rgb=plan.colour,
            policies=memory.gate.policies,
        )
    is_skipping = plan.on_fault == "skip"
    return Work(memory, reading, clock, is_skipping, perceive=perceive, keyframes=keyframes, moving=moving)


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


def _save(work: Work, plan: BuildPlan) -> BuildRecord:
    """Close what loops are left, write the file with the record in it, which cannot know there how long that took."""
    memory = work.memory
    if loop_closer(memory) is not None:
        with work.clock.part("loops"):
            memory.close_loops()
    with work.clock.part("derive"):
        memory.derive()
        record = record_of(work, plan)
    with work.clock.part("save"):
        if isinstance(memory.store, RecordStore):
            write_record(memory.store, record)
        memory.save(plan.out, overwrite=plan.overwrite)
    return replace(record, seconds=dict(work.clock.seconds), peak_bytes=peak_bytes())


def record_of(work: Work, plan: BuildPlan) -> BuildRecord:
    """What happened until now."""
    refused = work.refused + Counter(fault.kind for fault in work.reading.faults)
    repaired = {n: k for n, k in sorted((work.memory.gate.counts - refused).items()) if n in FAULTS}
    return BuildRecord(
        recording=plan.recording,
        out=plan.out,
        n_frames=work.n_frames,
        refused=dict(sorted(refused.items())),
        repaired=repaired,
        seconds=dict(work.clock.seconds),
        peak_bytes=peak_bytes(),
        stamps=np.array(work.stamps, dtype=np.float64),
        T_map_camera=np.array(work.given, dtype=np.float64).reshape(-1, 4, 4),
        T_map_camera_corrected=work.corrected(),
        loops=loop_records(work.memory),
        map_hash=map_hash(work.memory),
        settings=plan.settings(),
    )
