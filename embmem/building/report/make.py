"""Make the page about a build: look at the map, the recording and what the doctor says of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from embmem.building.record import BuildRecord
from embmem.building.report.best_views import View, best_views
from embmem.building.report.coverage import coverage
from embmem.building.report.page import Report
from embmem.building.report.pictures import Pictures, take_pictures
from embmem.building.report.sections import trajectory_of
from embmem.doctor.examine import examine
from embmem.doctor.finding import Diagnosis
from embmem.errors import EmbmemError, InputError
from embmem.memory import Memory
from embmem.observation import Intrinsics
from embmem.occupancy import Occupancy, find_occupancy
from embmem.recordings.frames import RawFrame
from embmem.recordings.opening import read_recording
from embmem.recordings.reading import Reading
from embmem.viewing.scene import Scene, Thing, Trajectory


def make_report(
    record: BuildRecord,
    memory: Memory,
    *,
    find_scene: Callable[..., Scene],
    title: str,
    command: str = "",
    n_strip: int = 24,
    n_things: int = 60,
    doctor: bool = True,
    pictures: bool = True,
) -> Report:
    """All that a page about a build shows.

    The recording is read once more for the pictures and for the doctor; where it has gone, the page says so.

    Args:
        record: of the build.
        memory: that was built.
        find_scene: tells what there is to look at in a memory; called with the memory and `title`.
        title: of the page.
        command: that built it, as it was typed.
        n_strip: pictures of what the camera saw.
        n_things: rows of the table of things, the surest.
        doctor: whether to examine the recording.
        pictures: whether to show any.

    Raises:
        InputError: if nothing in the memory has a place.
        ValueError: if a number is below 0.
    """
    if min(n_strip, n_things) < 0:
        raise ValueError(f"need n_strip and n_things >= 0, got {n_strip} and {n_things}")
    scene = find_scene(memory, title=title)
    things = sorted(scene.things, key=lambda thing: -thing.confidence)[:n_things]
    camera = None if scene.trajectory is None else scene.trajectory.intrinsics
    covered = None
    if scene.plan is not None:
        covered = coverage(scene.plan, Trajectory(record.stamps, trajectory_of(record), camera), scene.max_range)
    shown = _pictures(record, memory, things, camera, n_strip) if pictures else Pictures()
    diagnosis, note = _diagnosis(record) if doctor else (None, "")
    return Report(record, scene, things, shown, covered, diagnosis, note, command)


def page_beside(out: Path) -> Path:
    """Where the page about a memory file goes if nobody says where."""
    return out.with_name(out.name + ".html") if out.suffix in ("", ".html") else out.with_suffix(".html")


def _pictures(
    record: BuildRecord, memory: Memory, things: list[Thing], camera: Intrinsics | None, n_strip: int
) -> Pictures:
    try:
        reading = _reading(record)
    except (EmbmemError, ValueError) as error:
        return Pictures(note=f"The recording could not be read once more for pictures: {error}")
    occupancy: Occupancy | None = None
    with suppress(InputError):
        occupancy = find_occupancy(memory)
    views: list[View | None] = [None] * len(things)
    if camera is not None and len(record.stamps):
        views = best_views(things, record.stamps, trajectory_of(record), camera, occupancy)
    return take_pictures(reading, record.stamps, views, n_strip=n_strip)


def _reading(record: BuildRecord) -> Reading:
    """The recording with its colours, whatever the map was built from; its poses are not looked for."""
    settings: dict[str, Any] = record.settings
    return read_recording(
        record.recording,
        settings.get("read") or {},
        frame="identity",
        on_fault="skip",
        every=int(settings.get("every", 1)),
        rgb=True,
        pose_at=_nowhere,
    )


def _nowhere(frame: RawFrame) -> np.ndarray:
    return np.eye(4)


def _diagnosis(record: BuildRecord) -> tuple[Diagnosis | None, str]:
    try:
        return examine(record.recording, record.settings.get("read") or {}), ""
    except (EmbmemError, ValueError) as error:
        return None, f"The doctor could not examine the recording: {error}"
