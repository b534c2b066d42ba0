"""Recordings of one place become one memory: each a session with its frames in the file, then merged.

A session is kept by `DurableMemory`, every frame in its log to the last bit: the merged layers are replayed from all
frames, in the order of time, as if one camera had seen them.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra.utils import instantiate

from embmem.building.build import Told, build_memory, check_free
from embmem.building.many import Outcome, build_many, outs_for
from embmem.building.plan import BuildPlan
from embmem.building.record import BuildRecord
from embmem.durable import DurableMemory
from embmem.errors import InputError
from embmem.memory import Memory
from embmem.merge.files import Merged
from embmem.output import new_file
from embmem.replay.observation_log import Thinning
from embmem.store import RecordStore

_NAMES = uuid.UUID("7d3f61f2-0f0e-5c0e-9d0c-0a4f7c1f9b52")  # of sessions, by number and recording: the same every time
_UNBOUNDED = 1 << 62  # [byte]


class _Session(DurableMemory):
    """A memory on a file that gets its name when it is saved."""

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the layers down, and give the file its name."""
        part = self._file.path
        self.close()
        with new_file(Path(path), overwrite=overwrite) as place:
            Path(str(part)).replace(place)


def build_session(plan: BuildPlan) -> BuildRecord:
    """What happened while the recording became a memory with all its frames in the file; written whole or not at all.

    Raises:
        InputError: if the recording, a frame of it or a setting makes no sense.
        OutputExistsError: if the file exists and is not to be replaced.
    """
    out, opened = Path(plan.out), ExitStack()

    def remember(node: dict[str, Any]) -> Memory:
        memory: Memory = instantiate(node)
        views = {name: node[name] for name in ("view_distance", "view_angle") if name in node}
        store = RecordStore(
            Path(opened.enter_context(TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent)), out.name)
        )
        opened.callback(store.close)
        with store.changing() as db:
            db.execute("UPDATE meta SET value = ? WHERE name = 'uuid'", (str(uuid.uuid5(_NAMES, out.name)),))
        return _Session(
            store, memory.layers, gate=memory.gate, thinning=Thinning(0.0, 0.0, 0.0), depth_step=None,
            snapshot_seconds=math.inf, disk_budget=_UNBOUNDED, ram_budget=_UNBOUNDED, **views,
        )  # fmt: skip

    with opened:
        return build_memory(replace(plan, checkpoint=None), remember=remember).record


def build_merged(
    plans: Sequence[BuildPlan],
    out: Path,
    merge: Callable[..., Merged],
    *,
    frame: str = "relocalise",
    workers: int = 1,
    overwrite: bool = False,
    tell: Told | None = None,
) -> tuple[list[Outcome], Merged]:
    """One memory of several recordings; the result is the same whatever worker built which of them.

    The sessions lie in `OUT.sessions` until they are merged, and stay there where they cannot be.

    Args:
        plans: of the recordings, in the order in which they are found in each other; `out` of each is left aside.
        out: the memory.
        merge: as `embmem.maps.merging.merge_memories`.
        frame: relocalise or same, see there.
        workers: see `build_many`.
        overwrite: whether `out` may be replaced.
        tell: called when a recording is done.

    Raises:
        InputError: if a recording cannot be built, or is not found in the map of another one for sure.
        OutputExistsError: if the file exists and is not to be replaced.
    """
    if len(plans) < 2:
        raise InputError(f"it takes two recordings to merge, got {len(plans)}")
    check_free(out, is_overwriting=overwrite)
    folder = out.with_name(out.name + ".sessions")
    folder.mkdir(exist_ok=True)
    files = outs_for([plan.recording for plan in plans], folder)
    sessions = [replace(plan, out=str(file), overwrite=True) for plan, file in zip(plans, files, strict=True)]
    outcomes = build_many(sessions, workers=workers, job=build_session, tell=tell)
    failed = [f"{outcome.plan.recording}: {outcome.error}" for outcome in outcomes if outcome.record is None]
    if failed:
        raise InputError("; ".join(failed))
    merged = merge(files, out, frame=frame, overwrite=overwrite)
    for file in folder.iterdir():
        if file.name.startswith(tuple(session.name for session in files)):  # a log of the store may lie beside
            file.unlink()
    with suppress(OSError):  # what else somebody keeps there stays
        folder.rmdir()
    return outcomes, merged
